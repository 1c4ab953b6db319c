"""Triggers that hear of events and files: what starts, once, whatever fails on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.adapters.local.buckets import BucketWatch, FolderBuckets
from headrace_engine.core.codec import decode_message
from headrace_engine.event_triggers import EventTriggers
from headrace_engine.language import FlowError
from headrace_engine.language.parser import check
from headrace_engine.ports import BucketFile, PortError
from headrace_engine.testing.runtime import Outcome, VirtualRuntime

FLOW = """
id: {name}
namespace: demo
tasks:
  - {{id: log, type: io.kestra.plugin.core.log.Log, message: "{message}"}}
triggers:
  - id: heard
    type: {kind}
"""
ORDER = """pattern: {source: [shop], detail: {total: [{numeric: [">", 10]}]}}"""


def on_event(*more: str, name: str = "orders", message: str = "{{ trigger.detail.total }}") -> str:
    return FLOW.format(name=name, kind="io.headrace.aws.eventbridge.Trigger", message=message) + lines(more)


def on_file(*more: str, name: str = "files") -> str:
    message = "{{ read(trigger.objects[0].uri) }}"
    kind = "io.kestra.plugin.aws.s3.Trigger"
    return FLOW.format(name=name, kind=kind, message=message) + lines(("bucket: in", *more))


def lines(more: tuple[str, ...]) -> str:
    return "".join(f"    {line}\n" for line in more)


def event(total: float = 20, event_id: str = "e1", **more: Any) -> dict[str, Any]:
    shape = {"version": "0", "id": event_id, "source": "shop", "detail-type": "Order placed", "account": "1"}
    return {**shape, "time": "2026-01-01T00:00:00Z", "resources": [], "detail": {"total": total}, **more}


class Scene:
    def __init__(self, folder: Path) -> None:
        self.runtime = VirtualRuntime(secrets={"X": "s3cret"})
        self.folder = folder
        self.buckets = FolderBuckets(folder, self.runtime.stores.storage)
        self.triggers = EventTriggers(self.runtime.engine, self, self.buckets)
        self.watch = BucketWatch(self.buckets, self.triggers.file_came)
        self.lost: PortError | None = None

    def send(self, execution_id: str, message: bytes) -> None:
        if self.lost is not None:
            raise self.lost
        self.runtime.world.post(execution_id, decode_message(message))

    def executions(self) -> list[Outcome]:
        self.runtime.settle()
        page = self.runtime.stores.executions.search(limit=100)
        return [self.runtime.outcome(each.id) for each in page.found]

    def said(self) -> list[str]:
        return sorted(line.message for outcome in self.executions() for line in outcome.logs)

    def put(self, key: str, content: str, bucket: str = "in", at: int = 1_700_000_000) -> Path:
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (at, at))
        return path

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.watch.look()

    def files(self) -> list[str]:
        return sorted(f"{file.bucket}/{file.key}" for file in self.buckets.files())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "buckets")
    with scene.runtime:
        yield scene


# -- Events -----------------------------------------------------------------------------------------


def test_an_event_that_matches_starts_an_execution(scene: Scene) -> None:
    scene.runtime.save_flow(on_event(ORDER))
    assert len(scene.triggers.hear("headrace", event(20))) == 1
    assert scene.triggers.hear("headrace", event(5, "e2")) == []
    (found,) = scene.executions()
    assert [line.message for line in found.logs] == ["20"]
    assert found.view["trigger"]["variables"] == {**event(20), "detailType": "Order placed"}
    assert {"key": "system.from", "value": "trigger"} in found.view["labels"]


def test_an_event_is_of_a_bus(scene: Scene) -> None:
    scene.runtime.save_flow(on_event(ORDER, "bus: shop"))
    assert scene.triggers.hear("headrace", event()) == []
    assert len(scene.triggers.hear("shop", event())) == 1


def test_an_event_that_comes_again_starts_nothing_new(scene: Scene) -> None:
    scene.runtime.save_flow(on_event(ORDER))
    first = scene.triggers.hear("headrace", event())
    again = scene.triggers.hear("headrace", event())  # before the first one's message was handled
    scene.runtime.settle()
    assert first == again == scene.triggers.hear("headrace", event())
    assert len(scene.executions()) == 1


def test_every_flow_that_waits_for_it_starts(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.runtime.save_flow(on_event(ORDER, name=name))
    assert len(set(scene.triggers.hear("headrace", event()))) == 2


def test_an_event_brought_for_one_trigger_starts_that_alone(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.runtime.save_flow(on_event(ORDER, name=name))
    assert len(scene.triggers.hear_for("demo", "a", "heard", event())) == 1
    assert scene.triggers.hear_for("demo", "a", "heard", event(5)) == []  # its pattern is another by now
    assert scene.triggers.hear_for("demo", "a", "gone", event()) == []
    assert scene.triggers.hear_for("demo", "none", "heard", event()) == []
    assert len(scene.executions()) == 1


@pytest.mark.parametrize("how", ["flow", "trigger", "switch", "deleted", "changed"])
def test_what_is_off_hears_nothing(scene: Scene, how: str) -> None:
    source = on_event(ORDER)
    scene.runtime.save_flow(source)
    match how:
        case "flow":
            scene.runtime.save_flow(source + "disabled: true\n")
        case "trigger":
            scene.runtime.save_flow(source + "    disabled: true\n")
        case "switch":
            scene.runtime.flow_triggers.set_disabled("demo", "orders", "heard", disabled=True)
        case "deleted":
            scene.runtime.engine.delete_flow("demo", "orders")
        case _:
            scene.runtime.save_flow(on_event("pattern: {source: [other]}"))
    assert scene.triggers.hear("headrace", event()) == []
    assert scene.triggers.hear_for("demo", "orders", "heard", event()) == []


def test_conditions_inputs_and_keys(scene: Scene) -> None:
    condition = """when: "{{ trigger.detail.total != 13 }}" """
    key = """idempotencyKey: "{{ trigger.detail.order ?? '' }}" """
    scene.runtime.save_flow(on_event(ORDER, condition, key))
    assert scene.triggers.hear("headrace", event(13)) == []
    ids = [
        scene.triggers.hear("headrace", event(event_id=f"e{number}", detail={"total": 20, "order": "o1"}))
        for number in range(2)
    ]
    assert ids[0] == ids[1]
    assert len(scene.executions()) == 1


def test_what_cannot_be_rendered_stops_no_other(scene: Scene) -> None:
    scene.runtime.save_flow(on_event(ORDER, """labels: {x: "{{ trigger.none }}"}""", name="bad"))
    scene.runtime.save_flow(
        on_event(ORDER, """labels: {x: "{{ trigger.none }}"}""", "failOnTriggerError: true", name="loud")
    )
    scene.runtime.save_flow(on_event(ORDER, name="good"))
    assert len(scene.triggers.hear("headrace", event())) == 2
    assert {(each.view["flowId"], each.state) for each in scene.executions()} == {
        ("good", "SUCCESS"),
        ("loud", "FAILED"),
    }


def test_an_event_whose_execution_could_not_be_stored_comes_again(scene: Scene) -> None:
    scene.runtime.save_flow(on_event(ORDER))
    scene.lost = PortError("the queue is down")
    with pytest.raises(PortError):
        scene.triggers.hear("headrace", event())
    scene.lost = None
    assert len(scene.triggers.hear("headrace", event())) == 1
    assert scene.said() == ["20"]


# -- Files ------------------------------------------------------------------------------------------


def test_a_file_that_comes_starts_an_execution(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: NONE"))
    scene.put("a.txt", "hello")
    scene.look()
    (found,) = scene.executions()
    assert [line.message for line in found.logs] == ["hello"]
    (stored,) = found.view["trigger"]["variables"]["objects"]
    assert (stored["bucket"], stored["key"], stored["size"]) == ("in", "a.txt", 5)
    assert stored["lastModified"] == "2023-11-14T22:13:20.000000Z"
    assert stored["uri"].startswith("kestra:///demo/files/executions/")
    scene.look()
    assert len(scene.executions()) == 1


def test_a_file_is_left_alone_while_it_grows(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: DELETE"))
    for number in range(3):
        scene.put("a.txt", "x" * number)
        scene.look(1)
    assert scene.executions() == []
    scene.look(1)
    assert scene.said() == ["xx"]


def test_a_new_version_of_a_file_is_another_event(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: NONE"))
    scene.put("a.txt", "one")
    scene.look()
    scene.put("a.txt", "two", at=1_700_000_001)
    scene.look()
    assert scene.said() == ["one", "two"]


def test_an_engine_that_starts_anew_hears_of_old_files_and_starts_nothing(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: NONE"))
    scene.put("a.txt", "one")
    scene.look()
    scene.runtime.settle()
    scene.watch = BucketWatch(scene.buckets, scene.triggers.file_came)
    scene.look()
    assert scene.said() == ["one"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["prefix: data/"], ["data/a.csv", "data/b.txt"]),
        (["regexp: '.*\\.csv'"], ["c.csv", "data/a.csv"]),
        (["prefix: data/", "regexp: '.*\\.csv'"], ["data/a.csv"]),
        (["regexp: 'data'"], []),
    ],
)
def test_which_files(scene: Scene, more: list[str], expected: list[str]) -> None:
    scene.runtime.save_flow(on_file("action: NONE", *more))
    for key in ("data/a.csv", "data/b.txt", "c.csv"):
        scene.put(key, key)
    scene.put("data/a.csv", "other", bucket="elsewhere")
    scene.look()
    assert scene.said() == expected


def test_a_file_is_deleted_or_moved_once_it_was_taken(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("prefix: d/", "action: DELETE", name="deletes"))
    scene.runtime.save_flow(on_file("prefix: m/", "action: MOVE", "moveTo: {bucket: out, key: done/}", name="moves"))
    scene.put("d/a", "deleted")
    scene.put("m/b/c", "moved")
    scene.put("e", "kept")
    scene.look()
    assert scene.files() == ["in/e", "out/done/c"]
    assert scene.said() == ["deleted", "moved"]


def test_all_have_their_copy_before_the_file_goes(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.runtime.save_flow(on_file("action: DELETE", name=name))
    scene.put("x", "for all")
    scene.look()
    assert scene.said() == ["for all"] * 3


def test_a_file_stays_until_its_execution_is_safe(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: DELETE"))
    scene.put("x", "not lost")
    scene.lost = PortError("the queue is down")
    scene.look()
    assert scene.files() == ["in/x"]
    scene.lost = None
    scene.look(1)
    assert (scene.files(), scene.said()) == ([], ["not lost"])


def test_a_newer_file_of_the_same_name_is_not_deleted_for_an_older_one(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: DELETE"))
    scene.put("x", "old")
    (old,) = scene.buckets.files()
    scene.triggers.file_came(old)
    scene.runtime.settle()
    scene.put("x", "new", at=1_700_000_001)
    scene.triggers.file_came(old)  # told again
    assert scene.files() == ["in/x"]
    scene.look()
    assert scene.said() == ["new", "old"]


def test_a_file_that_is_gone_starts_nothing(scene: Scene) -> None:
    scene.runtime.save_flow(on_file("action: DELETE"))
    path = scene.put("x", "gone")
    (file,) = scene.buckets.files()
    path.unlink()
    assert scene.triggers.file_came(file) == []
    assert scene.executions() == []


def test_links_and_paths_lead_nowhere_else(scene: Scene, tmp_path: Path) -> None:
    scene.runtime.save_flow(on_file("action: NONE"))
    (tmp_path / "secret").write_text("not for flows")
    scene.put("x", "fine")
    (scene.folder / "in" / "link").symlink_to(tmp_path / "secret")
    (scene.folder / "loose").write_text("in no bucket")
    scene.look()
    assert scene.said() == ["fine"]
    for key in ("../secret", "a/../../secret", "/etc/passwd"):
        with pytest.raises(ValueError, match="no URI"):
            scene.buckets.take(BucketFile("in", key, 1, "", scene.runtime.clock.now(), "v"), "kestra:///x")


# -- What may stand in a flow -----------------------------------------------------------------------

WRONG = [
    (on_event("pattern: {}"), "The pattern cannot be used: an empty map matches nothing."),
    (on_event("pattern: {source: shop}"), "The pattern cannot be used: source: the values that match stand in a list"),
    (on_event("""pattern: {source: ["{{ vars.x }}"]}"""), "An expression is not possible here"),
    (on_event("bus: x"), "The property `pattern` is required."),
    (on_file(), "The property `action` is required."),
    (on_file("action: MOVE"), "`action: MOVE` and `moveTo` go together."),
    (on_file("action: NONE", "moveTo: {key: x}"), "`action: MOVE` and `moveTo` go together."),
    (on_file("action: MOVE", "moveTo: {key: done}"), "A file that is moved there would start the flow again."),
    (on_file("action: NONE", "regexp: '('"), "is no regular expression"),
]


@pytest.mark.parametrize(("source", "why"), WRONG)
def test_what_is_refused_when_a_flow_is_saved(scene: Scene, source: str, why: str) -> None:
    with pytest.raises(FlowError) as caught:
        scene.runtime.save_flow(source)
    assert any(why in problem.message for problem in caught.value.problems), caught.value


FOR_KESTRA = """
id: files
namespace: demo
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.objects[0].key }}"}
triggers:
  - id: watch
    type: io.kestra.plugin.aws.s3.Trigger
    bucket: in
    action: NONE
    interval: PT1M
    maxKeys: 10
    accessKeyId: "{{ secret('ID') }}"
    secretKeyId: "{{ secret('KEY') }}"
    sessionToken: "{{ secret('TOKEN') }}"
    region: eu-central-1
