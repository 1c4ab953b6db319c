"""How long the functions may run, and events wait for them; queues and bounds inside the functions follow from it."""

from aws_cdk import Duration

EXECUTOR_TIMEOUT = Duration.seconds(60)
"""Light tasks take 10 s at most. A message whose executor died comes again after six times this."""
TRIGGERS_TIMEOUT = Duration.seconds(60)
ATTEMPT_TIMEOUT = Duration.minutes(15)
"""Of `worker` and `script`: the most that Lambda allows."""
API_TIMEOUT = Duration.seconds(29)
"""API Gateway waits 30 s."""
EVENT_RETRIES = 3
EVENT_AGE = Duration.hours(6)
"""How often, and how long, EventBridge tries to call `triggers` with an event."""
