"""Who sees a referral is asked of its row at every read: the teams with a Task in it are there, and a Patient finds its
referrals by an index.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHANGES = """
-- The other teams that own a Task in it. A PractitionerRole in the pack's directory says which team it belongs to.
ALTER TABLE referral ADD COLUMN involved text[] NOT NULL DEFAULT '{}';
UPDATE referral o SET involved = found.teams
FROM (
    SELECT r.referral_id, array_agg(DISTINCT owner.team ORDER BY owner.team) AS teams
    FROM resource r
    JOIN referral f ON f.id = r.referral_id
    JOIN search_value s ON s.type = 'Task' AND s.id = r.id AND s.param = 'owner'
    CROSS JOIN LATERAL (
        SELECT split_part(s.value, '/', 2) AS team WHERE s.value LIKE 'HealthcareService/%'
        UNION
        SELECT split_part(g.value, '/', 2) FROM search_value g
        WHERE g.type = 'PractitionerRole' AND s.value = 'PractitionerRole/' || g.id AND g.param = 'service'
    ) owner
    WHERE r.type = 'Task' AND owner.team <> f.team
    GROUP BY r.referral_id
) found
WHERE o.id = found.referral_id;

CREATE INDEX referral_of_patient_as_stored ON referral (patient);
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_CHANGES)
    cursor.close()
