"""The gate: who asks, whether they may, and what is written down of it. No route is answered but through it.

A route names the least role that may ask it. The role must be held in the namespace that the path names, or whose
execution it names; a route that names neither is for those who have the role in every namespace, unless it says that
it looks at each namespace itself (`Route.each`): then it is for those who have the role in any, and its answer holds,
or changes, only what `within` and `demand` let through.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard, overload
from urllib.parse import urlsplit

from headrace_engine.accounts import Accounts
from headrace_engine.api.http import Admission, Answer, ApiError, Later, Request, Response
from headrace_engine.api.route import Route
from headrace_engine.identity import EVERYWHERE, Kind, Principal, Role
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Audit, AuditRecord, Clock, PortError

if TYPE_CHECKING:
    from headrace_engine.api.entrance import Entrance

Who = Callable[[Request], Principal]
"""Returns who asks. Raises ApiError 401 when they do not show it, 429 when they tried too often."""

_log = logging.getLogger(__name__)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_AMBIENT = frozenset({Kind.LOCAL, Kind.PASSWORD, Kind.SESSION})
"""What a browser shows by itself, also when another site's page makes it ask."""

_NAME = re.compile(r"\{(\w+)\}")
_SHOWN = ("namespace", "flow_id")
_LONGEST_NAME = 500
_MOST_NOTES = 200

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # addresses hold keys of webhooks and signatures of links
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_NO_FRAMES = "frame-ancestors 'none'"
_NOTHING_LOADED = f"default-src 'none'; {_NO_FRAMES}"
"""For what is no page of ours: a file that somebody stored runs nothing when a browser shows it."""

CHALLENGE = {"www-authenticate": 'Basic realm="Headrace", charset="UTF-8"'}


def demand(request: Request, role: Role, namespace: str) -> None:
    """Return when who asks has *role* in *namespace*. Raises ApiError 403."""
    principal = request.principal
    if principal is None or not principal.may(role, namespace):
        raise forbidden(role, namespace)


def within(request: Request, role: Role, asked: str = EVERYWHERE) -> tuple[str, ...]:
    """Return the prefixes of the namespaces within *asked* in which who asks has *role*.

    ``("",)`` is everywhere and ``()`` nowhere; none lies within another.
    """
    return request.principal.narrowed(role, asked) if request.principal is not None else ()


def forbidden(role: Role, namespace: str | None = None) -> ApiError:
    """Return the refusal of somebody who lacks a role; *namespace* is one that they named themselves."""
    where = {None: "", EVERYWHERE: " for every namespace"}.get(namespace, f" in namespace {namespace}")
    return ApiError(403, f"Forbidden: this needs the role {role}{where}")


