"""What every role of the stack may do, in full."""

from __future__ import annotations

import re

import pytest

from infrastructure.assembly import Assembly

READ = "dynamodb:BatchGetItem, dynamodb:GetItem, dynamodb:Query"
CHANGE = f"{READ}, dynamodb:BatchWriteItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem"
CLAIM = "dynamodb:GetItem, dynamodb:PutItem, dynamodb:Query, dynamodb:UpdateItem"
OBJECTS = "s3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:PutObject"
POLL = "sqs:DeleteMessage, sqs:GetQueueAttributes, sqs:ReceiveMessage"
INDEXES = "StateTable.Arn/index/lists StateTable.Arn/index/due StateTable.Arn/index/recent"


def kinds(letters: str) -> str:
    """Return the condition that the keys of the table begin with one of the letters."""
    return "if dynamodb:LeadingKeys ForAllValues:StringLike " + " ".join(f"{letter}#*" for letter in letters)


def objects(*prefixes: str) -> str:
    """Return the objects below the prefixes."""
    return " ".join(f"StorageBucket.Arn/{prefix}/*" for prefix in prefixes)


def state(letters: str) -> list[str]:
    """Return the prefixes of the large values of kinds."""
    return [f"state/{letter}" for letter in letters]


RULES = "arn:AWS::Partition:events:AWS::Region:AWS::AccountId:rule/TriggersBus/headrace-a09d5e23da52-*"
"""Those that bring events to flows; the digits are those of the deployment's name."""
SECRETS = {
    "Allow ssm:GetParameters on arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameter/headrace/headrace/secrets/*",
    "Allow secretsmanager:GetSecretValue on KeysSigning",
    "Allow kms:Decrypt, kms:GenerateDataKey on KeysSealing.Arn if kms:EncryptionContext:headrace:stack StringEquals headrace",
}
LISTING = {
    f"Allow dynamodb:Query on {INDEXES} {kinds('EFT')}",
    "Allow s3:ListBucket on StorageBucket.Arn",
}
TASK_DEFINITIONS = "arn:AWS::Partition:ecs:AWS::Region:AWS::AccountId:task-definition/headrace-*"
TASKS = "arn:AWS::Partition:ecs:AWS::Region:AWS::AccountId:task/ContainersCluster/*"
JOB_DEFINITIONS = "arn:AWS::Partition:batch:AWS::Region:AWS::AccountId:job-definition/headrace-*"
JOBS = "arn:AWS::Partition:batch:AWS::Region:AWS::AccountId:job/*"
CONTAINERS = {
    f"Allow ecs:RunTask on {TASK_DEFINITIONS} if ecs:cluster ArnEquals ContainersCluster.Arn",
    "Allow ecs:ListTasks on * if ecs:cluster ArnEquals ContainersCluster.Arn",
    f"Allow ecs:DescribeTasks, ecs:StopTask on {TASKS}",
    f"Allow ecs:TagResource on {TASK_DEFINITIONS} {TASKS}"
    " if ecs:CreateAction StringEquals RegisterTaskDefinition RunTask",
    "Allow batch:DescribeJobs, batch:ListJobs, ecs:RegisterTaskDefinition on *",
    f"Allow batch:SubmitJob on {JOB_DEFINITIONS}"
    " ContainersFargateQueue.JobQueueArn ContainersFargateSpotQueue.JobQueueArn",
    f"Allow batch:RegisterJobDefinition, batch:TagResource on {JOB_DEFINITIONS} {JOBS}",
    f"Allow batch:TerminateJob on {JOBS} if aws:ResourceTag/headrace StringEquals headrace",
    "Allow iam:PassRole on ContainersExecutionRole.Arn if iam:PassedToService StringEquals ecs-tasks.amazonaws.com",
}
SENDS = "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn"
ADVANCE = {
    *CONTAINERS,
    *SECRETS,
    *LISTING,
    f"Allow {CHANGE} on StateTable.Arn {kinds('XCETKSLM')}",
    f"Allow {READ} on StateTable.Arn {kinds('F')}",
    f"Allow dynamodb:PutItem on StateTable.Arn {kinds('A')}",
    f"Allow {OBJECTS} on {objects('files', 'content', *state('XETKLM'))}",
    f"Allow s3:GetObject on {objects('state/F')}",
    SENDS,
    "Allow scheduler:CreateSchedule on arn:AWS::Partition:scheduler:AWS::Region:AWS::AccountId:schedule/TriggersSchedules/*",
    "Allow iam:PassRole on TriggersScheduleRole.Arn if iam:PassedToService StringEquals scheduler.amazonaws.com",
    "Allow lambda:InvokeFunction on FunctionsWorker.Arn FunctionsPurger.Arn"
    " FunctionsScript.Arn FunctionsScriptMedium.Arn FunctionsScriptLarge.Arn",
    "Allow events:PutEvents on TriggersBus.Arn",
}


