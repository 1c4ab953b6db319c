"""Drives stories on a `World`: as a client and a supervisor who starts the engine again when it died."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar

from crash.faults import Cache, CrashError, Faults, through
from crash.outcomes import lost_attempts, outcome
from crash.virtual_flows import Story
from headrace_engine.core.codec import decode_entry, decode_result, encode_result
from headrace_engine.core.fold import fold
from headrace_engine.core.messages import Create
from headrace_engine.engine import NoSuchExecutionError
from headrace_engine.executor import ended_with_engine, summary
from headrace_engine.language import Registry
from headrace_engine.model.attempt import AttemptResult, Inline
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure
from headrace_engine.ports import AttemptId, Job
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import Letter, VirtualRuntime, World

EXECUTION = "execution"
_FAR = timedelta(days=30)


class Crashes(Enum):
    """What a crash leaves of what is not in a durable store."""

    LOCAL = "local: what was on its way is gone, deferred writes are lost"
    LOCAL_FLUSHED = "local: what was on its way is gone, deferred writes came through"
    CLOUD = "cloud: queues and timers stand, what was not acknowledged comes again"


class Effect(RunnableTask):
    """A light task that leaves a trace of each attempt in the key-value store.

    id: effect
    type: test.Effect
    label: one
    """

    TYPE: ClassVar[str] = "test.Effect"
    KIND: ClassVar[Kind] = Kind.LIGHT

    label: str
    fails: bool = False

    def run(self, context: RunContext) -> None:
        """Leave the trace."""
        key = f"{self.label}.{context.task_run_id}.{context.attempt}"
        store = context.kv()
        store.set(key, "done", overwrite=False)  # raises when the attempt ran before
        context.log.info(f"{self.label} was here")
        if self.fails:
            raise TaskFailure("not yet")


def registry() -> Registry:
    """Return all task types, and test.Effect."""
    return Registry.load().extended([Effect])


@dataclass
class Drama:
    """One story played on one world, with an engine that dies at the moments given."""

    story: Story
    registry: Registry
    crashes: Crashes = Crashes.LOCAL
    settings: Settings | None = None
    world: World = field(default_factory=World)
    ran: Counter[AttemptId] = field(default_factory=Counter)
    """How often each dispatched attempt ran."""
    deaths: list[str] = field(default_factory=list)
    order: random.Random | None = None
    """Draws what comes next; without it all comes in the order it was sent."""

    def play(self, *moments: Faults) -> dict[str, Any]:
        """Run the story to its end, dying at each of *moments* in turn; return the outcome, checked."""
        for faults in (*moments, Faults()):
            cache = Cache()
            runtime = self.runtime(through(self.world, faults.call, cache))
            try:
                self._act(runtime)
            except CrashError:
                self.deaths.append(faults.struck)
                runtime.close()
                self._after_death(cache)
                continue
            runtime.close()
            cache.flush()
            break
        return self.checked()

    def runtime(self, world: World, **options: Any) -> VirtualRuntime:
        return VirtualRuntime(
            world=world, registry=self.registry, run_job=self.run_job, settings=self.settings, **options
        )

    def _act(self, runtime: VirtualRuntime) -> None:
        """What the supervisor and the client do, from the start; both do not remember a life before."""
        if self.crashes is not Crashes.CLOUD:
            runtime.recover()
        for source in self.story.others:
            runtime.save_flow(source)
        definition = runtime.save_flow(self.story.source)
        try:
            runtime.outcome(EXECUTION)
        except NoSuchExecutionError:
            if not any(letter.execution_id == EXECUTION for letter in self.world.letters):
                runtime.create(definition.namespace, definition.id, execution_id=EXECUTION)
        while True:
            if self._kill_is_due(runtime):
                runtime.kill(EXECUTION)
                while self.world.letters:
                    runtime.step()
            if not self._step(runtime) and not runtime.ring(runtime.clock.now() + _FAR):
                return

    def _step(self, runtime: VirtualRuntime) -> bool:
        if self.order is None:
            return runtime.step()
        chosen = self.next_of(self.order)
        if isinstance(chosen, Job):
            runtime.work(chosen)
        elif chosen is not None:
            runtime.deliver(chosen)
        return chosen is not None

    def next_of(self, order: random.Random) -> Letter | Job | None:
        """Draw a message or a job; messages to an execution that has no journal yet wait for its first."""
        world = self.world
        letters = [
            letter
            for letter in world.letters
            if isinstance(letter.message, Create) or world.stores.journal.entries(letter.execution_id)
        ]
        waiting: list[Letter | Job] = [*letters, *world.jobs]
        return order.choice(waiting) if waiting else None

    def _kill_is_due(self, runtime: VirtualRuntime) -> bool:
        wanted = self.story.kill_at
        if wanted is None or all(job.task_id != wanted for job in self.world.jobs):
            return False
        return "KILLING" not in runtime.outcome(EXECUTION).history

    def _after_death(self, cache: Cache) -> None:
        if self.crashes is Crashes.LOCAL:
            cache.lose()
        else:
            cache.flush()
        if self.crashes is Crashes.CLOUD:
            self._platform_reports_lost_workers()
        else:
            self.world.forget()

    def _platform_reports_lost_workers(self) -> None:
        """An invocation that ended without a result is reported lost (DESIGN §3.5); its claim says so first."""
        world = self.world
        for claim in world.stores.claims.open():
            now = world.clock.now()
            lost = ended_with_engine(claim, now, "The worker vanished")
            world.stores.claims.close_lost(claim.attempt, encode_result(lost), now)

    def run_job(self, job: Job) -> AttemptResult | None:
        """End a dispatched attempt as the story says."""
        self.ran[job.attempt] += 1
        if job.type.startswith("io.headrace.foreachitem."):
            return None  # its files are needed
        now = self.world.clock.now()
        give = self.story.results.get(job.task_id)
        if give is None or job.type.endswith(".Prepare"):
            return AttemptResult(State.SUCCESS, now, now)
        given = give(self._made(job.attempt))
        if isinstance(given, Exception):
            return AttemptResult(State.FAILED, now, now, error=str(given))
        return AttemptResult(State.SUCCESS, now, now, outputs=Inline(given))

    def _made(self, attempt: AttemptId) -> int:
        """Return how many attempts of the task run ended before this one, the lost ones left out."""
        results = [
            decode_result(claim.result)
            for claim in self.world.stores.claims.of_execution(attempt.execution_id)
            if claim.attempt.task_run_id == attempt.task_run_id and claim.result is not None
        ]
        return sum(result.state is not State.RESUBMITTED for result in results)

    def checked(self) -> dict[str, Any]:
        """Return the outcome of every execution there is, the first one's first; raise when something does not hold that always must."""
        outcomes: dict[str, Any] = {}
        stores = self.world.stores
        found = stores.executions.search(limit=100).found
        started = sorted(found, key=lambda each: (each.start, (each.parent_id or each.caller_id) is not None))
        with self.runtime(self.world) as reader:
            for each in started:
                came = reader.outcome(each.id)
                name = f"{each.flow_id} {came.view['inputs']} {came.view['metadata']['attemptNumber']}"
                entries = [decode_entry(stored.data) for stored in stores.journal.entries(each.id)]
                assert [entry.seq for entry in entries] == list(range(len(entries)))
                outcomes[name] = outcome(came.view, came.logs, lost_attempts(entries))
                created = entries[0].events[0]
                flow = reader.engine.flow_of(each.namespace, each.flow_id, created.flow_revision)  # type: ignore[union-attr]
                state = fold(each.id, flow, entries)
                assert state.closed, f"{each.id} is not done"
                assert stores.executions.get(each.id) == summary(state)
                assert reader.engine.view(state) == came.view
        assert len(outcomes) == len(started), "an execution was started twice"
        assert not list(stores.claims.open()), "claims are open"
        assert all(times == 1 for times in self.ran.values()), "an attempt ran twice"
        outcomes["effects"] = sorted({entry.key.partition(".")[0] for entry in stores.kv.list("crash")})
        return outcomes
