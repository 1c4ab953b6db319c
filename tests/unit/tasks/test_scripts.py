"""Script tasks: files in and out, what they print, how they end. Real processes, each a few milliseconds."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import OUTPUT_DIR_TOKEN, WORKING_DIR_TOKEN, CodePolicy, RunnableTask
from headrace_engine.run_context import WorkerContext
from headrace_engine.sealing import seal_text
from headrace_tasks.scripts import (
    NodeCommands,
    NodeScript,
    PythonCommands,
    PythonScript,
    ShellCommands,
    ShellScript,
)
from stand_in_docker import StandInEngine
from unit.tasks.harness import TASK_FOLDER, Bench, outputs_of

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def test_a_shell_script_and_all_its_outputs(bench: Bench) -> None:
    outputs = bench.outputs(ShellScript, {"script": "echo hello; echo oh >&2"})
    assert outputs == {
        "exitCode": 0,
        "outputFiles": {},
        "vars": {},
        "stdOutLineCount": 1,
        "stdErrLineCount": 1,
        "taskRunner": {"type": "io.kestra.plugin.core.runner.Process"},
    }
    assert sorted(bench.log_lines) == [("ERROR", "oh"), ("INFO", "hello")]


def test_standard_error_does_not_make_a_warning(bench: Bench) -> None:
    assert bench.run(ShellScript, {"script": "echo oh >&2", "warningOnStdErr": True}).state is State.SUCCESS


def test_a_command_that_fails_keeps_its_exit_code(bench: Bench) -> None:
    result = bench.run(ShellCommands, {"commands": ['echo \'::{"outputs": {"a": 1}}::\'', "exit 4"]})
    assert (result.state, result.error) == (State.FAILED, "Command failed with exit code 4")
    assert outputs_of(result)["exitCode"] == 4
    assert outputs_of(result)["vars"] == {"a": 1}


def test_the_first_failure_ends_the_task_unless_fail_fast_is_off(bench: Bench) -> None:
    commands = ["false", "echo after"]
    assert bench.run(ShellCommands, {"commands": commands}).state is State.FAILED
    assert bench.outputs(ShellCommands, {"commands": commands, "failFast": False})["stdOutLineCount"] == 1


def test_before_commands_share_the_shell(bench: Bench) -> None:
    bench.outputs(ShellCommands, {"beforeCommands": ["export A=1", "cd /"], "commands": ["echo $A $(pwd)"]})
    assert bench.log_lines == [("INFO", "1 /")]


def test_messages_to_the_platform(bench: Bench) -> None:
    script = r"""
