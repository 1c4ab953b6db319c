"""An answer larger than Lambda passes on is put into the bucket, and whoever asked is sent there."""

from __future__ import annotations

import json

from botocore.awsrequest import AWSPreparedRequest

from headrace_functions.testing.aws import by_moto
from headrace_functions.testing.cloud import Cloud

FLOW = """
id: large
namespace: flows
inputs: [{id: one, type: STRING}, {id: two, type: STRING}]
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.one | length }}"}]
"""
MEGABYTE = 1024 * 1024


def test_an_execution_of_more_than_six_megabytes_is_read_from_where_the_answer_says() -> None:
    inputs = {"one": "1" * 3 * MEGABYTE, "two": "2" * 4 * MEGABYTE}
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        execution_id = cloud.create("flows", "large", inputs)
        cloud.settle()
        answer = cloud.request("GET", f"/api/v1/main/executions/{execution_id}")
        assert answer.status_code == 303
        assert answer.headers["cache-control"] == "no-store"
        there = by_moto("s3", "", AWSPreparedRequest("GET", answer.headers["location"], {}, b"", stream_output=False))
        assert there.status_code == 200
        assert there.headers["content-type"] == "application/json"
        execution = json.loads(there.content)
        assert execution["id"] == execution_id
        assert execution["inputs"] == inputs


def test_a_smaller_answer_is_the_answer() -> None:
    inputs = {"one": "1" * 3 * MEGABYTE, "two": ""}
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        execution_id = cloud.create("flows", "large", inputs)
        cloud.settle()
        answer = cloud.request("GET", f"/api/v1/main/executions/{execution_id}")
        assert answer.status_code == 200
        assert answer.json()["inputs"]["one"] == inputs["one"]
