"""What a stack runs containers with: what the functions are told, and what a task may ask for otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from headrace_engine.ports import PortError

Architecture = Literal["ARM64", "X86_64"]


class ContainerSettings(msgspec.Struct, frozen=True, rename="camel"):
    """The defaults of a stack, and what it allows."""

    cluster: str
    execution_role: str
    log_group: str
    stager: str
    """The side containers' image, by its digest: any with Python 3.9 or later."""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    assign_public_ip: bool = True
    task_role: str | None = None
    """What people's code may do where it names no role of its own; nothing when None."""
    task_roles: tuple[str, ...] = ()
    """The roles that a task may name, as patterns with ``*``."""
    queues: Mapping[str, str] = {}
    """The ARNs of Batch's job queues, by FARGATE and FARGATE_SPOT."""
    job_queues: tuple[str, ...] = ()
    """The ARNs of those besides that flows may name."""
    architecture: Architecture = "ARM64"
    cpu: str = "0.25"
    memory: str = "512"
    tags: Mapping[str, str] = {}
    family: str = "headrace"
    """What the names of all definitions begin with; roles name it."""

    @classmethod
    def of(cls, text: str) -> ContainerSettings:
        """Read HEADRACE_CONTAINERS. Raises PortError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise PortError(f"HEADRACE_CONTAINERS cannot be read: {error}") from None