echo '::{"outputs": {"a": 1, "b": {"c": [true, null]}}}::'
echo '::{"outputs": {"a": 2}}::' >&2
echo '::{"metrics": [{"name": "n", "type": "counter", "value": 3, "tags": {"t": 1}}, {"name": "d", "type": "timer", "value": 1.5}]}::'
echo '::{"metrics": [{"name": "g", "type": "gauge", "value": 0.5}, {"name": "bad", "value": "x"}]}::'
echo '::{"logs": [{"level": "WARNING", "message": "careful"}, {"level": "trace", "message": "fine"}]}::'
echo '::{"assets": {}}::'
echo '::{not json}::'
echo 'text ::{"outputs": {"a": 9}}::'
"""
    outputs = bench.outputs(ShellScript, {"script": script})
    assert outputs["vars"] == {"a": 2, "b": {"c": [True, None]}}
    assert outputs["stdOutLineCount"] == 7
    assert bench.points == [("counter", "n", 3.0), ("timer", "d", 1.5), ("gauge", "g", 0.5)]
    lines = bench.log_lines
    assert ("WARN", "careful") in lines
    assert ("TRACE", "fine") in lines
    assert ("INFO", "::{not json}::") in lines
    assert ("INFO", 'text ::{"outputs": {"a": 9}}::') in lines
    warnings = [message for level, message in lines if level == "WARN"]
    assert any("not valid JSON" in message for message in warnings)
    assert any("bad" in message for message in warnings)
    assert any("assets" in message for message in warnings)


def test_input_files_are_contents_or_stored_files(bench: Bench) -> None:
    bench.storage.put("kestra:///company/team/_files/conf/x.txt", b"from namespace")
    files = {
        "a.txt": "text\nof two lines",
        "sub/b.txt": bench.put("stored"),
        "c.json": {"k": [1]},
        "d.txt": "nsfile:///conf/x.txt",
        "e.txt": None,
    }
    bench.outputs(ShellScript, {"inputFiles": files, "script": "cat a.txt sub/b.txt c.json d.txt; test ! -e e.txt"})
    assert "\n".join(message for _, message in bench.log_lines) == 'text\nof two linesstored{"k": [1]}from namespace'


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/../../b", "", "a/"])
def test_input_files_stay_inside(bench: Bench, name: str) -> None:
    assert "not the name of a file inside the working directory" in bench.error(
        ShellScript, {"inputFiles": {name: "x"}, "script": "true"}
    )


def test_a_link_does_not_lead_input_files_out(bench: Bench, tmp_path: Path) -> None:
    workspace = tmp_path / "shared"
    workspace.mkdir()
    (workspace / "link").symlink_to(tmp_path)
    error = bench.error(ShellScript, {"inputFiles": {"link/x": "1"}, "script": "true"}, workspace=workspace)
    assert error == "'link/x' leads out of the working directory"


def test_stored_files_named_in_a_script_are_there(bench: Bench) -> None:
    first, second = bench.put("one", "a.csv"), bench.put("two", "b-ü.csv")
    properties = {"script": f'cat "{first}" {second}; cat {first}', "env": {"F": second}}
    properties["script"] += '; cat "$F"'
    outputs = bench.outputs(ShellScript, properties)
    assert "".join(message for _, message in bench.log_lines) == "onetwoonetwo"
    assert outputs["outputFiles"] == {}


def test_a_stored_file_that_is_missing_fails_the_task(bench: Bench) -> None:
    uri = f"{TASK_FOLDER}/missing"
    assert bench.error(ShellScript, {"script": f"cat {uri}"}) == f"The file '{uri}' does not exist"


def test_output_files_by_name_and_pattern(bench: Bench) -> None:
    properties = {
        "outputFiles": ["a.txt", "*.csv", "deep/**", "none-*"],
        "script": "mkdir -p deep/er sub; echo 1 >a.txt; echo 2 >b.csv; echo 3 >deep/c; echo 4 >deep/er/d; echo 5 >sub/e.csv",
    }
    files = bench.outputs(ShellScript, properties)["outputFiles"]
    assert list(files) == ["a.txt", "b.csv", "deep/c", "deep/er/d"]
    assert files["a.txt"] == f"{TASK_FOLDER}/a.txt"
    assert bench.read(files["deep/er/d"]) == "4\n"
    assert ("WARN", "No file matches `none-*` of outputFiles") in bench.log_lines


def test_the_output_directory_is_always_stored_and_never_matched(bench: Bench) -> None:
    script = (
        f"mkdir {OUTPUT_DIR_TOKEN}/s; echo 1 > {OUTPUT_DIR_TOKEN}/x.csv; echo 2 > $OUTPUT_DIR/s/y.csv; echo 3 > z.csv"
    )
    files = bench.outputs(ShellScript, {"script": script, "outputFiles": ["**"]})["outputFiles"]
    assert sorted(files) == ["s/y.csv", "x.csv", "z.csv"]
    assert {bench.read(uri) for uri in files.values()} == {"1\n", "2\n", "3\n"}


def test_links_out_of_the_directory_are_not_stored(bench: Bench) -> None:
    script = "ln -s /etc/hostname out.txt; ln -s /etc dir; echo x > in.txt; ln -s in.txt link.txt"
    assert list(bench.outputs(ShellScript, {"script": script, "outputFiles": ["**"]})["outputFiles"]) == [
        "in.txt",
        "link.txt",
    ]


def test_the_working_directory_by_variable_and_expression(bench: Bench) -> None:
    script = f'test "$WORKING_DIR" = "$(pwd)"; test "{WORKING_DIR_TOKEN}" = "$(pwd)"; echo "$WHERE"'
    bench.outputs(ShellScript, {"script": script, "env": {"WHERE": f"{WORKING_DIR_TOKEN}/x"}})
    assert bench.log_lines[0][1].endswith("/x")


def test_namespace_files(bench: Bench) -> None:
    for path in ("main.sh", "lib/util.sh", "data/a.csv", "data/b.csv"):
        bench.storage.put(f"kestra:///company/team/_files/{path}", path.encode())
    bench.storage.put("kestra:///other/ns/_files/main.sh", b"other")

    def listed(namespace_files: Any) -> list[str]:
        bench.logs.delete("exec1")
        bench.outputs(ShellCommands, {"namespaceFiles": namespace_files, "commands": ["find . -type f | sort"]})
        return [message.removeprefix("./") for _, message in bench.log_lines]

    assert listed({"enabled": False}) == []
    assert listed({"enabled": True}) == ["data/a.csv", "data/b.csv", "lib/util.sh", "main.sh"]
    assert listed({"include": "*.sh", "exclude": ["lib/**"]}) == ["main.sh"]
    assert listed({"exclude": ["*.csv"]}) == ["lib/util.sh", "main.sh"]
    assert listed({"namespaces": ["other.ns"], "folderPerNamespace": True}) == ["other.ns/main.sh"]


def test_namespace_files_that_exist_already(bench: Bench, tmp_path: Path) -> None:
    bench.storage.put("kestra:///company/team/_files/main.sh", b"new")
    workspace = tmp_path / "shared"
    workspace.mkdir()
    for choice, content in (("IGNORE", "old"), ("WARN", "old"), ("OVERWRITE", "new")):
        (workspace / "main.sh").write_text("old")
        properties = {"namespaceFiles": {"ifExists": choice}, "commands": ["true"]}
        bench.outputs(ShellCommands, properties, workspace=workspace)
        assert (workspace / "main.sh").read_text() == content
    properties["namespaceFiles"] = {"ifExists": "FAIL"}
    assert "exists in the working directory already" in bench.error(ShellCommands, properties, workspace=workspace)
    assert any(level == "WARN" for level, _ in bench.log_lines)


def test_commands_longer_than_the_system_takes(bench: Bench) -> None:
    script = f"echo start\nA='{'x' * 200_000}'\necho ${{#A}} $0"
    bench.outputs(ShellScript, {"script": script})
    assert [message.split()[0] for _, message in bench.log_lines] == ["start", "200000"]


def test_another_interpreter(bench: Bench) -> None:
    bench.outputs(ShellScript, {"interpreter": ["/bin/bash", "-c"], "script": "a=(1 2 3); echo ${#a[@]}"})
    assert bench.log_lines == [("INFO", "3")]
    assert bench.error(ShellScript, {"interpreter": ["no-such-shell"], "script": "x"}) == (
        "`no-such-shell` is not installed on this machine. Install it, or put the folder that has it on the PATH"
    )


def test_a_timeout_ends_the_script(bench: Bench) -> None:
    result = bench.run(ShellScript, {"script": "sleep 1000"}, job={"timeout": timedelta(milliseconds=100)})
    assert (result.state, result.error) == (
        State.FAILED,
        "TimeoutExceededException: the attempt did not end within PT0.1S",
    )
    assert outputs_of(result)["exitCode"] == 143


def test_a_kill_ends_the_script(bench: Bench) -> None:
    contexts: list[Any] = []

    class Logs(type(bench.logs)):  # type: ignore[misc]
        def append(self, *arguments: Any) -> None:
            super().append(*arguments)
            threading.Thread(target=contexts[0].stop).start()

    bench.logs = Logs()
    result = bench.run(ShellScript, {"script": "echo started; sleep 1000"}, on_context=contexts.append)
    assert (result.state, result.error) == (State.KILLED, "The attempt was stopped")


def test_secrets_reach_the_script_and_not_the_log(bench: Bench) -> None:
    script = seal_text('echo token=hush-hush; test "$P" = pass-word; echo $P', ["hush-hush"], bench.cipher)
    env = {"P": seal_text("pass-word", ["pass-word"], bench.cipher)}
    bench.outputs(ShellScript, {"script": script, "env": env})
    assert bench.log_lines == [("INFO", "token=********"), ("INFO", "********")]


def test_the_environment_is_the_workers_without_its_secrets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_X", "eA==")
    monkeypatch.setenv("HEADRACE_TOKEN", "t")
    monkeypatch.setenv("PLAIN", "kept")
    bench.outputs(ShellScript, {"script": "echo $PLAIN$SECRET_X$HEADRACE_TOKEN$MORE", "env": {"MORE": "+1"}})
    assert bench.log_lines == [("INFO", "kept+1")]


# -- Where it runs ----------------------------------------------------------------------------------


PROCESS = "io.kestra.plugin.core.runner.Process"
DOCKER = "io.kestra.plugin.scripts.runner.docker.Docker"


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"runner": "PROCESS", "containerImage": "x"},
        {"taskRunner": {"type": PROCESS}, "containerImage": "x"},
        {"taskRunner": {"type": PROCESS}, "docker": {"image": "x"}},
    ],
)
def test_what_runs_as_a_process(bench: Bench, properties: dict[str, Any]) -> None:
    """Without an image, and wherever Process is named: the image does not matter then."""
    assert bench.outputs(ShellCommands, {**properties, "commands": ["true"]})["taskRunner"] == {"type": PROCESS}


@pytest.mark.parametrize(
    ("properties", "image"),
    [
        ({"containerImage": "alpine"}, "alpine"),
        ({"docker": {"image": "alpine"}}, "alpine"),
        ({"docker": {"image": "busybox", "pullPolicy": "NEVER"}, "containerImage": "alpine"}, "alpine"),
        ({"taskRunner": {"type": DOCKER}, "containerImage": "alpine"}, "alpine"),
        ({"taskRunner": {"type": DOCKER}, "docker": {"image": "alpine"}}, "alpine"),
        ({"runner": "DOCKER"}, "ubuntu"),
        ({"taskRunner": {"type": DOCKER}}, "ubuntu"),
    ],
)
def test_what_runs_in_docker(
    bench: Bench, engine: StandInEngine, monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any], image: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    engine.images = {f"{image}:latest"}
    stored = bench.put("stored")
    given = {
        "inputFiles": {"a.txt": "content"},
        "commands": [f"cat a.txt {stored} > {OUTPUT_DIR_TOKEN}/out.txt; cat {WORKING_DIR_TOKEN}/a.txt; pwd"],
    }
    outputs = bench.outputs(ShellCommands, {**properties, **given})
    assert outputs["taskRunner"] == {"type": DOCKER, "containerImage": image}
    assert bench.read(outputs["outputFiles"]["out.txt"]) == "contentstored"
    assert [made["Image"] for made in engine.created] == [image]
    folder = engine.created[0]["WorkingDir"]
    assert bench.log_lines == [("INFO", f"content{folder}")]
    assert engine.containers == {}


def test_the_old_property_takes_all_that_the_task_runner_takes(
    bench: Bench, engine: StandInEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    docker = {"image": "alpine", "host": engine.url, "user": "1000", "memory": {"memory": "64MB"}}
    bench.outputs(ShellScript, {"docker": docker, "script": "true"})
    assert engine.created[0]["User"] == "1000"
    assert engine.created[0]["HostConfig"]["Memory"] == 64 * 1024**2


def test_without_an_engine_both_ways_out_are_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    error = bench.error(ShellScript, {"containerImage": "alpine", "script": "true"})
    assert error.startswith("There is no Docker engine at unix://")
    assert f"`taskRunner: {{type: {PROCESS}}}`" in error
    assert "`--no-docker`" in error


def test_without_docker_a_container_is_a_process_and_a_warning(bench: Bench) -> None:
    without = CodePolicy(docker=False)
    properties = {"containerImage": "alpine", "script": "echo here"}
    assert bench.outputs(ShellScript, properties, code=without)["taskRunner"] == {"type": PROCESS}
    (level, warning), line = bench.log_lines
    assert (level, line) == ("WARN", ("INFO", "here"))
    assert warning.startswith("The image `alpine` asks for a container, and Headrace was started with `--no-docker`")


@pytest.mark.parametrize(
    "kind",
    ["io.headrace.runner.ecs.Fargate", "io.kestra.plugin.ee.aws.runner.Batch", "io.kestra.plugin.aws.runner.Batch"],
)
def test_what_runs_on_aws_only_says_so(bench: Bench, kind: str) -> None:
    error = bench.error(ShellScript, {"taskRunner": {"type": kind}, "containerImage": "x", "script": "true"})
    assert "runs on a stack on AWS only" in error
    assert PROCESS in error


def test_the_lambda_runner_is_a_process_here(bench: Bench) -> None:
    properties = {"taskRunner": {"type": "io.headrace.runner.lambda.Lambda"}, "script": "true"}
    assert bench.outputs(ShellScript, properties)["taskRunner"] == properties["taskRunner"]


class Stopping:
    """A storage in the midst of whose work a stop comes."""

    def __init__(self, storage: Any, call: str) -> None:
        self._storage, self._call = storage, call
        self.stop: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            self.stop()
        return getattr(self._storage, name)


@pytest.mark.parametrize("call", ["open", "put"])
@pytest.mark.parametrize("is_docker", [False, True])
def test_a_stop_while_files_come_and_go(
    bench: Bench, engine: StandInEngine, tmp_path: Path, *, call: str, is_docker: bool
) -> None:
    """Of a stop before it begins the code sees nothing; of one after its end its result does not count."""
    stored = bench.put("stored")
    bench.storage = Stopping(bench.storage, call)  # type: ignore[assignment] # it passes on all that it is asked
    properties = {
        "inputFiles": {"in.txt": stored},
        "outputFiles": ["in.txt"],
        "script": f"touch {tmp_path}/began",
        "taskRunner": {"type": DOCKER, "host": engine.url} if is_docker else {"type": PROCESS},
        "containerImage": "alpine",
    }

    def begin(context: WorkerContext) -> None:
        bench.storage.stop = context.stop  # type: ignore[attr-defined] # as above

    result = bench.run(ShellScript, properties, on_context=begin)
    assert result.state is State.KILLED
    assert (tmp_path / "began").exists() == (call == "put")
    assert engine.containers == {}


def test_windows_is_refused_when_saved_and_when_run(bench: Bench) -> None:
    properties = {"targetOS": "WINDOWS", "commands": ["true"]}
    refusal = ShellCommands.unsupported_use(properties)
    assert refusal is not None
    assert "Windows machine" in refusal
    assert bench.error(ShellCommands, properties) == refusal


def test_scripts_are_dispatched() -> None:
    assert ShellScript.kind_of({"script": "true"}) is Kind.DISPATCHED


# -- Languages --------------------------------------------------------------------------------------


def test_the_kestra_package_works_unchanged(bench: Bench) -> None:
    pytest.importorskip("kestra")
    script = """
