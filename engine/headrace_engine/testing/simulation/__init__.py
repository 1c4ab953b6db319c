"""The deterministic simulator: seeds that disturb the engine in every way its ports allow, and an oracle."""
