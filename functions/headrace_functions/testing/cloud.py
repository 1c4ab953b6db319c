"""A stack in this process: the real handlers, on moto, and a pump that plays what AWS does between them.

Played on the test's clock are the queues with their event source mappings, asynchronous invocations with their failure
destinations, the bus and its rules, schedules, and HTTP. Each function has a process of its own, which a crash ends.
One thread does everything in a fixed order; when nothing is left to do, the clock moves on to what is due next.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import unquote, urlsplit

import httpx
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.claims import DynamoClaims
from headrace_engine.adapters.aws.events import SOURCE
from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.adapters.aws.table import TABLE, Item, Table
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.core.codec import encode_message
from headrace_engine.core.event_patterns import matches
from headrace_engine.core.messages import Create, Kill, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import NoSuchExecutionError
from headrace_engine.language import Registry
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.operations import Operations
from headrace_engine.services import Settings
from headrace_engine.testing.requests import item_size
from headrace_engine.testing.runtime import START, Outcome
from headrace_functions import executor, script, triggers, worker
from headrace_functions.api import ApiFunction
from headrace_functions.callers import FIRST_ADMIN, first_password
from headrace_functions.environment import Environment
from headrace_functions.testing import limits
from headrace_functions.testing.aws import (
    ACCOUNT,
    REGION,
    Clients,
    InPlace,
    body_of,
    by_moto,
    http_headers,
    observer,
    shared_clients,
    with_error,
    with_json,
)
from headrace_functions.testing.faults import CrashError, Faults
from headrace_functions.testing.fleet import SETTINGS, Fleet, FunctionEndedError
from headrace_functions.testing.queues import Queue, QueueError, Stored, answer, counter, record
from headrace_functions.testing.shapes import (
    FunctionContext,
    arn,
    bus_event,
    failure_record,
    file_event,
    http_event,
    sweep_event,
)
from headrace_functions.wiring import Wiring, wire

_API = "https://api.headrace.test"
"""Never contacted: what is sent there, this process answers."""
_SIGNING = json.dumps({"1": "a key of which everybody knows that it is one"})
PASSWORD = first_password(Keyring.from_text(_SIGNING))
"""The first admin's."""
_ACCEPTED = 202
_RETRIES = {"triggers": 2}
"""How often Lambda repeats an asynchronous invocation that failed."""
_PAUSES = (timedelta(minutes=1), timedelta(minutes=2))
SCRIPTS = ("script", "script-medium", "script-large")
"""The functions that run people's code, the smallest first."""
_names = itertools.count(1)


@dataclass(eq=False, slots=True)
class Invocation:
    """An asynchronous invocation on its way."""

    function: str
    payload: Any
    request_id: str
    due: datetime
    tries: int = 0


class _ExitError(BaseException):
    """The function's process ended itself."""


