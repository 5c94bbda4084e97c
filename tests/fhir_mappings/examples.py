"""What the tests of the mappings share: the clock, the systems, a valid referral, and JSON of any shape."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from fhir_mappings.issues import Issue
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical

S = "https://sluss.example/fhir"
CANONICAL = Canonical(S)
TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=ZoneInfo("Europe/Stockholm"))
MUNICIPALITIES = {"gävle": "2180", "ljusdal": "2161", "bollnäs": "2183", "hofors": "2104"}
HSA = "urn:oid:1.2.752.29.4.19"
HSA_RIV = "urn:oid:1.2.752.129.2.1.4.1"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
SAMORDNINGSNUMMER = "http://electronichealth.se/identifier/samordningsnummer"
RESERVNUMMER = "http://electronichealth.se/identifier/nationelltReservnummer"
UNIT = "SE2321000198-EX01"
PLAC = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC"}]}


def service_request(**changes: object) -> Json:
    """A ServiceRequest that nothing is wrong with; a change to None leaves the element out."""
    resource: Json = {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": "https://ehr.example/referral", "value": "R-1"}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-programme", "code": "depression"}]},
        "subject": {"reference": "Patient/p1"},
        "authoredOn": "2026-11-20",
        "requester": {"reference": "PractitionerRole/r1"},
        "reasonCode": [{"coding": [{"system": "https://www.icd10.se/", "code": "F32.1"}]}],
    }
    return {name: value for name, value in (resource | changes).items() if value is not None}


def where(issues: list[Issue]) -> list[tuple[str, str | None]]:
    """(code, expression) of each issue."""
    return [(issue.code.value, issue.expression) for issue in issues]


_KEYS = st.sampled_from(
    [
        "resourceType",
        "identifier",
        "system",
        "value",
        "use",
        "type",
        "coding",
        "code",
        "status",
        "intent",
        "doNotPerform",
        "subject",
        "requester",
        "reference",
        "display",
        "authoredOn",
        "priority",
        "note",
        "text",
        "extension",
        "url",
        "valueCode",
        "meta",
        "security",
        "address",
        "district",
        "city",
        "telecom",
        "rank",
        "name",
        "given",
        "family",
        "organization",
        "practitioner",
        "item",
        "linkId",
        "answer",
        "valueBoolean",
        "valueCoding",
        "valueInteger",
        "valueQuantity",
        "component",
        "authored",
        "questionnaire",
        "reasonCode",
        "supportingInfo",
        "modifierExtension",
        "verificationStatus",
        "dataAbsentReason",
        "effectivePeriod",
        "active",
        "deceasedDateTime",
        "location",
        "providedBy",
        "characteristic",
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(
        [HSA, PERSONNUMMER, "199002222397", UNIT, "Patient", "Organization", "completed", "final", "item-9"]
    ),
)
any_json = st.dictionaries(
    _KEYS,
    st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4)),
    max_size=6,
)
"""JSON objects with FHIR's names in the wrong places: what a mapping may meet before anybody has checked it."""


def with_type(resource: Json, resource_type: str) -> Json:
    """The same JSON as a resource of that type."""
    return resource | {"resourceType": resource_type}


@st.composite
def damaged(draw: st.DrawFn, resource: Json) -> Json:
    """The resource with one element, anywhere in it, replaced by JSON of another shape; its type is kept."""

    def replaced(value: object) -> object:
        if isinstance(value, dict) and value and draw(st.integers(0, 9)):
            name = draw(st.sampled_from(sorted(value)))
            return value | {name: replaced(value[name])}
        if isinstance(value, list) and value and draw(st.integers(0, 9)):
            position = draw(st.integers(0, len(value) - 1))
            return [*value[:position], replaced(value[position]), *value[position + 1 :]]
        return draw(_LEAVES | st.lists(_LEAVES, max_size=2) | st.dictionaries(_KEYS, _LEAVES, max_size=2))

    name = draw(st.sampled_from(sorted(resource.keys() - {"resourceType"})))
    return resource | {name: replaced(resource[name])}
