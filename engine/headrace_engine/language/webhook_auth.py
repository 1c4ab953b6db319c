"""How a webhook's caller proves who it is: the kinds of `auth`, chosen by its `type`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from headrace_engine.language.common import LanguageProperties, PositiveDuration
from headrace_engine.language.markers import Flag
from headrace_engine.language.problems import PropertyError
from headrace_engine.model.algorithms import PUBLIC, SHARED
from headrace_engine.plugin import IsoDuration, Rendering

_SHARED = "The secret that both sides know: `{{ secret('NAME') }}`; a list of two while it is being changed."
_TOLERANCE = "How far the timestamp may be from now; five minutes when not given."
_WINDOW = "How long the same signature is refused a second time; one day when not given, PT0S for not at all."

Secret = str | list[str]
Header = Annotated[str, Rendering.STATIC]


def _not_negative(value: object) -> object:
    if getattr(value, "days", 0) < 0:
        raise ValueError("Must not be shorter than zero.")
    return value


Window = Annotated[IsoDuration, AfterValidator(_not_negative), Rendering.STATIC]


class AuthProperties(LanguageProperties):
    """Base of the kinds of `auth`."""


class HmacAuth(AuthProperties):
    """A header holds the HMAC of the body, made with a secret."""

    type: Literal["hmac"]
    secret: Secret = Field(description=_SHARED)
    header: Header = Field(description="The header with the signature.")
    algorithm: Annotated[Literal["sha256", "sha384", "sha512", "sha1"], Rendering.STATIC] = Field(
        default="sha256", description="The hash function."
    )
    prefix: Annotated[str, Rendering.STATIC] = Field(
        default="", description="What stands before the signature in the header, such as `sha256=`."
    )
    encoding: Annotated[Literal["hex", "base64"], Rendering.STATIC] = Field(
        default="hex", description="How the signature is written."
    )
    timestamp_header: Header | None = Field(
        default=None,
        description="The header with the time of the call: seconds or milliseconds since 1970, or ISO-8601.",
    )
    signed: Annotated[str, Rendering.STATIC] | None = Field(
        default=None,
        description=(
            "What is signed, with `{timestamp}` and `{body}`; `{timestamp}.{body}` when there is a timestamp header, "
            "else `{body}`."
        ),
    )
    tolerance: PositiveDuration | None = Field(default=None, description=_TOLERANCE)
    replay_window: Window | None = Field(default=None, description=_WINDOW)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        signed = self.signed
        if signed is not None and "{body}" not in signed:
            raise PropertyError("signed", "`signed` must hold `{body}`: else any body would do.")
        if signed is not None and ("{timestamp}" in signed) != (self.timestamp_header is not None):
            raise PropertyError("signed", "`{timestamp}` and `timestampHeader` go together: use both, or neither.")
        return self


class GithubAuth(AuthProperties):
    """GitHub's signature, in `X-Hub-Signature-256`."""

    type: Literal["github"]
    secret: Secret = Field(description=_SHARED)
    replay_window: Window | None = Field(default=None, description=_WINDOW)


class StripeAuth(AuthProperties):
    """Stripe's signature, in `Stripe-Signature`."""

    type: Literal["stripe"]
    secret: Secret = Field(description=_SHARED)
    tolerance: PositiveDuration | None = Field(default=None, description=_TOLERANCE)


class SlackAuth(AuthProperties):
    """Slack's signature, in `X-Slack-Signature`."""

    type: Literal["slack"]
    secret: Secret = Field(description=_SHARED)
    tolerance: PositiveDuration | None = Field(default=None, description=_TOLERANCE)


class GitlabAuth(AuthProperties):
    """GitLab's secret token, in `X-Gitlab-Token`."""

    type: Literal["gitlab"]
    secret: Secret = Field(description=_SHARED)


class BearerAuth(AuthProperties):
    """A bearer token, in `Authorization`."""

    type: Literal["bearer"]
    secret: Secret = Field(description=_SHARED)


class ApiKeyAuth(AuthProperties):
    """An API key in a header."""

    type: Literal["apiKey"]
    secret: Secret = Field(description=_SHARED)
    header: Header = Field(default="X-API-Key", description="The header with the key.")


class JwtAuth(AuthProperties):
    """A JSON Web Token; what it says is `trigger.claims`."""

    type: Literal["jwt"]
    secret: Secret | None = Field(default=None, description=_SHARED)
    jwks_url: str | None = Field(default=None, description="Where the issuer publishes its keys.")
    public_key: str | None = Field(default=None, description="The issuer's public key, in PEM.")
    algorithms: (
        list[
            Annotated[
                Literal[
                    "HS256",
                    "HS384",
                    "HS512",
                    "RS256",
                    "RS384",
                    "RS512",
                    "PS256",
                    "PS384",
                    "PS512",
                    "ES256",
                    "ES384",
                    "ES512",
                    "EdDSA",
                ],
                Rendering.STATIC,
            ]
        ]
        | None
    ) = Field(
        default=None, description="The algorithms that count; RS256 when not given, HS256 with a `secret`. Never none."
    )
    issuer: str | None = Field(default=None, description="Who must have issued the token (`iss`).")
    audience: str | list[str] | None = Field(default=None, description="For whom it must be (`aud`).")
    leeway: Window | None = Field(default=None, description="How far clocks may differ; 30 seconds when not given.")
    header: Header = Field(default="Authorization", description="The header with the token.")
    single_use: Flag = Field(default=False, description="Whether a token is taken once only, by its `jti`.")

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Self:
        given = [each for each in (self.secret, self.jwks_url, self.public_key) if each is not None]
        if len(given) != 1:
            raise ValueError("One of `secret`, `jwksUrl` and `publicKey` is needed, and only one.")
        allowed = SHARED if self.secret is not None else PUBLIC
        for algorithm in self.algorithms or ():
            if algorithm not in allowed:
                what = "a `secret`" if self.secret is not None else "a public key"
                raise PropertyError("algorithms", f"`{algorithm}` does not work with {what}.")
        if self.algorithms == []:
            raise PropertyError("algorithms", "At least one algorithm is needed.")
        return self


AUTHS: dict[str, type[AuthProperties]] = {
    "hmac": HmacAuth,
    "github": GithubAuth,
    "stripe": StripeAuth,
    "slack": SlackAuth,
    "gitlab": GitlabAuth,
    "bearer": BearerAuth,
    "apiKey": ApiKeyAuth,
    "jwt": JwtAuth,
}
