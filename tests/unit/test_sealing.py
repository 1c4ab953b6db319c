"""What holds a secret is stored sealed, and opened as what it was."""

from __future__ import annotations

from typing import Any

from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.model.definition import InputDefinition
from headrace_engine.sealing import ENCRYPTED, SEALED, is_sealed, open_sealed, seal_held, sealed_inputs

CIPHER = AesCipher(bytes(range(32)))
SECRET = "s3cr3t"


def test_what_holds_a_secret_is_sealed_whole() -> None:
    values: dict[str, Any] = {
        "text": f"at {SECRET}!",
        "map": {"list": [1, {"deep": SECRET}]},
        "key": {SECRET: 1},
        "number": 5,
        "none": None,
        "other": "s3cr3",
    }
    kept = seal_held(values, {SECRET, "", "unused"}, CIPHER)
    assert [name for name, value in kept.items() if is_sealed(value)] == ["text", "map", "key"]
    assert SECRET not in str(kept)
    assert open_sealed(kept, CIPHER) == (values, {SECRET})
    assert seal_held(kept, {SECRET}, CIPHER) == kept, "once is enough"
    assert seal_held(values, (), CIPHER) == values


def test_inputs_that_nobody_checked_are_sealed_as_declared_and_as_they_came() -> None:
    declared = (InputDefinition("code", "SECRET"), InputDefinition("plain", "STRING"))
    given = {"code": 4711, "plain": SECRET, "free": [SECRET], "open": "x"}
    kept = sealed_inputs(given, declared, {SECRET}, CIPHER)
    assert [kept[name]["type"] for name in ("code", "plain", "free")] == [ENCRYPTED, SEALED, SEALED]
    assert open_sealed(kept, CIPHER) == ({**given, "code": "4711"}, {"4711", SECRET})
    assert sealed_inputs({"code": None}, declared, {SECRET}, CIPHER) == {"code": None}
