"""The template: what there is, and how it is set."""

from __future__ import annotations

import ast
import json
import os
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, aws_lambda
from aws_cdk.assertions import Template

from example_flows import CHECKOUT
from headrace_cdk import HeadraceProps
from headrace_cdk.api import Api
from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.adapters.aws.table import TABLE
from headrace_functions.environment import Environment
from infrastructure.assembly import Assembly, short, text

SNAPSHOT = Path(__file__).parent / "template.snapshot.json"
UPDATE = "HEADRACE_UPDATE_SNAPSHOT"

TYPES = {
    "ApiGatewayV2::Api": 1,
    "ApiGatewayV2::Integration": 1,
    "ApiGatewayV2::Route": 22,
    "ApiGatewayV2::Stage": 1,
    "Batch::ComputeEnvironment": 2,
    "Batch::JobQueue": 2,
    "CloudWatch::Alarm": 5,
    "CloudWatch::Dashboard": 1,
    "DynamoDB::Table": 1,
    "EC2::InternetGateway": 1,
    "EC2::Route": 2,
    "EC2::RouteTable": 2,
    "EC2::SecurityGroup": 1,
    "EC2::Subnet": 2,
    "EC2::SubnetRouteTableAssociation": 2,
    "EC2::VPC": 1,
    "EC2::VPCGatewayAttachment": 1,
    "ECS::Cluster": 1,
    "ECS::ClusterCapacityProviderAssociations": 1,
    "Events::EventBus": 1,
    "Events::Rule": 5,
    "IAM::Policy": 10,
    "IAM::Role": 10,
    "KMS::Key": 1,
    "Lambda::EventInvokeConfig": 6,
    "Lambda::EventSourceMapping": 4,
    "Lambda::Function": 8,
    "Lambda::LayerVersion": 1,
    "Lambda::Permission": 7,
    "Logs::LogGroup": 10,
    "S3::Bucket": 1,
    "S3::BucketPolicy": 1,
    "SQS::Queue": 4,
    "SQS::QueuePolicy": 4,
    "Scheduler::ScheduleGroup": 1,
    "SecretsManager::Secret": 1,
}
STATEFUL = ("StateTable", "StorageBucket", "KeysSealing", "KeysSigning")
COMMON = {
    "HEADRACE_STACK",
    "HEADRACE_TABLE",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_LOG_LEVEL",
    "POWERTOOLS_TRACE_DISABLED",
}
PLATFORM = COMMON | {
    "HEADRACE_BUCKET",
    "HEADRACE_MAILBOX_URL",
    "HEADRACE_DELAYS_URL",
    "HEADRACE_SECRETS_PREFIX",
    "HEADRACE_SIGNING_SECRET",
    "HEADRACE_KEY",
}
SCRIPTS = {
    "HEADRACE_SCRIPT_FUNCTION",
    "HEADRACE_SCRIPT_FUNCTION_MEDIUM",
    "HEADRACE_SCRIPT_FUNCTION_LARGE",
    "HEADRACE_SCRIPT_MEMORY",
}
ADVANCING = PLATFORM | {
    "HEADRACE_DELAYS_ARN",
    "HEADRACE_WORKER_FUNCTION",
    "HEADRACE_PURGER_FUNCTION",
    *SCRIPTS,
    "HEADRACE_BUS",
    "HEADRACE_CONTAINERS",
    "HEADRACE_SCHEDULE_GROUP",
    "HEADRACE_SCHEDULE_ROLE",
    "HEADRACE_API_URL",
}
VARIABLES = {
    "FunctionsExecutor": ADVANCING,
    "FunctionsTriggers": ADVANCING,
    "FunctionsWorker": PLATFORM,
    "FunctionsPurger": PLATFORM,
    "FunctionsApi": PLATFORM
    | SCRIPTS
    | {
        "HEADRACE_API_URL",
        "HEADRACE_BUS",
        "HEADRACE_CONTAINERS",
        "HEADRACE_EVENT_BUSES",
        "HEADRACE_FIRST_ADMIN",
        "HEADRACE_PURGER_FUNCTION",
        "HEADRACE_RULE_PREFIX",
        "HEADRACE_SCHEDULE_GROUP",
        "HEADRACE_TRIGGERS_FUNCTION",
        "HEADRACE_WATCHED_BUCKETS",
    },
    "FunctionsScript": COMMON | {"HEADRACE_MAILBOX_URL", "HEADRACE_API_URL"},
    "FunctionsScriptMedium": COMMON | {"HEADRACE_MAILBOX_URL", "HEADRACE_API_URL"},
    "FunctionsScriptLarge": COMMON | {"HEADRACE_MAILBOX_URL", "HEADRACE_API_URL"},
}


