"""``headrace test``: the unit tests of flows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace_cli.errors import UNSUCCESSFUL, ProblemsError, UserError
from headrace_cli.output import Output, standard_output
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.symbols import Symbols
from headrace_cli.text import clean, count, duration

if TYPE_CHECKING:
    from headrace_engine.testing.flow_tests import CaseResult, LoadedSuite, SuiteResult


@click.command("test")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--flows",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Look for the flows in this folder only.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["pretty", "json"]),
    default="pretty",
    help="Lines for people, or JSON. [default: pretty]",
)
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the results to this file as JUnit XML, too.",
)
@click.option(
    "--no-docker", is_flag=True, help="Run what names a container image as a process of this machine, with a warning."
)
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
@click.pass_context
def command(
    context: click.Context,
    paths: Sequence[Path],
    flows: Path | None,
    output: str,
    junit: Path | None,
    *,
    no_docker: bool,
    no_color: bool,
) -> None:
    """Run the unit tests of flows.

    PATH is a test suite, or a folder (all suites below it). Each test case runs the flow in an engine of its own, in
    memory: nothing is stored, a wait takes no time, and what its fixtures name does not run. Everything else does.
    Flows are found beside the suite, in the folders below it and above it.

    \b
    Exit codes:
      0  every test case passed, or is disabled
      1  a test case failed
      2  nothing was run: a suite or the flow it tests is not valid

    \b
    Example:
      headrace test examples/tests --junit results.xml
    """
    suites = _load(paths, flows)
    to = standard_output(color=not no_color)
    results = _run(suites, to if output == "pretty" else None, docker=not no_docker)
    if output == "json":
        told = [result.as_json() for result in results]
        to.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    else:
        to.write(_summary(results))
    if junit is not None:
        _write_junit(junit, results)
    if not all(result.is_success for result in results):
        context.exit(UNSUCCESSFUL)


def _load(paths: Sequence[Path], flows: Path | None) -> list[LoadedSuite]:
    # The language takes its time to load; --help does not need it.
    from headrace_engine.language import FlowError  # noqa: PLC0415 - as above
    from headrace_engine.testing.flow_tests import NoSuiteError, UnreadableFileError, load  # noqa: PLC0415 - as above

    try:
        return load(paths, flows=flows)
    except FlowError as error:
        raise ProblemsError(error.problems) from None
    except (NoSuiteError, UnreadableFileError) as error:
        raise UserError(str(error)) from None


def _run(suites: Iterable[LoadedSuite], to: Output | None, *, docker: bool) -> list[SuiteResult]:
    from headrace_engine.plugin import CodePolicy  # noqa: PLC0415 - not needed for --help
    from headrace_engine.ports import PortError  # noqa: PLC0415 - as above
    from headrace_engine.testing.flow_tests import Machine  # noqa: PLC0415 - as above

    machine = Machine(os.environ, Path(".env"), code=replace(CodePolicy.of(os.environ), docker=docker))
    results = []
    for suite in suites:
        try:
            result = suite.run(machine)
        except PortError as error:  # .env cannot be read
            raise UserError(str(error)) from None
        if to is not None:
            to.write(_lines(result, to.symbols))
        results.append(result)
    return results


def _lines(result: SuiteResult, symbols: Symbols) -> Iterator[Line]:
    yield line(
        Span(clean(result.id), Tone.STRONG),
        f"  {result.namespace}.{clean(result.flow_id)}  ",
        Span(result.file, Tone.FAINT),
    )
    for case in result.cases:
        yield from _case_lines(result, case, symbols)
    yield ()


def _case_lines(result: SuiteResult, case: CaseResult, symbols: Symbols) -> Iterator[Line]:
    signs = {
        "SUCCESS": (symbols.done, Tone.GOOD),
        "FAILED": (symbols.failed, Tone.BAD),
        "ERROR": (symbols.failed, Tone.BAD),
        "SKIPPED": (symbols.skipped, Tone.FAINT),
    }
    sign, tone = signs[case.state.value]
    note = "disabled" if case.state == "SKIPPED" else duration(timedelta(seconds=case.seconds))
    description = f"  {clean(case.description)}" if case.description else ""
    yield line("  ", Span(sign, tone), f" {clean(case.id)}{description}  ", Span(note, Tone.FAINT))
    for row in case.lines(result.file):
        yield from (line("      ", Span(part, Tone.BAD)) for part in clean(row).split("\n"))


def _summary(results: Sequence[SuiteResult]) -> Iterator[Line]:
    from headrace_engine.testing.flow_tests import ResultState  # noqa: PLC0415 - not needed for --help

    total = {state: sum(result.count(state) for result in results) for state in ResultState}
    bad = total[ResultState.FAILED] + total[ResultState.ERROR]
    passed = f"{total[ResultState.SUCCESS]} passed"
    words = [Span(passed, Tone.PLAIN if bad else Tone.GOOD)]
    if bad:
        words.append(Span(f"{bad} failed", Tone.BAD))
    if total[ResultState.SKIPPED]:
        words.append(Span(f"{total[ResultState.SKIPPED]} disabled", Tone.FAINT))
    seconds = timedelta(seconds=sum(result.seconds for result in results))
    parts = [part for word in words for part in (", ", word)][1:]
    yield line(*parts, f" in {count(len(results), 'suite')}, ", duration(seconds))


def _write_junit(path: Path, results: Sequence[SuiteResult]) -> None:
    from headrace_engine.testing.flow_tests import junit_xml  # noqa: PLC0415 - not needed for --help

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(junit_xml(results), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from None
