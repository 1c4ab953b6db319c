"""The Lambda functions: they read an event of AWS and have the engine do what it calls for."""

import gc

# A cold start makes some ninety thousand objects that all stay. By default they are gone through for garbage after
# every 700 new ones, again and again, and none is found: a sixth of the time that it takes.
gc.set_threshold(100_000)
