"""The ports that an attempt needs, asked of the platform by its token (headrace_engine.attempt_access)."""
