"""What stores of secrets and ciphers promise."""

from __future__ import annotations

from string import ascii_letters, digits

import pytest

from headrace_engine.ports import Cipher, ContentError, NotFoundError, PortError, Secrets
from headrace_engine.testing.contract.support import Contract

SECRETS = {"API_KEY": "s3cr3t-Grüße", "MULTI": "line 1\nline 2\n", "EMPTY": ""}
"""What the fixture's store must hold, in the namespace ``company.team``."""


class SecretsContract(Contract):
    """Needs the fixture ``secrets: Secrets``, which holds SECRETS."""

    @pytest.mark.parametrize("key", sorted(SECRETS))
    def test_a_secret_is_returned_as_it_is(self, secrets: Secrets, key: str) -> None:
        assert secrets.get("company.team", key) == SECRETS[key]

    @pytest.mark.parametrize("key", ["api_key", "Api_Key", "API_KEY"])
    def test_keys_are_not_case_sensitive(self, secrets: Secrets, key: str) -> None:
        assert secrets.get("company.team", key) == SECRETS["API_KEY"]

    def test_the_names_are_told(self, secrets: Secrets) -> None:
        assert {"API_KEY", "MULTI"} <= set(secrets.names("company.team"))
        assert list(secrets.names("company.team")) == sorted(secrets.names("company.team"))

    def test_a_missing_secret_is_an_error_that_names_it(self, secrets: Secrets) -> None:
        with pytest.raises(NotFoundError, match="MISSING"):
            secrets.get("company.team", "MISSING")


class CipherContract(Contract):
    """Needs the fixtures ``cipher: Cipher`` and ``stranger: Cipher``, one with another key."""

    @pytest.mark.parametrize("plain", [b"", b"s3cr3t", bytes(range(256)) * 400])
    def test_what_was_sealed_is_opened(self, cipher: Cipher, plain: bytes) -> None:
        assert cipher.open(cipher.seal(plain)) == plain

    def test_sealed_text_does_not_show_what_is_in_it(self, cipher: Cipher) -> None:
        assert "s3cr3t" not in cipher.seal(b"s3cr3t")

    def test_sealing_the_same_twice_does_not_show_that_it_is_the_same(self, cipher: Cipher) -> None:
        assert cipher.seal(b"s3cr3t") != cipher.seal(b"s3cr3t")

    def test_another_key_does_not_open_it(self, cipher: Cipher, stranger: Cipher) -> None:
        stranger.seal(b"something of its own")
        with pytest.raises(PortError):
            stranger.open(cipher.seal(b"s3cr3t"))

    def test_a_changed_text_is_refused(self, cipher: Cipher) -> None:
        sealed = cipher.seal(b"s3cr3t")
        for position, stood in enumerate(sealed):
            # All others at the end, where an encoding may have bits that mean nothing.
            others = set("AB" if position < len(sealed) - 4 else ascii_letters + digits + "+/-_=") - {stood}
            for other in sorted(others):
                with pytest.raises(PortError):
                    cipher.open(sealed[:position] + other + sealed[position + 1 :])

    @pytest.mark.parametrize("sealed", ["", "x", "AAAA", "not base64 at all", "größe", "A" * 64])
    def test_what_was_never_sealed_is_refused(self, cipher: Cipher, sealed: str) -> None:
        with pytest.raises(ContentError):
            cipher.open(sealed)
