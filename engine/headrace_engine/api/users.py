"""Users, tokens and the audit: who may ask, as admins say, and who did what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired, TypedDict

import msgspec

from headrace_engine.accounts import AccountError, Accounts, NewToken
from headrace_engine.api.filters import LARGEST_PAGE
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.identity import Grant, Kind, Principal, Role, is_within
from headrace_engine.ports import Audit, AuditRecord, Clock, Token, User, UserChangedError
from headrace_engine.view import instant

_READ_AT_ONCE = 10_000
"""Records that are looked at for one answer, however few of them fit."""
_SINCE = timedelta(days=30)


class Me(TypedDict):
    """Who asks."""

    name: str
    kind: str
    grants: list[str]


class UserView(TypedDict):
    """A user; never a password or its hash."""

    name: str
    grants: list[str]
    disabled: bool
    hasPassword: bool
    created: str | None


class TokenView(TypedDict):
    """A token; what its holder shows is told once, when it is made."""

    id: str
    about: str
    grants: list[str]
    created: str
    expires: str | None
    token: NotRequired[str]


class AuditView(TypedDict):
    """Somebody changed something, or was refused to."""

    at: str
    who: str
    kind: str
    client: str
    action: str
    target: str
    namespace: str
    token: str | None
    status: int | None
    notes: list[str]


class AuditPage(TypedDict):
    """Some records, the newest first. With `next` as `after` the ones before them are asked for; null ends the list."""

    results: list[AuditView]
    next: str | None


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to be made."""

    name: str
    grants: list[str]
    password: str = ""


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What of a user is to be another; what is left out stays."""

    grants: list[str] | None = None
    password: str | None = None
    disabled: bool | None = None


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """Another password for who knows the one before."""

    password: str
    newPassword: str  # noqa: N815 - as JSON has it


class TokenWish(msgspec.Struct, forbid_unknown_fields=True):
    """A token to be made: what for, for how long (for ever without), and what it may at most."""

    about: str = ""
    days: float | None = None
    grants: list[str] = []


class UserRoutes:
    """Answers requests about users, tokens and the audit."""

    def __init__(self, accounts: Accounts, audit: Audit, clock: Clock) -> None:
        self._accounts = accounts
        self._audit = audit
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """Return the routes. Those of /me are for everybody, the others for who is an admin everywhere."""
        return (*self._own(), *self._of_users(), *self._of_tokens(), self._of_audit())

    def _own(self) -> tuple[Route, ...]:
        own: dict[str, Any] = {"role": Role.VIEWER, "each": True}
        return (
            Route("GET", "/me", self.me, **own, summary="Who asks", returns=(Returns(200, Me),), refuses=()),
            Route(
                "PUT",
                "/me/password",
                self.change_own_password,
                **own,
                changes=True,
                summary="Change one's password",
                bodies=(Body(PasswordChange),),
                returns=(Returns(204),),
                refuses=(409, 422),
            ),
            Route(
                "GET",
                "/me/tokens",
                self.own_tokens,
                **own,
                summary="List one's tokens",
                returns=(Returns(200, list[TokenView]),),
                refuses=(409,),
            ),
            Route(
                "POST",
                "/me/tokens",
                self.add_own_token,
                **own,
                changes=True,
                summary="Make a token for oneself",
                bodies=(Body(TokenWish),),
                returns=(Returns(201, TokenView),),
                refuses=(409, 422),
            ),
            Route(
                "DELETE",
                "/me/tokens/{token_id}",
                self.delete_own_token,
                **own,
                changes=True,
                summary="Delete one of one's tokens",
                returns=(Returns(204),),
                refuses=(404, 409),
            ),
        )

    def _of_users(self) -> tuple[Route, ...]:
        one = (Returns(200, UserView),)
        return (
            Route("GET", "/users", self.all, summary="List users", returns=(Returns(200, list[UserView]),), refuses=()),
            Route(
                "POST",
                "/users",
                self.add,
                summary="Make a user",
                bodies=(Body(NewUser),),
                returns=(Returns(201, UserView),),
                refuses=(422,),
            ),
            Route("GET", "/users/{name}", self.get, summary="Get a user", returns=one, refuses=(404,)),
            Route(
                "PUT",
                "/users/{name}",
                self.change,
                summary="Change a user",
                bodies=(Body(UserChange),),
                returns=one,
                refuses=(404, 409, 422),
            ),
            Route(
                "DELETE",
                "/users/{name}",
                self.delete,
                summary="Delete a user and their tokens",
                returns=(Returns(204),),
                refuses=(404, 422),
            ),
        )

    def _of_tokens(self) -> tuple[Route, ...]:
        tokens = "/users/{name}/tokens"
        return (
            Route(
                "GET",
                tokens,
                self.tokens,
                summary="List a user's tokens",
                returns=(Returns(200, list[TokenView]),),
                refuses=(404,),
            ),
            Route(
                "POST",
                tokens,
                self.add_token,
                summary="Make a token for a user",
                bodies=(Body(TokenWish),),
                returns=(Returns(201, TokenView),),
                refuses=(404, 422),
            ),
            Route(
                "DELETE",
                f"{tokens}/{{token_id}}",
                self.delete_token,
                summary="Delete a token",
                returns=(Returns(204),),
                refuses=(404,),
            ),
        )

    def _of_audit(self) -> Route:
        return Route(
            "GET",
            "/audit/search",
            self.search,
            summary="Search the audit: who changed what, when, from where",
            query=(
                Query("who", str, "The user."),
                Query("namespace", str, "The namespace, or one it lies below."),
                Query("q", str, "A part of action, target or notes."),
                Query("startDate", datetime, "From when; 30 days ago unless told."),
                Query("endDate", datetime, "Until before when; now unless told."),
                Query("size", int, f"How many, {LARGEST_PAGE} at most; 25 unless told."),
                Query("after", str, "`next` of the answer before."),
            ),
            returns=(Returns(200, AuditPage),),
            refuses=(),
        )

    # -- Oneself ------------------------------------------------------------------------------------

    def me(self, request: Request) -> Response:
        """Tell who asks, and what they may."""
        principal = _principal(request)
        grants = [str(grant) for grant in principal.grants]
        return json_response(Me(name=principal.name, kind=principal.kind, grants=grants))

    def change_own_password(self, request: Request) -> Response:
        """Set another password for who knows the one before."""
        name = self._logged_in(request)
        change = request.json(PasswordChange)
        with _problems():
            self._accounts.change_own_password(name, change.password, change.newPassword)
        return Response(204)

    def own_tokens(self, request: Request) -> Response:
        """List the tokens of who asks."""
        return json_response([_token(each) for each in self._accounts.tokens(self._logged_in(request))])

    def add_own_token(self, request: Request) -> Response:
        """Make a token that may what its user may, or less."""
        return self._new_token(request, self._logged_in(request))

    def delete_own_token(self, request: Request, token_id: str) -> Response:
        """Have a token of who asks be worth nothing."""
        self._accounts.delete_token(self._logged_in(request), token_id)
        return Response(204)

    def _logged_in(self, request: Request) -> str:
        """Return the name of the stored user who showed a password: a token makes none that outlive it."""
        principal = _principal(request)
        if principal.kind is not Kind.PASSWORD:
            raise ApiError(409, "Illegal state: this is for who logs in with a password")
        if not any(user.name == principal.name for user in self._accounts.all()):
            raise ApiError(
                409,
                f"Illegal state: {principal.name} is no stored user, but given to the server; make a user for yourself",
            )
        return principal.name

    # -- Users --------------------------------------------------------------------------------------

    def all(self, _request: Request) -> Response:
        """List all users."""
        return json_response([_user(user) for user in self._accounts.all()])

    def add(self, request: Request) -> Response:
        """Make a user; one without a password has tokens only."""
        wish = request.json(NewUser)
        request.note(f"user {wish.name[:200]}: {', '.join(wish.grants)[:500]}")
        with _problems():
            return json_response(_user(self._accounts.add(wish.name, _grants(wish.grants), wish.password)), 201)

    def get(self, _request: Request, name: str) -> Response:
        """Get a user."""
        return json_response(_user(self._accounts.get(name)))

    def change(self, request: Request, name: str) -> Response:
        """Change what is given of a user."""
        change = request.json(UserChange)
        grants = _grants(change.grants) if change.grants is not None else None
        if name == _principal(request).name and (change.disabled or grants is not None):
            # So there is always an admin: the one who took the role from the last other one.
            raise ApiError(422, "Illegal argument: what you may, another admin must change")
        told = {"grants": ", ".join(change.grants or ())[:500], "disabled": change.disabled, "password": "another"}
        given = {"grants": grants, "disabled": change.disabled, "password": change.password}
        request.note(", ".join(f"{key}: {told[key]}" for key, value in given.items() if value is not None))
        with _problems():
            user = self._accounts.change(name, grants=grants, password=change.password, disabled=change.disabled)
        return json_response(_user(user))

    def delete(self, request: Request, name: str) -> Response:
        """Delete a user and their tokens."""
        if name == _principal(request).name:
            raise ApiError(422, "Illegal argument: another admin must delete you")
        with _problems():
            self._accounts.delete(name)
        return Response(204)

    def tokens(self, _request: Request, name: str) -> Response:
        """List a user's tokens."""
        return json_response([_token(each) for each in self._accounts.tokens(name)])

    def add_token(self, request: Request, name: str) -> Response:
        """Make a token in a user's name."""
        return self._new_token(request, name)

    def delete_token(self, _request: Request, name: str, token_id: str) -> Response:
        """Have a user's token be worth nothing."""
        self._accounts.delete_token(name, token_id)
        return Response(204)

    def _new_token(self, request: Request, name: str) -> Response:
        wish = request.json(TokenWish)
        with _problems():
            made = self._accounts.add_token(
                name, about=wish.about, lifetime=_days(wish.days), grants=_grants(wish.grants)
            )
        request.note(f"token {made.token.id}")
        return json_response(_new(made), 201)

    # -- The audit ----------------------------------------------------------------------------------

    def search(self, request: Request) -> Response:
        """Search the audit, the newest records first."""
        now = self._clock.now()
        size = request.number("size", 25)
        if size > LARGEST_PAGE:
            raise ApiError(400, f"Bad request: `size` is {LARGEST_PAGE} at most")
        # What is written at this very instant belongs to it.
        end = _date(request, "endDate") or now + timedelta(microseconds=1)
        records = self._audit.read(
            start=_date(request, "startDate") or now - _SINCE, end=end, before=_place(request.one("after"))
        )
        found: list[AuditRecord] = []
        last: AuditRecord | None = None
        for number, record in enumerate(records):
            if len(found) == size or number == _READ_AT_ONCE:
                break
            last = record
            if _fits(record, request):
                found.append(record)
        else:
            last = None
        then = f"{instant(last.at)}~{last.id}" if last is not None else None
        return json_response(AuditPage(results=[_record(each) for each in found], next=then))