from kestra import Kestra
Kestra.outputs({"rows": 12, "name": "ä", "nested": {"a": [1, None]}})
Kestra.counter("count", 2, {"tag1": "i"})
Kestra.timer("took", 1.25)
Kestra.gauge("level", 0.5)
logger = Kestra.logger()
logger.info("an info")
logger.warning("a warning")
"""
    outputs = bench.outputs(PythonScript, {"script": script})
    assert outputs["vars"] == {"rows": 12, "name": "ä", "nested": {"a": [1, None]}}
    assert bench.points == [("counter", "count", 2.0), ("timer", "took", 1.25), ("gauge", "level", 0.5)]
    levels = {message.split(" - ")[-1]: level for level, message in bench.log_lines}
    assert levels == {"an info": "INFO", "a warning": "WARN"}


def test_the_kestra_package_reads_what_queries_store(bench: Bench) -> None:
    pytest.importorskip("kestra")
    uri = bench.put(
        '{"n": 1, "amount": 2.50, "day": "2024-05-01"}\n{"n": 2, "amount": null, "day": null}\n', "rows.ion"
    )
    script = f"""
from kestra import Kestra
rows = Kestra.read("{uri}")
Kestra.outputs({{"n": [row["n"] for row in rows], "amount": rows[0]["amount"], "missing": rows[1]["amount"]}})
"""
    assert bench.outputs(PythonScript, {"script": script})["vars"] == {"n": [1, 2], "amount": 2.5, "missing": None}


def test_a_python_script_reads_and_writes_files(bench: Bench) -> None:
    uri = bench.put("a,b\n1,2\n", "in.csv")
    script = f"""
