"""Pages behind API Gateway: cookies come apart from the headers, and a link begins with the API's address."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode, urlsplit

import httpx

from headrace_engine.resume_links import NAMESPACE
from headrace_functions.callers import FIRST_ADMIN
from headrace_functions.testing.cloud import PASSWORD, Cloud

FLOW = """
id: approval
namespace: flows
tasks:
  - {id: send, type: io.kestra.plugin.core.debug.Return, format: "{{ resumeUrl() }}"}
  - {id: wait, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: reason, type: STRING}]}
"""
FORM = {"content-type": "application/x-www-form-urlencoded", "x-forwarded-proto": "https"}


def test_a_form_that_comes_with_its_cookie_is_taken() -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        execution_id = cloud.create("flows", "approval")
        cloud.settle(None)
        execution = cloud.request("GET", f"/api/v1/main/executions/{execution_id}").json()
        assert execution["state"]["current"] == "PAUSED"
        link = urlsplit(execution["taskRunList"][0]["outputs"]["value"])
        assert link.path.startswith("/approve/")
        assert f"{link.scheme}://{link.netloc}" == execution["url"].partition("/api/")[0]
        page = cloud.request("GET", link.path, headers={"x-forwarded-proto": "https"})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(r'name="_proof" value="([0-9a-f]{64})"', page.text)
        assert token is not None
        body = f"_proof={token[1]}&decision=RESUME".encode()
        without = cloud.request("POST", link.path, body, FORM)
        assert without.status_code == 403
        taken = cloud.request("POST", link.path, body, {**FORM, "cookie": f"other=1; {cookie}"})
        assert taken.status_code == 422
        assert "It is required." in taken.text
        keys = [entry.key for entry in cloud.stores.kv.list(NAMESPACE)]
        assert len(keys) == 1
        assert link.path.rpartition("/")[2] not in keys[0]


def test_a_large_file_of_who_has_a_link_goes_past_the_api() -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW.replace("reason, type: STRING", "proof, type: FILE"))
        execution_id = cloud.create("flows", "approval")
        cloud.settle(None)
        execution = cloud.request("GET", f"/api/v1/main/executions/{execution_id}").json()
        link = urlsplit(execution["taskRunList"][0]["outputs"]["value"]).path
        page = cloud.request("GET", link, headers={"x-forwarded-proto": "https"})
        token = re.search(r'name="_proof" value="([0-9a-f]{64})"', page.text)
        assert token is not None
        shown = {"x-forwarded-proto": "https", "cookie": page.headers["set-cookie"].partition(";")[0]}
        wish = json.dumps({"name": "a.csv", "size": 3}).encode()
        asked = {**shown, "content-type": "application/json", "headrace-proof": token[1], "authorization": ""}
        place = cloud.request("POST", f"{link}/uploads", wish, asked)
        assert place.status_code == 200
        address = urlsplit(place.json()["url"])
        assert f"connect-src 'self' {address.scheme}://{address.netloc};" in page.headers["content-security-policy"]
        cloud.stores.storage.put(place.json()["uri"], b"a,b")  # what the bucket does with what is put there
        part = f'--x\r\ncontent-disposition: form-data; name="proof"\r\n\r\n{place.json()["uri"]}\r\n--x--\r\n'
        resume = f"/api/v1/main/executions/{execution_id}/resume"
        form = {"content-type": "multipart/form-data; boundary=x"}
        assert cloud.request("POST", resume, part.encode(), form).status_code == 204
        cloud.settle(None)
        execution = cloud.request("GET", f"/api/v1/main/executions/{execution_id}").json()
        assert execution["state"]["current"] == "SUCCESS"


def test_flows_have_their_page_there_too() -> None:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        assert 'href="/flows/flows/approval"' in cloud.request("GET", "/flows").text
        assert cloud.request("GET", "/assets/headrace.css").headers["content-type"] == "text/css; charset=utf-8"
        refused = cloud.request("GET", "/flows", headers={"authorization": ""})
        assert refused.status_code == 401
        assert "Who are you?" in refused.text


def test_people_sign_in_with_a_browser() -> None:
    looks = {"accept": "text/html", "x-forwarded-proto": "https", "authorization": "", "sec-fetch-site": "same-origin"}
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        away = cloud.request("GET", "/flows", headers=looks)
        assert (away.status_code, away.headers["location"]) == (303, "/login?to=%2Fflows")
        page = cloud.request("GET", away.headers["location"], headers=looks)
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(r'name="_proof" value="([0-9a-f]{64})"', page.text)
        assert token is not None
        sent = looks | {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}

        def enter(password: str) -> httpx.Response:
            form = {"_proof": token[1], "name": FIRST_ADMIN, "password": password, "to": "/flows"}
            return cloud.request("POST", "/login", urlencode(form).encode(), sent)

        assert enter("a guess").status_code == 401
        entered = enter(PASSWORD)
        assert (entered.status_code, entered.headers["location"]) == (303, "/flows")
        session, *flags = entered.headers["set-cookie"].split("; ")
        assert session.startswith("__Host-headrace-session=")
        assert flags == ["Path=/", "Max-Age=28800", "HttpOnly", "SameSite=Lax", "Secure"]
        known = looks | {"cookie": f"other=1; {cookie}; {session}"}
        cloud.restart()
        for target in ("/flows", "/api/v1/main/flows/flows"):
            assert cloud.request("GET", target, headers=known).status_code == 200
        assert cloud.request("GET", "/flows", headers=known | {"authorization": "Basic eDp5"}).status_code == 303
        foreign = known | {"sec-fetch-site": "cross-site", "content-type": "application/x-yaml"}
        assert cloud.request("POST", "/api/v1/main/flows", FLOW.encode(), foreign).status_code == 403
        left = cloud.request("POST", "/logout", f"_proof={token[1]}".encode(), sent | known)
        assert (left.status_code, "Max-Age=0" in left.headers["set-cookie"]) == (303, True)
        assert cloud.request("GET", "/api/v1/main/flows/flows", headers=known).status_code == 401
