"""The record of who did what: only ever added to, and sealed."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = """
-- One row for each thing that somebody has done or tried. Whoever may change it may hide what they did: so nobody may,
-- and seals show it where somebody did all the same.
CREATE TABLE audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded timestamptz NOT NULL DEFAULT clock_timestamp(),
    action text NOT NULL,
    interaction text NOT NULL,
    outcome smallint NOT NULL,
    status smallint,
    role text NOT NULL,
    client text,
    person text,
    unit text,
    organisations text[] NOT NULL,
    teams text[] NOT NULL,
    via text,
    reason text,
    token text,
    address text,
    request_id text,
    tried text,
    query text,
    -- Compared by bytes: an event may have hundreds, and each has its place in an index.
    about text[] COLLATE "C" NOT NULL,
    -- Of each of `about` which one; 0 where it is about none in particular.
    versions integer[] NOT NULL,
    patients text[] COLLATE "C" NOT NULL
);
CREATE INDEX audit_event_by_time ON audit_event (recorded, id);
CREATE INDEX audit_event_by_person ON audit_event (person, recorded, id) WHERE person IS NOT NULL;
-- New entries gather in its pending list, where they cost whoever waits for an answer next to nothing.
CREATE INDEX audit_event_by_patient ON audit_event USING gin (patients, about) WITH (gin_pending_list_limit = 32768);

-- Each seal is the hash of the one before it and of the events that it covers, in the order of their ids; `digests` has
-- one for each of `ids`. `settled` are all ids that are sealed, or that will never be seen.
CREATE TABLE audit_seal (
    number bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    before bytea NOT NULL,
    hash bytea NOT NULL,
    ids bigint[] NOT NULL,
    digests bytea[] NOT NULL,
    settled int8multirange NOT NULL
);

-- What has been taken out after its time, and where it went; the chain goes on from `hash`.
CREATE TABLE audit_archive (
    last_seal bigint PRIMARY KEY,
    hash bytea NOT NULL,
    events bigint NOT NULL,
    file text NOT NULL,
    sha256 text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
"""

_GUARDS = """
CREATE FUNCTION sluss_record_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record is only ever added to' USING ERRCODE = 'insufficient_privilege';
END $$;

-- Five years: HSLF-FS 2016:40 chapter 4 section 9.
CREATE FUNCTION sluss_record_may_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('sluss.archiving', true) = 'on'
       AND (to_jsonb(OLD) ->> TG_ARGV[0])::timestamptz < now() - interval '5 years' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the record is only ever added to' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER kept BEFORE UPDATE OR TRUNCATE ON audit_event EXECUTE FUNCTION sluss_record_is_kept();
CREATE TRIGGER kept BEFORE UPDATE OR TRUNCATE ON audit_seal EXECUTE FUNCTION sluss_record_is_kept();
CREATE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_archive EXECUTE FUNCTION sluss_record_is_kept();
CREATE TRIGGER may_go BEFORE DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION sluss_record_may_go('recorded');
CREATE TRIGGER may_go BEFORE DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION sluss_record_may_go('at');

-- The one way out: whole seals from the oldest on, which somebody has written into a file. The newest seal stays.
CREATE FUNCTION sluss_archive_record(last_sealed bigint, written_to text, file_hash text)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    gone bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_seal WHERE number > last_sealed) THEN
        RAISE EXCEPTION 'the newest seal stays';
    END IF;
    PERFORM set_config('sluss.archiving', 'on', true);
    DELETE FROM audit_event e USING (SELECT unnest(ids) AS id FROM audit_seal WHERE number <= last_sealed) s
    WHERE e.id = s.id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO audit_archive (last_seal, hash, events, file, sha256)
    SELECT number, hash, gone, written_to, file_hash FROM audit_seal WHERE number = last_sealed;
    DELETE FROM audit_seal WHERE number <= last_sealed;
    PERFORM set_config('sluss.archiving', 'off', true);
    RETURN gone;
END $$;
REVOKE EXECUTE ON FUNCTION sluss_archive_record(bigint, text, text) FROM PUBLIC;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for script in (_TABLES, _GUARDS):
        cursor.execute(script)
    cursor.close()
