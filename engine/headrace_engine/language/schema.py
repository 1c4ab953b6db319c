"""The JSON Schema of the flow language, for editors: draft-07, which VS Code's YAML extension reads best.

Everything comes from the classes: descriptions, defaults, enumerations, constraints. What is chosen by its
``type`` (a task, an input, …) is an ``if``/``then`` for each type, so that an editor proposes and checks the
properties of that very type, and its errors speak of that type alone. A property that is rendered takes its
type or a text with an expression.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headrace_engine.language import known_types
from headrace_engine.language.common import RETRIES, TaskProperties
from headrace_engine.language.fields import FieldShape, branches, choices, fields_of, is_model, is_runner
from headrace_engine.language.flow import SLAS, FlowProperties, Listener, PluginDefault
from headrace_engine.language.flowables import DagTask
from headrace_engine.language.inputs import INPUTS, OutputProperties
from headrace_engine.language.markers import NEW_NAMES, Holds, Verbatim
from headrace_engine.language.registry import Registry
from headrace_engine.language.webhook_auth import AUTHS
from headrace_engine.plugin import Rendering

Schema = dict[str, Any]

_DURATION = r"^[+-]?P(?=.)(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+([.,]\d{1,9})?S)?)?$"
_EXPRESSION: Schema = {"$ref": "#/definitions/expression"}
_TEXT_TYPES = ["string", "number", "boolean"]


def json_schema(registry: Registry | None = None) -> Schema:
    """Return the JSON Schema of a flow, with the types of *registry* (of everything installed when None)."""
    return _Builder(registry if registry is not None else Registry.load()).build()


def _reference(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _list_of(name: str) -> Schema:
    return {"type": "array", "items": _reference(name)}


_HELD: Mapping[Holds, Schema] = {
    Holds.TASKS: _list_of("task"),
    Holds.TASK: _reference("task"),
    Holds.TASKS_BY_CASE: {"type": "object", "additionalProperties": _list_of("task")},
    Holds.DAG_TASKS: _list_of("DagTask"),
    Holds.CONDITIONS: _list_of("condition"),
    Holds.CONDITIONS_BY_NAME: {"type": "object", "additionalProperties": _reference("condition")},
    Holds.TRIGGERS: _list_of("trigger"),
    Holds.INPUTS: _list_of("input"),
    Holds.OUTPUTS: _list_of("OutputProperties"),
    Holds.RETRY: _reference("retry"),
    Holds.SLAS: _list_of("sla"),
    Holds.PLUGIN_DEFAULTS: _list_of("PluginDefault"),
    Holds.LISTENERS: _list_of("Listener"),
    Holds.AUTH: _reference("auth"),
}


_REQUIRED_OF_TASKS = _reference("requiredOfTasks")
_BELOW: Schema = {
    "^(tasks|errors|finally|afterExecution|then|else|defaults|onWait|onApprove|onDeny)$": {"items": _REQUIRED_OF_TASKS},
    "^(task|onPause)$": _REQUIRED_OF_TASKS,
    "^cases$": {"additionalProperties": {"items": _REQUIRED_OF_TASKS}},
}
"""Where tasks stand in a task; patterns, since editors would propose ``properties`` for every task."""
_REQUIRED_UNLESS_DEFAULTS: Schema = {
    "if": {"anyOf": [{"required": ["pluginDefaults"]}, {"required": ["taskDefaults"]}]},
    "then": {},
    "else": {"patternProperties": {"^(tasks|errors|finally|afterExecution)$": {"items": _REQUIRED_OF_TASKS}}},
}
"""What a type of task requires may come from pluginDefaults: it is asked for only in flows that have none."""


class _Builder:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._definitions: Schema = {}
        self._names: dict[type[BaseModel], str] = {}

    def build(self) -> Schema:
        registry = self._registry
        typed: list[type[BaseModel]] = [
            *registry.tasks(),
            *registry.triggers(),
            *registry.conditions(),
            *registry.runners(),
            *RETRIES.values(),
            *INPUTS.values(),
            *SLAS.values(),
            *AUTHS.values(),
        ]
        plain: list[type[BaseModel]] = [
            FlowProperties,
            TaskProperties,
            DagTask,
            PluginDefault,
            Listener,
            OutputProperties,
        ]
        self._generate([*plain, *typed])
        self._add_tasks()
        self._add_kind("trigger", {cls: (cls.TYPE, *cls.ALIASES) for cls in registry.triggers()})
        self._add_kind("condition", {cls: (cls.TYPE, *cls.ALIASES) for cls in registry.conditions()})
        self._add_kind(
            "taskRunner",
            {cls: (cls.TYPE, *cls.ALIASES) for cls in registry.runners()},
            also=known_types.RUNNERS,
        )
        self._add_kind("retry", {cls: (name,) for name, cls in RETRIES.items()})
        self._add_kind("input", {cls: (name,) for name, cls in INPUTS.items()})
        self._add_kind("sla", {cls: (name,) for name, cls in SLAS.items()})
        self._add_kind("auth", {cls: (name,) for name, cls in AUTHS.items()})
        self._definitions["expression"] = {
            "type": "string",
            "pattern": r"\{\{|\{%|\{#",
            "description": "An expression, such as `{{ inputs.message }}`.",
        }
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Headrace flow",
            **self._definitions.pop(self._names[FlowProperties]),
            **_REQUIRED_UNLESS_DEFAULTS,
            "definitions": dict(sorted(self._definitions.items())),
        }

    # -- from pydantic's schema to ours

    def _generate(self, roots: Iterable[type[BaseModel]]) -> None:
        classes = _with_nested(roots)
        references, generated = models_json_schema(
            [(cls, "validation") for cls in classes], ref_template="#/definitions/{model}"
        )
        self._definitions = generated["$defs"]
        for (cls, _), reference in references.items():
            self._names[cls] = str(reference["$ref"]).rpartition("/")[2]  # type: ignore[index]  # keys are classes
        for cls in classes:
            self._enrich(cls, self._definitions[self._names[cls]])

    def _enrich(self, cls: type[BaseModel], definition: Schema) -> None:
        definition.pop("title", None)
        properties: Schema = definition.get("properties", {})
        required: list[str] = definition.get("required", [])
        for name, shape in fields_of(cls).items():
            properties[name] = self._property(shape, properties[name])
            for other in shape.other_names:
                properties[other] = _second_name(name, other)
            if shape.other_names and name in required:
                required.remove(name)
                names = (name, *shape.other_names)
                definition.setdefault("allOf", []).append({"anyOf": [{"required": [one]} for one in names]})
        if definition.get("required") == []:
            del definition["required"]

    def _property(self, shape: FieldShape, generated: Schema) -> Schema:
        about: Schema = {key: generated[key] for key in ("description", "default", "deprecated") if key in generated}
        if about.get("default", ...) is None:
            del about["default"]
        if shape.deprecated is not None:
            about |= {"deprecated": True, "deprecationMessage": shape.deprecated}
        rest = {key: value for key, value in generated.items() if key not in ("description", "default", "deprecated")}
        if shape.holds is not None:
            body = dict(_HELD[shape.holds])
            if shape.required and body.get("type") == "array":
                body["minItems"] = 1
        elif any(is_runner(branch) for branch in branches(shape.annotation)):
            body = _reference("taskRunner")
        else:
            body = _cleaned(rest)
            if shape.marker not in (Rendering.STATIC, Verbatim.VERBATIM):
                body = _rendered(body)
        if "$ref" in body:
            body = {"allOf": [body]}  # what stands beside a $ref is not read in draft-07
        return body | about

    # -- what is chosen by its type

    def _add_tasks(self) -> None:
        common = self._definitions.pop(self._names[TaskProperties])
        common["properties"].pop("type")  # each type of task says its own
        for name, body in common["properties"].items():
            self._definitions[f"task.{name}"] = body
        shared = {name: _reference(f"task.{name}") for name in common["properties"]}
        needs: list[Schema] = []
        for cls in self._registry.tasks():
            definition = self._definitions[self._names[cls]]
            definition["properties"] = shared | definition.get("properties", {})
            own = definition.get("required", [])
            definition["required"] = common["required"]
            if own:
                needs.append(_choice((cls.TYPE, *cls.ALIASES), {"required": own}))
        self._definitions["requiredOfTasks"] = {"patternProperties": _BELOW} | ({"allOf": needs} if needs else {})
        self._add_kind(
            "task",
            {cls: (cls.TYPE, *cls.ALIASES) for cls in self._registry.tasks()},
            also=[*known_types.TASKS, *known_types.OLD_TASKS],
            required=common["required"],
        )

    def _add_kind(
        self,
        kind: str,
        classes: Mapping[Any, tuple[str, ...]],
        *,
        also: Iterable[str] = (),
        required: Iterable[str] = ("type",),
    ) -> None:
        """Define *kind* by one ``if``/``then`` for each class; *also* are names that are taken without a class."""
        names = {name: cls for cls, all_names in classes.items() for name in all_names}
        rules = []
        for cls, all_names in classes.items():
            definition = self._definitions[self._names[cls]]
            about = definition.get("description", "")
            definition.setdefault("properties", {})["type"] = {"description": about} if about else {}
            if getattr(cls, "DEPRECATED", None) is not None:
                definition["deprecated"] = True
            rules.append(_choice(all_names, _reference(self._names[cls])))
        self._definitions[kind] = {
            "type": "object",
            "required": list(required),
            "properties": {
                "type": {
                    "type": "string",
                    "description": f"The type of the {kind}.",
                    "pattern": _any_of([*names, *also]),
                    "patternErrorMessage": f"This is no type of a {kind} that is known.",
                    "defaultSnippets": [
                        {"label": all_names[0], "body": all_names[0], "description": _summary(cls)}
                        for cls, all_names in classes.items()
                    ],
                }
            },
        }
        if rules:
            self._definitions[kind]["allOf"] = rules


def _any_of(names: Iterable[str]) -> str:
    return "^(" + "|".join(sorted({name.replace(".", r"\.") for name in names})) + ")$"


def _summary(cls: type[BaseModel]) -> str:
    """Return the first sentence of the class's documentation."""
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def _choice(names: Iterable[str], then: Schema) -> Schema:
    """Return the rule for things whose ``type`` is one of *names*; a pattern, which no editor proposes."""
    chosen = {"type": "string", "pattern": _any_of(names)}
    return {"if": {"required": ["type"], "properties": {"type": chosen}}, "then": then}


