"""The Lambda functions: they read an event of AWS and have the engine do what it calls for."""
