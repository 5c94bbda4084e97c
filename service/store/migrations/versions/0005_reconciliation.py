"""How far a reconciliation with the external server has come, so that one that was interrupted goes on."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = """
-- Nothing of it while none is under way. `reached` is a reference of ours for the part 'copies', for a type an instant
-- of the external server.
CREATE TABLE reconciliation (
    part text PRIMARY KEY,
    reached text NOT NULL
);
"""


def upgrade() -> None:
    op.execute(_TABLE)