def test_there_is_this_and_nothing_else(default: Assembly) -> None:
    counted = Counter(resource["Type"].removeprefix("AWS::") for resource in default.resources.values())
    assert counted == TYPES


def test_the_template_is_the_one_that_was_looked_at(default: Assembly) -> None:
    now = json.dumps(_normal(default.template), indent=1, sort_keys=True) + "\n"
    if os.environ.get(UPDATE):
        SNAPSHOT.write_text(now, encoding="utf-8")
    assert SNAPSHOT.exists(), f"run once with {UPDATE}=1"
    assert now == SNAPSHOT.read_text(encoding="utf-8"), (
        f"the template changed; look at the difference, then run this test with {UPDATE}=1"
    )


def _normal(template: Any) -> Any:
    """Return the template without what says nothing of it: metadata, and the bootstrap version."""
    resources = {
        id_: {name: value for name, value in resource.items() if name != "Metadata"}
        for id_, resource in template["Resources"].items()
    }
    return {"Outputs": template["Outputs"], "Resources": resources}


def test_cdk_nag_finds_nothing_that_is_not_explained(default: Assembly, foreign: Assembly) -> None:
    assert not default.refusal
    assert not foreign.refusal


# -- What holds state ---------------------------------------------------------------------------------


def test_the_table_is_the_one_the_adapters_are_tested_with(default: Assembly) -> None:
    (table,) = default.of_type("DynamoDB::Table").values()
    wanted = TABLE.creation("any")
    assert table["BillingMode"] == wanted["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == wanted["KeySchema"]
    assert table["GlobalSecondaryIndexes"] == wanted["GlobalSecondaryIndexes"]
    assert sorted(table["AttributeDefinitions"], key=str) == sorted(wanted["AttributeDefinitions"], key=str)
    assert table["TimeToLiveSpecification"] == {"AttributeName": TABLE.ttl_attribute, "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert "StreamSpecification" not in table


def test_state_outlives_the_stack_unless_asked_otherwise(default: Assembly, foreign: Assembly) -> None:
    for name in STATEFUL:
        assert default.resources[name]["DeletionPolicy"] == "Retain"
        assert default.resources[name]["UpdateReplacePolicy"] == "Retain"
    assert foreign.resources["StateTable"]["DeletionPolicy"] == "Delete"
    assert foreign.resources["StorageBucket"]["DeletionPolicy"] == "Delete"
    assert foreign.of_type("DynamoDB::Table")["StateTable"]["DeletionProtectionEnabled"] is False


def test_the_bucket_is_private_versioned_and_tells_eventbridge(default: Assembly) -> None:
    (bucket,) = default.of_type("S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert bucket["LifecycleConfiguration"]["Rules"] == [
        {"Id": "content", "Prefix": "content/", "ExpirationInDays": 30, "Status": "Enabled"},
        {
            "Id": "uploads",
            "Prefix": "files/_uploads/",
            "ExpirationInDays": 1,
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "Status": "Enabled",
        },
        {
            "Id": "leftovers",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 35},
            "Status": "Enabled",
        },
        {"Id": "markers", "ExpiredObjectDeleteMarker": True, "Status": "Enabled"},
    ]
    (policy,) = default.of_type("S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_pages_put_large_files_into_the_bucket_and_named_sites_read_them_too(
    default: Assembly, foreign: Assembly
) -> None:
    rules = [
        {rule["AllowedOrigins"][0]: rule["AllowedMethods"] for rule in bucket["CorsConfiguration"]["CorsRules"]}
        for assembly in (default, foreign)
        for bucket in assembly.of_type("S3::Bucket").values()
    ]
    assert rules == [{"*": ["PUT"]}, {"*": ["PUT"], "https://shop.example.com": ["GET", "PUT"]}]


def test_the_signing_secret_is_made_in_the_form_that_is_read(default: Assembly) -> None:
    assert Keyring.from_text(_generated(default, "KeysSigning")).newest == 1


def _generated(assembly: Assembly, name: str) -> str:
    """Return what a secret holds, when whatever is random in it is an x."""
    generated = assembly.of_type("SecretsManager::Secret")[name]["GenerateSecretString"]
    value = json.loads(generated["SecretStringTemplate"])
    value[generated["GenerateStringKey"]] = "x" * generated["PasswordLength"]
    return json.dumps(value)


def test_the_sealing_key_is_rotated_as_seldom_as_may_be(default: Assembly) -> None:
    (key,) = default.of_type("KMS::Key").values()
    assert (key["EnableKeyRotation"], key["RotationPeriodInDays"]) == (True, 2560)


def test_a_key_of_the_customer_encrypts_and_seals_everything(foreign: Assembly) -> None:
    assert not [name for name in foreign.of_type("KMS::Key") if name != "Key"]
    (table,) = foreign.of_type("DynamoDB::Table").values()
    assert text(table["SSESpecification"]["KMSMasterKeyId"]) == "Key.Arn"
    (bucket,) = foreign.of_type("S3::Bucket").values()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert text(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]) == "Key.Arn"
    assert rule["BucketKeyEnabled"] is True
    for queue in foreign.of_type("SQS::Queue").values():
        assert text(queue["KmsMasterKeyId"]) == "Key.Arn"
    (secret,) = foreign.of_type("SecretsManager::Secret").values()
    assert text(secret["KmsKeyId"]) == "Key.Arn"
    variables = foreign.of_type("Lambda::Function")["FunctionsExecutor"]["Environment"]["Variables"]
    assert text(variables["HEADRACE_KEY"]) == "Key.Arn"