def unauthorized(*, asks: bool = True) -> ApiError:
    """Return the refusal of somebody who does not show who they are, or not rightly: it does not say which.

    It *asks* for name and password, which a browser does with a window of its own.
    """
    return ApiError(401, "Unauthorized", headers=CHALLENGE if asks else {})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the route it is for. *told* turns what a route raises into an answer."""

    route: Route
    names: Mapping[str, str]
    request: Request
    told: Callable[[Callable[[], Answer]], Answer]

    def answer(self) -> Answer:
        """Have the route answer."""
        return self.told(lambda: self.route.answer(self.request, **self.names))

    def namespace(self, namespace_of: Callable[[str], str | None]) -> str | None:
        """Return the namespace that the path names, by itself or by an execution; None when it names none."""
        if "namespace" in self.names:
            return self.names["namespace"]
        return namespace_of(self.names["execution_id"]) if "execution_id" in self.names else None


class Gate:
    """Lets pass who may.

    *who* tells who asks; *accounts* are the users and tokens that admins change, and *entrance* is where people sign
    in, where there are any; while it *is_open*, nobody is asked. *hosts* are the
    names by which the server may be asked, where it asks nobody for credentials: a name that somebody else points at
    this machine is not among them (None: any name). *origins* are those of other sites whose pages may ask in a
    person's name.
    """

    def __init__(
        self,
        who: Who,
        audit: Audit,
        clock: Clock,
        *,
        accounts: Accounts | None = None,
        entrance: Entrance | None = None,
        is_open: Callable[[], bool] = lambda: False,
        hosts: frozenset[str] | None = None,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self.audit = audit
        self.clock = clock
        self.accounts = accounts
        self.entrance = entrance
        self._is_open = is_open
        self._who = who
        self._hosts = hosts
        self._origins = origins

    @property
    def asks(self) -> bool:
        """Whether people are asked who they are, and can sign in."""
        return self.entrance is not None and not self._is_open()

    def answer(self, asked: Asked, namespace_of: Callable[[str], str | None]) -> Answer:
        """Answer what is asked, if who asks may.

        *namespace_of* tells an execution's namespace, None when there is no such execution. Raises ApiError 401, 403,
        404, 429.
        """
        if asked.route.role is Role.OPEN:
            # The route asks for its own proof, and nothing that a browser adds by itself is one.
            return self._open(replace(asked, request=replace(asked.request, principal=None)))
        asked, record = self._let_in(asked, namespace_of)
        return asked.answer() if record is None else self._changed(asked, record)

    def admit(self, asked: Asked, namespace_of: Callable[[str], str | None]) -> Admission:
        """Tell whether a request may be answered whose body is still to come; who asks is known from then on.

        Raises ApiError as `answer` does.
        """
        if asked.route.role is Role.OPEN:
            admits = asked.route.admits
            return Admission(largest=admits(asked.request, **asked.names) if admits is not None else None)
        asked, _ = self._let_in(asked, namespace_of)
        return Admission(principal=asked.request.principal)

    def _let_in(self, asked: Asked, namespace_of: Callable[[str], str | None]) -> tuple[Asked, AuditRecord | None]:
        """Return what somebody asks who may, and the record of a change. A change that is refused is written down."""
        route, request = asked.route, asked.request
        principal = self._who(request)
        if principal.kind is Kind.LOCAL:
            self._refuse_other_hosts(request)
        if (route.is_change or request.method not in _READING) and principal.kind in _AMBIENT:
            self.refuse_other_sites(request)
        asked = replace(asked, request=replace(request, principal=principal))
        may_everywhere = principal.may(route.role, EVERYWHERE)
        namespace = asked.namespace(namespace_of) if route.is_change or not may_everywhere else None
        record = self._record(principal, asked, namespace or "") if route.is_change else None
        if not may_everywhere:
            try:
                _admit(principal, route, namespace)
            except ApiError as refusal:
                if record is not None:
                    self.audit.write(replace(record, status=refusal.status))
                raise
        return asked, record

    def _changed(self, asked: Asked, record: AuditRecord) -> Answer:
        """Answer, with a record that is there before anything changes; what is known only afterwards is added."""
        self.audit.write(record)
        answer = asked.answer()
        status = answer.status if _failed(answer) else 0
        if status or asked.request.notes:
            self._add(replace(record, status=status, notes=_kept(asked.request.notes)))
        return answer

    def _open(self, asked: Asked) -> Answer:
        answer = asked.answer()
        # Whoever proved nothing has changed nothing, and shall not fill the audit.
        if asked.route.is_change and not _failed(answer):
            record = self._record(None, asked, asked.names.get("namespace", ""))
            self._add(replace(record, notes=_kept(asked.request.notes)))
        return answer

    def _add(self, record: AuditRecord) -> None:
        """Write what is known afterwards. That it cannot be written does not undo what was done, and is no answer."""
        try:
            self.audit.write(record)
        except PortError:
            _log.exception("An audit record could not be written: %s", record)

    def _record(self, principal: Principal | None, asked: Asked, namespace: str) -> AuditRecord:
        # In the path of an open route stands what opens it.
        shown = asked.names if principal is not None else {key: asked.names.get(key, "…") for key in _SHOWN}
        return AuditRecord(
            at=self.clock.now(),
            id=new_id(),
            who=principal.name if principal is not None else "",
            kind=principal.kind if principal is not None else Kind.OPEN,
            token=principal.token if principal is not None else "",
            client=asked.request.client,
            action=f"{asked.route.method} {asked.route.path}",
            target=_NAME.sub(lambda name: shown.get(name[1], "…")[:_LONGEST_NAME], asked.route.path),
            namespace=namespace[:_LONGEST_NAME],
        )

    def _refuse_other_hosts(self, request: Request) -> None:
        """Raise ApiError 403 when a page of another site reached this server by a name of its own (DNS rebinding)."""
        if self._hosts is not None and _host_of(request.headers.get("host", "")) not in self._hosts:
            raise ApiError(
                403, "Forbidden: without credentials this server answers only under the name of this machine"
            )

    def refuse_other_sites(self, request: Request) -> None:
        """Raise ApiError 403 when a page of another site asks in the name of whoever looks at it."""
        origin = request.headers.get("origin")
        if origin in self._origins:
            return
        site = request.headers.get("sec-fetch-site", "none")
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
        if foreign or site not in ("same-origin", "none"):
            raise ApiError(403, "Forbidden: a page of another site asks; use an API token")


def _host_of(authority: str) -> str:
    """Return the host of ``host:port`` in lower case, without the brackets of an IPv6 address; empty without one."""
    try:
        return (urlsplit(f"//{authority}").hostname or "") if "@" not in authority else ""
    except ValueError:
        return ""


def _kept(notes: Sequence[str]) -> tuple[str, ...]:
    """Return the notes as a record holds them, however many there are and however long: a store takes no more."""
    kept = [note[:_LONGEST_NAME] for note in notes[:_MOST_NOTES]]
    more = len(notes) - len(kept)
    return (*kept, f"and {more} more") if more else tuple(kept)


def _failed(answer: Answer) -> TypeGuard[Response]:
    return isinstance(answer, Response) and answer.status >= 400


def _admit(principal: Principal, route: Route, namespace: str | None) -> None:
    """Return when *principal* may ask. Raises ApiError 403; 404 for an execution that is not theirs to know of."""
    role = route.role
    if "{namespace}" in route.segments:
        if namespace is None or not principal.may(role, namespace):
            raise forbidden(role, namespace)
    elif "{execution_id}" in route.segments:
        if not principal.best.covers(role):
            raise forbidden(role)  # alike, whether there is such an execution or not
        if namespace is None or not principal.may(Role.VIEWER, namespace):
            raise ApiError(404, "Not Found: no such execution")
        if not principal.may(role, namespace):
            raise forbidden(role, namespace)
    elif not route.each:
        raise forbidden(role, EVERYWHERE)
    elif not principal.best.covers(role):
        raise forbidden(role)


@overload
def safe(answer: Response) -> Response: ...
@overload
def safe(answer: Answer) -> Answer: ...
def safe(answer: Answer) -> Answer:
    """Return the answer with what keeps browsers, and caches on its way, from giving it to others.

    What the answer says itself of how it may be kept and shown stands; that no other site may frame it is added.
    """
    if isinstance(answer, Later):
        look = answer.look

        def looked() -> Response | None:
            found = look()
            return None if found is None else replace(found, headers=_safe(found.headers))

        given_up = answer.given_up
        told = None if given_up is None else replace(given_up, headers=_safe(given_up.headers))
        return replace(answer, look=looked, given_up=told)
    return replace(answer, headers=_safe(answer.headers))


def _safe(headers: Mapping[str, str]) -> Mapping[str, str]:
    policy = headers.get("content-security-policy", _NOTHING_LOADED)
    if "frame-ancestors" not in policy:
        policy = f"{policy}; {_NO_FRAMES}"
    return {**_ALWAYS, **headers, "content-security-policy": policy}
