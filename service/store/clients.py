# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Registered clients, their tokens, and the assertions that they have used."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from service.store.client_records import ClientRow, Credentials, NewToken, TokenRow
from service.store.connections import Connections, Row

_ROW: LiteralString = (
    "c.id, c.name, c.role, c.organisations, c.teams, c.scopes, c.jwks, c.jwks_url, c.subject, c.assignment, c.issuer,"
    " c.created_at, c.rotated_at, c.disabled_at"
)

_ADD: LiteralString = """
INSERT INTO client (id, name, role, organisations, teams, scopes, jwks, jwks_url, subject, assignment, issuer,
                    created_at)
VALUES (%(id)s, %(name)s, %(role)s, %(organisations)s, %(teams)s, %(scopes)s, %(jwks)s, %(jwks_url)s, %(subject)s,
        %(assignment)s, %(issuer)s, %(created_at)s)
ON CONFLICT DO NOTHING
RETURNING id
"""

_ROTATE: LiteralString = """
WITH changed AS (
    UPDATE client SET jwks = %(jwks)s, jwks_url = %(jwks_url)s, subject = %(subject)s, assignment = %(assignment)s,
           issuer = %(issuer)s, rotated_at = %(now)s
     WHERE id = %(id)s AND disabled_at IS NULL
       AND NOT EXISTS (SELECT FROM client other WHERE other.id <> %(id)s
                          AND (other.subject = %(subject)s OR other.assignment = %(assignment)s
                               OR other.issuer = %(issuer)s))
    RETURNING id
), ended AS (
    DELETE FROM access_token t USING changed WHERE t.client_id = changed.id
)
SELECT id FROM changed
"""

_DISABLE: LiteralString = """
WITH changed AS (
    UPDATE client SET disabled_at = %(now)s WHERE id = %(id)s AND disabled_at IS NULL RETURNING id
), ended AS (
    DELETE FROM access_token t USING changed WHERE t.client_id = changed.id
)
SELECT id FROM changed
"""

_LIST: LiteralString = f"SELECT {_ROW} FROM client c ORDER BY c.id"
_BY_ID: LiteralString = f"SELECT {_ROW} FROM client c WHERE c.id = %(id)s"
_BY_SUBJECT: LiteralString = f"SELECT {_ROW} FROM client c WHERE c.subject = %(subject)s AND c.disabled_at IS NULL"
_BY_ASSIGNMENT: LiteralString = (
    f"SELECT {_ROW} FROM client c WHERE c.assignment = %(assignment)s AND c.disabled_at IS NULL"
)
_BY_ISSUER: LiteralString = f"SELECT {_ROW} FROM client c WHERE c.issuer = %(issuer)s"

_USED: LiteralString = """
WITH used AS (
    INSERT INTO used_assertion (issuer, jti, expires_at) VALUES (%(client_id)s, %(jti)s, %(jti_until)s)
    ON CONFLICT DO NOTHING
    RETURNING issuer
)
"""

_ISSUE: LiteralString = f"""{_USED}
INSERT INTO access_token (hash, client_id, scopes, expires_at)
SELECT %(hash)s, c.id, %(scopes)s, %(expires_at)s FROM used
  JOIN client c ON c.id = used.issuer AND c.disabled_at IS NULL
RETURNING client_id
"""

_USE: LiteralString = f"{_USED} SELECT c.id FROM used JOIN client c ON c.id = used.issuer AND c.disabled_at IS NULL"

_TOKEN: LiteralString = f"""
SELECT {_ROW}, t.scopes, t.expires_at FROM access_token t JOIN client c ON c.id = t.client_id
 WHERE t.hash = %(hash)s AND c.disabled_at IS NULL
"""

_FORGET: LiteralString = """
WITH ended AS (DELETE FROM access_token WHERE expires_at < %(now)s)
DELETE FROM used_assertion WHERE expires_at < %(now)s
"""


