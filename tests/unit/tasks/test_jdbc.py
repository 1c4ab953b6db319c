"""The query tasks: SQL read, values converted, SQLite and DuckDB in process. PostgreSQL is in test_postgresql."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from amazon.ion import simpleion

from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import WORKING_DIR_TOKEN
from headrace_tasks.jdbc import DuckDBQueries, DuckDBQuery, PostgreSQLQuery, SQLiteQueries, SQLiteQuery
from headrace_tasks.jdbc.postgresql import connection_settings
from headrace_tasks.jdbc.rows import Converter, write_rows
from headrace_tasks.jdbc.sql import bind, split
from unit.tasks.harness import Bench

# -- SQL --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("select 1", ["select 1"]),
        ("select 1;", ["select 1"]),
        ("a; b ;\n c", ["a", "b", "c"]),
        ("select ';'; b", ["select ';'", "b"]),
        ("select 'it''s;'; b", ["select 'it''s;'", "b"]),
        ("select E'\\';'; b", ["select E'\\';'", "b"]),
        ('select ";" ; b', ['select ";"', "b"]),
        ("a -- x;y\n; b", ["a -- x;y", "b"]),
        ("a /* ; */ ; b", ["a /* ; */", "b"]),
        ("do $$ begin; end $$; b", ["do $$ begin; end $$", "b"]),
        ("do $f$ a;$$;b $f$; b", ["do $f$ a;$$;b $f$", "b"]),
        ("-- only a comment\n; /* and one */", []),
        ("", []),
        ("select where; selecte ';'", ["select where", "selecte ';'"]),
        ("select 'open", ["select 'open"]),
        ("a - b / c; d", ["a - b / c", "d"]),
    ],
)
def test_statements(sql: str, statements: list[str]) -> None:
    assert split(sql) == statements


def test_a_trigger_is_one_statement() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET x = 1; DELETE FROM b; END"
    assert split(f"{trigger}; select 1;", sqlite3.complete_statement) == [trigger, "select 1"]


@pytest.mark.parametrize(
    ("sql", "bound", "names"),
    [
        ("a = :x and b = :y or c = :x", "a = <x> and b = <y> or c = <x>", ["x", "y"]),
        ("':x' \":x\" --:x\n :x", "':x' \":x\" --:x\n <x>", ["x"]),
        ("a::x, b::text, :x::int", "a::x, b::text, <x>::int", ["x"]),
        ("a[1:y], :other, a[1 : :y]", "a[1:y], :other, a[1 : <y>]", ["y"]),
        ("$$ :x $$", "$$ :x $$", []),
    ],
)
def test_parameters(sql: str, bound: str, names: list[str]) -> None:
    assert bind(sql, ["x", "y"], lambda name: f"<{name}>") == (bound, names)


# -- Values -----------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
VALUES: list[tuple[Any, Any]] = [
    (1, 1),
    ('ä\n\u2028"', 'ä\n\u2028"'),
    (True, True),
    (None, None),
    (1.5, 1.5),
    (float("nan"), None),
    (date(2024, 5, 1), "2024-05-01"),
    (time(10, 0, 1), "10:00:01"),
    (datetime.fromisoformat("2024-05-01T10:00:00"), "2024-05-01T10:00:00"),
    (datetime(2024, 5, 1, 10, 0, tzinfo=UTC), "2024-05-01T12:00:00+02:00"),
    (datetime(2024, 5, 1, 10, 0, 0, 5, tzinfo=timezone(timedelta(hours=5))), "2024-05-01T07:00:00.000005+02:00"),
    (timedelta(days=1, seconds=1.5), "PT24H1.5S"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (b"\xff\x00", "/wA="),
    (memoryview(b"a"), "YQ=="),
    ([1, (date(2024, 5, 1),)], [1, ["2024-05-01"]]),
    ({"a": Decimal("1.5"), 2: {date(2024, 5, 1): None}}, {"a": 1.5, "2": {"2024-05-01": None}}),
    (Decimal("3"), 3),
    (Decimal("2.50"), 2.5),
    (Decimal("0.1"), 0.1),
    (Decimal("12345678901234567890.123"), "12345678901234567890.123"),
    (Decimal("NaN"), None),
    (Path("/x"), "/x"),
]


@pytest.mark.parametrize(("value", "output"), VALUES)
def test_values_as_outputs(value: Any, output: Any) -> None:
    converted = Converter(BERLIN, exact_decimals=False).value(value)
    assert (converted, type(converted)) == (output, type(output))


def test_a_stored_row_is_json_and_amazon_ion(tmp_path: Path) -> None:
    columns = [f"c{number}" for number in range(len(VALUES))]
    converter = Converter(BERLIN, exact_decimals=True)
    rows = converter.rows(columns, [[value for value, _ in VALUES], [None] * len(VALUES)])
    assert write_rows(tmp_path / "rows.ion", rows) == 2
    content = (tmp_path / "rows.ion").read_bytes()
    lines = content.split(b"\n")
    assert len(lines) == 3
    from_json = json.loads(lines[0])
    from_ion = simpleion.loads(lines[0].decode(), single_value=True)
    for column, (value, output) in zip(columns, VALUES, strict=True):
        if isinstance(value, Decimal) and value.is_finite():
            assert from_ion[column] == value
        elif not isinstance(value, dict | list):
            assert from_json[column] == output
            assert (None if output is None else from_ion[column]) == output
    assert b'"c20":12345678901234567890.123' in content
    assert b'"c18":2.50' in content


# -- SQLite -----------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "weather.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE weather (day TEXT, rain REAL, note BLOB)")
        connection.executemany(
            "INSERT INTO weather VALUES (?, ?, ?)", [("2024-01-01", 1.5, b"a"), ("2024-01-02", None, None)]
        )
    connection.close()
    return f"jdbc:sqlite:{path}"


FIRST = {"day": "2024-01-01", "rain": 1.5, "note": "YQ=="}
SECOND = {"day": "2024-01-02", "rain": None, "note": None}


@pytest.mark.parametrize(
    ("properties", "outputs"),
    [
        ({"fetchType": "FETCH"}, {"rows": [FIRST, SECOND], "size": 2}),
        ({"fetchType": "FETCH_ONE"}, {"row": FIRST, "size": 1}),
        ({"fetchType": "NONE"}, None),
        ({}, None),
        ({"fetch": True}, {"rows": [FIRST, SECOND], "size": 2}),
        ({"fetch": True, "fetchOne": True, "store": True}, {"row": FIRST, "size": 1}),
    ],
)
def test_sqlite_fetch_types(bench: Bench, database: str, properties: dict[str, Any], outputs: Any) -> None:
    query = {"url": database, "sql": "SELECT * FROM weather ORDER BY day", **properties}
    assert bench.outputs(SQLiteQuery, query) == outputs


@pytest.mark.parametrize("properties", [{"fetchType": "STORE"}, {"store": True, "fetch": True}])
def test_sqlite_store(bench: Bench, database: str, properties: dict[str, Any]) -> None:
    outputs = bench.outputs(SQLiteQuery, {"url": database, "sql": "SELECT * FROM weather", **properties})
    assert outputs["size"] == 2
    assert outputs["uri"].endswith("/query.ion")
    assert [json.loads(line) for line in bench.read(outputs["uri"]).splitlines()] == [FIRST, SECOND]
    assert bench.points == [("counter", "fetch.size", 2.0)]


def test_no_row(bench: Bench, database: str) -> None:
    query = {"url": database, "sql": "SELECT * FROM weather WHERE day = 'x'"}
    assert bench.outputs(SQLiteQuery, {**query, "fetchType": "FETCH_ONE"}) == {"size": 0}
    assert bench.outputs(SQLiteQuery, {**query, "fetchType": "FETCH"}) == {"rows": [], "size": 0}
    stored = bench.outputs(SQLiteQuery, {**query, "fetchType": "STORE"})
    assert (stored["size"], bench.read(stored["uri"])) == (0, "")


def test_parameters_are_bound_not_pasted(bench: Bench, database: str) -> None:
    query = {"url": database, "sql": "SELECT day FROM weather WHERE day = :day OR day = :other", "fetchType": "FETCH"}
    parameters = {"day": "2024-01-02", "other": "x' OR '1'='1", "unused": 1}
    assert bench.outputs(SQLiteQuery, {**query, "parameters": parameters})["rows"] == [{"day": "2024-01-02"}]


def test_several_statements_in_one_query_are_one_transaction(bench: Bench, database: str) -> None:
    sql = "INSERT INTO weather (day) VALUES ('new'); SELECT count(*) AS n FROM weather;"
    assert bench.outputs(SQLiteQuery, {"url": database, "sql": sql, "fetchType": "FETCH_ONE"})["row"] == {"n": 3}
    assert "no such table: nowhere" in bench.error(
        SQLiteQuery, {"url": database, "sql": "DELETE FROM weather; SELECT * FROM nowhere"}
    )
    count = {"url": database, "sql": "SELECT count(*) AS n FROM weather", "fetchType": "FETCH_ONE"}
    assert bench.outputs(SQLiteQuery, count)["row"] == {"n": 3}


def test_after_sql_runs_in_the_same_transaction(bench: Bench, database: str) -> None:
    query = {"url": database, "sql": "SELECT day FROM weather ORDER BY day", "fetchType": "STORE"}
    assert "SQLite:" in bench.error(SQLiteQuery, {**query, "afterSQL": "DELETE FROM weather; DELETE FROM nowhere"})
    assert bench.outputs(SQLiteQuery, {**query, "afterSQL": "DELETE FROM weather"})["size"] == 2
    assert bench.outputs(SQLiteQuery, query)["size"] == 0


def test_sqlite_queries(bench: Bench, database: str) -> None:
    sql = "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2); SELECT * FROM t; SELECT sum(n) AS s FROM t"
    outputs = bench.outputs(SQLiteQueries, {"url": database, "sql": sql, "fetchType": "FETCH"})
    assert outputs == {"outputs": [{"rows": [{"n": 1}, {"n": 2}], "size": 2}, {"rows": [{"s": 3}], "size": 1}]}
    assert bench.outputs(SQLiteQueries, {"url": database, "sql": "SELECT 1"}) == {"outputs": []}


@pytest.mark.parametrize(("transaction", "left"), [(True, 0), (False, 1)])
def test_queries_succeed_or_fail_together_unless_told_otherwise(
    bench: Bench, database: str, transaction: bool, left: int
) -> None:
    sql = "INSERT INTO weather (day) VALUES ('x'); INSERT INTO nowhere VALUES (1)"
    bench.error(SQLiteQueries, {"url": database, "sql": sql, "transaction": transaction})
    query = {"url": database, "sql": "SELECT count(*) AS n FROM weather WHERE day = 'x'", "fetchType": "FETCH_ONE"}
    assert bench.outputs(SQLiteQuery, query)["row"] == {"n": left}


def test_a_sqlite_database_goes_from_task_to_task(bench: Bench) -> None:
    made = bench.outputs(
        SQLiteQueries,
        {"url": "jdbc:sqlite:my.db", "sql": "CREATE TABLE t (n); INSERT INTO t VALUES (7)", "outputDbFile": True},
    )
    assert made["databaseUri"].endswith("/my.db")
    query = {"url": "jdbc:sqlite:other.db", "sqliteFile": made["databaseUri"], "sql": "SELECT n FROM t"}
    assert bench.outputs(SQLiteQuery, {**query, "fetchType": "FETCH_ONE"})["row"] == {"n": 7}
    assert bench.outputs(SQLiteQuery, {"sql": "SELECT 1 AS a", "fetchType": "FETCH_ONE"})["row"] == {"a": 1}


@pytest.mark.parametrize(
    ("properties", "error"),
    [
        ({"url": "jdbc:mysql:x", "sql": "x"}, "`jdbc:mysql:x` is not the URL of a SQLite database"),
        ({"sql": "SELEC 1"}, 'SQLite: near "SELEC": syntax error'),
        ({"url": "jdbc:sqlite:/no/such/folder/x.db", "sql": "SELECT 1"}, "SQLite: unable to open database file"),
        ({"url": "jdbc:sqlite::memory:", "sql": "SELECT 1", "outputDbFile": True}, "`outputDbFile` needs a database"),
        ({"sql": "SELECT 1", "timeZoneId": "Mars/Base", "fetchType": "FETCH"}, "`Mars/Base` is not a known time zone"),
        ({"sql": "SELECT :a"}, "SQLite: "),
    ],
)
def test_sqlite_errors(bench: Bench, properties: dict[str, Any], error: str) -> None:
    assert bench.error(SQLiteQuery, properties).startswith(error)


ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"


def test_a_kill_ends_a_query(bench: Bench) -> None:
    stop = lambda context: threading.Timer(0.05, context.stop).start()  # noqa: E731 - short as it is
    result = bench.run(SQLiteQuery, {"sql": ENDLESS, "fetchType": "FETCH"}, on_context=stop)
    assert result.state is State.KILLED


def test_queries_are_dispatched() -> None:
    assert SQLiteQuery.kind_of({}) is Kind.DISPATCHED


# -- DuckDB -----------------------------------------------------------------------------------------


def test_duckdb_values(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    sql = """
    SELECT 1::HUGEINT AS h, 2.50::DECIMAL(10,2) AS d, DATE '2024-05-01' AS day, TIME '10:00:01' AS t,
      TIMESTAMP '2024-05-01 10:00:00' AS ts, INTERVAL 36 HOUR AS i, 'a'::BLOB AS b, [1, 2] AS l, {'k': [true]} AS s,
      MAP {'x': 1} AS m, UUID '00000000-0000-0000-0000-000000000001' AS u, 'nan'::FLOAT AS n, :p AS p, NULL AS z
    """
    query = {"sql": sql, "parameters": {"p": "it's"}, "fetchType": "FETCH_ONE"}
    assert bench.outputs(DuckDBQuery, query)["row"] == {
        "h": 1, "d": 2.5, "day": "2024-05-01", "t": "10:00:01", "ts": "2024-05-01T10:00:00", "i": "PT36H", "b": "YQ==",
        "l": [1, 2], "s": {"k": [True]}, "m": {"x": 1}, "u": "00000000-0000-0000-0000-000000000001", "n": None,
        "p": "it's", "z": None,
    }  # fmt: skip


def test_duckdb_time_zones(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pytz")
    query = {"sql": "SELECT TIMESTAMPTZ '2024-05-01 10:00:00+00' AS t", "fetchType": "FETCH_ONE"}
    assert bench.outputs(DuckDBQuery, query)["row"] == {"t": "2024-05-01T10:00:00+00:00"}
    query["timeZoneId"] = "Europe/Berlin"
    assert bench.outputs(DuckDBQuery, query)["row"] == {"t": "2024-05-01T12:00:00+02:00"}


def test_duckdb_reads_and_writes_files(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    properties = {
        "inputFiles": {"in.csv": bench.put("a,b\n1,x\n2,y\n")},
        "sql": f"CREATE TABLE t AS SELECT * FROM 'in.csv'; COPY t TO '{WORKING_DIR_TOKEN}/out.csv' (HEADER); FROM t",  # noqa: S608 - a placeholder
        "outputFiles": ["out.csv"],
        "fetchType": "STORE",
    }
    outputs = bench.outputs(DuckDBQuery, properties)
    assert bench.read(outputs["outputFiles"]["out.csv"]) == "a,b\n1,x\n2,y\n"
    assert [json.loads(line) for line in bench.read(outputs["uri"]).splitlines()] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_duckdb_queries_give_what_queries_give_only(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    sql = "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2); SELECT * FROM t; SELECT count(*) AS Count FROM t"
    outputs = bench.outputs(DuckDBQueries, {"sql": sql, "fetchType": "FETCH", "outputDbFile": True})
    assert outputs["outputs"] == [{"rows": [{"n": 1}, {"n": 2}], "size": 2}, {"rows": [{"Count": 2}], "size": 1}]
    again = {"databaseUri": outputs["databaseUri"], "sql": "SELECT max(n) AS m FROM t", "fetchType": "FETCH_ONE"}
    assert bench.outputs(DuckDBQuery, again)["row"] == {"m": 2}


def test_duckdb_errors_and_transactions(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    url = f"jdbc:duckdb:{tmp_path}/x.duckdb"
    bench.outputs(DuckDBQueries, {"url": url, "sql": "CREATE TABLE t (n INTEGER)"})
    error = bench.error(DuckDBQueries, {"url": url, "sql": "INSERT INTO t VALUES (1); SELECT * FROM nowhere"})
    assert error.startswith("DuckDB: Catalog Error: Table with name nowhere does not exist!")
    count = {"url": url, "sql": "SELECT count(*) AS n FROM t", "fetchType": "FETCH_ONE"}
    assert bench.outputs(DuckDBQuery, count)["row"] == {"n": 0}
    assert "DuckDB: Parser Error" in bench.error(DuckDBQuery, {"sql": "SELEC"})
    assert "is not the URL of a DuckDB database" in bench.error(DuckDBQuery, {"url": "x", "sql": "SELECT 1"})


def test_a_kill_ends_a_duckdb_query(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    stop = lambda context: threading.Timer(0.1, context.stop).start()  # noqa: E731 - short as it is
    sql = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b"
    assert bench.run(DuckDBQuery, {"sql": sql, "fetchType": "FETCH"}, on_context=stop).state is State.KILLED


def test_a_kill_that_comes_before_the_query_ends_it_too(bench: Bench) -> None:
    pytest.importorskip("duckdb")
    sql = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b"
    for task in (DuckDBQuery, SQLiteQuery):
        if task is SQLiteQuery:
            sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        properties = {"url": "jdbc:sqlite::memory:"} if task is SQLiteQuery else {}
        stop = lambda context: context.stop()  # noqa: E731 - short as it is
        assert bench.run(task, {**properties, "sql": sql, "fetchType": "FETCH"}, on_context=stop).state is State.KILLED


def test_a_driver_that_is_not_installed_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "headrace[duckdb]" in bench.error(DuckDBQuery, {"sql": "SELECT 1"})
    assert "headrace[postgresql]" in bench.error(
        PostgreSQLQuery, {"url": "jdbc:postgresql://x.example/y", "sql": "SELECT 1"}
    )


# -- PostgreSQL URLs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("jdbc:postgresql://h.example:1/d", {"host": "h.example", "port": "1", "dbname": "d"}),
        ("jdbc:postgresql://h.example/", {"host": "h.example", "port": "5432"}),
        ("jdbc:postgresql:d", {"host": "localhost", "port": "5432", "dbname": "d"}),
        ("jdbc:postgresql://a.example:1,b.example:2/d", {"host": "a.example,b.example", "port": "1,2", "dbname": "d"}),
        ("jdbc:postgresql://[::1]:3/d%20x", {"host": "::1", "port": "3", "dbname": "d x"}),
        (
            "jdbc:postgresql://h.example/d?user=u&password=p%26&ssl=true&ApplicationName=a&prepareThreshold=0",
            {
                "host": "h.example",
                "port": "5432",
                "dbname": "d",
                "user": "u",
                "password": "p&",
                "sslmode": "verify-full",
                "application_name": "a",
            },
        ),
        (
            "jdbc:postgresql://h.example/d?currentSchema=a,b&options=-c%20x=1&targetServerType=primary",
            {
                "host": "h.example",
                "port": "5432",
                "dbname": "d",
                "options": "-c x=1 -c search_path=a,b",
                "target_session_attrs": "primary",
            },
        ),
    ],
)
def test_postgresql_urls(url: str, settings: dict[str, str]) -> None:
    assert connection_settings(url) == settings
