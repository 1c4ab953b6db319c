"""Small flows for the virtual clock, with the results of their scripts and what else is done to them.

No script really runs: `results` says how each attempt of a dispatched task ends, by what it is called for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Give = Callable[[int], Any]
"""Attempts of the task run that were not lost so far -> outputs, or an Exception for a failure."""


@dataclass(frozen=True)
class Story:
    """A flow and what happens while it runs."""

    name: str
    source: str
    results: Mapping[str, Give] = field(default_factory=dict)
    kill_at: str | None = None
    """The task whose dispatch brings a kill with it."""
    ends: str = "SUCCESS"
    others: tuple[str, ...] = ()
    """Flows it starts."""


STORIES = (
    Story(
        "one task after the other",
        """
id: sequence
namespace: crash
labels: {team: mill}
inputs:
  - {id: who, type: STRING, defaults: world}
outputs:
  - {id: all, type: JSON, value: "{{ outputs.second.vars }}"}
tasks:
  - id: hello
    type: io.kestra.plugin.core.log.Log
    message: "Hello {{ inputs.who }}"
  - id: remember
    type: io.kestra.plugin.core.kv.Set
    key: greeted
    value: "{{ inputs.who }}"
  - id: first
    type: io.kestra.plugin.scripts.shell.Commands
    commands: [work]
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT1H
  - id: count
    type: test.Effect
    label: counted
  - id: label
    type: io.kestra.plugin.core.execution.Labels
    labels: {greeted: "{{ kv('greeted') }}"}
  - id: variables
    type: io.kestra.plugin.core.execution.SetVariables
    variables: {mood: good}
  - id: second
    type: io.kestra.plugin.scripts.shell.Commands
    commands: ["work {{ outputs.first.vars.n }} {{ vars.mood }}"]
  - id: done
    type: io.kestra.plugin.core.debug.Return
    format: "{{ outputs.second.vars.n }} {{ labels.greeted }}"
""",
        {"first": lambda _: {"vars": {"n": 1}}, "second": lambda _: {"vars": {"n": 2}}},
    ),
    Story(
        "failures, retries, errors and finally",
        """
id: failures
namespace: crash
tasks:
  - id: flaky
    type: io.kestra.plugin.scripts.shell.Commands
    commands: [work]
    retry: {type: constant, interval: PT10S, maxAttempts: 3}
  - id: guarded
    type: io.kestra.plugin.core.flow.AllowFailure
    tasks:
      - id: broken
        type: io.kestra.plugin.scripts.shell.Commands
        commands: [work]
    errors:
      - id: rescue
        type: test.Effect
        label: rescued
    finally:
      - id: tidy
        type: io.kestra.plugin.core.log.Log
        message: tidied
  - id: lightly
    type: test.Effect
    label: flaky
    fails: "{{ taskrun.attemptsCount < 2 }}"
    retry: {type: exponential, interval: PT1S, maxInterval: PT10S, maxAttempts: 3}
  - id: last
    type: io.kestra.plugin.scripts.shell.Commands
    commands: [work]
errors:
  - id: alarm
    type: io.kestra.plugin.scripts.shell.Commands
    commands: ["work {{ errorLogs() | length }}"]
finally:
  - id: end
    type: test.Effect
    label: ended
afterExecution:
  - id: after
    type: io.kestra.plugin.scripts.shell.Commands
    commands: ["work {{ execution.state }}"]
""",
        {
            "flaky": lambda made: {"vars": {"made": made}} if made == 2 else ValueError(f"failure {made}"),
            "broken": lambda _: ValueError("broken"),
            "last": lambda _: ValueError("failed for good"),
        },
        ends="FAILED",
    ),
    Story(
        "branches side by side, and loops",
        """
id: branches
namespace: crash
outputs:
  - {id: rows, type: JSON, value: "{{ outputs.work }}"}
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: light1, type: test.Effect, label: one}
      - {id: light2, type: test.Effect, label: two}
      - id: script
        type: io.kestra.plugin.scripts.shell.Commands
        commands: [work]
      - id: seq
        type: io.kestra.plugin.core.flow.Sequential
        tasks:
          - {id: inner1, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
          - {id: inner2, type: test.Effect, label: three}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b, c]
    concurrencyLimit: 2
    tasks:
      - id: work
        type: io.kestra.plugin.scripts.shell.Commands
        commands: ["work {{ taskrun.value }}"]
      - id: note
        type: io.kestra.plugin.core.debug.Return
        format: "{{ outputs.work[taskrun.value].vars.n }}"
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {id: left, type: test.Effect, label: left}
      - task: {id: right, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
      - task: {id: top, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.right.vars.n }}"}
        dependsOn: [left, right]
""",
        {task: lambda _: {"vars": {"n": 7}} for task in ("script", "inner1", "work", "right")},
    ),
    Story(
        "a working directory",
        """
id: directory
namespace: crash
tasks:
  - id: wd
    type: io.kestra.plugin.core.flow.WorkingDirectory
    inputFiles: {in.txt: hello}
    outputFiles: [out.txt]
    tasks:
      - {id: one, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
      - {id: two, type: io.kestra.plugin.core.log.Log, message: between}
      - {id: three, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.wd.outputFiles['out.txt'] }}"}
""",
        {
            "one": lambda _: {"vars": {}},
            "three": lambda _: {"vars": {}},
            "wd": lambda _: {"outputFiles": {"out.txt": "kestra:///crash/out.txt"}},
        },
    ),
    Story(
        "a new execution takes over while a branch still runs",
        """
