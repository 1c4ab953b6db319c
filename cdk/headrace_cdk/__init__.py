"""Headrace on AWS as CDK constructs: `HeadraceStack` for an account of its own, `Headrace` inside somebody's stack."""

from headrace_cdk.headrace import Headrace
from headrace_cdk.props import FunctionProps, HeadraceProps
from headrace_cdk.stack import HeadraceStack

__all__ = ["FunctionProps", "Headrace", "HeadraceProps", "HeadraceStack"]
