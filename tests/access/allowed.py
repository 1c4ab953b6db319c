"""Who may ask what: each route of the API, and the least role for it. A route that stands here is one somebody looked at.

``in`` says where the role must be held: ``namespace``, in the one that the path names, or whose execution it names;
``any``, in some namespace, and the answer is about those alone; ``all``, in every namespace.
"""

from __future__ import annotations

from typing import Final

_LISTED = """
OPEN in namespace
    GET POST PUT    /executions/webhook/{namespace}/{flow_id}/{key}
    PUT             /uploads/{key}

VIEWER in namespace
    GET             /executions/flows/{namespace}/{flow_id}
    GET             /executions/namespaces/{namespace}/flows
    GET             /executions/{execution_id}
    GET             /executions/{execution_id}/dependencies
    GET             /executions/{execution_id}/file
    GET             /executions/{execution_id}/file/metas
    GET             /executions/{execution_id}/file/preview
    GET             /executions/{execution_id}/flow
    GET             /executions/{execution_id}/follow
    GET             /executions/{execution_id}/follow-dependencies
    GET             /executions/{execution_id}/graph
    GET             /flows/{namespace}
    GET             /flows/{namespace}/{flow_id}
    GET             /flows/{namespace}/{flow_id}/dependencies
    GET             /flows/{namespace}/{flow_id}/graph
    GET             /flows/{namespace}/{flow_id}/revisions
    GET             /flows/{namespace}/{flow_id}/tasks/{task_id}
    GET             /logs/{execution_id}
    GET             /logs/{execution_id}/download
    GET             /logs/{execution_id}/follow
    GET             /metrics/aggregates/{namespace}/{flow_id}/{metric}
    GET             /metrics/aggregates/{namespace}/{flow_id}/{task_id}/{metric}
    GET             /metrics/names/{namespace}/{flow_id}
    GET             /metrics/names/{namespace}/{flow_id}/{task_id}
    GET             /metrics/tasks/{namespace}/{flow_id}
    GET             /metrics/{execution_id}
    GET             /namespaces/{namespace}
    GET             /namespaces/{namespace}/dependencies
    GET             /namespaces/{namespace}/files
    GET             /namespaces/{namespace}/files/directory
    GET             /namespaces/{namespace}/files/export
    GET             /namespaces/{namespace}/files/revisions
    GET             /namespaces/{namespace}/files/search
    GET             /namespaces/{namespace}/files/stats
    GET             /namespaces/{namespace}/kv
    GET             /namespaces/{namespace}/kv/inheritance
    GET             /namespaces/{namespace}/kv/{key}
    GET             /namespaces/{namespace}/retention
    GET             /outputs/{execution_id}
    GET             /outputs/{execution_id}/{task_run_id}
    GET             /templates/{namespace}/{template_id}
    GET             /triggers/{namespace}/{flow_id}

VIEWER in any
    GET             /concurrency-limit/search
    GET             /configs
    GET             /executions
    POST            /executions/latest
    GET             /executions/namespaces
    GET             /executions/search
    GET             /flows/deprecated
    GET             /flows/distinct-namespaces
    POST            /flows/export/by-ids
    GET             /flows/export/by-query
    POST            /flows/graph
    GET             /flows/search
    GET             /flows/source
    POST            /flows/validate
    POST            /flows/validate/task
    POST            /flows/validate/trigger
    GET             /kv
    GET             /logs/search
    GET             /me
    PUT             /me/password
    GET POST        /me/tokens
    DELETE          /me/tokens/{token_id}
    POST            /namespaces/autocomplete
    GET             /namespaces/search
    GET             /openapi.json
    GET             /plugins
    GET             /plugins/groups/subgroups
    GET             /plugins/inputs
    GET             /plugins/inputs/{type}
    GET             /plugins/schemas/{type}
    GET             /plugins/{cls}
    POST            /stats/executions/daily
    POST            /stats/executions/daily/group-by-flow
    POST            /stats/executions/daily/group-by-namespace
    POST            /stats/executions/latest/group-by-flow
    POST            /stats/logs/daily
    POST            /stats/summary
    GET             /templates/distinct-namespaces
    GET             /templates/search
    POST            /templates/validate
    POST            /triggers/backfill/preview
    GET             /triggers/export
    GET             /triggers/export/by-query/csv
    GET             /triggers/search

EDITOR in namespace
    POST            /executions/trigger/{namespace}/{flow_id}
    POST            /executions/{execution_id}/eval
    POST            /executions/{execution_id}/eval/{task_run_id}
    POST            /executions/{namespace}/{flow_id}
    POST            /executions/{namespace}/{flow_id}/uploads
    POST            /executions/{namespace}/{flow_id}/validate
    POST            /flows/{namespace}
    PUT DELETE      /flows/{namespace}/{flow_id}
    PATCH           /flows/{namespace}/{flow_id}/{task_id}
    POST PUT DELETE /namespaces/{namespace}/files
    POST            /namespaces/{namespace}/files/directory
    DELETE          /namespaces/{namespace}/kv
    PUT DELETE      /namespaces/{namespace}/kv/{key}
    PUT DELETE      /templates/{namespace}/{template_id}

EDITOR in any
    POST            /flows
    POST            /flows/bulk
    DELETE          /flows/delete/by-ids
    DELETE          /flows/delete/by-query
    POST            /flows/disable/by-ids
    POST            /flows/disable/by-query
    POST            /flows/enable/by-ids
    POST            /flows/enable/by-query
    POST            /flows/import
    POST            /triggers/dates
    POST            /templates

EDITOR in all
    POST            /events

OPERATOR in namespace
    PUT             /concurrency-limit/{namespace}/{flow_id}
    DELETE          /executions/{execution_id}
    POST            /executions/{execution_id}/change-status
    POST            /executions/{execution_id}/force-run
    DELETE          /executions/{execution_id}/kill
    POST            /executions/{execution_id}/labels
    POST            /executions/{execution_id}/pause
    POST            /executions/{execution_id}/replay
    POST            /executions/{execution_id}/replay-with-inputs
    POST            /executions/{execution_id}/restart
    POST            /executions/{execution_id}/resume
    POST            /executions/{execution_id}/resume-from-breakpoint
    POST            /executions/{execution_id}/resume/validate
    POST            /executions/{execution_id}/state
    POST            /executions/{execution_id}/unqueue
    DELETE          /logs/{execution_id}
    DELETE          /logs/{namespace}/{flow_id}
    DELETE          /triggers/{namespace}/{flow_id}/{trigger_id}
    POST            /triggers/{namespace}/{flow_id}/{trigger_id}/restart
    POST            /triggers/{namespace}/{flow_id}/{trigger_id}/unlock

OPERATOR in any
    DELETE          /executions/by-ids
    DELETE          /executions/by-query
    POST            /executions/change-status/by-ids
    POST            /executions/change-status/by-query
    POST            /executions/force-run/by-ids
    POST            /executions/force-run/by-query
    DELETE          /executions/kill/by-ids
    DELETE          /executions/kill/by-query
    POST            /executions/labels/by-ids
    POST            /executions/labels/by-query
    POST            /executions/pause/by-ids
    POST            /executions/pause/by-query
    POST            /executions/replay/by-ids
    POST            /executions/replay/by-query
    POST            /executions/restart/by-ids
    POST            /executions/restart/by-query
    POST            /executions/resume/by-ids
    POST            /executions/resume/by-query
    POST            /executions/unqueue/by-ids
    POST            /executions/unqueue/by-query
    PUT             /triggers
    POST            /triggers/backfill/delete
    POST            /triggers/backfill/delete/by-query
    POST            /triggers/backfill/delete/by-triggers
    PUT             /triggers/backfill/pause
    POST            /triggers/backfill/pause/by-query
    POST            /triggers/backfill/pause/by-triggers
    PUT             /triggers/backfill/unpause
    POST            /triggers/backfill/unpause/by-query
    POST            /triggers/backfill/unpause/by-triggers
    DELETE          /triggers/delete/by-query
    DELETE          /triggers/delete/by-triggers
    POST            /triggers/set-disabled/by-query
    POST            /triggers/set-disabled/by-triggers
    POST            /triggers/unlock/by-query
    POST            /triggers/unlock/by-triggers

ADMIN in namespace
    PUT DELETE      /namespaces/{namespace}/retention
    GET             /namespaces/{namespace}/inherited-secrets
    GET             /namespaces/{namespace}/secrets

ADMIN in all
    GET             /audit/search
    GET             /doctor
    POST            /doctor/repair
    GET PUT         /retention
    GET POST        /users
    GET PUT DELETE  /users/{name}
    GET POST        /users/{name}/tokens
    DELETE          /users/{name}/tokens/{token_id}
"""


def _allowed() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    role = where = ""
    for line in filter(str.strip, _LISTED.splitlines()):
        if not line.startswith(" "):
            role, _, where = line.lower().split()
            continue
        *methods, path = line.split()
        for method in methods:
            assert f"{method} {path}" not in found, line
            found[f"{method} {path}"] = (role, where)
    return found


ALLOWED: Final = _allowed()
"""``METHOD /path`` to the least role, and where it must be held."""
