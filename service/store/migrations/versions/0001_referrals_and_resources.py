"""Resources with versions, what they are found by, referrals, journal, deadlines, exchange, stamps, jobs."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
-- The current version of every resource. `body` is the JSON text as it goes out; it is looked into as body::jsonb.
CREATE TABLE resource (
    type text NOT NULL,
    id text NOT NULL,
    version integer NOT NULL,
    last_updated timestamptz NOT NULL,
    referral_id text,
    body text NOT NULL,
    PRIMARY KEY (type, id)
);
CREATE INDEX resource_by_age ON resource (type, last_updated, id);
CREATE INDEX resource_of_referral ON resource (referral_id, last_updated) WHERE referral_id IS NOT NULL;

-- The versions before the current one.
CREATE TABLE resource_history (
    type text NOT NULL,
    id text NOT NULL,
    version integer NOT NULL,
    last_updated timestamptz NOT NULL,
    referral_id text,
    body text NOT NULL,
    PRIMARY KEY (type, id, version)
);
CREATE INDEX history_of_referral ON resource_history (referral_id) WHERE referral_id IS NOT NULL;

-- What current versions are found by. Status and age are in the key, so that a work list or a reply poll is a few
-- short walks along the index, whatever else is stored.
CREATE TABLE search_value (
    type text NOT NULL,
    param text NOT NULL,
    value text NOT NULL,
    status text NOT NULL,
    last_updated timestamptz NOT NULL,
    id text NOT NULL
);
CREATE INDEX search_value_by_value ON search_value (type, param, value, status, last_updated, id);
CREATE INDEX search_value_of_resource ON search_value (type, id);

CREATE TABLE referral (
    id text PRIMARY KEY,
    organisation text NOT NULL,
    placer_system text NOT NULL,
    placer_value text NOT NULL,
    -- Digest of the three above: senders decide their length, and an index row has a limit.
    placer_key text NOT NULL UNIQUE,
    fingerprint text NOT NULL,
    patient_key text NOT NULL,
    created_at timestamptz NOT NULL,
    programme text NOT NULL,
    service_request text NOT NULL,
    patient text NOT NULL,
    task text NOT NULL,
    state text NOT NULL,
    verdict text NOT NULL,
    team text NOT NULL,
    alerted text[] NOT NULL,
    unit_reach text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX referral_of_patient ON referral (patient_key);
CREATE INDEX referral_by_service_request ON referral (service_request);

-- One resource per thing in the world: a patient at an organisation, a unit, a role.
CREATE TABLE natural_key (
    kind text NOT NULL,
    key text NOT NULL,
    reference text NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Whose resource a shared one is: which organisations know a patient.
CREATE INDEX natural_key_of_resource ON natural_key (reference);

-- Teams that take no new referrals, as people have entered it; the latest entered counts.
CREATE TABLE absence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team text NOT NULL,
    first date NOT NULL,
    last date NOT NULL,
    substitute text,
    entered_at timestamptz NOT NULL
);

CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    referral_id text NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    event text NOT NULL,
    detail jsonb NOT NULL
);
CREATE INDEX journal_of_referral ON journal (referral_id, id);

CREATE TABLE deadline (
    task_id text NOT NULL,
    kind text NOT NULL,
    referral_id text NOT NULL,
    due_at timestamptz NOT NULL,
    level integer NOT NULL,
    PRIMARY KEY (task_id, kind)
);
CREATE INDEX deadline_by_due ON deadline (due_at);

-- How the delivery of one referral to the external server stands.
CREATE TABLE exchange (
    referral_id text PRIMARY KEY,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error jsonb,
    dead_at timestamptz,
    delivered_at timestamptz,
    unanswered_since timestamptz
);
CREATE INDEX exchange_due ON exchange (next_attempt_at) WHERE next_attempt_at IS NOT NULL AND dead_at IS NULL;
CREATE INDEX exchange_dead ON exchange (dead_at) WHERE dead_at IS NOT NULL;

-- Our resource, what it is called there, and the version of ours that it shows. Two of ours may be one there: patients
-- are kept one per organisation here.
CREATE TABLE remote (
    local_type text NOT NULL,
    local_id text NOT NULL,
    remote_id text NOT NULL,
    remote_version text,
    acknowledged_version integer,
    referral_id text,
    PRIMARY KEY (local_type, local_id)
);
CREATE INDEX remote_by_remote_id ON remote (local_type, remote_id);
CREATE INDEX remote_of_referral ON remote (referral_id) WHERE referral_id IS NOT NULL;
"""

