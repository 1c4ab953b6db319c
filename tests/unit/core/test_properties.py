"""Whatever order messages come in, however often, and wherever a step is cut: the core keeps its promises.

A rule-based test (Hypothesis) makes a random small flow, runs it on the pure core with a virtual clock, and does to it
what a bad day does: messages twice, late and out of order, steps cut short, commands that never went out, lost
attempts; in the second machine people join in, who kill, hold, resume, restart and set states. After every step an
independent recount, a few lines a promise, says whether the state is sound.

    HEADRACE_THOROUGH=1 pytest tests/unit/core/test_properties.py     # thousands of flows
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headrace_engine.core.codec import decode_entry, decode_message, encode_entry, encode_message
from headrace_engine.core.commands import (
    Command,
    JoinQueue,
    KillExecution,
    KillItem,
    SetTimer,
    StartAttempt,
    StartExecution,
    StartItems,
    StopAttempt,
)
from headrace_engine.core.decide import decide, next_question
from headrace_engine.core.events import ROOT, Entry, Event, ExecutionCreated, Reopened, Replayed, StateSet, WindingDown
from headrace_engine.core.flow import index
from headrace_engine.core.fold import apply_entry, begin_entry, fold, mark_issued
from headrace_engine.core.messages import (
    Abort,
    Answer,
    AskSlot,
    AttemptReported,
    ChangeState,
    ChildReady,
    Create,
    ForceRun,
    Hold,
    ItemReported,
    ItemsReady,
    JobReady,
    Kill,
    LoopChecked,
    Message,
    Opened,
    Outputs,
    Pauses,
    Poke,
    Prepare,
    Question,
    Ran,
    RenderOutputs,
    Restart,
    Resume,
    Skipped,
    SlaViolated,
    Sleeps,
    Slot,
    SlotGranted,
    TimerFired,
    Unplannable,
)
from headrace_engine.core.outstanding import commands_of, outstanding
from headrace_engine.core.restart import copies, from_task_run
from headrace_engine.core.state import ExecutionState, Scope, empty
from headrace_engine.core.task_run import TaskRun
from headrace_engine.core.transitions import EXECUTION, TASK_RUN, Table
from headrace_engine.model.attempt import AttemptResult, ExecutionChange, Inline
from headrace_engine.model.definition import (
    Concurrency,
    FlowDefinition,
    Kind,
    LimitBehavior,
    OutputDefinition,
    Retry,
    RetryBehavior,
    RetryKind,
    Sla,
    SlaBehavior,
    TaskDefinition,
)
from headrace_engine.model.state import State
from unit.core.harness import CHILD, START, task

pytestmark = pytest.mark.timeout(3600)
THOROUGH = bool(os.environ.get("HEADRACE_THOROUGH"))
SECOND = timedelta(seconds=1)
FLOWABLES = (
    Kind.SEQUENTIAL,
    Kind.PARALLEL,
    Kind.DAG,
    Kind.IF,
    Kind.SWITCH,
    Kind.FOR_EACH,
    Kind.EACH_PARALLEL,
    Kind.ALLOW_FAILURE,
    Kind.WORKING_DIRECTORY,
    Kind.PAUSE,
    Kind.LOOP_UNTIL,
)
SIDE_BY_SIDE = {Kind.PARALLEL, Kind.DAG, Kind.FOR_EACH, Kind.EACH_PARALLEL}
RUNNABLE = (
    Kind.INLINE,
    Kind.INLINE,
    Kind.LIGHT,
    Kind.DISPATCHED,
    Kind.DISPATCHED,
    Kind.SLEEP,
    Kind.SUBFLOW,
    Kind.ITEMS,
)
LIMITLESS = 10_000


# -- Flows ------------------------------------------------------------------------------------------


@dataclass
class Script:
    """What a task gives when it is asked."""

    ends: tuple[State, ...] = (State.SUCCESS,)
    """The ends of its attempts that were not lost; the last one again and again."""
    only_for: str | None = None
    """The path value that `ends` is for; for all others it succeeds."""
    skip: bool = False
    unplannable: bool = False
    unrendered: bool = False
    """A runnable whose properties fail to render the first time."""
    branch: str = "tasks"
    values: tuple[str, ...] | None = None
    rounds: int = 1
    exceeded: str | None = None
    seconds: float | None = 1.0
    is_timeout: bool = False
    wait: bool = True
    exit: State | None = None


@dataclass(repr=False)
class Plan:
    """A flow and its script."""

    definition: FlowDefinition
    scripts: dict[str, Script]
    slots: tuple[bool, ...] = (True,)
    """The answers to whether there is a concurrency slot; the last again and again."""
    limit_behavior: LimitBehavior = LimitBehavior.QUEUE
    delayed: bool = False
    outputs_fail: bool = False
    breaks_sla: str | None = None
    """The task whose end breaks the flow's SLA."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Show it when a test fails."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        """Return it in the words of the harness, near enough to copy."""
        usual = Script()
        told = {
            name: {key: value for key, value in vars(script).items() if value != getattr(usual, key)}
            for name, script in self.scripts.items()
        }
        flow = self.definition
        lists = {
            name: [_told(each) for each in flow.branch(name)]
            for name in ("tasks", "errors", "finally", "afterExecution")
        }
        more = {
            name: value
            for name, value in (
                ("retry", flow.retry),
                ("slas", flow.slas),
                ("slots", self.slots),
                ("limit", self.limit_behavior),
            )
            if value
        }
        return f"{lists}\n{told}\n{more}"

    @property
    def is_deterministic(self) -> bool:
        """True when the outcome cannot depend on which of two things that run side by side ends first."""
        kinds = {each.kind for each in self.definition.walk()}
        tasks = list(self.definition.walk())
        beside = bool(kinds & SIDE_BY_SIDE)
        limited = Kind.DAG in kinds or any(each.concurrency for each in tasks) or Kind.ITEMS in kinds
        trouble = any(
            script.unplannable or not all(end.is_success for end in script.ends) or script.exceeded
            for script in self.scripts.values()
        )
        leaving = any(script.exit for script in self.scripts.values()) or any(
            each.properties.get("behavior") == "CANCEL" for each in tasks
        )
        retries = [each.retry for each in (*tasks, self.definition) if each.retry is not None]
        leaving |= any(each.behavior is RetryBehavior.CREATE_NEW_EXECUTION for each in retries)
        return (
            not (beside and leaving)
            and not (limited and trouble)
            and not any(each.max_duration for each in retries)
            and not self.definition.slas
        )


