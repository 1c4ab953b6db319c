"""Scripts in containers on a stack: ECS and Batch are played, what they start really runs (`testing.fleet`)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from headrace_engine.testing.runtime import Outcome
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.faults import Faults, Mode
from headrace_functions.testing.fleet import MISSING_IMAGE, NO_SHELL, Fleet, Phase, Task

RUNNERS = {
    "fargate": "{type: io.headrace.runner.ecs.Fargate}",
    "batch": "{type: io.kestra.plugin.ee.aws.runner.Batch}",
}
SECRET = "open-sesame"


@pytest.fixture(params=["fargate", "batch"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(containers={}, secrets={"PASSWORD": SECRET}) as cloud:
        yield cloud
        assert fleet_of(cloud).running() == []
        assert cloud.crashes == []


def fleet_of(cloud: Cloud) -> Fleet:
    assert cloud.fleet is not None
    return cloud.fleet


def flow(where: str, script: str, more: str = "", image: str = "alpine:3") -> str:
    """Return a flow of one shell script in a container."""
    commands = "\n".join(f"        {line}" for line in dedent(script).strip().splitlines())
    extra = "".join(f"    {line}\n" for line in dedent(more).strip().splitlines())
    return (
        "id: boxed\nnamespace: flows\ntasks:\n  - id: script\n    type: io.kestra.plugin.scripts.shell.Commands\n"
        f"    containerImage: {image}\n    taskRunner: {RUNNERS[where]}\n{extra}"
        f"    commands:\n      - |\n{commands}\n"
    )


def attempts(outcome: Outcome) -> list[str]:
    """Return how each attempt of the script ended."""
    return [each["state"]["current"] for each in outcome.find("script")["attempts"]]


def until(cloud: Cloud, condition: Callable[[], object]) -> None:
    """Go on until *condition* holds."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it did not come to that"
        if not cloud.step():
            raise AssertionError("nothing is left to do")


def runs_of_main(cloud: Cloud) -> int:
    """Return in how many tasks people's code began."""
    return sum((task.folder / "headrace" / "started").exists() for task in fleet_of(cloud).tasks)


# -- What a script may use --------------------------------------------------------------------------


def test_all_that_a_script_may_use_works_in_a_container(cloud: Cloud, where: str) -> None:
    cloud.stores.storage.put("kestra:///flows/_files/lib/words.txt", b"from the namespace\n")
    outcome = cloud.run(
        flow(
            where,
            """
            test "$PASSWORD" = "open""-sesame"
            tr a-z A-Z <in.txt >out.txt
            cat lib/words.txt >deep.txt
            mkdir -p sub && echo nested >sub/nested.txt
            echo '::{"outputs": {"lines": 3}}::'
            echo '::{"outputs": {"more": [1, "two"]}, "metrics": [{"name": "n", "type": "counter", "value": 2}]}::'
            echo '::{"logs": [{"level": "WARN", "message": "careful"}]}::'
            echo "done with $PASSWORD"
            echo bad >&2
            echo kept >"$OUTPUT_DIR/kept.txt"
            echo "$WORKING_DIR" | grep -c headrace/work
            """,
            """
            env: {PASSWORD: "{{ secret('PASSWORD') }}"}
            inputFiles: {in.txt: hello, "data/x.json": {a: 1}}
            namespaceFiles: {enabled: true}
            outputFiles: ["*.txt", "sub/*", none.csv]
            """,
        )
    )
    assert outcome.state == "SUCCESS"
    found = outcome.find("script")["outputs"]
    assert found["exitCode"] == 0
    assert found["vars"] == {"lines": 3, "more": [1, "two"]}
    files = {name: cloud.stores.storage.open(uri).read().decode() for name, uri in found["outputFiles"].items()}
    assert files == {
        "in.txt": "hello",
        "out.txt": "HELLO",
        "deep.txt": "from the namespace\n",
        "sub/nested.txt": "nested\n",
        "kept.txt": "kept\n",
    }
    assert (found["stdOutLineCount"], found["stdErrLineCount"]) == (5, 1)
    assert found["taskRunner"]["type"].endswith({"fargate": "ecs.Fargate", "batch": "runner.Batch"}[where])
    assert [(line.level, line.message) for line in outcome.logs] == [
        ("WARN", "No file matches `none.csv` of outputFiles"),
        ("WARN", "careful"),
        ("INFO", "done with ********"),
        ("INFO", "1"),
        ("ERROR", "bad"),
    ]
    points = cloud.stores.metrics.fetch(outcome.view["id"])
    assert [(point.name, point.value) for point in points] == [("n", 2.0)]