_STAMP = """
-- The last stamp given, in microseconds since 1970. A sequence, because it must not go back when a transaction does.
CREATE SEQUENCE sluss_stamp_floor AS bigint MINVALUE 0 START 0;

-- meta.lastUpdated of a transaction's writes: later than every stamp given before, whatever the clock does, and never
-- before the start of the transaction itself, which is what sluss_settled_until() goes by.
CREATE FUNCTION sluss_stamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last_given bigint;
    moment bigint;
BEGIN
    PERFORM pg_advisory_lock(5701177002);
    SELECT last_value INTO last_given FROM sluss_stamp_floor;
    moment := greatest(
        last_given + 1,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint
    );
    PERFORM setval('sluss_stamp_floor', moment);
    PERFORM pg_advisory_unlock(5701177002);
    RETURN timestamptz 'epoch' + moment * interval '1 microsecond';
END $$;

-- Everything stamped before this instant is visible or will never be. The clock is read first: a transaction that
-- starts between the two readings is stamped later than the clock then said.
CREATE FUNCTION sluss_settled_until() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    clock timestamptz := clock_timestamp();
    oldest timestamptz;
BEGIN
    PERFORM pg_stat_clear_snapshot();
    SELECT min(xact_start) INTO oldest FROM pg_stat_get_activity(NULL)
    WHERE application_name = 'sluss-write' AND datid = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(clock, oldest);
END $$;
"""

_DATES = """
-- The time that a FHIR date, dateTime, instant or Period covers; without an offset it is Swedish time.
CREATE FUNCTION sluss_covered(value jsonb) RETURNS tstzrange LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    written text := value #>> '{}';
    low timestamptz;
BEGIN
    IF jsonb_typeof(value) = 'object' THEN
        RETURN tstzrange(lower(sluss_covered(value -> 'start')), upper(sluss_covered(value -> 'end')));
    ELSIF value IS NULL OR jsonb_typeof(value) <> 'string' THEN
        RETURN NULL;
    ELSIF written ~ '^\\d{4}$' THEN
        RETURN tstzrange((written || '-01-01')::timestamp AT TIME ZONE 'Europe/Stockholm',
                         ((written || '-01-01')::timestamp + interval '1 year') AT TIME ZONE 'Europe/Stockholm');
    ELSIF written ~ '^\\d{4}-\\d{2}$' THEN
        RETURN tstzrange((written || '-01')::timestamp AT TIME ZONE 'Europe/Stockholm',
                         ((written || '-01')::timestamp + interval '1 month') AT TIME ZONE 'Europe/Stockholm');
    ELSIF written ~ '^\\d{4}-\\d{2}-\\d{2}$' THEN
        RETURN tstzrange(written::timestamp AT TIME ZONE 'Europe/Stockholm',
                         (written::timestamp + interval '1 day') AT TIME ZONE 'Europe/Stockholm');
    END IF;
    low := CASE WHEN written ~ '(Z|[+-]\\d{2}:\\d{2})$' THEN written::timestamptz
                ELSE written::timestamp AT TIME ZONE 'Europe/Stockholm' END;
    RETURN tstzrange(
        low, low + CASE WHEN written ~ '\\.\\d' THEN interval '1 microsecond' ELSE interval '1 second' END
    );
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
"""

_QUIET = """
-- PostgreSQL commits transactions that notify one after the other, each waiting for the disk by itself: with eight
-- writers at once that made five times fewer commits (some 450 a second where 2,400 were had without). The worker looks
-- for jobs often enough.
DROP TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 ON procrastinate_jobs;
"""

_DEFER = """
-- Puts a job in procrastinate's queue within the caller's transaction. One that waits under the same queueing lock is
-- enough, but it must not start before the caller commits, or it would miss what it is woken for: so it is locked
-- (procrastinate skips locked jobs).
CREATE FUNCTION sluss_defer(job_name text, args jsonb, job_queueing_lock text, job_lock text, due timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    waiting bigint;
BEGIN
    LOOP
        BEGIN
            PERFORM procrastinate_defer_jobs_v1(ARRAY[
                ROW('default', job_name, 0, job_lock, job_queueing_lock, args, due)::procrastinate_job_to_defer_v1
            ]);
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            UPDATE procrastinate_jobs
            SET scheduled_at = CASE WHEN due IS NULL OR scheduled_at IS NULL THEN NULL ELSE least(scheduled_at, due) END
            WHERE queueing_lock = job_queueing_lock AND status = 'todo'
            RETURNING id INTO waiting;
            IF waiting IS NOT NULL THEN
                RETURN;
            END IF;
            -- It has started meanwhile, and no longer waits: ours is needed.
        END;
    END LOOP;
END $$;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    # As they stand: several statements at once, and '%' in them is no placeholder.
    for script in (_TABLES, _STAMP, _DATES, SchemaManager.get_schema(), _QUIET, _DEFER):
        cursor.execute(script)
    cursor.close()
