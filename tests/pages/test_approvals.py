"""A Pause is decided about on its page: by who may act on executions, or by a link that the flow has sent, once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.core.messages import Resume
from headrace_engine.model.state import State
from headrace_engine.resume_links import NAMESPACE, UPLOADS
from headrace_engine.testing.runtime import VirtualRuntime
from pages.browser import ADDRESS, TASKS, Browser, Page, read

RETURN, LOG = "io.kestra.plugin.core.debug.Return", "io.kestra.plugin.core.log.Log"
PAUSE, FOR_EACH = "io.kestra.plugin.core.flow.Pause", "io.kestra.plugin.core.flow.ForEach"


def approval(arguments: str = "", inputs: str = "") -> str:
    return f"""
id: approval
namespace: demo
tasks:
  - {{id: send, type: {RETURN}, format: "{{{{ resumeUrl({arguments}) }}}}"}}
  - {{id: tell, type: {LOG}, message: "decide at {{{{ resumeUrl() }}}}!"}}
  - id: wait
    type: {PAUSE}
{inputs}
  - {{id: after, type: {LOG}, message: done}}
"""


INPUTS = """    onResume:
      - {id: reason, type: STRING}
      - {id: code, type: SECRET, required: false}"""


def link(visitor: Browser, execution_id: str, task_id: str = "send", value: str | None = None) -> str:
    """Return the path of the link that a task of the execution gave."""
    view = visitor.engine.view(visitor.runtime.state(execution_id))
    runs = [run for run in view["taskRunList"] if run["taskId"] == task_id and value in (None, run["value"])]
    url: str = runs[-1]["outputs"]["value"]
    assert url.startswith(f"{ADDRESS}/approve/")
    return url.removeprefix(ADDRESS)


def state_of(visitor: Browser, execution_id: str) -> str:
    visitor.runtime.settle(None)
    return visitor.runtime.state(execution_id).state.value


def run_of(visitor: Browser, execution_id: str, task_id: str = "wait") -> dict[str, Any]:
    view = visitor.engine.view(visitor.runtime.state(execution_id))
    return next(run for run in reversed(view["taskRunList"]) if run["taskId"] == task_id)


def buttons(page: Page) -> list[str]:
    return [button["text"] for form in page.forms for button in form.buttons]


@pytest.fixture
def paused(visitor: Browser) -> str:
    visitor.save(approval("recipient='ann@example.com'", INPUTS))
    return visitor.start("demo", "approval")


def test_to_look_changes_nothing(visitor: Browser, paused: str) -> None:
    path = link(visitor, paused)
    before = visitor.runtime.state(paused).seq
    for _ in range(3):
        assert visitor.get(path).status == 200
        assert visitor.ask("HEAD", path)[0] == 200
        visitor.forget()
    assert not visitor.runtime.world.letters
    assert visitor.runtime.state(paused).seq == before
    assert not visitor.records("POST /approve/{key}")


def test_a_decision_resumes_and_uses_the_link_up(visitor: Browser, paused: str) -> None:
    path = link(visitor, paused)
    page = visitor.get(path)
    assert buttons(page) == ["Resume", "Cancel the execution"]
    assert "ann@example.com" in page.words
    done = visitor.press(page, "Resume", {"in.reason": "it is <fine>", "in.code": "hush"})
    assert done.status == 200
    assert "This is decided" in done.words
    assert state_of(visitor, paused) == "SUCCESS"
    outputs = run_of(visitor, paused)["outputs"]
    assert outputs["onResume"]["reason"] == "it is <fine>"
    assert outputs["onResume"]["code"]["type"] == "io.kestra.datatype:aes_encrypted"
    assert re.fullmatch(r"ann@example\.com \(link [0-9a-f]{12}\)", outputs["resumed"]["by"])
    # The page was open in another tab.
    again = visitor.press(page, "Cancel the execution")
    assert again.status == 200
    assert "This is decided" in again.words
    assert state_of(visitor, paused) == "SUCCESS"
    assert not visitor.get(path).forms


def test_what_is_decided_is_recorded_by_the_links_name_and_not_by_its_key(visitor: Browser, paused: str) -> None:
    path = link(visitor, paused)
    visitor.press(visitor.get(path), "Cancel the execution")
    (record,) = visitor.records("POST /approve/{key}")
    key = path.removeprefix("/approve/")
    assert key not in repr(record)
    assert record.kind == "open"
    (note,) = record.notes
    run = run_of(visitor, paused)["id"]
    assert re.fullmatch(
        rf"CANCEL of task run {run} of execution {paused} by ann@example\.com \(link [0-9a-f]{{12}}\)", note
    )
    assert state_of(visitor, paused) == "CANCELLED"


def test_what_is_missing_is_told_and_what_was_typed_stays(visitor: Browser, paused: str) -> None:
    page = visitor.press(visitor.get(link(visitor, paused)), "Resume", {"in.code": "hush-hush"})
    assert page.status == 422
    assert "It is required." in page.words
    assert "hush-hush" not in page.text
    assert state_of(visitor, paused) == "PAUSED"
    assert visitor.press(page, "Resume", {"in.reason": "so"}).status == 200
    assert state_of(visitor, paused) == "SUCCESS"


def test_the_store_holds_no_key_and_logs_show_none(visitor: Browser, paused: str) -> None:
    key = link(visitor, paused).removeprefix("/approve/")
    stored = repr([visitor.stores.kv.list(name) for name in (NAMESPACE, "demo")])
    assert "demo" not in stored
    assert paused in stored
    assert key not in stored
    messages = [line.message for line in visitor.stores.logs.fetch(paused)]
    assert f"decide at {ADDRESS}/approve/********!" in messages
    page = visitor.get(f"/executions/{paused}")
    assert "/approve/********!" in page.words


def test_without_the_page_nothing_is_decided(visitor: Browser, paused: str) -> None:
    path = link(visitor, paused)
    form = visitor.get(path).form(path)
    bare = [pair for pair in form.fields if pair[0] != "_proof"]
    other_key = [("_proof", "0" * 64), *bare]
    for fields in (bare, other_key):
        form.fields[:] = [*fields, ("decision", "RESUME"), ("in.reason", "x")]
        assert visitor.send_form(form).status == 403
    # With the page's token and without its cookie, as from another site.
    page = visitor.get(path)
    visitor.forget()
    assert visitor.press(page, "Resume", {"in.reason": "x"}).status == 403
    assert state_of(visitor, paused) == "PAUSED"


def test_the_token_of_another_links_page_is_none(visitor: Browser, paused: str) -> None:
    other = visitor.start("demo", "approval")
    mine, theirs = visitor.get(link(visitor, other)), visitor.get(link(visitor, paused))
    theirs.forms[-1].fields[:] = [
        ("_proof", mine.value("_proof") or "") if name == "_proof" else (name, value)
        for name, value in theirs.forms[-1].fields
    ]
    assert visitor.press(theirs, "Resume", {"in.reason": "x"}).status == 403
    assert state_of(visitor, paused) == "PAUSED"


@pytest.mark.parametrize(
    ("asked", "shown", "refused"),
    [
        ("decisions=['RESUME']", ["Resume"], "CANCEL"),
        ("decisions='FAIL'", ["Fail"], "RESUME"),
        ("decisions=['RESUME', 'WARN', 'KILL']", ["Resume", "Resume with a warning", "Kill the execution"], "FAIL"),
    ],
)
def test_only_what_the_link_allows_may_be_decided(
    visitor: Browser, asked: str, shown: Sequence[str], refused: str
) -> None:
    visitor.save(approval(asked))
    execution_id = visitor.start("demo", "approval")
    page = visitor.get(link(visitor, execution_id))
    assert buttons(page) == shown
    page.forms[-1].fields.append(("decision", refused))
    assert visitor.send_form(page.forms[-1]).status == 422
    assert state_of(visitor, execution_id) == "PAUSED"


@pytest.mark.parametrize(
    ("button", "end"),
    [
        ("Resume", "SUCCESS"),
        ("Resume with a warning", "WARNING"),
        ("Fail", "FAILED"),
        ("Cancel the execution", "CANCELLED"),
        ("Kill the execution", "KILLED"),
    ],
)
def test_each_decision_comes_to_its_end(visitor: Browser, button: str, end: str) -> None:
    visitor.save(approval("decisions=['RESUME', 'WARN', 'FAIL', 'CANCEL', 'KILL']"))
    execution_id = visitor.start("demo", "approval")
    visitor.press(visitor.get(link(visitor, execution_id)), button)
    assert state_of(visitor, execution_id) == end


def test_a_link_expires(visitor: Browser) -> None:
    visitor.save(approval("expiresIn='PT2H'"))
    execution_id = visitor.start("demo", "approval")
    path, clock = link(visitor, execution_id), visitor.runtime.clock
    page = visitor.get(path)
    assert page.status == 200
    clock.set(clock.now() + timedelta(hours=2))
    assert visitor.get(path).status == 404
    assert visitor.press(page, "Resume").status == 404
    assert state_of(visitor, execution_id) == "PAUSED"
    assert visitor.stores.kv.forget(NAMESPACE, clock.now(), at_most=9) == 1
    assert visitor.stores.kv.forget(NAMESPACE, clock.now(), at_most=9) == 0


@pytest.mark.parametrize("key", ["xyzzy", "%2e%2e", "a" * 5000, "%00", "link%2F", "é"])
def test_a_key_that_is_none_opens_nothing(visitor: Browser, paused: str, key: str) -> None:
    page = visitor.get(f"/approve/{key}")
    assert page.status == 404
    assert key not in page.text


def test_a_link_is_for_one_execution_alone(visitor: Browser, paused: str) -> None:
    other = visitor.start("demo", "approval")
    visitor.press(visitor.get(link(visitor, paused)), "Resume", {"in.reason": "x"})
    assert state_of(visitor, paused) == "SUCCESS"
    assert state_of(visitor, other) == "PAUSED"


def test_a_link_made_in_a_round_is_for_that_rounds_pause(visitor: Browser) -> None:
    visitor.save(
        f"""