def test_no_secret_is_anywhere_but_in_the_containers(cloud: Cloud, where: str) -> None:
    asked: list[str] = []
    answer = fleet_of(cloud).answer
    fleet_of(cloud).answer = lambda service, operation, request: (  # type: ignore[method-assign]
        asked.append(str(request.body)),
        answer(service, operation, request),
    )[1]
    outcome = cloud.run(flow(where, 'echo "$PASSWORD"', "env: {PASSWORD: \"{{ secret('PASSWORD') }}\"}"))
    assert outcome.state == "SUCCESS"
    assert asked
    assert SECRET not in "".join(asked)
    assert SECRET not in json.dumps(fleet_of(cloud).definitions)
    assert SECRET.encode() not in b"".join(str(item).encode() for item in cloud.items())
    (task,) = fleet_of(cloud).tasks
    assert SECRET not in "".join(log.read_text() for log in task.folder.glob("*.log"))
    assert not (task.folder / "headrace" / "environment").exists()


def test_main_has_nothing_of_the_platforms(cloud: Cloud, where: str) -> None:
    outcome = cloud.run(flow(where, "env; ls -A ..; ls -A ../../headrace-own 2>&1 || true"))
    said = "\n".join(line.message for line in outcome.logs)
    assert "HEADRACE_TOKEN" not in said
    assert "HEADRACE_API" not in said
    (task,) = fleet_of(cloud).tasks
    assert [mount["containerPath"] for mount in task.containers["main"]["mountPoints"]] == ["/headrace"]
    assert task.containers["main"]["environment"] == []
    tokens = [
        each["value"]
        for name in ("stage-in", "stage-out")
        for each in task.containers[name]["environment"]
        if each["name"] == "HEADRACE_TOKEN"
    ]
    on_volume = b"".join(path.read_bytes() for path in (task.folder / "headrace").rglob("*") if path.is_file())
    assert tokens
    assert not [token for token in tokens if token.encode() in on_volume]


