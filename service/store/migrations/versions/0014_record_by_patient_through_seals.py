"""Events of the record are found by patient through the seals on them, so that showing a list writes no index."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COLUMN = """
-- Whom and what its events are about, each once: the same patients are on a work list again and again.
ALTER TABLE audit_seal ADD COLUMN about text[] COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE audit_seal DISABLE TRIGGER kept;
UPDATE audit_seal s SET about = ARRAY(
    SELECT DISTINCT one FROM audit_event e, unnest(e.patients || e.about) AS one WHERE e.id = ANY (s.ids) ORDER BY one
);
ALTER TABLE audit_seal ENABLE TRIGGER kept;
ALTER TABLE audit_seal ALTER COLUMN about DROP DEFAULT;
CREATE INDEX audit_seal_by_about ON audit_seal USING gin (about) WITH (fastupdate = off);
DROP INDEX audit_event_by_patient;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_COLUMN)
    cursor.close()
