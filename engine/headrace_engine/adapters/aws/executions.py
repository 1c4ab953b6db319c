"""Summaries of executions in DynamoDB, and the indexes by which they are listed and swept."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any, Protocol

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.table import (
    DUE,
    LISTS,
    RECENT,
    ConditionFailedError,
    Item,
    Table,
    instant,
    key,
    number,
    optional_instant,
    optional_text,
    shard,
    sort_text,
    text,
)
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import new_id
from headrace_engine.model.search import EVERY, NEWEST, ExecutionQuery, Operation, Order, in_order
from headrace_engine.model.state import State
from headrace_engine.ports import (
    COUNTED,
    DayTally,
    ExecutionPage,
    ExecutionSummary,
    NotFoundError,
    PortError,
    SearchTooWideError,
)

SHARDS = 8
_SUMMARY = "E"
_PAGE = 100
"""Summaries the iterators read at once."""

_TRIES = 5

_OLDEST = (Order(descending=False),)

_NEVER = "~"
"""Stands for a wake_by that is not set; comes after every instant."""

# Holds when the stored summary is older, or there is none; the same seq says the same, a higher one knows more.
_OLDER = "attribute_not_exists(pk) OR seq < :seq"


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """How much one search reads at most; then it stops, and says where it goes on."""

    keys: int = 1_300
    """Keys read at once of a shard: all together somewhat more than COUNTED."""
    pages: int = 64
    """Pages of keys; of a MiB each where they are filtered by state."""
    pages_of_days: int = 400
    """Pages of keys from which days are tallied."""
    summaries: int = 2_000
    """Summaries, where the keys do not say what is asked."""
    sorted: int = 1_000
    """Executions that are sorted by something else than their start."""


class DynamoExecutions:
    """`Executions` in *table*.

    `open`, `due` and `search` find keys in an index, which follows the table within a moment, and read the summaries
    from the table: what they give is as it stands. What the index does not know yet is missed; the next sweep has it.
    A put costs one write unit for the summary, two for the lists when the execution is new or ends, and one or two when
    it becomes open, is to be woken at another time, or ends.
    """

    def __init__(self, table: Table, overflow: Overflow, limits: SearchLimits | None = None) -> None:
        self._table = table
        self._overflow = overflow
        self._limits = limits or SearchLimits()

    def put(self, summary: ExecutionSummary) -> None:
        """See `Executions.put`."""
        item = self.item(summary)
        try:
            replaced = self._table.put(item, _OLDER, {":seq": number(summary.seq)}, old=True)
        except ConditionFailedError as refusal:
            self._overflow.drop(item, unless=refusal.stored)
            return
        self._overflow.drop(replaced)

    def get(self, execution_id: str) -> ExecutionSummary | None:
        """See `Executions.get`. Strongly consistent."""
        item = self._table.get(_partition(execution_id), _SUMMARY)
        return self._current(item)

    def _current(self, item: Item | None) -> ExecutionSummary | None:
        """Return what an item says, which is read again when its object was replaced this moment; None without one."""
        for _ in range(_TRIES):
            if item is None:
                return None
            try:
                return self._summary(item)
            except NotFoundError:
                item = self._table.get(item["pk"]["S"], item["sk"]["S"])
        raise PortError("The summary of an execution changes all the time")

    def open(self) -> Iterator[ExecutionSummary]:
        """See `Executions.open`."""
        found = sorted(tuple(item["dsk"]["S"].split("#", 2)[1:]) for n in range(SHARDS) for item in self._due(n))
        for summary in self._summaries(execution_id for _, execution_id in found):
            if summary.end is None or summary.wake_by is not None:
                yield summary

    def due(self, now: datetime) -> Iterator[ExecutionSummary]:
        """See `Executions.due`."""
        # '~' follows the '#' that ends an instant: whatever is due at *now* comes before.
        end = {":end": text(f"{sort_text(now)}~")}
        found = sorted(item["dsk"]["S"] for n in range(SHARDS) for item in self._due(n, "#sort < :end", end))
        for summary in self._summaries(each.split("#", 2)[2] for each in found):
            if summary.wake_by is not None and summary.wake_by <= now:
                yield summary

    def _due(self, number: int, condition: str = "", values: Item | None = None) -> Iterator[Item]:
        return self._table.index(DUE, f"E#{number}", condition, values)

    def search(
        self,
        query: ExecutionQuery = EVERY,
        *,
        order: Sequence[Order] = NEWEST,
        limit: int = 10,
        offset: int = 0,
        after: str = "",
    ) -> ExecutionPage:
        """See `Executions.search`.

        It reads keys from an index, some 150 bytes each, newest first: those of a flow, of what is open, or of all; the
        summaries of the page; and those of all that it looks at when *query* asks what no key says. It stops when it
        has counted to COUNTED, or read as much as its limits say, and says where to go on.
        """
        if tuple(order) not in (NEWEST, _OLDEST):
            return self._in_other_order(query, order, limit, offset)
        bound, before = _place(after)
        walk = self._walk(query, bound, descending=tuple(order) == NEWEST)
        page: list[Key] = []
        matched = 0
        for each in self._matching(query, walk):
            matched += 1
            if offset < matched <= offset + limit:
                page.append(each)
            if matched > offset + limit and before + matched >= COUNTED:
                walk.stop()
                break
        beyond = ""
        if tuple(order) == NEWEST and limit:
            if matched > offset + limit:
                beyond = f"{page[-1].start}~{page[-1].id}~{before + offset + limit}"
            elif walk.reached:
                beyond = f"{walk.reached[0]}~{walk.reached[1]}~{before + matched}"
        found = list(self._summaries(each.id for each in page))
        return ExecutionPage(found, before + matched, walk.is_done, beyond)

    def daily(self, query: ExecutionQuery) -> Sequence[DayTally]:
        """See `Executions.daily`. It reads the keys of the time, and the summaries of what has not ended."""
        walk = self._walk(query, None, descending=True, pages=self._limits.pages_of_days)
        keys = [key for key in walk if key.matches(query)]
        if not walk.is_done:
            raise SearchTooWideError("There are too many executions in that time to count them: ask for fewer days")
        states = {each.id: each.state for each in self._summaries(key.id for key in keys if not key.ended)}
        groups: dict[tuple[date, str, str, State], list[float]] = {}
        for each in keys:
            state = State(each.ended) if each.ended else states.get(each.id)
            if state is not None:
                start = instant(each.start)
                seconds = groups.setdefault((start.date(), each.namespace, each.flow_id, state), [])
                seconds.append((instant(each.end) - start).total_seconds() if each.end else -1.0)
        tallies = []
        for group, took in sorted(groups.items()):
            ended = [seconds for seconds in took if seconds >= 0] or [0.0]
            tallies.append(DayTally(*group, len(took), sum(ended), min(ended), max(ended)))
        return tallies

    def _in_other_order(self, query: ExecutionQuery, order: Sequence[Order], limit: int, offset: int) -> ExecutionPage:
        walk = self._walk(query, None, descending=True)
        keys = list(islice(self._matching(query, walk), self._limits.sorted + 1))
        if len(keys) > self._limits.sorted or not walk.is_done:
            most = self._limits.sorted
            raise SearchTooWideError(
                f"Only {most} executions can be sorted by anything but their start: narrow the search"
            )
        found = in_order(list(self._summaries(each.id for each in keys)), order)
        return ExecutionPage(found[offset : offset + limit], len(keys))

    def _matching(self, query: ExecutionQuery, walk: Walk) -> Iterator[Key]:
        """Yield the keys of what *query* means; reads the summaries where the keys do not say it."""
        if not query.asks_summary and (not query.states or walk.knows_state):
            yield from (each for each in walk if each.matches(query))
            return
        loaded = 0
        keys = (each for each in walk if not each.flow_id or each.matches(query))
        while chunk := list(islice(keys, min(_PAGE, self._limits.summaries))):
            if loaded >= self._limits.summaries:
                walk.stop(chunk[0])
                return
            loaded += len(chunk)
            meant = {summary.id for summary in self._summaries(each.id for each in chunk) if query.matches(summary)}
            yield from (each for each in chunk if each.id in meant)

    def _walk(self, query: ExecutionQuery, bound: tuple[str, str] | None, *, descending: bool, pages: int = 0) -> Walk:
        """Return the keys among which all are that *query* means and that come after *bound*, in the order of time."""
        ended = [state.value for state in query.states if state.is_terminal]
        or_open = len(ended) < len(query.states)
        low = sort_text(query.since) if query.since is not None else ""
        # '~' follows the '#' that ends an instant, or an id.
        high = f"{sort_text(query.until)}~" if query.until is not None else "~"
        if bound is not None:
            high = min(high, "#".join(bound))
        if not query.namespaces or (query.states and not ended):
            keys = self._open_keys() if query.namespaces else []
            meant = [key for key in keys if low <= f"{key.start}#{key.id}#" < high]
            return Walk([_Given(meant if descending else meant[::-1])], 1, descending=descending)
        flow = self._one_flow(query)
        if flow is not None:
            ended = []
            index, between, read = LISTS, (f"{flow}#{low}", f"{flow}#{high}"), _key_of_list
        else:
            index, between, read = RECENT, (low or "0", high), _key_of_recent

        def page(shard: int, begin: Item | None) -> tuple[Sequence[Key], Item | None, Key | None]:
            items, beyond = self._table.index_page(
                index,
                f"E#{shard}",
                between,
                descending=descending,
                begin=begin,
                size=None if ended else self._limits.keys,
                ended=ended,
                or_open=or_open,
            )
            keys = [key for key in map(read, items) if bound is None or (key.start, key.id) < bound]
            return keys, beyond, read(beyond) if beyond is not None else None

        shards = [_Paged(partial(page, shard)) for shard in range(SHARDS)]
        knows_state = flow is None and not or_open
        return Walk(shards, pages or self._limits.pages, descending=descending, knows_state=knows_state)

    def _open_keys(self) -> list[Key]:
        """Return what has not ended; the index by which it is woken does not say of which flow it is."""
        found = [item["dsk"]["S"].split("#", 2) for shard in range(SHARDS) for item in self._due(shard)]
        return sorted((Key(start, execution_id) for _, start, execution_id in found), reverse=True)

    def _one_flow(self, query: ExecutionQuery) -> str | None:
        """Return ``namespace/flow`` when only executions of that one can be meant; None otherwise."""
        if query.flow_id is None:
            return None
        for each in query.conditions:
            if (each.field, each.operation, each.negated, len(each.values)) == (
                "namespace",
                Operation.EQUALS,
                False,
                1,
            ):
                return f"{each.values[0]}/{query.flow_id}"
        if len(query.namespaces) != 1 or query.namespaces == ("",):
            return None
        (namespace,) = query.namespaces
        below = (f"{namespace}.", f"{namespace}.~")
        for n in range(SHARDS):
            if self._table.index_page(LISTS, f"E#{n}", below, descending=False, size=1)[0]:
                return None
        return f"{namespace}/{query.flow_id}"

    def delete(self, execution_id: str) -> None:
        """See `Executions.delete`."""
        self._overflow.drop(self._table.delete(_partition(execution_id), _SUMMARY))

    def _summaries(self, execution_ids: Iterable[str]) -> Iterator[ExecutionSummary]:
        """Yield the summaries that are there, in this order, a page at a time."""
        wanted = list(execution_ids)
        for begin in range(0, len(wanted), _PAGE):
            keys = [(_partition(each), _SUMMARY) for each in wanted[begin : begin + _PAGE]]
            found = [self._current(item) for item in self._table.get_many(keys)]
            yield from (summary for summary in found if summary is not None)

    def item(self, summary: ExecutionSummary) -> dict[str, Any]:
        """Return a summary as the table holds it."""
        where = f"E#{shard(summary.id, SHARDS)}"
        start = sort_text(summary.start)
        item: dict[str, Any] = {
            **key(_partition(summary.id), _SUMMARY),
            "namespace": text(summary.namespace),
            "flow": text(summary.flow_id),
            "revision": number(summary.flow_revision),
            "state": text(summary.state.value),
            "seq": number(summary.seq),
            "start": text(start),
            "lpk": text(where),
            "lsk": text(f"{summary.namespace}/{summary.flow_id}#{start}#{summary.id}"),
            "rpk": text(where),
            "rsk": text(f"{start}#{summary.id}#{summary.namespace}/{summary.flow_id}"),
        }
        if summary.state.is_terminal:
            item["ended"] = text(summary.state.value)
        if summary.end is not None:
            item["end"] = text(sort_text(summary.end))
        if summary.wake_by is not None:
            item["wake_by"] = text(sort_text(summary.wake_by))
        if summary.end is None or summary.wake_by is not None:
            wake = _NEVER if summary.wake_by is None else sort_text(summary.wake_by)
            item |= {"dpk": text(where), "dsk": text(f"{wake}#{start}#{summary.id}")}
        if summary.parent_id is not None:
            item["parent"] = text(summary.parent_id)
        if summary.trigger_id is not None:
            item["trigger"] = text(summary.trigger_id)
        if summary.caller_id is not None:
            item["caller"] = text(summary.caller_id)
        if summary.original_id is not None:
            item["original"] = text(summary.original_id)
        if summary.labels:
            labels = json.dumps(dict(summary.labels), ensure_ascii=False).encode("utf-8", "surrogatepass")
            item |= self._overflow.keep(f"E/{summary.id}/{new_id()}", labels)
        return item

    def _summary(self, item: Item) -> ExecutionSummary:
        labels = {}
        if "data" in item or "at" in item:
            labels = json.loads(self._overflow.load(item).decode("utf-8", "surrogatepass"))
        return ExecutionSummary(
            id=item["pk"]["S"].split("#", 1)[1],
            namespace=item["namespace"]["S"],
            flow_id=item["flow"]["S"],
            flow_revision=int(item["revision"]["N"]),
            state=State(item["state"]["S"]),
            seq=int(item["seq"]["N"]),
            start=instant(item["start"]["S"]),
            end=optional_instant(item, "end"),
            wake_by=optional_instant(item, "wake_by"),
            labels=labels,
            parent_id=optional_text(item, "parent"),
            trigger_id=optional_text(item, "trigger"),
            caller_id=optional_text(item, "caller"),
            original_id=optional_text(item, "original"),
        )


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What an index says of an execution."""

    start: str
    id: str
    namespace: str = ""
    flow_id: str = ""
    """Empty where the index does not say it."""
    ended: str = ""
    """The state it ended in, if it did."""
    end: str = ""

    def matches(self, query: ExecutionQuery) -> bool:
        """Return whether *query* means it, as far as this says."""
        return query.matches_key(self.namespace, self.flow_id, instant(self.start), self.id)


