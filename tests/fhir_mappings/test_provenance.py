"""Where versions come from, as Provenances and back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.provenance import Activity, Origin, from_fhir_provenance, to_fhir_provenance
from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json, Reference
from tests.fhir_mappings.examples import CANONICAL, HSA, NOW, UNIT, S

AMENDED = Origin(
    id="v1",
    targets=((Reference("ServiceRequest/s1"), 2), (Reference("Observation/o1"), 1)),
    recorded="2026-11-23T10:00:00.000+01:00",
    activity=Activity.UPDATE,
    author=Reference("Organization/u1"),
    author_unit=HsaId(UNIT),
)
COLLECTED = replace(AMENDED, activity=Activity.CREATE, source="https://fhir.example/r4/ServiceRequest/77/_history/3")

_IDS = st.from_regex(r"[A-Za-z0-9.-]{1,20}", fullmatch=True)

origins = st.builds(
    Origin,
    id=_IDS,
    targets=st.lists(
        st.tuples(st.builds(lambda id_: Reference(f"Observation/{id_}"), _IDS), st.integers(1, 10**6)),
        min_size=1,
        max_size=4,
    ).map(tuple),
    recorded=st.integers(0, 10**6).map(lambda m: (NOW + timedelta(minutes=m)).isoformat(timespec="milliseconds")),
    activity=st.sampled_from(Activity),
    author=st.just(Reference("Organization/u1")),
    author_unit=st.just(HsaId(UNIT)),
    source=st.none() | st.builds("https://fhir.example/r4/Task/{}/_history/{}".format, _IDS, _IDS),
)


@given(origins)
def test_an_origin_is_valid_r4_and_reads_back_the_same(origin: Origin) -> None:
    written = to_fhir_provenance(origin, CANONICAL)
    assert validate(written) == []
    assert from_fhir_provenance(written) == origin


def test_an_amendment_names_the_versions_and_the_unit() -> None:
    assert to_fhir_provenance(AMENDED, CANONICAL) == {
        "resourceType": "Provenance",
        "id": "v1",
        "target": [{"reference": "ServiceRequest/s1/_history/2"}, {"reference": "Observation/o1/_history/1"}],
        "recorded": "2026-11-23T10:00:00.000+01:00",
        "activity": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": "UPDATE"}]
        },
        "agent": [
            {
                "type": coded("author"),
                "who": {"reference": "Organization/u1", "identifier": {"system": HSA, "value": UNIT}},
            }
        ],
    }


def test_what_was_collected_names_where_it_was_and_who_put_it_here() -> None:
    written = to_fhir_provenance(COLLECTED, CANONICAL)
    assert written["entity"] == [{"role": "source", "what": {"reference": COLLECTED.source}}]
    assert [agent["type"] for agent in written["agent"]] == [coded("author"), coded("assembler")]
    assert written["agent"][1]["who"] == {
        "type": "Device",
        "identifier": {"system": f"{S}/identifier/device", "value": "sluss"},
        "display": "Sluss",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"activity": {"text": "ändrad"}},
        {"activity": {"coding": [{"system": "https://other.example", "code": "UPDATE"}]}},
        {"target": [{"reference": "ServiceRequest/s1"}]},
        {"target": [{"display": "remissen"}]},
        {"agent": [{"who": {"display": "Någon"}}]},
    ],
)
def test_what_we_would_not_have_written_is_no_origin(changes: Json) -> None:
    assert from_fhir_provenance({**to_fhir_provenance(AMENDED, CANONICAL), **changes}) is None


def coded(part: str) -> Json:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": part}]}
