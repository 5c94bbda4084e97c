"""Each amendment has a Provenance: which versions, whose, when; found by what it is about, seen by who sees that."""

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import SEVERE, UNIT, bundle, madrs_s, referral
from tests.journeys.steps import accept, refer, start

OBSERVED = "urn:uuid:10000000-0000-4000-8000-0000000000aa"


def origins(service: Service, about: str) -> list[Json]:
    found = service.referrer().search("Provenance", target=about)
    assert [validate(each) for each in found] == [[]] * len(found)
    return found


def targets(provenance: Json) -> list[str]:
    return [target["reference"] for target in provenance["target"]]


@pytest.fixture
def order(service: Service) -> str:
    return refer(service, referral())


def test_a_referral_as_it_first_came_has_none(service: Service, order: str) -> None:
    assert service.count("Provenance") == 0


def test_a_put_names_the_new_version_and_the_unit_that_made_it(service: Service, order: str) -> None:
    service.clock.later(hours=1)
    current = service.referrer().read(order)
    assert service.referrer().put(order, {**current, "note": [{"text": "Nås bäst efter 15"}]}).status_code == 200
    (made,) = origins(service, order)
    assert targets(made) == [f"{order}/_history/2"]
    assert made["recorded"] == "2026-11-23T11:00:00.000+01:00"
    assert made["activity"]["coding"][0]["code"] == "UPDATE"
    (author,) = made["agent"]
    assert author["who"]["identifier"]["value"] == UNIT
    assert service.referrer().read(author["who"]["reference"])["resourceType"] == "Organization"
    assert "Nås bäst" not in str(made), "what was said stands in the version itself"


def test_a_patch_and_a_withdrawal_have_one_each(service: Service, order: str) -> None:
    patch = [{"op": "add", "path": "/priority", "value": "urgent"}]
    headers = {"Content-Type": "application/json-patch+json", "Sluss-Caller": f"referrer {UNIT}"}
    answer = service.referrer().session.patch(f"{service.base}/fhir/{order}", json=patch, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    current = service.referrer().read(order)
    assert service.referrer().put(order, {**current, "status": "revoked"}).status_code == 200
    made = origins(service, order)
    assert [targets(each) for each in made] == [[f"{order}/_history/2"], [f"{order}/_history/3"]]


def test_what_is_refused_or_changes_nothing_leaves_none(service: Service, order: str) -> None:
    current = service.referrer().read(order)
    assert service.referrer().put(order, {**current, "intent": "plan"}).status_code == 422
    assert service.referrer().put(order, {**current, "status": "revoked"}).status_code == 200
    withdrawn = service.referrer().read(order)
    assert service.referrer().put(order, withdrawn).status_code == 200
    assert len(origins(service, order)) == 1


def test_an_order_amended_with_new_evidence_has_one_for_both(service: Service, order: str) -> None:
    current = service.referrer().read(order)
    rating = madrs_s(SEVERE, subject=current["subject"], basedOn=[{"reference": order}])
    sent = bundle((OBSERVED, rating), (f"{service.base}/fhir/{order}", current))
    sent["entry"][1]["request"] = {"method": "PUT", "url": order}
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    (made,) = origins(service, order)
    assert f"{order}/_history/2" in targets(made)
    assert [t.partition("/")[0] for t in targets(made)].count("QuestionnaireResponse") == 1


def test_the_treating_teams_change_of_evidence_is_the_teams(service: Service, order: str) -> None:
    accept(service, order)
    start(service, order)
    rating = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "https://sluss.example/fhir/CodeSystem/madrs-s", "code": "total"}]},
        "subject": service.referrer().read(order)["subject"],
        "basedOn": [{"reference": order}],
        "effectiveDateTime": "2026-11-23",
        "valueQuantity": {"value": 12, "system": "http://unitsofmeasure.org", "code": "{score}"},
    }
    answer = service.therapist().post("/fhir/Observation", rating)
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    reference = f"Observation/{stored['id']}"
    assert origins(service, reference) == [], "new evidence is no amendment"
    stored["valueQuantity"]["value"] = 14
    assert service.therapist().put(reference, stored).status_code == 200
    (made,) = origins(service, reference)
    assert targets(made) == [f"{reference}/_history/2"]
    seat = service.administrator.read("HealthcareService/gavle")["providedBy"]["reference"]
    assert made["agent"][0]["who"]["reference"] == seat


def test_it_comes_with_what_it_is_about(service: Service, order: str) -> None:
    current = service.referrer().read(order)
    service.referrer().put(order, {**current, "note": [{"text": "Nås bäst efter 15"}]})
    found = (
        service.referrer()
        .get("/fhir/ServiceRequest", _id=order.partition("/")[2], _revinclude="Provenance:target")
        .json()
    )
    assert [(e["resource"]["resourceType"], e["search"]["mode"]) for e in found["entry"]] == [
        ("ServiceRequest", "match"),
        ("Provenance", "include"),
    ]
    provenance = found["entry"][1]["resource"]
    for asked in (
        {"recorded": "2026-11-23"},
        {"agent": provenance["agent"][0]["who"]["reference"]},
        {"agent:identifier": f"urn:oid:1.2.752.29.4.19|{UNIT}"},
        {"agent-type": "author"},
    ):
        assert [each["id"] for each in service.referrer().search("Provenance", **asked)] == [provenance["id"]]


def test_nobody_writes_one(service: Service, order: str) -> None:
    current = service.referrer().read(order)
    service.referrer().put(order, {**current, "note": [{"text": "Nås bäst efter 15"}]})
    (made,) = origins(service, order)
    made.pop("meta")
    assert service.administrator.post("/fhir/Provenance", made).status_code == 405
    assert service.administrator.put(f"Provenance/{made['id']}", made).status_code == 405


def test_metadata_declares_it(service: Service) -> None:
    (described,) = [
        each
        for each in service.administrator.get("/fhir/metadata").json()["rest"][0]["resource"]
        if each["type"] == "Provenance"
    ]
    codes = {each["code"] for each in described["interaction"]}
    assert codes == {"read", "vread", "history-instance", "history-type", "search-type"}
    names = {each["name"] for each in described["searchParam"]}
    assert {"target", "patient", "recorded", "agent", "entity", "when", "agent-type", "agent-role"} <= names
