"""examples/ci: read as YAML, and their shell run against a real server, but for what installs packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace_cli.main import cli
from local_server import LocalServer

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"
ACTION = yaml.safe_load((CI / "github" / ".github" / "actions" / "headrace" / "action.yml").read_text())
WORKFLOW = yaml.safe_load((CI / "github" / ".github" / "workflows" / "flows.yml").read_text())
GITLAB = yaml.safe_load((CI / "gitlab" / ".gitlab-ci.yml").read_text())
INSTALLS = "pip install"
FLOW = """id: x
namespace: {namespace}
tasks:
  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: {text}}}
"""


def bash(script: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as both systems do: it ends with the first command that fails."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def action(house: LocalServer, folder: Path, **given: str) -> tuple[int, dict[str, str], str]:
    """Run the action with these inputs; return its exit code, its outputs and the summary it writes."""
    inputs = {name: str(said.get("default", "")) for name, said in ACTION["inputs"].items()}
    inputs |= {"server": house.address, "token": "", **given}
    outputs, summary = folder / "outputs", folder / "summary"
    outputs.write_text("")
    summary.write_text("")
    for step in ACTION["runs"]["steps"]:
        if INSTALLS in step["run"] or ("if" in step and inputs["apply"] != "true"):
            continue
        own = {
            name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: inputs[found[1]], str(value))
            for name, value in step["env"].items()
        }
        files = {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary), "RUNNER_TEMP": str(folder)}
        done = bash(step["run"], folder, own | files)
        if done.returncode:
            return done.returncode, {}, done.stderr
    said = dict(row.split("=", 1) for row in outputs.read_text().splitlines())
    return 0, said, summary.read_text()


def gitlab(house: LocalServer, folder: Path, job: str, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {**GITLAB["variables"], "HEADRACE_SERVER": house.address, **given}
    return bash("\n".join(GITLAB[job]["script"]), folder, environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    return tmp_path


def test_the_action_plans_applies_and_says_what_it_did(house: LocalServer, folder: Path) -> None:
    file = folder / "flows" / "x.yaml"
    file.write_text(FLOW.format(namespace="ci.github", text="a"))
    code, outputs, summary = action(house, folder, apply="true")
    assert (code, outputs["changes"]) == (0, "true")
    assert summary.startswith("### Headrace plan")
    assert Path(outputs["plan"]).read_text() == summary
    code, outputs, summary = action(house, folder, delete="true")
    assert (code, outputs["changes"]) == (0, "false")
    assert "Nothing to do" in summary
    file.write_text("id: x\nnamespace: ci.github\ntasks: []\n")
    code, _, told = action(house, folder, apply="true")
    assert code == 1
    assert "x.yaml:3" in told


def test_the_jobs_of_gitlab_plan_and_apply(house: LocalServer, folder: Path) -> None:
    file = folder / "flows" / "x.yaml"
    file.write_text(FLOW.format(namespace="ci.gitlab", text="a"))
    planned = gitlab(house, folder, "headrace-plan")
    assert planned.returncode == 0, planned.stderr
    assert "create ci.gitlab.x" in planned.stdout
    assert gitlab(house, folder, "headrace-apply", FLOWS_OPTIONS="--delete").returncode == 0
    file.write_text("id: x\nnamespace: ci.gitlab\ntasks: []\n")
    assert gitlab(house, folder, "headrace-plan").returncode == 1


def scripts() -> list[str]:
    steps = [*ACTION["runs"]["steps"], *WORKFLOW["jobs"]["flows"]["steps"]]
    jobs = [job for job in GITLAB.values() if isinstance(job, dict)]
    rows = [row for job in jobs for key in ("before_script", "script") for row in job.get(key, ())]
    return [*(step["run"] for step in steps if "run" in step), *rows]


def test_every_script_is_bash_and_takes_what_others_write_as_data(folder: Path) -> None:
    found = scripts()
    assert len(found) >= 8
    for script in found:
        assert bash("bash -n /dev/stdin <<'EOF'\n" + script + "\nEOF", folder, {}).returncode == 0, script
        assert "${{" not in script, "what is put into a script can be a command: it belongs into its environment"


def test_every_option_exists_and_every_input_that_is_given(folder: Path) -> None:
    for name, option in re.findall(r"headrace (\w+) .*?(--[a-z]+)", "\n".join(scripts())):
        command: Any = cli.get_command(None, name)  # type: ignore[arg-type]
        assert option in {written for param in command.params for written in param.opts}
    uses = next(step for step in WORKFLOW["jobs"]["flows"]["steps"] if step.get("uses", "").startswith("./"))
    assert set(uses["with"]) <= set(ACTION["inputs"])
    needed = {name for name, said in ACTION["inputs"].items() if said.get("required")}
    assert needed <= set(uses["with"])
    used = set(re.findall(r"inputs\.(\w+)", str(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