def test_links_that_lead_out_are_not_followed(cloud: Cloud, where: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("not yours")
    outcome = cloud.run(
        flow(
            where,
            f"ln -s {tmp_path}/theirs.txt out.txt; ln -s /proc/self/environ env.txt; echo mine >own.txt; ln -s own.txt in.txt",
            'outputFiles: ["*.txt"]',
        )
    )
    found = outcome.find("script")["outputs"]["outputFiles"]
    assert sorted(found) == ["in.txt", "own.txt"]


def test_the_tasks_of_a_working_directory_share_it_wherever_they_run(cloud: Cloud) -> None:
    outcome = cloud.run(
        f"""
id: shared
namespace: flows
tasks:
  - id: directory
    type: io.kestra.plugin.core.flow.WorkingDirectory
    tasks:
      - id: boxed
        type: io.kestra.plugin.scripts.shell.Commands
        containerImage: alpine:3
        taskRunner: {RUNNERS["fargate"]}
        commands: ['mkdir deep && echo one >deep/first.txt && ln -s deep link && printf "#!/bin/sh\\necho run" >run.sh && chmod +x run.sh']
      - id: function
        type: io.kestra.plugin.scripts.shell.Commands
        commands: ['cat link/first.txt >second.txt', 'echo two >>second.txt']
      - id: script
        type: io.kestra.plugin.scripts.shell.Commands
        containerImage: alpine:3
        taskRunner: {RUNNERS["batch"]}
        outputFiles: [second.txt]
        commands: ['./run.sh', 'test -h link', 'echo three >>second.txt']
"""
    )
    assert outcome.state == "SUCCESS", [line.message for line in outcome.logs]
    (uri,) = outcome.find("script")["outputs"]["outputFiles"].values()
    assert cloud.stores.storage.open(uri).read() == b"one\ntwo\nthree\n"


def test_large_outputs_go_by_a_file(cloud: Cloud) -> None:
    script = """
    printf '::{"outputs": {"text": "'
    head -c 2000000 /dev/zero | tr '\\0' x
    echo '"}}::'
    """
    outcome = cloud.run(flow("fargate", script))
    assert outcome.state == "SUCCESS"
    assert outcome.find("script")["outputs"]["vars"]["text"] == "x" * 2_000_000
    assert fleet_of(cloud).largest < 200_000


def test_many_lines_come_once_each_and_in_order(cloud: Cloud) -> None:
    outcome = cloud.run(flow("fargate", "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done"))
    assert [line.message for line in outcome.logs] == [f"line-{number}" for number in range(3000)]


def test_a_large_file_goes_in_and_out_past_all_functions(cloud: Cloud, where: str) -> None:
    size = 200 * 1024 * 1024
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    uri = "kestra:///flows/_files/large.bin"
    cloud.stores.storage.put(uri, _Blocks(block, size))
    for _ in range(size // len(block)):
        digest.update(block)
    outcome = cloud.run(
        flow(
            where,
            "sha256sum <large.bin; mv large.bin back.bin",
            "namespaceFiles: {enabled: true}\noutputFiles: [back.bin]",
        )
    )
    assert outcome.state == "SUCCESS", [line.message for line in outcome.logs]
    assert outcome.logs[0].message.split()[0] == digest.hexdigest()
    (back,) = outcome.find("script")["outputs"]["outputFiles"].values()
    assert cloud.stores.storage.stat(back).size == size
    # What the API was asked and answered, all of it: addresses, and no byte of the file.
    assert fleet_of(cloud).largest < 64 * 1024
    assert fleet_of(cloud).passed < 256 * 1024
    assert fleet_of(cloud).stored == 2 * size


class _Blocks:
    """A stream of *size* bytes that are never in memory together."""

    def __init__(self, block: bytes, size: int) -> None:
        self._block, self._left = block, size

    def read(self, size: int = -1) -> bytes:
        piece = self._block[: min(self._left, size if size >= 0 else self._left)]
        self._left -= len(piece)
        return piece


# -- Failing ----------------------------------------------------------------------------------------


def test_a_code_other_than_0_is_a_failure_that_retry_counts(cloud: Cloud, where: str) -> None:
    outcome = cloud.run(flow(where, "echo trying; exit 3", "retry: {type: constant, interval: PT30S, maxAttempts: 2}"))
    assert outcome.state == "FAILED"
    assert attempts(outcome) == ["FAILED", "FAILED"]
    assert outcome.find("script")["outputs"]["exitCode"] == 3
    assert [line.message for line in outcome.logs].count("trying") == 2
    assert runs_of_main(cloud) == 2


def test_a_timeout_ends_the_code_and_the_task(cloud: Cloud, where: str) -> None:
    outcome = cloud.run(flow(where, "echo begun; sleep 600", "timeout: PT1S"))
    assert outcome.state == "FAILED"
    assert "TimeoutExceededException" in outcome.logs[0].message
    assert "begun" in [line.message for line in outcome.logs]


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (MISSING_IMAGE, "The image cannot be pulled (CannotPullContainerError: "),
        (NO_SHELL, "The container could not be started: its image needs /bin/sh"),
    ],
)
def test_an_image_that_does_not_do_is_a_failure_with_its_reason(
    cloud: Cloud, where: str, image: str, text: str
) -> None:
    outcome = cloud.run(flow(where, "echo never", image=image))
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])
    assert any(text in line.message and line.level == "ERROR" for line in outcome.logs)


