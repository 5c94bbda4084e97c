"""What a proxy in front says of a request. Anybody can write such headers, so they count only from a trusted one."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flask import current_app, request

Networks = tuple[IPv4Network | IPv6Network, ...]


def networks_of(written: Iterable[str]) -> Networks:
    """The networks of the settings."""
    return tuple(ip_network(network) for network in written)


def from_proxy() -> bool:
    """True when a trusted proxy has passed the request on."""
    return _is_trusted(request.remote_addr)


def client_address() -> str | None:
    """The address that a request comes from: who called the trusted proxies, else who called us; None where it has none
    (a Unix socket).

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For#selecting_an_ip_address
    """
    address = _read(request.remote_addr or "")
    if not from_proxy():
        return address
    for written in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        passed_on = _read(written)
        if passed_on is None:
            break
        address = passed_on
        if not _is_trusted(address):
            break
    return address


def _is_trusted(address: str | None) -> bool:
    networks: Networks = current_app.config["TRUSTED_PROXIES"]
    if not networks or (read := _read(address or "")) is None:
        return False
    return any(ip_address(read) in network for network in networks)


def _read(written: str) -> str | None:
    """An IP address as it is written everywhere else; None for what is none."""
    try:
        read = ip_address(written.strip())
    except ValueError:
        return None
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return str(mapped or read)