def logs(name: str) -> str:
    """Return the statement about the function's own log."""
    return f"Allow logs:CreateLogStream, logs:PutLogEvents on Functions{name}Logs.Arn"


ROLES = {
    "FunctionsExecutorRole": {*ADVANCE, logs("Executor"), f"Allow {POLL} on Mailbox.Arn"},
    "FunctionsTriggersRole": {
        *ADVANCE - {SENDS},
        logs("Triggers"),
        f"Allow {POLL} on MailboxDelays.Arn MailboxMailboxDead.Arn MailboxDelaysDead.Arn",
        "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn MailboxDelaysDead.Arn",
        "Allow s3:AbortMultipartUpload, s3:DeleteObject, s3:GetObject, s3:GetObjectTagging, s3:PutObject,"
        f" s3:PutObjectTagging on {objects('inbox')}",
    },
    "FunctionsWorkerRole": {
        *SECRETS,
        *LISTING,
        logs("Worker"),
        f"Allow {CHANGE} on StateTable.Arn {kinds('CTKLM')}",
        f"Allow {READ} on StateTable.Arn {kinds('XEF')}",
        f"Allow {OBJECTS} on {objects('files', 'content', *state('TKLM'))}",
        f"Allow s3:GetObject on {objects(*state('XEF'))}",
        "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn",
    },
    "FunctionsPurgerRole": {
        *SECRETS,
        logs("Purger"),
        f"Allow {CHANGE} on StateTable.Arn {kinds('XCESLM')}",
        f"Allow {READ} on StateTable.Arn {kinds('F')}",
        f"Allow dynamodb:Query on {INDEXES} {kinds('E')}",
        f"Allow {OBJECTS} on {objects('files', 'content', *state('XELM'))}",
        f"Allow s3:GetObject on {objects('state/F')}",
        "Allow s3:ListBucket on StorageBucket.Arn",
        "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn",
    },
    **{
        f"Functions{name}Role": {
            logs(name),
            f"Allow {CLAIM} on StateTable.Arn {kinds('C')}",
            "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn",
        }
        for name in ("Script", "ScriptMedium", "ScriptLarge")
    },
    "FunctionsApiRole": {
        *SECRETS,
        *LISTING,
        logs("Api"),
        f"Allow {CHANGE} on StateTable.Arn {kinds('FTKSLM')}",
        f"Allow {READ} on StateTable.Arn {kinds('XCE')}",
        f"Allow {CLAIM} on StateTable.Arn {kinds('C')}",
        "Allow dynamodb:DeleteItem, dynamodb:GetItem, dynamodb:PutItem, dynamodb:Query, dynamodb:UpdateItem"
        f" on StateTable.Arn {kinds('U')}",
        f"Allow dynamodb:PutItem, dynamodb:Query on StateTable.Arn {kinds('A')}",
        "Allow lambda:InvokeFunction on FunctionsPurger.Arn",
        "Allow ssm:GetParametersByPath on"
        " arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameter/headrace/headrace/secrets/*",
        f"Allow {OBJECTS} on {objects('files', 'content', *state('FTKLM'))}",
        f"Allow s3:GetObject on {objects(*state('XE'))}",
        "Allow sqs:SendMessage on Mailbox.Arn MailboxDelays.Arn",
        f"Allow events:DeleteRule, events:PutRule, events:RemoveTargets on {RULES}",
        f"Allow events:DescribeRule, events:ListTargetsByRule on {RULES}",
        "Allow scheduler:GetSchedule on"
        " arn:AWS::Partition:scheduler:AWS::Region:AWS::AccountId:schedule/TriggersSchedules/*",
        "Allow s3:GetBucketNotification on StorageBucket.Arn",
        f"Allow events:PutTargets on {RULES} if events:TargetArn ForAllValues:ArnEquals FunctionsTriggers.Arn",
    },
    "ContainersExecutionRole": {
        "Allow logs:CreateLogStream, logs:PutLogEvents on ContainersLogs.Arn",
        "Allow ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer"
        " on arn:AWS::Partition:ecr:AWS::Region:AWS::AccountId:repository/*",
        "Allow ecr:GetAuthorizationToken on *",
    },
    "TriggersScheduleRole": {"Allow sqs:SendMessage on MailboxDelays.Arn"},
}
WRITES = ("BatchWriteItem", "DeleteItem", "PutItem", "UpdateItem")


