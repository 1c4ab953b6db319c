"""Inputs as the fields of a form: what each shows, and what it gives when the form comes back.

A field is named after its input. `shown` names each field that was in the page: one that was not gives nothing, and an
unticked box in the page gives false.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from headrace_engine.inputs.problems import MASKED, InputProblem
from headrace_engine.model.definition import InputDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.pages.html import masked
from headrace_engine.pages.posted import Posted

SHOWN = "shown"
_VALUE = "in."
_OTHER = "other."
"""What is chosen beside what there is to choose from, or the URI of a file."""
_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)(?:\[[\w/+-]+\])?$", re.IGNORECASE)
_CONTROLS = {
    "STRING": "text",
    "INT": "number",
    "FLOAT": "number",
    "BOOLEAN": "select",
    "BOOL": "checkbox",
    "DATETIME": "datetime-local",
    "DATE": "date",
    "TIME": "time",
    "DURATION": "text",
    "FILE": "file",
    "JSON": "textarea",
    "YAML": "textarea",
    "URI": "text",
    "SECRET": "password",
    "ENUM": "select",
    "SELECT": "select",
    "MULTISELECT": "checkboxes",
    "ARRAY": "textarea",
    "EMAIL": "email",
}
_PROBLEM = re.compile(r"Invalid input for `[^`]*`, (?P<reason>.*), but received `(?P<received>.*)`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Field:
    """One field."""

    id: str
    control: str
    label: str
    type: str
    description: str
    required: bool
    is_needed: bool
    """Whether other inputs depend on it."""
    value: str = ""
    chosen: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    other: str = ""
    takes_other: bool = False
    multiple: bool = False
    rows: int = 4
    hint: str = ""
    error: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its control."""
        return f"{_VALUE}{self.id}"

    @property
    def other_name(self) -> str:
        """The name of the control beside it."""
        return f"{_OTHER}{self.id}"

    @property
    def html_id(self) -> str:
        """Its id in the page."""
        return f"field-{self.id}"

    @property
    def described_by(self) -> str:
        """The ids in the page of what is said about it."""
        said = (("hint", self.hint), ("about", self.description), ("error", self.error))
        return " ".join(f"{self.html_id}-{name}" for name, text in said if text)


def fields(
    definitions: Sequence[InputDefinition],
    answers: Sequence[Mapping[str, Any]],
    form: Posted | None = None,
    problems: Mapping[str, str] | None = None,
) -> list[Field]:
    """Return the fields of the inputs that are asked for now.

    *answers* are what validating said of them. With *form*, what was typed is kept, but for secrets; without it the
    fields hold defaults. *problems* are the errors to show, by input.
    """
    needed = {name for definition in definitions for name in definition.depends_on}
    asked = {answer["id"]: answer for answer in answers if answer["enabled"]}
    return [
        _field(definition, asked[definition.id], form, (problems or {}).get(definition.id, ""), needed)
        for definition in definitions
        if definition.id in asked
    ]


def given(definitions: Iterable[InputDefinition], form: Posted) -> dict[str, Any]:
    """Return what a form gives for the inputs that it asked for."""
    shown = set(form.texts.get(SHOWN, ()))
    found = {each.id: _given(each, form) for each in definitions if each.id in shown}
    return {name: value for name, value in found.items() if value is not None}


def takes_files(definition: InputDefinition) -> bool:
    """Return whether an input's field is one for files."""
    kind = definition.type
    return kind == "FILE" or (kind == "ARRAY" and definition.options.get("itemType") == "FILE")


