"""How long executions, logs and files are kept, by namespace (`headrace_engine.retention`)."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.names import namespace_of
from headrace_engine.api.route import Body, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.retention import (
    EVERYWHERE,
    Kept,
    Retention,
    RetentionRefused,
    Rule,
    holding,
    length_text,
    read_length,
)


class RuleView(TypedDict):
    """A rule: ISO durations such as P30D, or FOREVER; what is left out is what the namespace above says."""

    executions: NotRequired[str | None]
    logs: NotRequired[str | None]
    files: NotRequired[str | None]


class HoldsView(TypedDict):
    """What holds, and the namespace that says so; an empty one for the rule of all."""

    length: str
    namespace: str


class RetentionView(TypedDict):
    """What a namespace says, and what holds for it; FOREVER where nobody says anything."""

    namespace: str
    rule: RuleView
    holds: dict[str, HoldsView]


class RetentionRoutes:
    """Answers requests about rules."""

    def __init__(self, engine: Engine) -> None:
        self._retention = Retention(engine)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/namespaces/{namespace}/retention"
        returns = (Returns(200, RetentionView),)
        set_: dict[str, Any] = {"bodies": (Body(RuleView),), "returns": returns, "refuses": (422,)}
        return (
            Route(
                "GET",
                "/retention",
                self.of_all,
                role=Role.ADMIN,
                summary="Get how long things are kept where no rule says it",
                returns=returns,
                refuses=(),
            ),
            Route(
                "PUT",
                "/retention",
                self.set_for_all,
                role=Role.ADMIN,
                summary="Set how long things are kept where no rule says it",
                **set_,
            ),
            Route(
                "GET",
                one,
                self.of,
                role=Role.VIEWER,
                summary="Get how long things of a namespace are kept",
                returns=returns,
                refuses=(422,),
            ),
            Route(
                "PUT",
                one,
                self.set,
                role=Role.ADMIN,
                summary="Set how long things of a namespace are kept",
                **set_,
            ),
            Route(
                "DELETE",
                one,
                self.delete,
                role=Role.ADMIN,
                summary="Have things of a namespace kept as the one above it says",
                returns=returns,
                refuses=(422,),
            ),
        )

    def of_all(self, _request: Request) -> Response:
        """Return the rule that holds where there is no other."""
        return self._answer(EVERYWHERE)

    def set_for_all(self, request: Request) -> Response:
        """Set that rule."""
        return self._set(EVERYWHERE, request)

    def of(self, _request: Request, namespace: str) -> Response:
        """Return a namespace's rule, and what holds for it."""
        return self._answer(namespace_of(namespace))

    def set(self, request: Request, namespace: str) -> Response:
        """Set a namespace's rule, in the place of the one it had."""
        return self._set(namespace_of(namespace), request)

    def delete(self, _request: Request, namespace: str) -> Response:
        """Forget a namespace's rule."""
        self._retention.set(namespace_of(namespace), Rule())
        return self._answer(namespace)

    def _set(self, namespace: str, request: Request) -> Response:
        given: dict[str, str | None] = dict(request.json(RuleView))
        try:
            said = {each.value: read_length(text) for each in Kept if (text := given.get(each.value)) is not None}
        except RetentionRefused as refused:
            raise ApiError(422, f"Illegal argument: {refused}", [(str(refused), "rule")]) from None
        self._retention.set(namespace, Rule(**said))
        return self._answer(namespace)

    def _answer(self, namespace: str) -> Response:
        rules = self._retention.rules()
        rule = rules.get(namespace, Rule())
        said = {each.value: length_text(length) for each in Kept if (length := rule.of(each)) is not None}
        known = holding(rules, namespace)
        holds = {
            each.value: HoldsView(length=length_text(known[each].length), namespace=known[each].said_by)
            if each in known
            else HoldsView(length="FOREVER", namespace="")
            for each in Kept
        }
        return json_response({"namespace": namespace, "rule": said, "holds": holds})
