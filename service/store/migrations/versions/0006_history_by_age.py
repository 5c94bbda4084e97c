"""The history of a type, newest first, is a walk along an index."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX history_by_age ON resource_history (type, last_updated, id, version)")