def _fits(record: AuditRecord, request: Request) -> bool:
    who, namespace, text = request.one("who"), request.one("namespace"), request.one("q")
    if who and record.who != who:
        return False
    if namespace and not is_within(record.namespace, namespace):
        return False
    return not text or text.casefold() in " ".join((record.action, record.target, *record.notes)).casefold()


def _date(request: Request, name: str) -> datetime | None:
    value = request.one(name)
    if not value:
        return None
    try:
        date = datetime.fromisoformat(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ApiError(400, f"Bad request: `{name}` is an instant such as 2024-12-20T10:11:12Z") from None


def _place(value: str | None) -> tuple[datetime, str] | None:
    if not value:
        return None
    at, tilde, id_ = value.partition("~")
    try:
        if tilde:
            return datetime.fromisoformat(at).astimezone(UTC), id_
    except (ValueError, OverflowError):
        pass
    raise ApiError(400, "Bad request: `after` is what an answer has as `next`")


def _grants(texts: Sequence[str]) -> list[Grant]:
    try:
        return [Grant.parse(text) for text in texts]
    except ValueError as error:
        raise ApiError(422, f"Illegal argument: {error}") from None


def _days(days: float | None) -> timedelta | None:
    if days is None:
        return None
    try:
        return timedelta(days=days)
    except (OverflowError, ValueError):
        raise ApiError(422, "Illegal argument: `days` is how long a token lives; without it, for ever") from None


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except AccountError as error:
        raise ApiError(422, f"Illegal argument: {error}") from None
    except UserChangedError as error:
        raise ApiError(409, f"Illegal state: {error}") from None


def _principal(request: Request) -> Principal:
    if request.principal is None:
        raise ApiError(401, "Unauthorized")
    return request.principal


def _user(user: User) -> UserView:
    return UserView(
        name=user.name,
        grants=[str(grant) for grant in user.grants],
        disabled=user.disabled,
        hasPassword=bool(user.password),
        created=instant(user.created) if user.created is not None else None,
    )


def _token(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        about=token.about,
        grants=[str(grant) for grant in token.grants],
        created=instant(token.created),
        expires=instant(token.expires) if token.expires is not None else None,
    )


def _new(made: NewToken) -> TokenView:
    return {**_token(made.token), "token": made.shown}


def _record(record: AuditRecord) -> AuditView:
    return AuditView(
        at=instant(record.at),
        who=record.who,
        kind=record.kind,
        client=record.client,
        action=record.action,
        target=record.target,
        namespace=record.namespace,
        token=record.token or None,
        status=record.status or None,
        notes=list(record.notes),
    )
