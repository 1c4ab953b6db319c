"""What a process imports, and when: a cold start pays for every module, a flow only for the types that it names."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pkgutil import walk_packages

import pytest

import headrace_runners
import headrace_tasks
from headrace_engine.language import DuplicateType, Registry
from headrace_engine.plugin import Task, TaskRunnerProperties

TASK_MODULES = frozenset(headrace_tasks.HEADRACE_TYPES)
NOT_NEEDED = frozenset(
    (
        *("amazon.ion", "babel", "boto3", "dateutil", "duckdb", "holidays", "httpx", "jq", "psycopg", "re2"),
        *("click", "rich", "headrace_cli"),
        *("asyncio", "multiprocessing", "sqlite3", "ssl", "subprocess", "tarfile", "unittest", "xml"),
        *("headrace_engine.adapters.local.database", "headrace_engine.api", "headrace_engine.testing"),
        *("headrace_engine.inputs.json_schema", "headrace_engine.language.inputs", "headrace_engine.language.schema"),
        *("headrace_engine.language.triggers", "headrace_engine.language.conditions"),
        *("headrace_engine.schedules", "headrace_engine.core.schedule", "headrace_engine.polling"),
        *("headrace_engine.flow_triggers", "headrace_engine.event_triggers", "headrace_engine.retention"),
    )
)
"""What a task, a filter, an input or a trigger asks for, and many flows never; what belongs elsewhere."""


def loaded(program: str) -> frozenset[str]:
    """Return the modules that a new process has loaded once it has run *program*."""
    told = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(told.stdout.split())


def test_the_executor_function_loads_no_task_and_nothing_that_few_flows_need() -> None:
    modules = loaded("import headrace_functions.executor")
    assert "headrace_engine.executor" in modules
    assert not modules & (TASK_MODULES | NOT_NEEDED)


@pytest.mark.parametrize("function", ["executor", "worker", "script", "triggers", "api"])
def test_a_function_hardly_looks_for_garbage_while_it_is_imported(function: str) -> None:
    count = "sum(generation['collections'] for generation in gc.get_stats())"
    program = f"import gc\nbefore = {count}\nimport headrace_functions.{function}\nprint({count} - before)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(told.stdout) <= 1  # the largest functions come to the threshold once


def test_a_flow_loads_the_tasks_that_it_names_and_no_others() -> None:
    flow = "{id: a, namespace: b, tasks: [{id: t, type: io.kestra.core.tasks.debugs.Return, format: x}]}"
    modules = loaded(
        "import headrace_functions.executor\n"
        "from headrace_engine.language import Registry, parse_flow\n"
        f"parse_flow({flow!r}, registry=Registry.load())"
    )
    assert modules & TASK_MODULES == {"headrace_tasks.debug"}
    assert not modules & NOT_NEEDED


def test_the_command_line_tells_its_version_without_the_engine() -> None:
    modules = loaded("from headrace_cli.main import cli; cli(['--version'], standalone_mode=False)")
    assert "headrace_cli.main" in modules
    assert not [name for name in modules if name.startswith(("headrace_engine", "headrace_tasks"))]


def test_the_task_library_lists_every_type_under_all_its_names() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for package in (headrace_tasks, headrace_runners):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            for cls in vars(import_module(module.name)).values():
                is_type = isinstance(cls, type) and issubclass(cls, Task | TaskRunnerProperties) and "TYPE" in vars(cls)
                if is_type and cls.__module__ == module.name:
                    found[module.name] |= {cls.TYPE, *cls.ALIASES}
    assert {module: set(names) for module, names in headrace_tasks.HEADRACE_TYPES.items()} == found


def test_a_registry_knows_a_listed_type_by_any_name_without_being_asked_for_all() -> None:
    for module, names in headrace_tasks.HEADRACE_TYPES.items():
        for name in names:
            registry = Registry()
            registry.add_package("headrace_tasks")
            cls = registry.task(name) or registry.runner(name)
            assert cls is not None, name
            assert cls.__module__ == module
            assert registry.canonical(name) == cls.TYPE


def package(tmp_path, monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> str:
    """Make a package of a third party importable; return its name."""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return name


SHOUT = """
from typing import ClassVar
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunnableTask

class Shout(RunnableTask):
    TYPE: ClassVar[str] = "com.example.Shout"
    ALIASES: ClassVar[tuple[str, ...]] = ("com.example.Cry",)
    KIND: ClassVar[Kind] = Kind.INLINE
"""


def test_a_package_that_lists_nothing_is_imported_when_nobody_else_has_the_type(tmp_path, monkeypatch) -> None:
    registry = Registry()
    registry.add_package("headrace_tasks")
    registry.expect_package(package(tmp_path, monkeypatch, "shouting_whole", SHOUT))
    assert registry.task("io.kestra.plugin.core.log.Log") is not None
    assert "shouting_whole" not in sys.modules
    found = registry.task("com.example.Cry")
    assert found is not None
    assert found.TYPE == "com.example.Shout"
    assert "com.example.Shout" in registry.names()


def test_a_package_may_list_where_its_types_are(tmp_path, monkeypatch) -> None:
    package(tmp_path, monkeypatch, "shouting_inside", SHOUT)
    listing = 'HEADRACE_TYPES = {"shouting_inside": ("com.example.Shout", "com.example.Cry")}'
    registry = Registry()
    registry.expect_package(package(tmp_path, monkeypatch, "shouting_listed", listing))
    assert registry.task("com.example.Unknown") is None
    assert "shouting_listed" in sys.modules
    assert "shouting_inside" not in sys.modules
    assert registry.canonical("com.example.Cry") == "com.example.Shout"
    assert "com.example.Shout" in [cls.TYPE for cls in registry.tasks()]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("claiming_by_list", 'HEADRACE_TYPES = {"elsewhere": ("io.kestra.plugin.core.log.Log",)}'),
        ("claiming_by_class", SHOUT.replace("com.example.Cry", "io.kestra.plugin.core.log.Log")),
    ],
)
def test_a_package_that_claims_a_listed_type_is_refused(tmp_path, monkeypatch, name: str, source: str) -> None:
    registry = Registry()
    registry.add_package("headrace_tasks")
    registry.expect_package(package(tmp_path, monkeypatch, name, source))
    with pytest.raises(DuplicateType, match=r"`io.kestra.plugin.core.log.Log` is claimed by headrace_tasks.log and"):
        registry.tasks()
    assert registry.task("io.kestra.plugin.core.log.Log") is not None


def test_a_package_may_list_some_types_and_bring_others(tmp_path, monkeypatch) -> None:
    registry = Registry()
    both = f'HEADRACE_TYPES = {{"elsewhere": ("com.example.Whisper",)}}\n{SHOUT}'
    registry.expect_package(package(tmp_path, monkeypatch, "shouting_both", both))
    assert registry.task("com.example.Shout") is not None
    assert "elsewhere" not in sys.modules


def test_a_package_that_cannot_be_imported_says_so_when_it_may_have_the_type(tmp_path, monkeypatch) -> None:
    registry = Registry()
    registry.add_package("headrace_tasks")
    registry.expect_package(package(tmp_path, monkeypatch, "broken_plugin", "import nowhere_to_be_found"))
    assert registry.task("io.kestra.plugin.core.log.Log") is not None
    for _ in range(2):
        with pytest.raises(ImportError, match="nowhere_to_be_found"):
            registry.task("com.example.Shout")
