"""The deployed API asks who calls, and writes down what they change."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import Any

from example_flows import CHECKOUT
from headrace_engine.adapters.aws.signing import Keyring
from headrace_functions.callers import FIRST_ADMIN, first_password
from headrace_functions.testing.cloud import PASSWORD, Cloud

FLOWS = "/api/v1/main/flows/company"


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def items(cloud: Cloud, kind: str) -> list[Any]:
    return [item for item in cloud.items() if item["pk"]["S"].startswith(f"{kind}#")]


def test_nobody_is_let_in_but_the_first_admin_and_whom_they_let() -> None:
    with Cloud() as cloud:
        for headers in ({"authorization": ""}, basic(FIRST_ADMIN, "wrong"), basic("nobody", PASSWORD), basic("", "")):
            answer = cloud.request("GET", FLOWS, headers=headers)
            assert (answer.status_code, answer.headers["x-content-type-options"]) == (401, "nosniff")
        assert cloud.request("GET", FLOWS).status_code == 200
        wish = {"name": "ann", "grants": ["viewer@company"], "password": "a good password"}
        assert cloud.request("POST", "/api/v1/users", json.dumps(wish).encode()).status_code == 201
        ann = basic("ann", "a good password")
        assert cloud.request("GET", FLOWS, headers=ann).status_code == 200
        assert cloud.request("DELETE", f"{FLOWS}/hello", headers=ann).status_code == 403
        assert cloud.request("GET", "/api/v1/main/flows/other", headers=ann).status_code == 403
        # A user of the first admin's name takes the place of the secret.
        wish = {"name": FIRST_ADMIN, "grants": ["admin"], "password": "my own password"}
        assert cloud.request("POST", "/api/v1/users", json.dumps(wish).encode()).status_code == 201
        assert cloud.request("GET", FLOWS).status_code == 401
        assert cloud.request("GET", FLOWS, headers=basic(FIRST_ADMIN, "my own password")).status_code == 200

        audit = [json.dumps(item, default=str) for item in items(cloud, "A")]
        assert sum("/users" in item for item in audit) == 2
        assert sum('"403"' in item for item in audit) == 1
        stored = json.dumps([*items(cloud, "A"), *items(cloud, "U")], default=str)
        for secret in (PASSWORD, "a good password", "my own password"):
            assert secret not in stored


def test_the_first_password_follows_from_the_oldest_key_as_the_documentation_reckons_it() -> None:
    keys = {"3": "n" * 64, "2": "k" * 64}
    password = first_password(Keyring.from_text(json.dumps(keys)))
    assert re.fullmatch(r"[0-9a-f]{40}", password)
    assert password == first_password(Keyring.from_text(json.dumps({"2": "k" * 64})))
    assert password != first_password(Keyring.from_text(json.dumps({"3": "n" * 64})))
    text = (CHECKOUT / "docs" / "aws.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"python3 -c '\n(.*?)'\)", text, re.DOTALL)
    told = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(keys), capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == password


def test_a_webhook_needs_nobody_and_everything_else_does() -> None:
    with Cloud() as cloud:
        nobody = {"authorization": ""}
        hook = "/api/v1/main/executions/webhook/company/hello/the-key"
        assert cloud.request("POST", hook, headers=nobody).status_code == 404
        assert cloud.request("POST", hook.replace("webhook", "webhooks"), headers=nobody).status_code in (401, 404)
        assert cloud.request("POST", "/api/v1/main/executions/company/hello", headers=nobody).status_code == 401
        assert not items(cloud, "A"), "who proves nothing writes nothing"
