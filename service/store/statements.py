# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""The store's SQL, each statement written once so that PostgreSQL prepares it once. Parameters `%(name)b` go in binary,
which for arrays costs a fifth of the text form.
"""

from functools import cache
from typing import LiteralString

from service.store.audit import RECORD

STORED: LiteralString = "r.type, r.id, r.version, r.last_updated, r.body, r.referral_id"
"""The columns of a `Stored`, in order, from a resource table called r."""

REFERRAL: LiteralString = (
    "id, organisation, placer_system, placer_value, fingerprint, patient_key, created_at, programme, service_request,"
    " patient, task, state, verdict, team, alerted, unit_reach, involved"
)
"""The columns of a `ReferralRow`, in order."""

HISTORY: LiteralString = f"""
SELECT {STORED} FROM resource r WHERE r.type = %(type)s AND r.id = %(id)s
UNION ALL
SELECT {STORED} FROM resource_history r WHERE r.type = %(type)s AND r.id = %(id)s
ORDER BY version DESC
"""

OF_REFERRAL: LiteralString = f"""
SELECT {STORED} FROM resource r WHERE r.referral_id = %(referral)s ORDER BY r.last_updated, r.type, r.id
"""

REFERRAL_BY_ID: LiteralString = f"SELECT {REFERRAL} FROM referral WHERE id = %(id)s"

REFERRAL_BY_PLACER: LiteralString = f"SELECT {REFERRAL} FROM referral WHERE placer_key = %(placer_key)s"

OPEN_REFERRALS: LiteralString = f"""
SELECT {REFERRAL} FROM referral WHERE patient_key = %(patient_key)s AND state = ANY(%(states)b::text[])
ORDER BY created_at, id
"""

NATURAL: LiteralString = """
SELECT n.kind, n.key, n.reference FROM unnest(%(kinds)b::text[], %(keys)b::text[]) AS wanted (kind, key)
JOIN natural_key n ON n.kind = wanted.kind AND n.key = wanted.key
"""

JOURNAL_OF: LiteralString = """
SELECT referral_id, actor, event, detail, at FROM journal WHERE referral_id = %(referral)s ORDER BY id
"""

# Read through once in a while by a person; the last word on a card counts.
CARD_FIGURES: LiteralString = """
WITH shown AS (
  SELECT referral_id AS card, jsonb_array_elements_text(detail -> 'rules') AS rule FROM journal
   WHERE event = 'card-shown' AND at >= %(since)s
), told AS (
  SELECT DISTINCT ON (referral_id) referral_id AS card, detail ->> 'outcome' AS outcome, detail ->> 'reason' AS reason
    FROM journal WHERE event = 'card-outcome' ORDER BY referral_id, id DESC
)
SELECT rule, count(*), count(*) FILTER (WHERE outcome = 'accepted'), count(*) FILTER (WHERE outcome = 'overridden'),
       coalesce(array_agg(reason ORDER BY reason) FILTER (WHERE reason IS NOT NULL), '{}')
  FROM shown LEFT JOIN told USING (card) GROUP BY rule ORDER BY count(*) DESC, rule
"""

QUEUE_FIGURES: LiteralString = """
SELECT (SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'),
       (SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'),
       (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'),
       (SELECT min(coalesce(j.scheduled_at, (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id)))
        FROM procrastinate_jobs j WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())),
       (SELECT count(*) FROM exchange WHERE dead_at IS NOT NULL),
       (SELECT count(*) FROM deadline WHERE due_at <= %(now)s),
       (SELECT count(*) FROM exchange WHERE attempts > 0 AND dead_at IS NULL AND next_attempt_at IS NOT NULL),
       (SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute')
"""

WAKE: LiteralString = """
SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW('default', %(name)s::text, %(priority)s::integer, %(name)s, %(name)s, %(args)s::jsonb, NULL)
    ::procrastinate_job_to_defer_v1
]) WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = %(name)s AND status = 'todo')
"""

LINK_KEY: LiteralString = """
INSERT INTO link_key AS known (key) VALUES (%(new)s)
ON CONFLICT (only_row) DO UPDATE SET key = known.key
RETURNING key
"""

# Every one of these is answered from a partial index that holds only what is not in order, or from a few rows.
EXCHANGE_FIGURES: LiteralString = """
SELECT (SELECT count(*) FROM exchange WHERE dead_at IS NULL AND next_attempt_at IS NOT NULL),
       (SELECT min(waiting_since) FROM exchange WHERE dead_at IS NULL AND waiting_since IS NOT NULL),
       (SELECT count(*) FROM exchange WHERE dead_at IS NOT NULL),
       (SELECT min(dead_at) FROM exchange WHERE dead_at IS NOT NULL),
       (SELECT count(*) FROM exchange WHERE discarded_at IS NOT NULL),
       (SELECT max(polled_at) FROM collection),
       (SELECT count(*) FROM collected WHERE outcome = 'waiting'),
       (SELECT count(*) FROM collected WHERE outcome = 'stuck'),
       (SELECT count(*) FROM quarantine WHERE ended_at IS NULL)
