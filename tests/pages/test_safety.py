"""Pages are safe whatever is in them, for those alone who may see them, and usable by everybody who may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from access.house import house
from headrace_engine.api.gates import login_gate
from headrace_engine.api.http import Request, Response
from headrace_engine.api.route import Route
from headrace_engine.identity import GIVEN, Role
from headrace_engine.pages import Site
from hostile import PAYLOADS, PRODUCT
from pages.browser import Browser, Page, browser

LOG, PAUSE, RETURN = (
    "io.kestra.plugin.core.log.Log",
    "io.kestra.plugin.core.flow.Pause",
    "io.kestra.plugin.core.debug.Return",
)
ALLOWED = {
    "GET /": Role.VIEWER,
    "GET /flows": Role.VIEWER,
    "GET /flows/{namespace}/{flow_id}": Role.VIEWER,
    "GET /forms/{namespace}/{flow_id}": Role.EDITOR,
    "POST /forms/{namespace}/{flow_id}": Role.EDITOR,
    "POST /forms/{namespace}/{flow_id}/fields": Role.EDITOR,
    "GET /executions": Role.VIEWER,
    "GET /executions/{execution_id}": Role.VIEWER,
    "POST /executions/{execution_id}/kill": Role.OPERATOR,
    "POST /executions/{execution_id}/pause": Role.OPERATOR,
    "POST /executions/{execution_id}/resume": Role.OPERATOR,
    "POST /executions/{execution_id}/force-run": Role.OPERATOR,
    "POST /executions/{execution_id}/restart": Role.OPERATOR,
    "POST /executions/{execution_id}/replay": Role.OPERATOR,
    "GET /executions/{execution_id}/resume/{task_run_id}": Role.OPERATOR,
    "POST /executions/{execution_id}/resume/{task_run_id}": Role.OPERATOR,
    "GET /approve/{key}": Role.OPEN,
    "POST /approve/{key}": Role.OPEN,
    "POST /approve/{key}/uploads": Role.OPEN,
    "GET /assets/{name}": Role.OPEN,
    "GET /login": Role.OPEN,
    "POST /login": Role.OPEN,
    "GET /logout": Role.OPEN,
    "POST /logout": Role.OPEN,
}
"""Who may ask for what. A page that stands here is one somebody looked at."""

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "</textarea></pre><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202e\u0000\x1b[31m",
)


@pytest.fixture(scope="module")
def furnished() -> Iterator[tuple[Browser, dict[str, str]]]:
    """Yield somebody before a flow, an execution that waits, and its link."""
    with browser() as made:
        made.save(
            f"""
id: shown
namespace: mine
inputs:
  - {{id: text, type: STRING, defaults: a, description: said}}
  - {{id: many, type: MULTISELECT, values: [a, b], required: false}}
  - {{id: file, type: FILE, required: false}}
  - {{id: tick, type: BOOL}}
  - {{id: pick, type: SELECT, values: [a], required: false}}
tasks:
  - {{id: send, type: {RETURN}, format: "{{{{ resumeUrl() }}}}"}}
  - {{id: wait, type: {PAUSE}, onResume: [{{id: why, type: STRING}}, {{id: code, type: SECRET, required: false}}]}}
