"""What a store of flows promises."""

from __future__ import annotations

from functools import partial

from headrace_engine.ports import Flows, FlowSource
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at


class FlowsContract(Contract):
    """Needs the fixture ``flows: Flows``, empty."""

    def test_revisions_count_from_one(self, flows: Flows) -> None:
        assert flows.save("ns", "f", "id: f", START) == FlowSource("ns", "f", 1, "id: f", updated=START)
        assert flows.save("ns", "f", "id: f # 2", at(1)) == FlowSource("ns", "f", 2, "id: f # 2", updated=at(1))

    def test_sources_may_be_large(self, flows: Flows) -> None:
        large = [f"id: f # {n}\n" + "# ü\n" * 100_000 for n in range(3)]
        for n, source in enumerate([*large, large[-1]]):
            flows.save("ns", "f", source, at(n))
        assert [flow.source for flow in flows.revisions("ns", "f")] == large
        assert [flow.source for flow in flows.list()] == large[-1:]
        assert flows.get("ns", "f", 1) == FlowSource("ns", "f", 1, large[0], updated=START)

    def test_the_same_source_makes_no_revision(self, flows: Flows) -> None:
        first = flows.save("ns", "f", "a: 'ü\n'", START)
        assert flows.save("ns", "f", "a: 'ü\n'", at(1)) == first
        assert list(flows.revisions("ns", "f")) == [first]

    def test_a_source_of_an_earlier_revision_makes_a_new_one(self, flows: Flows) -> None:
        flows.save("ns", "f", "one", START)
        flows.save("ns", "f", "two", START)
        assert flows.save("ns", "f", "one", START).revision == 3

    def test_get_returns_the_latest_or_the_one_asked_for(self, flows: Flows) -> None:
        first = flows.save("ns", "f", "one", START)
        second = flows.save("ns", "f", "two", at(1))
        assert flows.get("ns", "f") == second
        assert flows.get("ns", "f", 1) == first
        assert flows.get("ns", "f", 2) == second

    def test_get_returns_none_for_what_is_not_there(self, flows: Flows) -> None:
        flows.save("ns", "f", "one", START)
        assert flows.get("ns", "g") is None
        assert flows.get("other", "f") is None
        assert flows.get("ns", "f", 2) is None
        assert flows.get("ns", "f", 0) is None
        assert list(flows.revisions("ns", "g")) == []

    def test_revisions_come_oldest_first(self, flows: Flows) -> None:
        for n in range(12):
            flows.save("ns", "f", f"source {n}", at(n))
        assert [flow.revision for flow in flows.revisions("ns", "f")] == list(range(1, 13))
        latest = flows.get("ns", "f")
        assert latest is not None
        assert latest.revision == 12

    def test_delete_adds_a_revision_marked_deleted(self, flows: Flows) -> None:
        first = flows.save("ns", "f", "one", START)
        assert flows.delete("ns", "f", at(1)) is True
        deleted = FlowSource("ns", "f", 2, "one", deleted=True, updated=at(1))
        assert flows.get("ns", "f") == deleted
        assert list(flows.revisions("ns", "f")) == [first, deleted]
        assert list(flows.list()) == []

    def test_there_may_be_nothing_to_delete(self, flows: Flows) -> None:
        assert flows.delete("ns", "f", START) is False
        flows.save("ns", "f", "one", START)
        flows.delete("ns", "f", at(1))
        assert flows.delete("ns", "f", at(2)) is False
        assert len(flows.revisions("ns", "f")) == 2

    def test_revisions_go_on_after_a_delete_even_with_the_same_source(self, flows: Flows) -> None:
        flows.save("ns", "f", "one", START)
        flows.delete("ns", "f", at(1))
        assert flows.save("ns", "f", "one", at(2)) == FlowSource("ns", "f", 3, "one", updated=at(2))

    def test_list_gives_latest_revisions_by_namespace_and_id(self, flows: Flows) -> None:
        for namespace, flow_id in (("b", "x"), ("a", "y"), ("a", "x"), ("a.b", "a")):
            flows.save(namespace, flow_id, "one", START)
        flows.save("a", "x", "two", at(1))
        assert [(flow.namespace, flow.id, flow.revision) for flow in flows.list()] == [
            ("a", "x", 2),
            ("a", "y", 1),
            ("a.b", "a", 1),
            ("b", "x", 1),
        ]

    def test_the_prefix_of_list_is_whole_segments(self, flows: Flows) -> None:
        for namespace in ("a", "a.b", "a.b.c", "a.bc", "a-b", "a_b", "ab", "A"):
            flows.save(namespace, "f", "one", START)
        assert [flow.namespace for flow in flows.list("a.b")] == ["a.b", "a.b.c"]
        assert [flow.namespace for flow in flows.list("a")] == ["a", "a.b", "a.b.c", "a.bc"]
        assert list(flows.list("a%")) == []

    def test_names_are_those_of_the_list(self, flows: Flows) -> None:
        for namespace, flow_id in (("b", "x"), ("a", "y"), ("a", "x"), ("a.b", "z"), ("a-b", "x"), ("ab", "x")):
            flows.save(namespace, flow_id, "one", START)
        flows.save("a", "x", "two", at(1))
        flows.delete("a", "y", at(2))
        assert list(flows.names()) == [("a", "x"), ("a-b", "x"), ("a.b", "z"), ("ab", "x"), ("b", "x")]
        assert list(flows.names("a")) == [("a", "x"), ("a.b", "z")]
        assert list(flows.names("a.b")) == [("a.b", "z")]
        assert list(flows.names("c")) == []

    def test_latest_gives_those_asked_for_in_their_order(self, flows: Flows) -> None:
        assert list(flows.latest([])) == []
        for flow_id in ("x", "y", "z"):
            flows.save("a", flow_id, "one", START)
        second = flows.save("a", "x", "two", at(1))
        flows.delete("a", "y", at(2))
        asked = [("a", "z"), ("a", "y"), ("b", "x"), ("a", "x")]
        assert list(flows.latest(asked)) == [FlowSource("a", "z", 1, "one", updated=START), second]

    def test_latest_gives_many(self, flows: Flows) -> None:
        names = [("a", f"f{n:03}") for n in range(120)]
        for name in names:
            flows.save(*name, "one", START)
        assert [(flow.namespace, flow.id) for flow in flows.latest(names[::-1])] == names[::-1]

    def test_it_says_when_something_changed_last(self, flows: Flows) -> None:
        assert flows.changed() is None
        flows.save("a", "x", "one", START)
        assert flows.changed() == START
        flows.save("b", "x", "one", at(1))
        assert flows.changed() == at(1)
        flows.delete("a", "x", at(2))
        assert flows.changed() == at(2)

    def test_revisions_saved_at_once_are_all_kept_and_distinct(self, flows: Flows) -> None:
        outcomes = self.race([partial(flows.save, "ns", "f", f"source {n}", START) for n in range(CONTENDERS)])
        saved = [outcome for outcome in outcomes if isinstance(outcome, FlowSource)]
        assert sorted(flow.revision for flow in saved) == list(range(1, CONTENDERS + 1))
        assert sorted(saved, key=lambda flow: flow.revision) == list(flows.revisions("ns", "f"))

    def test_the_same_source_saved_at_once_is_one_revision(self, flows: Flows) -> None:
        self.race([partial(flows.save, "ns", "f", "one", START) for _ in range(CONTENDERS)])
        assert [flow.revision for flow in flows.revisions("ns", "f")] == [1]


class TemplatesContract(FlowsContract):
    """A store of templates promises the same. Needs also ``beside: Flows``, the flows of the same database."""

    def test_a_template_and_a_flow_of_one_name_do_not_meet(self, flows: Flows, beside: Flows) -> None:
        listening = "id: f\ntriggers: [{type: io.kestra.plugin.core.trigger.Flow}]"
        beside.save("ns", "f", listening, START)
        for n in range(3):
            flows.save("ns", "f", f"template {n}", at(n + 1))
        flows.delete("ns", "f", at(9))
        template = flows.save("ns", "f", listening, at(10))
        assert template.revision == 5
        assert [flow.source for flow in beside.list()] == [listening]
        assert beside.revisions("ns", "f") == [FlowSource("ns", "f", 1, listening, updated=START)]
        assert beside.changed() == START
        assert list(flows.names()) == [("ns", "f")]
        assert beside.delete("ns", "f", at(11)) is True
        assert flows.get("ns", "f") == template
