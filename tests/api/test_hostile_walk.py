"""Every route, given what is hostile in every name, parameter, header and body: answered, clearly, and never obeyed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from api.client import ApiClient, api_client, log_flow
from headrace_engine.api import Response
from headrace_engine.api.route import Route
from hostile import PAYLOADS, PRODUCT

NAMES = re.compile(r"\{\w+\}")


@pytest.fixture(scope="module")
def house() -> Iterator[ApiClient]:
    """Return an API with a flow and an execution, which stay as they are whatever is asked."""
    with api_client() as client:
        client.save(log_flow("a.f"))
        client.ok(client.ask("POST", "/executions/a/f?wait=true"))
        yield client


def must_be_harmless(route: Route, response: Response) -> None:
    assert response.status < 500, (route.method, route.path, response.status, response.body[:500])
    for name, value in response.headers.items():
        assert not set(name + value) & {"\r", "\n", "\0"}, (route.path, name, value)
    assert not any(name.lower() == "set-cookie" for name in response.headers)
    assert PRODUCT.encode() not in response.body, (route.method, route.path)
    if response.status >= 400 and response.body:
        assert json.loads(response.body)["message"]


def bodies(route: Route, payload: str) -> Iterator[tuple[str, bytes]]:
    """Yield what may be sent to a route with *payload* in it, by media type."""
    yield "", b""
    for body in route.bodies:
        if body.media == "multipart/form-data":
            name = payload.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
            parts = (
                f'--x\r\ncontent-disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n{payload}\r\n'
                f'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="{name}"\r\n\r\n{payload}\r\n--x--'
            )
            yield "multipart/form-data; boundary=x", parts.encode("utf-8", "replace")
            continue
        yield body.media, payload.encode("utf-8", "replace")
        yield body.media, json.dumps(payload).encode()
        yield body.media, json.dumps({payload: payload, "namespace": payload, "id": payload}).encode()
        yield body.media, json.dumps([{"namespace": payload, "id": payload, "flowId": payload}, payload]).encode()


def state_of(client: ApiClient) -> Any:
    executions = client.get("/executions/search")["results"]
    return [(each["id"], each["state"]["current"]) for each in executions], client.get("/flows/a/f")["revision"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_nothing_hostile_is_obeyed_anywhere(house: ApiClient, payload: str) -> None:
    before = state_of(house)
    segment = quote(payload[:2000], safe="", errors="replace")
    asked = 0
    for route in house.api.routes:
        if "/eval" in route.path:  # evaluates what it is given, in the sandbox: that is what it is for
            continue
        query = "&".join(f"{quote(each.name)}={segment}" for each in route.query)
        single = [f"?{quote(each.name)}={segment}" for each in route.query]
        headers = {each.name.replace("-", "_"): payload for each in route.headers}
        target = NAMES.sub(segment, route.path)
        for media, body in bodies(route, payload):
            # Without a query, a change of all that is found is one of all there is.
            suffixes = (f"?{query}", *single) if route.method == "GET" else (f"?{query}",)
            for suffix in suffixes:
                content_type = {"content_type": media} if media else {}
                answer = house.ask(route.method, target + suffix, body, **content_type, **headers)
                must_be_harmless(route, answer)
                asked += 1
    assert asked > 500
    assert state_of(house) == before
    assert house.stores.storage.list("kestra:///") == [] or all(
        ".." not in each.uri for each in house.stores.storage.list("kestra:///")
    )


def test_ten_megabytes_break_no_route(house: ApiClient) -> None:
    large = 10_000_000
    texts = (b"x" * large, b"[" * large, b'"' + b"x" * large + b'"', b"a: " * (large // 3))
    before = state_of(house)
    asked = 0
    for route in house.api.routes:
        if route.method == "GET" or not route.bodies or route.path.endswith("by-query"):
            continue
        target = NAMES.sub("nothing", route.path)
        for body in route.bodies:
            is_form = body.media == "multipart/form-data"
            for text in texts[:1] if is_form else texts:
                content = (
                    b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n' + text + b"\r\n--x--"
                    if is_form
                    else text
                )
                media = "multipart/form-data; boundary=x" if is_form else body.media
                must_be_harmless(route, house.ask(route.method, target, content, content_type=media))
                asked += 1
    assert asked > 50
    assert state_of(house) == before


FILE_FLOW = """
id: load
namespace: a
inputs: [{id: data, type: FILE}]
tasks: [{id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.data) }}"}]
"""


@pytest.mark.parametrize(
    "filename",
    [
        "..",
        ".",
        "/",
        "../../../etc/passwd",
        "..\\..\\etc\\passwd",
        "C:\\Users\\x\\report.csv",
        "a\0b.csv",
        "💩" * 100 + ".csv",
        "x" * 5000,
        "{{ 97 * 97531 }}.csv",
        "\u202ecsv.exe",
        " ",
    ],
)
def test_whatever_a_file_is_called_it_is_one_file_of_its_execution(api: ApiClient, filename: str) -> None:
    api.save(FILE_FLOW)
    for part in ("data", "files"):
        name = filename.replace("\\", "\\\\").replace('"', '\\"') if part == "data" else "data"
        head = f'--x\r\ncontent-disposition: form-data; name="{part}"; filename="{name}"\r\n\r\n'
        answer = api.ask(
            "POST",
            "/executions/a/load?wait=true",
            head.encode() + b"content\r\n--x--",
            content_type="multipart/form-data; boundary=x",
        )
        execution = api.ok(answer)
        folder = f"kestra:///a/load/executions/{execution['id']}/inputs/data/"
        (stored,) = [each.uri for each in api.stores.storage.list("kestra:///") if execution["id"] in each.uri]
        assert stored == execution["inputs"]["data"]
        assert stored.startswith(folder)
        assert "/" not in stored.removeprefix(folder)
        assert execution["taskRunList"][0]["outputs"] == {"value": "content"}
        assert PRODUCT not in json.dumps(execution)


SEEN = """
id: seen
namespace: a
inputs: [{id: text, type: STRING}, {id: more, type: JSON}]
labels: {given: "{{ inputs.text }}"}
variables: {kept: "{{ inputs.text }}"}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.text }} {{ vars.kept }} {{ inputs.more.text }}"}
  - {id: back, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.text }}"}
  - {id: again, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.back.value }}"}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: ["{{ inputs.text }}"]
    tasks: [{id: inner, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}]
  - {id: fail, type: io.kestra.plugin.core.execution.Fail, errorMessage: "{{ inputs.text }}"}
