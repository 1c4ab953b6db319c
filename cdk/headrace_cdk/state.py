"""The table: all state of executions, flows and triggers."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from headrace_cdk.props import HeadraceProps
from headrace_engine.adapters.aws.table import TABLE


class State(Construct):
    """One DynamoDB table, made as `headrace_engine.adapters.aws.table` says; what it holds can be put back 35 days."""

    def __init__(self, scope: Construct, id_: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=_string(TABLE.partition_key),
            sort_key=_string(TABLE.sort_key),
            time_to_live_attribute=TABLE.ttl_attribute,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=(
                dynamodb.TableEncryption.CUSTOMER_MANAGED if props.encryption_key else dynamodb.TableEncryption.DEFAULT
            ),
            encryption_key=props.encryption_key,
            removal_policy=props.removal_policy,
            deletion_protection=props.removal_policy is RemovalPolicy.RETAIN,
        )
        for index in TABLE.indexes:
            self.table.add_global_secondary_index(
                index_name=index.name,
                partition_key=_string(index.partition_key),
                sort_key=_string(index.sort_key),
                projection_type=(
                    dynamodb.ProjectionType.INCLUDE if index.attributes else dynamodb.ProjectionType.KEYS_ONLY
                ),
                non_key_attributes=list(index.attributes) or None,
            )
        self.index_arns = [f"{self.table.table_arn}/index/{index.name}" for index in TABLE.indexes]
        """Each by its name, so that a role need not be given all there ever will be."""


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
