"""The JSON Schema: valid flows pass, broken ones do not, and an editor finds what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from headrace_engine.language import Registry, validate
from headrace_engine.language.nodes import plain
from headrace_engine.language.problems import FlowError
from headrace_engine.language.schema import json_schema
from headrace_engine.language.yaml_reader import read_documents

INVALID = sorted((Path(__file__).parents[2] / "flows" / "invalid").glob("*.yaml"))

NOT_SEEN_BY_A_SCHEMA = (
    "expression-",  # the syntax inside a text
    "dag-cycle",
    "dag-depends",
    "dag-unknown",
    "flow-id-reserved",
    "flow-labels-system",
    "flow-plugin-defaults-both-names",
    "flow-plugin-defaults-id",
    "input-bounds",
    "input-date-bound",
    "input-depends",
    "input-int-default",
    "input-select",
    "input-validator",
    "output-array",
    "retry-bounds",
    "subflow-to-itself",
    "switch-without-cases",
    "task-both-names",
    "task-id-twice",
    "task-property-from-plugin-defaults",
    "trigger-cron",
    "trigger-id-of-a-task",
    "trigger-system-label",
    "trigger-timezone",
    "working-directory-with-a-flowable",
    "condition-of-no-date",
    "condition-without-bounds",
    "input-id-twice",
    "task-expression-in-static-property",
)
"""Rules over several places, or over the inside of a text: a schema cannot say them; parse_flow does."""

VALID = """
id: everything
namespace: company.team
labels: {team: data, version: 1.10}
inputs:
  - {id: name, type: STRING, defaults: "{{ now() }}", validator: "[a-z]+"}
  - {id: size, type: SELECT, values: [S, M]}
  - {name: old, type: INT, max: 5}
variables: {anything: [1, {goes: here}]}
pluginDefaults:
  - {type: io.kestra.plugin.core.log, values: {level: WARN}}
concurrency: {limit: 2, behavior: CANCEL}
sla: [{id: quick, type: MAX_DURATION, duration: PT1H, behavior: FAIL}]
checks: [{when: "{{ inputs.name }}", message: give a name}]
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: 5
    level: "{{ inputs.level }}"
    runIf: true
    timeout: PT5M
    retry: {type: exponential, interval: PT1S, maxInterval: PT1M, delayFactor: 2, maxAttempt: 3}
  - id: old
    type: io.kestra.core.tasks.log.Log
    message: [a, b]
  - id: call
    type: io.kestra.plugin.core.http.Request
    uri: "{{ inputs.uri }}"
    port: "{{ inputs.port }}"
    headers: "{{ inputs.headers }}"
    options: {connectTimeout: "{{ inputs.wait }}", retries: 2}
  - id: script
    type: io.kestra.plugin.scripts.python.Script
    script: print(1)
    env: {DEBUG: true, PORT: 80}
    taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker, pullPolicy: ALWAYS}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ inputs.list }}"
    tasks:
      - id: switch
        type: io.kestra.plugin.core.flow.Switch
        value: "{{ taskrun.value }}"
        cases:
          a:
            - id: dag
              type: io.kestra.plugin.core.flow.Dag
              tasks:
                - task: {id: one, type: io.kestra.plugin.core.log.Log, message: hi}
                - task: {id: two, type: io.kestra.plugin.core.log.Log, message: hi}
                  dependsOn: [one]
  - id: count
    type: io.kestra.plugin.core.execution.Count
    flows: []
errors:
  - {id: failed, type: io.kestra.plugin.core.log.Log, message: oh}
triggers:
  - id: daily
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "@daily"
    conditions:
      - type: io.kestra.plugin.core.condition.Or
        conditions: [{type: io.kestra.plugin.core.condition.Weekend}]
outputs:
  - {id: uri, type: STRING, value: "{{ outputs.log.uri }}"}