def _second_name(name: str, other: str) -> Schema:
    if other in NEW_NAMES:
        return {"description": f"Another name of `{name}`."}
    return {
        "description": f"The old name of `{name}`.",
        "deprecated": True,
        "deprecationMessage": f"Write `{name}`.",
        "doNotSuggest": True,
    }


def _with_nested(roots: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return the classes and all that their fields are made of, each once."""
    found: dict[type[BaseModel], None] = {}
    waiting = list(roots)
    while waiting:
        cls = waiting.pop()
        if cls in found:
            continue
        found[cls] = None
        for shape in fields_of(cls).values():
            waiting.extend(_models_in(shape.annotation))
    return list(found)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = []
    for branch in branches(annotation):
        if is_model(branch):
            models.append(branch)
        elif choices(branch) is None:
            for argument in get_args(branch):
                models.extend(_models_in(argument))
    return models


def _cleaned(schema: Any) -> Any:
    """Return the schema without titles and nulls, with text that takes numbers too, as the language does."""
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _cleaned(value) for key, value in schema.items() if key != "title"}
    if isinstance(result.get("anyOf"), list):
        left = [item for item in result.pop("anyOf") if item != {"type": "null"}]
        result = result | left[0] if len(left) == 1 else result | {"anyOf": left}
    if result.get("format") == "duration":
        result["pattern"] = _DURATION
    elif result.get("type") == "string" and not result.keys() & {"enum", "const", "format", "pattern"}:
        result["type"] = _TEXT_TYPES
    return result


def _rendered(schema: Schema) -> Schema:
    """Return the schema of a property that may be given as a text with an expression instead, at every depth."""
    if not schema or schema.get("type") == _TEXT_TYPES:
        return schema
    inner = dict(schema)
    if isinstance(inner.get("items"), dict):
        inner["items"] = _rendered(inner["items"])
    if isinstance(inner.get("additionalProperties"), dict):
        inner["additionalProperties"] = _rendered(inner["additionalProperties"])
    for union in ("anyOf", "oneOf"):
        if union in inner:
            parts = [part if _is_single(part) else _rendered(part) for part in inner.pop(union)]
            takes_text = any(part.get("type") == _TEXT_TYPES or not part for part in parts)
            return inner | {"anyOf": parts if takes_text else [*parts, _EXPRESSION]}
    return {"anyOf": [inner, _EXPRESSION]}


def _is_single(schema: Schema) -> bool:
    """True for a branch of a union that has no parts of its own that could be expressions."""
    return not schema.keys() & {"items", "additionalProperties"}