# -- Queues -------------------------------------------------------------------------------------------


def test_each_queue_has_a_dead_letter_queue_and_time_for_six_tries(default: Assembly) -> None:
    queues, functions = default.of_type("SQS::Queue"), default.of_type("Lambda::Function")
    assert {name: queue.get("FifoQueue", False) for name, queue in queues.items()} == {
        "Mailbox": True,
        "MailboxMailboxDead": True,
        "MailboxDelays": False,
        "MailboxDelaysDead": False,
    }
    for name, dead in (("Mailbox", "MailboxMailboxDead"), ("MailboxDelays", "MailboxDelaysDead")):
        redrive = queues[name]["RedrivePolicy"]
        assert (text(redrive["deadLetterTargetArn"]), redrive["maxReceiveCount"]) == (f"{dead}.Arn", 5)
    for mapping in default.of_type("Lambda::EventSourceMapping").values():
        queue = text(mapping["EventSourceArn"]).removesuffix(".Arn")
        timeout = functions[text(mapping["FunctionName"])]["Timeout"]
        assert queues[queue]["VisibilityTimeout"] >= 6 * timeout
        assert queues[queue]["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queues[queue]["SqsManagedSseEnabled"] is True


def test_every_queue_refuses_what_is_not_sent_over_tls(default: Assembly) -> None:
    for policy in default.of_type("SQS::QueuePolicy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_who_takes_what_out_of_which_queue(default: Assembly) -> None:
    mappings = default.of_type("Lambda::EventSourceMapping").values()
    assert {(text(each["EventSourceArn"]), text(each["FunctionName"])) for each in mappings} == {
        ("Mailbox.Arn", "FunctionsExecutor"),
        ("MailboxDelays.Arn", "FunctionsTriggers"),
        ("MailboxMailboxDead.Arn", "FunctionsTriggers"),
        ("MailboxDelaysDead.Arn", "FunctionsTriggers"),
    }
    for mapping in mappings:
        assert mapping["BatchSize"] == 10
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        # An idle queue with a maximum costs two and a half times as much.
        wanted = {"MaximumConcurrency": 50} if text(mapping["FunctionName"]) == "FunctionsExecutor" else None
        assert mapping.get("ScalingConfig") == wanted


# -- Functions ----------------------------------------------------------------------------------------


def test_the_functions_run_handlers_that_there_are(default: Assembly) -> None:
    functions = default.of_type("Lambda::Function")
    assert set(functions) == set(VARIABLES)
    for name, function in functions.items():
        package, module, handler = function["Handler"].split(".")
        title = name.removeprefix("Functions").removesuffix("Medium").removesuffix("Large")
        assert module == {"Purger": "worker"}.get(title, title.lower())
        tree = ast.parse((CHECKOUT / "functions" / package / f"{module}.py").read_text(encoding="utf-8"))
        assert handler in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])


@pytest.mark.parametrize("name", VARIABLES)
def test_a_function_is_told_what_it_needs_and_no_more(default: Assembly, name: str) -> None:
    variables = default.of_type("Lambda::Function")[name]["Environment"]["Variables"]
    assert set(variables) == VARIABLES[name]
    known = {f"HEADRACE_{field.name.upper()}" for field in fields(Environment)}
    assert {each for each in variables if each.startswith("HEADRACE_")} <= known


