"""People's secrets on AWS: in the store that is chosen, by namespace, for a while, and in nobody's log."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from headrace_functions.testing.aws import observer
from headrace_functions.testing.cloud import Cloud

FLOW = """
id: uses
namespace: flows.team
inputs:
  - {id: sealed, type: SECRET, required: false}
  - {id: address, type: STRING, defaults: "https://{{ secret('WORD') }}@example.com"}
labels: {kind: test}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "it is {{ secret('WORD') }}"}
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    env: {WORD: "{{ secret('WORD') }}"}
    commands: ["echo it is $WORD", "echo it is {{ secret('WORD') }} >&2", "exit 1"]
    allowFailure: true
  - {id: fail, type: io.kestra.plugin.core.execution.Fail, errorMessage: "not {{ secret('WORD') }}", allowFailure: true}
  - {id: input, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.address }}"}
  - {id: none, type: io.kestra.plugin.core.log.Log, message: "{{ secret('WORD') }} {{ secret('NONE') }}"}
"""
WORD = "open-sesame-open"


def stored(cloud: Cloud) -> Iterator[str]:
    """Yield what the table holds, attribute by attribute, decompressed."""
    for item in cloud.items():
        for attribute in item.values():
            content = attribute.get("B", b"")
            yield str(zlib.decompress(content[1:]) if content[:1] == b"z" else attribute)


@pytest.mark.parametrize("store", ["ssm", "secretsmanager"])
def test_a_secret_of_the_namespace_above_is_read_and_shown_nowhere(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"HEADRACE_VAULT": store}
    with Cloud(environment=environment, secrets={"WORD": WORD}, secrets_of="flows") as cloud:
        outcome = cloud.run(FLOW)
        assert outcome.state == "FAILED"
        said = [line.message for line in outcome.logs]
        assert said.count("it is ********") == 3
        assert "not ********" in " ".join(said)
        assert "Cannot find secret for key 'NONE'" in " ".join(said)
        assert "https://********@example.com" in said
        shown = [json.dumps(outcome.view), " ".join(said), *stored(cloud), capsys.readouterr().out]
        assert [text for text in shown if WORD in text] == []
        names = cloud.request("GET", "/api/v1/main/namespaces/flows/secrets")
        assert [each["key"] for each in names.json()["results"]] == ["WORD"]


def test_a_secret_that_was_changed_counts_after_a_while() -> None:
    source = """
id: says
namespace: flows
tasks: [{id: said, type: io.kestra.plugin.core.debug.Return, format: "{{ secret('WORD') | length }}"}]
"""
    with Cloud(environment={"HEADRACE_VAULT": "secretsmanager"}, secrets={"WORD": "one"}) as cloud:

        def said() -> str:
            return str(cloud.run(source).find("said")["outputs"]["value"])

        assert said() == "3"
        name = f"{cloud.environment.secrets_prefix}/flows/WORD"
        observer("secretsmanager").put_secret_value(SecretId=name, SecretString="three")
        assert said() == "3"
        cloud.clock.set(cloud.clock.now() + timedelta(minutes=5))
        assert said() == "5"
