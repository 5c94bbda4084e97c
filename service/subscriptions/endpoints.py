"""Where notifications may go: https, a host that the settings name, and no address inside. Pure.

Whoever makes a Subscription decides which address this machine calls; without these rules it could be made to call what
only it can reach (server-side request forgery).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_URL = re.compile(
    r"https://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
"""An https URL without user, password, fragment or anything that two parsers could read in two ways."""

LONGEST_URL = 2000

_HTTPS = 443
_GLOBAL_UNICAST = ip_network("2000::/3")
_TUNNELS = (ip_network("2002::/16"), ip_network("2001::/32"))
"""6to4 and Teredo, whose addresses hold an IPv4 address that nobody would check."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's URL, taken apart."""

    host: str
    """As it is written, without brackets, in small letters."""
    port: int
    path: str
    """With its query; what a request line says."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What the settings allow."""

    hosts: frozenset[str] = frozenset()
    """`ehr.example` (port 443) or `ehr.example:8443`, in small letters; none of them: no Subscriptions."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Inner networks that may be called all the same."""

    @classmethod
    def of(cls, hosts: Iterable[str], networks: Iterable[str]) -> "Endpoints":
        """From the settings' texts. Raises ValueError for what is no network."""
        return cls(
            frozenset(host.lower().removesuffix(f":{_HTTPS}") for host in hosts),
            tuple(ip_network(network) for network in networks),
        )

    def target(self, url: str) -> Target | str:
        """The URL taken apart, or in English what is wrong with it."""
        found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if found is None:
            return "an endpoint is an absolute https URL without user, password or fragment, percent-encoded"
        port = int(found["port"] or _HTTPS)
        host = found["host"].lower()
        if (host if port == _HTTPS else f"{host}:{port}") not in self.hosts or not 0 < port < 65536:
            return "this host and port are not among those that notifications may be sent to"
        return Target(host.strip("[]"), port, (found["path"] or "/") + (found["query"] or ""))

    def allows(self, address: str) -> bool:
        """True for an IP address that may be called: one of the Internet, or of a network that the settings name."""
        read = ip_address(address)
        if isinstance(read, IPv6Address) and read.ipv4_mapped:
            read = read.ipv4_mapped
        if any(read in network for network in self.networks):
            return True
        if not read.is_global or read.is_multicast:
            return False
        return not isinstance(read, IPv6Address) or (
            read in _GLOBAL_UNICAST and not any(read in tunnel for tunnel in _TUNNELS)
        )
