"""Turns triggers and conditions that were checked into what the engine reads (model.trigger).

Nothing is told here: what is wrong was told when the source was checked, and a flow with problems is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any

from headrace_engine.language.fields import names_of
from headrace_engine.language.wording import not_supported
from headrace_engine.model.state import State
from headrace_engine.model.trigger import (
    FLOW_TRIGGER,
    LISTENED,
    ConditionDefinition,
    Gathering,
    TimeWindow,
    TriggerDefinition,
    WindowKind,
)
from headrace_engine.plugin import parse_duration
