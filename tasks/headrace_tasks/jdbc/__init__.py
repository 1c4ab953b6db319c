"""io.kestra.plugin.jdbc: querying databases. One module a database; the drivers are imported when a query runs."""

from headrace_tasks.jdbc.duckdb import DuckDBQueries, DuckDBQuery
from headrace_tasks.jdbc.postgresql import PostgreSQLQueries, PostgreSQLQuery
from headrace_tasks.jdbc.sqlite import SQLiteQueries, SQLiteQuery

__all__ = [
    "DuckDBQueries",
    "DuckDBQuery",
    "PostgreSQLQueries",
    "PostgreSQLQuery",
    "SQLiteQueries",
    "SQLiteQuery",
]
