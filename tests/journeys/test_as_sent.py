"""What was sent is stored as sent, and read back so (contract 3)."""

from decimal import Decimal

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service, exact
from tests.journeys.referrals import (
    FORM,
    GRAVE,
    MADRS,
    ORDER,
    PATIENT,
    UNIT,
    alone,
    entry,
    form,
    located,
    logical_patient,
    madrs_s,
    order,
    organisation,
    patient,
    referral,
    role,
)
from tests.journeys.steps import findings_of, refer, refer_alone, task_of

EXTENSION: Json = {
    "url": "https://ehr.example/weight",
    "extension": [
        {"url": "kg", "valueDecimal": Decimal("1.00")},
        {"url": "g", "valueDecimal": Decimal("1E+3")},
        {"url": "t", "valueDecimal": Decimal("0.0010")},
    ],
}


def decimals(resource: Json) -> list[str]:
    return [str(e["valueDecimal"]) for e in resource["extension"][0]["extension"]]


def test_unknown_extensions_and_every_digit_survive_read_vread_history_and_search(service: Service) -> None:
    received = refer_alone(service, alone(extension=[EXTENSION]))
    client = service.referrer()
    versions = [
        client.read(received),
        client.read(f"{received}/_history/1"),
        exact(client.get(f"{received}/_history"))["entry"][0]["resource"],
        client.search("ServiceRequest", _id=received.split("/")[1])[0],
    ]
    for stored in versions:
        assert stored["extension"] == [EXTENSION]
        assert decimals(stored) == ["1.00", "1E+3", "0.0010"]


def test_the_digits_survive_an_amendment_and_the_old_version_stays(service: Service) -> None:
    received = refer_alone(service, alone(extension=[EXTENSION]))
    client = service.referrer()
    changed = {**client.read(received), "note": [{"text": "Nås bäst efter 15"}]}
    assert client.put(received, changed).status_code == 200
    assert decimals(client.read(received)) == ["1.00", "1E+3", "0.0010"]
    assert "note" not in client.read(f"{received}/_history/1")


def test_the_order_of_arrays_is_kept_and_unknown_extensions_in_every_entry(service: Service) -> None:
    sent = referral(category=[{"text": text} for text in "cab"], extension=[EXTENSION])
    for item in sent["entry"]:
        item["resource"]["extension"] = [EXTENSION]
    sent["entry"][3]["resource"]["item"].reverse()
    sent["entry"][3]["resource"]["item"][0]["_linkId"] = {"extension": [EXTENSION]}
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    for item, told in zip(sent["entry"], answer.json()["entry"], strict=True):
        if item["resource"]["resourceType"] == "Organization":
            continue  # the pack's directory wins
        stored = service.administrator.read(located(told))
        assert decimals(stored) == ["1.00", "1E+3", "0.0010"]
    rating = service.administrator.read(located(answer.json()["entry"][3]))
    assert [i["linkId"] for i in rating["item"]] == [f"item-{n}" for n in range(9, 0, -1)]
    assert rating["item"][0]["_linkId"] == {"extension": [EXTENSION]}
    stored = service.administrator.read(located(answer.json()["entry"][-1]))
    assert stored["category"] == [{"text": text} for text in "cab"]


def test_only_ids_and_references_differ_from_what_a_bundle_carried(service: Service) -> None:
    sent = referral()
    answer = service.referrer().post("/fhir", sent).json()
    became = {i["fullUrl"]: located(told) for i, told in zip(sent["entry"], answer["entry"], strict=True)}
    stored = service.administrator.read(became[ORDER])
    wanted = sent["entry"][-1]["resource"]
    assert {k: v for k, v in stored.items() if k not in ("id", "meta")} == {
        **wanted,
        "subject": {"reference": became[wanted["subject"]["reference"]]},
        "requester": {"reference": became[wanted["requester"]["reference"]]},
        "supportingInfo": [{"reference": became[i["reference"]]} for i in wanted["supportingInfo"]],
    }


def test_labels_profiles_and_tags_are_kept_and_version_and_time_are_ours(service: Service) -> None:
    meta = {
        "versionId": "17",
        "lastUpdated": "2001-01-01T00:00:00Z",
        "source": "https://ehr.example/system",
        "profile": ["https://ehr.example/profile"],
        "tag": [{"system": "https://ehr.example/t", "code": "x"}],
    }
    stored = service.referrer().read(refer_alone(service, alone(meta=meta)))["meta"]
    assert {k: stored[k] for k in ("source", "profile", "tag")} == {k: meta[k] for k in ("source", "profile", "tag")}
    assert stored["versionId"] == "1"
    assert stored["lastUpdated"] > "2026"


