"""The PostgreSQL tasks against a real server of the system's packages, started for these tests alone."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.model.state import State
from headrace_tasks.jdbc import PostgreSQLQueries, PostgreSQLQuery
from unit.tasks.harness import Bench

pytest.importorskip("psycopg")


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: that on PATH, or the newest of Debian's."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return (
        Path(found).parent if found else next((each for each in reversed(folders) if (each / "initdb").exists()), None)
    )


def start(folder: Path, programs: Path) -> tuple[int, list[str]]:
    """Make and start a server on a free port of 127.0.0.1; return the port and how to run its programs."""
    as_owner: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        owner = next((name for name in ("postgres", "nobody") if _exists(name)), None)
        if owner is None or shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user to run it as")
        entry = pwd.getpwnam(owner)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        as_owner = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    run = [*as_owner, str(programs / "initdb"), "-D", data, "-U", "tester", "-A", "trust", "-N", "--no-instructions"]
    subprocess.run(run, check=True, capture_output=True, cwd=folder)
    control = [*as_owner, str(programs / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log")]
    subprocess.run([*control, "-o", settings, "start"], check=True, capture_output=True, cwd=folder)
    return port, control


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the JDBC URL of a running server."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgresql")
    for parent in folder.parents:  # pytest's folders are for their owner alone; the server's user must pass through
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    port, control = start(folder, folder_of_programs)
    yield f"jdbc:postgresql://127.0.0.1:{port}/postgres"
    # Without its folder (another run of pytest clears old ones) there is nothing to ask, and the server ends itself.
    subprocess.run([*control, "-m", "immediate", "stop"], check=folder.exists(), capture_output=True)


@pytest.fixture
def query(bench: Bench, server: str) -> Any:
    """Run a Query and return its outputs."""

    def run(sql: str, **properties: Any) -> Any:
        properties = {"url": server, "username": "tester", "sql": sql, "fetchType": "FETCH_ONE", **properties}
        return bench.outputs(PostgreSQLQuery, properties)

    return run


def test_values(query: Any) -> None:
    sql = """
    SELECT 1::smallint AS a, 9223372036854775807 AS b, 2.50::numeric AS c, 1.5::real AS d, 'NaN'::float8 AS e,
      true AS f, 'ä'::text AS g, DATE '2024-05-01' AS h, TIME '10:00:01.5' AS i, TIMESTAMP '2024-05-01 10:00' AS j,
      TIMESTAMPTZ '2024-05-01 10:00+00' AS k, INTERVAL '1 day 2 hours' AS l, '\\xff00'::bytea AS m,
      '00000000-0000-0000-0000-000000000001'::uuid AS n, '{"x": [1, null]}'::jsonb AS o, ARRAY[1, 2] AS p,
      ARRAY[DATE '2024-05-01'] AS q, NULL AS r, '127.0.0.1'::inet AS s
    """
    assert query(sql)["row"] == {
        "a": 1, "b": 9223372036854775807, "c": 2.5, "d": 1.5, "e": None, "f": True, "g": "ä", "h": "2024-05-01",
        "i": "10:00:01.500000", "j": "2024-05-01T10:00:00", "k": "2024-05-01T10:00:00+00:00", "l": "PT26H",
        "m": "/wA=", "n": "00000000-0000-0000-0000-000000000001", "o": {"x": [1, None]}, "p": [1, 2],
        "q": ["2024-05-01"], "r": None, "s": "127.0.0.1",
    }  # fmt: skip


def test_the_time_zone_is_that_of_the_session_and_of_results(query: Any) -> None:
    sql = "SELECT TIMESTAMPTZ '2024-05-01 10:00+00' AS t, current_setting('TimeZone') AS z"
    assert query(sql)["row"]["z"] == "UTC"
    assert query(sql, timeZoneId="Asia/Tokyo")["row"] == {"t": "2024-05-01T19:00:00+09:00", "z": "Asia/Tokyo"}


def test_parameters(query: Any) -> None:
    sql = "SELECT :n::int + 1 AS a, :t AS b, ':n' AS c, :t AS d, '100%' AS e, :j::jsonb AS f, :l::int[] AS g, '%s' AS h"
    parameters = {"n": "41", "t": "x' OR 1=1", "j": {"k": 1}, "l": [1, 2], "unused": 0}
    assert query(sql, parameters=parameters)["row"] == {
        "a": 42, "b": "x' OR 1=1", "c": ":n", "d": "x' OR 1=1", "e": "100%", "f": {"k": 1}, "g": [1, 2], "h": "%s",
    }  # fmt: skip


@pytest.mark.parametrize("fetch_size", [7, 10_000])
def test_store_streams_from_the_server(bench: Bench, query: Any, fetch_size: int) -> None:
    sql = "SELECT n, repeat('x', 100) AS pad FROM generate_series(1, 20000) AS n"
    outputs = query(sql, fetchType="STORE", fetchSize=fetch_size)
    assert outputs["size"] == 20_000
    lines = bench.read(outputs["uri"]).splitlines()
    assert [json.loads(line)["n"] for line in (lines[0], lines[-1])] == [1, 20_000]


@pytest.mark.parametrize(
    "sql",
    [
        "-- a comment\n/* another */ SELECT 1 AS n",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a",
        "CREATE TEMP TABLE w (n int); WITH a AS (INSERT INTO w VALUES (1) RETURNING n) SELECT * FROM a",
        "VALUES (1)",
        "CREATE TEMP TABLE z (n int); INSERT INTO z VALUES (1) RETURNING n",
        "SHOW server_version",
        "EXPLAIN SELECT 1",
        "SELECT * FROM (VALUES (1)) AS v(n) WHERE n = :n",
    ],
)
def test_store_of_everything_that_gives_rows(query: Any, sql: str) -> None:
    assert query(sql, fetchType="STORE", parameters={"n": 1})["size"] == 1


def test_statements_without_rows_give_nothing(query: Any) -> None:
    assert query("CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1)", fetchType="STORE") is None
    assert query("DO $$ BEGIN PERFORM 1; END $$;", fetchType="FETCH") is None


def test_a_lone_statement_needs_no_transaction(query: Any) -> None:
    assert query("VACUUM", fetchType="NONE") is None


def test_after_sql_and_transactions(bench: Bench, query: Any, server: str) -> None:
    query("CREATE TABLE work (n int); INSERT INTO work SELECT generate_series(1, 3)", fetchType="NONE")
    base = {"url": server, "username": "tester", "fetchType": "STORE", "sql": "SELECT * FROM work"}
    assert "nowhere" in bench.error(PostgreSQLQuery, {**base, "afterSQL": "DELETE FROM work; DELETE FROM nowhere"})
    assert query("SELECT count(*) AS n FROM work")["row"] == {"n": 3}
    assert bench.outputs(PostgreSQLQuery, {**base, "afterSQL": "DELETE FROM work"})["size"] == 3
    assert query("SELECT count(*) AS n FROM work")["row"] == {"n": 0}
    failing = {**base, "sql": "INSERT INTO work VALUES (1); SELECT * FROM nowhere"}
    bench.error(PostgreSQLQueries, failing)
    assert query("SELECT count(*) AS n FROM work")["row"] == {"n": 0}
    bench.error(PostgreSQLQueries, {**failing, "transaction": False})
    assert query("SELECT count(*) AS n FROM work")["row"] == {"n": 1}


def test_queries_give_a_list(bench: Bench, server: str) -> None:
    sql = "CREATE TEMP TABLE q (n int); INSERT INTO q VALUES (1), (2); SELECT n FROM q; SELECT sum(n) AS s FROM q;"
    base = {"url": server, "username": "tester", "sql": sql}
    assert bench.outputs(PostgreSQLQueries, {**base, "fetchType": "FETCH"}) == {
        "outputs": [{"rows": [{"n": 1}, {"n": 2}], "size": 2}, {"rows": [{"s": 3}], "size": 1}]
    }
    stored = bench.outputs(PostgreSQLQueries, {**base, "fetchType": "STORE"})["outputs"]
    assert [each["size"] for each in stored] == [2, 1]
    assert len({each["uri"] for each in stored}) == 2


def test_the_schema_of_the_url(query: Any, server: str) -> None:
    query("CREATE SCHEMA IF NOT EXISTS side; CREATE TABLE IF NOT EXISTS side.only_here (n int)", fetchType="NONE")
    assert query("SELECT count(*) AS n FROM only_here", url=f"{server}?currentSchema=side,public")["row"] == {"n": 0}


@pytest.mark.parametrize(
    ("properties", "error"),
    [
        ({"sql": "SELEC 1"}, 'PostgreSQL: syntax error at or near "SELEC"'),
        ({"sql": "SELECT 1/0", "fetchType": "STORE"}, "PostgreSQL: division by zero"),
        ({"sql": "SELECT 1", "username": "nobody_here"}, 'role "nobody_here" does not exist'),
        ({"sql": "SELECT 1", "url": "jdbc:mysql://x"}, "is not the URL of a PostgreSQL database"),
        ({"sql": "SELECT 1", "url": "jdbc:postgresql://127.0.0.1:1/x"}, "PostgreSQL: connection"),
        ({"sql": "SELECT 1", "sslMode": "REQUIRE"}, "SSL"),
    ],
)
def test_errors(bench: Bench, server: str, properties: dict[str, Any], error: str) -> None:
    assert error in bench.error(PostgreSQLQuery, {"url": server, "username": "tester", **properties})


def test_a_kill_ends_a_query_on_the_server(bench: Bench, query: Any, server: str) -> None:
    waiting = threading.Event()

    def stop(context: Any) -> None:
        def watch() -> None:
            while not query("SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")["row"][
                "n"
            ]:
                pass
            waiting.set()
            context.stop()

        threading.Thread(target=watch).start()

    properties = {"url": server, "username": "tester", "sql": "SELECT pg_sleep(1000)"}
    assert bench.run(PostgreSQLQuery, properties, on_context=stop).state is State.KILLED
    assert waiting.is_set()
    assert query("SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")[
        "row"
    ] == {"n": 0}
