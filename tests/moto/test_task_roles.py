"""Roles for people's code: who may name which, what STS is asked, and where the credentials are seen and where not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import MockRawResponse

from headrace_engine.ports import AttemptId
from headrace_functions.testing.aws import http_headers
from headrace_functions.testing.cloud import Cloud

ALLOWED = {
    "HEADRACE_TASK_ROLES": "arn:aws:iam::123456789012:role/flows-*",
    "HEADRACE_NAMESPACES": '{"flows.pay": {"taskRole": "arn:aws:iam::123456789012:role/flows-pay"}}',
    "AWS_REGION": "eu-central-1",
}
ROLE = "arn:aws:iam::123456789012:role/flows-report"
SHOW = (
    'printf \'::{"outputs":{"tag":"%s","region":"%s"}}::\\n\''
    ' "$(printf %s "$AWS_SESSION_TOKEN" | cut -c1-4)" "$AWS_REGION"; echo secret $AWS_SECRET_ACCESS_KEY'
)


def flow(role: str = "", namespace: str = "flows") -> str:
    runner = {"type": "io.headrace.runner.lambda.Lambda", **({"taskRoleArn": role} if role else {})}
    tasks = [
        {
            "id": "script",
            "type": "io.kestra.plugin.scripts.shell.Commands",
            "taskRunner": runner,
            "commands": [SHOW],
        }
    ]
    return json.dumps({"id": "reports", "namespace": namespace, "tasks": tasks})


class Watched(Cloud):
    """A cloud that keeps what STS was asked, and everything the functions were called with."""

    def __init__(self, **options: Any) -> None:
        self.assumed: list[dict[str, str]] = []
        self.events: list[str] = []
        self.sts_error, self.sts_errors = "", 1
        """What STS answers instead, and how often."""
        super().__init__(**options)
        answers = self.clients.answers

        def watch(service: str, operation: str, request: Any) -> Any:
            if operation == "AssumeRole":
                body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
                self.assumed.append({name: values[0] for name, values in parse_qs(body).items()})
                if self.sts_error and len(self.assumed) <= self.sts_errors:
                    text = f"<ErrorResponse><Error><Code>{self.sts_error}</Code></Error></ErrorResponse>".encode()
                    return AWSResponse(request.url, 403, http_headers({}), MockRawResponse(text))
            return answers(service, operation, request)

        self.clients.answers = watch

    def _called(self, function: str, event: Any, request_id: str) -> Any:
        self.events.append(json.dumps(event))
        return super()._called(function, event, request_id)


def test_a_script_is_given_the_role_its_flow_names_as_temporary_credentials() -> None:
    with Watched(environment=ALLOWED) as cloud:
        came = cloud.run(flow(ROLE))
        assert came.state == "SUCCESS", came.logs
        outputs = came.find("script")["outputs"]
        assert len(outputs["vars"]["tag"]) == 4
        assert outputs["vars"]["region"] == "eu-central-1"
        (asked,) = cloud.assumed
        run = came.find("script")
        assert asked["RoleArn"] == ROLE
        assert asked["ExternalId"] == f"{cloud.environment.stack}/flows"
        assert asked["RoleSessionName"] == f"{came.view['id']}-{run['id']}-0"
        assert int(asked["DurationSeconds"]) == 1200
        tags = {asked[f"Tags.member.{n}.Key"]: asked[f"Tags.member.{n}.Value"] for n in (1, 2)}
        assert tags == {"headrace:namespace": "flows", "headrace:flow": "reports"}
        # In memory, and nowhere else: not in a payload, not in what is stored, masked in the log.
        assert [line.message for line in came.logs] == ["secret ********"]
        called = "".join(event for event in cloud.events if "requestContext" not in event)
        assert "AWS_SECRET_ACCESS_KEY" not in called
        assert not [item for item in cloud.items() if "SESSION" in str(item) and "printf" not in str(item)]


def test_a_namespace_s_role_is_for_all_scripts_in_it_and_below() -> None:
    with Watched(environment=ALLOWED) as cloud:
        came = cloud.run(flow(namespace="flows.pay.daily"))
        assert came.state == "SUCCESS", came.logs
        (asked,) = cloud.assumed
        assert asked["RoleArn"].endswith(":role/flows-pay")
        assert asked["ExternalId"] == f"{cloud.environment.stack}/flows.pay.daily"


def test_without_a_role_nobody_is_asked_for_one_and_there_are_no_credentials() -> None:
    with Watched(environment=ALLOWED) as cloud:
        came = cloud.run(flow())
        assert came.find("script")["outputs"]["vars"] == {"tag": "", "region": ""}
        assert cloud.assumed == []
        assert not [event for event in cloud.events if "/grant" in event]


def test_a_role_that_the_stack_does_not_allow_fails_the_task_with_who_may_allow_it() -> None:
    with Watched(environment=ALLOWED) as cloud:
        came = cloud.run(flow("arn:aws:iam::123456789012:role/admin"))
        assert came.state == "FAILED"
        assert [line.message for line in came.logs] == [
            "The role arn:aws:iam::123456789012:role/admin may not be named in this stack: whoever deploys it allows "
            "roles by `taskRoles`"
        ]
        assert cloud.assumed == []


def test_a_role_that_does_not_trust_the_stack_fails_the_task_with_what_it_must_say() -> None:
    with Watched(environment=ALLOWED) as cloud:
        cloud.sts_error = "AccessDenied"
        came = cloud.run(flow(ROLE))
        assert came.state == "FAILED"
        (line,) = came.logs
        assert line.message == (
            f"The role {ROLE} does not let this stack take it on: its trust policy must allow sts:AssumeRole and "
            f"sts:TagSession to the stack's functions, with the external id `{cloud.environment.stack}/flows`"
        )


def test_a_role_that_cannot_be_had_at_the_moment_is_asked_for_again() -> None:
    with Watched(environment=ALLOWED) as cloud:
        cloud.sts_error, cloud.sts_errors = "ServiceUnavailable", 1
        came = cloud.run(flow(ROLE))
        assert came.state == "SUCCESS", came.logs
        assert len(cloud.assumed) == 2


def test_an_attempt_whose_role_cannot_be_had_is_lost_and_not_failed() -> None:
    with Watched(environment=ALLOWED) as cloud:
        cloud.sts_error, cloud.sts_errors = "Throttling", 4  # as often as one attempt asks
        came = cloud.run(flow(ROLE))
        assert came.state == "SUCCESS", came.logs
        first, second = came.find("script")["attempts"]
        assert (first["state"]["current"], second["state"]["current"]) == ("RESUBMITTED", "SUCCESS")
        assert len(cloud.assumed) == 5


def test_a_role_that_a_namespace_is_given_no_other_may_name() -> None:
    with Watched(environment=ALLOWED) as cloud:
        role = "arn:aws:iam::123456789012:role/flows-pay"
        came = cloud.run(flow(role))
        assert came.state == "FAILED"
        assert [line.message for line in came.logs] == [
            f"The role {role} is for another namespace than flows: name one of its own"
        ]
        assert cloud.assumed == []
        assert cloud.run(flow(role, "flows.pay.daily")).state == "SUCCESS"


def test_no_attempt_gets_a_role_before_it_has_begun_or_that_its_job_does_not_name() -> None:
    """What stands in the request counts for nothing: the role is that of the job in the journal."""
    with Watched(environment=ALLOWED) as cloud:
        cloud.save_flow(flow())
        execution_id = cloud.create("flows", "reports")
        while not cloud.pending:
            assert cloud.step()
        payload = cloud.pending[0].payload
        attempt = AttemptId(execution_id, payload["attempt"]["taskRun"], payload["attempt"]["number"])
        path = f"/api/v1/attempts/{attempt.execution_id}/{attempt.task_run_id}/{attempt.number}/grant"
        headers = {"authorization": f"Bearer {payload['token']}"}
        refused = cloud.request("POST", path, b"{}", headers)
        assert (refused.status_code, refused.json()["message"]) == (403, "The attempt has not begun")
        cloud.stores.claims.claim(attempt, "somebody", cloud.clock.now())
        answered = cloud.request("POST", path, json.dumps({"role": ROLE}).encode(), headers)
        assert answered.json() == {"environment": {}, "refusal": ""}
        assert cloud.assumed == []


@pytest.mark.parametrize("token", ["", "1.forged"])
def test_nobody_gets_a_role_without_the_attempt_s_own_token(token: str) -> None:
    with Watched(environment=ALLOWED) as cloud:
        cloud.save_flow(flow(ROLE))
        execution_id = cloud.create("flows", "reports")
        while not cloud.pending:
            assert cloud.step()
        run = cloud.pending[0].payload["attempt"]["taskRun"]
        headers = {"authorization": f"Bearer {token}"}
        answered = cloud.request("POST", f"/api/v1/attempts/{execution_id}/{run}/0/grant", b"{}", headers)
        assert answered.status_code == 401
        assert cloud.assumed == []