class Shard(Protocol):
    """A part of the keys, in the order of time."""

    keys: deque[Key]
    """Those read and not yet taken."""
    is_done: bool
    """Whether all are read."""
    last: Key | None
    """The last one that was read, where there are more."""

    def read(self) -> None:
        """Read on."""


class _Given:
    """Keys that are known."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = deque(keys)
        self.is_done = True
        self.last: Key | None = None

    def read(self) -> None:
        """There is nothing more."""


class _Paged:
    """Keys that *page* returns, given where to begin: some, where the next begin, and the last one looked at."""

    def __init__(self, page: Callable[[Item | None], tuple[Sequence[Key], Item | None, Key | None]]) -> None:
        self._page = page
        self._begin: Item | None = None
        self.keys: deque[Key] = deque()
        self.is_done = False
        self.last: Key | None = None

    def read(self) -> None:
        """Read a page."""
        keys, self._begin, self.last = self._page(self._begin)
        self.keys.extend(keys)
        self.is_done = self._begin is None


class Walk:
    """The keys of all shards in the order of time, until so many pages are read."""

    def __init__(self, shards: Sequence[Shard], pages: int, *, descending: bool, knows_state: bool = False) -> None:
        """Take the shards. knows_state: there are only keys of the states that are asked for."""
        self.knows_state = knows_state
        self._shards = shards
        self._first = max if descending else min
        self._pages = pages
        self.is_stopped = False
        self.reached: tuple[str, str] | None = None
        """Where it goes on, a place between keys, when it stopped before their end."""

    @property
    def is_done(self) -> bool:
        """Whether nothing was left out."""
        return not self.is_stopped

    def stop(self, key: Key | None = None) -> None:
        """Go no further; *key* is the first one that was not looked at."""
        self.is_stopped = True
        if key is not None:
            self.reached = _before(key)

    def __iter__(self) -> Iterator[Key]:
        while not self.is_stopped:
            for each in self._shards:
                while not each.keys and not each.is_done:
                    if not self._pages:
                        self._run_out()
                        return
                    self._pages -= 1
                    each.read()
            heads = [each for each in self._shards if each.keys]
            if not heads:
                return
            yield self._first(heads, key=lambda each: each.keys[0]).keys.popleft()

    def _run_out(self) -> None:
        """Note how far all shards are read."""
        places = [_before(each.keys[0]) for each in self._shards if each.keys]
        places += [(each.last.start, each.last.id) for each in self._shards if not each.keys and each.last]
        self.is_stopped = True
        self.reached = self._first(places) if places else None


def _before(key: Key) -> tuple[str, str]:
    """Return the place between a key and the one before it, which is newer."""
    return key.start, f"{key.id}~"


def _place(after: str) -> tuple[tuple[str, str] | None, int]:
    """Return where a page begins, and how many were found before it."""
    if not after:
        return None, 0
    place, _, count = after.rpartition("~")
    start, _, execution_id = place.partition("~")
    if not execution_id or len(sort_text(instant(start))) != len(start):
        raise ValueError(f"`{after[:50]}` is no cursor")
    return (start, execution_id), int(count)


def _key_of_list(item: Item) -> Key:
    flow, start, execution_id = item["lsk"]["S"].split("#", 2)
    namespace, _, flow_id = flow.rpartition("/")
    return Key(start, execution_id, namespace, flow_id, optional_text(item, "ended") or "")


def _key_of_recent(item: Item) -> Key:
    start, execution_id, flow = item["rsk"]["S"].split("#", 2)
    namespace, _, flow_id = flow.rpartition("/")
    ended, end = optional_text(item, "ended") or "", optional_text(item, "end") or ""
    return Key(start, execution_id, namespace, flow_id, ended, end)


def _partition(execution_id: str) -> str:
    return f"E#{execution_id}"
