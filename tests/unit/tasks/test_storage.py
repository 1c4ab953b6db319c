"""Tasks on stored files, namespace files, keys and states, and a WorkingDirectory's own work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.model.state import State
from headrace_tasks import kv, state, streams
from headrace_tasks.namespace import DeleteFiles, DownloadFiles, UploadFiles
from headrace_tasks.storage import (
    Concat,
    Delete,
    LocalFiles,
    PurgeCurrentExecutionFiles,
    Reverse,
    Size,
    Split,
    Write,
)
from headrace_tasks.storage_items import DeduplicateItems, FilterItems
from headrace_tasks.task_files import glob
from headrace_tasks.working_directory import CollectWorkingDirectory, PrepareWorkingDirectory
from unit.tasks.harness import FOLDER, START, TASK_FOLDER, Bench


def test_concat(bench: Bench) -> None:
    uris = [bench.put("a\n", "1"), bench.put("b", "2"), bench.put("", "3")]
    assert bench.read(bench.outputs(Concat, {"files": uris})["uri"]) == "a\nb"
    uri = bench.outputs(Concat, {"files": uris, "separator": "--", "extension": ".csv"})["uri"]
    assert uri.endswith(".csv")
    assert bench.read(uri) == "a\n--b--"


@pytest.mark.parametrize(
    ("properties", "parts"),
    [
        ({"rows": 2}, ["1\n22\n", "333\n4\n", "5\n"]),
        ({"rows": 9}, ["1\n22\n333\n4\n5\n"]),
        ({"partitions": 2}, ["1\n333\n5\n", "22\n4\n"]),
        ({"partitions": 9}, ["1\n", "22\n", "333\n", "4\n", "5\n"]),
        ({"bytes": "5"}, ["1\n22\n", "333\n", "4\n5\n"]),
        ({"bytes": "1 B"}, ["1\n", "22\n", "333\n", "4\n", "5\n"]),
        ({"bytes": "1KB"}, ["1\n22\n333\n4\n5\n"]),
    ],
)
def test_split(bench: Bench, properties: dict[str, Any], parts: list[str]) -> None:
    uri = bench.put("1\n22\n333\n4\n5", "rows.ion")
    uris = bench.outputs(Split, {"from": uri, **properties})["uris"]
    assert [bench.read(each) for each in uris] == parts
    assert all(each.endswith(".ion") for each in uris)


def test_split_by_another_separator_and_of_nothing(bench: Bench) -> None:
    uri = bench.put("a||b||c||")
    uris = bench.outputs(Split, {"from": uri, "rows": 2, "separator": "||"})["uris"]
    assert [bench.read(each) for each in uris] == ["a||b||", "c||"]
    assert bench.outputs(Split, {"from": bench.put(""), "rows": 1})["uris"] == []
    assert bench.error(Split, {"from": uri}) == "One of `bytes`, `partitions` and `rows` is required"
    assert "is not a size such as" in bench.error(Split, {"from": uri, "bytes": "many"})


def test_size_and_delete(bench: Bench) -> None:
    uri = bench.put("12345")
    assert bench.outputs(Size, {"uri": uri}) == {"size": 5}
    assert bench.outputs(Delete, {"uri": uri}) == {"uri": uri, "deleted": True}
    assert bench.outputs(Delete, {"uri": uri}) == {"uri": uri, "deleted": False}
    assert bench.error(Delete, {"uri": uri, "errorOnMissing": True}) == f"Unable to find file '{uri}'"
    assert bench.error(Size, {"uri": uri}) == f"The file '{uri}' does not exist"


@pytest.mark.parametrize(
    ("content", "separator", "reversed_content"),
    [
        ("1\n2\n3\n", "\n", "3\n2\n1\n"),
        ("1\n2", "\n", "2\n1\n"),
        ("a::b::", "::", "b::a::"),
        ("", "\n", ""),
        ("\n\n1\n", "\n", "1\n\n\n"),
    ],
)
def test_reverse(bench: Bench, content: str, separator: str, reversed_content: str) -> None:
    uri = bench.outputs(Reverse, {"from": bench.put(content), "separator": separator})["uri"]
    assert bench.read(uri) == reversed_content


def test_reverse_in_another_charset(bench: Bench) -> None:
    uri = bench.put("ä\nö\n".encode("utf-16-le"))
    result = bench.outputs(Reverse, {"from": uri, "charset": "UTF-16LE"})["uri"]
    with bench.storage.open(result) as stream:
        assert stream.read().decode("utf-16-le") == "ö\nä\n"
    assert bench.error(Reverse, {"from": uri, "charset": "klingon"}) == "`klingon` is not a known charset"


@given(st.text("a\n:", max_size=60), st.sampled_from(["\n", "::", "a"]), st.integers(1, 7))
def test_items_are_the_same_from_both_ends_whatever_the_chunks(text: str, separator: str, chunk: int) -> None:
    import io
    import tempfile

    original = streams.CHUNK
    streams.CHUNK = chunk
    try:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_text(text)
            forwards = list(streams.items(io.BytesIO(text.encode()), separator.encode()))
            backwards = list(streams.items_backwards(Path(file.name), separator.encode()))
    finally:
        streams.CHUNK = original
    expected = text.encode().split(separator.encode())
    assert forwards == (expected if expected[-1] else expected[:-1])
    assert backwards == forwards[::-1]


ROWS = '{"id": 1, "v": "a"}\n{"id": 2, "v": "b"}\n\n{"id": 1, "v": "c"}\n'


def test_deduplicate_keeps_the_last_of_every_key(bench: Bench) -> None:
    outputs = bench.outputs(DeduplicateItems, {"from": bench.put(ROWS), "expr": "{{ id }}"})
    assert bench.read(outputs.pop("uri")) == '{"id": 2, "v": "b"}\n{"id": 1, "v": "c"}\n'
    assert outputs == {"numKeys": 2, "processedItemsTotal": 3, "droppedItemsTotal": 1}


def test_items_may_be_amazon_ion(bench: Bench) -> None:
    uri = bench.put("{id:1,when:2024-01-01T}\n{id:1}\n")
    assert bench.outputs(DeduplicateItems, {"from": uri, "expr": "{{ id }}"})["numKeys"] == 1
    error = bench.error(DeduplicateItems, {"from": bench.put("{id: \n"), "expr": "{{ id }}"})
    assert error == "The item `{id: ` is neither JSON nor Amazon Ion"


@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        ({"filterCondition": "{{ n > 1 }}"}, [2, 3]),
        ({"filterCondition": "{{ n > 1 }}", "filterType": "EXCLUDE"}, [1]),
        ({"filterCondition": "{{ missing }}", "errorOrNullBehavior": "INCLUDE"}, [1, 2, 3]),
        ({"filterCondition": "{{ missing }}", "errorOrNullBehavior": "EXCLUDE"}, []),
        ({"filterCondition": "{{ nothing }}", "errorOrNullBehavior": "INCLUDE"}, [1, 2, 3]),
        ({"filterCondition": "{{ empty }}"}, []),
        ({"filterCondition": "0"}, []),
        ({"filterCondition": "yes"}, [1, 2, 3]),
    ],
)
def test_filter(bench: Bench, properties: dict[str, str], kept: list[int]) -> None:
    lines = [f'{{"n": {n}, "nothing": null, "empty": ""}}\n' for n in (1, 2, 3)]
    outputs = bench.outputs(FilterItems, {"from": bench.put("".join(lines)), **properties})
    assert bench.read(outputs["uri"]) == "".join(lines[n - 1] for n in kept)
    assert (outputs["processedItemsTotal"], outputs["droppedItemsTotal"]) == (3, 3 - len(kept))


@pytest.mark.parametrize("condition", ["{{ missing }}", "{{ n }}"])
def test_a_filter_that_cannot_be_evaluated_fails(bench: Bench, condition: str) -> None:
    error = bench.error(FilterItems, {"from": bench.put('{"n": null}'), "filterCondition": condition})
    assert error.startswith("The condition could not be evaluated for the item `{'n': None}`")


def test_purge_leaves_what_belongs_to_others_and_to_the_engine(bench: Bench) -> None:
    own = [bench.put("1"), f"{FOLDER}/inputs/file/a.csv"]
    others = [f"{FOLDER}/_outputs/run0-0.json", "kestra:///company/team/my-flow/executions/exec2/tasks/t/r/x"]
    for uri in [*own[1:], *others]:
        bench.storage.put(uri, b"x")
    assert bench.outputs(PurgeCurrentExecutionFiles)["uris"] == own
    assert [file.uri for file in bench.storage.list("kestra:///company")] == sorted(others)


def test_write(bench: Bench) -> None:
    uri = bench.outputs(Write, {"content": "ä", "extension": ".json"})["uri"]
    assert (uri, bench.read(uri)) == (f"{TASK_FOLDER}/write.json", "ä")
    assert bench.outputs(Write, {"content": ""})["uri"].endswith("/write.tmp")


def test_local_files(bench: Bench) -> None:
    properties = {"inputs": {"a.txt": "1", "b.csv": bench.put("2")}, "outputs": ["*.csv"]}
    uris = bench.outputs(LocalFiles, properties)["uris"]
    assert list(uris) == ["b.csv"]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.csv", ["a.csv", ".csv"], ["a/b.csv", "a.csvx"]),
        ("**.csv", ["a.csv", "a/b.csv"], ["a.txt"]),
        ("**/*.csv", ["a.csv", "a/b/c.csv"], ["a.txt"]),
        ("a/**", ["a/b", "a/b/c"], ["b/a/c"]),
        ("glob:**/dbt/**", ["x/dbt/y", "dbt/y"], ["x/dbt"]),
        ("/a?.{txt,csv}", ["ab.txt", "ac.csv"], ["a.txt", "ab.ion"]),
        ("[a-c]x[!0-9]", ["axb", "cx_"], ["dxb", "ax1"]),
        ("./a.b", ["a.b"], ["aXb"]),
        ("{a,b", ["a", "b"], ["c"]),
        ("x,y", ["x,y"], ["x"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], other: list[str]) -> None:
    assert all(glob(pattern).fullmatch(path) for path in matching)
    assert not any(glob(pattern).fullmatch(path) for path in other)


# -- Keys and states --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "stored", "stored_kind"),
    [
        ("x", None, "x", "STRING"),
        (1, None, 1, "NUMBER"),
        (True, None, True, "BOOLEAN"),
        ({"a": [1]}, None, {"a": [1]}, "JSON"),
        (None, None, None, "JSON"),
        (1.5, "STRING", "1.5", "STRING"),
        (True, "STRING", "true", "STRING"),
        ({"a": 1}, "STRING", '{"a":1}', "STRING"),
        ("12", "NUMBER", 12, "NUMBER"),
        ("1.50", "NUMBER", 1.5, "NUMBER"),
        ("True", "BOOLEAN", True, "BOOLEAN"),
        ("2024-05-01T10:00:00Z", "DATETIME", "2024-05-01T10:00:00Z", "DATETIME"),
        ("2024-05-01", "DATE", "2024-05-01", "DATE"),
        ("P1DT2H", "DURATION", "PT26H", "DURATION"),
        ('{"a": 1}', "JSON", {"a": 1}, "JSON"),
    ],
)
def test_kv_values_by_kind(bench: Bench, value: Any, kind: str | None, stored: Any, stored_kind: str) -> None:
    result = bench.run(kv.Set, {"key": "k", "value": value, **({"kvType": kind} if kind else {})})
    assert (result.state, result.outputs) == (State.SUCCESS, None)
    entry = bench.kv.get("company.team", "k")
    assert entry is not None
    assert (entry.value, entry.kind) == (stored, stored_kind)
    if stored is not None:
        assert bench.outputs(kv.Get, {"key": "k"}) == {"value": stored}


@pytest.mark.parametrize(
    ("properties", "error"),
    [
        ({"key": "k", "value": "x", "kvType": "NUMBER"}, "`x` is not a NUMBER"),
        ({"key": "k", "value": "yes", "kvType": "BOOLEAN"}, "`yes` is not a BOOLEAN"),
        ({"key": "k", "value": "today", "kvType": "DATE"}, "`today` is not a DATE"),
        ({"key": "k", "value": "5 s", "kvType": "DURATION"}, "`5 s` is not a DURATION"),
        ({"key": "_k", "value": 1}, "`_k` is not a valid key"),
        ({"key": "a/b", "value": 1}, "`a/b` is not a valid key"),
    ],
)
def test_kv_refuses_what_is_not_of_the_kind(bench: Bench, properties: dict[str, Any], error: str) -> None:
    assert bench.error(kv.Set, properties).startswith(error)


def test_kv_set_may_refuse_to_overwrite_and_values_expire(bench: Bench) -> None:
    bench.run(kv.Set, {"key": "k", "value": 1, "ttl": "PT1H"})
    assert bench.error(kv.Set, {"key": "k", "value": 2, "overwrite": False}) == (
        "Cannot set value for key 'k'. Key already exists and `overwrite` is set to `false`."
    )
    assert bench.outputs(kv.GetKeys) == {"keys": ["k"]}
    bench.clock.advance(timedelta(hours=1))
    assert bench.outputs(kv.Get, {"key": "k"}) is None
    assert bench.outputs(kv.GetKeys) == {"keys": []}
    assert bench.run(kv.Set, {"key": "k", "value": 2, "overwrite": False}).state is State.SUCCESS


def test_kv_get_looks_in_the_namespaces_above_its_own(bench: Bench) -> None:
    bench.kv.put("company", "k", "STRING", "above", now=START)
    bench.kv.put("other", "k", "STRING", "elsewhere", now=START)
    assert bench.outputs(kv.Get, {"key": "k"}) == {"value": "above"}
    assert bench.outputs(kv.Get, {"key": "k", "namespace": "other"}) == {"value": "elsewhere"}
    assert bench.outputs(kv.Get, {"key": "k", "namespace": "other.deep"}) is None
    assert bench.error(kv.Get, {"key": "x", "errorOnMissing": True}) == (
        "No value found for key 'x' in namespace 'company.team'"
    )


def test_kv_keys_and_delete(bench: Bench) -> None:
    for key in ("b_1", "a_2", "a_1"):
        bench.run(kv.Set, {"key": key, "value": 1})
    assert bench.outputs(kv.GetKeys, {"prefix": "a_"}) == {"keys": ["a_1", "a_2"]}
    assert bench.outputs(kv.Delete, {"key": "a_1"}) == {"deleted": True}
    assert bench.outputs(kv.Delete, {"key": "a_1"}) == {"deleted": False}
    assert "No value found" in bench.error(kv.Delete, {"key": "a_1", "errorOnMissing": True})


def test_a_state_is_merged_and_kept_by_flow_and_loop_value(bench: Bench) -> None:
    assert bench.outputs(state.Set, {"data": {"a": 1}}) == {"count": 1, "key": "my-flow_tasks-states_default"}
    assert bench.outputs(state.Set, {"data": {"b": 2}})["count"] == 2
    assert bench.outputs(state.Get) == {"count": 2, "data": {"a": 1, "b": 2}}
    in_loop = {"variables": {"taskrun": {"value": "x"}}}
    assert bench.outputs(state.Get, job=in_loop) == {"count": 0, "data": {}}
    assert bench.outputs(state.Get, {"taskrunValue": False}, job=in_loop)["count"] == 2
    assert bench.outputs(state.Set, {"data": {}, "namespace": True})["key"] == "tasks-states_default"
    assert bench.error(state.Get, {"name": "n", "errorOnMissing": True}) == "State 'n' does not exist"
    assert bench.outputs(state.Delete) == {"deleted": True}
    assert bench.outputs(state.Delete) == {"deleted": False}
    assert bench.error(state.Delete, {"errorOnMissing": True}) == "State 'default' does not exist"


# -- Namespace files --------------------------------------------------------------------------------


def test_upload_by_map_and_by_pattern(bench: Bench, tmp_path: Path) -> None:
    workspace = tmp_path / "shared"
    (workspace / "dbt").mkdir(parents=True)
    (workspace / "dbt" / "m.sql").write_text("select")
    (workspace / "other.txt").write_text("x")
    properties = {
        "namespace": "ns.a",
        "files": ["glob:**/dbt/**"],
        "destination": "/d/",
        "filesMap": {"L": bench.put("1")},
    }
    files = bench.outputs(UploadFiles, properties, workspace=workspace)["files"]
    assert files == {"d/dbt/m.sql": "kestra:///ns/a/_files/d/dbt/m.sql", "d/L": "kestra:///ns/a/_files/d/L"}
    assert bench.read(files["d/L"]) == "1"
    assert bench.error(UploadFiles, {"namespace": "ns.a"}) == "One of `files` and `filesMap` is required"


def test_upload_conflicts(bench: Bench) -> None:
    properties = {"namespace": "ns", "filesMap": {"a": bench.put("new")}}
    bench.storage.put("kestra:///ns/_files/a", b"old")
    assert bench.outputs(UploadFiles, {**properties, "conflict": "SKIP"})["files"] == {}
    assert bench.error(UploadFiles, {**properties, "conflict": "ERROR"}) == (
        "The file 'a' exists in the namespace 'ns' already"
    )
    bench.outputs(UploadFiles, properties)
    assert bench.read("kestra:///ns/_files/a") == "new"


def test_download_and_delete(bench: Bench) -> None:
    for path in ("a.yaml", "sub/b.yaml", "c.txt"):
        bench.storage.put(f"kestra:///ns/_files/{path}", path.encode())
    files = bench.outputs(DownloadFiles, {"namespace": "ns", "files": "**.yaml", "destination": "/to/"})["files"]
    assert {path: bench.read(uri) for path, uri in files.items()} == {
        "to/a.yaml": "a.yaml",
        "to/sub/b.yaml": "sub/b.yaml",
    }
    assert all(uri.startswith(TASK_FOLDER) for uri in files.values())
    outputs = bench.outputs(DeleteFiles, {"namespace": "ns", "files": ["sub/**", "c.txt", "none"]})
    assert (sorted(outputs["files"]), outputs["deleted"]) == (["c.txt", "sub/b.yaml"], 2)
    assert [file.uri for file in bench.storage.list("kestra:///ns")] == ["kestra:///ns/_files/a.yaml"]


# -- WorkingDirectory -------------------------------------------------------------------------------


def test_a_working_directory_is_prepared_and_collected(bench: Bench, tmp_path: Path) -> None:
    bench.storage.put("kestra:///company/team/_files/lib.py", b"lib")
    workspace = tmp_path / "shared"
    workspace.mkdir()
    prepare = {"inputFiles": {"in.txt": "1"}, "namespaceFiles": {"enabled": True}, "cache": {"patterns": ["keep/**"]}}
    assert bench.run(PrepareWorkingDirectory, prepare, workspace=workspace).outputs is None
    assert sorted(path.name for path in workspace.iterdir()) == ["in.txt", "lib.py"]
    (workspace / "keep" / "deep").mkdir(parents=True)
    (workspace / "keep" / "deep" / "run.sh").write_text("#!")
    (workspace / "keep" / "deep" / "run.sh").chmod(0o755)
    collect = {"outputFiles": ["*.txt"], "cache": {"patterns": ["keep/**"]}}
    files = bench.outputs(CollectWorkingDirectory, collect, workspace=workspace)["outputFiles"]
    assert list(files) == ["in.txt"]
    assert bench.storage.stat("kestra:///company/team/my-flow/my-task/cache/cache.zip") is not None

    again = tmp_path / "again"
    again.mkdir()
    bench.clock.advance(timedelta(hours=1))
    too_old = {"cache": {"patterns": ["keep/**"], "ttl": "PT59M"}}
    bench.run(PrepareWorkingDirectory, too_old, workspace=again)
    assert list(again.iterdir()) == []
    assert bench.run(PrepareWorkingDirectory, {"cache": {"patterns": ["x"]}, "cacheKey": "k"}, workspace=again)
    assert list(again.iterdir()) == []
    bench.run(PrepareWorkingDirectory, {"cache": {"patterns": ["keep/**"], "ttl": "PT1H"}}, workspace=again)
    assert (again / "keep" / "deep" / "run.sh").stat().st_mode & 0o777 == 0o755
