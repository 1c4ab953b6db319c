"""Function invocations as greenlets: each port call is a place where one may be killed, refused, or overtaken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from headrace_engine.ports import PortError
from headrace_engine.services import Stores
from headrace_engine.testing.simulation.chance import AT_CALLS, FaultKind

if TYPE_CHECKING:
    from headrace_engine.testing.simulation.world import Instance, World

_FREE = frozenset({"clock", "secrets", "cipher"})
"""Ports that are no calls to anywhere."""
_SURE = frozenset({"logs", "metrics"})
"""Ports where an error changes what comes of it: a worker's lines are not worth its result.

So none strikes where outcomes are compared, but at the lines that an executor keeps of its entries.
"""
_NO_ERROR = frozenset({FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.SWITCH, FaultKind.STALL})
_SURE_KINDS = tuple(kind for kind in AT_CALLS if kind in _NO_ERROR)
_READS = ("get", "entries", "entry", "snapshot", "state", "open", "due", "list", "search", "revisions", "of_execution")
_READ_KINDS = tuple(kind for kind in AT_CALLS if kind not in (FaultKind.TIME_OUT, FaultKind.ECHO))


class KilledError(BaseException):
    """The invocation is dead. No `except Exception` catches it, and every port raises it from now on."""


class Invocation(greenlet):  # type: ignore[misc]  # greenlet has no types
    """One call of a function, from its start until it returns, fails or is killed."""

    def __init__(  # noqa: PLR0917 - one each
        self,
        world: World,
        function: str,
        subject: str,
        instance: Instance,
        work: Callable[[], Any],
        done: Callable[[Invocation], None],
    ) -> None:
        super().__init__(self._run)
        self.done = done
        self.world = world
        self.function = function
        self.subject = subject
        """The execution it is about."""
        self.instance = instance
        self.work = work
        self.is_dead = False
        self.error: Exception | None = None
        self.result: Any = None
        self.is_over = False
        self.number = 0
        self.is_poisoned = False
        """Its next write fails: what it was called with cannot be handled."""

    def __repr__(self) -> str:
        name = self.world.name_of(self.subject)
        return f"{self.function}#{self.number} (container {self.instance.number}) for {name}"

    __str__ = __repr__

    def _run(self) -> None:
        try:
            self.result = self.work()
        except KilledError:
            self.is_dead = True
        except Exception as error:  # noqa: BLE001 - what a platform does with whatever its function raises
            self.error = error
        self.is_over = True

    def die(self) -> KilledError:
        """Be dead from now on; raise what is returned."""
        self.is_dead = True
        return KilledError()

    def rest(self, seconds: float) -> None:
        """Let others go on until so much time has passed."""
        self.world.wake_at(self.world.after(seconds), self)
        self.world.hub.switch()
        if self.is_dead:
            raise KilledError


def current() -> Invocation | None:
    """Return the invocation that runs now; None outside."""
    found = getcurrent()
    return found if isinstance(found, Invocation) else None


class Gate:
    """A port every call of which passes through the invocation that makes it."""

    def __init__(self, name: str, port: object) -> None:
        self._name = name
        self._port = port

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._port, method)
        if not callable(target):
            return target
        name = f"{self._name}.{method}"
        every = _READ_KINDS if method in _READS else AT_CALLS
        is_sure = self._name in _SURE
        has_batches = name in {"logs.append", "metrics.append"}
        keeps = name in {"logs.append_all", "metrics.append_all"}

        def through(*arguments: Any, **named: Any) -> Any:
            invocation = getcurrent()
            if not isinstance(invocation, Invocation):
                return target(*arguments, **named)
            is_kept = keeps or (has_batches and arguments[1].startswith("#"))
            if name == "storage.put" and not isinstance(arguments[1], bytes):  # a client that sends again rewinds
                arguments = (arguments[0], arguments[1].read(), *arguments[2:])
            kinds = _SURE_KINDS if is_sure and invocation.world.scenario.compares and not is_kept else every
            return _pass(invocation, name, kinds, lambda: target(*arguments, **named))

        setattr(self, method, through)
        return through


def _pass(invocation: Invocation, name: str, kinds: tuple[FaultKind, ...], call: Callable[[], Any]) -> Any:
    if invocation.is_dead:
        raise KilledError
    world = invocation.world
    world.calls += 1
    if invocation.is_poisoned and kinds is AT_CALLS and not name.startswith("kv."):  # there it notes that it tries
        invocation.is_poisoned = False
        raise PortError(f"{name}: this will never work")
    fault = world.chance.draw(f"{invocation.function} {world.name_of(invocation.subject)} {name}", kinds)
    if fault is None or (fault.kind is not FaultKind.SWITCH and not world.may_harm(invocation)):
        return call()
    is_harm = fault.kind not in (FaultKind.ECHO, FaultKind.SWITCH, FaultKind.STALL)
    if is_harm and invocation.function == "dead letters" and world.scenario.compares:
        return call()  # it would give the execution up, as it must
    world.chance.struck.append(fault)
    world.tell(f"{invocation} {name}: {fault.kind} [{fault.id}]")
    match fault.kind:
        case FaultKind.KILL_BEFORE:
            raise invocation.die()
        case FaultKind.KILL_AFTER:
            call()
            raise invocation.die()
        case FaultKind.THROTTLE:
            raise PortError(f"{name}: throttled")
        case FaultKind.TIME_OUT:
            call()
            raise PortError(f"{name}: timed out")
        case FaultKind.ECHO:
            call()
            return call()
        case FaultKind.SWITCH:
            invocation.rest(fault.seconds(0.001, 3))
        case FaultKind.STALL:
            invocation.rest(fault.seconds(5, 240))
    return call()


def gated(stores: Stores) -> Stores:
    """Return *stores* behind gates."""
    ports: dict[str, Any] = {field.name: getattr(stores, field.name) for field in fields(Stores)}
    return Stores(**{name: port if name in _FREE else Gate(name, port) for name, port in ports.items()})
