"""io.kestra.plugin.scripts: shell, Python and Node.js, as a script in the flow or as commands.

All of them take the properties of script_base.ScriptTask and give the outputs of script_base.ScriptOutputs.
"""

from __future__ import annotations

import shlex
from typing import ClassVar

from pydantic import Field

from headrace_engine.plugin import RunContext
from headrace_runners.contract import Site, TaskRunner
from headrace_tasks.python_dependencies import Manager, Wanted, Workshop, lines_in_container
from headrace_tasks.script_base import Draft, ScriptTask, SetUp


class CommandsTask(ScriptTask):
    """Base of the tasks that run commands."""

    commands: list[str] = Field(min_length=1, description="The commands, run one after the other in one shell.")

    def command_lines(self, draft: Draft) -> list[str]:
        """Return the commands as they are."""
        del draft
        return self.commands


class FileScriptTask(ScriptTask):
    """Base of the tasks whose script is written to a file and handed to a program."""

    PROGRAMS: ClassVar[tuple[str, ...]]
    """What the program is called; the first that there is."""
    SUBCOMMAND: ClassVar[str] = ""
    """What the program is told to do with the file, if it does many things."""
    FILE: ClassVar[str]
    """How the file's name ends."""

    script: str = Field(min_length=1, description="The script itself.")

    def command_lines(self, draft: Draft) -> list[str]:
        """Return the call of the program with the script's file."""
        program = shlex.quote(draft.set_up.program or draft.site.executable(self.PROGRAMS))
        file = draft.write_script(self.script, self.FILE)
        return [f"{program} {self.SUBCOMMAND} ./{file}" if self.SUBCOMMAND else f"{program} {file}"]


class _Shell(ScriptTask):
    IMAGE: ClassVar[str] = "ubuntu"


class ShellScript(_Shell):
    """Run a shell script.

    id: count
    type: io.kestra.plugin.scripts.shell.Script
    script: |
      lines=$(wc -l < "{{ outputs.download.uri }}")
      echo "::{\\"outputs\\": {\\"lines\\": $lines}}::"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.shell.Script"

    script: str = Field(min_length=1, description="The script itself.")

    def command_lines(self, draft: Draft) -> list[str]:
        """Return the script for the interpreter to run."""
        del draft
        return [self.script]


class ShellCommands(CommandsTask, _Shell):
    """Run shell commands.

    id: build
    type: io.kestra.plugin.scripts.shell.Commands
    namespaceFiles:
      enabled: true
    commands:
      - ./build.sh
    outputFiles:
      - "*.csv"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.shell.Commands"


class _PythonProperties(ScriptTask):
    """What the Python tasks take besides."""

    IMAGE: ClassVar[str] = "ghcr.io/kestra-io/kestrapy:latest"

    dependencies: list[str] = Field(
        default_factory=list,
        description="Packages to install, as in a requirements.txt: `pandas==2.2.3`. Name versions: what was installed "
        "once is used again.",
    )
    dependency_cache_enabled: bool = Field(
        default=True, description="Whether packages are kept for later runs that ask for the same."
    )
    package_manager: Manager | None = Field(
        None, description="What installs them: `UV` or `PIP`. uv where it is installed, else pip, if left out."
    )
    python_version: str | None = Field(
        None,
        pattern=r"^\d+(\.\d+){0,2}$",
        description="The version of Python, such as `3.12`: one that is installed, else one that uv installs.",
    )

    def environment(self) -> dict[str, str]:
        """Return what makes printed lines appear in the log at once."""
        return {"PYTHONUNBUFFERED": "1"}

    def setting_up(self, context: RunContext, runner: TaskRunner, site: Site) -> SetUp:
        """Have the packages and the Python here."""
        wanted = self._wanted
        if not wanted.packages and not wanted.version:
            return SetUp()
        draft = Draft(context, site)
        workshop = Workshop(runner, context, site, {**context.granted(), **draft.at(self.env)})
        provided = workshop.provide(wanted, draft.own)
        return SetUp(tuple(provided.lines()), provided.python)

    def setting_up_apart(self, draft: Draft) -> SetUp:
        """Return what installs the packages in a container."""
        wanted = self._wanted
        file = draft.write("requirements.txt", wanted.requirements) if wanted.packages else ""
        return SetUp(tuple(lines_in_container(wanted, f"{draft.site.working_dir}/{file}")))

    @property
    def _wanted(self) -> Wanted:
        return Wanted.of(
            self.dependencies, self.python_version or "", self.package_manager, is_cached=self.dependency_cache_enabled
        )


class PythonScript(FileScriptTask, _PythonProperties):
    """Run a Python script.

    The package ``kestra`` works in it as everywhere: ``Kestra.outputs({"rows": 12})`` makes ``outputs.<id>.vars.rows``.
    Files written to ``{{ outputDir }}``, and those named in ``outputFiles``, become ``outputs.<id>.outputFiles``.

        id: transform
        type: io.kestra.plugin.scripts.python.Script
        script: |
          import csv, json
          with open("{{ outputs.extract.uri }}") as lines, open("{{ outputDir }}/out.csv", "w") as out:
              rows = [json.loads(line) for line in lines]
              writer = csv.DictWriter(out, rows[0])
              writer.writeheader()
              writer.writerows(rows)
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.python.Script"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("python", "python3")
    FILE: ClassVar[str] = ".py"


class PythonCommands(CommandsTask, _PythonProperties):
    """Run commands that use Python.

    id: report
    type: io.kestra.plugin.scripts.python.Commands
    namespaceFiles:
      enabled: true
    commands:
      - python report.py --date {{ inputs.date }}
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.python.Commands"


class _Node(ScriptTask):
    IMAGE: ClassVar[str] = "node"


class NodeScript(FileScriptTask, _Node):
    """Run a Node.js script.

    id: hello
    type: io.kestra.plugin.scripts.node.Script
    script: |
      console.log("Hello from Node.js " + process.version)
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.node.Script"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("node", "nodejs")
    FILE: ClassVar[str] = ".js"


class NodeCommands(CommandsTask, _Node):
    """Run commands that use Node.js.

    id: hello
    type: io.kestra.plugin.scripts.node.Commands
    inputFiles:
      main.js: console.log("Hello")
    commands:
      - node main.js
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.node.Commands"
