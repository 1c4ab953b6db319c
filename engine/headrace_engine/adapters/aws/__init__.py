"""The ports on AWS, one module a service."""
