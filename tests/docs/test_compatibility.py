"""docs/compatibility.md names all there is, and each of its links leads to a test that uses the name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from docs.documents import CHECKOUT, DOCS
from headrace_engine.expressions import library
from headrace_engine.expressions import registry as declared
from headrace_engine.language import Registry, known_types
from headrace_engine.language.common import RETRIES, UNSUPPORTED_TASK_PROPERTIES, TaskProperties
from headrace_engine.language.fields import fields_of
from headrace_engine.language.flow import SLAS, UNSUPPORTED_FLOW_PROPERTIES, FlowProperties
from headrace_engine.language.flowables import Flowable
from headrace_engine.language.inputs import INPUTS
from headrace_engine.language.triggers import Trigger

PAGE = (DOCS / "compatibility.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (`` .+? ``|`[^`]+`) \| (.+) \| \[([^\]]+)\]\(\.\./([^)]+)\) \|$", re.MULTILINE)
ROWS = [
    (found[1].strip("` ").replace("\\|", "|"), found[2], found[3], CHECKOUT / found[4]) for found in _ROW.finditer(PAGE)
]
NAMES = {name for name, *_ in ROWS}


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes the page."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("make_compatibility")


def test_every_line_of_a_table_is_a_row_with_a_link() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| name |")]
    assert len(lines) == len(ROWS) > 500


def test_every_type_has_a_row() -> None:
    registry = Registry.load()
    types = {name for name in registry.names() if not name.startswith("io.headrace.")}
    assert types | known_types.TASKS | known_types.RUNNERS <= NAMES | set(known_types.OLD_TASKS)


def test_every_filter_function_and_test_has_a_row() -> None:
    library.load()
    assert {*declared.FILTERS, *declared.FUNCTIONS, *declared.UNSUPPORTED, *declared.TESTS} <= NAMES


def test_every_property_has_a_row() -> None:
    expected = {*fields_of(FlowProperties), *fields_of(TaskProperties), *fields_of(Flowable), *fields_of(Trigger)}
    expected |= {f"retry.{kind}.{name}" for kind, cls in RETRIES.items() for name in _own(cls, *RETRIES.values())}
    expected |= {f"inputs[].{kind}" for kind in INPUTS} | {f"sla[].{kind}" for kind in SLAS}
    for cls in [*Registry.load().triggers(), *Registry.load().tasks()]:
        short = cls.TYPE.rpartition(".")[2]
        if cls.TYPE.startswith(("io.kestra.plugin.core.flow.", "io.kestra.plugin.core.trigger.")) and not (
            "UNSUPPORTED" in vars(cls) or short in ("Sleep", "Toggle")
        ):
            own = fields_of(cls).keys() - fields_of(Flowable).keys() - fields_of(Trigger).keys() - {"tasks"}
            expected |= {f"{short}.{name}" for name in own}
    assert expected - {"type"} <= NAMES


def _own(cls: type, *others: type) -> set[str]:
    shared = set.intersection(*(set(fields_of(other)) for other in others))
    return set(fields_of(cls)) - shared


@pytest.mark.parametrize("name", [*UNSUPPORTED_FLOW_PROPERTIES, *UNSUPPORTED_TASK_PROPERTIES])
def test_what_is_refused_says_so_in_the_words_of_the_code(name: str) -> None:
    why = {**UNSUPPORTED_FLOW_PROPERTIES, **UNSUPPORTED_TASK_PROPERTIES}[name]
    sentence = f"refused: `{name}` is not supported by this version of Headrace: {why}."
    assert sentence in [says for known, says, *_ in ROWS if known == name]


def test_every_linked_test_is_there_and_names_what_it_proves() -> None:
    assert [f"{name}: {path}" for name, _, title, path in ROWS if not _is_named(name, title, path)] == []


def _is_named(name: str, title: str, path: Path) -> bool:
    """Return whether the test is there, and the name in it."""
    text = path.read_text(encoding="utf-8")
    is_there = "/" in title or path.stem == title or f"def {title}(" in text
    return is_there and any(word in text for word in _spellings(name))


def _spellings(name: str) -> set[str]:
    """Return the last part of a name and what else it is called."""
    registry = Registry.load()
    classes = [*registry.tasks(), *registry.triggers(), *registry.conditions(), *registry.runners()]
    aliases = {alias for cls in classes if name == cls.TYPE for alias in (*cls.ALIASES, cls.__name__)}
    aliases |= {old for old, new in known_types.OLD_TASKS.items() if new == name}
    last = name.rpartition(".")[2].removesuffix("[]") if len(name) > 2 else name
    others = {"runIf": "when", "condition": "when", "pauseDuration": "delay", "maxAttempts": "maxAttempt"}
    return {last, *last.split(" "), *aliases, others.get(last, last)}


# -- The generator ------------------------------------------------------------------------------------


def test_a_row_that_no_test_uses_is_an_error(generator: ModuleType) -> None:
    row = generator.Row("Filters", "levitate", "works", (("filter", "levitate"),))
    with pytest.raises(generator.Untested, match="No test uses Filters: levitate"):
        generator.page_of([row])


def test_what_kestra_has_and_nobody_refuses_is_an_error(generator: ModuleType) -> None:
    rows = importlib.import_module("compatibility_rows")
    with pytest.raises(rows.NotRefused, match="`upper` is Kestra's and not ours"):
        rows._refused("upper", rows.refusal_of_template("{{ 'a' | upper }}"))
    assert rows.refusal_of_template("{{ 'a' | levitate }}")


def test_a_property_counts_for_what_it_stands_in(generator: ModuleType) -> None:
    scan = importlib.import_module("compatibility_scan")
    found = scan.Found()
    retry = {"type": "constant", "interval": "PT1S"}
    fail = {"id": "t", "type": "io.kestra.core.tasks.executions.Fail", "condition": "{{ 1 is odd }}", "retry": retry}
    found.anything({"id": "a", "namespace": "b", "tasks": [fail]})
    assert ("TaskProperties", "retry") in found.facts
    assert ("FlowProperties", "retry") not in found.facts
    assert {
        ("ConstantRetry", "interval"),
        ("retry", "constant"),
        ("task", "io.kestra.plugin.core.execution.Fail"),
        ("test", "odd"),
        ("operator", "is"),
    } <= found.facts


@pytest.mark.parametrize(
    ("template", "fact"),
    [
        ("{{ a | upper }}", ("filter", "upper")),
        ("{% filter upper %}x{% endfilter %}", ("filter", "upper")),
        ("{{ upper(a) }}", ("function", "upper")),
        ("{{ a is not even }}", ("test", "even")),
        ("{{ a ??? b }}", ("operator", "???")),
        ("{% set a = 1 %}", ("tag", "set")),
        ("{# nothing #}", ("tag", "{# #}")),
    ],
)
def test_what_an_expression_names(generator: ModuleType, template: str, fact: tuple[str, str]) -> None:
    found = importlib.import_module("compatibility_scan").Found()
    found.template(template)
    assert fact in found.facts


def test_an_alias_that_leads_back_to_itself_is_read_once(generator: ModuleType) -> None:
    scan = importlib.import_module("compatibility_scan")
    (document,) = scan._documents("tasks: &a\n  - *a\nid: x\n")
    found = scan.Found()
    found.anything(document)
    assert ("FlowProperties", "id") in found.facts
