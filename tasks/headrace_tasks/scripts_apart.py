"""Script tasks whose code a container runs: what it is to do, and what came of it (`headrace_engine.apart`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace_engine.apart import Ended, Errand
from headrace_engine.plugin import InlineContext, RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_runners.contract import Site, Stream
from headrace_tasks.script_base import ScriptTask
from headrace_tasks.script_output import ScriptOutput
from headrace_tasks.task_files import glob


class ScriptsApart:
    """`Carrier` of the script tasks."""

    def errand(self, task: RunnableTask, context: RunContext, directory: str) -> Errand:
        """See `Carrier.errand`."""
        script = _script(task)
        plan = script.plan(context, Site(directory))
        return Errand(
            argv=plan.argv,
            env={name: value for name, value in plan.env.items() if _is_name(name, context)},
            files=[
                (file.path, file.uri if file.uri is not None else file.content or b"", file.if_exists)
                for file in plan.files
            ],
            patterns=[(text, glob(text).pattern) for text in plan.output_patterns],
            output_directory=plan.output_directory,
        )

    def take(self, context: InlineContext, lines: Sequence[tuple[str, str, int]]) -> None:
        """See `Carrier.take`."""
        output = ScriptOutput(context)
        at = getattr(context, "at", None)
        for stream, line, milliseconds in lines:
            if at is not None:
                at(milliseconds)
            output.line(Stream.STDERR if stream == Stream.STDERR else Stream.STDOUT, line)
        output.finish()

    def outputs(self, task: RunnableTask, context: RunContext, ended: Ended) -> TaskOutputs | None:
        """See `Carrier.outputs`."""
        if ended.failure:
            raise TaskFailure(ended.failure)
        if ended.exit_code is None:
            raise TaskFailure(
                "The container was ended from outside, most likely for want of memory: ask for more in `resources`"
                if ended.started
                else "The container could not be started: its image needs /bin/sh"
            )
        for pattern in ended.unmatched:
            context.log.warn(f"No file matches `{pattern}` of outputFiles")
        output = ScriptOutput(context)
        output.outputs.update(ended.outputs)
        output.counts[Stream.STDOUT], output.counts[Stream.STDERR] = ended.counts
        return _script(task).ended(ended.exit_code, output, ended.files, context.placement)


def container_image(task_class: type[RunnableTask] | None, properties: Mapping[str, Any]) -> str:
    """Return the image that runs a script with these rendered properties: its own, or that of its language.

    Raises TaskFailure when there is none.
    """
    docker = properties.get("docker")
    named = properties.get("containerImage") or (docker.get("image") if isinstance(docker, Mapping) else None)
    default = getattr(task_class, "default_image", None)
    image = named or (default() if callable(default) else None)
    if not image:
        raise TaskFailure("The task names no image to run in: set `containerImage`")
    return str(image)


def _script(task: RunnableTask) -> ScriptTask:
    if not isinstance(task, ScriptTask):
        raise TaskFailure(f"A container cannot run `{task.TYPE}`")
    return task


def _is_name(name: str, context: RunContext) -> bool:
    """Tell whether a shell can export a variable of that name."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    if not plain:
        context.log.warn(f"The environment variable '{name}' is left out: a shell cannot pass on that name")
    return plain