def test_a_file_that_is_not_there_fails_before_anything_runs(cloud: Cloud, where: str) -> None:
    outcome = cloud.run(flow(where, "echo never", 'inputFiles: {x: "kestra:///flows/_files/none.txt"}'))
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])
    assert [line.message for line in outcome.logs] == ["The file 'kestra:///flows/_files/none.txt' does not exist"]
    assert runs_of_main(cloud) == 0


def test_a_role_that_the_stack_does_not_allow_is_refused(cloud: Cloud, where: str) -> None:
    runner = RUNNERS[where].replace("}", ", taskRoleArn: 'arn:aws:iam::123456789012:role/admin'}")
    runner = runner.replace("'arn", "\"{{ 'arn").replace("admin'", "admin' }}\"")  # else it is not even saved
    outcome = cloud.run(flow(where, "echo never").replace(RUNNERS[where], runner))
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["FAILED"])
    assert fleet_of(cloud).tasks == []


def test_a_role_that_the_stack_allows_is_the_codes_own(cloud: Cloud, where: str) -> None:
    role = "arn:aws:iam::123456789012:role/flows/report"
    runner = RUNNERS[where].replace("}", f", taskRoleArn: '{role}'}}")
    assert cloud.run(flow(where, "true").replace(RUNNERS[where], runner)).state == "SUCCESS"
    assert role in json.dumps(fleet_of(cloud).definitions)


def test_a_namespaces_role_is_that_of_tasks_that_name_none(where: str) -> None:
    rules = json.dumps({"flows": {"taskRole": "arn:aws:iam::123456789012:role/flows/all"}})
    with Cloud(containers={}, environment={"HEADRACE_NAMESPACES": rules}) as cloud:
        assert cloud.run(flow(where, "true")).state == "SUCCESS"
        assert "role/flows/all" in json.dumps(fleet_of(cloud).definitions)


# -- Once -------------------------------------------------------------------------------------------


def test_a_start_that_is_repeated_runs_the_code_once(cloud: Cloud, where: str) -> None:
    fleet = fleet_of(cloud)
    fleet.forgets = True  # as when a token has expired, or a job is not listed yet
    definition = cloud.save_flow(flow(where, "echo once; sleep 0.2"))
    execution_id = cloud.create(definition.namespace, definition.id)
    until(cloud, lambda: fleet.tasks)
    cloud.clock.set(cloud.clock.now() + timedelta(minutes=10))
    cloud.sweep()
    until(cloud, lambda: len(fleet.tasks) == 2)
    cloud.settle()
    outcome = cloud.outcome(execution_id)
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["SUCCESS"])
    assert [line.message for line in outcome.logs] == ["once"]
    assert runs_of_main(cloud) == 1


def test_a_start_that_is_repeated_starts_no_second_task(cloud: Cloud, where: str) -> None:
    fleet = fleet_of(cloud)
    definition = cloud.save_flow(flow(where, "echo once"))
    execution_id = cloud.create(definition.namespace, definition.id)
    until(cloud, lambda: fleet.tasks)
    for _ in range(2):
        cloud.clock.set(cloud.clock.now() + timedelta(minutes=10))
        cloud.sweep()
    cloud.settle()
    assert cloud.outcome(execution_id).state == "SUCCESS"
    assert len(fleet.tasks) == 1


def test_a_definition_is_registered_once_for_all_runs_like_it(cloud: Cloud, where: str) -> None:
    for number in range(3):
        source = flow(where, f"echo {number}").replace("id: boxed", f"id: boxed{number}")
        assert cloud.run(source).state == "SUCCESS"
        cloud.restart()
    registered = [call for call in fleet_of(cloud).calls if call.startswith("Register")]
    assert len(registered) == 1
    assert len(fleet_of(cloud).definitions) == 1


# -- Room -------------------------------------------------------------------------------------------


def test_a_want_of_capacity_is_waited_for_and_not_counted(cloud: Cloud) -> None:
    fleet_of(cloud).busy = 3
    begun = cloud.clock.now()
    outcome = cloud.run(flow("fargate", "echo ran", "retry: {type: constant, interval: PT1S, maxAttempts: 1}"))
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["SUCCESS"])
    assert fleet_of(cloud).calls.count("RunTask") == 5  # one of them was for the definition
    assert timedelta(seconds=45) <= cloud.clock.now() - begun <= timedelta(minutes=3)


