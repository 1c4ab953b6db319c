"""Names of flows as people write them, and what they may have meant when there is no such flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click

from headrace_cli.api_client import segment
from headrace_cli.remote.client import RefusedError, Remote

_MOST_LOOKED_AT = 5000


class FlowName(NamedTuple):
    """A flow's namespace and id."""

    namespace: str
    id: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.id}"

    @property
    def path(self) -> str:
        """Its part of a path of the API."""
        return f"{segment(self.namespace)}/{segment(self.id)}"


class FlowNameType(click.ParamType[FlowName]):
    """``namespace.flow``; or ``namespace/flow``, which an id with a dot in it needs."""

    name = "namespace.flow"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> FlowName:
        """Return the name."""
        namespace, _, flow_id = value.partition("/") if "/" in value else value.rpartition(".")
        if not namespace or not flow_id or "/" in flow_id:
            self.fail(f"`{value}` is no flow: write namespace.flow, or namespace/flow.", param, ctx)
        return FlowName(namespace, flow_id)


FLOW = FlowNameType()


@contextmanager
def nearest_flow(remote: Remote, name: FlowName) -> Iterator[None]:
    """Have what is not found say which flow was probably meant."""
    try:
        yield
    except RefusedError as error:
        if error.status != 404:
            raise
        from headrace_engine.language.problems import nearest  # noqa: PLC0415 - takes its time; only needed here

        found = remote.pages("/flows/search", limit=_MOST_LOOKED_AT)[0]
        names = [FlowName(flow["namespace"], flow["id"]) for flow in found]
        near = [f"{name.namespace}.{each}" for each in nearest(name.id, _ids(names, name.namespace))]
        near = near or [str(each) for each in names if each.id == name.id] or nearest(str(name), map(str, names))
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise RefusedError(f"{error.message}.{hint}", 404) from None


def _ids(names: list[FlowName], namespace: str) -> list[str]:
    return [name.id for name in names if name.namespace == namespace]
