"""What a client's signed assertion must say, its call of CDS Hooks, and an identity provider's token. Pure.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html, https://www.rfc-editor.org/rfc/rfc7523,
https://cds-hooks.hl7.org/2.0/#trusting-cds-clients
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fhir_mappings.records import Json

LEEWAY = timedelta(seconds=10)
"""How far the clocks may be apart."""
LONGEST = timedelta(minutes=5)
"""How far ahead an assertion may end."""
_LONGEST_ID = 256


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that is good, but perhaps used before."""

    jti: str
    until: datetime
    """After this instant nobody can use it."""

    @property
    def mark(self) -> str:
        """What is kept of its jti, in which a client may write anything: a SHA-256 in hexadecimal digits."""
        return hashlib.sha256(self.jti.encode("utf-8", "surrogatepass")).hexdigest()


def check_assertion(claims: Json, client_id: str, audiences: Collection[str], now: datetime) -> Assertion | str:
    """The assertion of a client; in English why it is refused. `audiences` are our names, of which it says one."""
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        return "iss and sub must both be the client's id"
    return _once(claims, audiences, now)


def check_call(claims: Json, names: Collection[str], endpoint: str, now: datetime) -> Assertion | str:
    """The JWT with which a client calls CDS Hooks; in English why it is refused. `names` are the client's, `endpoint`
    is the URL that it calls.
    """
    if claims.get("iss") not in names:
        return "iss is another issuer"
    if claims.get("iat") is None:
        return "iat is required"
    return _once(claims, (endpoint,), now)


def _once(claims: Json, audiences: Collection[str], now: datetime) -> Assertion | str:
    """What is good for a moment and for one of our names, and to be used once."""
    named = claims.get("aud")
    if (named[0] if isinstance(named, list) and len(named) == 1 else named) not in audiences:
        return f"aud must be {' or '.join(audiences)}, and nothing else"
    jti, end = claims.get("jti"), _moment(claims.get("exp"))
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID:
        return f"jti is required, of at most {_LONGEST_ID} characters"
    if end is None or end > now + LONGEST + LEEWAY:
        return "exp is required, at most five minutes ahead"
    return _untimely(claims, end, now) or Assertion(jti, end + LEEWAY)


def check_identity(claims: Json, issuer: str, audience: str, now: datetime, levels: Collection[str] = ()) -> str | None:
    """In English why an identity provider's token is refused; None for one that is good. `levels`: of which `acr` must
    be one, how strongly the person signed in; none: that is left to the provider.
    """
    if claims.get("iss") != issuer:
        return "iss is another issuer"
    named = claims.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        return "aud is another audience"
    level = claims.get("acr")
    if levels and not (isinstance(level, str) and level in levels):
        return "acr says of no sign-in that is strong enough"
    end = _moment(claims.get("exp"))
    return "exp is required" if end is None else _untimely(claims, end, now)


def _untimely(claims: Json, end: datetime, now: datetime) -> str | None:
    if end <= now - LEEWAY:
        return "it has expired"
    for name in ("nbf", "iat"):
        begin = _moment(claims.get(name))
        if claims.get(name) is not None and (begin is None or begin > now + LEEWAY):
            return f"{name} is still to come"
    return None


def _moment(value: object) -> datetime | None:
    """A NumericDate; None for what is none. https://www.rfc-editor.org/rfc/rfc7519#section-2"""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