def errors_of(answers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what is wrong with each input, of what validating said."""
    return {answer["id"]: reason(answer["errors"][0]["message"]) for answer in answers if answer["errors"]}


def problems_of(problems: Iterable[InputProblem]) -> dict[str, str]:
    """Return what is wrong with each input."""
    return {problem.input_id: reason(problem.message) for problem in problems}


def unseen(answers: Iterable[Mapping[str, Any]], form: Posted) -> bool:
    """Return whether an input is asked for that was not in the page: what was chosen there brought it up."""
    shown = set(form.texts.get(SHOWN, ()))
    return any(answer["enabled"] and answer["id"] not in shown for answer in answers)


def reason(message: str) -> str:
    """Return what a problem's message says, as it is said beside the field."""
    found = _PROBLEM.fullmatch(message)
    if found is None:
        return message
    text = found["reason"]
    return f"{text[:1].upper()}{text[1:]}." if not text.endswith(".") else text


# -- What a field shows -----------------------------------------------------------------------------------------------


def _field(
    definition: InputDefinition, answer: Mapping[str, Any], form: Posted | None, error: str, needed: set[str]
) -> Field:
    kind, options = definition.type, definition.options
    item = str(options.get("itemType") or "STRING") if kind in ("ARRAY", "MULTISELECT") else ""
    is_file = kind == "FILE" or item == "FILE"
    control = "file" if takes_files(definition) else _CONTROLS.get(kind, "text")
    choices = tuple(answer["choices"]) if "choices" in answer else None
    takes_other = bool(options.get("allowCustomValue")) or is_file
    if kind == "BOOLEAN":
        choices = ("true", "false")
    elif control == "select" and (choices is None or takes_other):
        control = "text"  # with what there is to choose from as suggestions
        takes_other = False
    is_secret = kind == "SECRET" or item == "SECRET"
    typed = form if form is not None and definition.id in form.texts.get(SHOWN, ()) else None
    known = _typed(definition, typed) if typed is not None else _proposed(definition, answer)
    value, chosen, other = known if not is_secret else ("", (), "")
    if control == "checkboxes" and choices is not None:
        extra = [each for each in chosen if each not in choices]
        other = other or "\n".join(extra)
    if control == "text" and "\n" in value:
        control = "textarea"
    is_hidden = not is_secret and typed is None and bool(answer.get("isDefault")) and MASKED in str(answer["value"])
    hint = " ".join(
        filter(
            None,
            (
                _hint(definition, item),
                _HELD if is_hidden else "",
                _again(definition, typed, is_file=is_file) if is_secret or is_file else "",
            ),
        )
    )
    return Field(
        id=definition.id,
        control=control,
        label=definition.display_name or definition.id,
        type=f"{kind} of {item}" if item else kind,
        description=definition.description or "",
        required=definition.required and not definition.has_defaults and kind != "BOOL",
        is_needed=definition.id in needed,
        value=value,
        chosen=chosen,
        choices=choices,
        other=other,
        takes_other=takes_other,
        multiple=kind == "ARRAY",
        rows=min(max(value.count("\n") + 1, 4), 20),
        hint=hint,
        error=error,
        attributes=_attributes(definition, control),
    )


_HELD = "Its default holds a secret, and is used when nothing is typed."


def _again(definition: InputDefinition, typed: Posted | None, *, is_file: bool) -> str:
    """Return what is said of something that was given and that the page does not keep."""
    name = f"{_VALUE}{definition.id}"
    if typed is None or not (typed.one(name) or typed.files.get(name)):
        return ""
    return "Choose the file again." if is_file else "Type it again: it is not kept in the page."


def _typed(definition: InputDefinition, form: Posted) -> tuple[str, tuple[str, ...], str]:
    texts = tuple(form.texts.get(f"{_VALUE}{definition.id}", ()))
    return (texts[-1] if texts else ""), texts, form.one(f"{_OTHER}{definition.id}")


def _proposed(definition: InputDefinition, answer: Mapping[str, Any]) -> tuple[str, tuple[str, ...], str]:
    """Return what a field holds before anybody has typed."""
    value = answer["value"]
    if value is None and not answer["errors"]:
        value = definition.options.get("prefill")
        value = None if isinstance(value, str) and "{{" in value else value
    if value is None or MASKED in str(value):
        return "", (), ""
    if definition.type == "MULTISELECT":
        items = tuple(_as_text(item) for item in value) if isinstance(value, list) else (_as_text(value),)
        return "", items, ""
    if definition.type == "FILE":
        return "", (), _as_text(value)
    text = _as_text(value)
    if definition.type == "DATETIME":
        text = text.removesuffix("Z")
    return text, (text,), ""


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(masked(value), ensure_ascii=False, indent=None if isinstance(value, bool | int | float) else 2)


def _hint(definition: InputDefinition, item: str) -> str:
    options = definition.options
    said = []
    match definition.type:
        case "DATETIME":
            said.append("In UTC.")
        case "DURATION":
            said.append("An ISO-8601 duration such as PT1H30M.")
        case "URI":
            said.append("Such as https://example.com/data.csv.")
        case "ARRAY" if item != "FILE":
            said.append(f"A JSON list, or one {item} a line.")
    if options.get("validator"):
        said.append(f"Must match {options['validator']}")
    least, most = options.get("min", options.get("after")), options.get("max", options.get("before"))
    if least is not None and most is not None:
        said.append(f"From {least} to {most}.")
    elif least is not None:
        said.append(f"From {least} on.")
    elif most is not None:
        said.append(f"Up to {most}.")
    if options.get("allowedFileExtensions"):
        said.append(f"One of {', '.join(map(str, options['allowedFileExtensions']))}.")
    return " ".join(said)


def _attributes(definition: InputDefinition, control: str) -> dict[str, str]:
    options = definition.options
    found: dict[str, str] = {}
    bounds = {"number": ("min", "max"), "date": ("after", "before"), "time": ("after", "before")}.get(control)
    if bounds is not None:
        for attribute, option in zip(("min", "max"), bounds, strict=True):
            if options.get(option) is not None:
                found[attribute] = str(options[option])
    if control == "number":
        found["step"] = "1" if definition.type == "INT" else "any"
    elif control in ("time", "datetime-local"):
        found["step"] = "1"
    elif control == "file":
        extensions = options.get("allowedFileExtensions") or ()
        if extensions:
            found["accept"] = ",".join(f".{str(each).lstrip('.')}" for each in extensions)
    elif definition.type == "URI":
        found["inputmode"] = "url"
    return found


# -- What a field gives -----------------------------------------------------------------------------------------------


def _given(definition: InputDefinition, form: Posted) -> Any:
    """Return what was typed; None for nothing."""
    name, kind = f"{_VALUE}{definition.id}", definition.type
    item = definition.options.get("itemType")
    text = form.one(name)
    if kind == "FILE" or (kind == "ARRAY" and item == "FILE"):
        return _files(definition, form)
    if kind == "BOOL":
        return "true" if text == "true" else "false"
    if kind == "MULTISELECT":
        return _several(definition, form)
    if kind == "SECRET":
        return text or None
    if kind == "STRING":
        # What was emptied by hand is empty, where it need not be given.
        return text or ("" if definition.has_defaults and not definition.required else None)
    if not text.strip():
        return None
    if kind == "ARRAY":
        return text if text.lstrip().startswith("[") else [row.strip() for row in text.splitlines() if row.strip()]
    if kind == "DATETIME":
        text = text.strip()
        return text if _ZONE.search(text.partition("T")[2]) else f"{text}Z"
    return text if kind in ("JSON", "YAML", "ENUM", "SELECT") else text.strip()


def _files(definition: InputDefinition, form: Posted) -> Any:
    files: list[Any] = [*form.files.get(f"{_VALUE}{definition.id}", ())]
    files += [row.strip() for row in form.one(f"{_OTHER}{definition.id}").splitlines() if row.strip()]
    if definition.type == "ARRAY":
        return files or None
    return files[0] if files else None


def _several(definition: InputDefinition, form: Posted) -> Any:
    chosen = list(form.texts.get(f"{_VALUE}{definition.id}", ()))
    chosen += [row.strip() for row in form.one(f"{_OTHER}{definition.id}").splitlines() if row.strip()]
    if chosen or not definition.required or definition.has_defaults:
        return list(dict.fromkeys(chosen))
    return None
