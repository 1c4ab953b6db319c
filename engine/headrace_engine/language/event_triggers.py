"""Triggers that hear of events: EventBridge's, and files that come into a bucket."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headrace_engine.core.event_patterns import PatternError, check_pattern
from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.problems import PropertyError
from headrace_engine.language.triggers import Trigger
from headrace_engine.model.trigger import EVENTBRIDGE, OWN_BUS, S3
from headrace_engine.plugin import IsoDuration, Rendering

_Fixed = Annotated[str, Rendering.STATIC]
_BY_ROLE = "the stack's own role reads the bucket."
_COMES = "files are heard of when they come."


class EventBridgeTrigger(Trigger):
    """Starts an execution for every event of a bus that matches a pattern."""

    TYPE: ClassVar[str] = EVENTBRIDGE

    pattern: Annotated[dict[str, Any], Rendering.STATIC] = Field(
        description="What events must be, in EventBridge's pattern language."
    )
    bus: _Fixed = Field(
        default=OWN_BUS, description="The name of the bus: `headrace` is the stack's own, `default` the account's."
    )

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        try:
            check_pattern(self.pattern)
        except PatternError as error:
            raise PropertyError("pattern", f"The pattern cannot be used: {error}.") from None
        return self


class MoveTo(LanguageProperties):
    """Where a file goes that was taken."""

    bucket: _Fixed | None = Field(default=None, description="The bucket; the same one when not given.")
    key: _Fixed = Field(description="The folder in it; the file keeps its name.")


class S3Trigger(Trigger):
    """Starts an execution for every file that comes into a bucket."""

    TYPE: ClassVar[str] = S3

    bucket: _Fixed = Field(min_length=1, description="The bucket: one that the stack watches.")
    prefix: _Fixed = Field(default="", description="What the key must begin with.")
    regexp: _Fixed | None = Field(default=None, description="A regular expression that the whole key must match.")
    action: Annotated[Literal["MOVE", "DELETE", "NONE"], Rendering.STATIC] = Field(
        description="What becomes of the file once it is the execution's."
    )
    move_to: MoveTo | None = Field(default=None, description="Where it goes, for MOVE.")
    interval: IsoDuration | None = Field(default=None, description="The time between two looks.", deprecated=_COMES)
    max_keys: int | None = Field(default=None, description="How many files a look takes.", deprecated=_COMES)
    access_key_id: str | None = Field(default=None, description="An access key.", deprecated=_BY_ROLE)
    secret_key_id: str | None = Field(default=None, description="Its secret.", deprecated=_BY_ROLE)
    session_token: str | None = Field(default=None, description="A session's token.", deprecated=_BY_ROLE)
    region: str | None = Field(default=None, description="The bucket's region.", deprecated=_BY_ROLE)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.regexp is not None:
            try:
                re.compile(self.regexp)
            except re.error as error:
                raise PropertyError("regexp", f"`{self.regexp}` is no regular expression: {error}.") from None
        if (self.action == "MOVE") != (self.move_to is not None):
            raise PropertyError("action", "`action: MOVE` and `moveTo` go together.")
        if self.move_to is not None and self.move_to.bucket in (None, self.bucket):
            folder = self.move_to.key.strip("/") + "/"
            if folder.startswith(self.prefix):
                raise PropertyError("moveTo", "A file that is moved there would start the flow again.")
        return self


EVENT_TRIGGERS: tuple[type[Trigger], ...] = (EventBridgeTrigger, S3Trigger)