outputs: [{id: out, type: STRING, value: "{{ inputs.text }}"}]
triggers: [{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: k3y, inputs: {text: "{{ trigger.body.text }}", more: "{{ trigger.body }}"}}]
"""


@pytest.mark.parametrize("payload", PAYLOADS[:3])
def test_what_somebody_gives_is_a_value_and_never_a_template(api: ApiClient, payload: str) -> None:
    """Inputs, labels, items, outputs of tasks, bodies of webhooks: rendered into fields, not rendered themselves."""
    api.save(SEEN)
    more = json.dumps({"text": payload})
    parts = "".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("text", payload), ("more", more))
    )
    label = quote(f"given2:{payload}", safe="")
    made = api.ok(
        api.ask(
            "POST",
            f"/executions/a/seen?wait=true&labels={label}",
            f"{parts}--x--",
            content_type="multipart/form-data; boundary=x",
        )
    )
    hooked = api.ok(api.ask("POST", "/executions/webhook/a/seen/k3y", more, content_type="application/json"))
    api.runtime.settle(None)
    for execution_id in (made["id"], hooked["id"]):
        shown = json.dumps([api.get(f"/executions/{execution_id}"), api.get(f"/logs/{execution_id}")])
        assert PRODUCT not in shown
        assert json.dumps(payload)[1:-1] in shown
        assert "__mro__" in payload or "class '" not in shown
