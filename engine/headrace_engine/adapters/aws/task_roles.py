"""The roles that people's code is given: assumed for one attempt, and handed over as temporary credentials.

Whoever deploys says which roles may be named at all; each role says itself, by its trust policy, for which namespaces
it is: the external id is ``<stack>/<namespace>``, and the session has tags that say namespace and flow. Neither can be
chosen by a flow. The session's name is the attempt's, so CloudTrail shows what an attempt did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from headrace_engine.adapters.aws.errors import AwsError, calling
from headrace_engine.plugin import TaskFailure
from headrace_engine.ports import Job

_VALID = timedelta(minutes=20)
"""Longer than an invocation, and not much: nobody takes credentials back."""
_LONGEST_NAME, _LONGEST_TAG = 64, 256


class TaskRoles:
    """Assumes the roles of attempts."""

    def __init__(
        self,
        sts: Any,
        stack: str,
        region: str,
        *,
        allowed: Sequence[str],
        default: Callable[[str], str] = lambda _namespace: "",
        is_anothers: Callable[[str, str], bool] = lambda _role, _namespace: False,
    ) -> None:
        """Take STS's client; *allowed* are patterns of ARNs, *default* returns a namespace's own role, or nothing.

        *is_anothers* tells whether a role is given to other namespaces than this one, so that it may not name it.
        """
        self._sts = sts
        self._stack = stack
        self._region = region
        self._allowed = tuple(allowed)
        self._default = default
        self._is_anothers = is_anothers

    def role_of(self, job: Job) -> str:
        """Return the ARN of the role the job names, or else of its namespace's; empty for none."""
        return role_named(job.properties) or self._default(job.namespace)

    def environment(self, job: Job) -> Mapping[str, str]:
        """Return the variables with which AWS's libraries and its command line use the job's role.

        Empty without a role. Raises TaskFailure when it may not be named or does not trust this stack; PortError.
        """
        role = self.role_of(job)
        if not role:
            return {}
        if not any(fnmatchcase(role, pattern) for pattern in self._allowed):
            raise TaskFailure(
                f"The role {role} may not be named in this stack: whoever deploys it allows roles by `taskRoles`"
            )
        if self._is_anothers(role, job.namespace):
            raise TaskFailure(f"The role {role} is for another namespace than {job.namespace}: name one of its own")
        attempt = job.attempt
        external_id = f"{self._stack}/{job.namespace}"
        try:
            with calling("STS", "AssumeRole"):
                given: Mapping[str, Any] = self._sts.assume_role(
                    RoleArn=role,
                    RoleSessionName=f"{attempt.execution_id}-{attempt.task_run_id}-{attempt.number}"[:_LONGEST_NAME],
                    ExternalId=external_id,
                    DurationSeconds=int(_VALID.total_seconds()),
                    Tags=[
                        {"Key": "headrace:namespace", "Value": job.namespace[:_LONGEST_TAG]},
                        {"Key": "headrace:flow", "Value": job.flow_id[:_LONGEST_TAG]},
                    ],
                )["Credentials"]
        except AwsError as error:
            if error.code not in ("AccessDenied", "AccessDeniedException"):
                raise
            raise TaskFailure(
                f"The role {role} does not let this stack take it on: its trust policy must allow sts:AssumeRole and "
                f"sts:TagSession to the stack's functions, with the external id `{external_id}`"
            ) from None
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
        }


def role_named(properties: Mapping[str, Any]) -> str:
    """Return the role that a task's own properties name, for the platform to take on; empty for none.

    One that is to be taken on with credentials of the task's own is none.
    """
    runner = properties.get("taskRunner")
    if isinstance(runner, Mapping):
        return str(runner.get("taskRoleArn") or "")
    return "" if properties.get("accessKeyId") else str(properties.get("stsRoleArn") or "")
