"""io.kestra.plugin.jdbc.postgresql: PostgreSQL, with psycopg 3. Needs the extra ``headrace[postgresql]``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_tasks.jdbc.base import JdbcTask, QueriesTask, QueryTask, Result
from headrace_tasks.jdbc.sql import bind, split, words

_MISSING = "The PostgreSQL driver is not installed where Headrace runs: `pip install 'headrace[postgresql]'`"
_READS = {"select", "values", "table", "with"}
_WRITES = {"insert", "update", "delete", "merge", "into"}


class _Fetched:
    """A result that the server has sent."""

    def __init__(self, cursor: Any, error: type[Exception]) -> None:
        self._cursor = cursor
        self._error = error
        self.columns = [column.name for column in cursor.description]

    def rows(self, fetch_size: int) -> Iterator[Sequence[Any]]:
        try:
            while rows := self._cursor.fetchmany(fetch_size):
                yield from rows
        except self._error as error:
            raise _failure(error) from error


class _Connection:
    def __init__(self, connection: Any, error: type[Exception]) -> None:
        self._connection = connection
        self._error = error
        self._portals: list[Any] = []

    def statements(self, sql: str) -> Sequence[str]:
        return split(sql)

    def execute(self, statement: str, parameters: Mapping[str, Any], *, stream: bool) -> Result | None:
        numbers: dict[str, int] = {}
        bound, names = bind(statement, parameters, lambda name: f"${numbers.setdefault(name, len(numbers) + 1)}")
        values = [_parameter(parameters[name]) for name in names]
        try:
            if stream and _only_reads(statement):
                return self._portal(bound, values)
            cursor = self._connection.cursor()
            cursor.execute(bound, values or None)
        except self._error as error:
            raise _failure(error) from error
        return None if cursor.description is None else _Fetched(cursor, self._error)

    def _portal(self, bound: str, values: list[Any]) -> Result:
        """Run a query whose rows stay on the server until they are fetched."""
        from psycopg.raw_cursor import RawServerCursor  # noqa: PLC0415 - optional

        cursor = RawServerCursor(self._connection, f"headrace_{len(self._portals)}")
        self._portals.append(cursor)
        cursor.execute(bound, values or None)
        return _Fetched(cursor, self._error)

    def begin(self) -> None:
        self._connection.autocommit = False

    def commit(self) -> None:
        try:
            self._connection.commit()
        except self._error as error:
            raise _failure(error) from error

    def cancel(self) -> None:
        self._connection.cancel_safe(timeout=5)

    def close(self) -> None:
        for cursor in self._portals:
            with suppress(self._error):  # in a transaction that failed the server has forgotten it
                cursor.close()
        self._connection.close()


def _only_reads(statement: str) -> bool:
    """Tell whether the server can keep the rows of *statement* until they are asked for."""
    found = words(statement)
    return next(found, None) in _READS and not _WRITES.intersection(found)


def _parameter(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _failure(error: Exception) -> TaskFailure:
    return TaskFailure(f"PostgreSQL: {str(error).strip()}")


_URL_SETTINGS = {
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "options": "options",
    "targetServerType": "target_session_attrs",
}
"""What JDBC calls a setting, and libpq's name of it; others of JDBC concern its driver only and have no effect."""
_SERVER_TYPES = {"primary": "primary", "master": "primary", "secondary": "standby", "preferSecondary": "prefer-standby"}