"""

WATERMARKS: LiteralString = "SELECT type, watermark, polled_at FROM collection ORDER BY type"

KEYS_OF: LiteralString = "SELECT key FROM natural_key WHERE kind = %(kind)s AND reference = %(reference)s"

ABSENCES: LiteralString = "SELECT team, first, last, substitute FROM absence ORDER BY id"

ENTER_ABSENCE: LiteralString = """
INSERT INTO absence (team, first, last, substitute, entered_at)
VALUES (%(team)s, %(first)s, %(last)s, %(substitute)s, %(entered_at)s)
"""

OVERDUE: LiteralString = """
SELECT referral_id, task_id, kind, due_at, level FROM deadline WHERE due_at <= %(now)s ORDER BY due_at LIMIT %(limit)s
"""

DEADLINES_OF: LiteralString = "SELECT referral_id, task_id, kind, due_at, level FROM deadline WHERE task_id = %(task)s"

IN_USE: LiteralString = "SELECT DISTINCT team, programme FROM referral WHERE state = ANY(%(states)s::text[])"

WAITING_AT: LiteralString = f"""
SELECT {REFERRAL} FROM referral WHERE team = %(team)s AND state = ANY(%(states)s::text[]) ORDER BY created_at
"""

STAMP: LiteralString = "SELECT sluss_stamp()"

OPEN_REFERRAL: LiteralString = f"""
INSERT INTO referral ({REFERRAL}, placer_key)
VALUES (%(id)s, %(organisation)s, %(placer_system)s, %(placer_value)s, %(fingerprint)s, %(patient_key)s, %(created_at)s,
        %(programme)s, %(service_request)s, %(patient)s, %(task)s, %(state)s, %(verdict)s, %(team)s,
        %(alerted)b::text[], %(unit_reach)s, %(involved)b::text[], %(placer_key)s)
ON CONFLICT (placer_key) DO NOTHING
RETURNING pg_advisory_xact_lock(5701, hashtext(patient_key)), sluss_stamp()
"""
"""The stamp is taken when the patient's lock (LOCK_KEY) is there: expressions are evaluated in their order."""

LOCK_REFERRAL: LiteralString = f"""
WITH locked AS MATERIALIZED (SELECT {REFERRAL} FROM referral WHERE id = %(id)s FOR UPDATE)
SELECT {REFERRAL} FROM locked
"""

# The second key is the patient's; the first sets these locks apart from others'.
LOCK_KEY: LiteralString = "SELECT pg_advisory_xact_lock(5701, hashtext(%(key)s))"

SURROUNDINGS: LiteralString = """
SELECT 'natural', n.kind, n.key, n.reference, r.referral_id, r.version, r.last_updated, r.body
FROM unnest(%(kinds)b::text[], %(keys)b::text[]) AS wanted (kind, key)
JOIN natural_key n ON n.kind = wanted.kind AND n.key = wanted.key
JOIN resource r ON r.type = split_part(n.reference, '/', 1) AND r.id = split_part(n.reference, '/', 2)
UNION ALL
(SELECT 'absence', team, first::text, last::text, substitute, NULL, NULL, NULL FROM absence ORDER BY id)
UNION ALL
(SELECT 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM referral
 WHERE patient_key = %(patient_key)s AND state = ANY(%(states)b::text[]) AND id <> %(besides)s LIMIT 1)
"""

CLAIM_NATURAL: LiteralString = """
INSERT INTO natural_key (kind, key, reference) VALUES (%(kind)s, %(key)s, %(reference)s)
ON CONFLICT (kind, key) DO NOTHING RETURNING reference
"""

DUE_DEADLINES: LiteralString = """
SELECT referral_id, task_id, kind, due_at, level FROM deadline WHERE due_at <= %(now)s
ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

# A row is replaced when it has the version that the writer saw. The stamp must not go back either; an equal one is
# this transaction's own.
REPLACE: LiteralString = """
WITH wanted AS (
    SELECT * FROM unnest(%(types)b::text[], %(ids)b::text[], %(expected)b::int[], %(referrals)b::text[],
                         %(bodies)b::text[], %(froms)b::text[], %(untils)b::text[])
         AS w (type, id, expected, referral_id, body, dated_from, dated_until)
), old AS MATERIALIZED (
    SELECT r.type, r.id, r.version, r.last_updated, r.referral_id, r.body,
           w.body AS new_body, coalesce(w.referral_id, r.referral_id) AS new_referral_id,
           w.dated_from::timestamptz, w.dated_until::timestamptz
    FROM wanted w JOIN resource r ON r.type = w.type AND r.id = w.id
    WHERE r.version = w.expected AND r.last_updated <= %(stamp)s
    FOR UPDATE OF r
), kept AS (
    INSERT INTO resource_history (type, id, version, last_updated, referral_id, body)
    SELECT type, id, version, last_updated, referral_id, body FROM old
), no_longer_found_by AS (
    DELETE FROM search_value s USING old WHERE s.type = old.type AND s.id = old.id
), no_longer_measured AS (
    DELETE FROM measured m USING old WHERE old.type = 'Observation' AND m.type = old.type AND m.id = old.id
)
UPDATE resource r
SET version = old.version + 1, last_updated = %(stamp)s, body = old.new_body, referral_id = old.new_referral_id,
    dated_from = old.dated_from, dated_until = old.dated_until
