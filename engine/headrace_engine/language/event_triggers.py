"""Triggers that hear of events: EventBridge's, files that come into a bucket, messages of a queue."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headrace_engine.core.event_patterns import PatternError, check_pattern
from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.problems import PropertyError
from headrace_engine.language.triggers import Trigger
from headrace_engine.model.trigger import EVENTBRIDGE, OWN_BUS, S3, SQS, SQS_REALTIME
from headrace_engine.plugin import IsoDuration, Rendering

_Fixed = Annotated[str, Rendering.STATIC]
_BY_ROLE = "the stack's own role reads the bucket."
_COMES = "files are heard of when they come."
_OF_JAVA = "it is a setting of Kestra's client, which is not here."
_OF_LOOKS = "messages are taken as they come, ten at a time."


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


class QueueTrigger(Trigger):
    """Base of the triggers that take messages of an SQS queue."""

    queue_url: str = Field(min_length=1, description="The URL of the queue, which must exist.")
    serde_type: Annotated[Literal["STRING", "JSON"], Rendering.STATIC] = Field(
        default="STRING", description="How the text of a message is read."
    )
    visibility_timeout: int | None = Field(
        default=None,
        ge=5,
        le=43_200,
        description="For how many seconds nobody else receives a message that was received; 30 when not given.",
    )
    auto_delete: bool = Field(
        default=True, description="Whether a message is removed from the queue once its execution is safe."
    )
    access_key_id: str | None = Field(
        default=None, description="An access key; what runs Headrace has one of its own when not given."
    )
    secret_key_id: str | None = Field(default=None, description="Its secret.")
    session_token: str | None = Field(default=None, description="A session's token.")
    region: str | None = Field(default=None, description="The queue's region; that in `queueUrl` when not given.")
    endpoint_override: str | None = Field(default=None, description="The address of another service that speaks SQS.")
    sts_role_arn: str | None = Field(default=None, description="A role to take.")
    sts_role_external_id: str | None = Field(default=None, description="The external id of that role.")
    sts_role_session_name: str | None = Field(default=None, description="The name of that role's session.")
    sts_role_session_duration: IsoDuration | None = Field(default=None, description="The length of that session.")
    sts_endpoint_override: str | None = Field(default=None, description="Where that role is asked for.")
    compatibility_mode: bool | None = Field(default=None, description="A setting of S3.", deprecated=_OF_JAVA)
    force_path_style: bool | None = Field(default=None, description="A setting of S3.", deprecated=_OF_JAVA)
    max_concurrency: int | None = Field(default=None, description="Connections of the client.", deprecated=_OF_JAVA)
    connection_acquisition_timeout: IsoDuration | None = Field(
        default=None, description="How long the client waits for a connection.", deprecated=_OF_JAVA
    )


class SqsTrigger(QueueTrigger):
    """Looks into an SQS queue again and again, and starts an execution for the messages it takes."""

    TYPE: ClassVar[str] = SQS

    interval: IsoDuration | None = Field(default=None, description="The time between two looks; PT60S when not given.")
    max_records: int | None = Field(default=None, ge=1, description="How many messages an execution gets at most.")
    max_duration: IsoDuration | None = Field(default=None, description="How long a look takes messages at most.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_records is None and self.max_duration is None:
            raise PropertyError("maxRecords", "`maxRecords` or `maxDuration` says when to stop: give one of them.")
        return self


class SqsRealtimeTrigger(QueueTrigger):
    """Starts an execution for every message of an SQS queue."""

    TYPE: ClassVar[str] = SQS_REALTIME

    wait_time: IsoDuration | None = Field(default=None, description="How long to wait.", deprecated=_OF_LOOKS)
    max_number_of_message: int | None = Field(default=None, description="How many at once.", deprecated=_OF_LOOKS)
    client_retry_max_attempts: int | None = Field(
        default=None, description="How often the client tries.", deprecated=_OF_LOOKS
    )


EVENT_TRIGGERS: tuple[type[Trigger], ...] = (EventBridgeTrigger, S3Trigger, SqsTrigger, SqsRealtimeTrigger)
