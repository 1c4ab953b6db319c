"""The flow language: from YAML to the definitions the engine runs, and (schema) the JSON Schema of it.

``parse_flow`` is the way in. A source is read to nodes that know their place (yaml_reader, nodes), read as
a flow (flow_reader, task_reader, typed_reader) with each part checked against its pydantic class (checking),
and compiled to headrace_engine.model.definition. All that is wrong is told at once, as Problems.
"""

from headrace_engine.language.parser import Validation, check, check_part, parse_flow, parse_flows, validate
from headrace_engine.language.problems import FlowError, Problem
from headrace_engine.language.registry import DuplicateType, Registry
from headrace_engine.language.templates import FindTemplate, parse_template

__all__ = [
    "DuplicateType",
    "FindTemplate",
    "FlowError",
    "Problem",
    "Registry",
    "Validation",
    "check",
    "check_part",
    "parse_flow",
    "parse_flows",
    "parse_template",
    "validate",
]
