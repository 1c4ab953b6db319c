"""What the API has no right to do on AWS, it refuses before it begins."""

from __future__ import annotations

import json

import pytest

from headrace_functions.testing.cloud import Cloud

FLOW = """
id: hello
namespace: flows
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: here}]
"""


@pytest.mark.parametrize("path", ["/executions/{id}", "/executions/by-ids", "/executions/by-query"])
def test_executions_are_not_deleted_over_the_api(path: str) -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        execution_id = cloud.create("flows", "hello")
        cloud.settle(None)
        path = f"/api/v1/main{path}".replace("{id}", execution_id)
        refused = cloud.request("DELETE", path, body=json.dumps([execution_id]).encode())
        assert refused.status_code == 422
        assert "PurgeExecutions" in refused.json()["message"]
        assert [line["message"] for line in cloud.request("GET", f"/api/v1/main/logs/{execution_id}").json()] == [
            "here"
        ]