def test_references_in_a_bundle_may_be_relative_to_the_senders_own_server(service: Service) -> None:
    base = "https://ehr.example/fhir"
    subject = {"reference": "Patient/p1"}
    sent: Json = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry(f"{base}/Patient/p1", patient()),
            entry(f"{base}/Organization/o1", organisation(UNIT)),
            entry(f"{base}/PractitionerRole/r1", role({"reference": "Organization/o1"})),
            entry(f"{base}/QuestionnaireResponse/m1", madrs_s(subject=subject)),
            entry(f"{base}/QuestionnaireResponse/f1", {**form(), "subject": {"reference": f"{base}/Patient/p1"}}),
            entry(
                f"{base}/ServiceRequest/s1",
                order(
                    subject=subject,
                    requester={"reference": "PractitionerRole/r1"},
                    supportingInfo=[{"reference": "QuestionnaireResponse/m1"}],
                ),
            ),
        ],
    }
    received = refer(service, sent)
    task = task_of(service, received)
    stored = service.administrator.read(received)
    assert findings_of(task) == []
    assert stored["subject"] == task["for"]
    assert stored["requester"] == task["requester"]
    assert service.administrator.read(task["requester"]["reference"])["resourceType"] == "PractitionerRole"
    rating = service.administrator.read(stored["supportingInfo"][0]["reference"])
    assert rating["subject"] == task["for"]


def test_what_a_resource_contains_is_its_own(service: Service) -> None:
    # both the order and a response contain something called #a
    sent = referral(contained=[{**organisation(UNIT), "id": "a"}], requester={"reference": "#a"})
    inner = {"resourceType": "Practitioner", "id": "a", "name": [{"text": "Test Behandlare"}]}
    sent["entry"][3]["resource"] |= {"contained": [inner], "author": {"reference": "#a"}}
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    assert service.administrator.read(located(answer.json()["entry"][3]))["author"] == {"reference": "#a"}
    assert service.administrator.read(located(answer.json()["entry"][-1]))["requester"] == {"reference": "#a"}


def test_a_rating_that_came_as_a_response_becomes_an_observation_and_the_response_stays(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral()).json()
    received, response = located(answer["entry"][-1]), located(answer["entry"][3])
    (observation,) = service.all_of(received, "Observation")
    assert observation["derivedFrom"] == [{"reference": response}]
    assert observation["basedOn"] == [{"reference": received}]
    assert observation["subject"] == task_of(service, received)["for"]
    assert (observation["status"], observation["valueQuantity"]["value"]) == ("final", 12)
    assert [c["valueInteger"] for c in observation["component"]] == [2, 2, 2, 1, 1, 2, 1, 1, 0]
    assert "performer" not in observation


@pytest.mark.parametrize("derived", [None, [{"reference": FORM}]])
def test_an_observation_of_ours_in_another_referral_is_evidence_and_stays_as_sent(
    service: Service, derived: list[Json] | None
) -> None:
    (ours,) = service.all_of(refer(service, referral(items=GRAVE)), "Observation")
    other = {"subject": {"reference": PATIENT}, "derivedFrom": derived}
    left_out = ("id", "meta", "basedOn")
    copied = {k: v for k, v in {**ours, **other}.items() if v is not None and k not in left_out}
    received = refer(service, referral("R-2", items=None, extra=((MADRS, copied),)))
    again = {**service.referrer().read(received), "note": [{"text": "Nås bäst efter 15"}]}
    assert service.referrer().put(received, again).status_code == 200
    (stored,) = service.all_of(received, "Observation")
    assert (stored["status"], stored["identifier"]) == ("final", ours["identifier"])
    found = findings_of(task_of(service, received))
    assert "madrs-s-item-9" in found
    assert "madrs-s-required" not in found


def test_who_sends_an_observation_does_not_make_it_one_that_sluss_has_computed(service: Service) -> None:
    received = refer(service, referral())
    (ours,) = service.all_of(received, "Observation")
    sent = {k: v for k, v in ours.items() if k not in ("id", "meta", "derivedFrom")}
    answer = service.referrer().post("/fhir/Observation", sent)
    assert answer.status_code == 201, answer.text
    id_ = answer.json()["id"]
    posing = {**answer.json(), "identifier": [{**ours["identifier"][0], "value": id_}]}
    assert service.referrer().put(f"Observation/{id_}", posing).status_code == 403
    assert [o["status"] for o in service.all_of(received, "Observation")] == ["final", "final"]


def test_a_contained_rating_becomes_an_observation_too(service: Service) -> None:
    rating = {**madrs_s(), "id": "rating", "subject": logical_patient()}
    received = refer_alone(
        service, alone(programme="depression", contained=[rating], supportingInfo=[{"reference": "#rating"}])
    )
    (observation,) = service.all_of(received, "Observation")
    (derived,) = observation["derivedFrom"]
    assert derived["type"] == "QuestionnaireResponse"
    assert derived["identifier"]["value"] == f"{received}#rating"
