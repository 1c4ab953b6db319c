"""Starts ministack with what Lambda does and it does not. Run by the interpreter of its own .venv, never imported.

What is changed are private names of one version. Each must be there, or the start fails.

- Every environment of a function has a /tmp of its own: `script` empties it after each attempt.
- The code of a function is unpacked once, not for each environment; bytecode of it is kept.
- A function whose process ends is reported as AWS reports it, exit status and all.
- An on-failure record has the fields of AWS, among them the id of the request that failed.
- The Ref of a secret is its ARN: without IAM the name does as well.
- Policies can name the partition keys that a request to DynamoDB is about, and the encryption context of one to KMS.
- Tasks are run by their definition in a cluster, and tasks and jobs stopped by themselves: that is what a policy allows.
- A schedule is one of its group's.
- A bus that has rules is not deleted.
- Targets are put to a rule, and taken from it: that is what a policy must allow.
- A role may get several parameters of SSM in one request, if it may get the first.
- Containers of ECS and Batch run, as processes (`played_containers`).
- Signatures of JWTs are verified by the library of another .venv: functions run on this one, and must not find it here.
- Requests count as if they came over TLS: queues and buckets refuse any other when IAM is enforced.
"""

from __future__ import annotations

import contextvars
import datetime
import importlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import types
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import batch, dynamodb, eventbridge, lambda_svc, sqs
from ministack.services.cloudformation import provisioners

_ENDED = "Worker process died"
_EXIT = "Runtime exited with error"

_encryption_context: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("encryption_context")
"""Of the request to KMS that is being judged."""
_containers: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("containers")
"""What a condition may be about, of the request to ECS or Batch that is being judged."""

_OWN_FOLDER = """
import os, tempfile
os.environ["TMPDIR"] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tmp")
os.makedirs(os.environ["TMPDIR"], exist_ok=True)
"""


def main() -> None:
    """Serve until somebody ends the process."""
    _borrow_cryptography()
    _replace(lambda_runtime, "_PYTHON_WORKER_SCRIPT", lambda script: _OWN_FOLDER + script)
    _replace(lambda_runtime, "zipfile", lambda module: types.SimpleNamespace(**{**vars(module), "ZipFile": _Shared}))
    _replace(lambda_runtime.Worker, "_spawn", _remembering)
    _replace(lambda_runtime.Worker, "invoke", _telling_how_it_ended)
    _replace(lambda_svc, "_execute_function_warm", _telling_the_request)
    _replace(lambda_svc, "_route_async_failure", _with_all_fields)
    secret = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    secret["create"] = _known_by_its_arn(secret["create"])
    bus = provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"]
    bus["delete"] = _only_without_rules(bus["delete"])
    _replace(iam_actions, "dynamodb_service_context", _with_leading_keys)
    _replace(iam_actions, "extract_resource_arn", _of_several_parameters)
    _replace(iam_actions, "extract_resource_arn", _of_a_rules_targets)
    _replace(iam_actions, "extract_resource_arn", _of_containers)
    _replace(iam_actions, "extract_resource_arn", _of_a_schedules_group)
    _replace(iam_evaluator, "_resolve_condition_key", _knowing_encryption_contexts)
    _replace(iam_evaluator, "_resolve_condition_key", _knowing_containers)
    _replace(app, "app", _over_tls)
    _beside("played_containers").install()
    _replace(app, "_port_is_bindable", lambda _: lambda _host, _port: False)  # one port is enough
    app.main()


def _beside(name: str) -> Any:
    """Return a module of this folder, which is on no search path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _borrow_cryptography() -> None:
    """Import what verifies signatures from where the tests have it, if they say where."""
    folder = os.environ.pop("HEADRACE_CRYPTOGRAPHY", "")
    if folder:
        sys.path.append(folder)
        try:
            importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
        finally:
            sys.path.remove(folder)


def _replace(owner: Any, name: str, make: Any) -> None:
    setattr(owner, name, make(getattr(owner, name)))


class _Shared(zipfile.ZipFile):
    """A function's code, which no environment changes."""

    _unpacking = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        content = sha256(repr([(entry.filename, entry.CRC) for entry in self.infolist()]).encode()).hexdigest()
        shared, target = Path(tempfile.gettempdir(), f"code-{content[:16]}"), Path(path)
        with self._unpacking:
            if not shared.exists():
                super().extractall(target, members, pwd)
                target.rename(shared)
            else:
                target.rmdir()
        target.symlink_to(shared)


def _remembering(spawn: Any) -> Any:
    def _spawn(worker: Any) -> None:
        spawn(worker)
        worker.spawned = worker._proc

    return _spawn


def _telling_how_it_ended(invoke: Any) -> Any:
    def _invoke(worker: Any, event: Any, request_id: str, **more: Any) -> Any:
        result = invoke(worker, event, request_id, **more)
        if result.get("error") == _ENDED:
            status = worker.spawned.wait()
            how = f"exit status {status}" if status >= 0 else f"signal: {_signal(-status)}"
            result["error"] = f"RequestId: {request_id} Error: {_EXIT}: {how}"
        return result

    return _invoke


def _signal(number: int) -> str:
    return "killed" if number == signal.SIGKILL else signal.strsignal(number) or str(number)


def _telling_the_request(execute: Any) -> Any:
    def _execute(func: Any, event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        result["request_id"] = request_id
        body = result.get("body")
        if result.get("error") and _EXIT in body["errorMessage"]:
            body["errorType"] = "Runtime.ExitError"
        return result

    return _execute


def _with_all_fields(_route: Any) -> Any:
    def _record(target: str, name: str, event: Any, result: Any) -> None:
        record = {
            "version": "1.0",
            "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "requestContext": {
                "requestId": result["request_id"],
                "functionArn": f"{lambda_svc._functions[name]['config']['FunctionArn']}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 1,
            },
            "requestPayload": event,
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": result.get("body"),
        }
        sqs._act_send_message({"MessageBody": json.dumps(record)}, sqs._queue_url(target.rpartition(":")[2]))

    return _record


