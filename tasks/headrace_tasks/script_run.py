"""Carries out the plan of a script task with a task runner of this machine."""

from __future__ import annotations

from headrace_engine.plugin import RunContext
from headrace_runners.contract import Command, Plan, TaskRunner
from headrace_tasks.script_output import ScriptOutput
from headrace_tasks.task_files import collect_files, place


def carry_out(
    plan: Plan, runner: TaskRunner, context: RunContext, output: ScriptOutput, image: str = ""
) -> tuple[int, dict[str, str]]:
    """Place the plan's files in the working directory, run its command, store what it left.

    Returns the exit code and the URIs of the stored files by path; of a run that failed none is stored. *output* has
    taken every line.
    """
    directory = context.working_dir
    place(context, plan.files)
    output_directory = directory / plan.output_directory
    output_directory.mkdir(parents=True, exist_ok=True)
    exit_code = runner.run(Command(plan.argv, directory, plan.env, image), context, output.line)
    output.finish()
    if exit_code != 0:
        return exit_code, {}
    files = collect_files(context, plan.output_patterns)
    if any(output_directory.iterdir()):
        files |= collect_files(context, ["**"], output_directory)
    return exit_code, files