class Cloud:
    """A stack of its own. Use it as a context manager. It does what `VirtualRuntime` does, on AWS."""

    def __init__(
        self,
        *,
        now: datetime = START,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        secrets_of: str = "flows",
        registry: Registry | None = None,
        settings: Settings | None = None,
        faults: Faults | None = None,
        visibility: timedelta = timedelta(minutes=6),
        told_receives: int | None = None,
        side_by_side: bool = False,
        clients: Clients | None = None,
        containers: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a stack at *now*, with *secrets* for the namespace *secrets_of*.

        visibility is that of every queue; told_receives is what ApproximateReceiveCount always reads, if not the
        true count. side_by_side: all attempts that are on their way end before the next message is handled, so that
        their reports come together. containers: there are a cluster and queues, with these settings besides.
        """
        self.clock = ManualClock(now)
        self.faults = faults or Faults()
        self.invocations: Counter[str] = Counter()
        """How often each function was called."""
        self.published = 0
        """How many events were put on the bus."""
        self.asked: Counter[str] = Counter()
        """How many requests each function made."""
        self.crashes: list[str] = []
        """What every process that died was doing."""
        self.script_wait: worker.Wait = worker.wait_for
        """How the supervisor of a script passes the time between two looks at its claim."""
        self.before: Callable[[str, str], None] = lambda _function, _request: None
        """Called with what a function asks, of AWS or over HTTP, before it is answered."""
        self._registry = registry or _registry()
        self._settings = settings
        self._told_receives = told_receives
        self._side_by_side = side_by_side
        self.clients = clients or shared_clients()
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-cloud-"))
        self._name = name = f"headrace-{next(_names)}"
        self._inside = ""
        numbers = counter()

        def queue(kind: str, dead: Queue | None = None) -> Queue:
            return Queue(f"{name}-{kind}", self.clock, numbers, visibility, dead)

        self.mailbox_dead = queue("mailbox-dead.fifo")
        self.delays_dead = queue("delays-dead")
        self.mailbox = queue("mailbox.fifo", self.mailbox_dead)
        self.delays = queue("delays", self.delays_dead)
        self._queues = {each.name: each for each in (self.mailbox, self.delays, self.mailbox_dead, self.delays_dead)}
        self.polled = queue("polled.fifo")
        """A queue of somebody else, whose messages start flows: nothing is called for them."""
        self.pending: deque[Invocation] = deque()
        self.busy: set[str] = set()
        """Functions without a free place: what they are called with asynchronously waits."""
        self._request_ids = itertools.count(1)
        self._processes: dict[str, Wiring] = {}
        self._sandboxes: dict[str, script.Sandbox] = {}
        self._api: tuple[Wiring, ApiFunction] | None = None
        self._schedules: list[tuple[datetime, str]] | None = []
        self.fleet: Fleet | None = None
        """What runs containers, where there are any."""
        given = dict(environment or {})
        if containers is not None:
            given |= {"HEADRACE_CONTAINERS": json.dumps({**SETTINGS, **containers}), "AWS_REGION": REGION}
            self.fleet = Fleet(self._folder / "containers", self._http, self._hear, _API)
        self.environment = Environment.of(self._variables(given))
        self._make(secrets or {}, secrets_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the stack left."""
        if self.fleet is not None:
            self.fleet.close()
        observer("dynamodb").delete_table(TableName=self._name)
        for process in self._processes.values():
            process.executor.close()
        self.clients.answers = by_moto
        shutil.rmtree(self._folder, ignore_errors=True)

    def _variables(self, given: Mapping[str, str]) -> dict[str, str]:
        name = self._name
        own = {
            "STACK": name,
            "TABLE": name,
            "BUCKET": name,
            "MAILBOX_URL": _url(self.mailbox),
            "DELAYS_URL": _url(self.delays),
            "DELAYS_ARN": arn("sqs", self.delays.name),
            "WORKER_FUNCTION": "worker",
            "PURGER_FUNCTION": "purger",
            "SCRIPT_FUNCTION": "script",
            "SCRIPT_FUNCTION_MEDIUM": "script-medium",
            "SCRIPT_FUNCTION_LARGE": "script-large",
            "BUS": name,
            "SECRETS_PREFIX": f"/{name}",
            "SIGNING_SECRET": name,
            "FIRST_ADMIN": "true",
            "KEY": _key(),
            "SCHEDULE_GROUP": name,
            "SCHEDULE_ROLE": f"arn:aws:iam::{ACCOUNT}:role/{name}",
            "API_URL": _API,
            "TRIGGERS_FUNCTION": arn("lambda", "function:triggers"),
            "RULE_PREFIX": f"{name}-",
            "EVENT_BUSES": "default",
            "WATCHED_BUCKETS": self.watched,
        }
        return {**given, **{f"HEADRACE_{word}": value for word, value in own.items()}}

    def _make(self, secrets: Mapping[str, str], secrets_of: str) -> None:
        name = self._name
        observer("dynamodb").create_table(**TABLE.creation(name))
        for bucket in (name, self.watched):
            observer("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        observer("events").create_event_bus(Name=name)
        observer("secretsmanager").create_secret(Name=name, SecretString=_SIGNING)
        observer("scheduler").create_schedule_group(Name=name)
        for key, value in secrets.items():
            path = f"/{name}/{secrets_of}/{key.upper()}"
            if self.environment.vault == "secretsmanager":
                observer("secretsmanager").create_secret(Name=path, SecretString=value)
            else:
                observer("ssm").put_parameter(Name=path, Value=value, Type="SecureString")
        self.clients.answers = self._answer

    # -- What a test does ---------------------------------------------------------------------------

    @property
    def person(self) -> Wiring:
        """The process in which the API does what people ask for."""
        return self._process("api")

    @property
    def stores(self) -> Any:
        """The stores, as the API sees them."""
        return self.person.engine.stores

    def save_template(self, source: str) -> object:
        """Check and store a template."""
        return self.person.engine.save_template(source)

    def save_flow(self, source: str) -> FlowDefinition:
        """Check and store a flow; with a higher concurrency limit, those that wait for a slot get one."""
        definition = self.person.engine.save_flow(source)
        self.person.executor.settle_slots(definition.namespace, definition.id)
        return definition

    def create(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        execution_id: str | None = None,
    ) -> str:
        """Send the message that creates an execution; nothing happens before `settle` or `step`."""
        execution_id, created = self.person.engine.new_execution(
            namespace, flow_id, inputs, labels=labels, execution_id=execution_id
        )
        self.send(execution_id, Create(created))
        return execution_id

    def send(self, execution_id: str, message: Message) -> None:
        """Send a message to an execution."""
        self.person.mailbox.send(execution_id, encode_message(message))

    def kill(self, execution_id: str) -> None:
        """Send the message that kills an execution."""
        self.send(execution_id, Kill())

    def ask(self, execution_id: str, operation: Callable[[Operations, ExecutionState], Message]) -> None:
        """Send the message that *operation* returns for the execution as it stands. Raises what it refuses with."""
        self.send(execution_id, operation(Operations(self.person.engine), self.state(execution_id)))

    def begin(self, execution_id: str, operation: Callable[[Operations, ExecutionState], tuple[str, Create]]) -> str:
        """Create the execution that *operation* (a replay) makes of this one; return its id."""
        follower_id, create = operation(Operations(self.person.engine), self.state(execution_id))
        self.send(follower_id, create)
        return follower_id

    def run(self, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Save a flow, execute it to its end and return what came of it."""
        definition = self.save_flow(source)
        execution_id = self.create(definition.namespace, definition.id, inputs, **options)
        self.settle()
        return self.outcome(execution_id)

    def outcome(self, execution_id: str) -> Outcome:
        """Return how an execution stands. Raises NoSuchExecutionError."""
        state = self.state(execution_id)
        return Outcome(self.person.engine.view(state), self.stores.logs.fetch(execution_id))

    def state(self, execution_id: str) -> ExecutionState:
        """Return an execution's state, read anew. Raises NoSuchExecutionError."""
        self.person.executor.forget(execution_id)
        state = self.person.executor.load(execution_id)
        if state is None:
            raise NoSuchExecutionError(f"There is no execution `{execution_id}`")
        return state

    def items(self) -> Iterator[Item]:
        """Yield everything that stands in the table."""
        for page in observer("dynamodb").get_paginator("scan").paginate(TableName=self._name):
            yield from page["Items"]

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request through API Gateway to the `api` function: the first admin's, unless *headers* say whose.

        Raises LimitError where AWS would refuse.
        """
        shown = base64.b64encode(f"{FIRST_ADMIN}:{PASSWORD}".encode()).decode()
        own = {"authorization": f"Basic {shown}", **(headers or {})}
        return self._http(httpx.Request(method, _API + path, headers=own, content=body))

    # -- The pump -----------------------------------------------------------------------------------

    def settle(self, until: timedelta | None = timedelta(days=3650)) -> None:
        """Go on until nothing is left to do, moving the clock to what is due next, but not past *until* from now.

        With None the clock stands still.
        """
        limit = self.clock.now() + (until or timedelta(0))
        while True:
            while self.step():
                pass
            due = self._next()
            if due is None or due > limit:
                return
            if due > self.clock.now():
                self.clock.set(due)

    def step(self) -> bool:
        """Do the next thing that is left to do now; False when there is none.

        What happened comes first, then messages, then attempts, and what was delayed when all else is done; containers
        go on when no function is to be called.
        """
        return self.step_functions() or (self.fleet is not None and self.fleet.step())

    def step_functions(self) -> bool:
        """Do the next thing that is left to do but for containers; False when there is none."""
        return (
            self._invoke_next("triggers")
            or (self._side_by_side and (self._invoke_next("worker") or self._invoke_scripts()))
            or self._poll(self.mailbox, "executor")
            or self._invoke_next("worker")
            or self._invoke_next("purger")
            or self._invoke_scripts()
            or self._poll(self.mailbox_dead, "triggers")
            or self._poll(self.delays_dead, "triggers")
            or self._poll(self.delays, "triggers")
            or self._fire()
        )

    def _invoke_scripts(self) -> bool:
        return any(self._invoke_next(function) for function in SCRIPTS)

    @property
    def watched(self) -> str:
        """The name of a bucket of somebody else, whose files start flows."""
        return f"{self._name}-watched"

    def put_event(self, source: str, detail: Mapping[str, Any], bus: str = "") -> None:
        """Have somebody put an event on a bus, the stack's own when none is named."""
        entry = {"Source": source, "DetailType": "test", "Detail": detail}
        self._by_rules(bus or self._name, bus_event(entry, self._request_id(), self.clock.now()))

    def put_file(self, key: str, content: bytes, bucket: str = "") -> None:
        """Have somebody put a file into a bucket that the stack watches."""
        bucket = bucket or self.watched
        etag = observer("s3").put_object(Bucket=bucket, Key=key, Body=content)["ETag"].strip('"')
        stored = {"size": len(content), "etag": etag}
        self._later("triggers", file_event(bucket, key, stored, self._request_id(), self.clock.now()))

    @property
    def polled_url(self) -> str:
        """Where flows find the queue of somebody else."""
        return _url(self.polled)

    def _by_rules(self, bus: str, event: Mapping[str, Any]) -> None:
        """Have the functions called that rules of a bus name, for an event that matches."""
        events = observer("events")
        for rule in events.list_rules(EventBusName=bus, NamePrefix=f"{self._name}-")["Rules"]:
            if matches(json.loads(rule["EventPattern"]), event):
                for target in events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]:
                    template = target["InputTransformer"]["InputTemplate"]
                    given = template.replace("<aws.events.event.json>", json.dumps(event))
                    self._later(target["Arn"].rpartition(":")[2], json.loads(given))

    def _hear(self, source: str, kind: str, detail: Mapping[str, Any]) -> None:
        """Have the function called that the stack's rules name for what AWS says of containers."""
        entry = {"Source": source, "DetailType": kind, "Detail": detail}
        self._later("triggers", bus_event(entry, self._request_id(), self.clock.now()))

    def sweep(self) -> None:
        """Have the sweep's rule come round."""
        self._later("triggers", sweep_event(self._request_id(), self.clock.now()))

    def _next(self) -> datetime | None:
        dues = [queue.next_visible() for queue in self._queues.values()]
        dues += [invocation.due for invocation in self.pending if invocation.function not in self.busy]
        dues += [due for due, _ in self._due_schedules()[:1]]
        return min((due for due in dues if due is not None), default=None)

    # -- Queues -------------------------------------------------------------------------------------

    def _poll(self, queue: Queue, function: str) -> bool:
        """Play an event source mapping: receive a batch, call the function, delete what it has handled."""
        received = queue.receive()
        if not received:
            return False
        queue_arn = arn("sqs", queue.name)
        event = {"Records": [record(queue, each, queue_arn, receives=self._told_receives) for each in received]}
        try:
            answered = self._called(function, event, self._request_id())
        except Exception as error:  # noqa: BLE001  # as for Lambda: all of the batch comes again
            self.crashes.append(f"{function}: {type(error).__name__}: {error}")
            return True
        queue.delete(_handled(received, answered))
        return True

    # -- Asynchronous invocations -------------------------------------------------------------------

    def _later(self, function: str, payload: Any) -> str:
        request_id = self._request_id()
        self.pending.append(Invocation(function, payload, request_id, self.clock.now()))
        return request_id

    def _invoke_next(self, function: str) -> bool:
        if function in self.busy:
            return False
        now = self.clock.now()
        ready = (each for each in self.pending if each.function == function and each.due <= now)
        if (invocation := next(ready, None)) is None:
            return False
        self.pending.remove(invocation)
        invocation.tries += 1
        try:
            self._called(function, invocation.payload, invocation.request_id)
        except Exception as error:  # noqa: BLE001  # as for Lambda, whatever it is
            self.crashes.append(f"{function}: {type(error).__name__}: {error}")
            self._failed(invocation, error)
        return True

    def _failed(self, invocation: Invocation, error: Exception) -> None:
        now = self.clock.now()
        if invocation.tries <= _RETRIES.get(invocation.function, 0):
            invocation.due = now + _PAUSES[invocation.tries - 1]
            self.pending.append(invocation)
            return
        kind = (
            ("Runtime.ExitError", f"RequestId: {invocation.request_id} Error: {error}")
            if isinstance(error, _ProcessEndedError)
            else (type(error).__name__, str(error))
        )
        text = failure_record(
            invocation.function, invocation.request_id, invocation.payload, now, tries=invocation.tries, error=kind
        )
        body = json.dumps(text)
        (self.delays_dead if invocation.function == "triggers" else self.delays).send({"MessageBody": body})

    # -- Schedules ----------------------------------------------------------------------------------

    def _due_schedules(self) -> list[tuple[datetime, str]]:
        """Return when each schedule is due and its name, the next one first."""
        if self._schedules is None:
            scheduler = observer("scheduler")
            found = []
            for page in scheduler.get_paginator("list_schedules").paginate(GroupName=self._name):
                for each in page["Schedules"]:
                    schedule = scheduler.get_schedule(GroupName=self._name, Name=each["Name"])
                    found.append((_at(schedule), each["Name"]))
            self._schedules = sorted(found)
        return self._schedules

    def _fire(self) -> bool:
        """Do what a schedule that is due says."""
        schedules = self._due_schedules()
        if not schedules or schedules[0][0] > self.clock.now():
            return False
        _, name = schedules.pop(0)
        scheduler = observer("scheduler")
        schedule = scheduler.get_schedule(GroupName=self._name, Name=name)
        queue = self._queues[schedule["Target"]["Arn"].rpartition(":")[2]]
        queue.send({"MessageBody": schedule["Target"]["Input"]})
        if schedule.get("ActionAfterCompletion") == "DELETE":
            scheduler.delete_schedule(GroupName=self._name, Name=name)
        return True

    # -- Functions ----------------------------------------------------------------------------------

    def _called(self, function: str, event: Any, request_id: str) -> Any:
        """Call a function as Lambda does. Raises what Lambda would take for its failure."""
        self.invocations[function] += 1
        deadline = self.clock.now() + limits.TIMEOUTS[function]
        context = FunctionContext(function, request_id, self.clock, deadline)
        outer, self._inside = self._inside, function
        try:
            answered = self._handler(function)(json.loads(json.dumps(event)), context)
        except (CrashError, _ExitError) as end:
            if outer:
                raise  # the API dies inside a script's request: the whole of it is one invocation here
            self.faults.bury()
            self._end(function)
            raise _ProcessEndedError(str(end)) from None
        finally:
            self._inside = outer
        if self.clock.now() > deadline:
            self._end(function)
            raise _ProcessEndedError(f"Task timed out after {limits.TIMEOUTS[function].total_seconds():.2f} seconds")
        return answered

    def _handler(self, function: str) -> Callable[[Any, FunctionContext], Any]:
        if function == "api":
            return lambda event, _context: self._api_function()(event)
        if function in SCRIPTS:
            if function not in self._sandboxes:
                self._sandboxes[function] = self._new_sandbox(function)
            sandbox = self._sandboxes[function]
            return lambda event, context: script.handle(sandbox, event, context, leave=_leave)
        process = self._process(function)
        if function == "executor":
            return lambda event, context: executor.handle(process, event, context, pool=InPlace())
        handle = {"worker": worker.handle, "purger": worker.handle, "triggers": triggers.handle}[function]
        return lambda event, context: handle(process, event, context)

    def _api_function(self) -> ApiFunction:
        process = self._process("api")
        if self._api is None or self._api[0] is not process:
            self._api = process, ApiFunction(process)
        return self._api[1]

    def _process(self, function: str) -> Wiring:
        """Return the wiring of a function's process; a new process makes it anew."""
        if function not in self._processes:
            self._processes[function] = wire(
                self.environment,
                self.clients,
                clock=self.clock,
                folder=self._folder / function,
                light_pool=InPlace(),
                settings=self._settings,
                registry=self._registry,
            )
        return self._processes[function]

    def _new_sandbox(self, function: str) -> script.Sandbox:
        folder = self._folder / function
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return script.Sandbox(
            environment=self.environment,
            claims=DynamoClaims(Table(self.clients("dynamodb"), self.environment.table)),
            send=self.clients("sqs"),
            registry=self._registry,
            clock=self.clock,
            folder=folder,
            transport=httpx.MockTransport(self._http),
            wait=self.script_wait,
        )

    def _end(self, function: str) -> None:
        """End a function's process: the next call begins in another."""
        if function in SCRIPTS:
            self._sandboxes.pop(function, None)
        elif function in self._processes:
            del self._processes[function]

    def restart(self) -> None:
        """End all processes, as Lambda does now and then."""
        for function in [*self._processes, *SCRIPTS]:
            self._end(function)

    def _http(self, request: httpx.Request) -> httpx.Response:
        """Answer what a function asks over HTTP: the API, or S3 by an address that it was given."""
        body = request.read()
        url = str(request.url)
        if self._inside:
            self.before(self._inside, f"{request.method} {request.url.path}")
        if not url.startswith(_API):
            # A bucket's own host; whoever has the address needs no more.
            prepared = AWSPreparedRequest(request.method, url, http_headers(request.headers), body, stream_output=False)
            answered = by_moto("s3", "", prepared)
            return httpx.Response(answered.status_code, content=answered.content)
        limits.check("The request", len(body), limits.HTTP_BODY)
        event = http_event(request.method, url, dict(request.headers), body, self._request_id())
        limits.check("The API's event", len(json.dumps(event)), limits.SYNCHRONOUS_PAYLOAD)
        answer_ = self._called("api", event, event["requestContext"]["requestId"])
        limits.check("The API's answer", len(json.dumps(answer_)), limits.SYNCHRONOUS_PAYLOAD)
        return _http_response(answer_)

    # -- What functions ask of AWS ------------------------------------------------------------------

    def _answer(self, service: str, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        if not self._inside:
            return self._played(service, operation, request)
        self.asked[self._inside] += 1
        self.before(self._inside, f"{service} {operation}")
        return self.faults.request(f"{service} {operation}", lambda: self._played(service, operation, request))

    def _played(self, service: str, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        request.reset_stream()  # as botocore does before it sends a request again
        match service, operation:
            case "sqs", _:
                return self._to_queue(operation, request)
            case "ecs" | "batch", _ if self.fleet is not None:
                return self.fleet.answer(service, operation, request)
            case "lambda", "Invoke":
                return self._to_function(request)
            case "eventbridge" | "events", "PutEvents":
                return self._to_bus(request)
            case "dynamodb", "PutItem" | "UpdateItem":
                _check_item(request)
            case "scheduler", _:
                self._schedules = None
        return by_moto(service, operation, request)

    def _to_queue(self, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        asked = json.loads(body_of(request))
        queue = {**self._queues, self.polled.name: self.polled}[asked["QueueUrl"].rpartition("/")[2]]
        try:
            return with_json(request, answer(queue, operation, asked))
        except QueueError as refused:
            return with_error(request, refused.code, str(refused))

    def _to_function(self, request: AWSPreparedRequest) -> AWSResponse:
        function = unquote(urlsplit(request.url or "").path.split("/")[3])
        body = body_of(request)
        waits = request.headers.get("X-Amz-Invocation-Type", "RequestResponse") == "RequestResponse"
        if len(body) > (limits.SYNCHRONOUS_PAYLOAD if waits else limits.ASYNCHRONOUS_PAYLOAD):
            return with_error(request, "RequestEntityTooLargeException", "The payload is too large")
        if waits:
            return self._answered_by(function, request, json.loads(body))
        request_id = self._later(function, json.loads(body))
        answered = with_json(request, {}, _ACCEPTED)
        answered.headers["x-amzn-requestid"] = request_id
        return answered

    def _answered_by(self, function: str, request: AWSPreparedRequest, event: Any) -> AWSResponse:
        """Play an invocation that is waited for."""
        try:
            return with_json(request, self._called(function, event, self._request_id()))
        except Exception as error:  # noqa: BLE001  # as for Lambda, whatever it is
            self.crashes.append(f"{function}: {type(error).__name__}: {error}")
            answered = with_json(request, {"errorType": type(error).__name__, "errorMessage": str(error)})
            answered.headers["x-amz-function-error"] = "Unhandled"
            return answered

    def _to_bus(self, request: AWSPreparedRequest) -> AWSResponse:
        body = body_of(request)
        if len(body) > limits.EVENT:
            return with_error(
                request, "ValidationException", "Total size of the entries in the request is over the limit"
            )
        answers = []
        for entry in json.loads(body)["Entries"]:
            self.published += 1
            event_id = self._request_id()
            at = datetime.fromtimestamp(entry["Time"], UTC) if "Time" in entry else self.clock.now()
            read = {**entry, "Detail": json.loads(entry["Detail"])}
            if entry["Source"] == SOURCE and read["Detail"]["heard"]:  # as the rules of the stack say
                self._later("triggers", bus_event(read, event_id, at))
            answers.append({"EventId": event_id})
        return with_json(request, {"FailedEntryCount": 0, "Entries": answers})

    def _request_id(self) -> str:
        return f"{next(self._request_ids):08x}-0000-4000-8000-000000000001"


class _ProcessEndedError(FunctionEndedError):
    """A function's process is gone, and did not say why."""

    def __init__(self, why: str) -> None:
        status = why if why.startswith(("exit status", "Task")) else "signal: killed"
        super().__init__(status if status.startswith("Task") else f"Runtime exited with error: {status}")


def _leave(status: int) -> NoReturn:
    raise _ExitError(f"exit status {status}")


def _handled(received: Sequence[Stored], answered: Any) -> list[Stored]:
    """Return the messages that a batch's answer does not name; none, where it is not as AWS wants it."""
    known = {message.id for message in received}
    try:
        failed = {failure["itemIdentifier"] for failure in answered["batchItemFailures"]} if answered else set()
    except (TypeError, KeyError):
        return []
    if not failed <= known:
        return []
    if not received[0].group:
        return [message for message in received if message.id not in failed]
    # Of a FIFO queue's group, what follows a message that failed must come after it again.
    lost: set[str | None] = set()
    handled = []
    for message in received:
        if message.id in failed:
            lost.add(message.group)
        elif message.group not in lost:
            handled.append(message)
    return handled


def _http_response(answered: Mapping[str, Any]) -> httpx.Response:
    body = answered.get("body") or ""
    content = base64.b64decode(body) if answered.get("isBase64Encoded") else body.encode()
    return httpx.Response(answered["statusCode"], headers=answered.get("headers") or {}, content=content)


def _check_item(request: AWSPreparedRequest) -> None:
    body = body_of(request)
    if len(body) > limits.ITEM:
        asked = json.loads(body)
        size = item_size(asked.get("Item") or asked.get("ExpressionAttributeValues"))
        limits.check("An item", size, limits.ITEM)


def _at(schedule: Mapping[str, Any]) -> datetime:
    expression = schedule["ScheduleExpression"]
    if not expression.startswith("at(") or schedule.get("ScheduleExpressionTimezone") != "UTC":
        raise AssertionError(f"A schedule that nothing here plays: {expression}")
    return datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)


def _url(queue: Queue) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue.name}"


@cache
def _registry() -> Registry:
    return Registry.load()


_key_id: list[str] = []


def _key() -> str:
    """Return a KMS key; making one takes moto longer than all else, so all clouds of a process share it."""
    kms = observer("kms")
    if _key_id:
        with suppress(ClientError):
            kms.describe_key(KeyId=_key_id[0])
            return _key_id[0]
        _key_id.clear()
    _key_id.append(kms.create_key()["KeyMetadata"]["KeyId"])
    return _key_id[0]
