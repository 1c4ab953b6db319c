"""The examples that need AWS, as far as they run without: on a fleet of this machine's processes."""

from __future__ import annotations

import json
from pathlib import Path

from headrace_functions.testing.cloud import Cloud

EXAMPLES = Path(__file__).parents[2] / "examples" / "aws"
TABLE = b"product,total\nboots,20\ngloves,5.5\nboots,1\n"


def test_a_file_in_s3_starts_a_container() -> None:
    with Cloud(containers={}, secrets_of="company.team") as cloud:
        source = (EXAMPLES / "report-of-a-file.yaml").read_text(encoding="utf-8")
        cloud.save_flow(source.replace("bucket: uploads", f"bucket: {cloud.watched}"))
        cloud.put_file("in/orders.csv", TABLE)
        cloud.settle()
        (summary,) = cloud.stores.executions.search(limit=10).found
        outcome = cloud.outcome(summary.id)
        assert outcome.state == "SUCCESS", [line.message for line in outcome.logs]
        found = outcome.find("report")["outputs"]
        assert found["vars"] == {"rows": 3}
        report = cloud.stores.storage.open(found["outputFiles"]["report.json"]).read()
        assert json.loads(report) == {"boots": 21.0, "gloves": 5.5}
        assert outcome.logs[0].message.startswith("3 rows of in/orders.csv are in kestra:///")


def test_a_gpu_is_asked_for_where_there_are_some() -> None:
    queue = "arn:aws:batch:eu-central-1:123456789012:job-queue/gpu"
    with Cloud(containers={"jobQueues": [queue]}) as cloud:
        assert cloud.fleet is not None
        flow = cloud.save_flow((EXAMPLES / "training-on-a-gpu.yaml").read_text(encoding="utf-8"))
        execution_id = cloud.create(flow.namespace, flow.id)
        while "SubmitJob" not in cloud.fleet.calls or not cloud.fleet.tasks:
            assert cloud.step()
        cloud.kill(execution_id)
        cloud.settle()
        (body,) = cloud.fleet.definitions
        assert body["platformCapabilities"] == ["EC2"]
        main = body["ecsProperties"]["taskProperties"][0]["containers"][0]
        assert {"type": "GPU", "value": "1"} in main["resourceRequirements"]
        assert {"type": "VCPU", "value": "4"} in main["resourceRequirements"]
        submitted = [each for each in cloud.fleet.asked if "jobName" in each][-1]
        assert submitted["jobQueue"] == queue
        assert submitted["timeout"] == {"attemptDurationSeconds": 8 * 3600 + 600}
        assert cloud.outcome(execution_id).state == "KILLED"
