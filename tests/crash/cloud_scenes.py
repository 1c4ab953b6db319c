"""Small flows that between them call for every kind of command, and what people do while they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

from crash.outcomes import lost_attempts, outcome
from crash.virtual import Effect
from headrace_engine.core.codec import decode_entry
from headrace_engine.core.fold import fold
from headrace_engine.executor import summary
from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.faults import Faults

EXECUTION = "execution"
RAN: Counter[tuple[str, int]] = Counter()
"""How often each attempt of a test.Work ran, by task run and number; each cloud begins anew."""


class Work(RunnableTask):
    """A dispatched task that counts its runs.

    id: work
    type: test.Work
    """

    TYPE: ClassVar[str] = "test.Work"
    KIND: ClassVar[Kind] = Kind.DISPATCHED

    fails: bool = False

    def run(self, context: RunContext) -> None:
        """Count, and say so."""
        RAN[context.task_run_id, context.attempt] += 1
        context.log.info("worked")
        if self.fails:
            raise TaskFailure("not yet")


@cache
def tasks() -> Registry:
    """Return all task types, and those of the tests."""
    return Registry.load().extended([Effect, Work])


def _to_its_end(cloud: Cloud) -> None:
    cloud.create("flows", "scene", execution_id=EXECUTION)
    cloud.settle()


@dataclass(frozen=True)
class Scene:
    """A flow, those it needs, and what is done to it."""

    name: str
    source: str
    others: tuple[str, ...] = ()
    act: Callable[[Cloud], None] = _to_its_end
    ends: str = "SUCCESS"

    def play(self, faults: Faults | None = None, **options: Any) -> dict[str, Any]:
        """Play it on a cloud of its own; return what came of every execution, checked."""
        RAN.clear()
        with Cloud(registry=tasks(), faults=faults, **options) as cloud:
            for source in (*self.others, f"id: scene\nnamespace: flows\n{self.source}"):
                cloud.save_flow(source)
            self.act(cloud)
            return checked(cloud)


def checked(cloud: Cloud) -> dict[str, Any]:
    """Return the outcome of every execution; raise when something does not hold that always must."""
    outcomes: dict[str, Any] = {}
    created: Any
    stores, engine = cloud.stores, cloud.person.engine
    items = list(cloud.items())
    found = [
        stores.executions.get(execution_id)
        for execution_id in sorted(
            {item["pk"]["S"].split("#")[1] for item in items if item["pk"]["S"].startswith("X#")}
        )
    ]
    for each in found:
        came = cloud.outcome(each.id)
        entries = [decode_entry(stored.data) for stored in stores.journal.entries(each.id)]
        assert [entry.seq for entry in entries] == list(range(len(entries)))
        outcomes[f"{each.flow_id} {each.id if each.flow_id == 'scene' else came.view['inputs']}"] = outcome(
            came.view, came.logs, lost_attempts(entries)
        )
        created = entries[0].events[0]
        state = fold(each.id, engine.flow_of(each.namespace, each.flow_id, created.flow_revision), entries)
        assert state.closed, f"{each.id} is not done"
        assert stores.executions.get(each.id) == summary(state)
    for flow_id in {each.flow_id for each in found}:
        slots = stores.slots.state(f"flows/{flow_id}")
        assert not slots.holders, "a slot is held"
        assert not slots.queue, "somebody waits for a slot"
    assert len(outcomes) == len(found), "an execution was started twice"
    claims = [item for item in items if item["pk"]["S"].startswith("C#")]
    assert all("closed" in claim for claim in claims if "owner" in claim), "claims are open"
    assert all(times == 1 for times in RAN.values()), "an attempt ran twice"
    assert not cloud.pending
    assert not cloud.mailbox_dead.messages
    assert not cloud.delays_dead.messages, "an event was given up"
    return outcomes


def _killed(cloud: Cloud) -> None:
    cloud.busy.add("worker")
    cloud.create("flows", "scene", execution_id=EXECUTION)
    cloud.settle(timedelta(hours=1))
    cloud.kill(EXECUTION)
    cloud.settle(timedelta(hours=1))
    cloud.busy.clear()
    cloud.settle()


def _one_after_the_other(cloud: Cloud) -> None:
    cloud.create("flows", "scene", execution_id="first")
    cloud.settle(timedelta(hours=1))
    cloud.create("flows", "scene", execution_id="second")
    cloud.settle()


_CHILD = """
id: child
namespace: flows
inputs: [{id: n, type: STRING, defaults: none}]
outputs: [{id: twice, type: STRING, value: "{{ inputs.n }}{{ inputs.n }}"}]
tasks: [{id: told, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.n }}"}]
"""
_LONG = """
id: child
namespace: flows
inputs: [{id: n, type: STRING, defaults: none}]
tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: P7D}]
"""
_LISTENER = """
id: listener
namespace: flows
triggers:
  - id: heard
    type: io.kestra.plugin.core.trigger.Flow
    conditions:
      - {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: flows, flowId: scene}
    states: [SUCCESS]
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: heard}]
"""

SCENES = (
    Scene(
        "tasks in place",
        """
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: hello}
  - {id: note, type: test.Effect, label: one}
  - {id: mood, type: io.kestra.plugin.core.execution.SetVariables, variables: {mood: good}}
  - {id: again, type: test.Effect, label: two}
  - {id: last, type: io.kestra.plugin.core.debug.Return, format: "{{ vars.mood }}"}
