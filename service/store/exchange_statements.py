"""The SQL of `exchange_state`, each statement written once."""

from typing import LiteralString

# How long to wait is set before any row is there, and so before the first lock, for this statement only.
LOCK: LiteralString = """
SELECT pg_advisory_lock(number)
  FROM set_config('lock_timeout', %(wait)s, true), unnest(%(numbers)s::bigint[]) AS number
"""

UNLOCK: LiteralString = "SELECT pg_advisory_unlock(number) FROM unnest(%(numbers)s::bigint[]) AS number"

ROW: LiteralString = """
SELECT referral_id, attempts, next_attempt_at, last_error, dead_at, delivered_at, unanswered_since, waiting_since
  FROM exchange WHERE referral_id = %(id)s
"""

DUE: LiteralString = """
SELECT referral_id FROM exchange WHERE dead_at IS NULL AND next_attempt_at <= %(now)s
ORDER BY next_attempt_at LIMIT %(limit)s
"""

# The lock is that of every job that delivers (`worker.lock_of`).
TO_WAKE: LiteralString = """
SELECT e.referral_id FROM exchange e WHERE e.dead_at IS NULL AND e.next_attempt_at <= %(now)s AND NOT EXISTS (
    SELECT FROM procrastinate_jobs j WHERE j.queueing_lock = 'deliver:' || e.referral_id AND j.status = 'todo')
ORDER BY e.next_attempt_at LIMIT %(limit)s
"""

DEAD_LETTERS: LiteralString = """
SELECT referral_id, attempts, next_attempt_at, last_error, dead_at, delivered_at, unanswered_since, waiting_since
  FROM exchange WHERE dead_at IS NOT NULL ORDER BY dead_at LIMIT %(limit)s
"""

FIND_UNDELIVERED: LiteralString = """
INSERT INTO exchange (referral_id, next_attempt_at, waiting_since)
SELECT DISTINCT r.referral_id, %(now)s::timestamptz, %(now)s::timestamptz
  FROM resource r
  LEFT JOIN remote m ON m.local_type = r.type AND m.local_id = r.id
  LEFT JOIN exchange e ON e.referral_id = r.referral_id
 WHERE r.referral_id IS NOT NULL AND r.type = ANY(%(types)s::text[]) AND r.last_updated < %(before)s
   AND coalesce(m.acknowledged_version, 0) < r.version
   AND e.dead_at IS NULL AND e.next_attempt_at IS NULL
   AND (e.discarded_at IS NULL OR e.discarded_at < r.last_updated)
 LIMIT %(limit)s
ON CONFLICT (referral_id) DO UPDATE SET next_attempt_at = excluded.next_attempt_at,
  waiting_since = coalesce(exchange.waiting_since, excluded.waiting_since), discarded_at = NULL
 WHERE exchange.next_attempt_at IS NULL AND exchange.dead_at IS NULL
"""

BRING_FORWARD: LiteralString = """
UPDATE exchange SET next_attempt_at = %(now)s::timestamptz + random() * %(spread)s::interval
 WHERE dead_at IS NULL AND next_attempt_at > %(now)s::timestamptz + %(spread)s::interval
   AND last_error->>'reason' = ANY(%(reasons)s::text[])
"""

COPIES: LiteralString = """
SELECT m.local_type || '/' || m.local_id, m.remote_id, m.remote_version, coalesce(m.acknowledged_version, 0)
  FROM unnest(%(types)b::text[], %(ids)b::text[]) AS wanted (type, id)
  JOIN remote m ON m.local_type = wanted.type AND m.local_id = wanted.id
"""

SENDING: LiteralString = """
INSERT INTO exchange (referral_id, unanswered_since) VALUES (%(id)s, %(now)s)
ON CONFLICT (referral_id) DO UPDATE SET unanswered_since = excluded.unanswered_since
"""

LEARNT: LiteralString = """
INSERT INTO remote (local_type, local_id, remote_id, remote_version, acknowledged_version, referral_id)
SELECT * FROM unnest(%(types)b::text[], %(ids)b::text[], %(remote_ids)b::text[], %(remote_versions)b::text[],
                     %(acknowledged)s::integer[], %(referrals)b::text[])
ON CONFLICT (local_type, local_id) DO UPDATE SET remote_id = excluded.remote_id,
  remote_version = excluded.remote_version,
  acknowledged_version = greatest(remote.acknowledged_version, excluded.acknowledged_version)
"""

FORGET: LiteralString = "DELETE FROM remote WHERE local_type = %(type)s AND local_id = %(id)s"

DELIVERED: LiteralString = """
INSERT INTO exchange (referral_id, delivered_at) VALUES (%(id)s, %(now)s)
ON CONFLICT (referral_id) DO UPDATE SET delivered_at = excluded.delivered_at,
  attempts = 0, next_attempt_at = NULL, last_error = NULL, unanswered_since = NULL, waiting_since = NULL,
  discarded_at = NULL
"""

FAILED: LiteralString = """
INSERT INTO exchange (referral_id, attempts, next_attempt_at, last_error, dead_at, unanswered_since, waiting_since)
VALUES (%(id)s, %(attempts)s, %(next_attempt_at)s, %(last_error)s, %(dead_at)s, %(unanswered_since)s,
        %(waiting_since)s)
ON CONFLICT (referral_id) DO UPDATE SET attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,
  last_error = excluded.last_error, dead_at = excluded.dead_at, unanswered_since = excluded.unanswered_since,
  waiting_since = excluded.waiting_since, discarded_at = NULL
"""

HELD_BACK: LiteralString = """
INSERT INTO exchange (referral_id, next_attempt_at, waiting_since) VALUES (%(id)s, %(now)s, %(now)s)
ON CONFLICT (referral_id) DO UPDATE SET next_attempt_at = excluded.next_attempt_at,
  waiting_since = coalesce(exchange.waiting_since, excluded.waiting_since), discarded_at = NULL
 WHERE exchange.next_attempt_at IS NULL AND exchange.dead_at IS NULL
"""
