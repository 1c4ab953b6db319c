"""Markers on the fields of the flow language, and the texts they share.

``Rendering`` (headrace_engine.plugin) says how a task's property is rendered. These say what only the
language itself needs to know: that a field holds tasks, conditions or inputs, each of a type of its own
and read by that type's class; or that a text is kept as written and never rendered.
"""

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from headrace_engine.language.problems import PropertyError
from headrace_engine.plugin import Properties, Rendering


class Holds(Enum):
    """What stands in a field whose value the class of the field does not check itself."""

    TASKS = "a list of tasks"
    TASK = "a task"
    TASKS_BY_CASE = "a map of texts to lists of tasks"
    DAG_TASKS = "a list of maps with `task` and `dependsOn`"
    CONDITIONS = "a list of conditions"
    CONDITIONS_BY_NAME = "a map of names to conditions"
    TRIGGERS = "a list of triggers"
    INPUTS = "a list of inputs"
    OUTPUTS = "a list of outputs"
    RETRY = "a retry policy"
    PLUGIN_DEFAULTS = "a list of maps with `type` and `values`"
    SLAS = "a list of SLAs"
    LISTENERS = "a list of maps with `tasks` and `conditions`"
    AUTH = "a map with `type`"


class Verbatim(Enum):
    """Marks a text for people, or one that is rendered only when another expression asks (``render(vars.x)``)."""

    VERBATIM = "verbatim"


_Map = dict[str, Any]

TaskList = Annotated[list[_Map], Holds.TASKS]
CaseMap = Annotated[dict[str, list[_Map]], Holds.TASKS_BY_CASE]
DagTaskList = Annotated[list[_Map], Holds.DAG_TASKS]
ConditionList = Annotated[list[_Map], Holds.CONDITIONS]
InputList = Annotated[list[_Map], Holds.INPUTS]
OutputList = Annotated[list[_Map], Holds.OUTPUTS]

Text = Annotated[str, Verbatim.VERBATIM]
"""A text for people."""
Flag = Annotated[bool, Rendering.STATIC]
"""true or false, not rendered (reference §2.3)."""

NEW_NAMES = frozenset({"when", "workerSelector"})
"""Second names of properties that are newer than the first (Kestra 2.0), so that using them is no reason to warn."""

SYSTEM_LABEL_PREFIX = "system."


class Label(Properties):
    """A label of an execution."""

    key: str = Field(min_length=1, description="The label's name.")
    value: str = Field(description="The label's value.")


LabelMap = dict[str, str] | list[Label]
"""``labels: {team: data}`` or ``labels: [{key: team, value: data}]``."""


def refuse_system_labels(value: LabelMap, allowed: tuple[str, ...]) -> None:
    """Raise ValueError for a label that only Headrace itself may set (reference §1, labels)."""
    for key in value if isinstance(value, dict) else [label.key for label in value]:
        if key.startswith(SYSTEM_LABEL_PREFIX) and key not in allowed:
            raise PropertyError(
                key,
                f"The label `{key}` is refused: only Headrace sets labels that begin with `{SYSTEM_LABEL_PREFIX}`.",
            )


def _labels_without_system(value: LabelMap) -> LabelMap:
    refuse_system_labels(value, allowed=())
    return value


Labels = Annotated[LabelMap, AfterValidator(_labels_without_system)]
"""Labels that a task or trigger adds; their values are rendered."""