def test_the_variables_of_a_function_fit(default: Assembly) -> None:
    """AWS takes 4 KB together; a name or ARN that AWS makes up counts as long as one is."""
    for name, function in default.of_type("Lambda::Function").items():
        variables = function["Environment"]["Variables"].items()
        assert sum(len(variable) + _length(value) for variable, value in variables) < 3300, name


def _length(value: Any) -> int:
    match value:
        case {"Fn::Join": [str(), list(parts)]}:
            return sum(map(_length, parts))
        case {"Ref": str(name)}:
            return 20 if name.startswith("AWS::") else 80
        case {"Fn::GetAtt": _}:
            return 120
        case _:
            return len(str(value))


def test_lambda_lets_the_functions_call_each_other_in_a_circle(default: Assembly) -> None:
    loops = {name: function.get("RecursiveLoop") for name, function in default.of_type("Lambda::Function").items()}
    assert loops == {
        "FunctionsExecutor": "Allow",
        "FunctionsTriggers": "Allow",
        "FunctionsWorker": "Allow",
        "FunctionsPurger": "Allow",
        "FunctionsScript": "Allow",
        "FunctionsScriptMedium": "Allow",
        "FunctionsScriptLarge": "Allow",
        "FunctionsApi": None,
    }


def test_sizes_and_times(default: Assembly) -> None:
    functions = default.of_type("Lambda::Function")
    found = {
        name.removeprefix("Functions"): (each["MemorySize"], each["Timeout"], each.get("ReservedConcurrentExecutions"))
        for name, each in functions.items()
    }
    assert found == {
        "Executor": (1024, 60, None),
        "Triggers": (1024, 60, None),
        "Worker": (1769, 900, 100),
        "Purger": (1769, 900, None),
        "Script": (1769, 900, 100),
        "ScriptMedium": (3008, 900, 30),
        "ScriptLarge": (10240, 900, 10),
        "Api": (1024, 29, 20),
    }


def test_only_people_s_code_has_the_layer_with_programs(default: Assembly, foreign: Assembly) -> None:
    for assembly, processor in ((default, "arm64"), (foreign, "x86_64")):
        (layer,) = assembly.of_type("Lambda::LayerVersion").values()
        assert layer["CompatibleArchitectures"] == [processor]
        for name, function in assembly.of_type("Lambda::Function").items():
            given = [text(each) for each in function.get("Layers", [])]
            assert given == (["FunctionsPrograms"] if name.startswith("FunctionsScript") else []), name


def test_a_size_that_nobody_wants_is_no_function(foreign: Assembly) -> None:
    functions = foreign.of_type("Lambda::Function")
    assert "FunctionsScriptLarge" not in functions
    variables = functions["FunctionsExecutor"]["Environment"]["Variables"]
    assert "HEADRACE_SCRIPT_FUNCTION_LARGE" not in variables
    assert json.loads(variables["HEADRACE_SCRIPT_MEMORY"]) == {"SMALL": 1769, "MEDIUM": 3008}


def test_what_holds_in_namespaces_is_known_to_who_places_and_to_who_takes_on_roles(foreign: Assembly) -> None:
    functions = foreign.of_type("Lambda::Function")
    for name in ("FunctionsExecutor", "FunctionsTriggers", "FunctionsApi", "FunctionsWorker"):
        variables = functions[name]["Environment"]["Variables"]
        assert json.loads(variables["HEADRACE_NAMESPACES"]) == {
            "shop": {"taskRole": "arn:aws:iam::123456789012:role/flows-shop"}
        }
        assert variables["HEADRACE_TASK_ROLES"] == "arn:aws:iam::123456789012:role/flows-*"


def test_an_attempt_is_invoked_once_and_its_failure_is_recorded(default: Assembly) -> None:
    found = {
        text(each["FunctionName"]): (
            each["MaximumRetryAttempts"],
            text(each["DestinationConfig"]["OnFailure"]["Destination"]),
        )
        for each in default.of_type("Lambda::EventInvokeConfig").values()
    }
    assert found == {
        "FunctionsWorker": (0, "MailboxDelays.Arn"),
        "FunctionsPurger": (0, "MailboxDelays.Arn"),
        "FunctionsScript": (0, "MailboxDelays.Arn"),
        "FunctionsScriptMedium": (0, "MailboxDelays.Arn"),
        "FunctionsScriptLarge": (0, "MailboxDelays.Arn"),
        "FunctionsTriggers": (2, "MailboxDelaysDead.Arn"),
    }


