"""Subscriptions that others have with us, and the events that they are told."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = """
-- Not among the resources: what is in it is for its maker alone, and its header may hold a secret. One that was deleted
-- is kept without its content, so that it is told from one that never was.
CREATE TABLE subscription (
    id text PRIMARY KEY,
    version integer NOT NULL DEFAULT 1,
    last_updated timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'requested',
    topic text NOT NULL,
    content text NOT NULL,
    role text NOT NULL,
    organisation text,
    team text,
    base text NOT NULL,
    since timestamptz NOT NULL,
    heartbeat integer,
    ends_at timestamptz,
    events integer NOT NULL DEFAULT 0,
    acknowledged integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    failing_since timestamptz,
    reason text,
    sent_at timestamptz,
    deleted_at timestamptz
);

-- Numbered from 1 without a gap, in the order in which it was stored.
CREATE TABLE subscription_event (
    subscription_id text NOT NULL,
    number integer NOT NULL,
    at timestamptz NOT NULL,
    focus text NOT NULL,
    PRIMARY KEY (subscription_id, number)
);

-- Every change before this instant has been looked at. One row, or none before the first event.
CREATE TABLE subscription_reached (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    reached timestamptz NOT NULL
);
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_TABLES)
    cursor.close()
