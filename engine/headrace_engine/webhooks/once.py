"""Takes a proof once: a signature that was captured on its way cannot start a second execution.

A proof is noted before the execution is asked for, and marked taken after: whoever comes with it again in between
(the sender, because the answer was lost in a crash) gets the same execution, whoever comes later is refused.
"""

from __future__ import annotations

from headrace_engine.ports import KV, Clock, KeyExistsError
from headrace_engine.webhooks.proof import Proof, UnauthorizedError

NAMESPACE = "_webhooks"
"""Where proofs are noted; no flow can have this namespace."""
_TRIES = 3


class Once:
    """Which proofs were taken."""

    def __init__(self, kv: KV, clock: Clock) -> None:
        self._kv = kv
        self._clock = clock

    def begin(self, trigger: str, proof: Proof, execution_id: str) -> str:
        """Note that *proof* starts *execution_id*; return that, or what it was noted to start before.

        Raises UnauthorizedError when it was taken.
        """
        key = _key(trigger, proof)
        for _ in range(_TRIES):
            now = self._clock.now()
            try:
                self._kv.put(
                    NAMESPACE, key, "STRING", f"begun:{execution_id}", now=now, ttl=proof.keep, overwrite=False
                )
            except KeyExistsError:
                entry = self._kv.get(NAMESPACE, key)
                if entry is None or (entry.expires is not None and entry.expires <= now):
                    continue  # it went just now
                state, _, noted = str(entry.value).partition(":")
                if state == "taken":
                    raise UnauthorizedError("the signature was used before") from None
                return noted
            return execution_id
        raise UnauthorizedError("the signature is being used")

    def taken(self, trigger: str, proof: Proof, execution_id: str) -> None:
        """Note that whatever *proof* starts was started."""
        now = self._clock.now()
        # Lost in a crash, it is as if the answer were: who comes again gets the same execution.
        value = f"taken:{execution_id}"
        self._kv.put(NAMESPACE, _key(trigger, proof), "STRING", value, now=now, ttl=proof.keep, durable=False)


def _key(trigger: str, proof: Proof) -> str:
    return f"{trigger}/{proof.once.hex()}"