def test_a_function_waits_until_its_role_may_do_its_work(default: Assembly) -> None:
    for name in default.of_type("Lambda::Function"):
        waits = {short(each) for each in default.resources[name]["DependsOn"]}
        assert {f"{name}Role", f"{name}RoleDefaultPolicy"} <= waits


def test_logs_are_kept_for_a_month(default: Assembly) -> None:
    groups = default.of_type("Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {30}
    used = {text(each["LoggingConfig"]["LogGroup"]) for each in default.of_type("Lambda::Function").values()}
    assert used | {"ApiAccessLogs", "ContainersLogs"} == set(groups)


# -- The API ------------------------------------------------------------------------------------------


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
WEBHOOKS = {
    f"{method} /api/v1{tenant}/executions/webhook/{{proxy+}}": "NONE"
    for method in ("GET", "POST", "PUT")
    for tenant in ("", "/main")
}


def _routes(assembly: Assembly) -> dict[str, str]:
    return {each["RouteKey"]: each["AuthorizationType"] for each in assembly.of_type("ApiGatewayV2::Route").values()}


PAGES = (
    "GET /",
    "GET /flows",
    "GET /flows/{proxy+}",
    "GET /login",
    "POST /login",
    "GET /logout",
    "POST /logout",
    "GET /forms/{proxy+}",
    "POST /forms/{proxy+}",
    "GET /executions",
    "GET /executions/{proxy+}",
    "POST /executions/{proxy+}",
)
OPEN_PAGES = ("GET /approve/{proxy+}", "POST /approve/{proxy+}", "GET /assets/{proxy+}")


def test_the_function_authenticates_on_every_route(default: Assembly) -> None:
    assert _routes(default) == {
        **{f"{method} /api/{{proxy+}}": "NONE" for method in METHODS},
        **dict.fromkeys((*PAGES, *OPEN_PAGES), "NONE"),
        "POST /api/v1/attempts/{proxy+}": "NONE",
    }
    (integration,) = default.of_type("ApiGatewayV2::Integration").values()
    assert integration["PayloadFormatVersion"] == "2.0"


def test_where_aws_authenticates_only_what_proves_itself_is_let_through_unasked(foreign: Assembly) -> None:
    assert _routes(foreign) == {
        **{f"{method} /api/{{proxy+}}": "AWS_IAM" for method in METHODS},
        **WEBHOOKS,
        **dict.fromkeys(OPEN_PAGES, "NONE"),
        "POST /api/v1/attempts/{proxy+}": "NONE",
    }
    variables = foreign.of_type("Lambda::Function")["FunctionsApi"]["Environment"]["Variables"]
    assert variables["HEADRACE_ORIGINS"] == "https://shop.example.com"
    assert "HEADRACE_FIRST_ADMIN" not in variables


def test_tokens_of_an_issuer_are_verified_by_api_gateway() -> None:
    """A construct alone: a whole stack takes long to synthesise."""
    props = HeadraceProps(
        authorization="jwt", jwt_issuer="https://issuer.example.com", jwt_audience=("app",), jwt_grants=("ops=admin",)
    )
    stack = Stack(App(), "Jwt")
    code = aws_lambda.Code.from_inline("never run")
    function = aws_lambda.Function(stack, "F", runtime=aws_lambda.Runtime.PYTHON_3_13, handler="x.y", code=code)
    Api(stack, "Api", function, "jwt", props)
    resources = [
        each for each in Template.from_stack(stack).to_json()["Resources"].values() if "ApiGatewayV2" in each["Type"]
    ]
    routes = [each["Properties"] for each in resources if each["Type"].endswith("::Route")]
    assert {each["RouteKey"]: each["AuthorizationType"] for each in routes} == {
        **{f"{method} /api/{{proxy+}}": "JWT" for method in METHODS},
        **WEBHOOKS,
        **dict.fromkeys(OPEN_PAGES, "NONE"),
        "POST /api/v1/attempts/{proxy+}": "NONE",
    }
    (authorizer,) = [each["Properties"] for each in resources if each["Type"].endswith("::Authorizer")]
    assert authorizer["JwtConfiguration"] == {"Audience": ["app"], "Issuer": "https://issuer.example.com"}
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]


