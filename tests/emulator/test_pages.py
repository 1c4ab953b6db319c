"""Pages of the deployed stack, as a browser asks for them: signed in, forms, files, approvals, the list."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from emulator.client import NAMESPACE, Client, state
from emulator.deployment import Deployment
from emulator.waiting import until
from issuer import issuer

pytestmark = pytest.mark.emulator

MEGABYTE = 1024 * 1024
SHOP = """id: shop
inputs:
  - {id: who, type: STRING, validator: "[A-Z][a-z]+"}
  - {id: list, type: FILE, required: false}
tasks:
  - {id: size, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.list is defined ? fileSize(inputs.list) : 0 }}"}
  - {id: link, type: io.kestra.plugin.core.debug.Return, format: "{{ resumeUrl(task='wait', recipient='ann') }}"}
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: reason, type: STRING}]}
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "Because {{ outputs.wait.onResume.reason }}"}
"""


class Browser:
    """Asks as a browser does that looks at pages, and keeps cookies, as if it came by TLS."""

    def __init__(self, deployment: Deployment) -> None:
        self._http = httpx.Client(timeout=60)
        self._address = deployment.api_url
        self.cookies: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {
            "accept": "text/html,*/*",
            "x-forwarded-proto": "https",
            "sec-fetch-site": "same-origin",
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            **more.pop("headers", {}),
        }
        answer = self._http.request(method, f"{self._address}{path}", headers=headers, **more)
        found = re.match(r"([\w-]+)=([^;]*)", answer.headers.get("set-cookie", ""))
        if found is not None:
            self.cookies[found[1]] = found[2]
        return answer

    def get(self, path: str) -> str:
        """Return the page at a path."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return answer.text

    def send(self, path: str, page: str, fields: Mapping[str, Any]) -> httpx.Response:
        """Send a form of a page, with its token."""
        proof = re.search(r'name="_proof" value="([0-9a-f]{64})"', page)
        assert proof is not None, page
        parts = {name: value if isinstance(value, tuple) else (None, value) for name, value in fields.items()}
        return self.ask("POST", path, files={"_proof": (None, proof[1]), **parts})


