"""Task types that Headrace does not have, let into a test because fixtures stand in for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from pydantic import ConfigDict

from headrace_engine.language import Registry
from headrace_engine.language.nodes import Entries, Items, Node
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunnableTask


class StandIn(RunnableTask):
    """A task of a type that is not there: it takes any properties, and cannot run."""

    TYPE: ClassVar[str] = ""
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    UNSUPPORTED: ClassVar[str | None] = "it has no such task type"

    model_config = ConfigDict(extra="allow")


def with_stand_ins(registry: Registry, source: str, task_ids: Collection[str]) -> Registry:
    """Return *registry*, and in it the unknown types of the tasks *task_ids* of the flow *source*.

    A name in a package that the registry has types of is no type of somebody else's, but a mistake, and stays unknown.
    """
    packages = {_package(cls.TYPE) for cls in registry.tasks()}
    unknown = {
        name
        for name in _types(read_documents(source)[0], task_ids)
        if "." in name and _package(name) not in packages and registry.task(name) is None
    }
    if not unknown:
        return registry
    return registry.extended(
        type("StandIn", (StandIn,), {"TYPE": name, "__doc__": StandIn.__doc__}) for name in unknown
    )


def _package(name: str) -> str:
    return name.rpartition(".")[0]


def _types(node: Node, task_ids: Collection[str]) -> Iterator[str]:
    """Yield the types of the tasks at or below *node*, at any depth."""
    below: list[Node] = []
    if isinstance(node, Entries):
        name = node.text("type")
        if name is not None and node.text("id") in task_ids:
            yield name
        below = list(node.entries.values())
    elif isinstance(node, Items):
        below = node.items
    for each in below:
        yield from _types(each, task_ids)
