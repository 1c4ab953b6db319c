"""Commands that ask a server: whatever they know of flows and executions, they have from its answers."""