@pytest.fixture(scope="module")
def browser(deployment: Deployment, client: Client) -> Iterator[Browser]:
    """Return a browser in which the first admin has signed in."""
    with closing(Browser(deployment)) as made:
        away = made.ask("GET", "/flows")
        assert (away.status_code, away.headers["location"]) == (303, "/login?to=%2Fflows")
        page = made.get("/login?to=%2Fflows")
        name, password = client.shown
        wrong = made.send("/login", page, {"name": name, "password": "a guess", "to": "/flows"})
        assert wrong.status_code == 401
        entered = made.send("/login", page, {"name": name, "password": password, "to": "/flows"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/flows")
        # The emulator does not say that a request came by TLS, as API Gateway does.
        assert {each.removeprefix("__Host-") for each in made.cookies} == {"headrace", "headrace-session"}
        yield made


def test_a_flow_is_started_by_its_form_and_approved_by_its_link(client: Client, browser: Browser) -> None:
    client.save(SHOP)
    assert f'href="/flows/{NAMESPACE}/shop"' in browser.get("/flows")
    page = browser.get(f"/forms/{NAMESPACE}/shop")
    file = ("list.csv", b"a,b\n", "text/csv")
    shown = {"shown": "who", "in.who": "ann"}
    refused = browser.send(f"/forms/{NAMESPACE}/shop", page, shown)
    assert (refused.status_code, "It must match the pattern" in refused.text) == (422, True)
    # Two fields of the same name: what of the form was in the page.
    page_fields = [("shown", (None, "who")), ("shown", (None, "list")), ("in.who", (None, "Ann")), ("in.list", file)]
    proof = re.search(r'name="_proof" value="([0-9a-f]{64})"', page)
    assert proof is not None
    path = f"/forms/{NAMESPACE}/shop"
    without = browser.ask("POST", path, files=page_fields)
    assert without.status_code == 403
    started = browser.ask("POST", path, files=[("_proof", (None, proof[1])), *page_fields])
    assert started.status_code == 303, started.text
    execution_id = started.headers["location"].rpartition("/")[2]
    paused = client.when(execution_id, lambda execution: state(execution) == "PAUSED", "pause")
    outputs = {run["taskId"]: run["outputs"] for run in paused["taskRunList"]}
    assert outputs["size"]["value"] == "4"
    page = browser.get(f"/executions/{execution_id}")
    assert "PAUSED" in page
    assert "waits for a decision" in page

    # Whoever has the link decides, without being anybody.
    link = "/approve/" + outputs["link"]["value"].rpartition("/approve/")[2]
    other = Browser.__new__(Browser)
    other.__dict__.update(browser.__dict__, cookies={})
    page = other.get(link)
    assert other.ask("POST", link, files={"decision": (None, "RESUME")}).status_code == 403
    decided = other.send(link, page, {"decision": "RESUME", "shown": "reason", "in.reason": "so"})
    assert decided.status_code == 303, decided.text
    assert state(client.end(execution_id)) == "SUCCESS"
    assert client.messages(execution_id) == ["Because so"]
    assert "This is decided" in other.get(link)

    listed = browser.get(f"/executions?namespace={NAMESPACE}&flowId=shop")
    assert f'href="/executions/{execution_id}"' in listed
    assert f'href="/executions/{execution_id}"' not in browser.get(
        f"/executions?flowId=shop&namespace={NAMESPACE}&state=FAILED"
    )
    page = browser.get(f"/executions/{execution_id}")
    assert "Because so" in page
    killed = browser.send(f"/executions/{execution_id}/kill", page, {})
    assert killed.status_code == 409


def test_a_file_of_six_megabytes_goes_past_the_api(client: Client, browser: Browser) -> None:
    client.save(SHOP.replace("id: shop", "id: large-shop"))
    path = f"/api/v1/main/executions/{NAMESPACE}/large-shop"
    content = b"0123456789abcdef" * (6 * MEGABYTE // 16)
    # As the page's script does, in the name of who signed in.
    wish = {"name": "large.csv", "size": len(content)}
    place = browser.ask("POST", f"{path}/uploads", json=wish).json()
    assert httpx.put(place["url"], content=content, timeout=60).status_code == 200
    page = browser.ask("GET", f"/forms/{NAMESPACE}/large-shop")
    site = "{0.scheme}://{0.netloc}".format(urlsplit(place["url"]))
    assert f"connect-src 'self' {site};" in page.headers["content-security-policy"]
    proof = re.search(r'name="_proof" value="([0-9a-f]{64})"', page.text)
    assert proof is not None
    fields = {"_proof": proof[1], "shown": ["who", "list"], "in.who": "Ann", "other.list": place["uri"]}
    started = browser.ask("POST", f"/forms/{NAMESPACE}/large-shop", data=fields)
    assert started.status_code == 303, started.text
    execution_id = started.headers["location"].rpartition("/")[2]
    paused = client.when(execution_id, lambda execution: state(execution) == "PAUSED", "pause")
    assert paused["taskRunList"][0]["outputs"]["value"] == str(len(content))
    assert client.ask("DELETE", f"/executions/{execution_id}/kill").status_code == 202


def test_who_signs_out_is_out(deployment: Deployment, client: Client) -> None:
    with closing(Browser(deployment)) as made:
        name, password = client.shown
        page = made.get("/login")
        assert made.send("/login", page, {"name": name, "password": password}).status_code == 303
        before = dict(made.cookies)
        assert "Sign out" in made.get("/flows")
        assert made.ask("POST", "/logout").status_code == 403
        assert made.send("/logout", made.get("/logout"), {}).headers["location"] == "/login"
        made.cookies = before
        assert made.ask("GET", "/flows").status_code == 303
        assert made.ask("GET", f"/api/v1/main/flows/{NAMESPACE}").status_code == 401


def test_api_gateway_asks_an_issuer_and_groups_of_a_token_say_what_may_be(
    deployment: Deployment, client: Client
) -> None:
    """The emulator's own check stands in for API Gateway's; what the function makes of the claims is ours."""
    client.save("id: seen\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]\n")
    gateway, lambda_ = deployment.account.client("apigatewayv2"), deployment.account.client("lambda")
    name = deployment.functions["api"]
    found = lambda_.get_function_configuration(FunctionName=name)
    grants = {"name": "email", "roles": "groups", "grants": {"team": ["viewer@emulator"], "other": ["admin@elsewhere"]}}
    variables = found["Environment"]["Variables"]
    with issuer() as keys:
        lambda_.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables | {"HEADRACE_CALLERS": json.dumps(grants)}}
        )
        api = gateway.create_api(Name="by-token", ProtocolType="HTTP")["ApiId"]
        try:
            integration = gateway.create_integration(
                ApiId=api,
                IntegrationType="AWS_PROXY",
                IntegrationUri=found["FunctionArn"],
                PayloadFormatVersion="2.0",
            )["IntegrationId"]
            authorizer = gateway.create_authorizer(
                ApiId=api,
                AuthorizerType="JWT",
                Name="issuer",
                IdentitySource=["$request.header.Authorization"],
                JwtConfiguration={"Audience": ["headrace"], "Issuer": keys.address},
            )["AuthorizerId"]
            gateway.create_route(
                ApiId=api,
                RouteKey="GET /api/{proxy+}",
                Target=f"integrations/{integration}",
                AuthorizationType="JWT",
                AuthorizerId=authorizer,
            )
            gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
            lambda_.add_permission(
                FunctionName=name,
                StatementId="by-token",
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
            )
            base = f"{deployment.account.endpoint}/_aws/execute-api/{api}/api/v1/main"
            now = int(time.time())
            claims = {
                "aud": "headrace",
                "sub": "4711",
                "email": "ann@example.com",
                "groups": ["team"],
                "exp": now + 600,
            }

            def ask(path: str, token: str) -> httpx.Response:
                return httpx.get(f"{base}{path}", headers={"authorization": f"Bearer {token}"}, timeout=60)

            me = until(
                lambda: _is_known(ask("/me", keys.token(claims))),
                "function that knows what claims mean",
                then=lambda: (ask("/me", keys.token(claims)).text, keys.asked),
            )
            assert me == {"name": "ann@example.com", "kind": "jwt", "grants": ["viewer@emulator"]}
            assert ask(f"/flows/{NAMESPACE}/seen", keys.token(claims)).status_code == 200
            assert ask("/flows/elsewhere", keys.token(claims)).status_code == 403
            assert ask("/me", keys.token({**claims, "groups": ["nobodys"]})).status_code == 403
            refused = [
                keys.token({**claims, "aud": "others"}),
                keys.token({**claims, "exp": now - 60}),
                keys.token({**claims, "iss": "https://others.example.com"}),
                keys.unsigned(claims),
                *keys.confused(claims),
                "hr_" + "a" * 22 + "_" + "b" * 43,
                "x.y.z",
            ]
            assert [ask("/me", token).status_code for token in refused] == [401] * len(refused)
            assert "/.well-known/openid-configuration" in keys.asked
        finally:
            gateway.delete_api(ApiId=api)
            lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def _is_known(answer: httpx.Response) -> Any:
    return answer.json() if answer.status_code == 200 else None
