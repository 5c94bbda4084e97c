import copy
import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings import bundle, strict_json
from fhir_mappings.records import Json
from tests.fhir_mappings.r4.samples import referral_bundle, url

PATIENT = "urn:uuid:00000000-0000-4000-8000-000000000001"


def observation(**more: object) -> Json:
    return {"resourceType": "Observation", "status": "final", "subject": {"reference": PATIENT}, **more}


# ---------------------------------------------------------------- entries


def test_an_entry_tells_what_is_asked_for_and_under_which_conditions() -> None:
    sent = {
        "entry": [
            {
                "fullUrl": PATIENT,
                "resource": {"resourceType": "Patient"},
                "request": {
                    "method": "PUT",
                    "url": "Patient/1",
                    "ifMatch": 'W/"2"',
                    "ifNoneExist": "identifier=a|b",
                    "ifNoneMatch": "*",
                    "ifModifiedSince": "2026-11-23T10:00:00Z",
                },
            }
        ]
    }
    (entry,) = bundle.entries(sent)
    assert entry == bundle.Entry(
        position=0,
        full_url=PATIENT,
        resource={"resourceType": "Patient"},
        method="PUT",
        url="Patient/1",
        if_none_exist="identifier=a|b",
        if_match='W/"2"',
        if_none_match="*",
        if_modified_since="2026-11-23T10:00:00Z",
    )
    assert entry.expression == "Bundle.entry[0].resource"


def test_a_malformed_entry_keeps_its_position() -> None:
    told = bundle.entries({"entry": [None, {"resource": 1, "request": []}, {"fullUrl": "x"}]})
    assert [(entry.position, entry.full_url, entry.resource) for entry in told] == [
        (0, None, None),
        (1, None, None),
        (2, "x", None),
    ]
    assert bundle.entries({"entry": "nothing"}) == []
    assert bundle.entries({}) == []


# ---------------------------------------------------------------- references


def test_references_are_found_in_contained_resources_and_extensions_with_their_place() -> None:
    resource = observation(
        contained=[{"resourceType": "PractitionerRole", "id": "r", "organization": {"reference": "#o"}}],
        extension=[{"url": "https://example.org/x", "valueReference": {"reference": "Patient/9"}}],
        performer=[{"display": "someone"}, {"reference": "#r"}],
    )
    assert {path: reference.get("reference") for path, reference in bundle.references(resource)} == {
        "Observation.subject": PATIENT,
        "Observation.contained[0].organization": "#o",
        "Observation.extension[0].value": "Patient/9",
        "Observation.performer[0]": None,
        "Observation.performer[1]": "#r",
    }


def test_a_resource_of_unknown_type_has_no_references() -> None:
    assert list(bundle.references({"resourceType": "Nonsense", "subject": {"reference": "Patient/1"}})) == []
    assert list(bundle.references({})) == []


def test_a_urn_that_no_entry_answers_to_is_told() -> None:
    sent = referral_bundle()
    del sent["entry"][1]
    issues = bundle.unresolved_references(sent)
    assert [issue.expression for issue in issues] == ["Bundle.entry[2].resource.organization.reference"]
    assert bundle.unresolved_references(referral_bundle()) == []


# ---------------------------------------------------------------- rewriting


def test_links_are_rewritten_in_references_uris_and_narrative_but_not_in_canonicals_or_texts() -> None:
    resource = observation(
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">'
            f"<a href=\"{PATIENT}\">{PATIENT}</a><img src='{PATIENT}'/></div>",
        },
        meta={"source": PATIENT, "profile": [PATIENT]},
        identifier=[{"system": "urn:ietf:rfc:3986", "value": PATIENT}],
        note=[{"text": PATIENT}],
        extension=[
            {"url": "https://example.org/x", "valueUri": PATIENT},
            {"url": "https://example.org/y", "valueUuid": PATIENT},
        ],
    )
    told = bundle.rewrite_references(resource, {PATIENT: "Patient/7"})
    assert told["subject"] == {"reference": "Patient/7"}
    assert told["meta"] == {"source": "Patient/7", "profile": [PATIENT]}
    assert told["identifier"][0]["value"] == PATIENT
    assert told["note"] == [{"text": PATIENT}]
    assert [item.get("valueUri") or item.get("valueUuid") for item in told["extension"]] == ["Patient/7", "Patient/7"]
    assert f"<a href=\"Patient/7\">{PATIENT}</a><img src='Patient/7'/>" in told["text"]["div"]


def test_the_original_is_not_changed_and_untouched_parts_are_shared() -> None:
    resource = observation(code={"text": "x"}, note=[{"text": "a"}])
    before = copy.deepcopy(resource)
    told = bundle.rewrite_references(resource, {PATIENT: "Patient/7"})
    assert resource == before
    assert told["code"] is resource["code"]
    assert list(told) == list(resource)
    assert bundle.rewrite_references(resource, {"urn:uuid:other": "Patient/8"}) is resource


