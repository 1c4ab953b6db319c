"""Which types there are: tasks, triggers, conditions and task runners, by name and by every older name."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from threading import Lock
from typing import TYPE_CHECKING, Union

from headrace_engine.language import known_types
from headrace_engine.language.flowables import IMPLEMENTED
from headrace_engine.language.problems import nearest
from headrace_engine.plugin import Task, TaskRunnerProperties, iterate_plugins

if TYPE_CHECKING:
    from headrace_engine.language.conditions import Condition
    from headrace_engine.language.triggers import Trigger

ENTRY_POINT_GROUP = "headrace.tasks"

Plugin = Union[type[Task], type[TaskRunnerProperties], "type[Trigger]", "type[Condition]"]


class DuplicateType(ValueError):  # noqa: N818 - it names what is wrong
    """Two classes claim one type name."""


class Registry:
    """The types that flows may name. Kinds are apart: a condition is never found where a task is asked for."""

    def __init__(self, classes: Iterable[Plugin] = ()) -> None:
        self._tasks: dict[str, type[Task]] = {}
        self._runners: dict[str, type[TaskRunnerProperties]] = {}
        self._triggers: dict[str, type[Trigger]] = {}
        self._conditions: dict[str, type[Condition]] = {}
        self._canonical: dict[str, str] = {}
        self._is_complete = False
        self._completing = Lock()
        for cls in (*IMPLEMENTED, *classes):
            self.register(cls)

    @staticmethod
    def load() -> Registry:
        """Return the registry of everything installed; made once in a process.

        Raises ImportError when an installed plugin cannot be imported, DuplicateType when two claim one name.
        """
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

    def extended(self, classes: Iterable[Plugin]) -> Registry:
        """Return a registry that has *classes* too; this one stays as it is. Raises DuplicateType."""
        self._complete()
        other = copy(self)
        for name in ("_tasks", "_runners", "_triggers", "_conditions", "_canonical"):
            setattr(other, name, dict(getattr(self, name)))
        for cls in classes:
            other.register(cls)
        return other

    def _kind_of(self, cls: Plugin) -> object:
        if issubclass(cls, Task):
            return self._tasks
        if issubclass(cls, TaskRunnerProperties):
            return self._runners
        from headrace_engine.language.triggers import Trigger  # noqa: PLC0415 - see _complete

        return self._triggers if issubclass(cls, Trigger) else self._conditions

    def _complete(self) -> None:
        """Add triggers, conditions and the tasks to come: most flows name none, and need not wait for them."""
        if self._is_complete:
            return
        with self._completing:
            if not self._is_complete:
                self._register_the_rest()
                self._is_complete = True  # last: whoever does not see it yet waits at the lock

    def _register_the_rest(self) -> None:
        from headrace_engine.language.conditions import CONDITIONS  # noqa: PLC0415 - see _complete
        from headrace_engine.language.flowables_later import NOT_YET  # noqa: PLC0415 - as above
        from headrace_engine.language.triggers import TRIGGERS  # noqa: PLC0415 - as above

        later: tuple[Plugin, ...] = (*NOT_YET, *TRIGGERS, *CONDITIONS)
        for cls in later:
            self.register(cls)

    def task(self, name: str) -> type[Task] | None:
        """Return the class of the task type *name*, old names resolved; those that no flow can name, too."""
        was_complete = self._is_complete  # asked first: another thread may complete it while this one looks
        names = (name, known_types.OLD_TASKS.get(name, ""))
        found = next((self._tasks[known] for known in names if known in self._tasks), None)
        if found is None and not was_complete:
            self._complete()
            return self.task(name)
        return found

    def runner(self, name: str) -> type[TaskRunnerProperties] | None:
        """Return the class of the task runner type *name*."""
        return self._runners.get(name)

    def trigger(self, name: str) -> type[Trigger] | None:
        """Return the class of the trigger type *name*."""
        self._complete()
        return self._triggers.get(name)

    def condition(self, name: str) -> type[Condition] | None:
        """Return the class of the condition type *name*."""
        self._complete()
        return self._conditions.get(name)

    def canonical(self, name: str) -> str:
        """Return the name that *name* stands for today; itself when it is not known."""
        if name not in self._canonical:
            self._complete()
        found = self._canonical.get(name)
        return found or known_types.OLD_TASKS.get(name, name)

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


@lru_cache(maxsize=1)
def _load() -> Registry:
    registry = Registry()
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        for plugin in iterate_plugins(import_module(entry_point.module)):
            registry.register(plugin)
    return registry
