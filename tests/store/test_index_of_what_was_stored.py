"""Migration 0008 finds for what was stored before it the same rows that are written today."""

import importlib
from typing import Any

import psycopg

from fhir_mappings.records import Json
from service.store.database import Store
from service.store.records import Write
from service.store.search_parameters import BY_TYPE
from tests.store.made_up import Maker

MIGRATION = importlib.import_module("service.store.migrations.versions.0008_search_by_date_and_number")
_UNKNOWN_THEN = {"Provenance", "AuditEvent", "SearchParameter"}

_DATES = "SELECT type, id, dated_from::text, dated_until::text FROM resource ORDER BY 1, 2"
_ROWS = "SELECT type, id, param, value, status, last_updated FROM search_value ORDER BY 1, 2, 3, 4"
_NUMBERS = "SELECT type, id, param, value FROM measured ORDER BY 1, 2, 3, 4"


def _special() -> list[Json]:
    observations: list[Json] = [
        {"code": {"coding": [{"system": "https://a.example/" + "9" * 900, "code": "x"}]}},
        {"valueQuantity": {"value": 7}, "effectiveDateTime": "9999-12-31"},
        {"effectiveInstant": "2016-12-31T23:59:60.5Z"},
        {"effectiveDateTime": "2026-11-23T10:00:00.123456789+01:00"},
        {"effectivePeriod": {"end": "2026"}},
        {"derivedFrom": [{"reference": "#q"}, {"reference": "urn:uuid:1"}]},
        {"derivedFrom": [{"reference": "QuestionnaireResponse/2/_history/3"}]},
    ]
    return [{"resourceType": "Observation", "id": f"s-{n}", **special} for n, special in enumerate(observations)]


def test_what_was_stored_before_is_found_as_what_is_stored_now(store: Store) -> None:
    resources = [
        Maker(n).resource(type_, f"r-{n}") for n in range(12) for type_ in BY_TYPE.keys() - _UNKNOWN_THEN
    ] + _special()
    with store.change() as change:
        change.write([Write(resource) for resource in resources])

    def rows() -> list[list[Any]]:
        return [connection.execute(sql).fetchall() for sql in (_DATES, _ROWS, _NUMBERS)]

    with psycopg.connect(store.url, autocommit=True) as connection:
        written = rows()
        connection.execute("UPDATE resource SET dated_from = NULL, dated_until = NULL")
        connection.execute("TRUNCATE measured")
        new = connection.execute(
            "DELETE FROM search_value WHERE type <> 'Observation' AND param LIKE 'performer%'"
            " OR type = 'Observation' AND split_part(param, ':', 1) IN ('code', 'derived-from', 'performer', 'focus')"
            " OR split_part(param, ':', 1) IN ('encounter', 'activity-reference', 'link', 'endpoint', 'slot')"
        ).rowcount
        assert new > 100
        for script in (MIGRATION._DATED, MIGRATION._FOUND_BY):
            connection.execute(script.encode())
        assert rows() == written