import csv, helper
with open("{uri}") as source, open("{OUTPUT_DIR_TOKEN}/transformed.csv", "w") as target:
    for row in csv.DictReader(source):
        target.write(helper.line(row))
"""
    helper = "def line(row):\n    return str(int(row['a']) + int(row['b'])) + '\\n'\n"
    files = bench.outputs(PythonScript, {"script": script, "inputFiles": {"helper.py": helper}})["outputFiles"]
    assert list(files) == ["transformed.csv"]
    assert bench.read(files["transformed.csv"]) == "3\n"


def test_a_python_script_that_raises(bench: Bench) -> None:
    assert bench.error(PythonScript, {"script": "raise ValueError('oh')"}) == "Command failed with exit code 1"
    assert bench.log_lines[-2:] == [("ERROR", "ValueError: oh"), ("ERROR", "Command failed with exit code 1")]


def test_python_prints_at_once_and_runs_where_headrace_runs(bench: Bench) -> None:
    seen = threading.Event()
    marker = bench.temporary / "go"

    class Logs(type(bench.logs)):  # type: ignore[misc]
        def append(self, *arguments: Any) -> None:
            super().append(*arguments)
            marker.write_text("x")
            seen.set()

    bench.logs = Logs()
    script = f"""
import os, sys, time
print(sys.prefix)
while not os.path.exists({json.dumps(str(marker))}):
    time.sleep(0.01)
