"""What the query tasks of all databases share: their properties, and how a query becomes outputs."""

from __future__ import annotations

import threading
import zoneinfo
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, tzinfo
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import (
    OUTPUT_DIR_TOKEN,
    WORKING_DIR_TOKEN,
    Rendering,
    RunContext,
    RunnableTask,
    TaskFailure,
    TaskOutputs,
)
from headrace_tasks.jdbc.rows import Converter, Row, write_rows

FetchType = Literal["STORE", "FETCH", "FETCH_ONE", "NONE"]


class Result(Protocol):
    """The rows of one statement, read while they come."""

    @property
    def columns(self) -> Sequence[str]: ...
    def rows(self, fetch_size: int) -> Iterator[Sequence[Any]]: ...


class Connection(Protocol):
    """One connection to a database. Errors of the database are raised as TaskFailure."""

    def statements(self, sql: str) -> Sequence[Any]:
        """Return the statements of *sql*, in whatever form execute takes."""

    def execute(self, statement: Any, parameters: Mapping[str, Any], *, stream: bool) -> Result | None:
        """Run a statement; return its rows if it is one that gives rows. stream: there may be very many."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...

    def cancel(self) -> None:
        """End what is running; called from another thread."""


@contextmanager
def cancelled_on_stop(context: RunContext, connection: Connection) -> Iterator[None]:
    """Cancel what *connection* does when the attempt is asked to stop.

    Again and again until it is over: a driver forgets a cancel that comes between two statements, or just before one.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def cancel() -> None:
        while not over.is_set():
            with suppress(Exception):  # the statement may have ended by itself
                connection.cancel()
            over.wait(0.05)

    def begin() -> None:
        thread = threading.Thread(target=cancel, name="headrace-cancel", daemon=True)
        threads.append(thread)
        thread.start()

    context.on_stop(begin)
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()  # before the connection is closed under it


class JdbcTask(RunnableTask):
    """Base of all query tasks."""

    KIND: ClassVar[Kind] = Kind.DISPATCHED

    username: str | None = Field(None, description="The user.")
    password: str | None = Field(None, description="The password.")
    sql: str = Field(min_length=1, description="The SQL. `:name` stands for a parameter.")
    parameters: Annotated[dict[str, Any] | None, Rendering.TYPED] = Field(None, description="Parameters by name.")
    fetch_type: FetchType = Field(
        "NONE",
        description="FETCH_ONE: the first row as output. FETCH: all rows. STORE: all rows in a file. NONE: nothing.",
    )
    fetch: bool = Field(default=False, description="Deprecated: use `fetchType: FETCH`.")
    fetch_one: bool = Field(default=False, description="Deprecated: use `fetchType: FETCH_ONE`.")
    store: bool = Field(default=False, description="Deprecated: use `fetchType: STORE`.")
    fetch_size: int = Field(10_000, gt=0, description="How many rows are asked of the database at once.")
    time_zone_id: str | None = Field(None, description="The time zone of the session and of results; UTC if left out.")

    @abstractmethod
    def connect(self, context: RunContext) -> AbstractContextManager[Connection]:
        """Return a connection that is closed when left."""

    @property
    def wanted(self) -> FetchType:
        """fetchType, or what the old flags say."""
        if self.fetch_one:
            return "FETCH_ONE"
        if self.store:
            return "STORE"
        return "FETCH" if self.fetch else self.fetch_type

    @property
    def zone(self) -> tzinfo:
        """The time zone of results."""
        if self.time_zone_id is None:
            return UTC
        try:
            return zoneinfo.ZoneInfo(self.time_zone_id)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise TaskFailure(f"`{self.time_zone_id}` is not a known time zone") from None

    def with_paths(self, context: RunContext, text: str) -> str:
        """Return *text* with the working directory in place of ``{{ workingDir }}``."""
        if "@headrace-" not in text:
            return text
        folder = str(context.working_dir)
        return text.replace(WORKING_DIR_TOKEN, folder).replace(OUTPUT_DIR_TOKEN, folder)

    def outputs_of(self, context: RunContext, result: Result | None) -> dict[str, Any]:
        """Return what fetchType makes of one result."""
        wanted = self.wanted
        if result is None or wanted == "NONE":
            return {}
        converter = Converter(self.zone, exact_decimals=wanted == "STORE")
        rows = converter.rows(result.columns, result.rows(1 if wanted == "FETCH_ONE" else self.fetch_size))
        if wanted == "FETCH_ONE":
            row = next(rows, None)
            outputs: dict[str, Any] = {"row": row, "size": 0 if row is None else 1}
        elif wanted == "FETCH":
            fetched = list(rows)
            outputs = {"rows": fetched, "size": len(fetched)}
        else:
            outputs = self._stored(context, rows)
        context.counter("fetch.size", outputs["size"])
        return {name: value for name, value in outputs.items() if value is not None}

    def _stored(self, context: RunContext, rows: Iterator[Row]) -> dict[str, Any]:
        path = context.working_dir / f".headrace-{context.task_run_id}-rows"
        size = write_rows(path, rows)
        uri = context.files.put("query.ion", path)
        path.unlink()
        return {"uri": uri, "size": size}


