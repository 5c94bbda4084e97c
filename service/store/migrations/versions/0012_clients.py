"""Clients that may call, the tokens that they have, and the assertions that they have used."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = """
-- What is needed to know a client again is public: keys, an address of keys, a certificate's subject, the HSA-id of
-- the care unit that an identity provider vouches for.
CREATE TABLE client (
    id text PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    organisations text[] NOT NULL,
    teams text[] NOT NULL,
    scopes text NOT NULL,
    jwks text,
    jwks_url text,
    subject text UNIQUE,
    assignment text UNIQUE,
    created_at timestamptz NOT NULL,
    rotated_at timestamptz,
    disabled_at timestamptz
);

-- Of a token only its SHA-256: who reads the database cannot call with it.
CREATE TABLE access_token (
    hash bytea PRIMARY KEY,
    client_id text NOT NULL REFERENCES client,
    scopes text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX access_token_by_client ON access_token (client_id);
CREATE INDEX access_token_by_end ON access_token (expires_at);

-- An assertion is good once: https://www.rfc-editor.org/rfc/rfc7523#section-3
CREATE TABLE used_assertion (
    issuer text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, jti)
);
CREATE INDEX used_assertion_by_end ON used_assertion (expires_at);

ALTER TABLE subscription ADD COLUMN client text;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_TABLES)
    cursor.close()