id: rounds
namespace: demo
tasks:
  - id: each
    type: {FOR_EACH}
    values: [a, b]
    concurrencyLimit: 0
    tasks:
      - {{id: send, type: {RETURN}, format: "{{{{ resumeUrl() }}}}"}}
      - {{id: wait, type: {PAUSE}}}
"""
    )
    execution_id = visitor.start("demo", "rounds")
    page = visitor.get(link(visitor, execution_id, value="b"))
    assert "wait (b)" in page.words
    visitor.press(page, "Resume")
    visitor.runtime.settle(None)
    state = visitor.runtime.state(execution_id)
    ends = {run.value: run.state for run in state.task_runs.values() if run.task_id == "wait"}
    assert ends == {"a": State.PAUSED, "b": State.SUCCESS}


@pytest.mark.parametrize("by_link", [True, False])
def test_a_link_of_one_round_is_not_for_the_next(visitor: Browser, by_link: bool) -> None:
    visitor.save(
        f"""
id: rounds
namespace: demo
tasks:
  - id: until
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{{{ outputs.until.iterationCount >= 2 }}}}"
    checkFrequency: {{interval: PT0S}}
    tasks:
      - {{id: send, type: {RETURN}, format: "{{{{ resumeUrl() }}}}"}}
      - {{id: wait, type: {PAUSE}}}
