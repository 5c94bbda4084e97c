"""What is collected from the external server: how far, what was made of it, what could not be read."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
-- How far each type has been collected, in the external server's own time; polled_at is ours and only for people.
CREATE TABLE collection (
    type text PRIMARY KEY,
    watermark timestamptz,
    polled_at timestamptz NOT NULL
);

-- What became of something over there that is not known from `remote`: the version that was last looked at.
CREATE TABLE collected (
    type text NOT NULL,
    remote_id text NOT NULL,
    remote_version text NOT NULL,
    outcome text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    referral_id text,
    at timestamptz NOT NULL,
    PRIMARY KEY (type, remote_id)
);
CREATE INDEX collected_unfinished ON collected (attempts, at) WHERE outcome IN ('waiting', 'stuck');

-- ServiceRequests over there that could not be taken in; `id` is what our Task and messages about it are kept under.
CREATE TABLE quarantine (
    remote_id text PRIMARY KEY,
    id text NOT NULL UNIQUE,
    told text NOT NULL,
    since timestamptz NOT NULL,
    tried_at timestamptz NOT NULL,
    ended_at timestamptz
);

-- A person has decided that a dead letter is not to be delivered, unless something changes.
ALTER TABLE exchange ADD COLUMN discarded_at timestamptz;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_TABLES)
    cursor.close()