def _told(each: TaskDefinition) -> str:
    flags = [
        name for name in ("allow_failure", "allow_warning", "disabled", "retry", "concurrency") if getattr(each, name)
    ]
    told = [f"{flag}={getattr(each, flag)}" for flag in flags] + [f"{each.properties}" if each.properties else ""]
    told += [f"{name}=[{', '.join(map(_told, tasks))}]" for name, tasks in each.branches.items()]
    return f"{each.kind}({', '.join([each.id, *filter(None, told)])})"


def retries() -> st.SearchStrategy[Retry | None]:
    behaviors = st.sampled_from([RetryBehavior.RETRY_FAILED_TASK] * 4 + [RetryBehavior.CREATE_NEW_EXECUTION])
    made = st.builds(
        Retry,
        st.sampled_from(RetryKind),
        interval=st.sampled_from([timedelta(0), SECOND, 3 * SECOND]),
        max_interval=st.sampled_from([None, 5 * SECOND]),
        max_attempts=st.integers(1, 3),
        max_duration=st.sampled_from([None, None, None, 2 * SECOND]),
        warning_on_retry=st.booleans(),
        behavior=behaviors,
    )
    return st.one_of(st.none(), st.none(), made)


ENDS = st.sampled_from(
    [
        (State.SUCCESS,),
        (State.SUCCESS,),
        (State.SUCCESS,),
        (State.WARNING,),
        (State.FAILED,),
        (State.FAILED, State.SUCCESS),
        (State.FAILED, State.FAILED, State.SUCCESS),
    ]
)