"""
    )
    execution_id = visitor.start("demo", "rounds")
    first = link(visitor, execution_id)
    page = visitor.get(first)
    if by_link:
        visitor.press(page, "Resume")
    else:
        visitor.runtime.world.post(execution_id, Resume())
    visitor.runtime.settle(timedelta(seconds=1))
    assert state_of(visitor, execution_id) == "PAUSED"
    second = link(visitor, execution_id)
    assert second != first
    assert "This is decided" in visitor.get(first).words
    assert "This is decided" in visitor.press(page, "Resume").words
    assert state_of(visitor, execution_id) == "PAUSED"
    visitor.press(visitor.get(second), "Resume")
    visitor.runtime.settle(timedelta(seconds=1))
    assert state_of(visitor, execution_id) == "SUCCESS"


def test_the_task_of_on_pause_makes_a_link_for_its_own_pause(visitor: Browser) -> None:
    visitor.save(
        f"""
id: own
namespace: demo
tasks:
  - {{id: one, type: {PAUSE}, onPause: {{id: send, type: {RETURN}, format: "{{{{ resumeUrl() }}}}"}}}}
  - {{id: two, type: {PAUSE}}}
"""
    )
    execution_id = visitor.start("demo", "own")
    page = visitor.get(link(visitor, execution_id))
    assert "Task one" in page.words
    visitor.press(page, "Resume")
    assert state_of(visitor, execution_id) == "PAUSED"
    assert run_of(visitor, execution_id, "two")["state"]["current"] == "PAUSED"


def test_a_link_whose_pause_has_not_begun_says_so(visitor: Browser) -> None:
    visitor.save(
        f"""
id: early
namespace: demo
tasks:
  - {{id: send, type: {RETURN}, format: "{{{{ resumeUrl(task='second') }}}}"}}
  - {{id: first, type: {PAUSE}}}
  - {{id: second, type: {PAUSE}}}
