"""io.kestra.plugin.jdbc.sqlite: SQLite, with Python's own driver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.plugin import RunContext, TaskFailure, TaskOutputs
from headrace_tasks.jdbc.base import JdbcTask, QueriesOutputs, QueriesTask, QueryOutputs, QueryTask, Result
from headrace_tasks.jdbc.sql import bind, split
from headrace_tasks.streams import copy


class _Result:
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.columns = [column[0] for column in cursor.description]

    def rows(self, fetch_size: int) -> Iterator[Sequence[Any]]:
        try:
            while rows := self._cursor.fetchmany(fetch_size):
                yield from rows
        except sqlite3.Error as error:
            raise _failure(error) from error


class _Connection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def statements(self, sql: str) -> Sequence[str]:
        return split(sql, sqlite3.complete_statement)

    def execute(self, statement: str, parameters: Mapping[str, Any], *, stream: bool) -> Result | None:
        del stream  # SQLite always computes a row when it is asked for
        _, names = bind(statement, parameters, lambda name: f":{name}")
        try:
            cursor = self._connection.execute(statement, {name: _parameter(parameters[name]) for name in names})
        except sqlite3.Error as error:
            raise _failure(error) from error
        return None if cursor.description is None else _Result(cursor)

    def begin(self) -> None:
        self.execute("BEGIN", {}, stream=False)

    def commit(self) -> None:
        self.execute("COMMIT", {}, stream=False)

    def cancel(self) -> None:
        self._connection.interrupt()


def _parameter(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _failure(error: sqlite3.Error) -> TaskFailure:
    return TaskFailure(f"SQLite: {error}")


class _SQLiteTask(JdbcTask):
    """What both tasks take besides."""

    url: str = Field("jdbc:sqlite:", description="`jdbc:sqlite:<file>`; without a file the database is in memory.")
    sqlite_file: str | None = Field(None, description="URI of a stored database to work on (a copy of it).")
    output_db_file: bool = Field(
        default=False, description="Whether the database is stored afterwards, as the output `databaseUri`."
    )

    @contextmanager
    def connect(self, context: RunContext) -> Iterator[_Connection]:
        """Open the database."""
        target = self._database(context)
        try:
            connection = sqlite3.connect(target, isolation_level=None, check_same_thread=False, uri=False)
        except sqlite3.Error as error:
            raise TaskFailure(f"SQLite: {error}: {target}") from error
        try:
            yield _Connection(connection)
        finally:
            connection.close()

    def store_database(self, context: RunContext) -> str | None:
        """Store the database file if that is asked for."""
        if not self.output_db_file:
            return None
        target = self._database(context)
        if not isinstance(target, Path):
            raise TaskFailure("`outputDbFile` needs a database in a file: write `url: jdbc:sqlite:<file>`")
        return context.files.put(target.name, target)

    def _database(self, context: RunContext) -> Path | str:
        prefix = "jdbc:sqlite:"
        if not self.url.startswith(prefix):
            raise TaskFailure(f"`{self.url}` is not the URL of a SQLite database: it should begin with {prefix}")
        name = self.with_paths(context, self.url.removeprefix(prefix).partition("?")[0])
        if name == ":memory:" or (not name and self.sqlite_file is None and not self.output_db_file):
            return ":memory:"
        path = context.working_dir / (name or "database.sqlite")
        if self.sqlite_file is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with context.files.open(self.sqlite_file) as stream:
                copy(stream, path)
        return path


class SQLiteQueryOutputs(QueryOutputs):
    """What Query gives."""

    database_uri: str | None = None


class SQLiteQuery(_SQLiteTask, QueryTask):
    """Query a SQLite database.

    A file name in the URL is looked for in the working directory unless it is absolute.

        id: extract
        type: io.kestra.plugin.jdbc.sqlite.Query
        url: jdbc:sqlite:/data/weather.db
        sql: SELECT * FROM weather WHERE date = :day
        parameters:
          day: "{{ inputs.date }}"
        fetchType: STORE
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.sqlite.Query"
    Outputs: ClassVar[type[TaskOutputs]] = SQLiteQueryOutputs

    def run(self, context: RunContext) -> SQLiteQueryOutputs:
        """Run the query; store the database if asked to."""
        outputs = self.query(context)
        return SQLiteQueryOutputs.model_validate({**outputs, "databaseUri": self.store_database(context)})


class SQLiteQueriesOutputs(QueriesOutputs):
    """What Queries gives."""

    database_uri: str | None = None


class SQLiteQueries(_SQLiteTask, QueriesTask):
    """Run several statements on a SQLite database.

    id: prepare
    type: io.kestra.plugin.jdbc.sqlite.Queries
    url: jdbc:sqlite:work.db
    sql: |
      CREATE TABLE numbers (n INTEGER);
      INSERT INTO numbers VALUES (1), (2);
      SELECT sum(n) AS total FROM numbers;
    fetchType: FETCH_ONE
    outputDbFile: true
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.sqlite.Queries"
    Outputs: ClassVar[type[TaskOutputs]] = SQLiteQueriesOutputs

    def run(self, context: RunContext) -> SQLiteQueriesOutputs:
        """Run the statements; store the database if asked to."""
        outputs = self.queries(context)
        return SQLiteQueriesOutputs.model_validate({**outputs, "databaseUri": self.store_database(context)})
