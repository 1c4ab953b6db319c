"""The algorithms of JSON Web Signatures (RFC 7518, RFC 8037) that count; `none` is not among them."""

SHARED = frozenset({"HS256", "HS384", "HS512"})
"""Signed with a secret that both sides know."""
PUBLIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signed with a private key, and checked with its public one."""
