"""What signs messages, who comes in first, and what seals secrets."""

from __future__ import annotations

import json

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from headrace_cdk.acknowledgments import acknowledge
from headrace_cdk.props import HeadraceProps

_ROTATION = Duration.days(2560)
"""The longest KMS takes: each of the first two rotations adds a dollar a month. Every process seals with a data key of
its own anyway."""


class Keys(Construct):
    """A secret with the platform's signing keys, and a KMS key to seal with unless there is one to use."""

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self.signing_secret = secretsmanager.Secret(
            self,
            "Signing",
            description="Headrace: keys that sign messages to executions, by number",
            # The form that headrace_engine.adapters.aws.signing.Keyring reads.
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({}),
                generate_string_key="1",
                password_length=64,
                exclude_punctuation=True,
            ),
            encryption_key=props.encryption_key,
            removal_policy=props.removal_policy,
        )
        acknowledge(
            self.signing_secret,
            {
                "AwsSolutions-SMG4": "A key is replaced by adding one under the next number: the old one must be "
                "accepted as long as a queue keeps messages, so a rotation that replaces the value would lose them."
            },
        )
        self.first_admin = props.first_admin and props.authorization == "headrace"
        """Whether the first admin is let in, whose password follows from the signing keys."""
        self.customer_key = props.encryption_key
        self.sealing: kms.IKey = props.encryption_key or kms.Key(
            self,
            "Sealing",
            description="Headrace: seals secrets in inputs, outputs and jobs",
            enable_key_rotation=True,
            rotation_period=_ROTATION,
            removal_policy=props.removal_policy,
        )