def _known_by_its_arn(create: Any) -> Any:
    def _create(*arguments: Any) -> Any:
        _, attributes = create(*arguments)
        return attributes["Arn"], attributes

    return _create


def _only_without_rules(delete: Any) -> Any:
    def _delete(bus: str, *more: Any) -> Any:
        left = [rule["Name"] for rule in eventbridge._rules.values() if rule.get("EventBusName") == bus]
        if left:
            raise ValueError(f"Cannot delete event bus {bus} since rules still exist on it: {left}")
        return delete(bus, *more)

    return _delete


def _with_leading_keys(context: Any) -> Any:
    def _context(body: bytes) -> Any:
        keys = _leading_keys(json.loads(body))
        return {**(context(body) or {}), **({"dynamodb:LeadingKeys": keys} if keys else {})}

    return _context


def _of_several_parameters(extract: Any) -> Any:
    def _extract(service: str, method: str, path: str, headers: Any, body: bytes, *more: Any) -> Any:
        if service == "ssm" and headers.get("x-amz-target", "").endswith(".GetParameters"):
            body = json.dumps({"Name": json.loads(body)["Names"][0]}).encode()
        if service == "kms":
            _encryption_context.set(json.loads(body).get("EncryptionContext", {}))
        return extract(service, method, path, headers, body, *more)

    return _extract


def _of_a_rules_targets(extract: Any) -> Any:
    def extracted(service: str, method: str, path: str, *rest: Any, **named: Any) -> str:
        found: str = extract(service, method, path, *rest, **named)
        if service != "events" or ":event-bus/" not in found:
            return found
        bodies = [each for each in (*rest, *named.values()) if isinstance(each, bytes)]
        rule = next((each["Rule"] for each in map(json.loads, filter(None, bodies)) if "Rule" in each), None)
        return found if rule is None else f"{found.replace(':event-bus/', ':rule/')}/{rule}"

    return extracted


def _of_a_schedules_group(extract: Any) -> Any:
    def extracted(service: str, method: str, path: str, headers: Any, body: bytes, *more: Any) -> str:
        found = str(extract(service, method, path, headers, body, *more))
        if service != "scheduler":
            return found
        in_query = more[0].get("groupName") or [""]
        group = json.loads(body or b"{}").get("GroupName") or in_query[0]
        return found.replace(":schedule/default/", f":schedule/{group}/") if group else found

    return extracted


def _of_containers(extract: Any) -> Any:
    def extracted(service: str, method: str, path: str, headers: Any, body: bytes, *more: str) -> str:
        _containers.set({})
        if service not in ("ecs", "batch"):
            return str(extract(service, method, path, headers, body, *more))
        _, region, account = more
        asked = json.loads(body or b"{}")
        operation = headers.get("x-amz-target", path).replace("/", ".").rpartition(".")[2].lower()
        if "cluster" in asked:
            cluster = asked["cluster"].rpartition("/")[2]
            _containers.get()["ecs:cluster"] = f"arn:aws:ecs:{region}:{account}:cluster/{cluster}"
        if operation == "terminatejob":
            tags = batch._jobs.get(asked["jobId"], {}).get("tags", {})
            _containers.get().update({f"aws:resourcetag/{name}".lower(): value for name, value in tags.items()})
        kind, name = {
            "runtask": ("task-definition", "taskDefinition"),
            "stoptask": ("task", "task"),
            "describetasks": ("task", "tasks"),
            "submitjob": ("job-definition", "jobDefinition"),
            "registerjobdefinition": ("job-definition", "jobDefinitionName"),
            "terminatejob": ("job", "jobId"),
        }.get(operation, ("", ""))
        named = asked.get(name) or "*"
        named = named if isinstance(named, str) else named[0]
        if not kind or named.startswith("arn:"):
            return str(named)
        return f"arn:aws:{service}:{region}:{account}:{kind}/{named}:1"

    return extracted


def _knowing_containers(resolve: Any) -> Any:
    def _resolve(key: str, context: Any) -> Any:
        return _containers.get({}).get(key.lower()) or resolve(key, context)

    return _resolve


def _knowing_encryption_contexts(resolve: Any) -> Any:
    def _resolve(key: str, context: Any) -> Any:
        prefix = "kms:EncryptionContext:"
        return _encryption_context.get().get(key[len(prefix) :]) if key.startswith(prefix) else resolve(key, context)

    return _resolve


def _leading_keys(request: Any) -> list[str]:
    """Return the values of partition keys in a request to DynamoDB, as the condition key has them."""
    found = []
    for table, given in request.get("RequestItems", {}).items():
        for each in given["Keys"] if isinstance(given, dict) else [next(iter(put.values())) for put in given]:
            found.append((table, each.get("Item") or each.get("Key") or each))
    if one := request.get("Item") or request.get("Key"):
        found.append((request["TableName"], one))
    keys = [next(iter(item[_partition_key(table)].values())) for table, item in found]
    if condition := request.get("KeyConditionExpression"):
        _, value = condition.split(" AND ")[0].replace(" ", "").split("=")
        keys.append(next(iter(request["ExpressionAttributeValues"][value].values())))
    return keys


def _partition_key(table: str) -> str:
    schema = dynamodb._tables[table.rpartition("/")[2]]["KeySchema"]
    return str(next(each["AttributeName"] for each in schema if each["KeyType"] == "HASH"))


def _over_tls(serve: Any) -> Any:
    async def _serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
        await serve(scope, receive, send)

    return _serve


if __name__ == "__main__":
    main()
