"""Inputs and outputs of a flow (reference §6, §7), and the inputs of a Pause."""

from datetime import date, datetime, time
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from headrace_engine.language.common import Identifier, LanguageProperties
from headrace_engine.language.identifiers import INPUT_ID, in_schema
from headrace_engine.language.markers import Flag, Text, Verbatim
from headrace_engine.language.problems import PropertyError
from headrace_engine.plugin import IsoDuration, Rendering


def pattern(value: str) -> str:
    """Return *value* when it is a regular expression. Raises ValueError otherwise."""
    import re2  # noqa: PLC0415 - loaded with the first pattern

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"`{value}` is no valid regular expression: {reason}.") from None
    return value


def _texts(value: Any) -> Any:
    """Let numbers and truth values in a list of choices be what they look like."""
    if isinstance(value, list):
        return [str(item).lower() if isinstance(item, bool) else item for item in value]
    return value


Pattern = Annotated[str, AfterValidator(pattern), Rendering.STATIC]
StaticInt = Annotated[int, Rendering.STATIC]
StaticFloat = Annotated[float, Rendering.STATIC]
Texts = Annotated[list[str], BeforeValidator(_texts), Rendering.STATIC]


class DependsOn(LanguageProperties):
    """When an input is asked for, by the inputs before it."""

    inputs: Annotated[list[str], Rendering.STATIC] = Field(
        min_length=1, description="Ids of the inputs that must be given first."
    )
    condition: str | None = Field(
        default=None,
        validation_alias=AliasChoices("condition", "when"),
        description="An expression; when it is not true the input is left out.",
    )


class InputProperties(LanguageProperties):
    """A value that an execution is started with."""

    id: Identifier = Field(
        validation_alias=AliasChoices("id", "name"),
        description="The input's id; `a.b` becomes the key `b` of the map `inputs.a`.",
        json_schema_extra=in_schema(INPUT_ID, 256),
    )
    description: Text | None = Field(default=None, description="What the input is for, in Markdown.")
    display_name: Annotated[str, Verbatim.VERBATIM] | None = Field(
        default=None, max_length=64, description="The name that forms show."
    )
    required: Flag = Field(default=True, description="Whether an execution without it is refused.")
    defaults: Any = Field(default=None, description="The value when none is given; expressions are rendered.")
    prefill: Any = Field(default=None, description="The value that forms propose.")
    depends_on: DependsOn | None = Field(default=None, description="When the input is asked for, by other inputs.")


