"""From paths to suites that can be run: found, read, and checked beside their flows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headrace_engine.language import FlowError, Problem, Registry, check
from headrace_engine.testing.flow_tests.flows import (
    AmbiguousFlowError,
    Document,
    FlowFiles,
    Holds,
    UnreadableFileError,
    documents,
    yaml_files,
)
from headrace_engine.testing.flow_tests.reader import SuiteReader
from headrace_engine.testing.flow_tests.results import SuiteResult
from headrace_engine.testing.flow_tests.running import Machine, run_cases
from headrace_engine.testing.flow_tests.stand_ins import with_stand_ins
from headrace_engine.testing.flow_tests.suite import Suite


class NoSuiteError(ValueError):
    """There is no test suite where one is looked for."""


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite that fits its flow."""

    suite: Suite
    files: FlowFiles
    registry: Registry

    def run(self, machine: Machine) -> SuiteResult:
        """Run its cases, in this process."""
        return run_cases(self.suite, self.files, self.registry, machine)


def load(paths: Sequence[Path], *, flows: Path | None = None, registry: Registry | None = None) -> list[LoadedSuite]:
    """Return the suites in *paths*: files, and folders with all YAML files below them that are suites.

    The flows they test are looked for in the folder *flows*, or around each suite (FlowFiles). Raises FlowError with
    all that is wrong with the suites and their flows; NoSuiteError, UnreadableFileError.
    """
    registry = registry or Registry.load()
    known: dict[Path, Sequence[Document]] = {}
    found: list[LoadedSuite] = []
    problems: dict[Problem, None] = {}
    for document in _suites(paths, problems):
        try:
            found.append(_loaded(document, FlowFiles(document.path, folder=flows, known=known), registry))
        except FlowError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise FlowError(problems)
    return found


def run_suite(
    path: str | Path,
    *,
    flows: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> SuiteResult:
    """Run the one suite of the file *path* and return what came of it.

    environment gives secrets and `envs`, the process's own when None; now is when the executions begin. Raises
    FlowError when the suite or its flow is not valid; NoSuiteError, UnreadableFileError.
    """
    suites = load([Path(path)], flows=Path(flows) if flows is not None else None)
    if len(suites) > 1:
        raise NoSuiteError(f"{path}: one test suite is expected here, not {len(suites)}.")
    return suites[0].run(Machine(os.environ if environment is None else environment, now=now))


def _suites(paths: Sequence[Path], problems: dict[Problem, None]) -> list[Document]:
    """Return the suites of all files, each file once; what is no YAML, though it looks like a suite, is a problem."""
    found: dict[Path, list[Document]] = {}
    for path in paths:
        is_folder = path.is_dir()
        for file in yaml_files(path) if is_folder else [path]:
            if file in found:
                continue
            try:
                found[file] = [document for document in documents(file) if document.holds is Holds.SUITE]
                is_one = is_folder or bool(found[file])
            except FlowError as error:
                problems.update(dict.fromkeys(error.problems))
                is_one = True
            except UnreadableFileError:
                if not is_folder:
                    raise
                is_one = True
            if not is_one:
                raise NoSuiteError(f"{path}: there is no test suite, a map with `flowId` and `testCases`.")
    suites = [document for in_file in found.values() for document in in_file]
    if not suites and not problems:
        raise NoSuiteError(f"There is no test suite in {', '.join(map(str, paths))}.")
    return suites


def _loaded(document: Document, files: FlowFiles, registry: Registry) -> LoadedSuite:
    reader = SuiteReader(document.source, str(document.path))
    suite = reader.read()
    try:
        flow = files.find(suite.namespace, suite.flow_id)
    except AmbiguousFlowError as error:
        raise reader.no_flow(str(error)) from None
    if flow is None:
        message = f"There is no flow `{suite.namespace}.{suite.flow_id}` in {files.where()}."
        if files.unreadable:
            message += f" These files could not be read: {', '.join(files.unreadable)}."
        raise reader.no_flow(message)
    fixtured = {fixture.task_id for case in suite.cases for fixture in case.tasks}
    registry = with_stand_ins(registry, flow.source, fixtured)
    found = check(flow.source, file=str(flow.path), registry=registry)
    if found.errors:
        raise FlowError(found.errors)
    reader.check_flow(found.flows[0])
    return LoadedSuite(suite, files, registry)