"""
    bench.outputs(PythonScript, {"script": script})
    assert seen.is_set()
    assert bench.log_lines == [("INFO", sys.prefix)]


def test_python_commands(bench: Bench) -> None:
    properties = {"inputFiles": {"main.py": "import sys; print(sys.argv[1])"}, "commands": ["python main.py 7"]}
    bench.outputs(PythonCommands, properties)
    assert bench.log_lines == [("INFO", "7")]


@needs_node
def test_node(bench: Bench) -> None:
    script = "console.log('::' + JSON.stringify({outputs: {v: 1}}) + '::'); console.error('e')"
    assert bench.outputs(NodeScript, {"script": script})["vars"] == {"v": 1}
    assert bench.log_lines == [("ERROR", "e")]
    bench.outputs(NodeCommands, {"inputFiles": {"m.js": "console.log(1 + 1)"}, "commands": ["node m.js"]})
    assert bench.log_lines[-1] == ("INFO", "2")


def test_every_attempt_has_its_own_names_in_a_shared_directory(bench: Bench, tmp_path: Path) -> None:
    workspace = tmp_path / "shared"
    workspace.mkdir()
    script = f"echo 1 > {OUTPUT_DIR_TOKEN}/x; echo 2 > kept.txt"
    first = bench.outputs(ShellScript, {"script": script}, workspace=workspace)["outputFiles"]
    second = bench.outputs(ShellScript, {"script": "cat kept.txt; ls $OUTPUT_DIR"}, workspace=workspace)
    assert list(first) == ["x"]
    assert second["outputFiles"] == {}
    assert bench.log_lines == [("INFO", "2")]


PERL = "print join(',', map { $_ * 2 } 1..3), qq(\\n); open my $f, '>', qq($ENV{OUTPUT_DIR}/x); print $f 'perl';"
GO = """package main

