"""The key with which the links of search sets are sealed: one for all processes."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLE = """
-- Made by the first process that needs it. Who takes it away makes all links of before unreadable, and no more.
CREATE TABLE link_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key text NOT NULL
);
"""


def upgrade() -> None:
    op.execute(_TABLE)
