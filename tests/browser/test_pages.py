"""Pages in a real browser: with its scripts, its cookies and its security policy; and with JavaScript switched off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


class Tab:
    """A tab, and what the browser complained of."""

    def __init__(self, context: Any, server: str) -> None:
        self.page = context.new_page()
        self.server = server
        self.complaints: list[str] = []
        self.expects: tuple[str, ...] = ("422",)
        """What the browser tells that a page says, too: the status of an answer."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in self.expects):
            self.complaints.append(message.text)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.server}{path}")


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def tab(request: pytest.FixtureRequest, chromium: Any, server: str) -> Iterator[Tab]:
    context = chromium.new_context(java_script_enabled=request.param)
    made = Tab(context, server)
    made.scripts = request.param  # type: ignore[attr-defined]
    yield made
    assert made.complaints == []
    context.close()


def task_outputs(server: str, execution_id: str, task_id: str) -> Any:
    execution = httpx.get(f"{server}/api/v1/main/executions/{execution_id}").json()
    return next(run["outputs"] for run in execution["taskRunList"] if run["taskId"] == task_id)


def until_paused(server: str, execution_id: str) -> None:
    """Return when the execution waits for a person; the server tells of its changes."""
    with httpx.stream("GET", f"{server}/api/v1/main/executions/{execution_id}/follow", timeout=60) as events:
        for line in events.iter_lines():
            if '"current":"PAUSED"' in line:
                return
    raise AssertionError("it did not pause")


def test_a_flow_is_started_by_its_form_and_approved_by_its_link(tab: Tab, server: str) -> None:
    page, scripts = tab.page, tab.scripts  # type: ignore[attr-defined]
    tab.open("/")
    page.get_by_role("link", name="order", exact=True).click()
    page.get_by_role("link", name="Execute").click()
    page.get_by_label("who").fill("ann")
    page.get_by_label("code").fill("hush")
    page.get_by_label("cloud").select_option("aws")
    if not scripts:
        page.get_by_role("button", name="Update the form").click()
    page.get_by_label("region").select_option("us")
    assert page.get_by_label("who").input_value() == "ann"
    page.get_by_role("button", name="Execute").click()
    # One field is wrong: it is told beside it, what else was typed stays, but for the secret.
    assert "It must match the pattern" in page.locator("#field-who-error").inner_text()
    assert page.get_by_label("region").input_value() == "us"
    assert page.get_by_label("code").input_value() == ""
    page.get_by_label("who").fill("Ann")
    file = {"name": "list.csv", "mimeType": "text/csv", "buffer": b"a,b\n"}
    page.locator("#field-list").set_input_files(files=[file])
    page.get_by_role("button", name="Execute").click()
    page.wait_for_url("**/executions/*")
    execution_id = page.url.rpartition("/")[2]
    until_paused(server, execution_id)
    if not scripts:
        page.reload()
    page.get_by_role("link", name="Decide").wait_for()
    assert "Hello Ann <b>there</b>" in page.locator("#lines").inner_text()
    # Somebody else opens the link, which changes nothing, and decides.
    link = task_outputs(server, execution_id, "send")["value"]
    page.goto(link)
    assert "ann" in page.locator("main").inner_text()
    page.get_by_label("reason").fill("so")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("heading", name="This is decided").wait_for()
    tab.open(f"/executions/{execution_id}")
    assert page.locator("[role=status]").inner_text() == "SUCCESS"
    assert "Because so" in page.locator("#lines").inner_text()
    resumed = task_outputs(server, execution_id, "wait")["resumed"]
    assert resumed["by"].startswith("ann (link ")


def test_a_page_follows_its_execution(chromium: Any, server: str) -> None:
    """No reload: the page hears of changes by itself."""
    context = chromium.new_context()
    tab = Tab(context, server)
    made = httpx.post(f"{server}/api/v1/main/executions/shop/order", files={"who": (None, "Bob")}).json()
    until_paused(server, made["id"])
    tab.open(f"/executions/{made['id']}")
    page = tab.page
    assert page.locator("[role=status]").inner_text() == "PAUSED"
    page.locator("summary", has_text="greet").click()
    httpx.post(
        f"{server}/api/v1/main/executions/{made['id']}/resume", files={"reason": (None, "api")}
    ).raise_for_status()
    page.locator("[role=status]", has_text="SUCCESS").wait_for()
    page.locator("#lines", has_text="Because api").wait_for()
    assert page.locator("details[open] summary").inner_text().startswith("greet"), "what was open stays so"
    assert tab.complaints == []
    context.close()


