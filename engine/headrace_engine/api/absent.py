"""What Kestra's clients may ask for and is not there: refused by its name, with what there is instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_INSTEAD: Mapping[str, str] = {
    "ai": "there is no copilot",
    "apps": "there are no apps: a flow has its form at /forms/{namespace}/{flow}",
    "assets": "there are no assets",
    "banners": "there are no banners",
    "basicAuth": "users are added with `headrace user add`, or over /users",
    "blueprints": "there is no catalogue of blueprints",
    "dashboards": "there are no dashboards: /stats counts executions and log lines by day",
    "groups": "there are no groups: a user has roles by namespace",
    "invitations": "there are no invitations: users are added with `headrace user add`, or over /users",
    "roles": "roles cannot be made: they are viewer, editor, operator and admin, and a user has them by namespace",
    "service-accounts": "there are no service accounts: a user may have tokens and no password",
    "taskruns": "task runs are found with their execution; Kestra has no list of them from 1.1 on",
    "tests": "suites of flow tests are files, and run with `headrace test`",
    "usages": "nobody's use is counted",
}


def why_absent(segments: Sequence[str]) -> str | None:
    """Return why there is nothing at a path of Kestra's; None for any other path."""
    match segments:
        case ["namespaces", _, "secrets", _]:
            return "secrets are changed where they are kept: in the environment, or in AWS's own stores of them"
        case ["namespaces"]:
            return "a namespace is there as long as it has flows: it is neither made nor deleted"
        case ["namespaces", _, "credentials" | "inherited-variables", *_]:
            return "a namespace has no variables and credentials of its own: `variables.globals` are those of all flows"
        case ["namespaces", _, "inherited-plugindefaults" | "plugindefaults", *_]:
            return "a namespace has no plugin defaults of its own: `plugins.defaults` are those of all flows"
        case [first, *_]:
            return _INSTEAD.get(first)
    return None
