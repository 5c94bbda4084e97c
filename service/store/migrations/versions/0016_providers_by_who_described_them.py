"""A role or a person is kept for the unit that has described it, and a unit's own key is for its own description."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_CHANGES = """
-- Who has described it first: the unit whose ServiceRequest was stored in the same transaction, known by its stamp.
CREATE TEMPORARY TABLE described ON COMMIT DROP AS
WITH version AS (
    SELECT type, id, version, last_updated, referral_id FROM resource
    UNION ALL
    SELECT type, id, version, last_updated, referral_id FROM resource_history
)
SELECT n.kind, n.key, min(o.organisation) AS unit
FROM natural_key n
JOIN version made ON made.version = 1 AND made.type || '/' || made.id = n.reference
JOIN version sent ON sent.type = 'ServiceRequest' AND sent.last_updated = made.last_updated
JOIN referral o ON o.id = sent.referral_id
WHERE n.kind IN ('Organization', 'PractitionerRole', 'Practitioner')
GROUP BY n.kind, n.key;

-- What no unit can be told of, and what an HSA-id cannot be, is matched no more.
DELETE FROM natural_key n
WHERE n.kind IN ('Organization', 'PractitionerRole', 'Practitioner')
      AND (strpos(n.key, '@') > 0 OR n.key LIKE 'sha256:%')
   OR n.kind IN ('PractitionerRole', 'Practitioner')
      AND NOT EXISTS (SELECT FROM described d WHERE d.kind = n.kind AND d.key = n.key);

-- A unit that has sent referrals keeps its Organization, which its next description of itself renews.
UPDATE natural_key n SET key = n.key || '@' || d.unit
FROM described d
WHERE d.kind = n.kind AND d.key = n.key
  AND (n.kind <> 'Organization' OR d.unit <> n.key
       AND NOT EXISTS (SELECT FROM referral o WHERE o.organisation = n.key));
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_CHANGES)
    cursor.close()
