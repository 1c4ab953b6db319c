"""Checks a map of the source against a pydantic class: names, types, markers, expressions.

Two passes. The first walks the source beside the class: unknown and renamed properties, numbers written
where text is meant (``tag: 1.10`` stays "1.10"), the syntax of expressions, expressions where none may
stand. The second is the class's own validation; what it says about a value that holds an expression is
left out, since the value is known only when it is rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from headrace_engine.language import wording
from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.fields import (
    FieldShape,
    branches,
    choices,
    fields_of,
    is_list,
    is_map,
    is_model,
    is_runner,
    names_of,
)
from headrace_engine.language.markers import NEW_NAMES, Verbatim
from headrace_engine.language.nodes import Entries, Items, Node, Scalar, plain, scalars
from headrace_engine.language.problems import Path, PropertyError, nearest
from headrace_engine.language.report import Report
from headrace_engine.plugin import Rendering
from headrace_engine.rendering import coerce_properties

Marker = Rendering | Verbatim | None


def has_expression(text: str) -> bool:
    """True for a text with a tag of the expression language."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


def holds_expression(node: Node) -> bool:
    """True when a text at or below *node* has an expression."""
    return any(isinstance(scalar.value, str) and has_expression(scalar.value) for scalar in scalars(node))


@dataclass(slots=True)
class Checked:
    """What is known of a map after its check."""

    node: Entries
    """The source with the canonical names of its properties, unknown ones taken out."""
    data: dict[str, Any]
    """Its values as plain data, those that hold tasks and the like taken out."""
    model: Any = None
    """The instance of the class, where it could be made."""