""",
    ),
    Scene(
        "lights side by side",
        """
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks: [{id: left, type: test.Effect, label: left}, {id: right, type: test.Effect, label: right}]
""",
    ),
    Scene("a worker", "tasks: [{id: one, type: test.Work}, {id: two, type: test.Work}]"),
    Scene(
        "a script",
        """
tasks: [{id: script, type: io.kestra.plugin.scripts.shell.Commands, commands: [echo done]}]
""",
    ),
    Scene("a short wait", "tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10S}]"),
    Scene("a long wait", "tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: P1D}]"),
    Scene(
        "failures",
        """
tasks:
  - id: flaky
    type: test.Work
    fails: "{{ taskrun.attemptsCount < 1 }}"
    retry: {type: constant, interval: PT1M, maxAttempts: 3}
  - {id: broken, type: test.Effect, label: broken, fails: true}
errors: [{id: alarm, type: test.Effect, label: alarm}]
finally: [{id: tidy, type: io.kestra.plugin.core.log.Log, message: tidied}]
""",
        ends="FAILED",
    ),
    Scene(
        "a subflow",
        """
tasks:
  - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: flows, flowId: child, inputs: {n: a}, wait: true}
  - {id: told, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.call.outputs.twice }}"}
""",
        (_CHILD,),
    ),
    Scene(
        "a kill",
        """
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: flows, flowId: child, wait: true}
      - {id: slow, type: test.Work}
""",
        (_LONG,),
        _killed,
        "KILLED",
    ),
    Scene(
        "an execution for each part",
        """
tasks:
  - {id: file, type: io.kestra.plugin.core.storage.Write, content: "x\\ny"}
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "{{ outputs.file.uri }}"
    namespace: flows
    flowId: child
    inputs: {n: "{{ taskrun.iteration }}"}
""",
        (_CHILD,),
    ),
    Scene(
        "one at a time",
        """
concurrency: {limit: 1, behavior: QUEUE}
tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: P1D}]
""",
        act=_one_after_the_other,
    ),
    Scene(
        "a directory",
        """
tasks:
  - id: wd
    type: io.kestra.plugin.core.flow.WorkingDirectory
    tasks: [{id: one, type: test.Work}, {id: two, type: io.kestra.plugin.core.log.Log, message: between}]
""",
    ),
    Scene(
        "a loop and a listener",
        """
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    concurrencyLimit: 0
    tasks: [{id: work, type: test.Work}]
""",
        (_LISTENER,),
    ),
)
