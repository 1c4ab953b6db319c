"""The Headrace engine: flows in, executions out, the same on a laptop and on AWS."""
