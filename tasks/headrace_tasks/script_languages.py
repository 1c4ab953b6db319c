"""io.kestra.plugin.scripts: the languages beside shell, Python and Node.js, as a script in the flow or as commands.

All of them take the properties of script_base.ScriptTask and give the outputs of script_base.ScriptOutputs. Their
programs are those of the image, or those installed where a process runs.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from headrace_tasks.script_base import Draft, ScriptTask
from headrace_tasks.scripts import CommandsTask, FileScriptTask


class RScript(FileScriptTask):
    """Run an R script.

    id: hello
    type: io.kestra.plugin.scripts.r.Script
    script: |
      cat("Hello from R\\n")
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.r.Script"
    IMAGE: ClassVar[str] = "r-base"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("Rscript",)
    FILE: ClassVar[str] = ".R"


class RCommands(CommandsTask):
    """Run commands that use R.

    id: hello
    type: io.kestra.plugin.scripts.r.Commands
    inputFiles:
      main.R: 'cat("Hello")'
    commands:
      - Rscript main.R
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.r.Commands"
    IMAGE: ClassVar[str] = RScript.IMAGE


class RubyScript(FileScriptTask):
    """Run a Ruby script.

    id: hello
    type: io.kestra.plugin.scripts.ruby.Script
    script: |
      puts "Hello from Ruby #{RUBY_VERSION}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.ruby.Script"
    IMAGE: ClassVar[str] = "ruby"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("ruby",)
    FILE: ClassVar[str] = ".rb"


class RubyCommands(CommandsTask):
    """Run commands that use Ruby.

    id: hello
    type: io.kestra.plugin.scripts.ruby.Commands
    inputFiles:
      main.rb: 'puts "Hello"'
    commands:
      - ruby main.rb
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.ruby.Commands"
    IMAGE: ClassVar[str] = RubyScript.IMAGE


class JuliaScript(FileScriptTask):
    """Run a Julia script.

    id: hello
    type: io.kestra.plugin.scripts.julia.Script
    script: |
      println("Hello from Julia ", VERSION)
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.julia.Script"
    IMAGE: ClassVar[str] = "julia"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("julia",)
    FILE: ClassVar[str] = ".jl"


class JuliaCommands(CommandsTask):
    """Run commands that use Julia.

    id: hello
    type: io.kestra.plugin.scripts.julia.Commands
    inputFiles:
      main.jl: 'println("Hello")'
    commands:
      - julia main.jl
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.julia.Commands"
    IMAGE: ClassVar[str] = JuliaScript.IMAGE


class GoScript(FileScriptTask):
    """Run a Go program.

    id: hello
    type: io.kestra.plugin.scripts.go.Script
    script: |
      package main

      import "fmt"

      func main() { fmt.Println("Hello from Go") }
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.go.Script"
    IMAGE: ClassVar[str] = "golang"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("go",)
    SUBCOMMAND: ClassVar[str] = "run"
    FILE: ClassVar[str] = "/main.go"


class GoCommands(CommandsTask):
    """Run commands that use Go.

    id: hello
    type: io.kestra.plugin.scripts.go.Commands
    inputFiles:
      main.go: 'package main; func main() { println("Hello") }'
    commands:
      - go run main.go
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.go.Commands"
    IMAGE: ClassVar[str] = GoScript.IMAGE


class PhpScript(FileScriptTask):
    """Run a PHP script.

    id: hello
    type: io.kestra.plugin.scripts.php.Script
    script: |
      <?php echo "Hello from PHP " . PHP_VERSION . "\\n";
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.php.Script"
    IMAGE: ClassVar[str] = "php"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("php",)
    FILE: ClassVar[str] = ".php"


class PhpCommands(CommandsTask):
    """Run commands that use PHP.

    id: hello
    type: io.kestra.plugin.scripts.php.Commands
    inputFiles:
      main.php: '<?php echo "Hello";'
    commands:
      - php main.php
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.php.Commands"
    IMAGE: ClassVar[str] = PhpScript.IMAGE


class PerlScript(FileScriptTask):
    """Run a Perl script.

    id: hello
    type: io.kestra.plugin.scripts.perl.Script
    script: |
      print "Hello from Perl $^V\\n";
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.perl.Script"
    IMAGE: ClassVar[str] = "perl"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("perl",)
    FILE: ClassVar[str] = ".pl"


