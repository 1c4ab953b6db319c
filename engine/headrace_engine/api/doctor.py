"""What is not as the triggers of flows want it, told and put right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from headrace_engine.api.http import Request, Response, json_response
from headrace_engine.api.route import Returns, Route
from headrace_engine.doctor import Doctor, Finding
from headrace_engine.engine import Engine
from headrace_engine.identity import Role


class FindingView(TypedDict):
    """Something that is not as it should be; *canRepair*: it can be put right by asking for that."""

    part: str
    namespace: str
    flowId: str
    triggerId: str
    problem: str
    canRepair: bool
    repaired: bool


class Findings(TypedDict):
    """All that is not as it should be, and how many of it is still so."""

    results: list[FindingView]
    total: int
    left: int


class DoctorRoutes:
    """Answers these."""

    def __init__(self, engine: Engine) -> None:
        self._doctor = Doctor(engine)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        returns = (Returns(200, Findings),)
        return (
            Route(
                "GET",
                "/doctor",
                self.examine,
                role=Role.ADMIN,
                summary="Compare the triggers of flows with what exists outside for them",
                returns=returns,
                refuses=(),
            ),
            Route(
                "POST",
                "/doctor/repair",
                self.repair,
                role=Role.ADMIN,
                summary="Put right what is not as the triggers of flows want it",
                returns=returns,
                refuses=(),
            ),
        )

    def examine(self, _request: Request) -> Response:
        """Return what is not as it should be."""
        return _answer(self._doctor.examine())

    def repair(self, _request: Request) -> Response:
        """Put it right, and return what was not as it should be."""
        return _answer(self._doctor.examine(repair=True))


def _answer(findings: Sequence[Finding]) -> Response:
    views = [
        FindingView(
            part=each.part.value,
            namespace=each.namespace,
            flowId=each.flow_id,
            triggerId=each.trigger_id,
            problem=each.problem,
            canRepair=each.can_repair,
            repaired=each.is_repaired,
        )
        for each in findings
    ]
    left = sum(not each.is_repaired for each in findings)
    return json_response(Findings(results=views, total=len(views), left=left))
