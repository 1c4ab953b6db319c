"""Which scenario a seed plays: a flow of the corpus that needs no real process, or one made up."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from flows.corpus import FlowCase, all_cases
from headrace_engine.run_stores import namespace_folder
from headrace_engine.testing.simulation.generated import generated
from headrace_engine.testing.simulation.scenario import Scenario, Start

_PROCESSES = ("plugin.scripts.", "WorkingDirectory", ".http.", ".jdbc.", ".Worker", "flow.LocalFiles")
"""What needs a real process or the network."""
_GIVEN = {"inputs", "labels", "secrets", "kv", "files", "flows", "runs"}
_TIMED: frozenset[str] = frozenset()
"""Flows whose outcome hangs on time or on who comes first."""


@cache
def corpus() -> tuple[Scenario, ...]:
    """Return the flows of the corpus that the simulator can play, by name."""
    return tuple(_scenario(case) for case in all_cases() if _is_playable(case))


def scenario_of(seed: int) -> Scenario:
    """Return the scenario of a seed: every fourth is of the corpus."""
    if seed % 4 == 3:
        known = corpus()
        return known[(seed // 4) % len(known)]
    return generated(seed)


def _is_playable(case: FlowCase) -> bool:
    text = case.source + "".join(case.given.get("flows", ()))
    return (
        not case.given.keys() - _GIVEN
        and "refused" not in case.expected
        and not any(word in text for word in _PROCESSES)
    )


def _scenario(case: FlowCase) -> Scenario:
    flow: dict[str, Any] = yaml.safe_load(case.source)
    namespace, given = flow["namespace"], case.given
    start = Start(flow["id"], namespace, inputs=given.get("inputs", {}), labels=given.get("labels"))
    return Scenario(
        case.name,
        (*given.get("flows", ()), case.source),
        (start,) * (1 if given.get("runs", 1) == 1 else given["runs"]),
        kv={(namespace, key): value for key, value in given.get("kv", {}).items()},
        files={
            f"kestra://{namespace_folder(namespace)}/_files/{path}": content.encode()
            for path, content in given.get("files", {}).items()
        },
        secrets=given.get("secrets", {}),
        compares=case.name not in _TIMED,
    )
