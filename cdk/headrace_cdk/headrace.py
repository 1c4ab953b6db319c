"""Headrace as one construct: the parts, put together."""

from __future__ import annotations

import hashlib

from aws_cdk import Stack, Token
from constructs import Construct

from headrace_cdk.api import Api
from headrace_cdk.containers import Containers
from headrace_cdk.functions import Functions
from headrace_cdk.keys import Keys
from headrace_cdk.mailbox import Mailbox
from headrace_cdk.monitoring import Monitoring
from headrace_cdk.permissions import Parts
from headrace_cdk.props import HeadraceProps, PropsError
from headrace_cdk.state import State
from headrace_cdk.storage import Storage
from headrace_cdk.triggers import Triggers


class Headrace(Construct):
    """Everything that runs flows on AWS, inside any stack.

    Its parts are attributes: let your own resources call `api` (`api.grant_invoke`), put events on `triggers.bus`, or
    files into `storage.bucket`.
    """

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps | None = None) -> None:
        super().__init__(scope, id_)
        props = props if props is not None else HeadraceProps()
        name = props.name or Stack.of(self).stack_name
        if Token.is_unresolved(name):
            raise PropsError("The stack has no name yet; give HeadraceProps a name")
        self.name = name
        self.secrets_prefix = f"/headrace/{name}/secrets"
        """Where in Parameter Store people put secrets, as ``<prefix>/<namespace>/<KEY>``."""
        self.rule_prefix = f"headrace-{hashlib.sha256(name.encode()).hexdigest()[:12]}-"
        """What the names of the rules begin with that flows make, and the stack does not know."""
        self.state = State(self, "State", props)
        self.storage = Storage(self, "Storage", props)
        self.mailbox = Mailbox(self, "Mailbox", props)
        self.keys = Keys(self, "Keys", props)
        self.triggers = Triggers(self, "Triggers", name, self.mailbox.delays)
        self.containers = Containers(self, "Containers", name, props) if props.containers else None
        self.functions = Functions(
            self,
            "Functions",
            props,
            Parts(
                state=self.state,
                storage=self.storage,
                mailbox=self.mailbox,
                keys=self.keys,
                bus=self.triggers.bus,
                schedule_group=self.triggers.schedule_group,
                schedule_role=self.triggers.schedule_role,
                secrets_prefix=self.secrets_prefix,
                name=name,
                rule_prefix=self.rule_prefix,
                event_buses=props.event_buses,
                watched_buckets=props.watched_buckets,
                polled_queues=props.polled_queues,
                vault=props.vault,
                containers=self.containers,
                task_roles=props.task_roles,
            ),
        )
        self.api = Api(self, "Api", self.functions.api, name, props)
        self.functions.connect(self.api.url)
        self.triggers.connect(self.functions.triggers, self.storage, props)
        if self.containers is not None:
            self.containers.connect(self.functions.triggers)
        self.monitoring = Monitoring(
            self,
            "Monitoring",
            functions=self.functions,
            mailbox=self.mailbox,
            state=self.state,
            name=name,
            props=props,
        )
