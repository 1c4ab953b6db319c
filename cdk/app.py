"""The CDK app: one stack with Headrace, configured by context values (`headrace_cdk.props`), checked by cdk-nag."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from headrace_cdk import HeadraceProps, HeadraceStack

CHECKOUT = Path(__file__).resolve().parent.parent

app = App()
props = HeadraceProps.from_context(app.node, HeadraceProps(bundle_cache=CHECKOUT / ".cache" / "bundles"))
HeadraceStack(app, props.name or "headrace", props)
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
app.synth()
