"""``headrace tasks``: which task types there are, and what each takes and gives, read from their classes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.errors import UserError
from headrace_cli.output import standard_output
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.text import pad, width

if TYPE_CHECKING:
    from pydantic import BaseModel

    from headrace_engine.language import Registry
    from headrace_engine.plugin import Task


@click.command("tasks")
@click.argument("name", metavar="[TYPE]", required=False)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
def command(name: str | None, *, no_color: bool) -> None:
    """List the task types, or explain one.

    TYPE is a full type name, an older name of it, or its end where only one type has that end.

    \b
    Example:
      headrace tasks core.log.Log
    """
    from headrace_engine.language import Registry  # noqa: PLC0415 - takes its time; not needed for --help

    registry = Registry.load()
    to = standard_output(color=not no_color)
    to.write(listing(registry.tasks()) if name is None else explanation(find(registry, name)))


def find(registry: Registry, name: str) -> type[Task]:
    """Return the class of the type *name*, which may be the end of a type's name. Raises UserError."""
    found = registry.task(name)
    if found is not None:
        return found
    ending = f".{name}".casefold()
    matches = [cls for cls in registry.tasks() if f".{cls.TYPE}".casefold().endswith(ending)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"`{name}` may be {', '.join(cls.TYPE for cls in matches)}.")
    near = registry.nearest(name, kind="task")
    hint = f" Did you mean `{near[0]}`?" if near else " `headrace tasks` lists them all."
    raise UserError(f"There is no task type `{name}`.{hint}")


def listing(classes: Sequence[type[Task]]) -> Iterator[Line]:
    """Yield a line for each type: its name and the first sentence on it."""
    names = max(width(cls.TYPE) for cls in classes)
    for cls in classes:
        first = _doc(cls).partition("\n")[0]
        tone = Tone.FAINT if cls.UNSUPPORTED else Tone.NAME
        note = "  (not in this version)" if cls.UNSUPPORTED else ""
        yield line(Span(pad(cls.TYPE, names), tone), "  ", first, Span(note, Tone.FAINT))


def explanation(cls: type[Task]) -> Iterator[Line]:
    """Yield what a type is for, its properties and its outputs."""
    from headrace_engine.plugin import RunnableTask  # noqa: PLC0415 - pydantic takes its time

    yield line(Span(cls.TYPE, Tone.STRONG))
    if cls.UNSUPPORTED:
        yield line(Span(f"Not in this version: {cls.UNSUPPORTED}", Tone.WARN))
    if cls.DEPRECATED:
        yield line(Span(f"Deprecated: {cls.DEPRECATED}", Tone.WARN))
    yield ()
    for row in _doc(cls).splitlines():
        yield line(row)
    yield ()
    yield line(Span("Properties", Tone.STRONG), Span(" (and those every task has)", Tone.FAINT))
    yield from _fields(cls)
    if issubclass(cls, RunnableTask) and cls.Outputs.model_fields:
        yield ()
        yield line(Span("Outputs", Tone.STRONG))
        yield from _fields(cls.Outputs)
    if cls.ALIASES:
        yield ()
        yield line(Span("Older names", Tone.STRONG))
        yield from (line("  ", name) for name in cls.ALIASES)


def _doc(cls: type[Task]) -> str:
    """Return what a type is for. Code stands in single backticks, as on the pages."""
    return (inspect.getdoc(cls) or "").replace("``", "`")


def _fields(cls: type[BaseModel]) -> Iterator[Line]:
    from headrace_engine.language.fields import describe, fields_of  # noqa: PLC0415 - pydantic takes its time

    shapes = fields_of(cls)
    if not shapes:
        yield line("  none")
        return
    names = max(width(name) for name in shapes)
    for name, shape in shapes.items():
        facts = [describe(shape.annotation)]
        if shape.required:
            facts.append("required")
        elif (default := _default(shape.info)) is not None:
            facts.append(f"default {default}")
        yield line("  ", Span(pad(name, names), Tone.NAME), "  ", Span(", ".join(facts), Tone.FAINT))
        if shape.info.description:
            yield line(" " * (names + 4), shape.info.description)


def _default(info: Any) -> str | None:
    """Return a property's default as it would be written; None when there is none worth telling."""
    value = info.get_default(call_default_factory=True) if not info.default_factory_takes_validated_data else None
    if value is None or value in ((), {}, []):
        return None
    return value if isinstance(value, str) else json.dumps(value, default=str)
