"""Flows made up by a seed: nesting, failures, retries, pauses, loops, subflows, limits, listeners.

What a flow with one outcome may not have is left out where it could make one: something that fails where tasks beside
it have not all begun, or a value that depends on who comes first.
"""

# ruff: noqa: ARG002, FBT001 - whatever makes a task is called in the same way, with what it may need

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

from headrace_engine.testing.simulation.scenario import NAMESPACE, Scenario, Start

CORE = "io.kestra.plugin.core"
Yaml = dict[str, Any]


def generated(seed: int) -> Scenario:
    """Return the scenario of *seed*."""
    generator = random.Random(f"flows {seed}")  # noqa: S311 - seeded
    operations = generator.choice((0, 0, 0, 0, 3, 8, 15))
    return _Maker(generator, free=operations > 0).scenario(f"generated {seed}", operations)


class _Maker:
    """Draws the parts of a scenario. *free* lets in what makes more than one outcome possible."""

    def __init__(self, generator: random.Random, *, free: bool) -> None:
        self.generator = generator
        self.free = free
        self.flows: list[Yaml] = []
        self.number = 0
        self.budget = generator.choice((4, 8, 12, 18))
        self.depth = 0
        self.looping = 0
        """How many loops the place in hand lies in."""

    def scenario(self, name: str, operations: int) -> Scenario:
        main = self.flow("main", 0)
        revised: list[str] = []
        starts = [Start("main")]
        draw = self.generator.random
        limit_kind = draw()
        if limit_kind < 0.25:
            main["concurrency"] = {"limit": self.generator.choice((1, 1, 2)), "behavior": "QUEUE"}
            gaps = (0, 0, 1, 30)
            starts += [
                Start("main", after=timedelta(seconds=self.generator.choice(gaps)))
                for _ in range(self.generator.choice((1, 2, 3)))
            ]
            if self.free and draw() < 0.4:
                main["concurrency"]["behavior"] = self.generator.choice(("CANCEL", "FAIL"))
            if draw() < 0.4 and main["concurrency"]["behavior"] == "QUEUE":
                more = {**main, "concurrency": {**main["concurrency"], "limit": main["concurrency"]["limit"] + 1}}
                if self.free:
                    revised.append(json.dumps(more))
        elif draw() < 0.2 and self.free:
            revised.append(json.dumps({**main, "description": "a later revision", "tasks": [self.leaf()]}))
        elif draw() < 0.15:
            starts.append(Start("main", after=timedelta(seconds=self.generator.choice((0, 10)))))
        self.flows.append(main)
        if draw() < 0.15:
            self.flows.append(self.listener())
        if self.free and draw() < 0.25:
            main["sla"] = [
                {
                    "id": "sla",
                    "type": "MAX_DURATION",
                    "duration": self.generator.choice(("PT1S", "PT30S", "PT5M")),
                    "behavior": self.generator.choice(("FAIL", "CANCEL", "NONE")),
                    "labels": {"sla": "broken"},
                }
            ]
        return Scenario(
            name,
            tuple(json.dumps(flow) for flow in self.flows),
            tuple(starts),
            revised=tuple(revised),
            operations=operations,
            compares=not self.free,
        )

    def listener(self) -> Yaml:
        return {
            "id": "listener",
            "namespace": NAMESPACE,
            "tasks": [{"id": "heard", "type": "sim.Work", "value": "{{ trigger.state }}"}],
            "triggers": [
                {
                    "id": "main_ended",
                    "type": f"{CORE}.trigger.Flow",
                    "states": ["SUCCESS", "WARNING", "FAILED"],
                    "conditions": [
                        {"type": f"{CORE}.condition.ExecutionFlow", "namespace": NAMESPACE, "flowId": "main"}
                    ],
                }
            ],
        }

    def flow(self, flow_id: str, level: int) -> Yaml:
        flow: Yaml = {"id": flow_id, "namespace": NAMESPACE, "tasks": self.tasks(level, serial=True)}
        draw = self.generator.random
        if self.free and draw() < 0.4:
            last = self.again(level, serial=True) if draw() < 0.3 else {"id": self.name("last"), "type": "sim.Work"}
            flow["tasks"].append({**last, "seconds": self.generator.choice((5, 30, 120))})
        if draw() < 0.25:
            flow["errors"] = [self.leaf()]
        if draw() < 0.25:
            flow["finally"] = [self.leaf()]
        if draw() < 0.2:
            flow["afterExecution"] = [self.leaf()]
        if draw() < 0.3:
            flow["outputs"] = [{"id": "told", "type": "STRING", "value": "{{ execution.state ?? 'none' }}"}]
        if self.free and draw() < 0.1:
            flow["outputs"] = [{"id": "told", "type": "STRING", "value": "{{ nowhere.to.be.found }}"}]
        return flow

    # -- Tasks --------------------------------------------------------------------------------------

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def tasks(self, level: int, *, serial: bool, most: int = 4) -> list[Yaml]:
        found = []
        for _ in range(self.generator.randint(1, most)):
            found.append(self.task(level, serial=serial))
            self.budget -= 1
            if self.budget <= 0:
                break
        return found

    def task(self, level: int, *, serial: bool) -> Yaml:
        """Return any task; in *serial* places nothing goes on beside it that a failure could keep from beginning."""
        if self.budget <= 0 or level >= 3 or self.generator.random() < 0.45:
            return self.leaf(serial=serial)
        kinds = [
            self.sequential, self.parallel, self.for_each, self.branch, self.dag, self.allow_failure,
            self.until, self.pause, self.sleep, self.directory,
        ]  # fmt: skip
        if serial:
            kinds += [self.failing, self.subflow, self.items, self.again]
        if self.free:
            kinds += [self.exits, self.leaves_retries, self.waits_for_person, self.failing, self.late]
        return self.generator.choice(kinds)(level + 1, serial)

    def leaf(self, *, serial: bool = False) -> Yaml:
        draw = self.generator.random
        kind = self.generator.choice(("sim.Count", "sim.Effect", "sim.Effect", "sim.Work", "sim.Work", "sim.Work"))
        task: Yaml = {"id": self.name("t"), "type": kind, "value": f"v{self.number} {{{{ taskrun.value ?? '' }}}}"}
        if kind == "sim.Work" and draw() < 0.5:
            task["seconds"] = self.generator.choice((0.5, 5, 40))
        if draw() < 0.2:
            failures = self.generator.choice((1, 1, 2))
            task["fails"] = f"{{{{ taskrun.attemptsCount < {failures} }}}}"
            task["retry"] = {"type": "constant", "interval": "PT10S", "maxAttempts": 3}
            if draw() < 0.2:
                task["retry"]["warningOnRetry"] = True
        elif draw() < 0.08:
            task["fails"] = True
            task["allowFailure"] = True
            if draw() < 0.4:
                task["allowWarning"] = True
        elif draw() < (0.15 if self.free else 0.06):
            task["runIf"] = "{{ false }}"
        elif draw() < (0.2 if self.free else 0.05):
            task["runIf"] = "{{ nowhere.to.be.found }}"
            task["allowFailure"] = not self.free or draw() < 0.7
            if task["allowFailure"] and draw() < 0.4:
                task["allowWarning"] = True
        elif serial and draw() < 0.1:
            return {
                "id": self.name("l"),
                "type": f"{CORE}.execution.Labels",
                "labels": {f"label{self.number}": "{{ flow.id }}"},
            }
        if kind != "sim.Work" and draw() < 0.05:
            task["timeout"] = "PT1M"
        return task

    def sequential(self, level: int, serial: bool) -> Yaml:
        return self.around({"type": f"{CORE}.flow.Sequential", "tasks": self.tasks(level, serial=serial)})

    def parallel(self, level: int, serial: bool) -> Yaml:
        task: Yaml = {"type": f"{CORE}.flow.Parallel", "tasks": self.tasks(level, serial=False)}
        if self.generator.random() < 0.3:
            task["concurrent"] = self.generator.choice((1, 2))
        return self.around(task)

    def for_each(self, level: int, serial: bool) -> Yaml:
        self.looping += 1
        task: Yaml = {
            "type": f"{CORE}.flow.ForEach",
            "values": self.generator.choice((["a"], ["a", "b"], ["a", "b", "c"])),
            "tasks": self.tasks(level, serial=False, most=2),
        }
        self.looping -= 1
        if self.generator.random() < 0.6:
            task["concurrencyLimit"] = self.generator.choice((0, 2))
        return self.around(task)

    def branch(self, level: int, serial: bool) -> Yaml:
        if self.generator.random() < 0.5:
            task: Yaml = {
                "type": f"{CORE}.flow.If",
                "condition": self.generator.choice(("{{ true }}", "{{ false }}")),
                "then": self.tasks(level, serial=serial, most=2),
                "else": self.tasks(level, serial=serial, most=2),
            }
        else:
            task = {
                "type": f"{CORE}.flow.Switch",
                "value": self.generator.choice("ab"),
                "cases": {"a": self.tasks(level, serial=serial, most=2)},
                "defaults": self.tasks(level, serial=serial, most=2),
            }
        return self.around(task)

    def dag(self, level: int, serial: bool) -> Yaml:
        tasks: list[Yaml] = []
        for inner in self.tasks(level, serial=False):
            item: Yaml = {"task": inner}
            earlier = [each["task"]["id"] for each in tasks]
            if earlier and self.generator.random() < 0.6:
                item["dependsOn"] = [self.generator.choice(earlier)]
            tasks.append(item)
        return self.around({"type": f"{CORE}.flow.Dag", "tasks": tasks})

    def allow_failure(self, level: int, serial: bool) -> Yaml:
        tasks = self.tasks(level, serial=serial, most=2)
        tasks.append({"id": self.name("f"), "type": "sim.Work", "fails": True})
        return {"id": self.name("allow"), "type": f"{CORE}.flow.AllowFailure", "tasks": tasks, **self.last_words()}

    def failing(self, level: int, serial: bool) -> Yaml:
        kind = self.generator.choice(("sim.Work", "sim.Effect", "sim.Count"))
        return {"id": self.name("f"), "type": kind, "fails": True}

    def until(self, level: int, serial: bool) -> Yaml:
        if self.looping:  # its count stands elsewhere then
            return self.leaf()
        name = self.name("until")
        return {
            "id": name,
            "type": f"{CORE}.flow.LoopUntil",
            "condition": f"{{{{ outputs.{name}.iterationCount >= 2 }}}}",
            "checkFrequency": {"interval": self.generator.choice(("PT0S", "PT20S")), "maxIterations": 4},
            "tasks": [self.leaf() for _ in range(self.generator.choice((1, 2)))],
        }

    _in_loop = False

    def pause(self, level: int, serial: bool) -> Yaml:
        return {
            "id": self.name("pause"),
            "type": f"{CORE}.flow.Pause",
            "delay": self.generator.choice(("PT5S", "PT2M", "PT1H")),
        }

    def sleep(self, level: int, serial: bool) -> Yaml:
        return {
            "id": self.name("sleep"),
            "type": f"{CORE}.flow.Sleep",
            "duration": self.generator.choice(("PT1S", "PT30S", "PT10M")),
        }

    def subflow(self, level: int, serial: bool) -> Yaml:
        self.depth += 1
        child = f"child{self.depth}"
        flow = self.flow(child, level + 1)
        if self.generator.random() < 0.2:
            flow["concurrency"] = {"limit": 1, "behavior": "QUEUE"}
        self.flows.insert(0, flow)
        task: Yaml = {
            "id": self.name("call"),
            "type": f"{CORE}.flow.Subflow",
            "namespace": NAMESPACE,
            "flowId": child,
            "wait": self.generator.random() < 0.8,
        }
        if self.generator.random() < 0.2:
            task["transmitFailed"] = False
        if self.generator.random() < 0.2:
            task["retry"] = {"type": "constant", "interval": "PT10S", "maxAttempts": 2}
        return task

    def items(self, level: int, serial: bool) -> Yaml:
        self.depth += 1
        child = f"child{self.depth}"
        self.flows.insert(
            0, {**self.flow(child, level + 2), "inputs": [{"id": "file", "type": "STRING", "defaults": "none"}]}
        )
        write = self.name("write")
        return {
            "id": self.name("s"),
            "type": f"{CORE}.flow.Sequential",
            "tasks": [
                {"id": write, "type": f"{CORE}.storage.Write", "content": "x\ny\nz"},
                {
                    "id": self.name("items"),
                    "type": f"{CORE}.flow.ForEachItem",
                    "items": f"{{{{ outputs.{write}.uri }}}}",
                    "namespace": NAMESPACE,
                    "flowId": child,
                    "wait": self.generator.random() < 0.7,
                },
            ],
        }

    def again(self, level: int, serial: bool) -> Yaml:
        """A whole new execution takes over after a failure."""
        return {
            "id": self.name("again"),
            "type": "sim.Work",
            "fails": "{{ true }}",
            "retry": {
                "type": "constant",
                "interval": "PT1M",
                "maxAttempts": 2,
                "behavior": "CREATE_NEW_EXECUTION",
            },
        }

    def exits(self, level: int, serial: bool) -> Yaml:
        state = self.generator.choice(("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELED"))
        return {"id": self.name("exit"), "type": f"{CORE}.execution.Exit", "state": state}

    def leaves_retries(self, level: int, serial: bool) -> Yaml:
        """An exit while a task beside it waits for its next attempt, or for a person."""
        beside = self.late(level, serial) if self.generator.random() < 0.7 else self.waits_for_person(level, serial)
        leave = {
            "id": self.name("leave"),
            "type": f"{CORE}.flow.Sequential",
            "tasks": [
                {"id": self.name("sleep"), "type": f"{CORE}.flow.Sleep", "duration": "PT30S"},
                self.exits(level, serial),
            ],
        }
        return {"id": self.name("beside"), "type": f"{CORE}.flow.Parallel", "tasks": [beside, leave]}

    def directory(self, level: int, serial: bool) -> Yaml:
        """A directory that only tasks of the executor would use."""
        tasks = [{"id": self.name("in"), "type": "sim.Count", "value": "in a directory"}]
        return {"id": self.name("directory"), "type": f"{CORE}.flow.WorkingDirectory", "tasks": tasks}

    def waits_for_person(self, level: int, serial: bool) -> Yaml:
        task: Yaml = {"id": self.name("person"), "type": f"{CORE}.flow.Pause"}
        draw = self.generator.random()
        if draw < 0.3:
            task["timeout"] = "PT2M"
            if draw < 0.2:
                task["allowFailure"] = True
            if draw < 0.1:
                task["allowWarning"] = True
        elif draw < 0.6:
            task["delay"] = "PT2M"
            task["behavior"] = self.generator.choice(("RESUME", "WARN", "FAIL", "CANCEL"))
        if self.generator.random() < 0.2:
            task["onPause"] = self.leaf()
        return task

    def late(self, level: int, serial: bool) -> Yaml:
        """Retries that wait long, for whoever interferes meanwhile."""
        return {
            "id": self.name("late"),
            "type": "sim.Work",
            "fails": True,
            "retry": {"type": "constant", "interval": "PT20M", "maxAttempts": 3},
        }

    def around(self, task: Yaml) -> Yaml:
        kind = task["type"].rpartition(".")[2].lower()
        return {"id": self.name(kind), **task, **self.last_words()}

    def last_words(self) -> Yaml:
        words: Yaml = {}
        if self.generator.random() < 0.15:
            words["errors"] = [self.leaf()]
        if self.generator.random() < 0.15:
            words["finally"] = [self.leaf()]
        return words