def test_another_site_gets_nothing_done(chromium: Any, server: str) -> None:
    """A form of another origin, which knows all but the token, and a frame of ours in its page."""
    made = httpx.post(f"{server}/api/v1/main/executions/shop/order", files={"who": (None, "Eve")}).json()
    until_paused(server, made["id"])
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{server}/executions/{made['id']}")
    elsewhere = server.replace("127.0.0.1", "localhost")
    page.route(
        f"{elsewhere}/evil",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method=post action="{server}/executions/{made["id"]}/kill"><button>x</button></form>',
        ),
    )
    page.goto(f"{elsewhere}/evil")
    with page.expect_response("**/kill") as answered:
        page.click("button")
    assert answered.value.status == 403
    state = httpx.get(f"{server}/api/v1/main/executions/{made['id']}").json()["state"]["current"]
    assert state == "PAUSED"
    context.close()


def test_large_files_go_ahead_of_their_form(tab: Tab, small_server: str) -> None:
    """Where scripts run, to where the server says; without, the page says what goes."""
    page, scripts = tab.page, tab.scripts  # type: ignore[attr-defined]
    page.goto(f"{small_server}/forms/shop/weigh")
    large = {"name": "big one.csv", "mimeType": "text/csv", "buffer": b"0123456789" * 200_000}
    more = {"name": "other.csv", "mimeType": "text/csv", "buffer": b"0123456789"}
    told = "All files together may have 87.5 kB"
    if not scripts:
        assert told in page.locator("main").inner_text()
        page.locator("#field-data").set_input_files(files=[more])
    else:
        assert told not in page.locator("main").inner_text()
        page.locator("#field-data").set_input_files(files=[large])
        page.locator("#field-more").set_input_files(files=[large, more])
        page.get_by_label("who").fill("ann")
    page.get_by_role("button", name="Execute").click()
    if scripts:
        # What went ahead need not go again when something else has to be put right.
        assert "match the pattern" in page.locator("#field-who-error").inner_text()
        assert page.locator("#field-data-other").input_value().startswith("kestra:///_uploads/shop/weigh/")
        page.get_by_label("who").fill("Ann")
        page.get_by_role("button", name="Execute").click()
    page.wait_for_url("**/executions/*")
    execution_id = page.url.rpartition("/")[2]
    with httpx.stream("GET", f"{small_server}/api/v1/main/executions/{execution_id}/follow", timeout=60) as events:
        assert any("event: end" in line for line in events.iter_lines())
    size = 2_000_000 if scripts else 10
    assert task_outputs(small_server, execution_id, "size")["size"] == size
    execution = httpx.get(f"{small_server}/api/v1/main/executions/{execution_id}").json()
    names = [uri.rpartition("/")[2] for uri in execution["inputs"]["more"] or ()]
    assert names == (["big one.csv", "other.csv"] if scripts else [])


def test_who_has_a_link_sends_a_large_file_ahead_of_the_decision(chromium: Any, small_server: str) -> None:
    made = httpx.post(f"{small_server}/api/v1/main/executions/shop/prove").json()
    until_paused(small_server, made["id"])
    context = chromium.new_context()
    tab = Tab(context, small_server)
    tab.page.goto(task_outputs(small_server, made["id"], "send")["value"])
    large = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"0123456789" * 200_000}
    tab.page.locator("#field-proof").set_input_files(files=[large])
    tab.page.get_by_role("button", name="Resume").click()
    tab.page.get_by_role("heading", name="This is decided").wait_for()
    with httpx.stream("GET", f"{small_server}/api/v1/main/executions/{made['id']}/follow", timeout=60) as events:
        assert any("event: end" in line for line in events.iter_lines())
    assert task_outputs(small_server, made["id"], "size")["size"] == 2_000_000
    assert tab.complaints == []
    context.close()


def test_somebody_signs_in_works_and_signs_out(tab: Tab, closed_server: str) -> None:
    """No window of the browser asks: the page does. Scripts, files and events come with the session."""
    page = tab.page
    tab.expects = ("401",)
    page.goto(f"{closed_server}/forms/shop/weigh")
    assert page.url.startswith(f"{closed_server}/login")
    page.get_by_label("Name").fill("me")
    page.get_by_label("Password").fill("a guess")
    page.get_by_role("button", name="Sign in").click()
    assert "Nobody is known" in page.locator("main").inner_text()
    page.get_by_label("Name").fill("me")
    page.get_by_label("Password").fill("sesame opens")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/forms/shop/weigh")
    assert "me" in page.locator("header").inner_text()
    (session,) = [each for each in page.context.cookies() if each["name"] == "headrace-session"]
    assert (session["httpOnly"], session["sameSite"]) == (True, "Lax")
    page.locator("#field-data").set_input_files(files=[{"name": "a.csv", "mimeType": "text/csv", "buffer": b"12345"}])
    page.get_by_role("button", name="Execute").click()
    page.wait_for_url("**/executions/*")
    if tab.scripts:  # type: ignore[attr-defined]
        page.locator("[role=status]", has_text="SUCCESS").wait_for()
    execution = page.url
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto(execution)
    assert "/login?to=" in page.url
    page.context.add_cookies([session])
    page.goto(execution)
    assert "/login?to=" in page.url, "the session is over wherever its cookie is"
