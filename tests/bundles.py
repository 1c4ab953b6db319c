"""The functions' code, packed for the tests: in one folder of the checkout, by whoever asks first."""

from __future__ import annotations

import fcntl
from pathlib import Path

from example_flows import CHECKOUT
from headrace_cdk.bundle import Bundle, Bundler, Target

CACHE = CHECKOUT / ".cache" / "bundles"


def packed(target: Target, bundle: Bundle) -> Path:
    """Return a bundle, which processes that ask at once make once: it takes half a minute. Raises BundleError."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{bundle}-{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Bundler(target, CACHE).build(bundle)
