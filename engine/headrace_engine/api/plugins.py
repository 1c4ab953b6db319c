"""What flows may use: task, trigger, condition and task runner types, and the types of inputs (reference §14.7)."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal, NotRequired, TypedDict

from pydantic import BaseModel

from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.language import Registry
from headrace_engine.language.inputs import INPUTS
from headrace_engine.language.schema import json_schema
from headrace_engine.plugin import RunnableTask

_SCHEMAS = {"flow": "", "task": "task", "trigger": "trigger", "plugindefault": "PluginDefault", "input": "input"}
_KINDS: tuple[tuple[Literal["tasks", "triggers", "conditions", "taskRunners"], str], ...] = (
    ("tasks", "task"),
    ("triggers", "trigger"),
    ("conditions", "condition"),
    ("taskRunners", "taskRunner"),
)

_OPEN = frozenset({"task", "trigger", "condition", "taskRunner", "requiredOfTasks"})
"""What may be any of many types."""


class PluginType(TypedDict):
    """A type that a flow may name."""

    cls: str
    title: str
    deprecated: bool


class PluginGroup(TypedDict):
    """What belongs together by its name."""

    name: str
    title: str
    group: str
    subGroup: NotRequired[str]
    version: str
    aliases: list[str]
    tasks: list[PluginType]
    triggers: list[PluginType]
    conditions: list[PluginType]
    taskRunners: list[PluginType]


class PluginSchema(TypedDict):
    """What a type takes and gives, as JSON Schemas."""

    properties: dict[str, Any]
    outputs: dict[str, Any]
    definitions: dict[str, Any]


class PluginDoc(TypedDict):
    """All about a type."""

    markdown: str
    schema: PluginSchema


class InputType(TypedDict):
    """A type of input."""

    type: str
    cls: str


Classes = Mapping[str, Iterable[type[Any]]]


class Plugins:
    """Answers requests about types."""

    def __init__(self, engine: Engine) -> None:
        self._registry: Registry = engine.registry
        self._lock = threading.Lock()
        self._made: dict[str, Any] | None = None

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        groups = (Returns(200, list[PluginGroup]),)
        return (
            self._route("/plugins", self.groups, "List all types, by the group of their names", groups),
            self._route("/plugins/groups/subgroups", self.subgroups, "List all types, by group and part of it", groups),
            self._route(
                "/plugins/schemas/{type}",
                self.schema,
                "Get the JSON Schema of flows, or of a part of them, for editors",
                (Returns(200, dict[str, Any]),),
                Query("arrayOf", bool, "Whether that of a list of such."),
            ),
            self._route("/plugins/inputs", self.inputs, "List the types of inputs", (Returns(200, list[InputType]),)),
            self._route(
                "/plugins/inputs/{type}", self.input, "Get all about a type of input", (Returns(200, PluginDoc),)
            ),
            self._route(
                "/plugins/{cls}",
                self.one,
                "Get all about a type",
                (Returns(200, PluginDoc),),
                Query("all", bool, "Whether with the properties that every task has."),
            ),
        )

    def _route(self, path: str, answer: Any, summary: str, returns: tuple[Returns, ...], *query: Query) -> Route:
        refuses = (404,) if "{" in path else ()
        return Route(
            "GET",
            path,
            answer,
            role=Role.VIEWER,
            each=True,
            summary=summary,
            query=query,
            returns=returns,
            refuses=refuses,
        )

    def groups(self, _request: Request) -> Response:
        """Return the groups."""
        return json_response(self._grouped(3))

    def subgroups(self, _request: Request) -> Response:
        """Return the groups, taken apart by the next part of the name."""
        return json_response(self._grouped(4))

    def schema(self, request: Request, type: str) -> Response:  # noqa: A002  # the path's name for it
        """Return a JSON Schema."""
        if type not in _SCHEMAS:
            raise ApiError(404, f"Not Found: Schema {type}; there are {', '.join(_SCHEMAS)}")
        whole = self._schema()
        found: dict[str, Any] = whole
        if _SCHEMAS[type]:
            found = {
                "$schema": whole["$schema"],
                "$ref": f"#/definitions/{_SCHEMAS[type]}",
                "definitions": whole["definitions"],
            }
        if request.flag("arrayOf"):
            item = {name: value for name, value in found.items() if name not in ("$schema", "definitions")}
            found = {
                "$schema": whole["$schema"],
                "type": "array",
                "items": item,
                "definitions": whole["definitions"],
            }
        return json_response(found)

    def inputs(self, _request: Request) -> Response:
        """Return the types of inputs."""
        return json_response([{"type": name, "cls": _input(name)} for name in INPUTS])

    def input(self, _request: Request, type: str) -> Response:  # noqa: A002  # the path's name for it
        """Return all about a type of input."""
        if type not in INPUTS:
            raise ApiError(404, f"Not Found: Input type {type}; there are {', '.join(INPUTS)}")
        return json_response(self._doc(INPUTS[type], type, "input", everything=True))

    def one(self, request: Request, cls: str) -> Response:
        """Return all about a type, also by one of its older names."""
        for kind, classes in self._classes().items():
            for each in classes:
                if cls in (each.TYPE, *each.ALIASES):
                    return json_response(self._doc(each, each.TYPE, kind, everything=request.flag("all")))
        raise ApiError(404, f"Not Found: Plugin {cls}")

    def _classes(self) -> Classes:
        registry = self._registry
        return {
            "task": registry.tasks(),
            "trigger": registry.triggers(),
            "condition": registry.conditions(),
            "taskRunner": registry.runners(),
        }

    def _grouped(self, length: int) -> list[PluginGroup]:
        """Return the groups by the first parts of the names: so many after ``io.kestra.plugin``'s first two."""
        found: dict[str, PluginGroup] = {}
        ours = version("headrace")
        for name, kind in _KINDS:
            for each in self._classes()[kind]:
                package = each.TYPE.split(".")[:-1]
                group, whole = ".".join(package[: length + 1]), ".".join(package[:4])
                if group not in found:
                    found[group] = {
                        "name": group.rpartition(".")[2],
                        "title": group.rpartition(".")[2],
                        "group": whole,
                        "version": ours,
                        "aliases": [],
                        "tasks": [],
                        "triggers": [],
                        "conditions": [],
                        "taskRunners": [],
                    }
                    if group != whole:
                        found[group]["subGroup"] = group
                found[group][name].append(
                    {
                        "cls": each.TYPE,
                        "title": _summary(each),
                        "deprecated": getattr(each, "DEPRECATED", None) is not None,
                    }
                )
        return [found[group] for group in sorted(found)]

    def _doc(self, cls: type[BaseModel], name: str, kind: str, *, everything: bool) -> PluginDoc:
        definitions = self._schema()["definitions"]
        own = dict(_own(definitions, kind, name))
        if not everything and kind == "task":
            properties = own.get("properties", {})
            common = {f"#/definitions/{each}" for each in definitions if each.startswith("task.")}
            kept = {each: said for each, said in properties.items() if said.get("$ref") not in common}
            own["properties"] = kept
        outputs: dict[str, Any] = {}
        if issubclass(cls, RunnableTask):
            outputs = cls.Outputs.model_json_schema(by_alias=True)
        about = inspect.getdoc(cls) or ""
        return {
            "markdown": f"# {name}\n\n{about}\n",
            "schema": {"properties": own, "outputs": outputs, "definitions": _needed(own, definitions)},
        }

    def _schema(self) -> dict[str, Any]:
        with self._lock:
            if self._made is None:
                self._made = json_schema(self._registry)
            return self._made


def _own(definitions: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    """Return the definition of a type: the one that its name chooses."""
    for rule in definitions[kind].get("allOf", ()):
        if re.fullmatch(rule["if"]["properties"]["type"]["pattern"].strip("^$"), name):
            found: Mapping[str, Any] = definitions[rule["then"]["$ref"].rpartition("/")[2]]
            return found
    return {}


def _needed(schema: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions that a schema refers to, and those that these do; of any task, say, no more than that."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            reference = each.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                if name in _OPEN:
                    found[name] = {"type": "object", "description": definitions[name].get("description", "")}
                elif name not in found:
                    found[name] = definitions[name]
                    waiting.append(definitions[name])
            waiting += [value for key, value in each.items() if key != "$ref"]
    return found


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def _input(name: str) -> str:
    return f"io.kestra.core.models.flows.input.{name.title().replace('_', '')}Input"
