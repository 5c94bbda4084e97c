"""The SQL of `collection_state`, each statement written once."""

from typing import LiteralString

ADVANCE: LiteralString = """
INSERT INTO collection (type, watermark, polled_at) VALUES (%(type)s, %(watermark)s, %(now)s)
ON CONFLICT (type) DO UPDATE SET watermark = coalesce(excluded.watermark, collection.watermark),
  polled_at = excluded.polled_at
"""

COLLECTED: LiteralString = """
SELECT c.type, c.remote_id, c.remote_version, c.outcome, c.attempts, c.referral_id
  FROM unnest(%(types)s::text[], %(ids)s::text[]) AS wanted (type, id)
  JOIN collected c ON c.type = wanted.type AND c.remote_id = wanted.id
"""

WAITING: LiteralString = """
SELECT type, remote_id, remote_version, outcome, attempts, referral_id FROM collected
WHERE outcome = 'waiting' AND at + attempts * interval '5 seconds' <= %(now)s ORDER BY attempts, at LIMIT %(limit)s
"""

HOLDING_UP: LiteralString = """
SELECT type, remote_id FROM collected WHERE outcome = 'waiting' AND attempts > 0 AND referral_id = %(referral)s
"""

RECORD: LiteralString = """
INSERT INTO collected (type, remote_id, remote_version, outcome, attempts, referral_id, at)
VALUES (%(type)s, %(id)s, %(version)s, %(outcome)s, %(attempts)s, %(referral)s, %(now)s)
ON CONFLICT (type, remote_id) DO UPDATE SET remote_version = excluded.remote_version, outcome = excluded.outcome,
  attempts = excluded.attempts, referral_id = coalesce(excluded.referral_id, collected.referral_id), at = excluded.at
"""

FREE: LiteralString = """
UPDATE collected SET outcome = 'waiting', attempts = 0 WHERE outcome = 'stuck' AND referral_id = %(referral)s
"""

STANDING_FOR: LiteralString = """
SELECT m.local_type || '/' || m.local_id, m.remote_id, m.remote_version, coalesce(m.acknowledged_version, 0),
       m.referral_id, split_part(n.key, '@', -1)
  FROM unnest(%(types)s::text[], %(ids)s::text[]) AS wanted (type, id)
  JOIN remote m ON m.local_type = wanted.type AND m.remote_id = wanted.id
  LEFT JOIN natural_key n ON n.kind = 'Practitioner' AND m.local_type = n.kind
   AND n.reference = m.local_type || '/' || m.local_id
"""

COPIES_AFTER: LiteralString = """
SELECT local_type || '/' || local_id, remote_id, remote_version, coalesce(acknowledged_version, 0), referral_id
  FROM remote WHERE referral_id IS NOT NULL AND (local_type, local_id) > (%(type)s, %(id)s)
 ORDER BY local_type, local_id LIMIT %(limit)s
"""

COPIES_OF: LiteralString = """
SELECT local_type || '/' || local_id, remote_id, remote_version, coalesce(acknowledged_version, 0), referral_id
  FROM remote WHERE referral_id = ANY(%(referrals)s::text[])
"""

CONTESTED: LiteralString = """
SELECT referral_id FROM exchange
 WHERE next_attempt_at IS NOT NULL AND dead_at IS NULL
   AND last_error ->> 'reason' = 'conflict' AND (last_error ->> 'at')::timestamptz >= %(since)s::timestamptz
 LIMIT %(limit)s
"""

RECONCILING: LiteralString = "SELECT part, reached FROM reconciliation"

RECONCILING_AT: LiteralString = """
INSERT INTO reconciliation (part, reached) VALUES (%(part)s, %(reached)s)
ON CONFLICT (part) DO UPDATE SET reached = excluded.reached
"""

RECONCILED: LiteralString = "DELETE FROM reconciliation"

JOIN: LiteralString = """
INSERT INTO remote (local_type, local_id, remote_id, remote_version, acknowledged_version, referral_id)
SELECT * FROM unnest(%(types)s::text[], %(ids)s::text[], %(remote_ids)s::text[], %(remote_versions)s::text[],
                     %(acknowledged)s::integer[], %(referrals)s::text[])
ON CONFLICT (local_type, local_id) DO NOTHING
"""

ADOPT: LiteralString = """
UPDATE remote SET remote_version = %(version)s,
       acknowledged_version = CASE WHEN acknowledged_version = %(theirs)s THEN %(theirs)s ELSE %(acknowledged)s END
 WHERE local_type = %(type)s AND local_id = %(id)s
"""

FORGET: LiteralString = "DELETE FROM remote WHERE local_type = %(type)s AND local_id = %(id)s"

HOLD_BACK: LiteralString = """
INSERT INTO exchange (referral_id, next_attempt_at) VALUES (%(id)s, %(until)s)
ON CONFLICT (referral_id) DO UPDATE SET next_attempt_at = excluded.next_attempt_at WHERE exchange.dead_at IS NULL
"""

RELEASE: LiteralString = """
UPDATE exchange SET next_attempt_at = %(now)s WHERE referral_id = %(id)s AND dead_at IS NULL
"""

DROP: LiteralString = """
DELETE FROM exchange e WHERE e.referral_id = %(id)s AND NOT EXISTS (SELECT FROM referral r WHERE r.id = %(id)s)
"""

QUARANTINED: LiteralString = """
SELECT remote_id, id, told, since, tried_at, ended_at FROM quarantine WHERE remote_id = %(id)s
"""

QUARANTINE: LiteralString = """
INSERT INTO quarantine (remote_id, id, told, since, tried_at) VALUES (%(remote_id)s, %(id)s, %(told)s, %(now)s, %(now)s)
ON CONFLICT (remote_id) DO UPDATE SET told = excluded.told, tried_at = excluded.tried_at, ended_at = NULL
"""

QUARANTINE_ENDED: LiteralString = "UPDATE quarantine SET ended_at = %(now)s WHERE remote_id = %(id)s"

QUARANTINE_DUE: LiteralString = """
SELECT remote_id, id, told, since, tried_at, ended_at FROM quarantine
WHERE ended_at IS NULL
  AND tried_at + greatest(interval '1 minute', least(interval '6 hours', tried_at - since)) <= %(now)s
ORDER BY tried_at LIMIT %(limit)s
"""