class _Bounded(InputProperties):
    """An input between two bounds."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        for low, high in (("min", "max"), ("after", "before")):
            least, most = getattr(self, low, None), getattr(self, high, None)
            if least is None or most is None:
                continue
            try:
                ordered = least <= most
            except TypeError:
                message = f"`{low}` and `{high}` must both have a time zone, or neither."
                raise PropertyError(high, message) from None
            if not ordered:
                raise PropertyError(high, f"`{low}` must not be greater than `{high}`.")
        return self


class StringInput(InputProperties):
    """A text."""

    type: Literal["STRING"]
    validator: Pattern | None = Field(default=None, description="A regular expression that the whole text must match.")


class IntInput(_Bounded):
    """A whole number."""

    type: Literal["INT"]
    min: StaticInt | None = Field(default=None, description="The least value allowed.")
    max: StaticInt | None = Field(default=None, description="The greatest value allowed.")


class FloatInput(_Bounded):
    """A number."""

    type: Literal["FLOAT"]
    min: StaticFloat | None = Field(default=None, description="The least value allowed.")
    max: StaticFloat | None = Field(default=None, description="The greatest value allowed.")


class BooleanInput(InputProperties):
    """True or false; any text but `true` is false. BOOL is the newer form."""

    type: Literal["BOOLEAN"]


class BoolInput(InputProperties):
    """True or false, never nothing: false when not given."""

    type: Literal["BOOL"]


class DatetimeInput(_Bounded):
    """An instant, ISO-8601 with a zone."""

    type: Literal["DATETIME"]
    after: Annotated[datetime, Rendering.STATIC] | None = Field(
        default=None, description="The earliest instant allowed."
    )
    before: Annotated[datetime, Rendering.STATIC] | None = Field(
        default=None, description="The latest instant allowed."
    )


class DateInput(_Bounded):
    """A date, yyyy-MM-dd."""

    type: Literal["DATE"]
    after: Annotated[date, Rendering.STATIC] | None = Field(default=None, description="The earliest date allowed.")
    before: Annotated[date, Rendering.STATIC] | None = Field(default=None, description="The latest date allowed.")


class TimeInput(_Bounded):
    """A time of day."""

    type: Literal["TIME"]
    after: Annotated[time, Rendering.STATIC] | None = Field(default=None, description="The earliest time allowed.")
    before: Annotated[time, Rendering.STATIC] | None = Field(default=None, description="The latest time allowed.")


class DurationInput(_Bounded):
    """A length of time, ISO-8601 such as PT30S."""

    type: Literal["DURATION"]
    min: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="The shortest duration allowed."
    )
    max: Annotated[IsoDuration, Rendering.STATIC] | None = Field(
        default=None, description="The longest duration allowed."
    )


class FileInput(InputProperties):
    """A file: uploaded, or the URI of one in internal storage."""

    type: Literal["FILE"]
    extension: Annotated[str, Rendering.STATIC] | None = Field(
        default=None, description="The extension of the stored file when the upload has none; `.upl` by default."
    )
    allowed_file_extensions: Annotated[list[str], Rendering.STATIC] | None = Field(
        default=None, description="The extensions that an upload may have."
    )


class JsonInput(InputProperties):
    """A JSON document; the context holds the parsed value."""

    type: Literal["JSON"]
    json_schema: Annotated[dict[str, Any], Verbatim.VERBATIM] | None = Field(
        default=None, description="A JSON Schema that the value must satisfy."
    )


class YamlInput(InputProperties):
    """A YAML document; the context holds the parsed value."""

    type: Literal["YAML"]


class UriInput(InputProperties):
    """A URI."""

    type: Literal["URI"]


class SecretInput(InputProperties):
    """A text that is stored encrypted and masked in logs."""

    type: Literal["SECRET"]
    validator: Pattern | None = Field(default=None, description="A regular expression that the whole text must match.")


class EmailInput(InputProperties):
    """An e-mail address."""

    type: Literal["EMAIL"]


class EnumInput(InputProperties):
    """One of several texts. SELECT is the newer form."""

    type: Literal["ENUM"]
    values: Texts = Field(min_length=1, description="The values to choose from.")


class _Choice(InputProperties):
    values: Texts | None = Field(default=None, min_length=1, description="The values to choose from.")
    expression: str | None = Field(default=None, description="An expression that gives the list of values.")
    allow_custom_value: Flag = Field(default=False, description="Whether other values are allowed too.")
    auto_select_first: Flag = Field(default=False, description="Whether the first value is the default.")

    @model_validator(mode="after")
    def _has_choices(self) -> Self:
        if self.values is None and self.expression is None:
            raise ValueError("Either `values` or `expression` is required.")
        if self.values is not None and self.expression is not None:
            raise PropertyError("expression", "`values` and `expression` exclude each other: keep one.")
        return self


class SelectInput(_Choice):
    """One of several texts."""

    type: Literal["SELECT"]
    is_radio: Flag = Field(default=False, description="Whether forms show radio buttons.")


_ItemType = Literal[
    "STRING",
    "INT",
    "FLOAT",
    "BOOLEAN",
    "BOOL",
    "DATETIME",
    "DATE",
    "TIME",
    "DURATION",
    "FILE",
    "JSON",
    "YAML",
    "URI",
    "SECRET",
    "ENUM",
    "SELECT",
    "MULTISELECT",
    "EMAIL",
]


class MultiselectInput(_Choice):
    """Any number of several texts."""

    type: Literal["MULTISELECT"]
    item_type: Annotated[_ItemType, Rendering.STATIC] = Field(default="STRING", description="The type of the values.")


class ArrayInput(InputProperties):
    """A list whose items all have one type."""

    type: Literal["ARRAY"]
    item_type: Annotated[_ItemType, Rendering.STATIC] = Field(description="The type of the items; not ARRAY.")


INPUTS: dict[str, type[InputProperties]] = {
    "STRING": StringInput,
    "INT": IntInput,
    "FLOAT": FloatInput,
    "BOOL": BoolInput,
    "BOOLEAN": BooleanInput,
    "DATETIME": DatetimeInput,
    "DATE": DateInput,
    "TIME": TimeInput,
    "DURATION": DurationInput,
    "FILE": FileInput,
    "JSON": JsonInput,
    "YAML": YamlInput,
    "URI": UriInput,
    "SECRET": SecretInput,
    "EMAIL": EmailInput,
    "ENUM": EnumInput,
    "SELECT": SelectInput,
    "MULTISELECT": MultiselectInput,
    "ARRAY": ArrayInput,
}

INPUT_WARNINGS = {"BOOLEAN": "BOOL", "ENUM": "SELECT"}
"""Deprecated input types and what replaces them."""


class OutputProperties(LanguageProperties):
    """A value that an execution hands back; rendered when it ends."""

    id: Identifier = Field(description="The output's id.")
    type: Annotated[
        Literal[
            "STRING",
            "INT",
            "FLOAT",
            "BOOL",
            "BOOLEAN",
            "DATETIME",
            "DATE",
            "TIME",
            "DURATION",
            "FILE",
            "JSON",
            "YAML",
            "URI",
            "SECRET",
            "EMAIL",
            "ENUM",
            "SELECT",
            "MULTISELECT",
            "ARRAY",
        ],
        Rendering.STATIC,
    ] = Field(description="The type that the rendered value is converted to.")
    value: Any = Field(description="The value; expressions in it are rendered.")
    description: Text | None = Field(default=None, description="What the output is, in Markdown.")
    display_name: Annotated[str, Verbatim.VERBATIM] | None = Field(default=None, description="The name that is shown.")
    required: Flag = Field(default=True, description="Whether the execution fails when the value cannot be rendered.")
    item_type: Annotated[_ItemType, Rendering.STATIC] | None = Field(
        default=None, description="ARRAY: the type of the items."
    )
    values: Texts | None = Field(default=None, description="SELECT, ENUM: the values allowed.")

    @model_validator(mode="after")
    def _array(self) -> Self:
        if self.type == "ARRAY" and self.item_type is None:
            raise ValueError("An output of type ARRAY requires `itemType`.")
        return self
