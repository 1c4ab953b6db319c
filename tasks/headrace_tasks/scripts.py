"""io.kestra.plugin.scripts: shell, Python and Node.js, as a script in the flow or as commands.

All of them take the properties of script_base.ScriptTask and give the outputs of script_base.ScriptOutputs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_tasks.script_base import ScriptOutputs, ScriptTask, Workplace

_DEPENDENCIES = (
    "`{name}` is not supported by this version. Install what the script needs into the environment it runs in, "
    "or write `beforeCommands: [pip install …]`"
)


class CommandsTask(ScriptTask):
    """Base of the tasks that run commands."""

    commands: list[str] = Field(min_length=1, description="The commands, run one after the other in one shell.")

    def command_lines(self, place: Workplace) -> list[str]:
        """Return the commands as they are."""
        del place
        return self.commands


class FileScriptTask(ScriptTask):
    """Base of the tasks whose script is written to a file and handed to a program."""

    PROGRAMS: ClassVar[tuple[str, ...]]
    EXTENSION: ClassVar[str]

    script: str = Field(min_length=1, description="The script itself.")

    def command_lines(self, place: Workplace) -> list[str]:
        """Return the call of the program with the script's file."""
        return [f"{shlex.quote(place.runner.executable(self.PROGRAMS))} {place.own}{self.EXTENSION}"]

    def prepare(self, context: RunContext, place: Workplace) -> None:
        """Write the script."""
        self.write_script(context, place, self.script, self.EXTENSION)


class ShellScript(ScriptTask):
    """Run a shell script.

    id: count
    type: io.kestra.plugin.scripts.shell.Script
    script: |
      lines=$(wc -l < "{{ outputs.download.uri }}")
      echo "::{\\"outputs\\": {\\"lines\\": $lines}}::"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.shell.Script"

    script: str = Field(min_length=1, description="The script itself.")

    def command_lines(self, place: Workplace) -> list[str]:
        """Return the script for the interpreter to run."""
        del place
        return [self.script]


class ShellCommands(CommandsTask):
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

    dependencies: list[str] | None = Field(None, description="Packages to install. Not in this version.")
    dependency_cache_enabled: bool = Field(default=True, description="Only with dependencies.")
    package_manager: str | None = Field(None, description="Only with dependencies.")
    python_version: str | None = Field(None, description="The version of Python to use. Not in this version.")

    def environment(self) -> dict[str, str]:
        """Return what makes printed lines appear in the log at once."""
        return {"PYTHONUNBUFFERED": "1"}

    @classmethod
    def unsupported_use(cls, properties: Mapping[str, Any]) -> str | None:
        """Refuse what would install packages or a Python."""
        for name in ("dependencies", "pythonVersion"):
            if properties.get(name):
                return _DEPENDENCIES.format(name=name)
        return super().unsupported_use(properties)

    def run(self, context: RunContext) -> ScriptOutputs:
        """Run it, unless it asks for packages."""
        refusal = self.unsupported_use({"dependencies": self.dependencies, "pythonVersion": self.python_version})
        if refusal is not None:
            raise TaskFailure(refusal)
        return super().run(context)


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
    EXTENSION: ClassVar[str] = ".py"


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


class NodeScript(FileScriptTask):
    """Run a Node.js script.

    id: hello
    type: io.kestra.plugin.scripts.node.Script
    script: |
      console.log("Hello from Node.js " + process.version)
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.node.Script"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("node", "nodejs")
    EXTENSION: ClassVar[str] = ".js"


class NodeCommands(CommandsTask):
    """Run commands that use Node.js.

    id: hello
    type: io.kestra.plugin.scripts.node.Commands
    inputFiles:
      main.js: console.log("Hello")
    commands:
      - node main.js
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.node.Commands"