def test_a_relative_reference_is_looked_up_under_the_base_of_its_entry() -> None:
    resource = observation(subject={"reference": "Patient/1"})
    mapping = {"https://ehr.example/fhir/Patient/1": "Patient/7"}
    told = bundle.rewrite_references(resource, mapping, "https://ehr.example/fhir/Observation/2")
    assert told["subject"]["reference"] == "Patient/7"
    assert bundle.rewrite_references(resource, mapping, "https://other.example/Observation/2") is resource
    assert bundle.rewrite_references(resource, mapping, "urn:uuid:x") is resource


def test_every_link_of_a_referral_is_rewritten() -> None:
    sent = referral_bundle()
    mapping = {e.full_url: f"Type/{e.position}" for e in bundle.entries(sent) if e.full_url}
    rewritten = [bundle.rewrite_references(e.resource, mapping) for e in bundle.entries(sent) if e.resource]
    assert "urn:uuid:" not in strict_json.dump({"all": rewritten})


@given(st.sets(st.integers(1, 10)))
def test_rewriting_there_and_back_gives_what_was_sent(some: set[int]) -> None:
    mapping = {url(number): f"Patient/{number}" for number in some}
    back = {local: full_url for full_url, local in mapping.items()}
    for entry in bundle.entries(referral_bundle()):
        sent = entry.resource or {}
        told = bundle.rewrite_references(sent, mapping)
        assert not mapping.keys() & {reference.get("reference") for _, reference in bundle.references(told)}
        assert bundle.rewrite_references(told, back) == sent


# ---------------------------------------------------------------- the same content


def sent_as(prefix: str) -> list[tuple[str | None, Json]]:
    renamed = json.loads(json.dumps(referral_bundle()).replace("urn:uuid:00000000-", f"urn:uuid:{prefix}-"))
    return [(entry.full_url, entry.resource or {}) for entry in bundle.entries(renamed)]


def test_a_retry_with_new_full_urls_ids_and_meta_is_the_same_content() -> None:
    again = [(url, {**resource, "id": "x", "meta": {"versionId": "9"}}) for url, resource in sent_as("11111111")]
    assert bundle.fingerprint(again) == bundle.fingerprint(sent_as("00000000"))


def test_the_order_of_members_does_not_matter() -> None:
    turned = [(url, dict(reversed(resource.items()))) for url, resource in sent_as("00000000")]
    assert bundle.fingerprint(turned) == bundle.fingerprint(sent_as("00000000"))


def test_every_digit_of_a_decimal_matters() -> None:
    def of(value: Decimal) -> str:
        return bundle.fingerprint([(None, observation(valueQuantity={"value": value}))])

    assert of(Decimal("1.0")) != of(Decimal("1.00"))


def test_a_reference_to_another_entry_is_other_content() -> None:
    one, two = sent_as("00000000"), sent_as("00000000")
    two[4] = (two[4][0], {**two[4][1], "subject": {"reference": one[1][0]}})
    assert bundle.fingerprint(one) != bundle.fingerprint(two)


def test_a_full_url_within_a_longer_one_is_not_replaced() -> None:
    def of(base: str) -> str:
        other = observation(subject={"reference": f"{base}/Patient/12"})
        return bundle.fingerprint(
            [(f"{base}/Patient/1", {"resourceType": "Patient"}), (f"{base}/Observation/2", other)]
        )

    assert of("https://one.example") != of("https://two.example")


def test_the_id_of_a_contained_resource_is_content() -> None:
    one = observation(contained=[{"resourceType": "Patient", "id": "a"}])
    two = observation(contained=[{"resourceType": "Patient", "id": "b"}])
    assert bundle.fingerprint([(None, one)]) != bundle.fingerprint([(None, two)])


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers() | st.none(), max_size=4),
    st.text(max_size=9),
)
def test_any_resource_has_a_fingerprint(resource: Json, full_url: str) -> None:
    assert len(bundle.fingerprint([(full_url, resource)])) == 64


# ---------------------------------------------------------------- answers


def test_a_searchset_is_spliced_from_stored_texts() -> None:
    body = '{"resourceType":"Observation","valueQuantity":{"value":1.00}}'
    text = bundle.searchset(
        'https://sluss.example/fhir/Task?a="b"',
        [("https://sluss.example/fhir/Observation/1", body, "match")],
        1,
        "https://n",
    )
    assert body in text
    assert json.loads(text) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [
            {"relation": "self", "url": 'https://sluss.example/fhir/Task?a="b"'},
            {"relation": "next", "url": "https://n"},
        ],
        "entry": [
            {
                "fullUrl": "https://sluss.example/fhir/Observation/1",
                "resource": json.loads(body),
                "search": {"mode": "match"},
            }
        ],
    }


def test_an_empty_searchset_has_no_entry_and_no_total_when_that_is_unknown() -> None:
    assert json.loads(bundle.searchset("https://s", [])) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": "https://s"}],
    }


def test_an_outcome_in_a_searchset_has_no_full_url() -> None:
    text = bundle.searchset("https://s", [("", '{"resourceType":"OperationOutcome"}', "outcome")])
    assert "fullUrl" not in text


def test_a_transaction_response_keeps_the_order_and_an_empty_one_has_no_entries() -> None:
    entries: list[Json] = [{"response": {"status": "201"}}, {"response": {"status": "200"}}]
    assert bundle.transaction_response(entries)["entry"] == entries
    assert "entry" not in bundle.transaction_response([])