class QueryOutputs(TaskOutputs):
    """What Query gives, by fetchType."""

    row: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | None = None
    uri: str | None = None
    size: int | None = None


class QueryTask(JdbcTask):
    """Base of the Query tasks."""

    Outputs: ClassVar[type[TaskOutputs]] = QueryOutputs

    after_sql: str | None = Field(
        None, alias="afterSQL", description="SQL that runs after the rows were read, in the same transaction."
    )
    auto_commit: bool = Field(
        default=True, description="Whether a lone statement is its own transaction; several always share one."
    )

    def run(self, context: RunContext) -> QueryOutputs:
        """Run the statements; the last that gives rows is the result."""
        return QueryOutputs.model_validate(self.query(context))

    def query(self, context: RunContext) -> dict[str, Any]:
        """Run the statements and return the outputs."""
        parameters = self.parameters or {}
        outputs: dict[str, Any] = {}
        with self.connect(context) as connection, cancelled_on_stop(context, connection):
            statements = connection.statements(self.with_paths(context, self.sql))
            after = connection.statements(self.with_paths(context, self.after_sql)) if self.after_sql else []
            alone = len(statements) == 1 and not after and self.auto_commit and self.wanted != "STORE"
            if not alone:
                connection.begin()
            for statement in statements:
                result = connection.execute(statement, parameters, stream=self.wanted == "STORE")
                if result is not None:
                    outputs = self.outputs_of(context, result)
            for statement in after:
                connection.execute(statement, parameters, stream=False)
            if not alone:
                connection.commit()
        return outputs


class QueriesOutputs(TaskOutputs):
    """What Queries gives: for each statement that gives rows what Query would give."""

    outputs: list[dict[str, Any]]


class QueriesTask(JdbcTask):
    """Base of the Queries tasks."""

    Outputs: ClassVar[type[TaskOutputs]] = QueriesOutputs

    after_sql: str | None = Field(
        None, alias="afterSQL", description="SQL that runs after all others, in the same transaction if there is one."
    )
    transaction: bool = Field(default=True, description="Whether the statements succeed or fail together.")

    def run(self, context: RunContext) -> QueriesOutputs:
        """Run the statements in order."""
        return QueriesOutputs.model_validate(self.queries(context))

    def queries(self, context: RunContext) -> dict[str, Any]:
        """Run the statements and return the outputs."""
        parameters = self.parameters or {}
        outputs = []
        with self.connect(context) as connection, cancelled_on_stop(context, connection):
            statements = connection.statements(self.with_paths(context, self.sql))
            after = connection.statements(self.with_paths(context, self.after_sql)) if self.after_sql else []
            if self.transaction:
                connection.begin()
            for statement in statements:
                result = connection.execute(statement, parameters, stream=self.wanted == "STORE")
                if result is not None and self.wanted != "NONE":
                    outputs.append(self.outputs_of(context, result))
            for statement in after:
                connection.execute(statement, parameters, stream=False)
            if self.transaction:
                connection.commit()
        return {"outputs": outputs}
