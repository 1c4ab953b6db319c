from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from headrace_cli.local import LocalRuntime

Headrace = Callable[..., Result]
Write = Callable[..., Path]

HELLO = """
inputs:
  - id: message
    type: STRING
    defaults: Hallo von Kestra
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{ inputs.message }}"
outputs:
  - id: said
    type: STRING
    value: "{{ inputs.message }}"
"""
RETURN = "  - {id: %s, type: io.kestra.plugin.core.debug.Return, format: '%s'}\n"
FAIL = "  - {id: stop, type: io.kestra.plugin.core.execution.Fail, errorMessage: It is over}\n"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def masked(text: str) -> str:
    """Return the text without what differs from run to run."""
    text = re.sub(STAMP, "TIME", text)
    text = re.sub(r"\b[0-9A-Za-z]{22}\b", "ID", text)
    return re.sub(r"\b[0-9.]+m?s\b", "0ms", text)


def test_without_a_terminal_progress_is_plain_lines_and_the_outputs_come_last(headrace: Headrace, flow: Write) -> None:
    result = headrace("run", flow(HELLO, "hello"))
    assert result.exit_code == 0
    assert masked(result.stdout).splitlines() == [
        "TIME CREATED  demo.hello ID",
        "TIME RUNNING  demo.hello",
        "TIME RUNNING  log",
        "TIME INFO     log: Hallo von Kestra",
        "TIME SUCCESS  log (0ms)",
        "TIME SUCCESS  demo.hello (0ms)",
        "",
        "✔ SUCCESS  demo.hello in 0ms  ID",
        "",
        "Outputs",
        "  said  Hallo von Kestra",
    ]
    assert result.stderr == ""


def test_quiet_tells_only_the_end(headrace: Headrace, flow: Write) -> None:
    result = headrace("run", flow(HELLO, "hello"), "--quiet", "--input", "message=Hi = ho")
    assert masked(result.stdout).splitlines() == [
        "✔ SUCCESS  demo.hello in 0ms  ID",
        "",
        "Outputs",
        "  said  Hi = ho",
    ]


def test_json_is_the_execution_and_nothing_else_on_standard_output(headrace: Headrace, flow: Write) -> None:
    result = headrace("run", flow(HELLO, "hello"), "-o", "json", "--label", "team=data")
    execution = json.loads(result.stdout)
    assert execution["state"]["current"] == "SUCCESS"
    assert [run["taskId"] for run in execution["taskRunList"]] == ["log"]
    assert execution["outputs"] == {"said": "Hallo von Kestra"}
    assert {"key": "team", "value": "data"} in execution["labels"]
    assert "INFO     log: Hallo von Kestra" in result.stderr
    assert "✔ SUCCESS  demo.hello" in result.stderr
    assert headrace("run", flow(HELLO, "hello"), "-o", "json", "-q").stderr == ""


def test_a_failure_exits_1_and_says_what_failed(headrace: Headrace, flow: Write) -> None:
    result = headrace("run", flow(f"tasks:\n{FAIL}"), "-q")
    assert result.exit_code == 1
    assert masked(result.stdout).splitlines() == [
        "✘ FAILED  demo.x in 0ms  ID",
        "",
        "✘ stop  FAILED (0ms)",
        "  It is over",
    ]


def test_a_warning_exits_0(headrace: Headrace, flow: Write) -> None:
    result = headrace("run", flow(f"tasks:\n{FAIL.rstrip()[:-1]}, allowFailure: true}}\n"), "-q")
    assert (result.exit_code, result.stdout[:9]) == (0, "▲ WARNING")


def test_an_invalid_flow_exits_2_with_every_problem_at_its_place(headrace: Headrace, flow: Write) -> None:
    file = flow("tasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Logg\n  - id: b\n")
    result = headrace("run", file)
    assert (result.exit_code, result.stdout) == (2, "")
    rows = result.stderr.splitlines()
    assert [row.partition(": ")[0] for row in rows] == [f"{file}:5:11", f"{file}:6:5"]
    assert rows[0].endswith("Did you mean `io.kestra.plugin.core.log.Log`?")


