"""A secret goes wherever a flow uses it, and can be read nowhere: not in answers, pages, events, logs, nor on disk."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from headrace_cli.main import cli
from local_server import LocalServer, local_server

LOG, FAIL = "io.kestra.plugin.core.log.Log", "io.kestra.plugin.core.execution.Fail"
REQUEST = "io.kestra.plugin.core.http.Request"
WORD, GIVEN, HANDED = "open-sesame-open", "given-by-hand-1", "handed-over-2"
SECRETS = (WORD, GIVEN, HANDED)
MASKED = "********"
CHILD = f"""
id: child
namespace: vault.team
inputs:
  - {{id: code, type: SECRET}}
  - {{id: plain, type: STRING}}
  - {{id: config, type: JSON}}
tasks:
  - {{id: log, type: {LOG}, message: "{{{{ inputs.code }}}} {{{{ inputs.plain }}}} {{{{ inputs.config.key }}}} {{{{ inputs.config | toJson }}}}"}}
"""


def walk(closed: str) -> str:
    """Return a flow that uses a secret in all that a flow has; *closed* is an address at which nobody answers."""
    word = "{{ secret('WORD') }}"
    wrong = {
        "fail": f'{{type: {FAIL}, errorMessage: "not {word}"}}',
        "number": f"{{type: {LOG}, message: \"{{{{ secret('WORD') | number('INT') }}}}\"}}",
        "date": f"{{type: {LOG}, message: \"{{{{ secret('WORD') | date('yyyy') }}}}\"}}",
        "level": f'{{type: {LOG}, message: x, level: "{word}"}}',
        "condition": f"{{type: io.kestra.plugin.core.flow.If, condition: \"{{{{ secret('WORD') | number('INT') > 1 }}}}\", "
        f"then: [{{id: in_if, type: {LOG}, message: x}}]}}",
        "case": f'{{type: io.kestra.plugin.core.flow.Switch, value: "{word}", '
        f"cases: {{a: [{{id: in_case, type: {LOG}, message: x}}]}}}}",
        "values": f'{{type: io.kestra.plugin.core.flow.ForEach, values: "{word}", '
        f"tasks: [{{id: in_loop, type: {LOG}, message: x}}]}}",
        "closed": f'{{type: {REQUEST}, uri: "{closed}/x?key={word}", headers: {{authorization: "{word}"}}, body: "{word}"}}',
        "nowhere": f'{{type: {REQUEST}, uri: "{word}"}}',
        "sleep": f'{{type: io.kestra.plugin.core.flow.Sleep, duration: "{word}"}}',
        "key": f'{{type: io.kestra.plugin.core.kv.Get, key: "{word}", errorOnMissing: true}}',
        "flow": f'{{type: io.kestra.plugin.core.flow.Subflow, namespace: vault.team, flowId: "{word}"}}',
        "query": f'{{type: io.kestra.plugin.jdbc.sqlite.Query, url: "jdbc:sqlite:x.db", sql: "{word}"}}',
        "script": "{type: io.kestra.plugin.scripts.shell.Commands, "
        f'taskRunner: {{type: io.kestra.plugin.core.runner.Process}}, env: {{WORD: "{word}"}}, '
        f'commands: ["echo it is $WORD", "echo it is {word} >&2", "exit 1"]}}',
    }
    tasks = "".join(f"  - {{id: {name}, allowFailure: true, {task[1:]}\n" for name, task in wrong.items())
    return f"""
id: walk
namespace: vault.team
inputs:
  - {{id: code, type: SECRET, required: false}}
  - {{id: address, type: STRING, defaults: "https://{word}@example.com"}}
  - id: config
    type: JSON
    defaults: |
      {{"key": "{word}"}}
  - {{id: number, type: INT, required: false}}
variables: {{token: "{word}"}}
pluginDefaults:
  - {{type: {REQUEST}, values: {{headers: {{x-key: "{word}"}}}}}}
tasks:
  - {{id: log, type: {LOG}, message: "{word} {{{{ render(vars.token) }}}} {{{{ inputs.code }}}} {{{{ inputs.address }}}} {{{{ inputs.config.key }}}}"}}
{tasks}
  - id: sub
    type: io.kestra.plugin.core.flow.Subflow
    namespace: vault.team
    flowId: child
    inputs:
      code: "{word}"
      plain: "as text {word}"
      config: |
        {{"key": "{word}"}}
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - {{id: token, type: SECRET}}
      - {{id: hint, type: STRING, defaults: "use {word}"}}
  - {{id: after, type: {LOG}, message: "{{{{ outputs.pause.onResume.token }}}} {{{{ outputs.pause.onResume.hint }}}}"}}
  - {{id: last, type: {LOG}, message: "{word} {{{{ secret('NONE') }}}}"}}
errors:
  - {{id: told, type: {LOG}, message: "{{{{ errorLogs() }}}}"}}
