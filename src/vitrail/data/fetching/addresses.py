"""Which addresses may be fetched: http and https on web ports, at hosts whose network addresses are public.

A name says nothing about where it leads, so names are resolved first and the network addresses are judged. Addresses
that carry another one inside (IPv4-mapped and NAT64 IPv6, 6to4, Teredo) are judged by both.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from vitrail.data.fetching.failures import Refused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*")
_SAFE = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True)
class Target:
    """A checked address in parts; ``path`` has the query, everything is ASCII."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """``http://host``, with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def address(self) -> str:
        """The whole address, without its fragment."""
        return self.origin + self.path


def target_of(address: str, ports: Sequence[int] = ()) -> Target:
    """An address in parts; ``ports`` that are allowed (none: every one). :class:`Refused` says what is wrong."""
    try:
        if any(ord(sign) < 33 or ord(sign) == 127 for sign in address.strip()):
            address = quote(address.strip(), safe=_SAFE + "?#[]")
        parts = urlsplit(address.strip())
        scheme, port = parts.scheme.lower(), parts.port
        host = _ascii_host(parts.hostname or "")
        path = quote(parts.path or "/", safe=_SAFE)
        query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
    except (ValueError, UnicodeError) as error:
        raise Refused("bad address", str(error)) from None
    if scheme not in _PORTS:
        raise Refused("scheme", f"{scheme or 'none'}: only http and https are fetched")
    if not host:
        raise Refused("bad address", "it names no host")
    if parts.username is not None or parts.password is not None:
        raise Refused("bad address", "it holds a name or a password")
    port = _PORTS[scheme] if port is None else port
    if ports and port not in ports:
        raise Refused("port", f"{port} is not one of {', '.join(map(str, ports))}")
    return Target(scheme, host, port, path + query)


def _ascii_host(host: str) -> str:
    """In lower case and ASCII. ValueError for what is no name, IPv4 or IPv6 address (zones included)."""
    host = host.rstrip(".").lower()
    host = host if host.isascii() else host.encode("idna").decode("ascii")
    if ":" in host and ipaddress.IPv6Address(host).scope_id is None:
        return host
    if host and not _NAME.fullmatch(host):
        raise ValueError(f"{host[:80]!r} is no host")
    return host


def resolved(host: str, port: int) -> list[Address]:
    """The network addresses of a host name, in the resolver's order. OSError where there are none."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [ipaddress.ip_address(row[4][0]) for row in rows]


def inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address carries, or None."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def is_public(address: Address) -> bool:
    """Whether it is a single machine's address in the public internet, and so is the one inside it."""
    carried = inner(address)
    if carried is not None and not is_public(carried):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
        if address.is_site_local or address.scope_id is not None or address in _COMPATIBLE:
            return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not special and not address.is_private and not address.is_link_local


class Hosts:
    """Which hosts may be asked: all, or those ``allowed`` (``example.org``; ``*.example.org`` for what is below it).

    ValueError for what is no host.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.names: set[str] = set()
        self.above: tuple[str, ...] = ()
        for name in allowed:
            try:
                host = _ascii_host(name.removeprefix("*.").strip("[]"))
            except (ValueError, UnicodeError):
                host = ""
            if not host:
                raise ValueError(f"allow_hosts has {name!r}, which is no host; write it as example.org")
            if name.startswith("*."):
                self.above += (f".{host}",)
            else:
                self.names.add(host)

    def admits(self, host: str) -> bool:
        """Whether this host, as :attr:`Target.host` has it, may be asked."""
        return not (self.names or self.above) or host in self.names or host.endswith(self.above)


class Networks:
    """What may be connected to: public addresses, and those in ``allowed`` networks (``"10.1.0.0/16"``).

    ValueError for what is no network.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.allowed: list[Network] = []
        for name in allowed:
            try:
                self.allowed.append(ipaddress.ip_network(name))
            except ValueError as error:
                raise ValueError(
                    f"allow_networks has {name!r}, which is no network ({error}); write it as 10.1.0.0/16"
                ) from None

    def admits(self, address: Address) -> bool:
        """Whether this address may be connected to."""
        carried = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        judged = carried if carried is not None else address
        return any(judged in one for one in self.allowed) or is_public(address)
