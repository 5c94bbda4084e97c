"""Our own names, of which what somebody signs for us must say one."""

import re
from ipaddress import ip_address

from flask import current_app, request

from service.web.requests_in import base_url

NO_NAME = "SLUSS_PUBLIC_URL is not set, so nobody can be sure whom it is for"


def own_root() -> str | None:
    """The root that clients see; None where nobody can be sure of it. Without SLUSS_PUBLIC_URL it is the request that
    says which that is, and what was signed for another server could be used here: so only on this machine.
    """
    if current_app.config["PUBLIC_URL"] is None and not _is_loopback(request.host):
        return None
    return base_url().removesuffix("/fhir")


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