def test_there_are_these_roles_and_no_other(default: Assembly) -> None:
    assert set(default.of_type("IAM::Role")) == set(ROLES)
    assert not default.of_type("IAM::ManagedPolicy")
    for role in default.of_type("IAM::Role").values():
        assert not {"Policies", "ManagedPolicyArns"} & set(role), "all a role may do stands in its one policy"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_this_and_nothing_else(default: Assembly, role: str) -> None:
    assert default.role_of(role) == ROLES[role]


def test_only_triggers_reads_the_queues_that_are_named(default: Assembly, foreign: Assembly) -> None:
    arns = "arn:AWS::Partition:sqs:AWS::Region:AWS::AccountId:{}"
    line = f"Allow sqs:DeleteMessage, sqs:ReceiveMessage on {arns.format('orders')} {arns.format('returns.fifo')}"
    assert [role for role in ROLES if line in foreign.role_of(role)] == ["FunctionsTriggersRole"]
    assert not [each for each in default.role_of("FunctionsTriggersRole") if "sqs:ReceiveMessage on arn" in each]


def test_people_s_secrets_are_read_in_the_store_that_is_chosen(default: Assembly, foreign: Assembly) -> None:
    arn = "arn:AWS::Partition:secretsmanager:AWS::Region:AWS::AccountId:secret:/headrace/orders/secrets/*"
    line = f"Allow secretsmanager:GetSecretValue on {arn}"
    readers = {"FunctionsExecutorRole", "FunctionsTriggersRole", "FunctionsWorkerRole", "FunctionsApiRole"}
    assert {role for role in ROLES if line in foreign.role_of(role)} >= readers
    assert not [each for role in ROLES for each in foreign.role_of(role) if "ssm:" in each]
    assert not [each for role in ROLES for each in default.role_of(role) if "secret:" in each]
    assert "Allow secretsmanager:ListSecrets on *" in foreign.role_of("FunctionsApiRole")


def test_no_action_is_a_wildcard(default: Assembly, foreign: Assembly) -> None:
    for assembly in (default, foreign):
        for policy in assembly.of_type("IAM::Policy").values():
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                for action in actions if isinstance(actions, list) else [actions]:
                    assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action), action


@pytest.mark.parametrize("role", ["FunctionsWorkerRole", "FunctionsScriptRole", "FunctionsApiRole"])
def test_neither_worker_nor_script_nor_api_can_write_the_journal(
    default: Assembly, foreign: Assembly, role: str
) -> None:
    for assembly in (default, foreign):
        lines = assembly.role_of(role)
        assert not [line for line in lines if any(write in line for write in WRITES) and "X#" in line]
        assert not [line for line in lines if "dynamodb:" in line and "LeadingKeys" not in line]
        assert not [line for line in lines if "s3:PutObject" in line and "state/X" in line]