"""
    )
    execution_id = visitor.start("demo", "early")
    path = link(visitor, execution_id)
    page = visitor.get(path)
    assert page.status == 200
    assert "Nothing to decide yet" in page.words
    assert not page.forms
    visitor.runtime.world.post(execution_id, Resume())
    visitor.runtime.settle(None)
    visitor.press(visitor.get(path), "Resume")
    assert state_of(visitor, execution_id) == "SUCCESS"


def test_who_resumes_by_the_api_takes_the_link_its_use(visitor: Browser, paused: str) -> None:
    path = link(visitor, paused)
    visitor.runtime.ask(
        paused, lambda operations, state: operations.resume(state, {"reason": "x"}, to=State.RUNNING, by="bob")
    )
    visitor.runtime.settle(None)
    page = visitor.get(path)
    assert "This is decided" in page.words
    assert "bob" in page.words


def test_of_two_that_decide_at_once_the_first_counts(visitor: Browser) -> None:
    visitor.save(approval())
    execution_id = visitor.start("demo", "approval")
    page = visitor.get(link(visitor, execution_id))
    form = page.forms[-1]
    form.fields.append(("decision", "CANCEL"))
    visitor.is_slow = True  # nothing that is sent arrives
    visitor.send_form(form)
    form.fields[-1] = ("decision", "RESUME")
    second = visitor.send_form(form)
    assert second.status == 409
    assert "CANCEL was decided by this link already" in second.words
    form.fields[-1] = ("decision", "CANCEL")  # whose answer was lost
    assert visitor.send_form(form).status == 200
    visitor.is_slow = False
    assert state_of(visitor, execution_id) == "CANCELLED"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("resumeUrl(task='nothing')", "the flow has no Pause task `nothing`"),
        ("resumeUrl(task='send')", "the flow has no Pause task `send`"),
        ("resumeUrl(decisions=['MAYBE'])", "decisions are some of RESUME, WARN, FAIL, CANCEL, KILL"),
        ("resumeUrl(decisions=[])", "decisions are some of"),
        ("resumeUrl(expiresIn='soon')", "expiresIn is a duration such as `P7D`, not `soon`"),
        ("resumeUrl(expiresIn='P91D')", "expiresIn is at most 90 days"),
    ],
)
def test_a_link_that_makes_no_sense_fails_its_task(visitor: Browser, expression: str, message: str) -> None:
    visitor.save(approval().replace("resumeUrl()", expression, 1))
    execution_id = visitor.start("demo", "approval")
    assert state_of(visitor, execution_id) == "FAILED"
    assert message in run_of(visitor, execution_id, "send")["error"]


def test_with_several_pauses_one_must_be_named(visitor: Browser) -> None:
    visitor.save(approval() + f"  - {{id: again, type: {PAUSE}}}\n")
    execution_id = visitor.start("demo", "approval")
    assert "the flow has the Pause tasks `wait`, `again`" in run_of(visitor, execution_id, "send")["error"]


def test_nobody_makes_a_link_by_evaluating_an_expression(visitor: Browser, paused: str) -> None:
    before = len(visitor.stores.kv.list(NAMESPACE))
    status, _, body = visitor.ask("POST", f"/api/v1/main/executions/{paused}/eval", b"{{ resumeUrl() }}", "text/plain")
    assert status == 200
    assert "only available in the properties of a task" in json.loads(body)["error"]
    assert len(visitor.stores.kv.list(NAMESPACE)) == before


def test_a_server_that_does_not_know_its_address_makes_no_link() -> None:
    with VirtualRuntime(registry=TASKS) as runtime:
        runtime.save_flow(approval())
        execution_id = runtime.create("demo", "approval")
        runtime.settle()
        outcome = runtime.outcome(execution_id)
    assert "where people find this server" in outcome.find("send")["error"]


# -- By who may act on executions -----------------------------------------------------------------------------------


def test_an_operator_decides_on_the_executions_page(visitor: Browser, paused: str) -> None:
    visitor.become("operator@demo")
    run = run_of(visitor, paused)["id"]
    path = f"/executions/{paused}/resume/{run}"
    assert path in visitor.get(f"/executions/{paused}").links()
    page = visitor.get(path)
    assert len(buttons(page)) == 5
    wrong = visitor.press(page, "Resume")
    assert wrong.status == 422
    done = visitor.press(wrong, "Resume", {"in.reason": "x"})
    assert done.path == f"/executions/{paused}"
    assert state_of(visitor, paused) == "SUCCESS"
    assert run_of(visitor, paused)["outputs"]["resumed"]["by"] == "somebody"
    assert visitor.get(path).status == 409


@pytest.mark.parametrize("grant", ["viewer@demo", "editor@demo", "operator@other"])
def test_who_may_not_act_on_executions_decides_nothing(visitor: Browser, paused: str, grant: str) -> None:
    path = f"/executions/{paused}/resume/{run_of(visitor, paused)['id']}"
    page = visitor.get(path)
    visitor.become(grant)
    assert visitor.get(path).status in (403, 404)
    assert visitor.press(page, "Resume", {"in.reason": "x"}).status in (403, 404)
    assert state_of(visitor, paused) == "PAUSED"
    shown = visitor.get(f"/executions/{paused}")
    assert not [each for each in shown.links() if "/resume/" in each]


def test_fields_of_a_pause_come_with_what_they_depend_on(visitor: Browser) -> None:
    visitor.save(
        approval(
            "",
            """    onResume:
      - {id: good, type: SELECT, values: ["yes", "no"]}
      - {id: why, type: STRING, dependsOn: {inputs: [good], condition: "{{ inputs.good == 'no' }}"}}""",
        )
    )
    execution_id = visitor.start("demo", "approval")
    page = visitor.press(visitor.get(link(visitor, execution_id)), "Resume", {"in.good": "no"})
    assert page.status == 422
    assert "asks for more" in page.words or "It is required" in page.words
    visitor.press(page, "Resume", {"in.why": "because"})
    assert run_of(visitor, execution_id)["outputs"]["onResume"] == {"good": "no", "why": "because"}


PROOFS = """    onResume:
      - {id: proof, type: FILE}
      - {id: more, type: ARRAY, itemType: FILE, required: false}"""


def ask_where(visitor: Browser, target: str, name: str = "a.csv", size: int = 3, **headers: str) -> tuple[int, Any]:
    """Ask, as the page's script does, where a file goes; return status and answer."""
    wish = json.dumps({"name": name, "size": size}).encode()
    status, _, body = visitor.ask("POST", f"{target}/uploads", wish, "application/json", **headers)
    return status, json.loads(body) if status == 200 else read(status, {}, body.decode(), target).words