class PerlCommands(CommandsTask):
    """Run commands that use Perl.

    id: hello
    type: io.kestra.plugin.scripts.perl.Commands
    inputFiles:
      main.pl: 'print "Hello"'
    commands:
      - perl main.pl
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.perl.Commands"
    IMAGE: ClassVar[str] = PerlScript.IMAGE


class LuaScript(FileScriptTask):
    """Run a Lua script.

    id: hello
    type: io.kestra.plugin.scripts.lua.Script
    script: |
      print("Hello from " .. _VERSION)
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.lua.Script"
    IMAGE: ClassVar[str] = "nickblah/lua"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("lua",)
    FILE: ClassVar[str] = ".lua"


class LuaCommands(CommandsTask):
    """Run commands that use Lua.

    id: hello
    type: io.kestra.plugin.scripts.lua.Commands
    inputFiles:
      main.lua: 'print("Hello")'
    commands:
      - lua main.lua
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.lua.Commands"
    IMAGE: ClassVar[str] = LuaScript.IMAGE


class DenoScript(FileScriptTask):
    """Run a TypeScript or JavaScript program with Deno.

    id: hello
    type: io.kestra.plugin.scripts.deno.Script
    script: |
      console.log("Hello from Deno", Deno.version.deno);
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.deno.Script"
    IMAGE: ClassVar[str] = "denoland/deno"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("deno",)
    SUBCOMMAND: ClassVar[str] = "run"
    FILE: ClassVar[str] = ".ts"


class DenoCommands(CommandsTask):
    """Run commands that use Deno.

    id: hello
    type: io.kestra.plugin.scripts.deno.Commands
    inputFiles:
      main.ts: 'console.log("Hello")'
    commands:
      - deno run main.ts
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.deno.Commands"
    IMAGE: ClassVar[str] = DenoScript.IMAGE


class BunScript(FileScriptTask):
    """Run a TypeScript or JavaScript program with Bun.

    id: hello
    type: io.kestra.plugin.scripts.bun.Script
    script: |
      console.log("Hello from Bun", Bun.version);
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.bun.Script"
    IMAGE: ClassVar[str] = "oven/bun"
    PROGRAMS: ClassVar[tuple[str, ...]] = ("bun",)
    SUBCOMMAND: ClassVar[str] = "run"
    FILE: ClassVar[str] = ".ts"


class BunCommands(CommandsTask):
    """Run commands that use Bun.

    id: hello
    type: io.kestra.plugin.scripts.bun.Commands
    inputFiles:
      main.ts: 'console.log("Hello")'
    commands:
      - bun run main.ts
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.bun.Commands"
    IMAGE: ClassVar[str] = BunScript.IMAGE


class _PowerShell(ScriptTask):
    IMAGE: ClassVar[str] = "ghcr.io/kestra-io/powershell:latest"

    interpreter: list[str] = Field(
        default_factory=lambda: ["pwsh", "-NoProfile", "-NonInteractive", "-Command"],
        min_length=1,
        description="What the commands are handed to.",
    )


class PowerShellScript(_PowerShell):
    """Run a PowerShell script.

    id: hello
    type: io.kestra.plugin.scripts.powershell.Script
    script: |
      Write-Output "Hello from PowerShell $($PSVersionTable.PSVersion)"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.powershell.Script"

    script: str = Field(min_length=1, description="The script itself.")

    def command_lines(self, draft: Draft) -> list[str]:
        """Return the call of the script's file."""
        return [f"& './{draft.write_script(self.script, '.ps1')}'"]


class PowerShellCommands(_PowerShell, CommandsTask):
    """Run PowerShell commands.

    id: hello
    type: io.kestra.plugin.scripts.powershell.Commands
    inputFiles:
      main.ps1: Write-Output "Hello"
    commands:
      - ./main.ps1
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.powershell.Commands"
