"""Containers on ECS Fargate and AWS Batch: any image, nothing to be installed in it.

A run is a task of three containers on one machine (`definitions`): `stage-in`, then `main` with people's code beside
`stage-out`. The side containers run one program (`stager`) and have the attempt's token, with which they ask the API
(`headrace_engine.apart`); `main` runs the code under a shell (`wrapper.sh`) and has nothing of ours.

Lines go from `stage-out` to the API while the code runs: CloudWatch Logs would have both streams mixed, and secrets in
clear. The log group holds what the containers themselves say when they cannot begin, and no function reads it.
"""
