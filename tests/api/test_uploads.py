"""Files that come before the execution they are for."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from api.client import ApiClient
from headrace_engine.uploads import KEPT, LARGEST

FLOW = """
id: load
namespace: company.team
inputs:
  - {id: data, type: FILE, allowedFileExtensions: [.csv]}
  - {id: more, type: ARRAY, itemType: FILE, required: false}
  - {id: count, type: INT, defaults: 1}
tasks:
  - {id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.data) }}"}
"""
PLACE = "/executions/company.team/load/uploads"


@pytest.fixture
def flow(api: ApiClient) -> ApiClient:
    api.save(FLOW)
    return api


def asked(api: ApiClient, name: str = "a.csv", size: int = 3, place: str = PLACE) -> Any:
    wish = json.dumps({"name": name, "size": size})
    return api.ok(api.ask("POST", place, wish, content_type="application/json"))


def put(api: ApiClient, found: Any, content: bytes) -> int:
    return api.ask(found["method"], found["url"].removeprefix("/api/v1/main"), content).status


def uploaded(api: ApiClient, content: bytes = b"1,2", name: str = "a.csv") -> str:
    found = asked(api, name, len(content))
    assert put(api, found, content) == 200
    return str(found["uri"])


def start(api: ApiClient, flow: str = "company.team/load", **inputs: str) -> Any:
    parts = "".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in inputs.items()
    )
    return api.ask(
        "POST", f"/executions/{flow}?wait=true", f"{parts}--x--", content_type="multipart/form-data; boundary=x"
    )


def test_an_upload_becomes_the_file_of_the_execution_it_is_given_to(flow: ApiClient) -> None:
    uri = uploaded(flow)
    assert uri.startswith("kestra:///_uploads/company.team/load/")
    execution = flow.ok(start(flow, data=uri))
    assert execution["taskRunList"][0]["outputs"] == {"value": "1,2"}
    folder = f"kestra:///company/team/load/executions/{execution['id']}/inputs/data"
    assert execution["inputs"]["data"] == f"{folder}/a.csv"
    assert flow.stores.storage.stat(uri) is None
    assert "no such upload" in flow.refused(start(flow, data=uri), 422)


def test_several_uploads_are_the_items_of_a_list(flow: ApiClient) -> None:
    more = [uploaded(flow, b"one", "same.txt"), uploaded(flow, b"two", "same.txt")]
    execution = flow.ok(start(flow, data=uploaded(flow), more=json.dumps(more)))
    names = [uri.rpartition("/")[2] for uri in execution["inputs"]["more"]]
    assert names == ["same.txt", "2-same.txt"]
    assert [flow.stores.storage.open(uri).read() for uri in execution["inputs"]["more"]] == [b"one", b"two"]


def test_one_upload_given_twice_is_given_back(flow: ApiClient) -> None:
    uri, data = uploaded(flow), uploaded(flow)
    refused = flow.refused(start(flow, data=data, more=json.dumps([uri, uri])), 422)
    assert "no such upload" in refused
    assert flow.ok(start(flow, data=data, more=json.dumps([uri])))["state"]["current"] == "SUCCESS"


def test_an_upload_stays_when_the_execution_is_refused(flow: ApiClient) -> None:
    uri = uploaded(flow)
    assert "count" in flow.refused(start(flow, data=uri, count="many"), 422)
    assert flow.ok(start(flow, data=uri))["state"]["current"] == "SUCCESS"


def test_an_upload_stays_when_a_check_refuses_the_execution(flow: ApiClient) -> None:
    check = "checks: [{condition: '{{ inputs.count > 5 }}', message: too few, behavior: BLOCK_EXECUTION}]\n"
    flow.save(FLOW.replace("id: load", "id: checked") + check)
    found = asked(flow, place=PLACE.replace("/load/", "/checked/"))
    assert put(flow, found, b"1,2") == 200
    assert "too few" in flow.refused(start(flow, "company.team/checked", data=found["uri"]), 422)
    assert flow.ok(start(flow, "company.team/checked", data=found["uri"], count="6"))["state"]["current"] == "SUCCESS"


def test_an_upload_is_checked_before_there_is_an_execution(flow: ApiClient) -> None:
    uri = uploaded(flow)

    def said(value: str) -> Any:
        body = f'--x\r\ncontent-disposition: form-data; name="data"\r\n\r\n{value}\r\n--x--'
        checked = flow.ask(
            "POST", "/executions/company.team/load/validate", body, content_type="multipart/form-data; boundary=x"
        )
        return flow.ok(checked)["inputs"][0]

    assert (said(uri)["value"], said(uri)["errors"]) == ("a.csv", [])
    assert flow.stores.storage.stat(uri) is not None
    assert "no such upload" in said(uri.replace("a.csv", "b.csv"))["errors"][0]["message"]
    other = uploaded(flow, name="a.exe")
    assert "extensions" in said(other)["errors"][0]["message"]


def test_an_upload_is_for_its_own_flow_alone(flow: ApiClient) -> None:
    flow.save(FLOW.replace("id: load", "id: other"), FLOW.replace("company.team", "company.team.sub"))
    uri = uploaded(flow)
    for elsewhere in ("company.team/other", "company.team.sub/load"):
        assert "for another flow" in flow.refused(start(flow, elsewhere, data=uri), 422)
    assert flow.stores.storage.stat(uri) is not None


@pytest.mark.parametrize(
    "path",
    [
        "../../x",
        "company.team/load/../../../company/team/_files/secret.csv",
        "company.team/load/x",
        "company.team/load",
        "company.team/load/a/b/c.csv",
        "company.team/load//a.csv",
        "company.team/load/a/..",
        "company.team/load/a\\b/c.csv",
        "",
    ],
)
def test_a_uri_that_is_no_upload_is_refused(flow: ApiClient, path: str) -> None:
    flow.stores.storage.put("kestra:///company/team/_files/secret.csv", b"secret")
    assert "data" in flow.refused(start(flow, data=f"kestra:///_uploads/{path}"), 422)


def test_no_task_reads_an_upload_and_no_file_of_an_execution_is_one(flow: ApiClient) -> None:
    flow.save(
        """