NEEDS_NUMBER = "inputs:\n  - {id: n, type: INT, max: 5}\ntasks:\n" + RETURN % ("a", "{{ inputs.n }}")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], "Error: Invalid input for `n`, it is required, but received `null`. Give it with --input n=VALUE\n"),
        (["-i", "n="], "Error: Invalid input for `n`, it must be a whole number, but received ``\n"),
        (["-i", "n=9"], "Error: Invalid input for `n`"),
        (["-i", "m=1"], "Error: demo.x has no input `m`."),
        (["--flows", "nowhere"], "Error: nowhere: there is no such file or folder."),
        (["--inputs", "nowhere.json"], "Error: nowhere.json: there is no such file."),
        (["--data-dir", "/dev/null/x"], "Error: /dev/null/x: "),
    ],
)
def test_what_a_person_got_wrong_is_one_line_and_exits_2(
    headrace: Headrace, flow: Write, options: list[str], error: str
) -> None:
    result = headrace("run", flow(NEEDS_NUMBER), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(error)
    assert result.stderr.count("\n") == 1


def test_what_this_version_does_not_run_is_refused(headrace: Headrace, flow: Write) -> None:
    approval = "{id: old, type: io.kestra.plugin.core.flow.Approval}"
    result = headrace("run", flow(f"tasks:\n  - {approval}\n"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: task `old`: ")


def test_inputs_come_from_a_file_and_options_win_over_it(headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    values = tmp_path / "inputs.yaml"
    values.write_text("message: from the file\nunknown: ignored\n")
    assert "from the file" in headrace("run", flow(HELLO, "hello"), "-q", "--inputs", values).stdout
    result = headrace("run", flow(HELLO, "hello"), "-q", "--inputs", values, "-i", "message=from the option")
    assert "from the option" in result.stdout


def test_a_file_input_is_stored_and_read(headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("its content")
    file = flow(
        "inputs: [{id: data, type: FILE}]\ntasks:\n"
        + RETURN % ("a", "{{ read(inputs.data) }}")
        + "outputs:\n  - {id: text, type: STRING, value: '{{ outputs.a.value }}'}\n"
        "  - {id: file, type: STRING, value: '{{ inputs.data }}'}\n"
    )
    result = headrace("run", file, "-q", "--input-file", f"data=@{data}")
    assert "text  its content" in result.stdout
    assert "--data-dir DIR keeps them" in result.stdout
    kept = headrace("run", file, "-q", "--input-file", f"data={data}", "--data-dir", tmp_path / "kept")
    assert "--data-dir" not in kept.stdout
    assert [path.read_text() for path in (tmp_path / "kept").rglob("data.txt")] == ["its content"]


def test_a_flow_comes_from_standard_input_too(headrace: Headrace) -> None:
    source = "id: x\nnamespace: demo\ntasks:\n" + RETURN % ("a", "1")
    assert headrace("run", "-", "-q", stdin=source).exit_code == 0
    assert headrace("run", "-", stdin="id: x").stderr.startswith("<stdin>:1:1: ")


def test_a_folder_of_flows_is_saved_first_and_must_be_valid(headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    data, flows = tmp_path / "data", tmp_path / "flows"
    flows.mkdir()
    (flows / "other.yaml").write_text("id: other\nnamespace: demo\ntasks:\n" + RETURN % ("a", "1"))
    assert headrace("run", flow(HELLO, "hello"), "-q", "--flows", flows, "--data-dir", data).exit_code == 0
    runtime = LocalRuntime.open(data)
    assert {saved.id for saved in runtime.stores.flows.list()} == {"hello", "other"}
    runtime.close()
    (flows / "broken.yaml").write_text("id: broken")
    result = headrace("run", flow(HELLO, "hello"), "-q", "--flows", flows)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{flows}/broken.yaml:1:1: ")


def test_a_folder_in_use_is_refused_and_the_process_named(headrace: Headrace, flow: Write, tmp_path: Path) -> None:
    runtime = LocalRuntime.open(tmp_path / "data")
    result = headrace("run", flow(HELLO, "hello"), "--data-dir", tmp_path / "data")
    runtime.close()
    assert result.exit_code == 2
    assert re.fullmatch(rf"Error: The data folder {tmp_path}/data is in use by process \d+\n", result.stderr)


def test_nothing_is_left_behind(flow: Write, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    for source in (HELLO, f"tasks:\n{FAIL}", NEEDS_NUMBER, "tasks: 1"):
        subprocess.run(
            [sys.executable, "-c", "from headrace_cli.main import main; main()", "run", str(flow(source))],
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
            capture_output=True,
            check=False,
        )
    assert list((tmp_path / "tmp").iterdir()) == []


def test_flows_that_a_trigger_starts_are_waited_for_and_told_of(headrace: Headrace, flow: Write) -> None:
    listens = """
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT0.2S}
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    preconditions: {id: p, flows: [{namespace: demo, flowId: %s, states: [SUCCESS]}]}
"""
    first = flow(HELLO, "hello")
    flow(listens % "hello", "second")
    flow((listens % "second").replace("core.flow.Sleep, duration: PT0.2S", "core.flow.Pause"), "third")
    result = headrace("run", first, "--flows", first.parent, "--quiet")
    assert result.exit_code == 0
    told = [line for line in masked(result.stdout).splitlines() if "trigger" in line]
    assert told == ["A trigger started demo.second: SUCCESS (ID)", "A trigger started demo.third: PAUSED (ID)"]


TEMPLATE = """
id: shared
namespace: demo
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "Hello {{ parent.outputs.args.name }}"}
"""
USES_TEMPLATE = """
tasks:
  - {id: used, type: io.kestra.plugin.core.flow.Template, namespace: demo, templateId: shared, args: {name: Ada}}
outputs:
  - {id: said, type: STRING, value: "{{ outputs.say.value }}"}
"""


@pytest.mark.parametrize("place", ["shared.template.yaml", "others/deep/shared.template.yml"])
def test_templates_are_found_beside_the_flow_and_in_the_folder(
    headrace: Headrace, flow: Write, tmp_path: Path, place: str
) -> None:
    path = flow(USES_TEMPLATE, "uses-template")
    file = path.parent / place
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = ["--flows", path.parent / "others"] if place.startswith("others") else []
    refused = headrace("run", path, "-q")
    assert "There is no template `shared` in the namespace `demo`." in refused.stderr
    file.write_text(TEMPLATE)
    result = headrace("run", path, "-o", "json", *folder, "--data-dir", tmp_path / "data")
    assert (result.exit_code, json.loads(result.stdout)["outputs"]) == (0, {"said": "Hello Ada"})


def test_a_template_that_is_not_valid_is_told_of(headrace: Headrace, flow: Write) -> None:
    path = flow(USES_TEMPLATE, "uses-template")
    (path.parent / "shared.template.yaml").write_text(TEMPLATE.replace("format", "fromat"))
    result = headrace("run", path, "-q")
    assert result.exit_code != 0
    assert "shared.template.yaml:5:" in result.stderr
    assert "Did you mean `format`?" in result.stderr
    assert headrace("validate", path.parent).exit_code == 2
    (path.parent / "shared.template.yaml").write_text(TEMPLATE)
    checked = headrace("validate", path.parent)
    assert (checked.exit_code, "(demo.shared)" in checked.stdout) == (0, True)


CONFIGURED = """
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ globals.region }} {{ envs.name }} {{ secret('WORD') }}"}
inputs: [{id: sealed, type: SECRET, defaults: hush}]
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a configuration in the current folder, and return that."""
    (tmp_path / "secrets.env").write_text("SECRET_WORD=c2VzYW1lLW9wZW4=\n")
    (tmp_path / "headrace.yaml").write_text(
        "variables: {globals: {region: eu}, envVarsPrefix: [MY_]}\n"
        "plugins: {defaults: [{type: io.kestra.plugin.core.log.Log, values: {level: WARN}}]}\n"
        "secrets: {dotenv: secrets.env}\n"
        "storage: {path: files}\n"
        "dataDir: theirs\n"
        f"encryption: {{secretKey: {'A' * 43}=}}\n"
        "server: {port: 1}\n"
    )
    monkeypatch.setenv("MY_NAME", "me")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_configured_counts_as_for_a_server(headrace: Headrace, flow: Write, configured: Path) -> None:
    done = headrace("run", flow(CONFIGURED), "--no-color")
    assert done.exit_code == 0, done.output
    assert re.search(r"WARN .*eu me \*{8}", done.output), done.output
    assert not [each for name in ("files", "theirs") if (each := configured / name).exists()]
    kept = headrace("run", flow(CONFIGURED), "--data-dir", configured / "data", "--quiet")
    assert kept.exit_code == 0, kept.output
    assert not (configured / "data" / "cipher.key").exists()
    assert not (configured / "data" / "storage").exists()


def test_another_configuration_may_be_named_and_is_checked(headrace: Headrace, flow: Write, configured: Path) -> None:
    (configured / "other.yaml").write_text("variables: {globals: {region: us}}\nserver: {prot: 1}\n")
    refused = headrace("run", flow(CONFIGURED), "--config", configured / "other.yaml")
    assert refused.exit_code == 2
    assert "other.yaml:2" in refused.stderr