id: takeover
namespace: crash
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - id: risky
        type: io.kestra.plugin.scripts.shell.Commands
        commands: [work]
        retry: {type: constant, interval: PT1M, maxAttempts: 2, behavior: CREATE_NEW_EXECUTION}
      - id: steady
        type: io.kestra.plugin.core.flow.Sequential
        tasks:
          - {id: slow1, type: io.kestra.plugin.core.flow.Sleep, duration: PT10S}
          - {id: slow2, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
""",
        {"risky": lambda _: ValueError("never works"), "slow2": lambda _: {"vars": {}}},
        ends="RETRIED",
    ),
    Story(
        "a new execution takes over at once",
        """
id: relay
namespace: crash
tasks:
  - id: risky
    type: io.kestra.plugin.scripts.shell.Commands
    commands: [work]
    retry: {type: constant, interval: PT1M, maxAttempts: 2, behavior: CREATE_NEW_EXECUTION}
""",
        {"risky": lambda _: ValueError("never works")},
        ends="RETRIED",
    ),
    Story(
        "a kill while scripts run",
        """
id: killed
namespace: crash
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: fast, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
      - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10S}
      - {id: slow, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
  - {id: never, type: test.Effect, label: never}
finally:
  - {id: neither, type: test.Effect, label: neither}
""",
        {"fast": lambda _: {"vars": {}}, "slow": lambda _: {"vars": {}}},
        kill_at="slow",
        ends="KILLED",
    ),
    Story(
        "an exit",
        """
id: leaving
namespace: crash
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: script, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
      - id: seq
        type: io.kestra.plugin.core.flow.Sequential
        tasks:
          - {id: light, type: test.Effect, label: one}
          - {id: leave, type: io.kestra.plugin.core.execution.Exit, state: WARNING}
          - {id: never, type: test.Effect, label: never}
  - {id: neither, type: test.Effect, label: neither}
afterExecution:
  - {id: after, type: test.Effect, label: after}
""",
        {"script": lambda _: {"vars": {"n": 1}}},
        ends="WARNING",
    ),
)


_CHILD = """
id: child
namespace: crash
inputs:
  - {id: n, type: STRING, defaults: none}
outputs:
  - {id: twice, type: STRING, value: "{{ inputs.n }}{{ inputs.n }} {{ outputs.effort.vars.n }}"}
tasks:
  - {id: effort, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
  - {id: trace, type: test.Effect, label: child}
"""

STORIES += (
    Story(
        "subflows, waited for and not",
        """
id: parent
namespace: crash
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    concurrencyLimit: 0
    tasks:
      - id: call
        type: io.kestra.plugin.core.flow.Subflow
        namespace: crash
        flowId: child
        inputs: {n: "{{ taskrun.value }}"}
        wait: true
      - {id: told, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.call[taskrun.value].outputs.twice }}"}
  - id: forget
    type: io.kestra.plugin.core.flow.Subflow
    namespace: crash
    flowId: child
    wait: false
  - {id: last, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
""",
        {"effort": lambda _: {"vars": {"n": 3}}, "last": lambda _: {"vars": {}}},
        others=(_CHILD,),
    ),
    *(
        Story(
            f"an execution for each part, {'waited for' if wait == 'true' else 'and nobody waits'}",
            f"""
id: parts
namespace: crash
tasks:
  - {{id: file, type: io.kestra.plugin.core.storage.Write, content: "x\\ny\\nz"}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "{{{{ outputs.file.uri }}}}"
    namespace: crash
    flowId: child
    wait: {wait}
    inputs: {{n: "{{{{ taskrun.iteration }}}}"}}
  - {{id: told, type: io.kestra.plugin.core.debug.Return, format: "{{{{ read(outputs.each_merge.subflowOutputs) }}}}"}}
""",
            {"effort": lambda _: {"vars": {"n": 3}}},
            others=(_CHILD,),
        )
        for wait in ("true", "false")
    ),
    Story(
        "a kill that reaches a subflow",
        """
id: parent
namespace: crash
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: crash, flowId: child, wait: true}
      - {id: slow, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
""",
        {"effort": lambda _: {"vars": {"n": 3}}, "slow": lambda _: {"vars": {}}},
        kill_at="effort",
        ends="KILLED",
        others=(_CHILD,),
    ),
    Story(
        "rounds and pauses",
        """
id: rounds
namespace: crash
tasks:
  - id: until
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ outputs.until.iterationCount >= 2 }}"
    checkFrequency: {interval: PT10S, maxIterations: 5}
    tasks:
      - {id: look, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
      - {id: noted, type: test.Effect, label: round}
      - {id: told, type: io.kestra.plugin.core.log.Log, message: "round {{ outputs.until.iterationCount }}"}
  - id: quickly
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ outputs.quickly.iterationCount >= 3 }}"
    checkFrequency: {interval: PT0S}
    tasks:
      - {id: said, type: io.kestra.plugin.core.log.Log, message: "quick {{ outputs.quickly.iterationCount }}"}
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    delay: PT10M
  - {id: last, type: io.kestra.plugin.scripts.shell.Commands, commands: [work]}
""",
        {"look": lambda _: {"vars": {"n": 1}}, "last": lambda _: {"vars": {}}},
    ),
)


def story_id(story: Story) -> str:
    """Return the name pytest shows."""
    return story.name.replace(" ", "-")
