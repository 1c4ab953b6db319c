"""The HTTP API: requests are signed as AWS asks for (SigV4), so nothing is open to the world.

One route is apart: there an attempt that runs people's code asks for what its job needs. It has no rights on AWS to
sign with; the function checks the token of that attempt (`headrace_engine.attempt_access`).
"""

from __future__ import annotations

import json

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from headrace_cdk.acknowledgments import acknowledge, wildcard
from headrace_cdk.props import HeadraceProps

_METHODS = [
    apigateway.HttpMethod.GET,
    apigateway.HttpMethod.HEAD,
    apigateway.HttpMethod.POST,
    apigateway.HttpMethod.PUT,
    apigateway.HttpMethod.PATCH,
    apigateway.HttpMethod.DELETE,
]
"""Not ANY: a browser's preflight, which cannot be signed, is then answered by API Gateway from the CORS settings."""

_STAGE = "$default"
_ATTEMPTS = "/api/v1/attempts/{proxy+}"
_ACCESS = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "ip": "$context.identity.sourceIp",
    "user": "$context.identity.userArn",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "error": "$context.error.message",
}
"""What the access log holds of a request: no header, query or body, which may hold secrets."""


class Api(Construct):
    """An HTTP API before *function*, throttled, with an access log."""

    def __init__(self, scope: Construct, id_: str, function: lambda_.Function, name: str, props: HeadraceProps) -> None:
        super().__init__(scope, id_)
        self.api = apigateway.HttpApi(
            self,
            "HttpApi",
            description=f"Headrace {name}",
            create_default_stage=False,
            cors_preflight=_cors(props.cors_origins),
        )
        access = logs.LogGroup(self, "AccessLogs", retention=props.log_retention, removal_policy=RemovalPolicy.DESTROY)
        stage = apigateway.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name=_STAGE,
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(
                rate_limit=props.requests_per_second, burst_limit=props.requests_per_second
            ),
        )
        stage_resource: apigateway.CfnStage = stage.node.default_child  # type: ignore[assignment]  # it is one
        stage_resource.access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=access.log_group_arn, format=json.dumps(_ACCESS)
        )
        integration = HttpLambdaIntegration("Function", function, scope_permission_to_route=False)
        self.api.add_routes(
            path="/api/{proxy+}", methods=_METHODS, integration=integration, authorizer=HttpIamAuthorizer()
        )
        attempts = self.api.add_routes(
            path=_ATTEMPTS,
            methods=[apigateway.HttpMethod.POST],
            integration=integration,
            authorizer=apigateway.HttpNoneAuthorizer(),
        )
        for route in attempts:
            acknowledge(
                route, {"AwsSolutions-APIG4": "The function authenticates: by the token of the one attempt that asks."}
            )
        self.url = self.api.api_endpoint

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let *grantee* call the API."""
        stack = Stack.of(self)
        arn = stack.format_arn(service="execute-api", resource=self.api.api_id, resource_name=f"{_STAGE}/*/api/*")
        if isinstance(grantee, Construct):
            acknowledge(grantee, {wildcard(stack, arn): "The API's methods and paths, all of which it may call."})
        return iam.Grant.add_to_principal(grantee=grantee, actions=["execute-api:Invoke"], resource_arns=[arn])


def _cors(origins: tuple[str, ...]) -> apigateway.CorsPreflightOptions | None:
    if not origins:
        return None
    return apigateway.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[apigateway.CorsHttpMethod[method.name] for method in _METHODS],
        allow_headers=["authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"],
        max_age=Duration.hours(1),
    )