def test_users_are_for_the_api_alone_and_nobody_takes_anything_back_from_the_audit(
    default: Assembly, foreign: Assembly
) -> None:
    for assembly in (default, foreign):
        for role in ROLES.keys() & assembly.of_type("IAM::Role").keys():
            users = [line for line in assembly.role_of(role) if "U#" in line]
            assert bool(users) is (role == "FunctionsApiRole"), role
            audit = [line.partition(" on ")[0] for line in assembly.role_of(role) if "A#" in line]
            assert audit == {
                "FunctionsApiRole": ["Allow dynamodb:PutItem, dynamodb:Query"],
                "FunctionsExecutorRole": ["Allow dynamodb:PutItem"],
                "FunctionsTriggersRole": ["Allow dynamodb:PutItem"],
            }.get(role, []), role


def test_script_reaches_claims_and_queues_only(default: Assembly, foreign: Assembly) -> None:
    for role in ("FunctionsScriptRole", "FunctionsScriptMediumRole", "FunctionsScriptLargeRole"):
        services = {line.removeprefix("Allow ").partition(":")[0] for line in default.role_of(role)}
        assert services == {"dynamodb", "sqs", "logs"}
    keys = [line for line in foreign.role_of("FunctionsScriptRole") if "kms:" in line]
    assert keys == [
        "Allow kms:Decrypt, kms:DescribeKey, kms:Encrypt, kms:GenerateDataKey on Key.Arn"
        " if kms:ViaService StringEquals dynamodb.AWS::Region.amazonaws.com sqs.AWS::Region.amazonaws.com"
    ], "with a customer's key it opens nothing that was sealed: only its services use the key for it"


def test_roles_for_people_s_code_are_taken_on_by_the_api_and_the_worker_alone(
    default: Assembly, foreign: Assembly
) -> None:
    """Those that whoever deployed has named, and none where nobody has."""
    for role in ROLES:
        assert not [line for line in default.role_of(role) if "sts:" in line]
        taken = [line for line in foreign.role_of(role) if "sts:" in line]
        wanted = ["Allow sts:AssumeRole, sts:TagSession on arn:aws:iam::123456789012:role/flows-*"]
        assert taken == (wanted if role in ("FunctionsApiRole", "FunctionsWorkerRole") else []), role


def test_the_schedules_role_is_for_schedules_of_this_group_only(default: Assembly) -> None:
    trust = default.of_type("IAM::Role")["TriggersScheduleRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert len(trust) == 1
    assert trust[0]["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert set(trust[0]["Condition"]["StringEquals"]) == {"aws:SourceAccount", "aws:SourceArn"}


def test_only_lambda_can_be_the_functions(default: Assembly) -> None:
    for name, role in default.of_type("IAM::Role").items():
        if name.startswith("Functions"):
            (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
            assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_somebodys_own_role_may_call_the_api_when_it_is_granted(foreign: Assembly) -> None:
    assert foreign.role_of("Shopkeeper") == {
        "Allow execute-api:Invoke on arn:AWS::Partition:execute-api:AWS::Region:AWS::AccountId:ApiHttpApi/$default/*/api/*",
        "Allow events:PutEvents on TriggersBus.Arn",
    }


def test_a_stack_without_containers_may_run_none(foreign: Assembly) -> None:
    for role in ("FunctionsExecutorRole", "FunctionsTriggersRole"):
        assert not [line for line in foreign.role_of(role) if "ecs:" in line or "batch:" in line]
    writes = [line for line in foreign.role_of("FunctionsApiRole") if line.startswith(f"Allow {CLAIM} ")]
    assert not writes, "no container claims there"