"""


@pytest.fixture(scope="session")
def schema(registry: Registry) -> dict[str, Any]:
    return json_schema(registry)


@pytest.fixture(scope="session")
def validator(schema: dict[str, Any]) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(schema)


def test_it_is_a_json_schema(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)


def test_a_valid_flow_passes(validator: jsonschema.Draft7Validator, registry: Registry) -> None:
    assert validate(VALID, registry=registry) == []
    (document,) = read_documents(VALID)
    assert [error.message for error in validator.iter_errors(plain(document))] == []


@pytest.mark.parametrize("path", INVALID, ids=[path.stem for path in INVALID])
def test_a_broken_flow_does_not_pass_unless_its_fault_is_beyond_a_schema(
    path: Path, validator: jsonschema.Draft7Validator
) -> None:
    try:
        documents = read_documents(path.read_text(encoding="utf-8"))
    except FlowError:
        return
    passes = bool(documents) and all(validator.is_valid(plain(document)) for document in documents)
    assert passes == path.stem.startswith(NOT_SEEN_BY_A_SCHEMA)


def test_a_required_property_may_come_from_plugin_defaults(validator: jsonschema.Draft7Validator) -> None:
    inner = {"id": "log", "type": "io.kestra.plugin.core.log.Log"}
    outer = {"id": "all", "type": "io.kestra.plugin.core.flow.Parallel", "tasks": [inner]}
    flow = {"id": "a", "namespace": "b", "tasks": [outer]}
    assert [error.message for error in validator.iter_errors(flow)] == ["'message' is a required property"]
    default = {"type": "io.kestra.plugin.core.log.Log", "values": {"message": "hi"}}
    assert validator.is_valid(flow | {"pluginDefaults": [default]})


def test_an_error_in_a_task_speaks_of_its_type_alone(validator: jsonschema.Draft7Validator) -> None:
    task = {"id": "log", "type": "io.kestra.plugin.core.log.Log", "mesage": "hi"}
    errors = validator.iter_errors({"id": "a", "namespace": "b", "tasks": [task]})
    assert sorted(error.message for error in errors) == [
        "'message' is a required property",
        "Additional properties are not allowed ('mesage' was unexpected)",
    ]


def test_editors_find_descriptions_defaults_and_deprecations(schema: dict[str, Any]) -> None:
    definitions = schema["definitions"]
    log = definitions["Log"]
    assert log["description"] == "Writes a log line."
    assert log["properties"]["message"]["description"] == "What is logged."
    assert log["properties"]["level"]["default"] == "INFO"
    assert definitions["task.runIf"]["description"].startswith("A condition")
    assert definitions["task.when"] == {"description": "Another name of `runIf`."}
    assert definitions["EachParallel"]["deprecated"] is True
    assert definitions["ConstantRetry"]["properties"]["maxAttempt"]["deprecated"] is True
    assert schema["properties"]["listeners"]["deprecated"] is True


def test_editors_propose_the_types_by_their_names_of_today(schema: dict[str, Any]) -> None:
    proposed = {snippet["body"] for snippet in schema["definitions"]["task"]["properties"]["type"]["defaultSnippets"]}
    assert "io.kestra.plugin.core.log.Log" in proposed
    assert "io.kestra.core.tasks.log.Log" not in proposed


def test_every_definition_that_is_referred_to_is_there_and_no_other(schema: dict[str, Any]) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return found.union(*(references(item) for item in value.values()))
        if isinstance(value, list):
            return set().union(*(references(item) for item in value))
        return set()

    assert references(schema) == {f"#/definitions/{name}" for name in schema["definitions"]}


def test_every_property_of_the_language_is_described(schema: dict[str, Any]) -> None:
    own = {"requiredOfTasks", "Log", "Request", "Options", "Script", "Process", "Docker"}
    silent = [
        f"{name}.{key}"
        for name, definition in schema["definitions"].items()
        if name not in own
        for key, value in definition.get("properties", {}).items()
        if key != "type" and "description" not in value and "$ref" not in value
    ]
    assert silent == []


def test_importing_the_language_loads_neither_jinja_nor_jsonschema_nor_babel() -> None:
    code = (
        "import sys, headrace_engine.language\n"
        "print([name for name in ('jinja2', 'jsonschema', 'babel', 're2', 'httpx', 'sqlite3', 'boto3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
