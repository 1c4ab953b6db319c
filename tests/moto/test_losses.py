"""The function that runs a script dies, in every state in which it can: the attempt is lost and begins again.

What has told its end before has ended. Containers have their own walk, in test_containers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_functions.testing.cloud import Cloud

FLOW = """
id: lost
namespace: flows
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    namespaceFiles: {{enabled: true}}
    outputFiles: [out.txt]
    retry: {{type: constant, interval: PT1S, maxAttempts: 1}}
    commands:
      - echo x >> {ran}
      - '[ $(wc -l < {ran}) -gt 1 ] || {first}'
      - cp in.txt out.txt
"""
TALKS = "{ seq 1000; sleep 1000; }"
"""What comes so fast is sent on at once."""
STATES = {
    "submitted": ("dynamodb", ""),
    "staging in": ("GET", "/in.txt"),
    "running": ("POST", "/logs"),
    "staging out": ("PUT", "/out.txt"),
    "reported": ("sqs SendMessage", ""),
}
"""What the function asks at the moment at which it dies: how that begins and ends."""


@pytest.mark.parametrize("state", STATES)
def test_what_dies_is_lost_whenever_it_does(tmp_path: Path, state: str) -> None:
    ran = tmp_path / "ran"
    begins, ends = STATES[state]
    with Cloud() as cloud:
        cloud.stores.storage.put("kestra:///flows/_files/in.txt", b"in")

        def die(function: str, request: str) -> None:
            is_it = function == "script" and request.startswith(begins) and request.endswith(ends)
            if is_it and cloud.faults.struck is None:
                cloud.faults.die(request)

        cloud.before = die
        outcome = cloud.run(FLOW.format(ran=ran, first=TALKS if state == "running" else "true"))
        assert cloud.faults.struck is not None
        assert len(cloud.crashes) == 1
        run = outcome.find("script")
        ended = [each["state"]["current"] for each in run["attempts"]]
        is_over = state == "reported"
        assert (outcome.state, ended) == ("SUCCESS", ["SUCCESS"] if is_over else ["RESUBMITTED", "SUCCESS"])
        assert len(ran.read_text().split()) == (2 if state in ("running", "staging out") else 1)
        (uri,) = run["outputs"]["outputFiles"].values()
        assert cloud.stores.storage.open(uri).read() == b"in"
