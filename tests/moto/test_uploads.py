"""Files above what API Gateway and Lambda pass on go into the bucket, past them, and are inputs from there."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest

from headrace_engine.pages.uploading import MOST_OF_FILES
from headrace_functions.testing.aws import by_moto
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.limits import LimitError

FLOW = """
id: load
namespace: flows
inputs: [{id: data, type: FILE}]
tasks:
  - {id: size, type: io.kestra.plugin.core.storage.Size, uri: "{{ inputs.data }}"}
"""
PATH = "/api/v1/main/executions/flows/load"
MEGABYTE = 1024 * 1024


def put(url: str, content: bytes) -> int:
    """Put content where an address says, as a browser does: S3 refuses what was not announced."""
    signed = parse_qs(urlsplit(url).query)
    assert signed["X-Amz-SignedHeaders"] == ["content-length;host"], "no other length has this signature"
    headers = {"content-length": str(len(content))}
    return by_moto("s3", "", AWSPreparedRequest("PUT", url, headers, content, stream_output=False)).status_code


def form(data: str | bytes) -> tuple[bytes, dict[str, str]]:
    part: Any = ("data.csv", data) if isinstance(data, bytes) else (None, data)
    request = httpx.Request("POST", "http://localhost", files={"data": part})
    return request.read(), {"content-type": request.headers["content-type"]}


def test_a_file_of_ten_megabytes_is_an_input_by_its_upload() -> None:
    content = b"0123456789abcdef" * (10 * MEGABYTE // 16)
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        with pytest.raises(LimitError):
            cloud.request("POST", PATH, *form(content[: 5 * MEGABYTE]))
        wish = json.dumps({"name": "data.csv", "size": len(content)}).encode()
        place = cloud.request("POST", f"{PATH}/uploads", wish, {"content-type": "application/json"}).json()
        assert put(place["url"], content) == 200
        checked = cloud.request("POST", f"{PATH}/validate", *form(place["uri"])).json()
        assert (checked["inputs"][0]["value"], checked["inputs"][0]["errors"]) == ("data.csv", [])
        execution_id = cloud.create("flows", "load", {"data": place["uri"]})
        cloud.settle()
        execution = cloud.request("GET", f"/api/v1/main/executions/{execution_id}").json()
        assert execution["taskRunList"][0]["outputs"] == {"size": len(content)}
        assert execution["inputs"]["data"].startswith("kestra:///flows/load/executions/")
        assert cloud.stores.storage.list("kestra:///_uploads") == []
        again = cloud.request("POST", PATH, *form(place["uri"]))
        assert (again.status_code, "no such upload" in again.text) == (422, True)


def test_files_of_a_form_have_room_in_a_request() -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        checked = cloud.request("POST", f"{PATH}/validate", *form(b"x" * MOST_OF_FILES))
        assert checked.json()["inputs"][0]["value"] == "data.csv"


def test_there_is_no_other_way_to_put_a_file() -> None:
    with Cloud() as cloud:
        nobody = {"authorization": ""}
        assert cloud.request("PUT", "/api/v1/main/uploads/x", b"x").status_code == 404
        assert cloud.request("POST", f"{PATH}/uploads", b"{}", nobody).status_code == 401


def test_the_form_may_put_files_into_the_bucket_and_nowhere_else() -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        page = cloud.request("GET", "/forms/flows/load")
        place = cloud.request("POST", f"{PATH}/uploads", b'{"name": "x", "size": 1}').json()
        site = "{0.scheme}://{0.netloc}".format(urlsplit(place["url"]))
        policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
        assert policy["connect-src"] == f"'self' {site}"
        assert f'data-uploads="{PATH}/uploads" data-largest="{MOST_OF_FILES}"' in page.text
        assert "All files together may have 4 MB." in page.text
