"""io.kestra.plugin.jdbc.duckdb: DuckDB, in the worker's process. Needs the extra ``headrace[duckdb]``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.plugin import RunContext, TaskFailure, TaskOutputs
from headrace_tasks.jdbc.base import JdbcTask, QueriesOutputs, QueriesTask, QueryOutputs, QueryTask, Result
from headrace_tasks.jdbc.sql import bind
from headrace_tasks.streams import copy
from headrace_tasks.task_files import collect_files, inside, place_files

_MISSING = "DuckDB is not installed where Headrace runs: `pip install 'headrace[duckdb]'`"


class _Result:
    def __init__(self, connection: Any, columns: list[str], error: type[Exception]) -> None:
        self._connection = connection
        self.columns = columns
        self._error = error

    def rows(self, fetch_size: int) -> Iterator[Sequence[Any]]:
        try:
            while rows := self._connection.fetchmany(fetch_size):
                yield from rows
        except self._error as error:
            raise _failure(error) from error


class _Connection:
    def __init__(self, connection: Any, error: type[Exception], parameters: Mapping[str, Any]) -> None:
        self._connection = connection
        self._error = error
        self._names = parameters

    def statements(self, sql: str) -> Sequence[Any]:
        bound, _ = bind(sql, self._names, lambda name: f"${name}")
        try:
            statements: Sequence[Any] = self._connection.extract_statements(bound)
        except self._error as error:
            raise _failure(error) from error
        return statements

    def execute(self, statement: Any, parameters: Mapping[str, Any], *, stream: bool) -> Result | None:
        del stream  # rows are fetched in parts in any case
        names = getattr(statement, "named_parameters", ())
        try:
            self._connection.execute(
                statement, {name: _parameter(parameters[name]) for name in names if name in parameters} or None
            )
            columns = [column[0] for column in self._connection.description or ()]
        except self._error as error:
            raise _failure(error) from error
        kinds = [str(kind) for kind in getattr(statement, "expected_result_type", ())]
        only_counts = len(kinds) != 1 or not kinds[0].endswith("QUERY_RESULT")
        if not columns or (only_counts and columns in (["Count"], ["Success"])):
            return None
        return _Result(self._connection, columns, self._error)

    def begin(self) -> None:
        self.execute("BEGIN TRANSACTION", {}, stream=False)

    def commit(self) -> None:
        self.execute("COMMIT", {}, stream=False)

    def cancel(self) -> None:
        self._connection.interrupt()


def _parameter(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _failure(error: Exception) -> TaskFailure:
    if "pytz" in str(error):
        return TaskFailure("DuckDB needs the package pytz for timestamps with a time zone: `pip install pytz`")
    return TaskFailure(f"DuckDB: {error}")


class _DuckDBTask(JdbcTask):
    """What both tasks take besides."""

    url: str = Field("jdbc:duckdb:", description="`jdbc:duckdb:<file>`; without a file the database is in memory.")
    database_uri: str | None = Field(None, description="URI of a stored database to work on (a copy of it).")
    database_file: str | None = Field(None, description="Path of a database file.")
    input_files: dict[str, Any] = Field(
        default_factory=dict, description="Content or URI by name; the SQL finds the files by these names."
    )
    output_files: list[str] = Field(
        default_factory=list,
        description="Names of files that the SQL writes, as `COPY … TO '{{ workingDir }}/<name>'`.",
    )
    output_db_file: bool = Field(
        default=False, description="Whether the database is stored afterwards, as the output `databaseUri`."
    )

    @contextmanager
    def connect(self, context: RunContext) -> Iterator[_Connection]:
        """Open the database in the working directory."""
        try:
            import duckdb  # noqa: PLC0415 - optional, and slow to import
        except ImportError:
            raise TaskFailure(_MISSING) from None
        place_files(context, self.input_files)
        target = self._database(context)
        try:
            connection = duckdb.connect(target)
        except duckdb.Error as error:
            raise _failure(error) from error
        try:
            folder = str(context.working_dir).replace("'", "''")
            connection.execute(f"SET file_search_path = '{folder}'")
            if self.time_zone_id is not None:
                zone = str(self.zone).replace("'", "''")
                connection.execute(f"SET TimeZone = '{zone}'")
            yield _Connection(connection, duckdb.Error, self.parameters or {})
        finally:
            connection.close()

    def stored_files(self, context: RunContext) -> dict[str, Any]:
        """Store the database and the files that are asked for."""
        outputs: dict[str, Any] = {}
        if self.output_files:
            outputs["outputFiles"] = collect_files(context, self.output_files)
        if self.output_db_file:
            target = self._database(context)
            path = context.working_dir / target
            outputs["databaseUri"] = context.files.put(path.name, path)
        return outputs

    def _database(self, context: RunContext) -> str:
        prefix = "jdbc:duckdb:"
        if not self.url.startswith(prefix):
            raise TaskFailure(f"`{self.url}` is not the URL of a DuckDB database: it should begin with {prefix}")
        name = self.with_paths(context, self.url.removeprefix(prefix)) or self.database_file or ""
        if name.startswith("md:"):
            return name
        if self.database_uri is not None:
            path = inside(context.working_dir, ".headrace-database.duckdb")
            if not path.exists():
                with context.files.open(self.database_uri) as stream:
                    copy(stream, path)
            return str(path)
        if not name and not self.output_db_file:
            return ":memory:"
        return name if name == ":memory:" else str(context.working_dir / (name or "database.duckdb"))


class DuckDBQueryOutputs(QueryOutputs):
    """What Query gives."""

    database_uri: str | None = None
    output_files: dict[str, str] | None = None


class DuckDBQuery(_DuckDBTask, QueryTask):
    """Query a DuckDB database, or files with DuckDB.

    id: totals
    type: io.kestra.plugin.jdbc.duckdb.Query
    inputFiles:
      orders.csv: "{{ outputs.download.uri }}"
    sql: SELECT customer, sum(amount) AS total FROM 'orders.csv' GROUP BY customer
    fetchType: FETCH
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.duckdb.Query"
    Outputs: ClassVar[type[TaskOutputs]] = DuckDBQueryOutputs

    def run(self, context: RunContext) -> DuckDBQueryOutputs:
        """Run the query; store what is asked for."""
        outputs = self.query(context)
        return DuckDBQueryOutputs.model_validate({**outputs, **self.stored_files(context)})


class DuckDBQueriesOutputs(QueriesOutputs):
    """What Queries gives."""

    database_uri: str | None = None
    output_files: dict[str, str] | None = None


class DuckDBQueries(_DuckDBTask, QueriesTask):
    """Run several statements with DuckDB.

    id: load
    type: io.kestra.plugin.jdbc.duckdb.Queries
    inputFiles:
      orders.csv: "{{ outputs.download.uri }}"
    sql: |
      CREATE TABLE orders AS SELECT * FROM 'orders.csv';
      SELECT count(*) AS number FROM orders;
    fetchType: FETCH_ONE
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.jdbc.duckdb.Queries"
    Outputs: ClassVar[type[TaskOutputs]] = DuckDBQueriesOutputs

    def run(self, context: RunContext) -> DuckDBQueriesOutputs:
        """Run the statements; store what is asked for."""
        outputs = self.queries(context)
        return DuckDBQueriesOutputs.model_validate({**outputs, **self.stored_files(context)})
