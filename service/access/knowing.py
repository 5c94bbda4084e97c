"""Who a token or a certificate stands for. Asked of the database, and then remembered for a moment: a client that is
disabled is refused within that.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_mappings.records import HsaId, Json
from service.access.assertions import check_call, check_identity
from service.access.caller import Caller
from service.access.clients import caller_of, hsa_id
from service.access.keys import ISSUERS_SIGN_WITH, claims_of, is_jwt, read_header, said_issuer
from service.access.published_keys import PublishedKeys
from service.access.scopes import read_scopes
from service.access.signatures import read_signed
from service.access.subjects import read_subject
from service.store.client_records import ClientRow
from service.store.clients import Clients

_FOR_HOOKS = read_scopes("system/ServiceRequest.c")
"""What CDS Hooks needs; a client's own JWT is good for nothing else."""
REMEMBERED = 2.0
"""Seconds."""
_MOST_REMEMBERED = 10_000
_TOLD = 8
"""Characters of an opaque token that name it in the record: too few to help anybody guess the others."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider whose sign-ins count."""

    issuer: str
    audience: str
    keys: str
    """An https URL, or a file."""
    user_claim: str
    unit_claim: str
    levels: tuple[str, ...] = ()
    """Of which `acr` must be one; none: it is not looked at."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person at work, as the identity provider vouches for it."""

    user: HsaId
    unit: HsaId
    token: str


class Knowing:
    """May be shared by threads."""

    def __init__(self, clients: Clients, provider: Provider | None, published: PublishedKeys) -> None:
        self._clients, self._provider, self._published = clients, provider, published
        self._remembered: dict[tuple[str, str], tuple[Caller | None, datetime | None, float]] = {}
        self._lock = threading.Lock()

    def by_token(self, token: str, now: datetime) -> Caller | None:
        """Who has this bearer token: one of ours, or of the identity provider; None when it is not good."""
        if self._provider is not None and is_jwt(token):
            identity = self._identity(token, self._provider, now)
            return self._at_work(identity) if identity is not None else None
        digest = hash_of(token)

        def asked() -> tuple[Caller | None, datetime | None]:
            row = self._clients.token(digest)
            if row is None:
                return None, None
            return caller_of(row.client, read_scopes(row.scopes), token[-_TOLD:]), row.expires_at

        return self._known("token", digest.hex(), asked, now)

    def is_clients_own(self, token: str) -> bool:
        """True for a JWT that says to be from somebody else than the identity provider."""
        return is_jwt(token) and (self._provider is None or said_issuer(token) != self._provider.issuer)

    def by_own_jwt(self, token: str, endpoint: str, now: datetime) -> Caller | str:
        """Who calls CDS Hooks at `endpoint` with a JWT that it has signed itself, good for this call alone; in English
        why it is refused. https://cds-hooks.hl7.org/2.0/#trusting-cds-clients
        """
        signed = read_signed(token, self._clients, self._published)
        if isinstance(signed, str):
            return signed
        if signed.header.typ != "jwt":
            return "typ must be JWT"
        client, issuer = signed.client, signed.client.credentials.issuer
        call = check_call(signed.claims, (client.id, issuer or client.id), endpoint, now)
        if isinstance(call, str):
            return call
        if not self._clients.use(client.id, call.mark, call.until):
            return "it has been used before: its jti is known"
        return caller_of(client, _FOR_HOOKS.within(read_scopes(client.scopes)), _name_of(signed.claims, token))

    def by_subject(self, written: str, now: datetime) -> Caller | None:
        """Who has this certificate; None for one that nobody is registered with."""
        subject = read_subject(written)
        if subject is None:
            return None
        return self._known("subject", subject, lambda: (_caller(self._clients.of_subject(subject)), None), now)

    def _at_work(self, identity: Identity) -> Caller | None:
        unit = identity.unit
        acting = self._known("unit", unit, lambda: (_caller(self._clients.of_assignment(unit)), None), None)
        return replace(acting, user=identity.user, unit=unit, token=identity.token) if acting else None

    def _identity(self, token: str, provider: Provider, now: datetime) -> Identity | None:
        """The person that the provider's token names."""
        header = read_header(token, ISSUERS_SIGN_WITH)
        if isinstance(header, str):
            return None
        keys = self._published.get(provider.keys, header)
        claims = claims_of(token, header, keys) if not isinstance(keys, str) else keys
        if isinstance(claims, str):
            return None
        if check_identity(claims, provider.issuer, provider.audience, now, provider.levels) is not None:
            return None
        user, unit = _only(claims, provider.user_claim), _only(claims, provider.unit_claim)
        return Identity(user, unit, _name_of(claims, token)) if user and unit else None

    def _known(
        self,
        kind: str,
        name: str,
        asked: Callable[[], tuple[Caller | None, datetime | None]],
        now: datetime | None,
    ) -> Caller | None:
        """Who it was a moment ago, or is now. Who is nobody is asked for again each time."""
        moment = time.monotonic()
        caller, ends, until = self._remembered.get((kind, name), (None, None, 0.0))
        if moment >= until:
            caller, ends = asked()
            if caller is not None:
                self._remember((kind, name), caller, ends, moment + REMEMBERED)
        return None if ends is not None and now is not None and ends <= now else caller

    def _remember(self, key: tuple[str, str], caller: Caller, ends: datetime | None, until: float) -> None:
        with self._lock:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = (caller, ends, until)


def hash_of(token: str) -> bytes:
    """What is kept of an opaque token: it is random and long, so that a plain SHA-256 is no easier to guess."""
    return hashlib.sha256(token.encode()).digest()


def _caller(client: ClientRow | None) -> Caller | None:
    return caller_of(client, read_scopes(client.scopes)) if client is not None else None


def _only(claims: Json, name: str) -> HsaId | None:
    """The HSA-id in a claim, also where it is a list of one."""
    value = claims.get(name)
    return hsa_id(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _name_of(claims: Json, token: str) -> str:
    given = claims.get("jti")
    return given if isinstance(given, str) and 0 < len(given) <= 64 and given.isprintable() else token[-_TOLD:]
