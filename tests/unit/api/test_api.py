"""The API's routes, answered without a host: a request in, a response out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.executions_client import HELLO, PAUSED, ExecutionsClient
from headrace_engine.api import Response


class Client(ExecutionsClient):
    """Sends requests by being called."""

    __call__ = ExecutionsClient.ask

    def parts(self, target: str, *parts: tuple[str, str | None, bytes]) -> Response:
        """Send a form of inputs and files."""
        lines = b""
        for name, filename, content in parts:
            file = f'; filename="{filename}"' if filename else ""
            lines += f'--x\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
        return self("POST", target, lines + b"--x--\r\n", content_type="multipart/form-data; boundary=x")


def seen(response: Response) -> Any:
    return json.loads(response.body)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    with client.runtime:
        yield client


@pytest.fixture
def ready(client: Client) -> Client:
    client.save(HELLO, PAUSED)
    return client


def test_a_flow_is_created_read_and_changed(client: Client) -> None:
    created = seen(client("POST", "/flows", HELLO))
    assert (created["id"], created["namespace"], created["revision"]) == ("hello", "company.team", 1)
    assert created["source"] == HELLO
    assert "source" not in seen(client("GET", "/flows/company.team/hello"))
    changed = seen(client("PUT", "/flows/company.team/hello", HELLO.replace("Hello", "Bye")))
    assert changed["revision"] == 2
    assert seen(client("GET", "/flows/company.team/hello?revision=1&source=true"))["source"] == HELLO
    assert [flow["id"] for flow in seen(client("GET", "/flows/company.team"))] == ["hello"]
    assert client("DELETE", "/flows/company.team/hello").status == 204
    assert client("GET", "/flows/company.team/hello").status == 404


def test_a_flow_that_is_there_is_not_created_again(ready: Client) -> None:
    response = ready("POST", "/flows", HELLO)
    assert response.status == 422
    assert "already exists" in seen(response)["message"]


def test_a_broken_flow_is_refused_with_every_place(client: Client) -> None:
    response = client("POST", "/flows", HELLO.replace("core.log.Log", "core.log.Lgo").replace("FILE", "FIEL"))
    assert response.status == 422
    problems = seen(response)["_embedded"]["errors"]
    assert [problem["path"] for problem in problems] == ["inputs[1].type", "tasks[0].type"]


def test_an_update_keeps_the_flows_name(ready: Client) -> None:
    response = ready("PUT", "/flows/company.team/hello", PAUSED)
    assert response.status == 422
    assert seen(response)["message"] == "Illegal argument: the body is the flow company.team.paused"


def test_an_execution_is_started_with_inputs_and_waited_for(ready: Client) -> None:
    response = ready.parts(
        "/executions/company.team/hello?wait=true&labels=team:a&labels=stage:b",
        ("message", None, "Grüße".encode()),
        ("files", "data", b"content"),
    )
    execution = seen(response)
    assert response.status == 200
    assert execution["state"]["current"] == "SUCCESS"
    assert execution["outputs"] == {"said": "Grüße"}
    assert {"key": "stage", "value": "b"} in execution["labels"]
    assert ready.runtime.stores.storage.open(execution["inputs"]["data"]).read() == b"content"
    assert seen(ready("GET", f"/executions/{execution['id']}"))["id"] == execution["id"]
    assert [line["message"] for line in seen(ready("GET", f"/logs/{execution['id']}"))] == ["Grüße"]


def test_an_execution_that_goes_on_is_answered_with_where_to_look(ready: Client) -> None:
    response = ready("POST", "/executions/company.team/paused?wait=true")
    assert response.status == 202
    assert seen(response)["state"]["current"] == "PAUSED"
    assert response.headers["location"] == f"/api/v1/main/executions/{seen(response)['id']}"


def test_an_execution_is_not_lost_while_no_executor_comes(ready: Client) -> None:
    ready.asleep = True
    response = ready("POST", "/executions/company.team/hello")
    assert response.status == 202
    ready.runtime.settle()
    ready.asleep = False
    assert seen(ready("GET", f"/executions/{seen(response)['id']}"))["state"]["current"] == "SUCCESS"


def test_a_pause_is_resumed_with_inputs(ready: Client) -> None:
    execution_id = seen(ready("POST", "/executions/company.team/paused"))["id"]
    assert ready.parts(f"/executions/{execution_id}/resume", ("by", None, b"me")).status == 204
    assert seen(ready("GET", f"/executions/{execution_id}"))["state"]["current"] == "SUCCESS"
    assert ready.parts(f"/executions/{execution_id}/resume", ("by", None, b"me")).status == 409


def test_a_pause_is_not_resumed_without_what_it_asks_for(ready: Client) -> None:
    execution_id = seen(ready("POST", "/executions/company.team/paused"))["id"]
    response = ready("POST", f"/executions/{execution_id}/resume")
    assert response.status == 422
    assert "by" in seen(response)["message"]


def test_an_execution_is_killed_once(ready: Client) -> None:
    execution_id = seen(ready("POST", "/executions/company.team/paused"))["id"]
    assert ready("DELETE", f"/executions/{execution_id}/kill").status == 202
    response = ready("DELETE", f"/executions/{execution_id}/kill")
    assert response.status == 409
    assert seen(response)["message"].startswith("Illegal state: ")


def test_followers_are_told_how_it_stands_and_when_it_is_over(ready: Client) -> None:
    execution_id = seen(ready("POST", "/executions/company.team/paused"))["id"]
    response = ready("GET", f"/executions/{execution_id}/follow")
    assert response.headers["content-type"] == "text/event-stream"
    lines = response.body.decode().splitlines()
    assert lines[:3] == ["retry: 1000", "id: progress", "event: progress"]
    assert json.loads(lines[3].removeprefix("data: "))["state"]["current"] == "PAUSED"
    ready("DELETE", f"/executions/{execution_id}/kill")
    assert ready("GET", f"/executions/{execution_id}/follow").body.startswith(b"id: end\nevent: end\n")


def test_executions_are_found_by_page(ready: Client) -> None:
    ids = [seen(ready("POST", "/executions/company.team/hello"))["id"] for _ in range(3)]
    ready("POST", "/executions/company.team/paused")
    page = seen(ready("GET", "/executions/search?flowId=hello&namespace=company&size=2"))
    assert page["total"] == 3
    assert len(page["results"]) == 2
    rest = seen(ready("GET", "/executions?namespace=company.team&flowId=hello&size=2&page=2"))
    assert {each["id"] for each in page["results"] + rest["results"]} == set(ids)
    assert seen(ready("GET", "/executions/search?state=PAUSED"))["total"] == 1


@pytest.mark.parametrize(
    ("method", "target", "status", "message"),
    [
        ("GET", "/flows/company.team/nobody", 404, "Not Found: Flow company.team.nobody"),
        ("GET", "/executions/nobody", 404, "Not Found: Execution nobody"),
        ("GET", "/nothing", 404, "Not Found: /api/v1/main/nothing"),
        ("PATCH", "/flows", 405, "Method PATCH is not allowed for /api/v1/main/flows; allowed: POST"),
        ("GET", "/executions/search?size=many", 400, "Bad request: `size` is a whole number from 1 on, not `many`"),
        ("GET", "/executions/search?state=HAPPY", 400, "Bad request: `HAPPY` is no state"),
        ("GET", "/executions", 400, "Bad request: `namespace` and `flowId` are needed"),
        ("POST", "/executions/company.team/hello?wait=maybe", 400, "Bad request: `wait` is true or false, not `maybe`"),
        ("POST", "/executions/company.team/hello?labels=x", 422, "Invalid entity: a label is `key:value`, not `x`"),
    ],
)
def test_what_cannot_be_answered_says_why(ready: Client, method: str, target: str, status: int, message: str) -> None:
    response = ready(method, target)
    assert (response.status, seen(response)["message"]) == (status, message)


def test_inputs_come_as_a_form(ready: Client) -> None:
    response = ready("POST", "/executions/company.team/hello", '{"message": "x"}', content_type="application/json")
    assert response.status == 415
