"""What the store gives and takes about registered clients, as plain records."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what a client is known: one of these, or several. Nothing of it is secret."""

    jwks: str | None = None
    """A JSON Web Key Set with public keys, as JSON text."""
    jwks_url: str | None = None
    """Where the client publishes its keys."""
    subject: str | None = None
    """The subject of its TLS certificate, as `access.subjects` writes it."""
    assignment: str | None = None
    """HSA-id of the care unit that the identity provider's tokens name."""
    issuer: str | None = None
    """The URI that it calls itself in the JWTs with which it calls CDS Hooks."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A registered client."""

    id: str
    name: str
    role: str
    organisations: tuple[str, ...]
    teams: tuple[str, ...]
    scopes: str
    """As they are written in a token request, in the order of their registration."""
    credentials: Credentials
    created_at: datetime
    rotated_at: datetime | None = None
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that is good, and whose it is."""

    client: ClientRow
    scopes: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be given for an assertion."""

    hash: bytes
    client_id: str
    scopes: str
    expires_at: datetime
    jti: str
    """Of the assertion, as a SHA-256 in hexadecimal digits."""
    jti_until: datetime
    """How long the assertion could have been used."""