def test_the_api_is_throttled_and_its_log_holds_no_content(default: Assembly, foreign: Assembly) -> None:
    (stage,) = default.of_type("ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 50}
    assert text(stage["AccessLogSettings"]["DestinationArn"]) == "ApiAccessLogs.Arn"
    logged = json.loads(stage["AccessLogSettings"]["Format"]).values()
    assert not [each for each in logged if "header" in each.lower() or "query" in each.lower()]
    (stage,) = foreign.of_type("ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 7


def test_web_pages_may_call_it_from_the_origins_that_were_named(default: Assembly, foreign: Assembly) -> None:
    (api,) = default.of_type("ApiGatewayV2::Api").values()
    assert "CorsConfiguration" not in api
    (api,) = foreign.of_type("ApiGatewayV2::Api").values()
    cors = api["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://shop.example.com"]
    assert cors["AllowMethods"] == ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    assert "authorization" in cors["AllowHeaders"]
    (bucket,) = foreign.of_type("S3::Bucket").values()
    *_, rule = bucket["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedOrigins"] == ["https://shop.example.com"]


# -- What calls it from outside, and who looks ---------------------------------------------------------


def test_the_rules(default: Assembly, foreign: Assembly) -> None:
    rules = default.of_type("Events::Rule")
    assert rules["TriggersSweep"]["ScheduleExpression"] == "rate(10 minutes)"
    assert rules["TriggersStateChanges"]["EventPattern"] == {
        "source": ["headrace"],
        "detail-type": ["Execution State Change"],
        "detail": {"heard": [True]},
    }
    assert text(rules["TriggersStateChanges"]["EventBusName"]) == "TriggersBus"
    files = rules["TriggersFiles"]["EventPattern"]
    assert (files["source"], files["detail-type"]) == (["aws.s3"], ["Object Created"])
    assert files["detail"]["object"] == {"key": [{"prefix": "inbox/"}]}, "our own files start nothing"
    watched = foreign.of_type("Events::Rule")["TriggersWatchedFiles"]["EventPattern"]
    assert watched["detail"] == {"bucket": {"name": ["uploads"]}}
    for rule in [*rules.values(), *foreign.of_type("Events::Rule").values()]:
        (target,) = rule["Targets"]
        assert text(target["Arn"]) == "FunctionsTriggers.Arn"


def test_the_alarms(default: Assembly, foreign: Assembly) -> None:
    alarms = default.of_type("CloudWatch::Alarm")
    found = {
        name.removeprefix("Monitoring"): (each["MetricName"], text(each["Dimensions"][0]["Value"]), each["Threshold"])
        for name, each in alarms.items()
    }
    assert found == {
        "MailboxDeadLetters": ("NumberOfMessagesReceived", "MailboxMailboxDead.QueueName", 1),
        "DeadLetters": ("NumberOfMessagesReceived", "MailboxDelaysDead.QueueName", 1),
        "MailboxAge": ("ApproximateAgeOfOldestMessage", "Mailbox.QueueName", 900),
        "ExecutorErrors": ("Errors", "FunctionsExecutor", 1),
        "TriggersErrors": ("Errors", "FunctionsTriggers", 1),
    }
    for alarm in alarms.values():
        assert alarm["TreatMissingData"] == "notBreaching"
        assert "AlarmActions" not in alarm
    for alarm in foreign.of_type("CloudWatch::Alarm").values():
        assert [text(action) for action in alarm["AlarmActions"]] == ["MonitoringTopic"]


def test_the_outputs(default: Assembly) -> None:
    assert {name: text(output["Value"]) for name, output in default.template["Outputs"].items()} == {
        "ApiUrl": "ApiHttpApi.ApiEndpoint",
        "TableName": "StateTable",
        "BucketName": "StorageBucket",
        "MailboxUrl": "Mailbox",
        "BusName": "TriggersBus",
        "SecretsPrefix": "/headrace/headrace/secrets",
        "RulePrefix": "headrace-a09d5e23da52-",
        "SigningSecret": "KeysSigning",
    }


def test_what_somebody_chose_is_what_is_there(foreign: Assembly) -> None:
    functions = foreign.of_type("Lambda::Function")
    for function in functions.values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["x86_64"])
        assert "ReservedConcurrentExecutions" not in function
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert function["Environment"]["Variables"]["HEADRACE_STACK"] == "orders"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    assert functions["FunctionsWorker"]["MemorySize"] == 3008
    assert {group["RetentionInDays"] for group in foreign.of_type("Logs::LogGroup").values()} == {7}
    mapping = foreign.of_type("Lambda::EventSourceMapping")["FunctionsMailboxToExecutor"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}
    assert not foreign.of_type("CloudWatch::Dashboard")
