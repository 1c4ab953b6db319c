"""The bucket: internal storage, namespace files, and what is too large for the table or a queue."""

from __future__ import annotations

import math
from datetime import timedelta

from aws_cdk import Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from headrace_cdk.acknowledgments import acknowledge
from headrace_cdk.props import HeadraceProps
from headrace_engine import uploads
from headrace_engine.adapters.aws import content, overflow, storage

FILES, STATE, CONTENT = storage.PREFIX, overflow.PREFIX, content.PREFIX
"""Where in the bucket the adapters put things."""
INBOX = "inbox/"
"""Where in the bucket a new file may start a flow: nothing of ours is ever written there."""

UPLOADS = f"{storage.PREFIX}{uploads.FOLDER}/"
"""Files that came before the execution they are for."""

_UPLOADS_STAY = Duration.days(math.ceil(uploads.KEPT / timedelta(days=1)))
_CONTENT_STAYS = Duration.days(30)
_RECOVERABLE = Duration.days(35)
"""As long as the table can be put back to an earlier instant, whose items must find their objects."""


class Storage(Construct):
    """One S3 bucket: private, encrypted, TLS only, versioned as long as the table is recoverable."""

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            encryption=s3.BucketEncryption.KMS if props.encryption_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=props.encryption_key,
            # Else S3 asks KMS, and KMS is paid, for every object.
            bucket_key_enabled=True if props.encryption_key else None,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(id="content", prefix=CONTENT, expiration=_CONTENT_STAYS),
                s3.LifecycleRule(
                    id="uploads", prefix=UPLOADS, expiration=_UPLOADS_STAY, noncurrent_version_expiration=_UPLOADS_STAY
                ),
                s3.LifecycleRule(
                    id="leftovers",
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                    noncurrent_version_expiration=_RECOVERABLE,
                ),
                s3.LifecycleRule(id="markers", expired_object_delete_marker=True),
            ],
            # Large files go to and fro by presigned addresses, past the API.
            cors=_cors(props),
            removal_policy=props.removal_policy,
        )
        # Not the construct's own switch: it adds a function that sets what the template can say itself.
        bucket: s3.CfnBucket = self.bucket.node.default_child  # type: ignore[assignment]  # it is one
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )
        acknowledge(
            self.bucket,
            {
                "AwsSolutions-S1": "Access logs of a bucket that only the stack's roles reach would cost more than the "
                "bucket; CloudTrail's data events show the same where somebody must know."
            },
        )


def _cors(props: HeadraceProps) -> list[s3.CorsRule]:
    """Return which sites' scripts may ask the bucket: by an address that was made for them, which is all they need."""
    # The stack's own pages, at whatever name people reach them by, put large files of forms here: where nobody signs in
    # those of approval links.
    rules = [s3.CorsRule(allowed_origins=["*"], allowed_methods=[s3.HttpMethods.PUT], allowed_headers=["content-type"])]
    if props.cors_origins:
        rules.append(
            s3.CorsRule(
                allowed_origins=list(props.cors_origins),
                allowed_methods=[s3.HttpMethods.GET, s3.HttpMethods.PUT],
                allowed_headers=["content-type"],
            )
        )
    return rules