def connection_settings(url: str) -> dict[str, str]:
    """Return what a JDBC URL says in libpq's terms."""
    prefix = "jdbc:postgresql:"
    if not url.startswith(prefix):
        raise TaskFailure(f"`{url}` is not the URL of a PostgreSQL database: it should begin with {prefix}//")
    rest = url.removeprefix(prefix)
    parts = urlsplit(rest if rest.startswith("//") else f"///{rest}")
    hosts = [_host_and_port(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    settings = {
        "host": ",".join(host or "localhost" for host, _ in hosts),
        "port": ",".join(port or "5432" for _, port in hosts),
    }
    if parts.path.strip("/"):
        settings["dbname"] = unquote(parts.path.strip("/"))
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "ssl" in given and given["ssl"].lower() != "false" and "sslmode" not in given:
        settings["sslmode"] = "verify-full"
    for name, value in given.items():
        if name in _URL_SETTINGS:
            settings[_URL_SETTINGS[name]] = _SERVER_TYPES.get(value, "any") if name == "targetServerType" else value
    if "currentSchema" in given:
        path = given["currentSchema"].replace("\\", "\\\\").replace(" ", "\\ ")
        settings["options"] = f"{settings.get('options', '')} -c search_path={path}".strip()
    return settings


def _host_and_port(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"\[([^]]*)\](?::(\d+))?|([^:]*)(?::(\d+))?", text)
    if match is None:
        raise TaskFailure(f"`{text}` is not a host and a port")
    return match[1] or match[3] or "", match[2] or match[4] or ""


class _PostgreSQLTask(JdbcTask):
    """What both tasks take besides."""

    url: str = Field(min_length=1, description="`jdbc:postgresql://<host>:<port>/<database>`.")
    ssl: bool | None = Field(None, description="Whether the connection is encrypted.")
    ssl_mode: Literal["DISABLE", "ALLOW", "PREFER", "REQUIRE", "VERIFY_CA", "VERIFY_FULL"] | None = Field(
        None, description="How much of the server's certificate is checked."
    )
    ssl_root_cert: str | None = Field(None, description="The authority's certificate, as PEM text.")
    ssl_cert: str | None = Field(None, description="The client's certificate, as PEM text.")
    ssl_key: str | None = Field(None, description="The client's key, as PEM text.")
    ssl_key_password: str | None = Field(None, description="The password of the key.")

    @contextmanager
    def connect(self, context: RunContext) -> Iterator[_Connection]:
        """Connect to the server."""
        try:
            import psycopg  # noqa: PLC0415 - optional, and slow to import
        except ImportError:
            raise TaskFailure(_MISSING) from None
        settings: dict[str, Any] = {
            "connect_timeout": "30",
            "application_name": "headrace",
            **connection_settings(self.url),
            **self._own_settings(context),
        }
        try:
            connection = psycopg.connect(**settings, autocommit=True, cursor_factory=psycopg.RawCursor)
        except psycopg.Error as error:
            raise _failure(error) from error
        used = _Connection(connection, psycopg.Error)
        try:
            # Without it, dates far out and zones with historic offsets could not be read back.
            connection.execute("SELECT set_config('TimeZone', $1, false)", [str(self.zone)])
            yield used
        finally:
            used.close()

    def _own_settings(self, context: RunContext) -> dict[str, str]:
        settings = {}
        if self.username is not None:
            settings["user"] = self.username
        if self.password is not None:
            settings["password"] = self.password
        if self.ssl_mode is not None:
            settings["sslmode"] = self.ssl_mode.lower().replace("_", "-")
        elif self.ssl:
            settings["sslmode"] = "require"
        for name, content in (
            ("sslrootcert", self.ssl_root_cert),
            ("sslcert", self.ssl_cert),
            ("sslkey", self.ssl_key),
        ):
            if content is not None:
                path = context.working_dir / f".headrace-{name}.pem"
                path.touch(mode=0o600)
                path.write_text(content)
                settings[name] = str(path)
        if self.ssl_key_password is not None:
            settings["sslpassword"] = self.ssl_key_password
        return settings


class PostgreSQLQuery(_PostgreSQLTask, QueryTask):
    """Query a PostgreSQL database.

    id: extract
    type: io.kestra.plugin.jdbc.postgresql.Query
    url: jdbc:postgresql://db.example.com:5432/shop
    username: "{{ secret('DB_USER') }}"
    password: "{{ secret('DB_PASSWORD') }}"
    sql: SELECT * FROM orders WHERE day = CAST(:day AS date)
    parameters:
      day: "{{ inputs.date }}"
    fetchType: STORE
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.postgresql.Query"


class PostgreSQLQueries(_PostgreSQLTask, QueriesTask):
    """Run several statements on a PostgreSQL database.

    id: load
    type: io.kestra.plugin.jdbc.postgresql.Queries
    url: jdbc:postgresql://db.example.com:5432/shop
    username: "{{ secret('DB_USER') }}"
    password: "{{ secret('DB_PASSWORD') }}"
    sql: |
      DELETE FROM totals;
      INSERT INTO totals SELECT customer, sum(amount) FROM orders GROUP BY customer;
      SELECT count(*) AS customers FROM totals;
    fetchType: FETCH_ONE
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.postgresql.Queries"
