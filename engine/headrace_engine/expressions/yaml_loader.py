"""A YAML reader with YAML 1.2's scalars: only true and false are booleans, dates stay texts."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import yaml


@cache
def loader() -> Any:
    """Return the loader class."""

    class Loader(yaml.SafeLoader):
        """SafeLoader without YAML 1.1's `yes`, `no`, timestamps, octals and sexagesimals."""

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", "~nN\0"),
        ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
         "-+.0123456789"),
        ("merge", r"<<", "<"),
    ):  # fmt: skip
        starts = [*(each for each in first if each != "\0"), *([""] if "\0" in first else [])]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), starts)
    Loader.add_constructor("tag:yaml.org,2002:int", _integer)
    return Loader


def _integer(reader: Any, node: Any) -> int:
    text = reader.construct_scalar(node)
    if len(text) > 1000:
        raise ValueError("a number is too long")
    return int(text, 16) if text.startswith("0x") else int(text)
