"""The HTTP API. Nothing is open to the world: the function asks who calls (`headrace_functions.callers`), or API
Gateway does, and lets through unasked only what proves itself.

That is: webhooks, by their key and signature; links to decide about a Pause, by the key in them; and an attempt that
runs people's code and asks for what its job needs. It has no rights on AWS to sign with; the function checks the token
of that attempt (`headrace_engine.attempt_access`). The other pages are there where the function authenticates: a
browser signs nothing, and brings no token of an issuer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer, HttpJwtAuthorizer
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
_WEBHOOKS = tuple(f"/api/v1{tenant}/executions/webhook/{{proxy+}}" for tenant in ("", "/main"))
_CALLED = [apigateway.HttpMethod.GET, apigateway.HttpMethod.POST, apigateway.HttpMethod.PUT]
_GET, _POST = apigateway.HttpMethod.GET, apigateway.HttpMethod.POST
_PAGES = {
    "/": [_GET],
    "/login": [_GET, _POST],
    "/logout": [_GET, _POST],
    "/flows": [_GET],
    "/flows/{proxy+}": [_GET],
    "/forms/{proxy+}": [_GET, _POST],
    "/executions": [_GET],
    "/executions/{proxy+}": [_GET, _POST],
}
_OPEN_PAGES = {"/approve/{proxy+}": [_GET, _POST], "/assets/{proxy+}": [_GET]}
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
        routes = self.api.add_routes(
            path="/api/{proxy+}", methods=_METHODS, integration=integration, authorizer=_authorizer(props)
        )
        if props.authorization == "headrace":
            _explain(routes, "The function authenticates, by passwords and tokens.")
        apart = {_ATTEMPTS: ([apigateway.HttpMethod.POST], "by the token of the one attempt that asks")}
        apart |= {path: (methods, "by the key in a link") for path, methods in _OPEN_PAGES.items()}
        if props.authorization == "headrace":
            apart |= {path: (methods, "by passwords and tokens") for path, methods in _PAGES.items()}
        else:
            apart |= dict.fromkeys(_WEBHOOKS, (_CALLED, "by the webhook's key and signature"))
        for path, (methods, how) in apart.items():
            routes = self.api.add_routes(
                path=path, methods=methods, integration=integration, authorizer=apigateway.HttpNoneAuthorizer()
            )
            _explain(routes, f"The function authenticates: {how}.")
        self.url = self.api.api_endpoint

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let *grantee* call the API by signing requests: with the authorization ``iam``."""
        stack = Stack.of(self)
        arn = stack.format_arn(service="execute-api", resource=self.api.api_id, resource_name=f"{_STAGE}/*/api/*")
        if isinstance(grantee, Construct):
            acknowledge(grantee, {wildcard(stack, arn): "The API's methods and paths, all of which it may call."})
        return iam.Grant.add_to_principal(grantee=grantee, actions=["execute-api:Invoke"], resource_arns=[arn])


def _authorizer(props: HeadraceProps) -> apigateway.IHttpRouteAuthorizer:
    match props.authorization:
        case "iam":
            return HttpIamAuthorizer()
        case "jwt":
            return HttpJwtAuthorizer("Jwt", props.jwt_issuer, jwt_audience=list(props.jwt_audience))
        case _:
            return apigateway.HttpNoneAuthorizer()


def _explain(routes: Sequence[apigateway.HttpRoute], why: str) -> None:
    for route in routes:
        acknowledge(route, {"AwsSolutions-APIG4": why})


def _cors(origins: tuple[str, ...]) -> apigateway.CorsPreflightOptions | None:
    if not origins:
        return None
    return apigateway.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[apigateway.CorsHttpMethod[method.name] for method in _METHODS],
        allow_headers=["authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"],
        max_age=Duration.hours(1),
    )