def test_throttling_is_waited_for_and_not_counted(cloud: Cloud, where: str) -> None:
    fleet_of(cloud).throttles = 2
    outcome = cloud.run(flow(where, "echo ran"))
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["SUCCESS"])
    assert len(fleet_of(cloud).tasks) == 1


def test_a_kill_ends_what_waits_for_room(cloud: Cloud) -> None:
    fleet_of(cloud).busy = 1_000
    definition = cloud.save_flow(flow("fargate", "echo never"))
    execution_id = cloud.create(definition.namespace, definition.id)
    cloud.settle(timedelta(minutes=1))
    cloud.kill(execution_id)
    cloud.settle()
    assert cloud.outcome(execution_id).state == "KILLED"
    assert fleet_of(cloud).tasks == []


# -- Loss -------------------------------------------------------------------------------------------


def interrupted_once(cloud: Cloud, where: str, tmp_path: Path, interrupt: Callable[[Task], None]) -> Outcome:
    """Run a script whose first task is interrupted while it runs; the second ends by itself."""
    fleet = fleet_of(cloud)
    mark = tmp_path / "mark"
    asked: list[str] = []
    fleet.before = lambda operation, _task: asked.append(operation)
    script = f"""
        if [ -e {mark} ]; then echo again; exit; fi
        touch {mark}
        trap 'echo last words; exit 0' TERM
        echo first
        sleep 600 &
        wait
        """
    definition = cloud.save_flow(flow(where, script))
    execution_id = cloud.create(definition.namespace, definition.id)
    until(cloud, lambda: "said" in asked)
    interrupt(fleet.tasks[0])
    cloud.settle()
    return cloud.outcome(execution_id)


def test_what_spot_takes_away_is_lost_and_begins_again(cloud: Cloud, where: str, tmp_path: Path) -> None:
    outcome = interrupted_once(cloud, where, tmp_path, fleet_of(cloud).interrupt)
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["RESUBMITTED", "SUCCESS"])
    lines = [line.message for line in outcome.logs if line.level != "WARN"]
    assert lines == ["first", "last words", "again"]  # though what was said last was said when it was taken away
    (warned,) = [line.message for line in outcome.logs if line.level == "WARN"]
    assert "Your Spot Task was interrupted." in warned


def test_what_goes_with_its_machine_is_lost_and_begins_again(cloud: Cloud, where: str, tmp_path: Path) -> None:
    outcome = interrupted_once(cloud, where, tmp_path, fleet_of(cloud).vanish)
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["RESUBMITTED", "SUCCESS"])


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_loss_that_nobody_tells_is_found_by_the_sweep(
    cloud: Cloud, where: str, tmp_path: Path, forgotten: bool
) -> None:
    fleet = fleet_of(cloud)

    def vanish(task: Task) -> None:
        fleet.is_silent = True
        fleet.vanish(task)
        cloud.settle(None)
        fleet.is_silent = False
        if forgotten:
            fleet.tasks.remove(task)
        cloud.clock.set(cloud.clock.now() + timedelta(minutes=10))
        cloud.sweep()

    outcome = interrupted_once(cloud, where, tmp_path, vanish)
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["RESUBMITTED", "SUCCESS"])


@pytest.mark.parametrize(("more", "losses"), [("", 3), (", retries: 0", 1), (", retries: 4", 5)])
def test_so_many_losses_in_a_row_are_a_failure(cloud: Cloud, where: str, more: str, losses: int) -> None:
    fleet = fleet_of(cloud)
    named = RUNNERS[where].replace("}", f"{more}}}")
    definition = cloud.save_flow(flow(where, "sleep 600").replace(RUNNERS[where], named))
    execution_id = cloud.create(definition.namespace, definition.id)
    for number in range(1, losses + 1):
        until(cloud, lambda number=number: len(fleet.tasks) == number and fleet.tasks[-1].phase is Phase.RUNNING)
        fleet.interrupt(fleet.tasks[-1])
    cloud.settle()
    outcome = cloud.outcome(execution_id)
    assert (outcome.state, attempts(outcome)) == ("FAILED", ["RESUBMITTED"] * losses)


