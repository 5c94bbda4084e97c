"""Whether the external server answers, as all workers see it."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLE = """
-- One row, or none before the first contact.
CREATE TABLE external_server (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    failures integer NOT NULL DEFAULT 0,
    failed_referral text,
    reason text,
    down_since timestamptz,
    probe_at timestamptz,
    last_contact timestamptz
);
"""


def upgrade() -> None:
    op.execute(_TABLE)
