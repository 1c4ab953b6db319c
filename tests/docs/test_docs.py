"""The documentation is complete, current and true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from docs.documents import CHECKOUT, DOCS, Block, anchors, blocks, links, pages
from headrace_cli.config import load as load_configuration
from headrace_cli.main import SUBCOMMANDS, cli
from headrace_engine.core.transitions import EXECUTION, TASK_RUN
from headrace_engine.expressions import Expressions, library, registry
from headrace_engine.language import Registry, check
from headrace_engine.language.common import RETRIES, TaskProperties
from headrace_engine.language.fields import fields_of
from headrace_engine.language.flow import SLAS, FlowProperties, PluginDefault
from headrace_engine.language.inputs import INPUTS, OutputProperties
from headrace_engine.language.known_types import TASKS
from headrace_engine.language.webhook_auth import AUTHS
from headrace_engine.plugin import RunnableTask
from headrace_engine.testing.flow_tests.reader import SuiteReader

REFERENCE = (DOCS / "flow-reference.md").read_text(encoding="utf-8")
EXPRESSIONS = (DOCS / "expressions.md").read_text(encoding="utf-8")
STATES = (DOCS / "states.md").read_text(encoding="utf-8")
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")

HALVES_OF_A_WORKING_DIRECTORY = "io.headrace.workingdirectory."
"""The engine's own types, which no flow names."""