"""
        )
        execution_id = made.start("mine", "shown")
        runs = {run.task_id: run for run in made.runtime.state(execution_id).task_runs.values()}
        url = made.engine.payloads.load(runs["send"].outputs)["value"]
        yield (
            made,
            {
                "namespace": "mine",
                "flow_id": "shown",
                "execution_id": execution_id,
                "task_run_id": runs["wait"].id,
                "key": url.rpartition("/")[2],
                "name": "headrace.css",
            },
        )


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def path(route: Route, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], route.path)


def pages(furnished: tuple[Browser, dict[str, str]]) -> Iterator[Page]:
    visitor, names = furnished
    visitor.become("admin")
    for route in visitor.site.routes:
        if route.method == "GET" and not route.path.startswith("/assets"):
            yield visitor.get(path(route, names))
    yield visitor.get("/executions/nothing")


# -- Who may ask ------------------------------------------------------------------------------------------------------


def test_every_page_stands_in_the_table(furnished: tuple[Browser, dict[str, str]]) -> None:
    assert {name(route): route.role for route in furnished[0].site.routes} == ALLOWED


@pytest.mark.parametrize("role", GIVEN)
@pytest.mark.parametrize("where", ["mine", "theirs"])
def test_a_role_is_let_through_to_what_it_may(
    furnished: tuple[Browser, dict[str, str]], role: Role, where: str
) -> None:
    visitor, names = furnished
    visitor.become(f"{role}@{where}")
    for route in visitor.site.routes:
        status = visitor.ask(route.method, path(route, names))[0]
        needed = ALLOWED[name(route)]
        is_let_in = needed is Role.OPEN or (role.covers(needed) and (where == "mine" or "{" not in route.path))
        if route.method == "POST":
            assert status in (403, 404, 409), (name(route), status)  # nobody's form has come
        else:
            assert (status not in (401, 403, 404)) is is_let_in, (name(route), status)
    state = visitor.runtime.state(names["execution_id"])
    assert state.state.value == "PAUSED"


def test_without_credentials_there_is_nothing_but_what_is_open() -> None:
    with house() as made:
        runtime = made.runtime
        gate = login_gate(made.identity, made.audit, runtime.clock)
        site = Site(runtime.engine, runtime.executor, made, gate, wait=lambda _: None)
        for route in site.routes:
            target = re.sub(r"\{\w+\}", "nothing", route.path)
            answer = site(Request(route.method, target, headers={"host": "headrace.test"}))
            assert isinstance(answer, Response)
            is_open = ALLOWED[name(route)] is Role.OPEN
            assert (answer.status == 401) is not is_open, name(route)
            assert ("www-authenticate" in answer.headers) is not is_open
            if not is_open:
                assert answer.headers["content-type"].startswith("text/html")


# -- Forms of other sites ---------------------------------------------------------------------------------------------


def test_no_form_is_taken_without_its_token(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, names = furnished
    visitor.become("admin")
    visitor.get("/flows")
    form = b"_proof=" + b"0" * 64
    asked = 0
    for route in visitor.site.routes:
        if route.method == "POST":
            for body in (b"", form, b"_proof=%C3%A9&decision=RESUME"):
                status, _, content = visitor.ask("POST", path(route, names), body, "application/x-www-form-urlencoded")
                assert status == 403, (name(route), status)
                assert b"was not sent from its page" in content
                asked += 1
    assert asked == 39
    assert not visitor.runtime.world.letters


def test_the_token_of_somebody_else_is_none(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, names = furnished
    visitor.become("admin")
    page = visitor.get(f"/executions/{names['execution_id']}")
    visitor.principal = visitor.principal.__class__("other", visitor.principal.kind, visitor.principal.grants)
    assert visitor.press(page, "Kill").status == 403
    visitor.become("admin")
    visitor.cookies = dict.fromkeys(visitor.cookies, "A" * 43)
    assert visitor.press(page, "Kill").status == 403
    assert not visitor.runtime.world.letters


def test_a_page_of_another_site_sends_nothing(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, names = furnished
    visitor.become("admin")
    page = visitor.get(f"/executions/{names['execution_id']}")
    for header in ({"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        visitor.headers = header
        try:
            assert visitor.press(page, "Kill").status == 403
        finally:
            visitor.headers = {}
    assert not visitor.runtime.world.letters


def test_the_cookie_stays_with_this_site(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, names = furnished
    visitor.become("admin")
    for target in (f"/executions/{names['execution_id']}", "/forms/mine/shown", f"/approve/{names['key']}"):
        visitor.forget()
        _, headers, _ = visitor.ask("GET", target)
        assert re.fullmatch(r"headrace=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", headers["set-cookie"])
        assert "set-cookie" not in visitor.ask("GET", target)[1]
        visitor.forget()
        _, headers, _ = visitor.ask("GET", target, **{"x-forwarded-proto": "https"})
        expected = r"__Host-headrace=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure"
        assert re.fullmatch(expected, headers["set-cookie"])
    visitor.forget()


# -- What is in a page --------------------------------------------------------------------------------------------------


def test_pages_run_no_script_but_our_own(furnished: tuple[Browser, dict[str, str]]) -> None:
    for page in pages(furnished):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for tag, attributes in page.elements:
            assert tag != "style"
            assert "style" not in attributes
            assert not [each for each in attributes if each.startswith("on")]
            if tag == "script":
                assert re.fullmatch(r"/assets/headrace\.js\?[0-9a-f]{12}", attributes["src"])
        assert not re.search(r"<script[^>]*>[^<]", page.text)


def test_a_page_whose_address_is_a_secret_tells_nobody_of_it(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, names = furnished
    page = visitor.get(f"/approve/{names['key']}")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert visitor.get("/approve/nothing").headers["referrer-policy"] == "no-referrer"
    assert not [each for each in page.links() if not each.startswith("#")], "nor what else there is"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_stands_in_a_flow_or_an_execution_is_text(hostile: str) -> None:
    plain = hostile.replace("\0", "")
    quoted = plain.encode("unicode_escape").decode().replace('"', '\\"').replace("\\x1b", "\\u001b")
    raw = quoted.replace("{", "&#123;") if "{" in quoted else quoted
    with browser() as visitor:
        visitor.save(
            f"""