"""


def test_a_flow_written_for_kestra_says_more_than_is_needed(scene: Scene) -> None:
    messages = [warning.message for warning in check(FOR_KESTRA).warnings]
    comes, by_role = "files are heard of when they come", "the stack's own role reads the bucket"
    assert messages == [
        *(f"`{name}` is deprecated: {comes}." for name in ("interval", "maxKeys")),
        *(f"`{name}` is deprecated: {by_role}." for name in ("accessKeyId", "secretKeyId", "sessionToken", "region")),
    ]
    scene.runtime.save_flow(FOR_KESTRA)
    scene.put("a.txt", "hello")
    scene.look()
    assert scene.said() == ["a.txt"]


OF_ANOTHER_BUS = """
id: orders
namespace: demo
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.id }}"}
triggers:
  - id: placed
    type: io.headrace.aws.eventbridge.Trigger
    bus: shop
    pattern: {source: [shop]}
    idempotencyKey: "{{ trigger.detail.order }}"
"""


def test_several_events_that_tell_of_one_thing_start_one_execution(scene: Scene) -> None:
    scene.runtime.save_flow(OF_ANOTHER_BUS)
    for number, order in enumerate(("a", "a", "b")):
        scene.triggers.hear("shop", event(event_id=f"e{number}", detail={"order": order}))
    assert scene.said() == ["e0", "e2"]


# -- Brought by hand --------------------------------------------------------------------------------


def test_events_may_be_brought_by_the_api(scene: Scene) -> None:
    from headrace_engine.adapters.memory import MemoryAudit
    from headrace_engine.api import Api, Request, Response
    from headrace_engine.api.gate import Gate
    from headrace_engine.identity import OWNER

    scene.runtime.save_flow(on_event(ORDER))
    gate = Gate(lambda _: OWNER, MemoryAudit(), scene.runtime.clock)
    api = Api(scene.runtime.engine, scene.runtime.executor, scene, gate, wait=lambda _: None)

    def put(body: str) -> tuple[int, Any]:
        answer = api(Request("POST", "/api/v1/main/events", {}, {}, body.encode()))
        assert isinstance(answer, Response)
        return answer.status, json.loads(answer.body)

    status, started = put('[{"source": "shop", "detail-type": "t", "detail": {"total": 20}, "id": "mine"}]')
    assert (status, started[0]["id"], len(started[0]["executions"])) == (200, "mine", 1)
    assert put('[{"source": "shop", "detail-type": "t", "detail": {"total": 20}, "id": "mine"}]')[1] == started
    status, started = put('[{"source": "shop", "detail-type": "t", "detail": {"total": 2}}]')
    assert (status, started[0]["executions"]) == (200, [])
    for wrong in (
        "",
        "{}",
        '[{"source": "shop"}]',
        '[{"source": "shop", "detail-type": "t", "detail": {"a": ' + "[" * 5000 + "]" * 5000 + "}}]",
        '[{"source": "", "detail-type": "t", "detail": {}}]',
        "[" + "{}," * 10 + "{}]",
    ):
        assert put(wrong)[0] == 400
    assert scene.said() == ["20"]