id: thief
namespace: company.team
inputs: [{id: uri, type: STRING}]
tasks: [{id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.uri) }}"}]
""",
    )
    for name in ("a.csv", "inputs", "_files"):
        uri = uploaded(flow, b"hidden", name)
        execution = flow.ok(start(flow, "company.team/thief", uri=uri))
        assert execution["state"]["current"] == "FAILED"
        assert "hidden" not in json.dumps(execution)
        assert flow.ask("GET", f"/executions/{execution['id']}/file?path={quote(uri)}").status == 422


def test_what_is_put_is_what_was_announced_and_in_time(flow: ApiClient) -> None:
    found = asked(flow, size=3)
    for content in (b"12", b"1234", b""):
        assert put(flow, found, content) == 422
    assert flow.stores.storage.list("kestra:///_uploads") == []
    flow.runtime.clock.set(flow.runtime.clock.now() + timedelta(minutes=15))
    assert put(flow, found, b"123") == 404


def test_an_address_cannot_be_made_up(flow: ApiClient) -> None:
    """Not even by somebody who has a text of their own sealed with the same key."""
    found = asked(flow)
    key = found["url"].rpartition("/")[2]
    cipher = flow.stores.cipher

    own = json.dumps({"uri": "kestra:///company/team/_files/x", "size": 3, "until": 1e12})
    for text in (own, f"upload\0{own}", f"\xffupload\0{own}"):
        sealed = cipher.seal(text.encode())
        assert flow.ask("PUT", f"/uploads/{base64.urlsafe_b64encode(sealed.encode()).decode()}", b"123").status == 404
    for wrong in (key[:-8], key[4:], "x", "%00", "..", "é", f"{key}="):
        assert flow.ask("PUT", f"/uploads/{quote(wrong, safe='%')}", b"123").status in (404, 405)
    assert flow.stores.storage.list("kestra:///") == []


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "a"},
        {"size": 1},
        {"name": "", "size": 1},
        {"name": "a", "size": -1},
        {"name": "a", "size": LARGEST + 1},
        {"name": "a", "size": 1.5},
        {"name": "a", "size": 1, "uri": "kestra:///x"},
        {"name": "a" * 1001, "size": 1},
    ],
)
def test_what_cannot_be_is_refused(flow: ApiClient, wish: Any) -> None:
    flow.refused(flow.ask("POST", PLACE, json.dumps(wish), content_type="application/json"), 422)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "file"),
        ("a\r\nset-cookie: x\0.csv", "a__set-cookie: x_.csv"),
        ("a\\b.csv", "a_b.csv"),
        ("é💩.csv", "é💩.csv"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_a_name_stays_one_part_of_a_path(flow: ApiClient, name: str, kept: str) -> None:
    uri = asked(flow, name)["uri"]
    assert uri.removeprefix("kestra:///_uploads/company.team/load/").split("/")[1:] == [kept]


def test_a_flow_that_is_not_there_has_no_uploads(flow: ApiClient) -> None:
    wish = json.dumps({"name": "a", "size": 1})
    for place in ("/executions/company.team/none/uploads", "/executions/..%2f..%2fx/load/uploads"):
        assert flow.ask("POST", place, wish, content_type="application/json").status == 404


def test_who_may_not_start_the_flow_may_not_upload_for_it(flow: ApiClient) -> None:
    wish = json.dumps({"name": "a", "size": 1})
    for grant, status in (("viewer", 403), ("editor@company.other", 403), ("editor@company.team", 200)):
        flow.become(grant)
        assert flow.ask("POST", PLACE, wish, content_type="application/json").status == status


def test_what_nobody_uses_goes_after_a_day(flow: ApiClient) -> None:
    uploads = flow.runtime.engine.uploads
    old = uploaded(flow)
    flow.runtime.clock.set(flow.runtime.clock.now() + KEPT)
    new = uploaded(flow)
    assert uploads.forget() == 0
    flow.runtime.clock.set(flow.runtime.clock.now() + timedelta(seconds=1))
    assert uploads.forget() == 1
    assert [each.uri for each in flow.stores.storage.list("kestra:///_uploads")] == [new]
    assert "no such upload" in flow.refused(start(flow, data=old), 422)


def test_a_pause_is_resumed_with_an_upload(flow: ApiClient) -> None:
    flow.save(
        """
id: asks
namespace: company.team
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: proof, type: FILE}]}
  - {id: read, type: io.kestra.plugin.core.debug.Return, format: "{{ read(outputs.wait.onResume.proof) }}"}
"""
    )
    made = flow.ok(flow.ask("POST", "/executions/company.team/asks"))
    flow.runtime.settle(None)
    found = asked(flow, place="/executions/company.team/asks/uploads")
    assert put(flow, found, b"yes") == 200
    body = f'--x\r\ncontent-disposition: form-data; name="proof"\r\n\r\n{found["uri"]}\r\n--x--'
    path = f"/executions/{made['id']}/resume"
    assert flow.ask("POST", path, body, content_type="multipart/form-data; boundary=x").status == 204
    flow.runtime.settle(None)
    done = flow.get(f"/executions/{made['id']}")
    assert done["taskRunList"][1]["outputs"] == {"value": "yes"}
