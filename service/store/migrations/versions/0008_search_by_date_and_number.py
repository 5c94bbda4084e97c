"""Each type is in the order of its own date, and Observations are found by what they are about and by their number."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_CHANGES = r"""
-- The time that the date of a resource covers by which its type is sorted (the main one in search_parameters.py).
-- Minus infinity twice: it has none. NULL: its type is not sorted so.
ALTER TABLE resource ADD COLUMN dated_from timestamptz, ADD COLUMN dated_until timestamptz;

-- What is found by a number.
CREATE TABLE measured (
    type text NOT NULL,
    param text NOT NULL,
    value numeric NOT NULL,
    id text NOT NULL
);

-- As before, and: a fraction of a second covers its last digit, a leap second is the one before it, and the last year
-- that can be written has no end.
CREATE OR REPLACE FUNCTION sluss_covered(value jsonb) RETURNS tstzrange LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    written text := value #>> '{}';
    zoned boolean;
    low timestamptz;
    width interval;
BEGIN
    IF jsonb_typeof(value) = 'object' THEN
        RETURN tstzrange(lower(sluss_covered(value -> 'start')), upper(sluss_covered(value -> 'end')));
    ELSIF value IS NULL OR jsonb_typeof(value) <> 'string' THEN
        RETURN NULL;
    ELSIF written ~ '^9999' THEN
        RETURN tstzrange('9999-12-31T00:00:00Z', 'infinity');
    ELSIF written ~ '^\d{4}$' THEN
        RETURN tstzrange((written || '-01-01')::timestamp AT TIME ZONE 'Europe/Stockholm',
                         ((written || '-01-01')::timestamp + interval '1 year') AT TIME ZONE 'Europe/Stockholm');
    ELSIF written ~ '^\d{4}-\d{2}$' THEN
        RETURN tstzrange((written || '-01')::timestamp AT TIME ZONE 'Europe/Stockholm',
                         ((written || '-01')::timestamp + interval '1 month') AT TIME ZONE 'Europe/Stockholm');
    ELSIF written ~ '^\d{4}-\d{2}-\d{2}$' THEN
        RETURN tstzrange(written::timestamp AT TIME ZONE 'Europe/Stockholm',
                         (written::timestamp + interval '1 day') AT TIME ZONE 'Europe/Stockholm');
    END IF;
    written := regexp_replace(regexp_replace(written, '(\.\d{6})\d+', '\1'), ':60(?=[.Z+-]|$)', ':59');
    zoned := written ~ '(Z|[+-]\d{2}:\d{2})$';
    low := CASE WHEN zoned THEN written::timestamptz ELSE written::timestamp AT TIME ZONE 'Europe/Stockholm' END;
    width := coalesce(interval '1 second' / 10 ^ length(substring(written FROM '\.(\d+)')), interval '1 second');
    RETURN tstzrange(low, low + width);
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Text as searches compare it: without case and accents. https://hl7.org/fhir/R4/search.html#string
CREATE FUNCTION sluss_folded(written text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(regexp_replace(normalize(written, NFD), '[\u0300-\u036f]', '', 'g'))
$$;
"""

_DATED = """
UPDATE resource r SET
    dated_from = coalesce(lower(covered), '-infinity'),
    dated_until = CASE WHEN covered IS NULL THEN '-infinity' ELSE coalesce(upper(covered), 'infinity') END
FROM (
    SELECT type, id, sluss_covered(CASE type
        WHEN 'Task' THEN body::jsonb -> 'authoredOn'
        WHEN 'ServiceRequest' THEN body::jsonb -> 'authoredOn'
        WHEN 'Communication' THEN body::jsonb -> 'sent'
        WHEN 'Observation' THEN coalesce(body::jsonb -> 'effectiveDateTime', body::jsonb -> 'effectivePeriod',
                                         body::jsonb -> 'effectiveInstant')
        WHEN 'QuestionnaireResponse' THEN body::jsonb -> 'authored'
        WHEN 'CarePlan' THEN body::jsonb -> 'period'
        WHEN 'Condition' THEN body::jsonb -> 'recordedDate'
        WHEN 'Appointment' THEN body::jsonb -> 'start'
        ELSE body::jsonb -> 'date'
    END) AS covered
    FROM resource WHERE type = ANY(ARRAY['Task', 'ServiceRequest', 'Communication', 'Observation',
        'QuestionnaireResponse', 'CarePlan', 'Condition', 'Appointment', 'Questionnaire', 'PlanDefinition',
        'OperationDefinition', 'CodeSystem', 'ValueSet', 'StructureDefinition'])
) d WHERE r.type = d.type AND r.id = d.id;

INSERT INTO measured (type, param, value, id)
SELECT type, 'value-quantity', (body::jsonb #>> '{valueQuantity,value}')::numeric, id
FROM resource WHERE type = 'Observation' AND jsonb_typeof(body::jsonb #> '{valueQuantity,value}') = 'number';
"""

_FOUND_BY = r"""
CREATE FUNCTION pg_temp.row_value(written text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN length(written) <= 400 THEN written
                ELSE 'sha256:' || encode(sha256(convert_to(written, 'UTF8')), 'hex') END
$$;

-- The rows of parameters that were not indexed before: references, with the identifiers in them, and codes.
WITH asked (type, param, path) AS (VALUES
    ('Task', 'encounter', '$.encounter'),
    ('ServiceRequest', 'performer', '$.performer'),
    ('ServiceRequest', 'based-on', '$.basedOn'),
    ('ServiceRequest', 'replaces', '$.replaces'),
    ('ServiceRequest', 'encounter', '$.encounter'),
    ('Communication', 'encounter', '$.encounter'),
    ('Observation', 'part-of', '$.partOf'),
    ('Observation', 'derived-from', '$.derivedFrom'),
    ('Observation', 'has-member', '$.hasMember'),
    ('Observation', 'focus', '$.focus'),
    ('Observation', 'performer', '$.performer'),
    ('Observation', 'encounter', '$.encounter'),
    ('QuestionnaireResponse', 'author', '$.author'),
    ('QuestionnaireResponse', 'source', '$.source'),
    ('QuestionnaireResponse', 'part-of', '$.partOf'),
    ('QuestionnaireResponse', 'encounter', '$.encounter'),
    ('CarePlan', 'part-of', '$.partOf'),
    ('CarePlan', 'replaces', '$.replaces'),
    ('CarePlan', 'condition', '$.addresses'),
    ('CarePlan', 'activity-reference', '$.activity.reference'),
    ('CarePlan', 'performer', '$.activity.detail.performer'),
    ('CarePlan', 'encounter', '$.encounter'),
    ('Condition', 'asserter', '$.asserter'),
    ('Condition', 'evidence-detail', '$.evidence.detail'),
    ('Condition', 'encounter', '$.encounter'),
    ('Appointment', 'reason-reference', '$.reasonReference'),
    ('Appointment', 'supporting-info', '$.supportingInformation'),
    ('Appointment', 'slot', '$.slot'),
    ('Patient', 'general-practitioner', '$.generalPractitioner'),
    ('Patient', 'organization', '$.managingOrganization'),
    ('Patient', 'link', '$.link.other'),
    ('PractitionerRole', 'service', '$.healthcareService'),
    ('PractitionerRole', 'location', '$.location'),
    ('PractitionerRole', 'endpoint', '$.endpoint'),
    ('Organization', 'partof', '$.partOf'),
    ('Organization', 'endpoint', '$.endpoint'),
    ('HealthcareService', 'location', '$.location'),
    ('HealthcareService', 'coverage-area', '$.coverageArea'),
    ('HealthcareService', 'endpoint', '$.endpoint')
), referring AS (
    SELECT r.type, r.id, asked.param, element
    FROM asked JOIN resource r ON r.type = asked.type
    CROSS JOIN jsonb_path_query(r.body::jsonb, (asked.path || '[*]')::jsonpath) AS element
), coded AS (
    SELECT r.type, r.id, coding ->> 'system' AS system, coding ->> 'code' AS code
    FROM resource r CROSS JOIN jsonb_path_query(r.body::jsonb, '$.code.coding[*]') AS coding
    WHERE r.type = 'Observation' AND jsonb_typeof(coding -> 'code') = 'string'
), rows (type, id, param, value) AS (
    SELECT type, id, param, pg_temp.row_value(split_part(element ->> 'reference', '/_history/', 1)) FROM referring
    WHERE element ->> 'reference' !~ '^(#|urn:)'
      AND (element ->> 'reference' LIKE '%://%'
           OR split_part(element ->> 'reference', '/_history/', 1) ~ '^[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}$')
    UNION
    SELECT type, id, param || ':identifier', pg_temp.row_value(
        coalesce(element #>> '{identifier,system}', '') || '|' || (element #>> '{identifier,value}'))
    FROM referring WHERE element #>> '{identifier,value}' IS NOT NULL
    UNION
    SELECT type, id, param || ':identifier:value', pg_temp.row_value(element #>> '{identifier,value}')
    FROM referring WHERE element #>> '{identifier,value}' IS NOT NULL
    UNION
    SELECT type, id, 'code', pg_temp.row_value(coalesce(system, '') || '|' || code) FROM coded
)
INSERT INTO search_value (type, param, value, status, last_updated, id)
SELECT rows.type, rows.param, rows.value,
       CASE WHEN r.type = ANY(ARRAY['Task', 'ServiceRequest', 'Communication', 'Observation', 'QuestionnaireResponse',
                                    'CarePlan', 'Appointment'])
            THEN coalesce(r.body::jsonb ->> 'status', '') ELSE '' END,
       r.last_updated, r.id
FROM rows JOIN resource r ON r.type = rows.type AND r.id = rows.id
WHERE NOT EXISTS (SELECT FROM search_value s WHERE s.type = rows.type AND s.id = rows.id AND s.param = rows.param
                  AND s.value = rows.value);

DROP FUNCTION pg_temp.row_value(text);
"""

_INDEXES = """
CREATE INDEX resource_by_date ON resource (type, dated_from, dated_until, id) WHERE dated_from IS NOT NULL;
CREATE INDEX measured_by_value ON measured (type, param, value, id);
CREATE INDEX measured_of_resource ON measured (type, id);
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    # As they stand: several statements at once, and '%' in them is no placeholder.
    for script in (_CHANGES, _DATED, _FOUND_BY, _INDEXES):
        cursor.execute(script)
    cursor.close()
