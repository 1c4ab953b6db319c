"""The Lambda functions in this process, on moto: what AWS does around them is played, on a clock of the test's."""
