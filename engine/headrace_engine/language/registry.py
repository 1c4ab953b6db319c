"""Which types there are: tasks, triggers, conditions and task runners, by name and by every older name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, Union

from headrace_engine.language import known_types
from headrace_engine.language.flowables import IMPLEMENTED
from headrace_engine.language.problems import nearest
from headrace_engine.plugin import Task, TaskRunnerProperties, listed_types, present_types

if TYPE_CHECKING:
    from headrace_engine.language.conditions import Condition
    from headrace_engine.language.triggers import Trigger

ENTRY_POINT_GROUP = "headrace.tasks"
_OURS = "headrace"
"""The entry point of the task library."""

Plugin = Union[type[Task], type[TaskRunnerProperties], "type[Trigger]", "type[Condition]"]

_Found = TypeVar("_Found")


class DuplicateType(ValueError):  # noqa: N818 - it names what is wrong
    """Two classes claim one type name."""


class Registry:
    """The types that flows may name. Kinds are apart: a condition is never found where a task is asked for.

    A class whose place is known is imported when it is first asked for; other packages, when a type is that nobody else
    has. So whatever asks may raise ImportError, for a plugin that cannot be imported, and DuplicateType.
    """

    def __init__(self, classes: Iterable[Plugin] = ()) -> None:
        self._tasks: dict[str, type[Task]] = {}
        self._runners: dict[str, type[TaskRunnerProperties]] = {}
        self._triggers: dict[str, type[Trigger]] = {}
        self._conditions: dict[str, type[Condition]] = {}
        self._canonical: dict[str, str] = {}
        self._places: dict[str, str] = {}  # the modules of types, by name
        self._to_come: list[str] = []  # packages that have not said yet what they have
        self._imported: set[str] = set()
        self._has_rest = False
        self._completing = Lock()
        for cls in (*IMPLEMENTED, *classes):
            self.register(cls)

    @staticmethod
    def load() -> Registry:
        """Return the registry of everything installed; made once in a process."""
        return _load()

    def register(self, cls: Plugin) -> None:
        """Add *cls* under its TYPE and its ALIASES.

        Raises DuplicateType when another class has one of the names already.
        """
        kind: dict[str, type] = self._kind_of(cls)  # type: ignore[assignment]  # one of four maps, by the class
        for name in (cls.TYPE, *cls.ALIASES):
            known = kind.get(name)
            if known is not None and known is not cls:
                both = " and ".join(f"{one.__module__}.{one.__qualname__}" for one in (known, cls))
                raise DuplicateType(f"`{name}` is claimed by {both}.")
            kind[name] = cls
            self._canonical[name] = cls.TYPE

    def add_package(self, name: str) -> None:
        """Add the types of a package or module, and where those are that it only lists (HEADRACE_TYPES).

        Raises ImportError, and DuplicateType when another has one of the names already.
        """
        package = import_module(name)
        present, listed = list(present_types(package)), listed_types(package)
        claims = {known: cls.__module__ for cls in present for known in (cls.TYPE, *cls.ALIASES)} | listed
        for type_name, module in claims.items():
            if (known := self._places.get(type_name, module)) != module:
                raise DuplicateType(f"`{type_name}` is claimed by {known} and {module}.")
        for cls in present:
            self.register(cls)
        self._places.update(listed)

    def expect_package(self, name: str) -> None:
        """Add the types of a package or module when a type is asked for that nobody else has."""
        self._to_come.append(name)

    def extended(self, classes: Iterable[Plugin]) -> Registry:
        """Return a registry that has *classes* too; this one stays as it is. Raises DuplicateType."""
        self._complete()
        other = copy(self)
        other._completing = Lock()
        for name in ("_tasks", "_runners", "_triggers", "_conditions", "_canonical", "_places"):
            setattr(other, name, dict(getattr(self, name)))
        for cls in classes:
            other.register(cls)
        return other

    def _kind_of(self, cls: Plugin) -> object:
        if issubclass(cls, Task):
            return self._tasks
        if issubclass(cls, TaskRunnerProperties):
            return self._runners
        from headrace_engine.language.triggers import Trigger  # noqa: PLC0415 - see _add_rest

        return self._triggers if issubclass(cls, Trigger) else self._conditions

    # -- What is there, and what is still to come: whoever asks finds a step done, or waits until it is ------------

    def _look_up(self, kind: Mapping[str, _Found], names: Sequence[str]) -> _Found | None:
        """Return the class of the first of *names* that has one, from what must be imported last when none has."""
        for _ in self._ever_more(names):
            for name in names:
                if (found := kind.get(name)) is not None:
                    return found
        return None

    def _ever_more(self, names: Sequence[str]) -> Iterator[None]:
        """Yield whenever there may be more types, until *names* cannot be among what is left."""
        yield
        self._import({self._places[name] for name in names if name in self._places})
        yield
        self._add_rest()
        yield
        self._open_packages()
        self._import({self._places[name] for name in names if name in self._places})
        yield

    def _complete(self) -> None:
        self._add_rest()
        self._open_packages()
        self._import(set(self._places.values()))

    def _import(self, modules: set[str]) -> None:
        if modules <= self._imported:
            return
        with self._completing:
            for module in sorted(modules - self._imported):
                for cls in present_types(import_module(module)):
                    self.register(cls)
                self._imported.add(module)

    def _open_packages(self) -> None:
        if not self._to_come:
            return
        with self._completing:
            while self._to_come:
                self.add_package(self._to_come[0])
                del self._to_come[0]  # last: whoever still sees it waits at the lock

    def _add_rest(self) -> None:
        """Add triggers, conditions and the tasks to come: most flows name none, and need not wait for them."""
        if self._has_rest:
            return
        with self._completing:
            if not self._has_rest:
                self._register_the_rest()
                self._has_rest = True

    def _register_the_rest(self) -> None:
        from headrace_engine.language.conditions import CONDITIONS  # noqa: PLC0415 - see _add_rest
        from headrace_engine.language.event_triggers import EVENT_TRIGGERS  # noqa: PLC0415 - as above
        from headrace_engine.language.flowables_later import NOT_YET  # noqa: PLC0415 - as above
        from headrace_engine.language.triggers import TRIGGERS  # noqa: PLC0415 - as above

        later: tuple[Plugin, ...] = (*NOT_YET, *TRIGGERS, *EVENT_TRIGGERS, *CONDITIONS)
        for cls in later:
            self.register(cls)

    # -- Asking -----------------------------------------------------------------------------------------------------

    def task(self, name: str) -> type[Task] | None:
        """Return the class of the task type *name*, old names resolved; those that no flow can name, too."""
        return self._look_up(self._tasks, [name, *_newer(name)])

    def runner(self, name: str) -> type[TaskRunnerProperties] | None:
        """Return the class of the task runner type *name*."""
        return self._look_up(self._runners, [name])

    def trigger(self, name: str) -> type[Trigger] | None:
        """Return the class of the trigger type *name*."""
        self._add_rest()
        return self._triggers.get(name)

    def condition(self, name: str) -> type[Condition] | None:
        """Return the class of the condition type *name*."""
        self._add_rest()
        return self._conditions.get(name)

    def canonical(self, name: str) -> str:
        """Return the name that *name* stands for today; itself when it is not known."""
        return self._look_up(self._canonical, [name]) or next(iter(_newer(name)), name)

    def names(self) -> list[str]:
        """Return the names of all types, without older names, sorted."""
        everything: list[Plugin] = [*self.tasks(), *self.runners(), *self.triggers(), *self.conditions()]
        return sorted({cls.TYPE for cls in everything})

    def tasks(self) -> list[type[Task]]:
        """Return the classes of all task types that flows can name, by name."""
        self._complete()
        return sorted({cls for cls in self._tasks.values() if not cls.INTERNAL}, key=lambda cls: cls.TYPE)

    def runners(self) -> list[type[TaskRunnerProperties]]:
        """Return the classes of all task runner types, by name."""
        self._complete()
        return sorted(set(self._runners.values()), key=lambda cls: cls.TYPE)

    def triggers(self) -> list[type[Trigger]]:
        """Return the classes of all trigger types, by name."""
        self._complete()
        return sorted(set(self._triggers.values()), key=lambda cls: cls.TYPE)

    def conditions(self) -> list[type[Condition]]:
        """Return the classes of all condition types, by name."""
        self._complete()
        return sorted(set(self._conditions.values()), key=lambda cls: cls.TYPE)

    def nearest(self, name: str, *, kind: str | None = None, limit: int = 1) -> list[str]:
        """Return the type names that *name* was probably meant to be.

        kind narrows it to ``task``, ``runner``, ``trigger`` or ``condition``.
        """
        self._complete()
        kinds: dict[str, Iterable[Plugin]] = {
            "task": self.tasks(),
            "runner": self._runners.values(),
            "trigger": self._triggers.values(),
            "condition": self._conditions.values(),
        }
        chosen = [kinds[kind]] if kind else kinds.values()
        return nearest(name[:200], {cls.TYPE for classes in chosen for cls in classes}, limit=limit)


def _newer(name: str) -> list[str]:
    """Return what a type of 0.x is called since, if *name* is one."""
    return [known_types.OLD_TASKS[name]] if name in known_types.OLD_TASKS else []


@lru_cache(maxsize=1)
def _load() -> Registry:
    registry = Registry()
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        if entry_point.name == _OURS:
            registry.add_package(entry_point.module)
        else:
            registry.expect_package(entry_point.module)
    return registry
