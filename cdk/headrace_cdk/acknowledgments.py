"""Findings of cdk-nag that stand, each with its reason; they are kept in the constructs' metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Let the findings of *construct*, and of what is below it, stand; *reasons* are by the finding's name."""
    Validations.of(construct).acknowledge(*(Acknowledgment(id=id_, reason=reason) for id_, reason in reasons.items()))


def wildcard(stack: Stack, arn: str) -> str:
    """Return the name of cdk-nag's finding that a policy has the resource *arn*."""
    return f"AwsSolutions-IAM5[Resource::{_text(stack.resolve(arn))}]"


def _text(resolved: Any) -> str:
    """Return a resolved value as cdk-nag writes it."""
    match resolved:
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(_text(part) for part in parts)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Ref": str(name)}:
            return f"<{name}>"
        case _:
            return str(resolved)
