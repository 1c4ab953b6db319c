"""Which addresses the platform's own HTTP tasks connect to.

A name is resolved, every address it has is checked, and the connection is made to an address that was checked: what
the name resolves to a moment later does not matter. Each connection is checked, so redirects are too.
"""

from __future__ import annotations

import ipaddress
import socket

from headrace_engine.plugin import NetworkPolicy, TaskFailure

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA = ipaddress.IPv6Network("fd00:ec2::/32")
"""Where Amazon's metadata, DNS and time services are reachable by IPv6."""


def check_address(host: str, port: int, policy: NetworkPolicy) -> list[str]:
    """Return the addresses of *host*. Raises TaskFailure when one of them is refused, OSError when there is none."""
    name = host.rstrip(".").lower()
    if name in policy.refused_hosts or any(name.endswith(f".{refused}") for refused in policy.refused_hosts):
        raise TaskFailure(f"`{host}` must not be called from a task: it belongs to the platform itself")
    addresses = list(
        dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    )
    for address in addresses:
        refused = refusal(address, policy)
        if refused is not None:
            raise TaskFailure(f"`{host}` must not be called from a task: {address} is {refused}")
    return addresses


def refusal(address: str, policy: NetworkPolicy) -> str | None:
    """Return what forbids *address*, or None."""
    parsed = _plain(ipaddress.ip_address(address.partition("%")[0]))
    if not policy.allow_loopback and (parsed.is_loopback or parsed.is_unspecified):
        return "a loopback address"
    if not policy.allow_link_local and (parsed.is_link_local or parsed in _METADATA):
        return "a link-local address"
    if parsed.is_multicast:
        return "a multicast address"
    return None


def _plain(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
