"""Which scenario a seed plays: a flow of the corpus that needs no real process, or one made up."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from flows.corpus import FlowCase, all_cases
from headrace_engine.run_stores import namespace_folder
from headrace_engine.testing.simulation.directed import HOLDERS, SCENARIOS
from headrace_engine.testing.simulation.generated import generated
from headrace_engine.testing.simulation.scenario import Scenario, Start

_PROCESSES = ("plugin.scripts.", "WorkingDirectory", ".http.", ".jdbc.", ".Worker", "flow.LocalFiles")
"""What needs a real process or the network."""
_ENDLESS = {"loop_until/killed-between-two-rounds"}
_GIVEN = {"inputs", "labels", "secrets", "kv", "files", "flows", "templates", "runs"}
_LOOSE = frozenset(
    {
        "kv/between-executions",
        "loop_until/max-duration",
        "names/state-tasks",
        "retry/exponential-with-max-duration",
        "retry/max-duration",
        "sla/max-duration-kept",
        "storage/delete",
        "storage/namespace-tasks",
        "storage/purge-current-execution-files",
        "task_cache/reused",
    }
)
"""Flows whose outcome hangs on time, on who comes first, or on what a task did that was done again."""


@cache
def corpus() -> tuple[Scenario, ...]:
    """Return the flows of the corpus that the simulator can play, by name."""
    return tuple(_scenario(case) for case in all_cases() if _is_playable(case))


def scenario_of(seed: int) -> Scenario:
    """Return the scenario of a seed: two of five are of the corpus, three of fifty are directed."""
    if seed % 25 == 10:
        return SCENARIOS[(seed // 25) % len(SCENARIOS)]
    if seed % 50 == 20:
        return HOLDERS
    if seed % 5 in (1, 3):
        known = corpus()
        return known[(seed // 5 * 2 + (seed % 5 == 3)) % len(known)]
    return generated(seed)


def _is_playable(case: FlowCase) -> bool:
    text = case.source + "".join((*case.given.get("flows", ()), *case.given.get("templates", ())))
    return (
        case.name not in _ENDLESS
        and not case.given.keys() - _GIVEN
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
        templates=tuple(given.get("templates", ())),
        kv={(namespace, key): value for key, value in given.get("kv", {}).items()},
        files={
            f"kestra://{namespace_folder(namespace)}/_files/{path}": content.encode()
            for path, content in given.get("files", {}).items()
        },
        secrets=given.get("secrets", {}),
        compares=case.name not in _LOOSE,
    )