def test_a_task_that_is_never_to_begin_again_does_not_whatever_its_runner_says(cloud: Cloud, where: str) -> None:
    named = RUNNERS[where].replace("}", ", retries: 4}")
    source = flow(where, "sleep 600", "resubmit: NEVER").replace(RUNNERS[where], named)
    definition = cloud.save_flow(source)
    execution_id = cloud.create(definition.namespace, definition.id)
    until(cloud, lambda: fleet_of(cloud).tasks and fleet_of(cloud).tasks[-1].phase is Phase.RUNNING)
    fleet_of(cloud).interrupt(fleet_of(cloud).tasks[-1])
    cloud.settle()
    assert attempts(cloud.outcome(execution_id)) == ["RESUBMITTED"]


LOSSES = {
    "submitted": "",
    "staging in": "begin",
    "fetching": "GET",
    "running": "said",
    "storing": "PUT",
    "ending": "end",
    "reported": "",
}
"""What the containers ask at the moment at which they vanish, in the states in which they ask something."""


@pytest.mark.parametrize("state", LOSSES)
def test_what_vanishes_is_lost_whenever_it_does(cloud: Cloud, where: str, state: str, tmp_path: Path) -> None:
    """It begins again, and counts as no failure; but what has told its end before has ended."""
    fleet, mark = fleet_of(cloud), tmp_path / "mark"
    cloud.stores.storage.put("kestra:///flows/_files/in.txt", b"in")
    vanished: list[str] = []

    def vanish() -> None:
        if not vanished:
            vanished.append(state)
            fleet.vanish(fleet.tasks[0])

    if LOSSES[state]:
        fleet.before = lambda operation, _task: vanish() if operation == LOSSES[state] else None
    waits = "sleep 600" if state == "running" else "true"
    definition = cloud.save_flow(
        flow(
            where,
            f"echo begun; [ -e {mark} ] || (touch {mark}; {waits}); cp in.txt out.txt",
            "namespaceFiles: {enabled: true}\noutputFiles: [out.txt]\nretry: {type: constant, interval: PT1S, maxAttempts: 1}",
        )
    )
    execution_id = cloud.create(definition.namespace, definition.id)
    if state == "submitted":
        until(cloud, lambda: fleet.tasks)
        assert fleet.tasks[0].phase is Phase.SUBMITTED
        vanish()
    elif state == "reported":
        until(cloud, lambda: fleet.tasks and fleet.tasks[0].stopped)
        vanish()
    cloud.settle()
    assert vanished
    outcome = cloud.outcome(execution_id)
    is_over = state in ("ending", "reported")
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["SUCCESS"] if is_over else ["RESUBMITTED", "SUCCESS"])
    (uri,) = outcome.find("script")["outputs"]["outputFiles"].values()
    assert cloud.stores.storage.open(uri).read() == b"in"
    assert runs_of_main(cloud) == (2 if state in ("running", "storing") else 1)


def test_a_run_that_has_ended_when_spot_comes_is_a_success(cloud: Cloud, where: str) -> None:
    fleet = fleet_of(cloud)

    def before(operation: str, task: Task | None) -> None:
        if operation == "places" and task is not None:
            fleet.interrupt(task)

    fleet.before = before
    outcome = cloud.run(flow(where, "echo x >out.txt", "outputFiles: [out.txt]"))
    assert (outcome.state, attempts(outcome)) == ("SUCCESS", ["SUCCESS"])


# -- Kill -------------------------------------------------------------------------------------------

STATES = ["created", "submitted", "staging in", "fetching", "running", "storing", "ending", "reported"]


