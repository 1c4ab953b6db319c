"""A stack with Headrace and nothing else."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from headrace_cdk.headrace import Headrace
from headrace_cdk.props import HeadraceProps


class HeadraceStack(Stack):
    """Headrace, and as outputs what somebody needs to use it."""

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps | None = None, **stack: Any) -> None:
        """Take Headrace's own choices as *props*, and those of any stack by name."""
        super().__init__(scope, id_, **{"description": "Headrace: declarative workflows, without a server", **stack})
        self.headrace = Headrace(self, "Headrace", props)
        for name, value, description in (
            ("ApiUrl", self.headrace.api.url, "Where the HTTP API is"),
            ("TableName", self.headrace.state.table.table_name, "All state"),
            ("BucketName", self.headrace.storage.bucket.bucket_name, "Files, and what is too large for the table"),
            ("MailboxUrl", self.headrace.mailbox.mailbox.queue_url, "Messages to executions"),
            ("BusName", self.headrace.triggers.bus.event_bus_name, "Executions' states, and your events"),
            (
                "SigningSecret",
                self.headrace.keys.signing_secret.secret_arn,
                "Keys, and by them the first password",
            ),
            ("SecretsPrefix", self.headrace.secrets_prefix, "Where in Parameter Store secrets are looked for"),
            ("RulePrefix", self.headrace.rule_prefix, "What the names of the rules begin with that flows make"),
        ):
            CfnOutput(self, name, value=value, description=description)
