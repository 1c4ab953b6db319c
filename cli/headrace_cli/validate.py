"""``headrace validate``: all that is wrong with flows, without running them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace_cli import flow_files
from headrace_cli.errors import REFUSED
from headrace_cli.output import standard_output
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.text import count

if TYPE_CHECKING:
    from headrace_engine.language import Problem


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one file."""

    file: str
    flows: Sequence[str]
    """The full names of the flows it holds, or of the template; empty when it is not valid."""
    errors: Sequence[Problem]
    warnings: Sequence[Problem]


@click.command("validate")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--output",
    "-o",
    type=click.Choice(["pretty", "json"]),
    default="pretty",
    help="Lines for people, or JSON. [default: pretty]",
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
@click.pass_context
def command(context: click.Context, paths: Sequence[Path], output: str, *, no_color: bool) -> None:
    """Check flows, and templates (files named *.template.yaml), without running them.

    PATH is a file, a folder (all *.yaml and *.yml files below it) or - for standard input. Each problem is told with
    file, line, column and path. Exits 0 when every flow is valid, 2 otherwise; warnings change nothing.

    \b
    Example:
      headrace validate examples/
    """
    findings = [inspect(path) for path in flow_files.find(paths, templates=True)]
    to = standard_output(color=not no_color)
    if output == "json":
        to.write_text(json.dumps([as_json(finding) for finding in findings], indent=2, ensure_ascii=False) + "\n")
    else:
        to.write(lines(findings))
    if any(finding.errors for finding in findings):
        context.exit(REFUSED)


def inspect(path: Path) -> Finding:
    """Read and check one file."""
    from headrace_engine.language import FlowError, check, parse_template  # noqa: PLC0415 - not needed for --help

    file = flow_files.label(path)
    if flow_files.is_template(path):
        try:
            template = parse_template(flow_files.read(path), file=file)
        except FlowError as error:
            return Finding(file, (), error.problems, ())
        return Finding(file, [f"{template.namespace}.{template.id}"], (), ())
    found = check(flow_files.read(path), file=file)
    return Finding(file, [f"{flow.namespace}.{flow.id}" for flow in found.flows], found.errors, found.warnings)


def lines(findings: Sequence[Finding]) -> Iterator[Line]:
    """Yield what people read: for each file OK or its problems, and a sum when there is more than one file."""
    for finding in findings:
        for problem in finding.errors:
            yield line(Span(str(problem), Tone.BAD))
        for problem in finding.warnings:
            place, _, rest = str(problem).partition(": ")
            yield line(Span(f"{place}: warning: {rest}", Tone.WARN))
        if not finding.errors:
            yield line(f"{finding.file}: ", Span("OK", Tone.GOOD), Span(f" ({', '.join(finding.flows)})", Tone.FAINT))
    if len(findings) > 1:
        bad = sum(bool(finding.errors) for finding in findings)
        valid = count(len(findings) - bad, "valid file")
        yield line(f"{valid}, {bad} invalid" if bad else valid)


def as_json(finding: Finding) -> dict[str, Any]:
    """Return what programs read."""
    return {
        "file": finding.file,
        "valid": not finding.errors,
        "flows": list(finding.flows),
        "errors": [_problem(problem) for problem in finding.errors],
        "warnings": [_problem(problem) for problem in finding.warnings],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "column": problem.column, "path": problem.path, "message": problem.message}
