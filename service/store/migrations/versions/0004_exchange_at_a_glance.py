"""How the exchange stands can be told without reading through tables that grow."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHANGES = """
-- Since when something of the referral waits to be shown over there; what is on its way for the first time does not.
ALTER TABLE exchange ADD COLUMN waiting_since timestamptz;
UPDATE exchange SET waiting_since = coalesce(unanswered_since, dead_at, now())
 WHERE dead_at IS NOT NULL OR (next_attempt_at IS NOT NULL AND attempts > 0);
CREATE INDEX exchange_waiting ON exchange (waiting_since) WHERE waiting_since IS NOT NULL AND dead_at IS NULL;
CREATE INDEX exchange_discarded ON exchange (discarded_at) WHERE discarded_at IS NOT NULL;
CREATE INDEX quarantine_open ON quarantine (tried_at) WHERE ended_at IS NULL;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_CHANGES)
    cursor.close()