@dataclass(slots=True)
class Checker:
    """Checks maps against classes and tells *report* what it finds.

    runner reads the map of a task runner, whose class is chosen by its ``type``, among others from those that
    the field names.
    """

    report: Report
    runner: Callable[[Node, Sequence[Any]], Any]
    meant: set[tuple[Path, str]] = field(default_factory=set)
    """Properties that an unknown one was probably meant to be: that they are missing is no news."""

    def check(self, node: Entries, cls: type[BaseModel], *, what: str = "", also_known: Iterable[str] = ()) -> Checked:
        """Check the map at *node* against *cls*; *what* it is, for messages; *also_known* names to suggest."""
        checked = self._walk_model(node, cls, what, also_known, marker=None)
        validated = {name: value for name, value in checked.data.items() if not self._is_separate(cls, name)}
        if not issubclass(cls, LanguageProperties):  # a list or map may be written as its JSON text (reference §2.3)
            validated = coerce_properties(cls, validated)
        try:
            checked.model = cls.model_validate(validated)
        except ValidationError as error:
            for entry in error.errors(include_url=False):
                self._tell(entry, checked.node, cls)
        return checked

    # -- the first pass

    def _walk_model(
        self, node: Entries, cls: type[BaseModel], what: str, also_known: Iterable[str], marker: Marker
    ) -> Checked:
        node = self._canonical(node, cls, what, also_known)
        data: dict[str, Any] = {}
        for name, value in node.entries.items():
            shape = fields_of(cls).get(name)
            if shape is None:  # a class that takes whatever there is
                data[name] = self._walk(value, Any, marker)
                continue
            if shape.deprecated is not None:
                self.report.warn(value, f"`{name}` is deprecated: {shape.deprecated}", at_key=(node, name))
            if _is_absent(value, shape):
                continue
            if shape.holds is None:
                data[name] = self._walk(value, shape.annotation, shape.marker or marker)
        return Checked(node, data)

    def _canonical(self, node: Entries, cls: type[BaseModel], what: str, also_known: Iterable[str]) -> Entries:
        """Return the map with first names only, having told what is unknown, old or there twice."""
        names = names_of(cls)
        renames: dict[str, str] = {}
        unknown: list[str] = []
        for key in node.entries:
            name = names.get(key)
            if name is None:
                if cls.model_config.get("extra") != "allow":
                    unknown.append(key)
            elif name != key:
                renames[key] = name
                if name in node.entries:
                    self.report.problem_at_key(node, key, f"`{key}` and `{name}` are the same property: keep one.")
                elif key not in NEW_NAMES:
                    self.report.warn_at_key(node, key, f"`{key}` is the old name of `{name}`.")
        known = {**names, **dict.fromkeys(also_known)} if unknown else {}
        for key in unknown:
            suggestion = nearest(key[:80], known)
            self.meant.update((node.path, names.get(name, name)) for name in suggestion)
            hint = f" Did you mean `{suggestion[0]}`?" if suggestion else ""
            owner = f" of {what}" if what else ""
            self.report.problem_at_key(node, key, f"Unknown property `{key[:80]}`{owner}.{hint}")
        if unknown:
            node = node.without(*unknown)
        return node.renamed(renames) if renames else node

    def _walk(self, node: Node, annotation: Any, marker: Marker) -> Any:
        """Return the value at *node* as plain data, as the type *annotation* takes it."""
        if isinstance(node, Scalar):
            return self._walk_scalar(node, annotation, marker)
        takes = branches(annotation)
        for branch in takes:
            if isinstance(node, Entries):
                if is_runner(branch):
                    return self.runner(node, [other for other in takes if is_runner(other)])
                if is_model(branch):
                    return self._walk_model(node, branch, "", (), marker).data
                if is_map(branch):
                    arguments = get_args(branch)
                    inner = arguments[1] if len(arguments) == 2 else Any
                    self._check_keys(node, marker)
                    return {key: self._walk(value, inner, marker) for key, value in node.entries.items()}
            elif isinstance(node, Items) and is_list(branch):
                arguments = get_args(branch)
                inner = arguments[0] if arguments else Any
                return [self._walk(item, inner, marker) for item in node.items]
        for scalar in scalars(node):
            self._check_text(scalar, marker)
        return plain(node)

    def _walk_scalar(self, node: Scalar, annotation: Any, marker: Marker) -> Any:
        value = node.value
        self._refuse_loose_flag(node, annotation)
        if isinstance(value, str):
            self._check_text(node, marker)
            return value
        if value is not None and _wants_text(annotation):
            return node.text
        return value

    def _refuse_loose_flag(self, node: Scalar, annotation: Any) -> None:
        """Refuse ``yes``, ``on`` and 1, which pydantic would take for true and Kestra does not."""
        takes = set(branches(annotation)) - {type(None)}
        if takes == {bool} and not isinstance(node.value, bool | None):
            written = str(node.value)
            if not has_expression(written) and written.lower() not in ("true", "false"):
                self.report.problem(node, wording.expected(annotation, node))

    def _check_keys(self, node: Entries, marker: Marker) -> None:
        """Check the expressions in the keys of a map: they are rendered as its values are (reference §10.1)."""
        if marker is not Verbatim.VERBATIM:
            for key in node.entries:
                if has_expression(key):
                    self.report.check_key(node, key)

    def _check_text(self, node: Scalar, marker: Marker) -> None:
        text = node.value
        if not isinstance(text, str) or marker is Verbatim.VERBATIM or not has_expression(text):
            return
        if marker is Rendering.STATIC:
            self.report.problem(node, "An expression is not possible here: this property is not rendered.")
        else:
            self.report.check_expression(node)

    # -- the second pass

    def _is_separate(self, cls: type[BaseModel], name: str) -> bool:
        """True for a value that another class has checked already."""
        shape = fields_of(cls).get(name)  # none for a class that takes whatever there is
        return shape is not None and any(is_runner(branch) for branch in branches(shape.annotation))

    def _tell(self, entry: Any, root: Entries, cls: type[BaseModel]) -> None:
        location = tuple(entry["loc"])
        annotation, node, missing = wording.annotation_at(cls, location, root)
        if missing and entry["type"] == "missing":
            if (node.path, str(location[-1])) in self.meant:
                return
            self.report.problem(node, f"The property `{location[-1]}` is required.", below=str(location[-1]))
            return
        if entry["type"] in ("missing", "extra_forbidden"):
            return  # the value is there, and another class has checked it; unknown names were told in the first pass
        fault = (entry.get("ctx") or {}).get("error")
        if isinstance(fault, PropertyError) and isinstance(node, Entries) and fault.name in node.entries:
            self.report.problem_at_key(node, fault.name, str(fault))
            return
        if self._is_open(location, root) or self._decided_inside(node, cls):
            return
        message = wording.message_for(entry, annotation, node)
        if message is not None:
            self.report.problem(node, message)

    def _is_open(self, location: tuple[str | int, ...], root: Entries) -> bool:
        """True when the value, or one around it, is a text whose expression decides what it will be."""
        node: Node = root
        for step in location:
            if isinstance(node, Entries) and str(step) in node.entries:
                node = node.entries[str(step)]
            elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            if isinstance(node, Scalar) and isinstance(node.value, str) and has_expression(node.value):
                return True
        return False

    def _decided_inside(self, node: Node, cls: type[BaseModel]) -> bool:
        """True for a map or list whose expressions may decide what a validator of the whole finds.

        The language's own validators look at nothing that is rendered.
        """
        return not isinstance(node, Scalar) and not issubclass(cls, LanguageProperties) and holds_expression(node)


def _is_absent(value: Node, shape: FieldShape) -> bool:
    """True for ``key:`` with nothing after it, where the key may be left out and nothing means nothing."""
    if not isinstance(value, Scalar) or value.value is not None or shape.required:
        return False
    return Any not in branches(shape.annotation)


def _wants_text(annotation: Any) -> bool:
    """True when a number or truth value here is meant as text."""
    takes = branches(annotation)
    return any(branch is str for branch in takes) and not any(
        branch in (int, float, bool, Any, object) or choices(branch) for branch in takes
    )
