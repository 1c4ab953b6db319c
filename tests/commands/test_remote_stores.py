"""``headrace kv``, ``namespace``, ``trigger`` and ``logs`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Remote = Callable[..., Result]

FLOW = """id: daily
namespace: {namespace}
tasks:
  - {{id: say, type: io.kestra.plugin.core.log.Log, message: "good {{{{ trigger.date ?? 'day' }}}}", level: WARN}}
triggers:
  - {{id: mornings, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 6 * * *"}}
"""


def test_keys_are_set_read_listed_and_deleted(remote: Remote, tmp_path: Path) -> None:
    assert remote("kv", "set", "store.kv", "limits", '{"rows": [1, true]}').stderr == "limits is set.\n"
    remote("kv", "set", "store.kv", "a.b-c", "hello", "--ttl", "PT1H")
    remote("kv", "set", "store.kv", "number", "12", "--text")
    (tmp_path / "v.txt").write_text("from a file")
    remote("kv", "set", "store.kv", "file", "--file", tmp_path / "v.txt")
    assert json.loads(remote("kv", "get", "store.kv", "limits").stdout) == {"rows": [1, True]}
    assert remote("kv", "get", "store.kv", "a.b-c").stdout == "hello\n"
    assert remote("kv", "get", "store.kv", "file").stdout == "from a file\n"
    assert json.loads(remote("kv", "get", "store.kv", "number", "-o", "json").stdout)["type"] == "STRING"
    rows = remote("kv", "list", "store.kv").stdout.splitlines()[1:]
    assert [row.split()[1] for row in rows] == ["a.b-c", "file", "limits", "number"]
    inherited = json.loads(remote("kv", "list", "store.kv.below", "--inherited", "-o", "json").stdout)
    assert "limits" in [each["key"] for each in inherited]
    assert remote("kv", "delete", "store.kv", "limits", "none").stdout == "limits\n"
    assert remote("kv", "get", "store.kv", "limits", code=2).stderr.startswith("Error: Not Found: ")
    assert "either VALUE or --file" in remote("kv", "set", "store.kv", "x", code=2).stderr
    assert "Error: " in remote("kv", "set", "store.kv", "x", "y", "--ttl", "soon", code=2).stderr


def test_files_are_uploaded_listed_downloaded_and_removed(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.py").write_text("print(1)")
    (folder / "sub" / "two.zip").write_bytes(b"PK\x03\x04 is no archive")
    (folder / ".hidden").write_text("x")
    told = remote("namespace", "upload", "store.files", folder, "--to", "lib/")
    assert told.stdout == "lib/one.py\nlib/sub/two.zip\n"
    assert remote("namespace", "files", "store.files").stdout == told.stdout
    assert remote("namespace", "files", "store.files", "-q", "two").stdout == "lib/sub/two.zip\n"
    remote("namespace", "download", "store.files", "lib/sub/two.zip", "--to", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"PK\x03\x04 is no archive"
    assert remote("namespace", "download", "store.files", "lib/one.py").stdout == "print(1)"
    (folder / "one.py").write_text("print(2)")
    remote("namespace", "upload", "store.files", folder / "one.py", "--to", "lib")
    assert remote("namespace", "revisions", "store.files", "lib/one.py").stdout.split() == ["REVISION", "1", "2"]
    listed = json.loads(remote("namespace", "revisions", "store.files", "lib/one.py", "-o", "json").stdout)
    assert listed == [{"revision": 1}, {"revision": 2}]
    assert remote("namespace", "download", "store.files", "lib/one.py", "--revision", "1").stdout == "print(1)"
    assert remote("namespace", "download", "store.files", "lib/one.py").stdout == "print(2)"
    told = remote("namespace", "download", "store.files", "lib/one.py", "--revision", "3", code=2)
    assert "lib/one.py with revision 3" in told.stderr
    remote("namespace", "remove", "store.files", "lib/sub")
    assert remote("namespace", "files", "store.files").stdout == "lib/one.py\n"
    assert "Not Found" in remote("namespace", "download", "store.files", "lib/none", code=2).stderr


def test_triggers_are_listed_switched_and_backfilled(remote: Remote) -> None:
    remote("flow", "save", "-", stdin=FLOW.format(namespace="store.trigger"))
    assert "store.trigger\n" in remote("namespace", "list", "-q", "store.trigger").stdout

    def kept() -> Any:
        (found,) = json.loads(remote("trigger", "list", "--flow", "store.trigger.daily", "-o", "json").stdout)
        return found["triggerContext"]

    name = ("store.trigger.daily", "mornings")
    assert remote("trigger", "disable", *name).stderr == "mornings is switched off.\n"
    assert kept()["disabled"] is True
    assert "disabled" in remote("trigger", "list", "--namespace", "store.trigger").stdout
    remote("trigger", "enable", *name)
    assert kept()["disabled"] is False
    remote("trigger", "restart", *name)
    assert "is not locked" in remote("trigger", "unlock", *name, code=2).stderr

    listed = remote("trigger", "list", "--flow", "store.trigger.daily").stdout.splitlines()[1].split()
    assert listed[:3] == ["store.trigger.daily", "mornings", "Schedule"]
    assert listed[3].endswith("T06:00:00Z")
    assert listed[4:] == ["-", "-"]  # no date of it has come yet

    dates = ("--start", "2024-12-01T00:00:00Z", "--end", "2024-12-03T00:00:00Z")
    shown = remote("trigger", "backfill", *name, *dates, "--preview").stdout.split()
    assert [date[:13] for date in shown] == ["2024-12-01T06", "2024-12-02T06"]
    assert "has begun" in remote("trigger", "backfill", *name, *dates, "--label", "why=late").stderr
    while len(json.loads(found := _labelled(remote, "why=late"))) < 2:
        pass  # looks again
    assert {each["state"]["current"] for each in json.loads(found)} <= {"CREATED", "RUNNING", "SUCCESS"}
    assert "Give --start" in remote("trigger", "backfill", *name, code=2).stderr
    assert (
        "Did you mean `store.trigger.daily`?" in remote("trigger", "unlock", "store.trigger.dayly", "x", code=2).stderr
    )
    assert "Not Found: " in remote("trigger", "enable", "store.trigger.daily", "none", code=2).stderr


POLLING = """id: asks
namespace: store.polling
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: x}
triggers:
  - {id: asked, type: io.kestra.plugin.core.http.Trigger, uri: "http://127.0.0.1:9", interval: PT1H}
"""


def test_a_trigger_is_listed_under_a_name_that_tells_it_from_others(remote: Remote) -> None:
    remote("flow", "save", "-", stdin=POLLING)
    listed = remote("trigger", "list", "--namespace", "store.polling").stdout.splitlines()[1].split()
    assert listed[:3] == ["store.polling.asks", "asked", "http.Trigger"]


def _labelled(remote: Remote, label: str) -> str:
    return remote("execution", "list", "-l", label, "-o", "json").stdout


def test_log_lines_are_searched(remote: Remote) -> None:
    remote("flow", "save", "-", stdin=FLOW.format(namespace="store.logs"))
    for _ in range(2):
        remote("execution", "create", "store.logs.daily", "--follow", "--quiet")
    told = remote("logs", "--flow", "store.logs.daily", "--level", "warn", "-q", "good").stdout.splitlines()
    assert len(told) == 2
    assert all("WARN" in row and "store.logs.daily" in row and row.endswith("say: good day") for row in told)
    assert told == sorted(told), "the newest at the end"
    assert len(json.loads(remote("logs", "--namespace", "store.logs", "--limit", "1", "-o", "json").stdout)) == 1
    assert remote("logs", "--flow", "store.logs.daily", "--level", "ERROR").stdout == ""
    assert remote("logs", "--flow", "store.logs.daily", "--until", "2020-01-01T00:00:00Z").stdout == ""


def test_how_long_things_are_kept_is_set_and_forgotten(remote: Remote) -> None:
    set_ = remote("namespace", "retention", "store.kept", "--executions", "P90D", "--logs", "P14D").stdout
    rows = [row.split() for row in set_.splitlines()[1:]]
    assert rows == [["executions", "P90D", "store.kept"], ["logs", "P14D", "store.kept"], ["files", "FOREVER", "-"]]
    remote("namespace", "retention", "store.kept", "--files", "P1D")
    below = json.loads(remote("namespace", "retention", "store.kept.below", "-o", "json").stdout)
    assert {name: each["length"] for name, each in below["holds"].items()} == {
        "executions": "P90D",
        "logs": "P14D",
        "files": "P1D",
    }
    assert "either" in remote("namespace", "retention", "store.kept", "--inherit", "--logs", "P1D", code=2).stderr
    assert "no length of time" in remote("namespace", "retention", "store.kept", "--logs", "soon", code=2).stderr
    gone = remote("namespace", "retention", "store.kept", "--inherit").stdout
    assert [row.split()[1] for row in gone.splitlines()[1:]] == ["FOREVER"] * 3
