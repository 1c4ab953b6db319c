"""The Lambda task runner: people's code as a process inside an invocation of the stack's `script` function."""

from __future__ import annotations

import os
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from headrace_runners.contract import RunnerProperties
from headrace_runners.placing import AMOUNT, Size
from headrace_runners.process import ProcessRunner


class Lambda(RunnerProperties):
    """Run the script on AWS Lambda, the default there for everything that fits.

    What does not fit (an image, a timeout over 14 minutes, more memory or disk than a function has) runs on Fargate
    instead; the output `taskRunner` says where a script ran, and why. On a machine of your own it runs as a process.

        taskRunner:
          type: io.headrace.runner.lambda.Lambda
          memory: LARGE
    """

    TYPE: ClassVar[str] = "io.headrace.runner.lambda.Lambda"

    type: Literal["io.headrace.runner.lambda.Lambda"] = "io.headrace.runner.lambda.Lambda"
    memory: str = Field(
        "SMALL",
        description="`SMALL`, `MEDIUM` or `LARGE`, or an amount such as `4 GB` (in MB without a unit): the smallest "
        "function that has it runs the script.",
    )
    ephemeral_storage: str | None = Field(
        None,
        description="The disk the script needs, such as `10 GB`. A function has 2 GB.",
    )
    task_role_arn: str | None = Field(
        None,
        description="A role of yours whose temporary credentials the script gets. The stack must allow it, and the "
        "role must trust the stack.",
    )

    @field_validator("memory")
    @classmethod
    def _is_memory(cls, text: str) -> str:
        if "{" not in text and text.strip().upper() not in Size.__members__ and AMOUNT.fullmatch(text.strip()) is None:
            raise ValueError(f"`{text}` is neither {', '.join(Size)} nor an amount such as `4 GB`")
        return text

    @field_validator("ephemeral_storage")
    @classmethod
    def _is_amount(cls, text: str | None) -> str | None:
        if text is not None and "{" not in text and AMOUNT.fullmatch(text.strip()) is None:
            raise ValueError(f"`{text}` is not an amount such as `10 GB`")
        return text

    def runner(self) -> ProcessRunner:
        """Return what runs a process here: inside the function, or on a machine of your own."""
        return ProcessRunner(os.environ)