class Clients:
    """Who may call. Raises StoreUnavailable."""

    def __init__(self, writers: Connections, readers: Connections) -> None:
        self._writers, self._readers = writers, readers

    def add(self, client: ClientRow) -> bool:
        """Registers a client; False when its id, subject, assignment or issuer is another's."""
        values = {
            "id": client.id,
            "name": client.name,
            "role": client.role,
            "organisations": list(client.organisations),
            "teams": list(client.teams),
            "scopes": client.scopes,
            "created_at": client.created_at,
        }
        return bool(self._write(_ADD, {**values, **_known_by(client.credentials)}))

    def rotate(self, id_: str, credentials: Credentials, now: datetime) -> bool:
        """Knows it by something else from now on, and ends its tokens; False when it is not there, or disabled, or what
        it is to be known by is another's.
        """
        return bool(self._write(_ROTATE, {"id": id_, "now": now, **_known_by(credentials)}))

    def disable(self, id_: str, now: datetime) -> bool:
        """Ends a client and its tokens for good; False when it is not there, or is disabled already."""
        return bool(self._write(_DISABLE, {"id": id_, "now": now}))

    def listed(self) -> list[ClientRow]:
        """All of them, by id; those that are disabled too."""
        return [_client(row) for row in self._read(_LIST, {})]

    def get(self, id_: str) -> ClientRow | None:
        """A client, also one that is disabled."""
        return _first(self._read(_BY_ID, {"id": id_}))

    def of_subject(self, subject: str) -> ClientRow | None:
        """Who is known by this certificate's subject."""
        return _first(self._read(_BY_SUBJECT, {"subject": subject}))

    def of_assignment(self, assignment: str) -> ClientRow | None:
        """Who acts for this care unit."""
        return _first(self._read(_BY_ASSIGNMENT, {"assignment": assignment}))

    def of_issuer(self, issuer: str) -> ClientRow | None:
        """Who calls itself so in what it signs, also one that is disabled."""
        return _first(self._read(_BY_ISSUER, {"issuer": issuer}))

    def use(self, client_id: str, jti: str, until: datetime) -> bool:
        """Keeps that a client's JWT is used; False when it was used before, or the client is disabled. `jti` and
        `until` as in NewToken.
        """
        return bool(self._write(_USE, {"client_id": client_id, "jti": jti, "jti_until": until}))

    def issue(self, new: NewToken) -> bool:
        """Keeps a token, and that its assertion is used; False when it was used before, or its client is disabled."""
        values = {name: getattr(new, name) for name in NewToken.__slots__}
        return bool(self._write(_ISSUE, values))

    def token(self, hash_: bytes) -> TokenRow | None:
        """The token with this SHA-256, also one that has expired and is not forgotten yet."""
        rows = self._read(_TOKEN, {"hash": hash_})
        return TokenRow(_client(rows[0][:-2]), *rows[0][-2:]) if rows else None

    def forget(self, now: datetime) -> None:
        """Takes away what has expired."""
        with self._writers.connection() as connection:
            connection.execute(_FORGET, {"now": now})

    def _write(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        with self._writers.connection() as connection:
            return connection.execute(statement, values).fetchall()

    def _read(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        with self._readers.connection() as connection:
            return connection.execute(statement, values).fetchall()


def _known_by(credentials: Credentials) -> dict[str, str | None]:
    return {name: getattr(credentials, name) for name in Credentials.__slots__}


def _client(row: Row) -> ClientRow:
    id_, name, role, organisations, teams, scopes, jwks, jwks_url, subject, assignment, issuer, *times = row
    known_by = Credentials(jwks, jwks_url, subject, assignment, issuer)
    return ClientRow(id_, name, role, tuple(organisations), tuple(teams), scopes, known_by, *times)


def _first(rows: list[Row]) -> ClientRow | None:
    return _client(rows[0]) if rows else None