@pytest.mark.parametrize("state", STATES)
def test_a_kill_ends_everything_whenever_it_comes(cloud: Cloud, where: str, state: str) -> None:
    fleet = fleet_of(cloud)
    cloud.stores.storage.put("kestra:///flows/_files/in.txt", b"in")
    wait = "sleep 600" if state == "running" else "true"
    definition = cloud.save_flow(
        flow(where, f"echo begun; {wait}; cp in.txt out.txt", "namespaceFiles: {enabled: true}\noutputFiles: [out.txt]")
    )
    execution_id = cloud.create(definition.namespace, definition.id)
    killed: list[str] = []

    def kill() -> None:
        if not killed:
            killed.append(state)
            cloud.kill(execution_id)
            while cloud.step_functions():
                pass

    moments = {"staging in": "begin", "fetching": "GET", "storing": "PUT", "ending": "end"}
    if state in moments:
        fleet.before = lambda operation, _task: kill() if operation == moments[state] else None
    elif state == "created":
        kill()
    elif state == "submitted":
        until(cloud, lambda: fleet.tasks)
        assert fleet.tasks[0].phase is Phase.SUBMITTED
        kill()
    elif state == "running":
        until(cloud, lambda: fleet.tasks and fleet.tasks[0].phase is Phase.RUNNING and runs_of_main(cloud))
        kill()
    else:
        until(cloud, lambda: fleet.tasks and fleet.tasks[0].stopped)
        kill()
    cloud.settle()
    assert killed
    assert fleet.running() == []
    outcome = cloud.outcome(execution_id)
    ended = [each["state"]["current"] for run in outcome.view["taskRunList"] for each in run["attempts"] or ()]
    if state == "reported":  # it was over before
        assert (outcome.state, ended) in (("SUCCESS", ["SUCCESS"]), ("KILLED", ["SUCCESS"]))
        return
    assert outcome.state == "KILLED"
    assert ended in ([], ["KILLED"])
    assert ended or state in ("created", "submitted")
    histories = [run["state"]["histories"] for run in outcome.view["taskRunList"]]
    assert [[each["state"] for each in history].count("KILLED") for history in histories] in ([], [1])


# -- Crashes ----------------------------------------------------------------------------------------

CRASHING = dedent(
    f"""
    id: boxed
    namespace: flows
    tasks:
      - id: script
        type: io.kestra.plugin.scripts.shell.Commands
        containerImage: alpine:3
        taskRunner: {RUNNERS["fargate"]}
        outputFiles: [out.txt]
        commands: ['echo once', 'echo x >out.txt', 'echo ''::{{"outputs": {{"rows": 1}}}}::''']
    """
)


def played(faults: Faults) -> tuple[Outcome, int]:
    """Run a script in a container while a function dies; return what came of it, and how often its code began."""
    with Cloud(containers={}, faults=faults, told_receives=1) as cloud:
        definition = cloud.save_flow(CRASHING)
        execution_id = cloud.create(definition.namespace, definition.id)
        cloud.settle()
        cloud.clock.set(cloud.clock.now() + timedelta(minutes=10))
        cloud.sweep()
        cloud.settle()
        return cloud.outcome(execution_id), runs_of_main(cloud)


def check_played(at: int, mode: Mode) -> None:
    faults = Faults(at, mode)
    outcome, runs = played(faults)
    told = f"request {at}, {faults.struck}: {mode.value}"
    assert (outcome.state, attempts(outcome), runs) == ("SUCCESS", ["SUCCESS"], 1), told
    assert outcome.find("script")["outputs"]["vars"] == {"rows": 1}, told
    assert [line.message for line in outcome.logs] == ["once"], told


@pytest.mark.parametrize(("at", "mode"), [(8, Mode.STOPPED), (14, Mode.LOST), (20, Mode.REPEATED)])
def test_a_function_that_dies_over_a_container_changes_nothing(at: int, mode: Mode) -> None:
    """A sample; the slow suite takes every request."""
    check_played(at, mode)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [Mode.STOPPED, Mode.LOST, Mode.REPEATED], ids=lambda mode: mode.name.lower())
def test_nothing_that_happens_to_any_request_over_a_container_changes_anything(mode: Mode) -> None:
    faults = Faults()
    played(faults)
    for at in range(1, len(faults.requests) + 1):
        check_played(at, mode)
