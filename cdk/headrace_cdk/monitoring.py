"""Alarms for what should never happen, and a dashboard of what does."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from headrace_cdk.functions import METRICS_NAMESPACE, Functions
from headrace_cdk.mailbox import Mailbox
from headrace_cdk.props import HeadraceProps
from headrace_cdk.state import State
from headrace_functions.observability import DEAD, FORGED, LOST

_PERIOD = Duration.minutes(5)
_WAITS = Duration.minutes(15)
"""For how long a message may wait before somebody should look: longer than the second try of a message whose executor
died."""


class Monitoring(Construct):
    """Five alarms, a topic for them if somebody is to be told, and a dashboard if it is wanted."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        functions: Functions,
        mailbox: Mailbox,
        state: State,
        name: str,
        props: HeadraceProps,
    ) -> None:
        super().__init__(scope, id_)
        self._topic = self._make_topic(name, props.alarm_email) if props.alarm_email else None
        self.alarms = [
            self._alarm(
                "MailboxDeadLetters",
                _taken_out(mailbox.mailbox_dead),
                "A message to an execution could not be handled: the execution ends FAILED, or waits in this queue.",
            ),
            self._alarm(
                "DeadLetters",
                _taken_out(mailbox.delays_dead),
                "A timer or an event could not be handled; the log of triggers says why.",
            ),
            self._alarm(
                "MailboxAge",
                mailbox.mailbox.metric_approximate_age_of_oldest_message(period=_PERIOD, statistic="Maximum"),
                "Executions do not go on: the oldest message waits for a quarter of an hour.",
                threshold=_WAITS.to_seconds(),
            ),
            self._alarm(
                "ExecutorErrors",
                functions.executor.metric_errors(period=_PERIOD),
                "The executor crashed, or ran out of time or memory; its messages come again.",
            ),
            self._alarm(
                "TriggersErrors",
                functions.triggers.metric_errors(period=_PERIOD),
                "Triggers crashed, or ran out of time or memory; what it was called for comes again.",
            ),
        ]
        if props.dashboard:
            self._dashboard(functions, mailbox, state)

    def _make_topic(self, name: str, email: str) -> sns.Topic:
        topic = sns.Topic(self, "Topic", display_name=f"Headrace {name}", enforce_ssl=True)
        topic.add_subscription(subscriptions.EmailSubscription(email))
        return topic

    def _alarm(self, id_: str, metric: cloudwatch.Metric, description: str, threshold: float = 1) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            id_,
            metric=metric,
            alarm_description=description,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # Nothing happens at rest, and that is well.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))
        return alarm

    def _dashboard(self, functions: Functions, mailbox: Mailbox, state: State) -> None:
        everyone = functions.all
        queues = [mailbox.mailbox, mailbox.delays, mailbox.mailbox_dead, mailbox.delays_dead]
        board = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(3))
        board.add_widgets(cloudwatch.AlarmStatusWidget(alarms=self.alarms, title="Alarms", width=24, height=3))
        board.add_widgets(
            _graph("Invocations", [each.metric_invocations(label=each.node.id) for each in everyone]),
            _graph("Errors", [each.metric_errors(label=each.node.id) for each in everyone]),
            _graph("Throttled", [each.metric_throttles(label=each.node.id) for each in everyone]),
        )
        board.add_widgets(
            _graph("Duration, p95", [each.metric_duration(label=each.node.id, statistic="p95") for each in everyone]),
            _graph(
                "Messages waiting",
                [each.metric_approximate_number_of_messages_visible(label=each.node.id) for each in queues],
            ),
            _graph(
                "Age of the oldest message",
                [
                    each.metric_approximate_age_of_oldest_message(label=each.node.id)
                    for each in (mailbox.mailbox, mailbox.delays)
                ],
            ),
        )
        board.add_widgets(
            _graph("Refused, lost, dead", [_counted(*each) for each in _COUNTED]),
            _graph(
                "Table, capacity units",
                [
                    state.table.metric_consumed_write_capacity_units(label="written"),
                    state.table.metric_consumed_read_capacity_units(label="read"),
                ],
            ),
            cloudwatch.LogQueryWidget(
                title="Latest errors",
                log_group_names=[each.log_group.log_group_name for each in everyone],
                query_lines=[
                    "fields @timestamp, service, message, execution",
                    'filter level = "ERROR"',
                    "sort @timestamp desc",
                    "limit 20",
                ],
                region=Stack.of(self).region,
                width=8,
            ),
        )


_COUNTED = ((FORGED, "executor"), (FORGED, "triggers"), (LOST, "triggers"), (DEAD, "triggers"))


def _counted(what: str, function: str) -> cloudwatch.Metric:
    """Return how often a function counted something."""
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=what,
        dimensions_map={"service": function},
        period=_PERIOD,
        statistic="Sum",
        label=f"{what}, {function}",
    )


def _taken_out(dead: sqs.Queue) -> cloudwatch.Metric:
    """Return how many dead letters were handled: what is visible in the queue, its consumer leaves at no look."""
    return dead.metric_number_of_messages_received(period=_PERIOD, statistic="Sum")


def _graph(title: str, metrics: list[cloudwatch.Metric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=metrics, width=8)
