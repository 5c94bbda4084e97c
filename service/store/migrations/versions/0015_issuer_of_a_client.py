"""What a client calls itself in the JWTs with which it calls CDS Hooks."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute("ALTER TABLE client ADD COLUMN issuer text UNIQUE")
    cursor.close()