def make_docs(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the generator of the docs."""
    return subprocess.run(
        [sys.executable, DOCS / "make.py", *options],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def section(page: str, title: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above; "" when there is none."""
    found: list[str] = []
    level, is_code = 0, False
    for line in page.splitlines(keepends=True):
        is_code ^= line.startswith("```")
        heading = None if is_code else re.match(r"(#+) (.*)", line)
        if heading and not level and heading[2] == title:
            level = len(heading[1])
        elif heading and level and len(heading[1]) <= level:
            break
        elif level:
            found.append(line)
    return "".join(found)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tables in *text*, headers left out."""
    found = []
    for line in text.splitlines():
        if line.startswith("| ") and line.endswith(" |"):
            found.append([cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])])
        elif line.startswith("|---"):
            found.pop()
    return found


def missing_properties(cls: type[BaseModel], text: str) -> list[str]:
    """Return the properties of *cls* that no table of *text* explains."""
    told = {row[0].strip("`") for row in rows(text)}
    return [name for name in fields_of(cls) if name not in told]


def test_the_generated_pages_are_current() -> None:
    done = make_docs("--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_every_command_and_option_is_documented_and_has_help() -> None:
    for name in SUBCOMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        text = section(CLI, f"headrace {name}")
        assert command.help
        assert "Example:" in command.help
        for option in command.params:
            assert all(f"`{written}" in text for written in option.opts if written.startswith("-")), option.name
            assert option.param_type_name == "argument" or option.help


@pytest.mark.parametrize("cls", Registry.load().tasks(), ids=lambda cls: cls.TYPE)
def test_every_task_type_is_documented_with_all_its_properties_and_outputs(cls) -> None:
    if cls.TYPE.startswith(HALVES_OF_A_WORKING_DIRECTORY):
        assert cls.TYPE not in REFERENCE
        return
    text = section(REFERENCE, cls.TYPE)
    besides = section(REFERENCE, "What every flowable has besides")
    assert missing_properties(cls, text + besides) == []
    if issubclass(cls, RunnableTask):
        assert missing_properties(cls.Outputs, text) == []
    if cls.UNSUPPORTED:
        assert f"**Not in this version**: {cls.UNSUPPORTED}" in text
    assert all(f"`{alias}`" in text for alias in cls.ALIASES)


@pytest.mark.parametrize(
    ("title", "cls"),
    [
        ("The flow", FlowProperties),
        ("What every task has", TaskProperties),
        ("Outputs", OutputProperties),
        ("Plugin defaults", PluginDefault),
        *(("Inputs", cls) for cls in INPUTS.values()),
        *(("Retry", cls) for cls in RETRIES.values()),
        *(("SLAs", cls) for cls in SLAS.values()),
        *(("Callers of a webhook", cls) for cls in AUTHS.values()),
        *((cls.TYPE, cls) for cls in Registry.load().runners() if not cls.UNSUPPORTED),
    ],
)
def test_every_property_of_the_language_is_documented(title: str, cls: type[BaseModel]) -> None:
    assert [name for name in missing_properties(cls, section(REFERENCE, title)) if name != "type"] == []


def test_every_trigger_condition_and_known_type_is_documented() -> None:
    types = Registry.load()
    for trigger in types.triggers():
        common = section(REFERENCE, "Triggers")
        assert missing_properties(trigger, section(REFERENCE, trigger.TYPE) + common) == []
    assert all(f"`{condition.TYPE}`" in REFERENCE for condition in types.conditions())
    assert all(name in REFERENCE for name in TASKS)


def test_every_filter_function_and_test_is_documented_with_an_example() -> None:
    library.load()
    for title, known in (
        ("Filters", registry.FILTERS),
        ("Functions", registry.FUNCTIONS),
        ("Tests", registry.TESTS),
    ):
        told = set()
        for name, _, example, result in rows(section(EXPRESSIONS, title).partition("Kestra has some names")[0]):
            names = [re.sub(r"\(.*", "", each) for each in re.findall(r"`([^`]+)`", name)]
            assert names[0] in example
            assert result
            told |= set(names)
        assert told == set(known), title
    assert all(f"`{name}`" in EXPRESSIONS for name in registry.UNSUPPORTED)


def examples_of_expressions() -> Iterator[tuple[str, str]]:
    """Yield each template of expressions.md and what the page says it gives."""
    for title in ("Operators", "Tests", "Tags", "Filters", "Functions"):
        for row in rows(section(EXPRESSIONS, title)):
            if len(row) < 3 or row[-1].startswith(("error: ", "*")):
                continue
            text = row[-2].strip("`").replace("⏎", "\n")
            result = "" if row[-1] == "(nothing)" else re.sub(r"^`` | ``$|^`|`$", "", row[-1])
            yield text if title == "Tags" else "{{ " + text + " }}", result.replace("⏎", "\n")


def test_the_results_in_the_tables_are_what_the_engine_gives() -> None:
    sys.path.insert(0, str(DOCS))
    try:
        import expression_examples
    finally:
        sys.path.remove(str(DOCS))
    engine = Expressions()
    found = list(examples_of_expressions())
    assert len(found) > 120
    for template, result in found:
        given = engine.render(template, expression_examples.VARIABLES, expression_examples.Outside())
        assert given.strip() == result.strip(), template


def test_operators_bind_as_the_page_says() -> None:
    engine = Expressions()
    variables = {"vars": {"stock": {}}}
    table = rows(section(EXPRESSIONS, "Binding"))
    assert len(table) >= 5
    for written, means, _ in table:
        from headrace_engine.expressions import NoHost

        once, again = (engine.render("{{ " + text.strip("`") + " }}", variables, NoHost()) for text in (written, means))
        assert once == again


def test_every_state_and_every_transition_is_in_the_page_of_states() -> None:
    for title, transitions in (("Task runs", TASK_RUN), ("Executions", EXECUTION)):
        text = section(STATES, title)
        told = {(source, target): why for source, target, why in rows(text)}
        assert told == {
            (source.value, target.value): why
            for source, targets in transitions.items()
            for target, why in targets.items()
        }
        assert all(f"    {source} --> {target}\n" in text for source, target in told)


def yaml_blocks() -> Sequence[Block]:
    """Return the YAML blocks of all pages."""
    return [block for page in pages() for block in blocks(page, "yaml")]


@pytest.mark.parametrize("block", yaml_blocks(), ids=lambda block: block.name)
def test_every_flow_and_task_in_the_pages_is_valid(block: Block, tmp_path: Path) -> None:
    found = yaml.safe_load(block.text)
    if isinstance(found, dict) and "server" in found:  # headrace.yaml
        file = tmp_path / "headrace.yaml"
        file.write_text(block.text, encoding="utf-8")
        assert load_configuration(file, {}, {}).notes == []
        return
    if isinstance(found, dict) and found.keys() & {"testCases", "fixtures"}:
        SuiteReader(block.text if "testCases" in found else as_suite(found), block.name).read()
        return
    if isinstance(found, dict) and "tasks" not in found and "type" in found:
        block = Block(block.page, block.line, "yaml", as_flow(found))
    elif isinstance(found, dict) and "taskRunner" in found and found.keys() <= {"taskRunner", "containerImage"}:
        task = {"id": "x", "type": "io.kestra.plugin.scripts.shell.Script", "script": "true", **found}
        block = Block(block.page, block.line, "yaml", as_flow(task))
    elif isinstance(found, dict) and found.keys() <= {"errors", "triggers"}:  # to be added to a flow
        only = {"id": "only", "type": "io.kestra.plugin.core.log.Log", "message": "x"}
        text = yaml.safe_dump({"id": "x", "namespace": "demo", "tasks": [only], **found})
        block = Block(block.page, block.line, "yaml", text)
    assert [str(problem) for problem in check(block.text, file=block.name).errors] == []


def as_flow(task: dict[str, object]) -> str:
    """Return a flow with nothing but this task or trigger."""
    is_trigger = Registry.load().trigger(str(task["type"])) is not None
    only = {"id": "only", "type": "io.kestra.plugin.core.log.Log", "message": "x"}
    flow = {"id": "x", "namespace": "demo", "tasks": [only if is_trigger else task]}
    return yaml.safe_dump(flow | ({"triggers": [task]} if is_trigger else {}))


def as_suite(case: dict[str, object]) -> str:
    """Return a test suite with nothing but this case."""
    return yaml.safe_dump({"id": "x", "namespace": "demo", "flowId": "x", "testCases": [{"id": "only", **case}]})


def test_links_inside_the_pages_lead_to_pages_and_headings() -> None:
    broken = []
    for page in pages():
        for target in links(page):
            name, _, anchor = target.partition("#")
            if "://" in name:
                continue
            file = page if not name else (page.parent / name).resolve()
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(CHECKOUT)}: {target}")
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = links(DOCS / "README.md")
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= set(index)