triggers:
  - {{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: "{word}", inputs: {{number: "{word}", code: "{word}"}}}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    environment = {**os.environ, "SECRET_WORD": base64.b64encode(WORD.encode()).decode()}
    with local_server(tmp_path_factory.mktemp("secrets") / "data", environment=environment) as started:
        yield started


def stored(data: Path) -> Iterator[str]:
    """Yield all that lies in a data folder: its files, and each value of its tables, decompressed."""
    for file in data.rglob("*"):
        if file.is_file() and not file.name.startswith("headrace.db"):
            yield file.read_bytes().decode(errors="replace")
    with sqlite3.connect(data / "headrace.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own names
                for value in row:
                    content = value if isinstance(value, bytes) else str(value).encode()
                    if content[:1] == b"z":
                        content = zlib.decompress(content[1:])
                    yield content.decode(errors="replace")


def test_a_secret_is_used_everywhere_and_read_nowhere(server: LocalServer) -> None:
    data = Path(server.process.args[server.process.args.index("--data-dir") + 1])  # type: ignore[union-attr,index,arg-type]
    shown: dict[str, str] = {}
    with httpx.Client(base_url=server.api, timeout=60) as client:
        for source in (CHILD, walk("http://127.0.0.1:1")):
            shown["the flow"] = client.post("/flows", content=source).raise_for_status().text

        def until(execution_id: str, *states: str) -> str:
            with client.stream("GET", f"/executions/{execution_id}/follow") as answer:
                rows = []
                for row in answer.iter_lines():
                    rows.append(row)
                    if row.startswith("data: {") and json.loads(row[6:])["state"]["current"] in states:
                        break
            return "\n".join(rows)

        shown["the inputs' check"] = client.post("/executions/vault.team/walk/validate").text
        execution = client.post("/executions/vault.team/walk", files={"code": (None, GIVEN)}).raise_for_status().json()
        ours = f"/executions/{execution['id']}"
        shown["the events"] = until(execution["id"], "PAUSED", "FAILED")
        run = next(each for each in client.get(ours).json()["taskRunList"] if each["taskId"] == "pause")
        resume = client.post(f"{ours}/resume/validate", files={"token": (None, HANDED)})
        shown["the check of what it is resumed with"] = resume.text
        shown["the page of what waits"] = httpx.get(f"{server.address}{ours}/resume/{run['id']}").text
        client.post(f"{ours}/resume", files={"token": (None, HANDED)}).raise_for_status()
        shown["the events after it"] = until(execution["id"], "FAILED")
        hooked = client.post(f"/executions/webhook/vault.team/walk/{WORD}")
        assert hooked.status_code == 200
        shown["the webhook's answer"] = hooked.text
        shown["the webhook's execution"] = until(hooked.json()["id"], "FAILED", "PAUSED")
        expression = "{{ secret('WORD') }} {{ inputs.code }} {{ inputs.address }} {{ inputs.config }} {{ outputs }}"
        shown["an expression"] = client.post(f"{ours}/eval", content=expression).text
        assert MASKED in shown["an expression"]
        (child,) = client.get("/executions/search?filters[flowId][EQUALS]=child").json()["results"]
        for target in (
            *(f"/executions/{each}" for each in (execution["id"], child["id"], hooked.json()["id"])),
            *(f"/logs/{each}" for each in (execution["id"], child["id"], hooked.json()["id"])),
            *(f"{ours}/{part}" for part in ("graph", "flow", "dependencies")),
            *(f"/outputs/{execution['id']}", f"/logs/{execution['id']}/download", f"/metrics/{execution['id']}"),
            *(
                "/executions/search?size=50",
                "/logs/search?size=100",
                "/triggers/search",
                "/audit/search?size=100",
                "/configs",
            ),
            *("/flows/vault.team/walk?source=true", "/flows/source?q=secret", "/namespaces/vault.team/secrets"),
        ):
            shown[target] = client.get(target).raise_for_status().text
        with client.stream("GET", f"/logs/{execution['id']}/follow") as answer:
            shown["the events of the log"] = answer.read().decode()
    for page in ("/flows/vault.team/walk", "/forms/vault.team/walk", "/executions", ours, f"/executions/{child['id']}"):
        shown[f"the page {page}"] = httpx.get(f"{server.address}{page}").raise_for_status().text
    for command in (("get",), ("get", "-o", "json"), ("logs",), ("follow",)):
        arguments = ["execution", command[0], execution["id"], *command[1:], "--server", server.address]
        ran = CliRunner().invoke(cli, arguments)
        assert execution["id"] in ran.output or MASKED in ran.output
        shown[f"headrace {' '.join(arguments)}"] = ran.output

    said = [line["message"] for line in json.loads(shown[f"/logs/{execution['id']}"])]
    assert said[0] == f"{MASKED} {MASKED} {MASKED} https://{MASKED}@example.com {MASKED}"
    assert f"not {MASKED}" in said
    assert f"{MASKED} use {MASKED}" in said
    assert said.count(f"it is {MASKED}") == 2
    assert f'{MASKED} as text {MASKED} {MASKED} {{"key":"{MASKED}"}}' in shown[f"/logs/{child['id']}"].replace(
        '\\"', '"'
    )
    assert len([line for line in said if MASKED in line]) >= 16
    shown["the server's own log"] = "\n".join(server.told)
    assert {where: secret for where, text in shown.items() for secret in SECRETS if secret in text} == {}
    on_disk = list(stored(data))
    assert any(MASKED in text for text in on_disk)
    assert [text[:500] for text in on_disk for secret in SECRETS if secret in text] == []
