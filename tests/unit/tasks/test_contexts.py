"""How an attempt becomes a result: outcomes, secrets, limits, logs, files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO
from typing import Any, ClassVar

import pytest

from headrace_engine.adapters.memory.logs import MemoryLogs
from headrace_engine.file_versions import FileVersions
from headrace_engine.model.attempt import ExecutionChange, Inline, Stored
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_engine.ports import AttemptId, LogLine, PortError
from headrace_engine.run_logs import LogStream
from headrace_engine.sealing import ENCRYPTED, SEALED, open_sealed, seal_text
from unit.tasks.harness import START, TASK_FOLDER, Bench, PlainCipher, inline, inline_context, outputs_of


class ValueOutputs(TaskOutputs):
    value: Any = None
    other: Any = None


class Give(RunnableTask):
    """Give its value back, failing when asked to."""

    TYPE: ClassVar[str] = "test.Give"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = ValueOutputs

    value: Any = None
    items: list[str] | None = None
    fail: str | None = None

    def run(self, context: RunContext) -> ValueOutputs:
        if self.fail == "failure":
            raise TaskFailure("It failed", ValueOutputs(value=self.value))
        if self.fail is not None:
            raise ValueError(self.fail)
        context.log.info(f"value is {self.value}")
        context.counter("seen", 1, {"a": "b"})
        return ValueOutputs(value=self.value if self.items is None else self.items)


class Wait(RunnableTask):
    """Wait until it is stopped."""

    TYPE: ClassVar[str] = "test.Wait"
    KIND: ClassVar[Kind] = Kind.LIGHT
    ASKS_FOR_WORKER: ClassVar[str] = "set `more`"

    def run(self, context: RunContext) -> None:
        stopped = threading.Event()
        context.on_stop(stopped.set)
        stopped.wait()


def test_success_has_outputs_logs_and_metrics(bench: Bench) -> None:
    result = bench.run(Give, {"value": {"a": None}})
    assert (result.state, result.error, result.started, result.ended) == (State.SUCCESS, None, START, START)
    assert result.outputs == Inline({"value": {"a": None}})
    assert bench.log_lines == [("INFO", "value is {'a': None}")]
    assert bench.points == [("counter", "seen", 1.0)]


def test_a_task_failure_keeps_its_outputs(bench: Bench) -> None:
    result = bench.run(Give, {"value": 1, "fail": "failure"})
    assert (result.state, result.error, result.outputs) == (State.FAILED, "It failed", Inline({"value": 1}))
    assert bench.log_lines == [("ERROR", "It failed")]


def test_any_other_exception_fails_with_its_text_and_a_stack_trace(bench: Bench) -> None:
    result = bench.run(Give, {"fail": "oh"})
    assert (result.state, result.error) == (State.FAILED, "ValueError: oh")
    assert bench.log_lines[0] == ("ERROR", "ValueError: oh")
    level, trace = bench.log_lines[1]
    assert level == "DEBUG"
    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: oh")


def test_invalid_properties_fail_with_a_sentence_each(bench: Bench) -> None:
    error = bench.error(Give, {"items": "x", "vlaue": 1})
    assert error == (
        "Invalid property `items`: Input should be a valid list, but received `x`\n"
        "Invalid property `vlaue`: Extra inputs are not permitted, but received `1`"
    )


def test_outputs_above_the_limit_go_to_storage(bench: Bench) -> None:
    result = bench.run(Give, {"value": "x" * 40_000})
    assert isinstance(result.outputs, Stored)
    assert result.outputs.uri == "kestra:///company/team/my-flow/executions/exec1/_outputs/run1-0.json"
    content = bench.read(result.outputs.uri)
    assert len(content) == result.outputs.size
    assert content.startswith('{"value":"xxx')


def test_a_killed_attempt_ends_killed(bench: Bench) -> None:
    result = bench.run(Wait, on_context=lambda context: context.stop())
    assert (result.state, result.error) == (State.KILLED, "The attempt was stopped")


def test_a_timeout_fails_the_attempt(bench: Bench) -> None:
    result = bench.run(Wait, job={"timeout": timedelta(milliseconds=20)})
    text = "TimeoutExceededException: the attempt did not end within PT0.02S"
    assert (result.state, result.error) == (State.FAILED, text)
    assert bench.log_lines == [("ERROR", text)]


def test_a_lease_that_ends_says_what_to_write(bench: Bench) -> None:
    result = bench.run(Wait, lease=timedelta(milliseconds=20), job={"timeout": timedelta(seconds=30)})
    assert result.error == "TimeoutExceededException: the attempt did not end within PT0.02S; set `more`"


def test_a_stop_calls_back_once_and_late_callbacks_at_once(bench: Bench) -> None:
    context, calls = bench.context(), []
    context.on_stop(lambda: calls.append("a"))
    context.on_stop(lambda: 1 / 0)
    context.on_stop(lambda: calls.append("b"))
    context.stop(State.FAILED)
    context.stop()
    context.on_stop(lambda: calls.append("c"))
    assert calls == ["a", "b", "c"]
    assert (context.stopping, context.stop_reason) == (True, State.FAILED)


def test_the_working_directory_is_made_on_use_and_removed(bench: Bench) -> None:
    context = bench.context()
    assert list(bench.temporary.iterdir()) == []
    assert context.working_dir is context.working_dir
    (context.working_dir / "x").write_text("1")
    context.close()
    assert list(bench.temporary.iterdir()) == []


def test_a_shared_working_directory_stays(bench: Bench) -> None:
    with bench.context(workspace=bench.temporary) as context:
        assert context.working_dir == bench.temporary
    assert bench.temporary.exists()


def test_sealed_values_are_opened_and_masked(bench: Bench) -> None:
    sealed = seal_text("Bearer t0ken", ["t0ken"], bench.cipher)
    assert sealed["type"] == SEALED
    result = bench.run(Give, {"value": {"deep": [sealed]}})
    assert outputs_of(result) == {"value": {"deep": ["Bearer t0ken"]}}
    assert bench.log_lines == [("INFO", "value is {'deep': ['Bearer ********']}")]


def test_an_error_never_shows_a_secret(bench: Bench) -> None:
    error = bench.error(Give, {"fail": seal_text("no t0ken", ["t0ken"], bench.cipher)})
    assert error == "ValueError: no ********"
    assert "t0ken" not in str(bench.log_lines)
    assert "********" in bench.error(Give, {"items": seal_text("t0ken", ["t0ken"], bench.cipher)})


def test_a_sealed_json_text_is_parsed_once_it_is_open(bench: Bench) -> None:
    sealed = seal_text('["a", "s3cret"]', ["s3cret"], bench.cipher)
    assert bench.outputs(Give, {"items": sealed}) == {"value": ["a", "s3cret"]}


def test_a_sealed_value_that_was_changed_fails_the_attempt(bench: Bench) -> None:
    assert bench.error(Give, {"value": {"type": SEALED, "value": "x"}}) == (
        "A secret of the task could not be opened: A sealed value was changed"
    )


def test_open_sealed_leaves_everything_else() -> None:
    cipher = PlainCipher()
    value = {"type": ENCRYPTED, "value": 1, "more": [{"type": "x", "value": "y"}]}
    assert open_sealed(value, cipher) == (value, frozenset())
    plain = {"type": ENCRYPTED, "value": cipher.seal(b"secret")}
    assert open_sealed([plain], cipher) == (["secret"], frozenset({"secret"}))


def test_changes_of_the_execution_gather() -> None:
    context = inline_context()
    context.set_labels({"a": "1"})
    context.set_variables({"x": 1, "y": 2})
    context.set_variables({"z": 3}, unset=["x"])
    context.set_labels({"b": "2"})
    context.exit_execution(State.SUCCESS)
    assert context.change == ExecutionChange({"a": "1", "b": "2"}, {"y": 2, "z": 3}, ("x",), State.SUCCESS)


def test_a_task_may_end_in_warning() -> None:
    class Warns(RunnableTask):
        """Warn."""

        def run(self, context: Any) -> None:
            context.end_with(State.WARNING)

    assert inline(Warns)[0].state is State.WARNING
    with pytest.raises(ValueError, match="not in SUCCESS"):
        inline_context().end_with(State.SUCCESS)


def test_long_messages_are_cut() -> None:
    context = inline_context()
    context.log.info("x" * 40_000)
    assert context.lines[0].message.endswith("… (7232 more characters)")


def test_encrypt_needs_a_key(bench: Bench) -> None:
    assert bench.context().encrypt("x")["type"] == ENCRYPTED
    with pytest.raises(TaskFailure, match=r"encryption\.secret-key"):
        bench.context(can_encrypt=False).encrypt("x")


def test_secret_variables_are_opened_and_masked_when_a_task_renders(bench: Bench) -> None:
    sealed = {"type": ENCRYPTED, "value": bench.cipher.seal(b"hush")}
    context = bench.context(bench.job(variables={"inputs": {"password": sealed}}))
    assert context.render("{{ inputs.password }}-{{ item }}", {"item": 1}) == "hush-1"
    context.log.info("it is hush")
    context.close()
    assert bench.log_lines == [("INFO", "it is ********")]


# -- Log streams ------------------------------------------------------------------------------------


class Refusing(MemoryLogs):
    """Refuses some appends; of those it may have kept the lines all the same."""

    def __init__(self, refusals: int, *, keeps: bool) -> None:
        super().__init__()
        self.refusals = refusals
        self.keeps = keeps

    def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
        if self.refusals:
            self.refusals -= 1
            if self.keeps:
                super().append(execution_id, batch, lines)
            raise PortError("down")
        super().append(execution_id, batch, lines)


@pytest.mark.parametrize("keeps", [False, True])
def test_lines_are_neither_lost_nor_doubled_when_the_store_fails(keeps: bool) -> None:
    logs = Refusing(2, keeps=keeps)
    context = inline_context()
    stream = LogStream(logs, "exec1", "run1/0")
    context._keep = stream.add
    context.log.info("a")
    assert not stream.flush()
    context.log.info("b")
    stream.close()
    assert [line.message for line in logs.fetch("exec1")] == ["a", "b"]


def test_lines_a_store_always_refuses_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    stream = LogStream(Refusing(99, keeps=False), "exec1", "run1/0")
    context = inline_context()
    context._keep = stream.add
    context.log.info("a")
    stream.close()
    assert "1 log lines of run1/0 could not be stored" in caplog.text


def test_many_lines_go_in_batches_before_the_end(bench: Bench) -> None:
    context = bench.context()
    for number in range(450):
        context.log.info(str(number))
    assert len(bench.log_lines) >= 400
    context.close()
    assert [message for _, message in bench.log_lines] == [str(number) for number in range(450)]


def test_a_waiting_line_is_written_without_a_further_one(bench: Bench) -> None:
    written = threading.Event()

    class Telling(MemoryLogs):
        def append(self, execution_id: str, batch: str, lines: Sequence[LogLine]) -> None:
            super().append(execution_id, batch, lines)
            written.set()

    bench.logs = Telling()
    bench.context().log.info("a")
    assert written.wait(10)
    assert bench.log_lines == [("INFO", "a")]


# -- Files and keys ---------------------------------------------------------------------------------


def test_files_are_put_below_the_task_run_under_unique_names(bench: Bench) -> None:
    files = bench.context().files
    assert files.put("a.txt", b"1") == f"{TASK_FOLDER}/a.txt"
    assert files.put("a.txt", b"2") == f"{TASK_FOLDER}/a-1.txt"
    assert files.put("sub dir/ä;x.tar.gz", b"3") == f"{TASK_FOLDER}/sub_dir_ä_x.tar.gz"
    assert files.put("../..", b"4") == f"{TASK_FOLDER}/_.."
    later = bench.context(bench.job(attempt=AttemptId("exec1", "run1", 2))).files
    assert later.put("a.txt", b"5") == f"{TASK_FOLDER}/2/a.txt"


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("kestra:///company/team/../x", "not a path inside the storage"),
        ("nsfile:///../x", "not a path inside the storage"),
        ("nsfile://other.ns/a//b", "not a path inside the storage"),
        ("http://x.example/y", "should begin with kestra:///"),
        ("file:///etc/passwd", "not in one of the allowed local paths"),
        ("kestra:///company/team/_kv/key.ion", "didn't belong to the current execution"),
        ("kestra:///company/team/my-flow/executions/exec1/_outputs/run1-0.json", "didn't belong to the current"),
        ("kestra:///company/team/my-flow/executions/exec1/tasks/t/r/missing", "does not exist"),
        ("nsfile:///missing", "does not exist"),
    ],
)
def test_what_may_not_be_read(bench: Bench, uri: str, error: str) -> None:
    with pytest.raises(TaskFailure, match=error):
        bench.context().files.open(uri)


def test_namespace_files_and_local_files(bench: Bench) -> None:
    from headrace_engine.run_stores import FilePolicy

    local = bench.temporary / "local file.txt"
    local.write_text("local")
    policy = FilePolicy(
        may_read=lambda name: name == "open.ns", may_write=lambda name: False, local_paths=[bench.temporary]
    )
    files = bench.context(file_policy=policy).files
    assert files.put_namespace_file("company.team", "a/b.txt", b"own") == "kestra:///company/team/_files/a/b.txt"
    bench.storage.put("kestra:///open/ns/_files/x", b"other")
    bench.storage.put("kestra:///shut/ns/_files/x", b"no")
    assert files.open("nsfile:///a/b.txt").read() == b"own"
    assert files.open("nsfile://open.ns/x").read() == b"other"
    with files.open(local.as_uri()) as stream:
        assert stream.read() == b"local"
    assert (files.size(local.as_uri()), files.exists(local.as_uri())) == (5, True)
    assert files.namespace_files("company.team") == ["a/b.txt"]
    with pytest.raises(TaskFailure, match="didn't belong"):
        files.open("nsfile://shut.ns/x")
    with pytest.raises(TaskFailure, match=r"may not read files of the namespace 'shut\.ns'"):
        files.namespace_files("shut.ns")
    with pytest.raises(TaskFailure, match=r"may not write files of the namespace 'open\.ns'"):
        files.put_namespace_file("open.ns", "x", b"")
    assert files.delete_namespace_file("company.team", "a/b.txt")


def test_what_a_task_writes_over_a_namespace_file_is_an_earlier_revision(bench: Bench) -> None:
    files, versions = bench.context().files, FileVersions(bench.storage)
    source = bench.temporary / "new.txt"
    source.write_text("three")
    for content in (b"one", BytesIO(b"two"), source):
        uri = files.put_namespace_file("company.team", "a/b.txt", content)
    assert versions.revisions(uri) == [1, 2, 3]
    held = [bench.storage.open(versions.at(uri, revision)).read() for revision in (1, 2, 3)]
    assert held == [b"one", b"two", b"three"]
    assert files.namespace_files("company.team") == ["a/b.txt"]
    with pytest.raises(TaskFailure, match="didn't belong"):
        files.open(versions.at(uri, 1))
    assert files.delete("nsfile:///a/b.txt")
    assert bench.storage.list("kestra:///company/team/_file_versions") == []


def test_files_of_other_executions_can_be_read_but_not_deleted(bench: Bench) -> None:
    uri = "kestra:///company/other/flow/executions/e2/tasks/t/r/f.txt"
    bench.storage.put(uri, b"x")
    files = bench.context().files
    assert files.open(uri).read() == b"x"
    with pytest.raises(TaskFailure, match="Unable to delete"):
        files.delete(uri)


def test_the_cache_has_an_age(bench: Bench) -> None:
    archive = bench.temporary / "c.zip"
    archive.write_bytes(b"zip")
    files = bench.context().files
    assert files.put_cache(archive, "k") == "kestra:///company/team/my-flow/my-task/cache/k/cache.zip"
    assert files.open_cache("other") is None
    bench.clock.advance(timedelta(hours=1))
    assert files.open_cache("k", timedelta(minutes=59)) is None
    stored = files.open_cache("k", timedelta(hours=1))
    assert stored is not None
    assert stored.read() == b"zip"
