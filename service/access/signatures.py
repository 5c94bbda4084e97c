"""What registered clients sign: who has signed a JWT, and what it says. What it must say is in `assertions`."""

from dataclasses import dataclass

from fhir_mappings.records import Json
from service.access.clients import ID, ISSUER
from service.access.keys import (
    CLIENTS_SIGN_WITH,
    UNREADABLE,
    Header,
    KeySet,
    claims_of,
    read_header,
    read_key_set,
    said_claims,
    said_issuer,
)
from service.access.published_keys import PublishedKeys
from service.store.client_records import ClientRow
from service.store.clients import Clients


@dataclass(frozen=True, slots=True)
class Signed:
    """A JWT that a registered client has signed."""

    client: ClientRow
    header: Header
    claims: Json


def read_signed(token: str, clients: Clients, published: PublishedKeys) -> Signed | str:
    """What a client has signed: the one that `iss` names by its id or its issuer, with one of its keys; in English why
    it is refused.
    """
    header = read_header(token, CLIENTS_SIGN_WITH)
    if isinstance(header, str):
        return header
    if said_claims(token) is None:
        return UNREADABLE
    client = _named(said_issuer(token) or "", clients)
    if client is None or client.disabled_at is not None:
        return "iss is no client that is registered here"
    keys = _keys_of(client, header, published)
    claims = claims_of(token, header, keys) if isinstance(keys, KeySet) else keys
    return claims if isinstance(claims, str) else Signed(client, header, claims)


def _named(issuer: str, clients: Clients) -> ClientRow | None:
    if ID.fullmatch(issuer):
        return clients.get(issuer)
    return clients.of_issuer(issuer) if ISSUER.fullmatch(issuer) else None


def _keys_of(client: ClientRow, header: Header, published: PublishedKeys) -> KeySet | str:
    """The client's keys; those at its address are fetched from nowhere else, whatever the header says."""
    known_by = client.credentials
    if header.jku is not None and header.jku != known_by.jwks_url:
        return "jku is not the address that the client is registered with"
    if known_by.jwks is not None:
        inline = read_key_set(known_by.jwks)
        return " ".join(inline) if isinstance(inline, list) else inline
    if known_by.jwks_url is None:
        return "the client is registered without keys"
    return published.get(known_by.jwks_url, header)
