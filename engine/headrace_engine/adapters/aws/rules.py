"""Subscriptions as EventBridge rules: one for each trigger, on the bus it names, which calls the `triggers` function.

A rule's name says its flow, its trigger and its pattern, by their digests: a changed pattern is another rule, which is
there before the flow is saved, and the one before goes after. Which rules a flow has is noted before they are made,
so that whatever is cut off on the way, the next save or delete of the flow finds them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import OWN_BUS
from headrace_engine.ports import KV, Clock, Drift, Subscription, SubscriptionRefusedError

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_s3.client import S3Client

NOTES = "_rules"
"""The namespace, which no flow can have, of the keys that note a flow's rules."""
_LONGEST_PATTERN = 2048
"""Characters of a pattern that EventBridge takes without a higher quota."""
_TARGET = "headrace"
_GONE = "ResourceNotFoundException"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Reach:
    """What events and files this deployment may be brought."""

    own_bus: str
    """The name of the stack's own bus."""
    buses: tuple[str, ...]
    """The names of the others."""
    buckets: frozenset[str]
    """The buckets whose files it hears of, and may read."""
    prefix: str
    """What the names of its rules begin with."""
    function: str
    """The ARN of the `triggers` function."""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A rule, by name."""

    bus: str
    name: str


class EventBridgeRules:
    """`Subscriptions` as rules."""

    def __init__(
        self, events: EventBridgeClient, kv: KV, clock: Clock, reach: Reach, s3: S3Client | None = None
    ) -> None:
        """Take the clients; with *s3*, buckets are examined, too."""
        self._events = events
        self._s3 = s3
        self._kv = kv
        self._clock = clock
        self._reach = reach

    def prepare(self, namespace: str, flow_id: str, wanted: Sequence[Subscription], buckets: Mapping[str, str]) -> None:
        """See `Subscriptions.prepare`."""
        for trigger_id, bucket in buckets.items():
            if bucket not in self._reach.buckets:
                known = ", ".join(sorted(self._reach.buckets)) or "none"
                raise SubscriptionRefusedError(
                    f"trigger `{trigger_id}`: nothing is heard of the bucket `{bucket}`. The stack watches: {known}; "
                    "its property `watchedBuckets` adds others"
                )
        rules = {self._rule(namespace, flow_id, each): each for each in wanted}
        if not rules:
            return
        self._note(namespace, flow_id, {*self._noted(namespace, flow_id), *rules})
        for rule, subscription in sorted(rules.items(), key=lambda pair: pair[0]):
            self._put(rule, namespace, flow_id, subscription)

    def settle(self, namespace: str, flow_id: str, wanted: Sequence[Subscription]) -> None:
        """See `Subscriptions.settle`."""
        noted = self._noted(namespace, flow_id)
        if not noted:
            return
        rules = {self._rule(namespace, flow_id, each) for each in wanted}
        for rule in sorted(noted - rules):
            self._remove(rule)
        if noted != rules:
            self._note(namespace, flow_id, rules)

    def examine(
        self, namespace: str, flow_id: str, wanted: Sequence[Subscription], buckets: Mapping[str, str]
    ) -> Sequence[Drift]:
        """See `Subscriptions.examine`."""
        noted = self._noted(namespace, flow_id)
        found: list[Drift] = []
        rules: set[Rule] = set()
        for subscription in wanted:
            try:
                rule = self._rule(namespace, flow_id, subscription)
            except SubscriptionRefusedError as refused:
                found.append(Drift(subscription.trigger_id, str(refused), can_repair=False))
                continue
            rules.add(rule)
            problem = self._problem(rule, namespace, flow_id, subscription)
            if problem is None and rule not in noted:
                problem = f"the rule {rule.name} is not noted: nobody would remove it"
            if problem is not None:
                found.append(Drift(subscription.trigger_id, problem))
        for rule in sorted(noted - rules):
            found.append(Drift("", f"the rule {rule.name} of the bus {rule.bus} brings events that nobody wants"))
        for trigger_id, bucket in buckets.items():
            if (why := self._of_bucket(bucket)) is not None:
                found.append(Drift(trigger_id, why, can_repair=False))
        return found

    def flows(self) -> Sequence[tuple[str, str]]:
        """See `Subscriptions.flows`."""
        names = (entry.key.partition("/") for entry in self._kv.list(NOTES))
        return [(namespace, flow_id) for namespace, _, flow_id in names]

    def _problem(self, rule: Rule, namespace: str, flow_id: str, wanted: Subscription) -> str | None:
        """Return what is wrong with a rule that a flow wants."""
        with calling("EventBridge", "DescribeRule"):
            try:
                stands = self._events.describe_rule(Name=rule.name, EventBusName=rule.bus)
            except ClientError as error:
                if error_code(error) != _GONE:
                    raise
                return f"there is no rule {rule.name} on the bus {rule.bus}"
        if stands.get("State") != "ENABLED":
            return f"the rule {rule.name} of the bus {rule.bus} is switched off"
        if json.loads(stands.get("EventPattern") or "null") != wanted.pattern:
            return f"the rule {rule.name} of the bus {rule.bus} has another pattern"
        with calling("EventBridge", "ListTargetsByRule"):
            targets = self._events.list_targets_by_rule(Rule=rule.name, EventBusName=rule.bus)["Targets"]
        template = self._template(namespace, flow_id, wanted)
        called = [
            target
            for target in targets
            if target["Arn"] == self._reach.function
            and target.get("InputTransformer", {}).get("InputTemplate") == template
        ]
        return None if called else f"the rule {rule.name} of the bus {rule.bus} does not call the function"

    def _of_bucket(self, bucket: str) -> str | None:
        """Return what keeps a bucket's files from being heard of."""
        if bucket not in self._reach.buckets:
            return f"nothing is heard of the bucket {bucket}: add it to the stack's property `watchedBuckets`"
        if self._s3 is None:
            return None
        with calling("S3", "GetBucketNotificationConfiguration"):
            try:
                told = self._s3.get_bucket_notification_configuration(Bucket=bucket)
            except ClientError as error:
                if error_code(error) != "NoSuchBucket":
                    raise
                return f"there is no bucket {bucket}"
        if "EventBridgeConfiguration" not in told:
            return f"the bucket {bucket} does not send its events to EventBridge: switch that on among its properties"
        return None

    def rules_of(self, namespace: str, flow_id: str, wanted: Sequence[Subscription]) -> set[Rule]:
        """Return the rules that *wanted* comes to."""
        return {self._rule(namespace, flow_id, each) for each in wanted}

    # -- Rules --------------------------------------------------------------------------------------

    def _rule(self, namespace: str, flow_id: str, wanted: Subscription) -> Rule:
        bus = self._reach.own_bus if wanted.bus == OWN_BUS else wanted.bus
        if bus not in (self._reach.own_bus, *self._reach.buses):
            known = ", ".join((OWN_BUS, *self._reach.buses))
            raise SubscriptionRefusedError(
                f"trigger `{wanted.trigger_id}`: the stack may not listen to the bus `{wanted.bus}`. It may to: "
                f"{known}; its property `eventBuses` adds others"
            )
        pattern = _text(wanted.pattern)
        if len(pattern) > _LONGEST_PATTERN:
            raise SubscriptionRefusedError(
                f"trigger `{wanted.trigger_id}`: its pattern has {len(pattern)} characters; "
                f"EventBridge takes {_LONGEST_PATTERN}"
            )
        flow = _digest(namespace, flow_id)
        return Rule(bus, f"{self._reach.prefix}{flow}-{_digest(wanted.trigger_id, pattern)}")

    def _put(self, rule: Rule, namespace: str, flow_id: str, wanted: Subscription) -> None:
        with calling("EventBridge", "PutRule"):
            try:
                self._events.put_rule(
                    Name=rule.name,
                    EventBusName=rule.bus,
                    EventPattern=_text(wanted.pattern),
                    State="ENABLED",
                    Description=f"Headrace: {namespace}.{flow_id}.{wanted.trigger_id}"[:512],
                )
            except ClientError as error:
                raise_refused(error, rule, wanted)
        with calling("EventBridge", "PutTargets"):
            answer = self._events.put_targets(
                Rule=rule.name,
                EventBusName=rule.bus,
                Targets=[
                    {
                        "Id": _TARGET,
                        "Arn": self._reach.function,
                        "InputTransformer": {"InputTemplate": self._template(namespace, flow_id, wanted)},
                        "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 6 * 3600},
                    }
                ],
            )
        if answer["FailedEntryCount"]:
            why = answer["FailedEntries"][0].get("ErrorMessage", "")
            raise SubscriptionRefusedError(f"trigger `{wanted.trigger_id}`: its events cannot be brought: {why}")

    def _template(self, namespace: str, flow_id: str, wanted: Subscription) -> str:
        """Return what the function is told: the whole event, and for whom; an event does not say by which bus."""
        for_trigger = {"namespace": namespace, "flow": flow_id, "trigger": wanted.trigger_id}
        return f'{{"headrace": {_text(for_trigger)}, "event": <aws.events.event.json>}}'

    def _remove(self, rule: Rule) -> None:
        with calling("EventBridge", "RemoveTargets"):
            try:
                self._events.remove_targets(Rule=rule.name, EventBusName=rule.bus, Ids=[_TARGET])
            except ClientError as error:
                if error_code(error) != _GONE:
                    raise
        with calling("EventBridge", "DeleteRule"):
            try:
                self._events.delete_rule(Name=rule.name, EventBusName=rule.bus)
            except ClientError as error:
                if error_code(error) != _GONE:
                    raise

    # -- Which there are ----------------------------------------------------------------------------

    def _noted(self, namespace: str, flow_id: str) -> set[Rule]:
        entry = self._kv.get(NOTES, f"{namespace}/{flow_id}")
        return {Rule(bus, name) for bus, name in entry.value} if entry is not None else set()

    def _note(self, namespace: str, flow_id: str, rules: set[Rule]) -> None:
        key = f"{namespace}/{flow_id}"
        if rules:
            value = [[rule.bus, rule.name] for rule in sorted(rules)]
            self._kv.put(NOTES, key, "JSON", value, now=self._clock.now())
        else:
            self._kv.delete(NOTES, key)


def raise_refused(error: ClientError, rule: Rule, wanted: Subscription) -> None:
    """Raise what an error of PutRule means for the author of a trigger, or the error itself."""
    match error_code(error):
        case "LimitExceededException":
            raise SubscriptionRefusedError(
                f"trigger `{wanted.trigger_id}`: the bus `{rule.bus}` has as many rules as its quota allows "
                "(300, unless AWS raised it). Ask for more, use another bus, or let one flow wait for several things"
            ) from None
        case "InvalidEventPatternException":
            raise SubscriptionRefusedError(
                f"trigger `{wanted.trigger_id}`: EventBridge does not take its pattern"
            ) from None
        case code if code == _GONE:
            raise SubscriptionRefusedError(f"trigger `{wanted.trigger_id}`: there is no bus `{rule.bus}`") from None
    raise error


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=_DIGITS // 2).hexdigest()