import ("fmt"; "os")

func main() { fmt.Println("2,4,6"); os.WriteFile(os.Getenv("OUTPUT_DIR")+"/x", []byte("go"), 0o644) }
"""


@pytest.mark.parametrize(
    ("task", "program", "script"),
    [("io.kestra.plugin.scripts.perl.Script", "perl", PERL), ("io.kestra.plugin.scripts.go.Script", "go", GO)],
)
def test_a_script_in_a_language_that_is_installed(bench: Bench, task: str, program: str, script: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    outputs = bench.outputs(runnable(task), {"script": script, "outputFiles": ["**"]})
    assert [line for level, line in bench.log_lines if level == "INFO"] == ["2,4,6"]
    assert {name: bench.read(uri) for name, uri in outputs["outputFiles"].items()} == {"x": program}


@pytest.mark.parametrize(
    ("task", "image", "call"),
    [
        ("io.kestra.plugin.scripts.r.Script", "r-base", "Rscript .headrace-run1-0.R"),
        ("io.kestra.plugin.scripts.ruby.Script", "ruby", "ruby .headrace-run1-0.rb"),
        ("io.kestra.plugin.scripts.julia.Script", "julia", "julia .headrace-run1-0.jl"),
        ("io.kestra.plugin.scripts.go.Script", "golang", "go run ./.headrace-run1-0/main.go"),
        ("io.kestra.plugin.scripts.php.Script", "php", "php .headrace-run1-0.php"),
        ("io.kestra.plugin.scripts.perl.Script", "perl", "perl .headrace-run1-0.pl"),
        ("io.kestra.plugin.scripts.lua.Script", "nickblah/lua", "lua .headrace-run1-0.lua"),
        ("io.kestra.plugin.scripts.deno.Script", "denoland/deno", "deno run ./.headrace-run1-0.ts"),
        ("io.kestra.plugin.scripts.bun.Script", "oven/bun", "bun run ./.headrace-run1-0.ts"),
        (
            "io.kestra.plugin.scripts.powershell.Script",
            "ghcr.io/kestra-io/powershell:latest",
            "pwsh -NoProfile -NonInteractive -Command $ErrorActionPreference = 'Stop'; "
            "$PSNativeCommandUseErrorActionPreference = $true\n& './.headrace-run1-0.ps1'",
        ),
        ("io.kestra.plugin.scripts.python.Script", "ghcr.io/kestra-io/kestrapy:latest", "python .headrace-run1-0.py"),
        ("io.kestra.plugin.scripts.node.Script", "node", "node .headrace-run1-0.js"),
    ],
)
def test_a_language_runs_its_program_in_its_image(
    bench: Bench,
    engine: StandInEngine,
    tmp_path: Path,
    *,
    task: str,
    image: str,
    call: str,
) -> None:
    """The program is a stand-in that says how it was called, and what lies in the file that it is to run."""
    program, *_, last = call.replace("'", "").split()
    (tmp_path / program).write_text(f'#!/bin/sh\necho "$(basename "$0") $*"; cat "{last}"\n')
    (tmp_path / program).chmod(0o755)
    engine.programs = str(tmp_path)
    engine.images = {image if ":" in image else f"{image}:latest"}
    runner = {"type": DOCKER, "host": engine.url}
    bench.outputs(runnable(task), {"taskRunner": runner, "script": f"the script {WORKING_DIR_TOKEN}"})
    folder = engine.created[0]["WorkingDir"]
    said = [("INFO", line) for line in [*call.splitlines(), f"the script {folder}"]]
    assert bench.log_lines == said


@pytest.mark.parametrize(
    "task",
    [
        "io.kestra.plugin.scripts.bun.Commands",
        "io.kestra.plugin.scripts.deno.Commands",
        "io.kestra.plugin.scripts.go.Commands",
        "io.kestra.plugin.scripts.julia.Commands",
        "io.kestra.plugin.scripts.lua.Commands",
        "io.kestra.plugin.scripts.perl.Commands",
        "io.kestra.plugin.scripts.php.Commands",
        "io.kestra.plugin.scripts.powershell.Commands",
        "io.kestra.plugin.scripts.r.Commands",
        "io.kestra.plugin.scripts.ruby.Commands",
    ],
)
def test_commands_of_a_language(bench: Bench, task: str) -> None:
    properties = {"interpreter": ["/bin/sh", "-c"], "commands": ["echo $A"], "env": {"A": "1"}}
    bench.outputs(runnable(task), properties)
    assert bench.log_lines == [("INFO", "1")]


def test_commands_of_powershell_are_handed_to_powershell(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "pwsh"
    program.write_text('#!/bin/sh\necho "$# $1 $2 $3"; echo "$4"\n')
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    commands = ["Get-Date", "./main.ps1 | Out-File x"]
    bench.outputs(runnable("io.kestra.plugin.scripts.powershell.Commands"), {"commands": commands, "env": env})
    assert [line for _, line in bench.log_lines] == [
        "4 -NoProfile -NonInteractive -Command",
        "$ErrorActionPreference = 'Stop'; $PSNativeCommandUseErrorActionPreference = $true",  # failFast
        *commands,
    ]


def runnable(name: str) -> type[RunnableTask]:
    """Return the task type of that name, as a flow finds it."""
    found = Registry.load().task(name)
    assert found is not None
    assert issubclass(found, RunnableTask)
    return found
