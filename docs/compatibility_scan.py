"""What the tests name: which flow or test function mentions which property, type, filter, function, operator or tag.

Flows and pieces of flows are read as the classes of the language read them, so that a `retry` of a task is not taken
for a `retry` of a flow; expressions are read with the engine's own lexer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from headrace_engine.expressions import ExpressionError
from headrace_engine.expressions.lexer import Lexer, Token
from headrace_engine.expressions.parser import POWER
from headrace_engine.language import Registry, known_types
from headrace_engine.language.common import RETRIES, TaskProperties
from headrace_engine.language.fields import branches, fields_of, is_list, is_model, names_of
from headrace_engine.language.flow import SLAS, FlowProperties, Listener, PluginDefault
from headrace_engine.language.flowables import DagTask
from headrace_engine.language.inputs import INPUTS, OutputProperties
from headrace_engine.language.markers import Holds
from headrace_engine.language.triggers import Flow as FlowTrigger
from headrace_engine.language.webhook_auth import AUTHS

Fact = tuple[str, str]
"""A kind or the name of a class, and a name of that kind or a property of that class."""

WORD = "word"
"""The kind of a name whose owner is not known: of a key, or of an argument of a call."""

CHECKOUT = Path(__file__).resolve().parents[1]
TESTS = CHECKOUT / "tests"
EXPRESSIONS = TESTS / "unit" / "expressions"
"""Tests whose texts are expressions without braces."""

NOT_PROOFS = frozenset({"docs", "test_fuzz.py"})
"""Folders and modules of tests that go over all names there are, and so show nothing of any one of them."""


@dataclass(frozen=True, order=True)
class Place:
    """A flow file, or a test function of a module; function is "" for what a whole module shares."""

    path: str
    """Under the checkout."""
    function: str = ""


class Found:
    """Gathers the facts of one place."""

    def __init__(self) -> None:
        self.facts: set[Fact] = set()
        self._seen: dict[int, Any] = {}
        self._registry = Registry.load()

    # -- documents

    def anything(self, node: Any) -> None:
        """Read a document that may be a flow, a part of one, or a list of parts."""
        if isinstance(node, list):
            for item in node:
                self.anything(item)
        if not isinstance(node, dict):
            return
        self._expressions_in(node)
        type_ = node.get("type")
        if isinstance(type_, str) and self._typed(node, type_):
            return
        keys = {key for key in node if isinstance(key, str)}
        flow, task = keys & names_of(FlowProperties).keys(), keys & names_of(TaskProperties).keys()
        if "tasks" in keys or flow - task:
            self.model(FlowProperties, node)
        elif task:
            self.model(TaskProperties, node)
        elif keys & {"conditions", "preconditions"}:
            self.model(FlowTrigger, node)

    def _typed(self, node: dict[str, Any], type_: str) -> bool:
        """Read a map whose `type` says what it is."""
        registry = self._registry
        if registry.task(type_) is not None or registry.canonical(type_) in known_types.TASKS:
            self.task(node)
        elif registry.trigger(type_) is not None:
            self.trigger(node)
        elif registry.condition(type_) is not None:
            self.condition(node)
        elif registry.runner(type_) is not None or type_ in known_types.RUNNERS:
            self.facts.add(("runner", type_))
        elif type_ in INPUTS:
            self.chosen(INPUTS, "input", node)
        elif type_ in RETRIES:
            self.chosen(RETRIES, "retry", node)
        elif type_ in SLAS:
            self.chosen(SLAS, "SLA", node)
        else:
            return False
        return True

    def model(self, cls: type[BaseModel], node: Any) -> None:
        """Read a map as *cls*."""
        if not isinstance(node, dict):
            return
        for key, value in node.items():
            name = names_of(cls).get(str(key))
            if name is None:
                continue
            for base in cls.__mro__:
                if isinstance(base, type) and issubclass(base, BaseModel) and name in fields_of(base):
                    self.facts.add((base.__name__, name))
            self._held(cls, name, value)

    def _held(self, cls: type[BaseModel], name: str, value: Any) -> None:
        shape = fields_of(cls)[name]
        if shape.holds is None:
            self._value(shape.annotation, value)
            return
        read = self._readers[shape.holds]
        for item in _items(shape.holds, value):
            read(item)

    @property
    def _readers(self) -> Mapping[Holds, Callable[[Any], None]]:
        return {
            Holds.TASKS: self.task,
            Holds.TASK: self.task,
            Holds.TASKS_BY_CASE: self.task,
            Holds.DAG_TASKS: self._dag_task,
            Holds.CONDITIONS: self.condition,
            Holds.CONDITIONS_BY_NAME: self.condition,
            Holds.TRIGGERS: self.trigger,
            Holds.AUTH: partial(self.chosen, AUTHS, "auth"),
            Holds.INPUTS: partial(self.chosen, INPUTS, "input"),
            Holds.OUTPUTS: partial(self.model, OutputProperties),
            Holds.RETRY: partial(self.chosen, RETRIES, "retry"),
            Holds.PLUGIN_DEFAULTS: partial(self.model, PluginDefault),
            Holds.SLAS: partial(self.chosen, SLAS, "SLA"),
            Holds.LISTENERS: partial(self.model, Listener),
        }

    def _dag_task(self, node: Any) -> None:
        self.model(DagTask, node)
        self.task(node.get("task") if isinstance(node, dict) else None)

    def _value(self, annotation: Any, value: Any) -> None:
        """Read maps that classes of their own describe, and task runners."""
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            self._typed(value, value["type"])
        for branch in branches(annotation):
            if is_model(branch):
                self.model(branch, value)
            elif is_list(branch) and isinstance(value, list):
                for inner in get_args(branch):
                    for item in value:
                        self._value(inner, item)

    def task(self, node: Any) -> None:
        """Read a map as a task."""
        if not isinstance(node, dict):
            return
        self.model(TaskProperties, node)
        name = str(node.get("type"))
        self.facts.add(("task", self._registry.canonical(name)))
        cls = self._registry.task(name)
        if cls is not None:
            self.model(cls, node)

    def trigger(self, node: Any) -> None:
        """Read a map as a trigger."""
        cls = self._registry.trigger(str(node.get("type"))) if isinstance(node, dict) else None
        if cls is not None:
            self.facts.add(("trigger", cls.TYPE))
            self.model(cls, node)

    def condition(self, node: Any) -> None:
        """Read a map as a condition."""
        cls = self._registry.condition(str(node.get("type"))) if isinstance(node, dict) else None
        if cls is not None:
            self.facts.add(("condition", cls.TYPE))
            self.model(cls, node)

    def chosen(self, classes: Mapping[str, type[BaseModel]], kind: str, node: Any) -> None:
        """Read a map whose class is chosen by its `type` among *classes*."""
        cls = classes.get(str(node.get("type"))) if isinstance(node, dict) else None
        if cls is not None:
            self.facts.add((kind, str(node["type"])))
            self.model(cls, node)

    # -- expressions

    def _expressions_in(self, node: Any) -> None:
        """Read all texts below *node*, each part once: an alias may lead back to where it stands."""
        if isinstance(node, dict | list):
            if id(node) in self._seen:
                return
            self._seen[id(node)] = node
        if isinstance(node, dict):
            for key, value in node.items():
                self.template(str(key))
                self._expressions_in(value)
        elif isinstance(node, list):
            for item in node:
                self._expressions_in(item)
        elif isinstance(node, str):
            self.template(node)

    def template(self, text: str) -> None:
        """Read what a text names in its expressions."""
        if "{{" not in text and "{%" not in text and "{#" not in text:
            return
        self.facts.update(("tag", name) for name, mark in MARKS.items() if mark in text)
        try:
            pieces = Lexer(text).pieces()
        except ExpressionError:
            return
        for piece in pieces:
            if piece.kind == "raw":
                self.facts |= {("tag", name) for name in ("raw", "verbatim") if f"% {name} " in text}
            if piece.kind == "tag":
                self.facts.add(("tag", piece.tokens[0].value))
            self._tokens(piece.tokens)

    def _tokens(self, tokens: tuple[Token, ...]) -> None:
        before = [Token("end", "", 0, 0), *tokens]
        for number, token in enumerate(tokens):
            last, after = before[number].value, tokens[number + 1].value if number + 1 < len(tokens) else ""
            if token.kind in ("symbol", "name") and token.value in OPERATORS:
                self.facts.add(("operator", token.value))
            if token.kind != "name":
                continue
            if last == "|" or (last == "filter" and number == 1):
                self.facts.add(("filter", token.value))
            elif last == "is" or (last == "not" and number > 1 and tokens[number - 2].value == "is"):
                self.facts.add(("test", token.value))
            elif after == "(" and last != ".":
                self.facts.add(("function", token.value))


def _items(holds: Holds, value: Any) -> list[Any]:
    """Return the maps in the value of a property."""
    if holds in (Holds.TASK, Holds.RETRY, Holds.AUTH):
        return [value]
    if isinstance(value, dict):
        return [item for each in value.values() for item in (each if isinstance(each, list) else [each])]
    return value if isinstance(value, list) else []


MARKS: Mapping[str, str] = {"{# #}": "{#", "{{- -}}": "{{-"}
"""What is no tag by name, and how it is recognised."""

OPERATORS = frozenset({*POWER, "not", "?", "[", "{", "."})


# -- Files --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def facts_of_tests() -> dict[Place, set[Fact]]:
    """Return what every flow of the corpus and every test function names."""
    found: dict[Place, set[Fact]] = {}
    for path in sorted(TESTS.rglob("*.yaml")):
        facts = Found()
        for document in _documents(path.read_text(encoding="utf-8").partition("\n---\n")[0]):
            facts.anything(document)
        found[Place(_name(path))] = facts.facts
    for path in sorted(TESTS.rglob("test_*.py")):
        if NOT_PROOFS.isdisjoint(path.relative_to(TESTS).parts):
            found.update(_Module(path).facts())
    return found


def _name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def _documents(text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return []


_KEY = re.compile(r"(?<![\w.])([A-Za-z]\w*):(?=\s|$)")
_FIRST_WORD = re.compile(r"(\w+)(?:,|$)")
_MAY_BE_A_FLOW = re.compile(r"[\w\"']:(\s|$)")


@dataclass
class _Module:
    """A module of tests, read without running it."""

    path: Path
    constants: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    """Names of imported classes of the task library, and their types."""

    def facts(self) -> Iterator[tuple[Place, set[Fact]]]:
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("headrace_tasks"):
                imported = {alias.name: alias.asname or alias.name for alias in statement.names}
                for cls in Registry.load().tasks():
                    if cls.__name__ in imported and cls.__module__.startswith(str(statement.module)):
                        self.classes[imported[cls.__name__]] = cls.TYPE
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                text = self._text(statement.value)
                if text is not None:
                    self.constants[statement.targets[0].id] = text
        rest: list[str] = []
        for statement in tree.body:
            texts = list(self._texts(statement))
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                yield Place(_name(self.path), statement.name), self._read(texts) | self._named(statement)
            else:
                rest += texts
        yield Place(_name(self.path)), self._read(rest)

    def _named(self, function: ast.FunctionDef) -> set[Fact]:
        """Return what the code itself names: classes of tasks, arguments, keys."""
        found: set[Fact] = set()
        for node in ast.walk(function):
            match node:
                case ast.Name(id=name) if name in self.classes:
                    found.add(("task", self.classes[name]))
                case ast.keyword(arg=str() as name):
                    found.add((WORD, name))
                case ast.Dict(keys=keys):
                    found |= {(WORD, str(key.value)) for key in keys if isinstance(key, ast.Constant)}
                case _:
                    pass
        return found

    def _read(self, texts: Iterable[str]) -> set[Fact]:
        facts = Found()
        for text in dict.fromkeys(texts):
            facts.template(text)
            if self.path.is_relative_to(EXPRESSIONS):
                facts.template("{{ " + text + " }}")
            if text.startswith("io.kestra.") and " " not in text:
                facts.anything({"type": text})
            facts.facts |= {(WORD, key) for key in _KEY.findall(text)}
            facts.facts |= self._short(text)
            if _MAY_BE_A_FLOW.search(text):
                for document in _documents(text):
                    facts.anything(document)
        return facts.facts

    def _short(self, text: str) -> set[Fact]:
        """Return what a text names by its last word: a condition, or the type of an input."""
        first = _FIRST_WORD.match(text)
        if first is None:
            return set()
        conditions = (cls.TYPE for cls in Registry.load().conditions())
        found = {("condition", type_) for type_ in conditions if type_.rpartition(".")[2] == first[1]}
        if text in INPUTS and "inputs" in self.path.parts:
            found.add(("input", text))
        return found

    def _texts(self, node: ast.AST) -> Iterator[str]:
        """Yield the texts in a piece of code, those put together from parts as a whole, too."""
        for child in ast.walk(node):
            if isinstance(child, ast.expr) and (text := self._text(child)) is not None:
                yield text

    def _text(self, node: ast.expr) -> str | None:
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id=name):
                return self.constants.get(name)
            case ast.JoinedStr(values=parts):
                return "".join(self._text(part) or "x" for part in parts)
            case ast.FormattedValue(value=value):
                return self._text(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                both = self._text(left), self._text(right)
                return "".join(part or "x" for part in both) if any(both) else None
            case ast.BinOp(left=left, op=ast.Mod()):
                template = self._text(left)
                return None if template is None else re.sub(r"%[sdr]", "x", template)
            case ast.Call(func=ast.Attribute(value=value, attr="format")):
                template = self._text(value)
                return None if template is None else _formatted(template)
            case _:
                return None


def _formatted(text: str) -> str:
    """Return what `str.format` makes of a text, with "x" for every value."""
    return re.sub(r"(?<!\{)\{\w*\}(?!\})", "x", text).replace("{{", "{").replace("}}", "}")