def test_a_large_file_goes_ahead_of_what_a_link_decides(visitor: Browser) -> None:
    visitor.save(approval("recipient='ann@example.com'", PROOFS))
    target = link(visitor, visitor.start("demo", "approval"))
    page = visitor.get(target)
    assert next(form for form in page.all("form"))["data-uploads"] == f"{target}/uploads"
    proof = {"headrace-proof": page.value("_proof") or ""}
    status, place = ask_where(visitor, target, **proof)
    assert status == 200
    assert visitor.ask("PUT", place["url"], b"a,b")[0] == 200
    (record,) = visitor.records("POST /approve/{key}/uploads")
    assert (record.who, record.target) == ("", "/approve/…/uploads")
    assert record.notes[0].startswith("a file for execution ")
    assert "by ann@example.com (link " in record.notes[0]
    decided = visitor.press(page, "Resume", {"other.proof": place["uri"]})
    assert "This is decided" in decided.words
    execution_id = record.notes[0].split()[4]
    assert state_of(visitor, execution_id) == "SUCCESS"
    given = run_of(visitor, execution_id)["outputs"]["onResume"]["proof"]
    assert visitor.stores.storage.open(given).read() == b"a,b"
    assert ask_where(visitor, target, **proof)[0] == 409


def test_a_link_alone_puts_no_file_anywhere(visitor: Browser) -> None:
    """Not without its page, nor where no file is asked for, nor without end."""
    visitor.save(approval(inputs=PROOFS))
    target = link(visitor, visitor.start("demo", "approval"))
    assert ask_where(visitor, target)[0] == 403
    proof = {"headrace-proof": visitor.get(target).value("_proof") or ""}
    assert ask_where(visitor, "/approve/nothing", **proof)[0] == 404
    assert ask_where(visitor, target, **{"headrace-proof": "0" * 64})[0] == 403
    assert ask_where(visitor, target, size=6 * 1024**3, **proof)[0] == 422
    assert [ask_where(visitor, target, **proof)[0] for _ in range(UPLOADS + 1)] == [200] * UPLOADS + [429]
    visitor.save(approval(inputs=INPUTS))
    target = link(visitor, visitor.start("demo", "approval"))
    proof = {"headrace-proof": visitor.get(target).value("_proof") or ""}
    assert ask_where(visitor, target, **proof)[0] == 422