class _Maker:
    """Draws one flow."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.left = draw(st.integers(1, 9))
        self.count = 0
        self.scripts: dict[str, Script] = {}

    def chance(self, one_in: int) -> bool:
        return bool(self.draw(st.integers(1, one_in)) == one_in)

    def some(self, most: int, depth: int, only: tuple[Kind, ...] | None = None) -> tuple[TaskDefinition, ...]:
        tasks = []
        for _ in range(self.draw(st.integers(1, most))):
            if self.left <= 0:
                break
            self.left -= 1
            tasks.append(self.task(depth, only))
        return tuple(tasks)

    def task(self, depth: int, only: tuple[Kind, ...] | None) -> TaskDefinition:
        self.count += 1
        name = f"t{self.count}"
        if only is not None:
            kind = self.draw(st.sampled_from(only))
        elif depth < 3 and self.left > 0 and self.chance(2):
            kind = self.draw(st.sampled_from(FLOWABLES))
        else:
            kind = self.draw(st.sampled_from(RUNNABLE))
        script = self.scripts[name] = Script(skip=self.chance(16))
        others: dict[str, Any] = {
            "allow_failure": self.chance(7),
            "allow_warning": self.chance(10),
            "disabled": self.chance(16),
            "retry": self.draw(retries()),
        }
        if kind in FLOWABLES:
            return self.flowable(name, kind, script, others, depth)
        script.ends = self.draw(ENDS)
        script.only_for = "y" if self.chance(3) else None
        script.seconds = self.draw(st.sampled_from([0.0, 1.0, 5.0]))
        script.wait = not self.chance(5)
        script.unrendered = self.chance(20)
        others["resubmits"] = 0 if self.chance(10) else 2
        if kind is Kind.INLINE and self.chance(14):
            script.exit = self.draw(
                st.sampled_from([State.SUCCESS, State.WARNING, State.FAILED, State.CANCELLED, State.KILLED])
            )
        if kind is Kind.SUBFLOW and self.chance(10):
            script.ends = (State.KILLED,)
        return task(name, kind, **others)

    def flowable(self, name: str, kind: Kind, script: Script, others: dict[str, Any], depth: int) -> TaskDefinition:
        jobs = (Kind.INLINE, Kind.LIGHT, Kind.DISPATCHED) if kind is Kind.WORKING_DIRECTORY else None
        script.unplannable = self.chance(25)
        branches: dict[str, tuple[TaskDefinition, ...]] = {"tasks": self.some(3, depth + 1, jobs)}
        if kind in (Kind.IF, Kind.SWITCH):
            branches = {"then": branches["tasks"]}
            script.branch = self.draw(st.sampled_from(["then", "then", "else"]))
        if kind in SIDE_BY_SIDE:
            others["concurrency"] = self.draw(st.sampled_from([0, 0, 1, 2]))
        if kind in (Kind.FOR_EACH, Kind.EACH_PARALLEL):
            script.values = self.draw(st.sampled_from([("x",), ("x", "y"), ("x", "y", "z"), ()]))
        if kind is Kind.DAG:
            names = [each.id for each in branches["tasks"]]
            others["depends_on"] = {
                each: tuple(other for other in names[:place] if self.chance(2)) for place, each in enumerate(names)
            }
        if kind is Kind.LOOP_UNTIL:
            script.rounds = self.draw(st.integers(1, 3))
            script.seconds = self.draw(st.sampled_from([0.0, 1.0]))
            script.exceeded = self.draw(st.sampled_from([None, None, None, None, "", "too often"]))
        if kind is Kind.WORKING_DIRECTORY:
            script.ends = self.draw(st.sampled_from([(State.SUCCESS,)] * 4 + [(State.FAILED,)]))
            others["properties"] = {key: [] for key in ("inputFiles", "outputFiles") if self.chance(2)}
        if kind is Kind.PAUSE:
            script.seconds = self.draw(st.sampled_from([None, 1.0, 5.0]))
            script.is_timeout = script.seconds is not None and self.chance(4)
            behavior = self.draw(st.sampled_from(["RESUME", "RESUME", "RESUME", "WARN", "FAIL", "CANCEL"]))
            others["properties"] = {"behavior": behavior}
            if not self.chance(3):
                branches.pop("tasks")
            if self.chance(3):
                branches["onPause"] = self.some(1, 9)
        for list_name in ("errors", "finally"):
            if self.chance(5):
                branches[list_name] = self.some(2, depth + 1)
        return task(name, kind, branches=branches, **others)


@st.composite
def plans(draw: Any) -> Plan:
    """Return a strategy for flows with their scripts."""
    maker = _Maker(draw)
    tasks = maker.some(4, 0)
    maker.left = 3
    lists = {name: maker.some(2, 1) if maker.chance(4) else () for name in ("errors", "finally_", "after_execution")}
    limited, sla = maker.chance(4), maker.chance(8)
    behaviors = st.sampled_from(SlaBehavior)
    slas: tuple[Sla, ...] = ()
    if sla:
        slas = (Sla("long", draw(behaviors), 3 * SECOND), Sla("broken", draw(behaviors), assertion="x"))
    definition = FlowDefinition(
        "test",
        "flow",
        1,
        tasks,
        outputs=(OutputDefinition("o", "STRING", "x"),) if maker.chance(3) else (),
        retry=draw(retries()) if maker.chance(4) else None,
        concurrency=Concurrency(1) if limited else None,
        slas=slas,
        **lists,
    )
    slots = draw(st.sampled_from([(True,), (False,), (False, True), (True, False)])) if limited else (True,)
    return Plan(
        definition,
        maker.scripts,
        slots,
        draw(st.sampled_from([LimitBehavior.QUEUE, LimitBehavior.QUEUE, LimitBehavior.CANCEL, LimitBehavior.FAIL])),
        delayed=maker.chance(8),
        outputs_fail=maker.chance(8),
        breaks_sla=draw(st.sampled_from(["t1", "t2", "t3"])),
    )


# -- The world around the core ----------------------------------------------------------------------


def said(command: Command) -> str:
    return repr(command)


@dataclass
class World:
    """One execution with its executor, workers, timers and child executions, all of them virtual."""

    plan: Plan
    id: str = "execution"
    now: Any = START
    entries: list[Entry] = field(default_factory=list)
    out: dict[tuple[str, int], AttemptResult | None] = field(default_factory=dict)
    """Attempts that a worker or child execution has, to their result once it is known; results never change."""
    told: set[tuple[str, int]] = field(default_factory=set)
    """Attempts whose result came through."""
    stops: set[tuple[str, int]] = field(default_factory=set)
    children: dict[str, tuple[str, int]] = field(default_factory=dict)
    items: dict[tuple[str, int, int], State | None] = field(default_factory=dict)
    """Parts of a ForEachItem that run: (task run, attempt, index) to how they ended."""
    items_told: set[tuple[str, int, int]] = field(default_factory=set)
    timers: dict[str, Any] = field(default_factory=dict)
    queued: bool = False
    slots_asked: int = 0
    disturbed_by_hand: bool = False
    leaving: bool = False
    created: list[str] = field(default_factory=list)
    """Every task run id there ever was."""

    def __post_init__(self) -> None:
        self.state: ExecutionState = empty(self.id, index(self.plan.definition))

    # -- The executor -----------------------------------------------------------------------------

    def step(self, messages: Iterable[Message], limit: int = LIMITLESS, *, lose_commands: bool = False) -> None:
        """Decide *messages*, then at most *limit* questions; write the entry; issue its commands, or die before."""
        before, events, stale = self.state, [], False
        state = begin_entry(before, self.now)
        at = state.at
        assert at is not None
        for message in messages:
            assert decode_message(encode_message(message)) == message
            decision = decide(state, message, self.now)
            state = decision.state
            stale |= not decision.events
            events += decision.events
        asked = 0
        while True:
            while asked < limit and (question := next_question(state)) is not None:
                decision = decide(state, self.answer(state, question), self.now)
                assert decision.events, f"nothing follows from the answer to {question}"
                state, asked = decision.state, asked + 1
                events += decision.events
            if not events or not self.breaks_sla(state):
                break
            decision = decide(state, SlaViolated("broken"), self.now)
            state = decision.state
            events += decision.events
        if events:
            entry = Entry(state.seq, at, tuple(events), before.issued_through)
            self.written(before, entry, state)
            self.issue(commands_of(state, entry.events), lost=lose_commands)
            if not lose_commands and before.issued_through == entry.seq - 1:
                self.state = mark_issued(self.state, entry.seq)
        if stale and not lose_commands:
            self.catch_up()

    def written(self, before: ExecutionState, entry: Entry, state: ExecutionState) -> None:
        stored = decode_entry(encode_entry(entry))
        assert stored == entry
        assert apply_entry(before, stored) == state, "the journal does not fold to the state in hand"
        issued = Counter(map(said, commands_of(state, entry.events)))
        due = Counter(map(said, outstanding(state, above=before.seq)))
        assert set(issued) == set(due), "commands_of is not what is outstanding since the entry before"
        for event in entry.events:
            if isinstance(event, WindingDown | Reopened):
                self.leaving = isinstance(event, WindingDown)
        self.entries.append(stored)
        self.state = state
        Sound(self, before, entry.events).look()

    def catch_up(self) -> None:
        """Issue what the writers of the last entries may not have issued."""
        if self.state.issued_through < self.state.seq:
            self.issue(outstanding(self.state, above=self.state.issued_through))
            self.state = mark_issued(self.state, self.state.seq)

    def issue(  # noqa: C901, PLR0912 - a command a row
        self, commands: Iterable[Command], *, lost: bool = False
    ) -> None:
        for command in [] if lost else list(commands):
            match command:
                case StartAttempt():
                    self.out.setdefault((command.task_run_id, command.number), None)
                case StopAttempt():
                    self.stops.add((command.task_run_id, command.number))
                case SetTimer():
                    self.timers[command.key] = command.due
                case StartExecution():
                    asked = command.created.reply_to
                    if asked is not None:
                        key = (asked.task_run_id, asked.number)
                        self.children[command.execution_id] = key
                        self.out.setdefault(key, None)
                case StartItems():
                    started = self.state.items.get(command.task_run_id)
                    if started is not None and started.started.wait:
                        for number in range(command.first, command.last):
                            self.items.setdefault((command.task_run_id, started.started.number, number), None)
                case KillExecution():
                    if command.execution_id in self.children:
                        self.stops.add(self.children[command.execution_id])
                case KillItem():
                    for key in self.items:
                        if (key[0], key[2]) == (command.task_run_id, command.index):
                            self.stops.add((key[0], key[1]))
                case JoinQueue():
                    self.queued = True
                case _:
                    pass

    def breaks_sla(self, state: ExecutionState) -> bool:
        if state.state.is_terminal or "broken" in state.broken_slas:
            return False
        return any(sla.id == "broken" for sla in self.plan.definition.slas) and any(
            run.task_id == self.plan.breaks_sla and run.state.is_terminal for run in state.task_runs.values()
        )

    # -- Answers and results ----------------------------------------------------------------------

    def answer(self, state: ExecutionState, question: Question) -> Answer:
        match question:
            case RenderOutputs():
                return Outputs(error="no x") if self.plan.outputs_fail else Outputs(Inline({"done": True}))
            case AskSlot():
                granted = self.plan.slots[min(self.slots_asked, len(self.plan.slots) - 1)]
                self.slots_asked += 1
                return Slot(granted or question.force, self.plan.limit_behavior)
            case Prepare():
                return self.prepare(state, state.task_runs[question.task_run_id])

    def prepare(self, state: ExecutionState, run: TaskRun) -> Answer:  # noqa: C901, PLR0912 - a kind a row
        definition = state.flow.tasks[run.task_id]
        script = self.plan.scripts[run.task_id]
        kind, scope = definition.kind, state.scopes.get(run.id)
        assert not state.held
        assert not state.closed
        assert state.winding_down is None, "a task run is prepared while the execution leaves"
        assert run.state in (State.CREATED, State.RESTARTED) or (scope is not None and run.state is State.RUNNING)
        if script.skip and run.state is State.CREATED and not run.attempts:
            return Skipped(run.id)
        if script.unplannable:
            return Unplannable(run.id, "no x")
        if script.unrendered and not run.attempts and kind.is_runnable:
            return Ran(run.id, AttemptResult(State.FAILED, self.now, self.now, error="no x"))
        match kind:
            case Kind.INLINE:
                return Ran(run.id, self.result(run))
            case Kind.LIGHT | Kind.DISPATCHED:
                lease = 30.0 if kind is Kind.LIGHT else None
                return JobReady(run.id, kind, Inline({"n": made(run)}), "me", lease)
            case Kind.SLEEP:
                failed = self.end(run) is State.FAILED
                return Sleeps(run.id, script.seconds or 0.0, "too long" if failed else None)
            case Kind.SUBFLOW:
                child = replace(CHILD, reply_to=None)
                if script.wait:
                    from headrace_engine.core.events import ReplyTo

                    child = replace(CHILD, reply_to=ReplyTo(state.id, run.id, len(run.attempts)))
                return ChildReady(run.id, f"child-of-{run.id}-{len(run.attempts)}", child, script.wait)
            case Kind.ITEMS:
                return ItemsReady(run.id, 3, 2, "test", "child", 1, "folder", script.wait)
            case Kind.PAUSE:
                return Pauses(run.id, script.seconds, script.is_timeout)
            case Kind.LOOP_UNTIL if scope is not None:
                outputs = run.outputs
                assert isinstance(outputs, Inline)
                if outputs.value["iterationCount"] >= script.rounds:
                    return LoopChecked(run.id, done=script.exceeded is None, exceeded=script.exceeded)
                return LoopChecked(run.id, seconds=script.seconds or 0.0)
            case Kind.LOOP_UNTIL:
                return Opened(run.id, outputs=Inline({"iterationCount": 1}))
            case Kind.WORKING_DIRECTORY if scope is not None or "inputFiles" in definition.properties:
                return JobReady(run.id, Kind.DISPATCHED, Inline({}))
            case _:
                return Opened(run.id, script.branch, script.values)

    def end(self, run: TaskRun) -> State:
        script = self.plan.scripts[run.task_id]
        if script.only_for is not None and run.path and script.only_for not in run.path:
            return State.SUCCESS
        return script.ends[min(made(run), len(script.ends) - 1)]

    def result(self, run: TaskRun) -> AttemptResult:
        """Return how the next (or open) attempt of *run* ends, if nothing happens to it."""
        script = self.plan.scripts[run.task_id]
        outputs = Inline({"is": f"{run.task_id}{run.path}{made(run)}"})
        change = ExecutionChange(labels={run.task_id: "ran"}, exit=script.exit)
        return AttemptResult(self.end(run), self.now, self.now, outputs, change=change)

    # -- Messages ---------------------------------------------------------------------------------

    def report(self, key: tuple[str, int]) -> Message:
        """Return the report of an attempt; its result is found once and for all."""
        if self.out[key] is None:
            run = self.state.task_runs.get(key[0])
            result = AttemptResult(State.SUCCESS, self.now, self.now)
            if run is not None and run.open_attempt is not None and run.open_attempt.number == key[1]:
                result = self.result(run)
            if key in self.stops:
                result = replace(result, state=State.KILLED)
            self.out[key] = result
        self.told.add(key)
        result = self.out[key]
        assert result is not None
        return AttemptReported(*key, result)

    def item(self, key: tuple[str, int, int]) -> Message:
        if self.items[key] is None:
            run = self.state.task_runs.get(key[0])
            script = self.plan.scripts[run.task_id] if run is not None else Script()
            state = script.ends[min(key[1], len(script.ends) - 1)] if key[2] == 1 else State.SUCCESS
            self.items[key] = State.KILLED if key[:2] in self.stops else state
        self.items_told.add(key)
        state = self.items[key]
        assert state is not None
        return ItemReported(*key, state)

    def lose(self, key: tuple[str, int]) -> Message:
        if self.out[key] is None:
            self.out[key] = AttemptResult(State.RESUBMITTED, self.now, self.now, error="gone")
        return self.report(key)

    def owed(self) -> list[Message]:
        """Return what is still on its way by itself, the oldest first."""
        reports = [self.report(key) for key in list(self.out) if key not in self.told]
        return reports + [self.item(key) for key in list(self.items) if key not in self.items_told]

    def start(self, limit: int = LIMITLESS, *, lose_commands: bool = False) -> None:
        start_at = START + SECOND if self.plan.delayed else None
        created = ExecutionCreated("test", "flow", 1, Inline({}), start_at=start_at)
        self.step([Create(created)], limit, lose_commands=lose_commands)

    def finish(self) -> None:
        """Go on to the end; then whatever comes late changes nothing, and nothing is outstanding."""
        for _ in range(400):
            self.catch_up()
            if self.state.closed:
                break
            self.go_on()
        assert self.state.closed, f"still going on: {self.show()}"
        self.catch_up()
        ended = self.state
        for key in self.out:
            self.step([self.report(key)])
        for key in self.timers:
            self.step([TimerFired(key)])
        self.step([Kill(), Resume(), Hold(), Poke(), SlotGranted(), ForceRun(), Abort("late")])
        assert self.state is ended, "a message that came after the end changed something"
        assert list(outstanding(ended)) == []
        assert all(run.state.is_terminal for run in ended.task_runs.values()), self.show()
        whole = mark_issued(fold(self.id, ended.flow, self.entries), ended.issued_through)
        assert whole == ended

    def go_on(self) -> None:
        """Deliver what is owed, in order; or let time pass; or be the person a pause waits for."""
        if next_question(self.state) is not None:
            self.step([Poke()])
            return
        state, owed = self.state, self.owed()
        timers = {key: self.timers[key] for key in state.timers if key in self.timers}
        asleep = "items:" if state.held else "-"  # the pages of a ForEachItem wait for the person, too
        timers = {key: due for key, due in timers.items() if not key.startswith(asleep)}
        due = [key for key in self.timers if key in timers and timers[key] <= self.now]
        if owed or due:
            for message in owed or [TimerFired(key) for key in due]:
                self.step([message])
        elif timers:
            self.now = min(timers.values())
        elif state.state is State.QUEUED:
            self.step([SlotGranted()])
        elif state.paused:
            self.step([Resume(min(state.paused, key=lambda run_id: state.task_runs[run_id].order))])
        elif state.held:
            self.step([Resume()])
        else:
            raise AssertionError(f"stuck: {self.show()}")

    def outcome(self) -> Any:
        """Return what must not depend on the order things happened in."""
        runs = Counter(
            (run.task_id, run.path, run.state.value, shown(run.outputs), made(run), run.value, run.phase)
            for run in self.state.task_runs.values()
        )
        return self.state.state, repr(self.state.outputs), sorted(self.state.labels), runs

    def show(self) -> str:
        lines = [f"{self.state.state} held={self.state.held} timers={list(self.state.timers)} ready={self.state.ready}"]
        lines += [f"  {run.task_id}{run.path} {run.phase} {run.state}" for run in self.state.in_order()]
        lines += [f"  {entry.seq}: {event}" for entry in self.entries for event in entry.events]
        return "\n".join(lines)


def shown(outputs: Any) -> str:
    """Return the text of *outputs*; ids of executions differ between runs."""
    return "an execution" if "executionId" in repr(outputs) else repr(outputs)


def made(run: TaskRun) -> int:
    """Return how many attempts ended that were not lost."""
    return sum(each.ended is not None and each.state is not State.RESUBMITTED for each in run.attempts)


# -- What must always hold --------------------------------------------------------------------------


@dataclass
class Sound:
    """Looks at a state the slow and simple way, after the step that *events* made of *before*."""

    world: World
    before: ExecutionState
    events: tuple[Event, ...]

    def look(self) -> None:
        self.state = self.world.state
        self.runs = self.state.task_runs.values()
        self.below: dict[str, list[TaskRun]] = {}
        for run in sorted(self.runs, key=lambda each: each.order):
            self.below.setdefault(run.parent_id or ROOT, []).append(run)
        self.ids()
        self.histories()
        self.queue()
        self.waiting()
        self.scopes()
        self.ends()

    def ids(self) -> None:
        new = [run.id for run in self.runs if run.id not in self.before.task_runs]
        assert not set(new) & set(self.world.created), "an id was used before"
        self.world.created += new
        assert len({run.order for run in self.runs}) == len(self.runs)

    def histories(self) -> None:
        for run in self.runs:
            self.legal(TASK_RUN, run.histories, run.id)
            earlier = self.before.task_runs.get(run.id)
            assert earlier is None or run.histories[: len(earlier.histories)] == earlier.histories
            assert [each.number for each in run.attempts] == list(range(len(run.attempts)))
            assert all(each.ended is not None and each.ended >= each.started for each in run.attempts[:-1])
        self.legal(EXECUTION, self.state.histories, self.state.id)

    def legal(self, table: Table, histories: Any, name: str) -> None:
        dates = [date for _, date in histories]
        assert dates == sorted(dates), f"time ran back in {name}"
        assert histories[0][0] is State.CREATED
        for (source, _), (target, _) in pairwise(histories):
            assert target in table[source], (name, source, target)

    def queue(self) -> None:
        state = self.state
        assert {run.id: run.ticket for run in self.runs if run.ticket is not None} == {
            run_id: ticket for ticket, run_id in state.ready.items()
        }
        assert state.ready_head == min(state.ready, default=state.ready_tail)
        assert set(state.open_attempts) == {run.id for run in self.runs if run.open_attempt is not None}
        for run in self.runs:
            assert (run.ticket is None) or run.state in (State.CREATED, State.RESTARTED, State.RUNNING)
            assert run.open_attempt is None or run.state in (State.RUNNING, State.KILLING)
            if run.state is State.KILLING:
                assert run.open_attempt is not None
        attempts = [(run.id, run.open_attempt) for run in self.runs]
        assert set(state.leases) == {
            run_id for run_id, each in attempts if each is not None and each.kind is Kind.LIGHT
        }
        assert set(state.children) <= set(state.open_attempts)
        assert set(state.items) <= set(state.open_attempts)

    def waiting(self) -> None:  # noqa: PLR0912 - a promise a row
        """Every task run that has not ended has who wakes it; every timer has an owner."""
        state, owners = self.state, Counter()
        for key in state.timers:
            what, *rest = key.split(":")
            if what == "start":
                assert state.state is State.CREATED
            elif what == "sla":
                assert not state.state.is_terminal
            else:
                run = state.task_runs[rest[0]]
                owners[run.id] += 1
                expected = {"retry": State.RETRYING, "loop": State.PAUSED, "pause": State.PAUSED}
                assert run.state in (expected.get(what, run.state),), key
                if what == "sleep":
                    assert run.open_attempt is not None
                    assert run.open_attempt.kind is Kind.SLEEP
        assert all(count == 1 for count in owners.values())
        for run in self.runs:
            if run.state.is_terminal:
                assert run.ticket is None
                assert run.id not in owners
                assert run.id not in state.paused
                assert run.id not in state.scopes
                continue
            alive = any(not child.state.is_terminal for child in self.below.get(run.id, ()))
            awake = [
                run.ticket is not None,
                run.open_attempt is not None,
                (run.id in owners and run.open_attempt is None) or run.id in state.paused,
                (alive or state.state is State.QUEUED) and run.id in state.scopes,
            ]
            assert sum(awake) == 1, f"{run.task_id} is stuck, or waits twice: {awake}\n{self.world.show()}"
        living = any(not run.state.is_terminal for run in self.runs)
        if state.closed:
            assert state.state.is_terminal
            waits = (state.ready, state.timers, state.open_attempts, state.paused, state.children, state.items)
            assert not living
            assert not any(waits)
            assert next_question(state) is None
        else:
            assert (
                living
                or state.finishing is not None
                or state.asking_slot is not None
                or state.state is State.QUEUED
                or "start" in state.timers
            ), f"nothing goes on: {self.world.show()}"
        if state.state is State.PAUSED:
            assert state.held or state.paused or state.finishing is not None
        if state.state is State.KILLING:
            assert state.open_attempts, self.world.show()
        if state.winding_down is not None:
            assert state.open_attempts or state.finishing is not None, self.world.show()
            assert not state.ready
        going_on = state.ready or state.open_attempts or state.finishing is not None or state.asking_slot is not None
        if state.state is State.RUNNING and not going_on:
            assert any(key.startswith(("loop:", "retry:", "items:")) for key in state.timers), "RUNNING, but nothing is"

    def scopes(self) -> None:
        state = self.state
        for scope_id, scope in state.scopes.items():
            if scope_id == ROOT and (state.closed or state.finishing is not None):
                continue
            members = [run for run in self.below.get(scope_id, ()) if run.phase == scope.phase]
            graph = scope_id != ROOT and self.kind(state.task_runs[scope_id]) is Kind.DAG and scope.phase == "tasks"
            ended = [run for run in members if run.state.is_terminal]
            assert scope.live == len(members) - len(ended), (scope_id, scope, self.world.show())
            assert scope.opened == max((run.lane + 1 for run in members), default=0), (scope, self.world.show())
            failed = any(not run.state.is_success for run in ended)
            own = scope.failed and not failed and scope.phase in ("collect", "check", "pause")
            assert scope.failed == failed or own, (scope, self.world.show())
            if graph:
                assert scope.done == {run.task_id for run in ended}
                assert scope.created == {run.task_id for run in members}
            worst = self.worst(scope_id)
            assert scope.result is worst or (
                scope.result is State.FAILED and scope.tried & {"collect", "check", "pause"}
            )
            self.lanes(scope_id, scope, members)

    def lanes(self, scope_id: str, scope: Scope, members: list[TaskRun]) -> None:
        """Never more lanes at once than the limit, one task run at a time in a lane."""
        living = [run for run in members if not run.state.is_terminal]
        assert len({run.lane for run in living}) == len(living)
        if scope_id != ROOT and scope.phase == "tasks":
            limit = self.state.flow.tasks[self.state.task_runs[scope_id].task_id].concurrency
            assert not limit or len(living) <= limit

    def worst(self, scope_id: str) -> State:
        """Reference §4.2: KILLED, FAILED, WARNING, SUCCESS over the tasks; errors count only as KILLED."""
        counts = {
            "tasks": (State.KILLED, State.FAILED, State.WARNING),
            "onPause": (State.KILLED, State.FAILED, State.WARNING),
            "errors": (State.KILLED,),
            "finally": (State.KILLED, State.FAILED),
            "afterExecution": (),
        }
        found = {run.state for run in self.below.get(scope_id, ()) if run.state in counts[run.phase]}
        return next((state for state in (State.KILLED, State.FAILED, State.WARNING) if state in found), State.SUCCESS)

    def ends(self) -> None:
        """A flowable that ended by itself ended as its children say, its flags applied."""
        by_hand = {event.task_run_id for event in self.events if isinstance(event, StateSet)}
        if self.world.leaving or any(isinstance(event, WindingDown) for event in self.events):
            return
        for run in self.runs:
            earlier = self.before.task_runs.get(run.id)
            came_along = earlier is None and any(isinstance(event, Replayed) for event in self.events)
            ended_now = run.state.is_terminal and (earlier is None or not earlier.state.is_terminal) and not came_along
            children = self.below.get(run.id)
            if not ended_now or not children or run.id in by_hand or run.error is not None:
                continue
            definition = self.state.flow.tasks[run.task_id]
            if definition.kind is Kind.PAUSE or self.failed_to_collect(run):
                continue
            state = self.worst(run.id)
            if state is State.FAILED and (definition.allow_failure or definition.kind is Kind.ALLOW_FAILURE):
                state = State.WARNING
            if state is State.WARNING and definition.allow_warning:
                state = State.SUCCESS
            assert run.state is state, (run.task_id, run.state, state, self.world.show())
            failed = any(each.phase == "tasks" and each.state is State.FAILED for each in children)
            tried = {each.phase for each in children}
            killed = self.worst(run.id) is State.KILLED
            for phase, due in (("errors", failed and not killed), ("finally", not killed)):
                if due and self.state.flow.branch(run.task_id, phase):
                    assert phase in tried, f"{run.task_id} did not run its {phase}: {self.world.show()}"

    def failed_to_collect(self, run: TaskRun) -> bool:
        return any(each.state in (State.FAILED, State.RESUBMITTED) for each in run.attempts)

    def kind(self, run: TaskRun) -> Kind:
        return self.state.flow.tasks[run.task_id].kind


# -- The machines -----------------------------------------------------------------------------------

LIMITS = st.sampled_from([1, 2, 3, LIMITLESS, LIMITLESS])
PICK = st.integers(0, 30)


class Delivery(RuleBasedStateMachine):
    """Messages in any order, any number of times; steps cut anywhere; commands and attempts lost."""

    by_hand = False

    @initialize(plan=plans(), limit=LIMITS, lost=st.booleans())
    def create(self, plan: Plan, limit: int, lost: bool) -> None:
        self.world = World(plan)
        self.world.start(limit, lose_commands=lost)
        self.losses: Counter[str] = Counter()

    def pick(self, keys: Iterable[Any], place: int) -> Any:
        keys = list(keys)
        return keys[place % len(keys)]

    def messages(self, kind: str, place: int) -> list[Message]:
        """Return a message of a kind, or none."""
        world = self.world
        match kind:
            case "report" if world.out:
                return [world.report(self.pick(world.out, place))]
            case "fresh" if any(key not in world.told for key in world.out):
                return [world.report(self.pick([key for key in world.out if key not in world.told], place))]
            case "item" if world.items:
                return [world.item(self.pick(world.items, place))]
            case "timer" if world.timers:
                return [TimerFired(self.pick(world.timers, place))]
            case "grant" if world.queued and world.state.state is State.QUEUED:
                return [SlotGranted()]
            case "resume" if any(run_id not in self.timed() for run_id in world.state.paused):
                waiting = [run_id for run_id in world.state.paused if run_id not in self.timed()]
                return [Resume(self.pick(sorted(waiting), place))]
            case "poke":
                return [Poke()]
            case _:
                return []

    def timed(self) -> set[str]:
        return {key.split(":")[1] for key in self.world.state.timers if key.startswith("pause:")}

    @rule(
        kinds=st.lists(
            st.sampled_from(["report", "fresh", "fresh", "item", "timer", "grant", "resume", "poke"]),
            min_size=1,
            max_size=3,
        ),
        place=PICK,
        limit=LIMITS,
        lost=st.sampled_from([False, False, True]),
    )
    def deliver(self, kinds: list[str], place: int, limit: int, lost: bool) -> None:
        messages = [message for kind in kinds for message in self.messages(kind, place)]
        self.world.step(messages or [Poke()], limit, lose_commands=lost)

    @rule(seconds=st.sampled_from([1, 2, 10, -5]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds * SECOND

    @rule(place=PICK, limit=LIMITS)
    def attempt_is_lost(self, place: int, limit: int) -> None:
        world = self.world
        fresh = [key for key in world.out if key not in world.told and key not in world.children.values()]
        fresh = [key for key in fresh if self.losses[key[0]] == 0 and self.is_resubmitted(key[0])]
        if fresh:
            key = self.pick(fresh, place)
            self.losses[key[0]] += 1
            world.step([world.lose(key)], limit)

    def is_resubmitted(self, run_id: str) -> bool:
        run = self.world.state.task_runs.get(run_id)
        return run is not None and self.world.state.flow.tasks[run.task_id].resubmits > 0

    @rule()
    def executor_comes_back(self) -> None:
        self.world.catch_up()

    @precondition(lambda self: not self.world.state.paused)
    @rule(limit=LIMITS)
    def hold_and_resume(self, limit: int) -> None:
        """As long as no Pause waits, holding changes nothing in the end."""
        self.world.step([Hold()], limit)
        if self.world.state.held and not self.world.state.paused:
            self.world.step([Resume()], limit)

    @invariant()
    def is_sound(self) -> None:
        """Every step was looked at when it was written."""

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.finish()
        if not self.by_hand and world.plan.is_deterministic:
            calm = World(world.plan)
            calm.start()
            calm.finish()
            assert world.outcome() == calm.outcome(), f"disturbed: {world.show()}\nundisturbed: {calm.show()}"


class People(Delivery):
    """All that, and people who kill, hold, resume, restart, set states, replay; and executions that must be given up."""

    by_hand = True

    @rule(
        what=st.sampled_from(["kill", "hold", "hold", "resume", "force", "restart", "restart", "set", "set", "end"]),
        also=st.sampled_from(["", "", "fresh", "timer", "kill", "restart"]),
        place=PICK,
        to=st.sampled_from([State.SUCCESS, State.WARNING, State.FAILED, State.KILLED]),
        limit=LIMITS,
        lost=st.booleans(),
    )
    def somebody(  # noqa: PLR0917 - Hypothesis passes them by name
        self, what: str, also: str, place: int, to: State, limit: int, lost: bool
    ) -> None:
        world = self.world
        target = self.pick(sorted(world.state.task_runs), place) if world.state.task_runs else ""
        by_name: dict[str, Message] = {
            "kill": Kill(),
            "hold": Hold(),
            "resume": Resume(to=self.pick([State.RUNNING, State.RUNNING, State.CANCELLED, to], place)),
            "force": ForceRun(),
            "restart": Restart(),
            "set": ChangeState(to, target),
            "end": ChangeState(self.pick([to, State.CANCELLED], place)),
        }
        messages = [by_name[what]]
        messages += [by_name[also]] if also in by_name else self.messages(also, place)
        world.step(messages, limit, lose_commands=lost)

    @rule(place=PICK)
    def the_engine_gives_up(self, place: int) -> None:
        if place == 0:
            self.world.step([Abort("a bug")])

    @precondition(lambda self: bool(self.world.state.task_runs) and not self.world.state.open_attempts)
    @rule(place=PICK, limit=LIMITS)
    def replay(self, place: int, limit: int) -> None:
        """A copy of what ended or is paused, from any of its task runs, comes to an end too."""
        state = self.world.state
        if not (state.closed or state.state is State.PAUSED):
            return
        found = from_task_run(state, self.pick(sorted(state.task_runs), place))
        task_runs, moved = copies(state, found, "copy", state.flow)
        copy = World(replace(self.world.plan, slots=(True,)), id="copy", now=self.world.now)
        created = ExecutionCreated("test", "flow", 1, Inline({}), parent_id=state.id)
        copy.step([Create(created, task_runs, Reopened(moved.restarted, moved.reopened, ()))], limit)
        copy.finish()


def examples(usual: int, thorough: int, steps: int) -> settings:
    return settings(
        max_examples=thorough if THOROUGH else usual,
        derandomize=not THOROUGH,
        stateful_step_count=steps,
        deadline=None,
        print_blob=THOROUGH,
        suppress_health_check=list(HealthCheck),
    )


def test_whatever_order_messages_come_in_the_outcome_is_the_same() -> None:
    run_state_machine_as_test(Delivery, settings=examples(150, 4000, 25))


def test_whatever_people_do_in_between_nothing_gets_stuck_or_miscounted() -> None:
    run_state_machine_as_test(People, settings=examples(150, 4000, 25))