id: hostile
namespace: demo
description: "{raw}"
labels:
  - {{key: "k", value: "{raw}"}}
inputs:
  - {{id: text, type: STRING, displayName: "{raw[:60]}", description: "{raw}"}}
  - {{id: pick, type: SELECT, values: ["{raw}"], required: false}}
  - {{id: several, type: MULTISELECT, values: ["{raw}"], required: false}}
tasks:
  - {{id: log, type: {LOG}, message: "{{{{ inputs.text }}}}"}}
  - {{id: back, type: {RETURN}, format: "{{{{ inputs.text }}}}"}}
  - {{id: wait, type: {PAUSE}, onResume: [{{id: why, type: INT}}]}}
"""
        )
        execution_id = visitor.start("demo", "hostile", text=plain)
        run = next(each for each in visitor.runtime.state(execution_id).task_runs.values() if each.task_id == "wait")
        form = visitor.get("/forms/demo/hostile").form("/forms/demo/hostile")
        wrong = visitor.send_form(form, {"in.text": plain, "in.pick": plain + "!"})
        assert wrong.status == 422
        assert wrong.value("in.text") == plain
        decide = visitor.get(f"/executions/{execution_id}/resume/{run.id}")
        found = [
            wrong,
            visitor.press(decide, "Resume", {"in.why": plain}),
            visitor.get("/flows"),
            visitor.get("/flows/demo/hostile"),
            visitor.get(f"/executions/{execution_id}"),
            visitor.get("/executions"),
        ]
        for target in ("/flows?q=", "/executions?q=", "/executions?state=", "/executions?labels=", "/executions/"):
            found.append(visitor.get(target + quote(hostile, safe="")))
        for page in found:
            tags = {tag for tag, _ in page.elements}
            assert not tags & {"img", "iframe", "object"}, page.path
            assert len(page.all("script")) == 1
            for tag, attributes in page.elements:
                assert not [each for each in attributes if each.startswith("on") or each == "autofocus"], (
                    tag,
                    page.path,
                )
                assert not attributes.get("href", "").lower().startswith("javascript")
            assert "49" not in page.words or "{{" not in hostile or "49" in execution_id


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_nothing_hostile_is_obeyed_anywhere(furnished: tuple[Browser, dict[str, str]], payload: str) -> None:
    """In every name, parameter and field of every page: answered, and neither evaluated nor a header of its own."""
    visitor, _ = furnished
    visitor.become("admin")
    segment = quote(payload[:2000], safe="", errors="replace")
    field = payload.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    form = "".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"; {more}\r\n\r\n{payload}\r\n'
        for name, more in (("_proof", "x=1"), (field, "x=1"), ("in.file", f'filename="{field}"'), ("shown", "x=1"))
    )
    asked = 0
    for route in visitor.site.routes:
        query = "&".join(f"{each.name}={segment}" for each in route.query)
        target = re.sub(r"\{\w+\}", lambda _: segment, route.path)
        for body, media in ((b"", ""), (f"{form}--x--".encode("utf-8", "replace"), "multipart/form-data; boundary=x")):
            status, headers, content = visitor.ask(route.method, f"{target}?{query}", body, media)
            assert status < 500, (name(route), content)
            assert PRODUCT.encode() not in content
            for key, value in headers.items():
                assert not set(key + value) & {"\r", "\n", "\0"}, (name(route), key)
            asked += 1
    assert asked > 40


@pytest.mark.parametrize(
    "filename", ["..", "../../etc/passwd", "C:\\x\\y.csv", "💩" * 100 + ".csv", "x" * 5000, "{{ 97 * 97531 }}"]
)
def test_whatever_a_file_is_called_a_form_takes_it(furnished: tuple[Browser, dict[str, str]], filename: str) -> None:
    visitor, _ = furnished
    visitor.become("admin")
    page = visitor.get("/forms/mine/shown")
    escaped = filename.replace("\\", "\\\\")
    started = visitor.press(page, "Execute", {"in.text": "x"}, files={"in.file": (escaped, b"content")})
    stored = visitor.execution(started)["inputs"]["file"]
    assert visitor.stores.storage.open(stored).read() == b"content"
    assert re.fullmatch(r"kestra:///mine/shown/executions/\w+/inputs/file/[^/]+", stored)
    assert PRODUCT not in visitor.get(started.path).text


# -- For everybody ------------------------------------------------------------------------------------------------------


def test_pages_can_be_used_by_everybody(furnished: tuple[Browser, dict[str, str]]) -> None:
    seen = 0
    for page in pages(furnished):
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("main")) == len(page.all("h1")) == 1, page.path
        assert page.links()[0] == "#main"
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), page.path
        labelled = {each.get("for") for each in page.all("label")}
        for tag, attributes in page.elements:
            if tag in ("input", "select", "textarea") and attributes.get("type") != "hidden":
                is_choice = attributes.get("type") == "checkbox" and "id" not in attributes
                assert is_choice or attributes["id"] in labelled, (page.path, attributes)
                seen += 1
            for each in attributes.get("aria-describedby", "").split():
                assert each in ids, (page.path, each)
            if tag == "th":
                assert attributes.get("scope") in ("col", "row"), page.path
            if tag == "table":
                assert page.all("caption") or page.all("h2"), page.path
        for form in page.forms:
            assert form.action
    assert seen > 10


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_that_meet_are_far_enough_apart(furnished: tuple[Browser, dict[str, str]]) -> None:
    """WCAG 2.1: 4.5:1 for text, 3:1 for what is not."""
    css = furnished[0].ask("GET", "/assets/headrace.css")[2].decode()
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", each)) for each in css.split("@media (prefers")[:2]]
    themes[1] = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css.split("@media (prefers")[1].split("}")[0]))
    pairs = [
        *((front, back, 4.5) for front in ("text", "quiet", "link", "bad", "warn") for back in ("back", "raised")),
        *((front, "back", 4.5) for front in ("good", "busy", "idle")),
        ("on-main", "main", 4.5),
        ("text", "bad-back", 4.5),
        ("text", "warn-back", 4.5),
        ("text", "info-back", 4.5),
        ("link", "bad-back", 4.5),
        ("edge", "back", 3.0),
        ("focus", "back", 3.0),
        *((bar, "raised", 3.0) for bar in ("good", "bad", "warn", "busy", "idle")),
    ]
    for theme in themes:
        assert len(theme) > 15
        for front, back, least in pairs:
            light, dark = sorted((_luminance(theme[front]), _luminance(theme[back])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (front, back)


def test_assets_are_kept_and_there_are_no_others(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, _ = furnished
    for asset, kind in (
        ("headrace.css", "text/css"),
        ("headrace.js", "text/javascript"),
        ("headrace.svg", "image/svg"),
    ):
        status, headers, body = visitor.ask("GET", f"/assets/{asset}")
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert "immutable" in headers["cache-control"]
        assert body
    for asset in ("..%2f..%2fsite.py", "..", "site.py", "%2e%2e%2fsite.py", "headrace.css%00"):
        assert visitor.ask("GET", f"/assets/{asset}")[0] == 404


def test_a_house_dresses_pages_in_its_own_colours(visitor: Browser) -> None:
    def sheet() -> bytes:
        status, headers, body = visitor.ask("GET", "/assets/theme.css", authorization="")
        assert (status, headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert headers["cache-control"] == "public, max-age=60"
        return body

    linked = [each["href"].partition("?")[0] for each in visitor.get("/flows").all("link")]
    assert linked[-2:] == ["/assets/headrace.css", "/assets/theme.css"], "what it says last counts"
    assert sheet() == b""
    mine = b":root { --main: #7a1fa2; }"
    body = b'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="t"\r\n\r\n' + mine + b"\r\n--x--\r\n"
    place = "/api/v1/main/namespaces/system/files?path=/theme.css"
    visitor.become("editor@company")
    assert visitor.ask("POST", place, body, "multipart/form-data; boundary=x")[0] == 403
    visitor.become("editor@system")
    assert visitor.ask("POST", place, body, "multipart/form-data; boundary=x")[0] == 200
    assert sheet() == mine


def test_the_api_answers_beside_the_pages(furnished: tuple[Browser, dict[str, str]]) -> None:
    visitor, _ = furnished
    visitor.become("admin")
    status, headers, _ = visitor.ask("GET", "/api/v1/main/flows/search")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert visitor.ask("GET", "/openapi.json")[0] == 200
    assert visitor.ask("GET", "/elsewhere")[1]["content-type"] == "application/json"


# -- Bodies that are still to come ------------------------------------------------------------------------------------


def test_no_body_is_taken_of_who_may_not_send_it() -> None:
    """Every route of the API and the pages, asked before its body has come, answers as it would with it."""
    with house() as made:
        runtime = made.runtime
        gate = login_gate(made.identity, made.audit, runtime.clock)
        site = Site(runtime.engine, runtime.executor, made, gate, wait=lambda _: None)
        shown = {grant: {"authorization": f"Bearer {made.token(*grant)}"} for grant in ((), ("viewer",), ("admin",))}
        refused = 0
        for route, prefix in [
            *((each, "") for each in site.routes),
            *((each, "/api/v1/main") for each in site.api.routes),
        ]:
            target = prefix + re.sub(r"\{\w+\}", "nothing", route.path)
            for headers in ({}, *shown.values()):
                request = Request(route.method, target, headers={"host": "headrace.test", **headers})
                admission = site.admit(request)
                if admission.refusal is not None:
                    answer = site(request)
                    assert isinstance(answer, Response)
                    assert answer.status == admission.refusal.status, (name(route), answer.body)
                    assert admission.refusal.headers["x-content-type-options"] == "nosniff"
                    refused += 1
                elif route.role is not Role.OPEN:
                    assert admission.principal is not None
                    assert admission.principal.best.covers(route.role), name(route)
        assert refused > 200
        for open_path in ("/approve/nothing", "/api/v1/main/uploads/nothing", "/api/v1/main/executions/webhook/a/b/c"):
            method = "PUT" if "uploads" in open_path else "POST"
            refusal = site.admit(Request(method, open_path, headers={"host": "headrace.test"})).refusal
            assert refusal is not None
            assert refusal.status == 404
        assert site.admit(Request("POST", "/login", headers={"host": "headrace.test"})).largest == 16 * 1024
