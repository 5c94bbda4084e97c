"""AuditEvents: valid R4 whatever was recorded, and in the shape of IHE Basic Audit Log Patterns."""

from base64 import b64decode
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_mappings.audit_event import Recorded, to_fhir_audit_event
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical

CANONICAL = Canonical("https://sluss.example/fhir")
DCM = "http://dicom.nema.org/resources/ontology/DCM"

_word = st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)
_text = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)
_maybe = st.none() | _word
_rest = st.sampled_from(
    [
        *[("C", "create"), ("C", "transaction"), ("R", "read"), ("R", "vread"), ("R", "history-instance")],
        *[("U", "update"), ("U", "patch"), ("D", "delete"), ("E", "search-type"), ("E", "operation")],
        *[("E", "delivery"), ("E", "notification"), ("E", "administration"), ("E", "history-type")],
    ]
)


@st.composite
def events(draw: st.DrawFn) -> Recorded:
    """Anything that may stand in the record."""
    action, interaction = draw(_rest)
    about = draw(st.lists(_word.map(lambda id_: f"Task/{id_}"), max_size=4))
    patients = st.sampled_from(["Patient/1", "Patient/2", "personnummer|199002222397"])
    return Recorded(
        id=draw(st.integers(1, 2**40)),
        recorded=draw(st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1))).replace(tzinfo=UTC),  # noqa: DTZ001
        action=action,
        interaction=interaction,
        outcome=draw(st.sampled_from([0, 4, 8, 12])),
        status=draw(st.none() | st.integers(200, 599)),
        role=draw(st.sampled_from(["referrer", "therapist", "platform", "administrator", "sluss", "unknown"])),
        client=draw(_maybe),
        person=draw(_maybe),
        unit=draw(_maybe),
        organisations=draw(st.lists(_word, max_size=3)),
        teams=draw(st.lists(_word, max_size=3)),
        via=draw(_maybe),
        reason=draw(st.none() | _text),
        token=draw(st.none() | _text),
        address=draw(st.sampled_from([None, "192.0.2.7", "2001:db8::1"])),
        request_id=draw(_maybe),
        tried=draw(st.none() | _text),
        query=draw(st.none() | _text),
        about=about,
        versions=[draw(st.integers(0, 9)) for _ in about],
        patients=draw(st.lists(patients, max_size=3, unique=True)),
    )


def of_type(found: list[Json], code: str) -> list[Json]:
    return [one for one in found if one["type"].get("code") == code]


def agent(event: Json, code: str) -> Json:
    (one,) = [a for a in event["agent"] if a["type"]["coding"][0]["code"] == code]
    return dict(one)


@settings(deadline=None)  # the first compiles the definitions
@given(events())
def test_it_is_r4_whatever_was_recorded(event: Recorded) -> None:
    assert validate(to_fhir_audit_event(event, CANONICAL)) == []


@given(events())
def test_it_has_the_shape_of_basic_audit(event: Recorded) -> None:
    told = to_fhir_audit_event(event, CANONICAL)
    source, destination = agent(told, "110153"), agent(told, "110152")
    client, server = (destination, source) if event.action == "R" else (source, destination)
    assert server["who"]["display"] == "Sluss"
    assert told["source"]["observer"] == server["who"]
    assert client.get("network", {}).get("address") == event.address
    assert server["network"]["type"] == "5"
    people = [a for a in told["agent"] if a["type"]["coding"][0]["code"] in ("AUT", "IRCP")]
    assert [a["who"]["identifier"]["value"] for a in people] == ([event.person] if event.person else [])
    assert all((a["type"]["coding"][0]["code"] == "AUT") == (event.action in "CUD") for a in people)
    assert sum(a["requestor"] for a in told["agent"]) == 1
    entities = told.get("entity", [])
    (data,) = [e for e in of_type(entities, "2") if "what" in e] or [{}]
    assert ("what" in data) == bool(event.about)
    assert len(of_type(entities, "4")) == max(0, len(event.about) - 1)
    assert len(of_type(entities, "1")) == len(event.patients)
    assert [b64decode(e["query"]).decode() for e in entities if "query" in e] == ([event.query] if event.query else [])
    assert [e["what"]["identifier"]["value"] for e in of_type(entities, "XrequestId")] == (
        [event.request_id] if event.request_id else []
    )
    assert ("purposeOfEvent" in told) == bool(event.reason or event.role in ("referrer", "therapist"))