FROM old WHERE r.type = old.type AND r.id = old.id
RETURNING r.type, r.id
"""

_ADDING: dict[str, LiteralString] = {
    "recorded": RECORD,
    "created": """
        INSERT INTO resource (type, id, version, last_updated, referral_id, body, dated_from, dated_until)
        SELECT w.type, w.id, 1, %(stamp)s, w.referral_id, w.body, w.dated_from::timestamptz, w.dated_until::timestamptz
        FROM unnest(%(types)b::text[], %(ids)b::text[], %(referrals)b::text[], %(bodies)b::text[], %(froms)b::text[],
                    %(untils)b::text[]) AS w (type, id, referral_id, body, dated_from, dated_until)
        ON CONFLICT DO NOTHING
        RETURNING type, id
    """,
    "stood_for": """
        INSERT INTO natural_key (kind, key, reference)
        SELECT * FROM unnest(%(natural_kinds)b::text[], %(natural_keys)b::text[], %(natural_references)b::text[])
    """,
    "found_by": """
        INSERT INTO search_value (type, param, value, status, last_updated, id)
        SELECT w.type, w.param, w.value, w.status, %(stamp)s, w.id
        FROM unnest(%(index_types)b::text[], %(index_params)b::text[], %(index_values)b::text[],
                    %(index_statuses)b::text[], %(index_ids)b::text[]) AS w (type, param, value, status, id)
    """,
    "measured": """
        INSERT INTO measured (type, param, value, id)
        SELECT w.type, w.param, w.value::numeric, w.id
        FROM unnest(%(measured_types)b::text[], %(measured_params)b::text[], %(measured_values)b::text[],
                    %(measured_ids)b::text[]) AS w (type, param, value, id)
    """,
    "told": """
        INSERT INTO journal (referral_id, at, actor, event, detail)
        SELECT w.referral_id, %(stamp)s, w.actor, w.event, w.detail::jsonb
        FROM unnest(%(told_referrals)b::text[], %(told_actors)b::text[], %(told_events)b::text[],
                    %(told_details)b::text[]) AS w (referral_id, actor, event, detail)
    """,
    "patched": f"""
        UPDATE referral r SET ({REFERRAL}) = (SELECT {REFERRAL} FROM jsonb_populate_record(r, w.patch::jsonb))
        FROM unnest(%(patch_ids)b::text[], %(patches)b::text[]) AS w (patch_id, patch)
        WHERE r.id = w.patch_id
    """,
    "due": """
        INSERT INTO deadline (task_id, kind, referral_id, due_at, level)
        SELECT w.task_id, w.kind, w.referral_id, w.due_at, w.level
        FROM unnest(%(due_tasks)b::text[], %(due_kinds)b::text[], %(due_referrals)b::text[],
                    %(due_times)b::timestamptz[], %(due_levels)b::int[])
             AS w (task_id, kind, referral_id, due_at, level)
        ON CONFLICT (task_id, kind) DO UPDATE
        SET referral_id = excluded.referral_id, due_at = excluded.due_at, level = excluded.level
    """,
    "deferred": """
        SELECT sluss_defer(w.name, w.args::jsonb, w.queueing_lock, w.lock, w.due) AS done
        FROM unnest(%(job_names)b::text[], %(job_args)b::text[], %(job_queueing_locks)b::text[],
                    %(job_locks)b::text[], %(job_times)b::timestamptz[]) AS w (name, args, queueing_lock, lock, due)
    """,
}
"""What a transaction can leave behind besides new versions, by the name of its part."""


@cache
def add(parts: tuple[str, ...]) -> bytes:
    """One statement that leaves all these parts behind and gives (type, id) of what was created: most changes are this
    and a COMMIT. The same few combinations come again and again, so each is prepared once.
    """
    selects = ", ".join(f"{part} AS ({_ADDING[part]})" for part in parts)
    found = "SELECT type, id FROM created" if "created" in parts else "SELECT NULL, NULL WHERE false"
    # A SELECT that nobody reads from would not be carried out.
    jobs = " UNION ALL SELECT NULL, NULL FROM deferred" if "deferred" in parts else ""
    return f"WITH {selects} {found}{jobs}".encode()


CLEAR_DEADLINES: LiteralString = """
DELETE FROM deadline
WHERE task_id = ANY(%(tasks)b::text[]) AND (%(kinds)b::text[] IS NULL OR kind = ANY(%(kinds)b::text[]))
"""
