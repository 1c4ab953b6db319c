"""Test support that is product code: runtimes with a clock of their own, and the contract suites of the ports."""
