"""Who a referral is about and who sent it, as stored resources (contract 3)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_mappings.records import Json
from tests.bench.referrals import identities
from tests.journeys.conftest import Service
from tests.journeys.referrals import (
    ADULT,
    HSA,
    OTHER_UNIT,
    PERSONNUMMER,
    STRANGER,
    UNIT,
    alone,
    form,
    logical_patient,
    organisation,
    patient,
    plain,
    referral,
    role,
)
from tests.journeys.steps import messages, refer, refer_alone, route_of, task_of

SEKRETESS = {"system": "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel", "code": "skyddad-folkbokforing"}
RIV_PERSONNUMMER = "urn:oid:1.2.752.129.2.1.3.1"
RIV_HSA = "urn:oid:1.2.752.129.2.1.4.1"


def whole_alone(unit: str = STRANGER, **changes: Json) -> Json:
    """A ServiceRequest with patient, role and organisation contained."""
    contained = [
        {**patient(), "id": "patient", **changes.get("patient", {})},
        {**organisation(unit), "id": "unit", **changes.get("organisation", {})},
        {**role({"reference": "#unit"}), "id": "role", **changes.get("role", {})},
        {**form(), "id": "form", "subject": {"reference": "#patient"}},
    ]
    return alone(contained=contained, subject={"reference": "#patient"}, requester={"reference": "#role"})


def test_contained_parties_become_stored_resources_while_the_order_stays_as_sent(service: Service) -> None:
    sent = whole_alone()
    received = refer_alone(service, sent, STRANGER)
    stored = service.administrator.read(received)
    assert {k: v for k, v in stored.items() if k not in ("id", "meta")} == sent
    (person,) = service.administrator.search("Patient", identifier=f"{PERSONNUMMER}|{ADULT}")
    (unit,) = service.administrator.search("Organization", identifier=f"{HSA}|{STRANGER}")
    (made,) = service.administrator.search("PractitionerRole", organization=f"Organization/{unit['id']}")
    assert person["name"] == [{"text": "Test Testsson"}]
    assert made["code"] == [{"text": "Psykolog"}]
    task = task_of(service, received)
    assert task["for"] == {"reference": f"Patient/{person['id']}"}
    assert task["requester"] == {"reference": f"PractitionerRole/{made['id']}"}
    (told,) = messages(service, received)
    assert told["subject"] == {"reference": f"Patient/{person['id']}"}
    assert told["recipient"] == [
        {"reference": f"Organization/{unit['id']}", "identifier": {"system": HSA, "value": STRANGER}}
    ]


def test_the_order_is_found_by_the_parties_that_were_made_of_what_it_contains(service: Service) -> None:
    received = refer_alone(service, whole_alone(), STRANGER)
    task = task_of(service, received)
    for name, value in (
        ("subject", task["for"]["reference"]),
        ("patient", task["for"]["reference"]),
        ("requester", task["requester"]["reference"]),
    ):
        found = service.administrator.search("ServiceRequest", **{name: value})
        assert [f"ServiceRequest/{order['id']}" for order in found] == [received], name


def test_the_order_is_found_by_the_parties_also_after_an_amendment_and_a_withdrawal(service: Service) -> None:
    received = refer_alone(service, whole_alone(), STRANGER)
    patient_ = task_of(service, received)["for"]["reference"]
    client = service.referrer(STRANGER)
    for change in ({"note": [{"text": "x"}]}, {"status": "revoked"}):
        assert client.put(received, {**client.read(received), **change}).status_code == 200
        assert len(service.administrator.search("ServiceRequest", subject=patient_)) == 1


def test_logical_parties_become_stored_resources_and_the_order_is_found_by_them(service: Service) -> None:
    received = refer_alone(service, alone(unit=STRANGER), STRANGER)
    task = task_of(service, received)
    person = service.administrator.read(task["for"]["reference"])
    assert person["identifier"] == [{"system": PERSONNUMMER, "value": ADULT}]
    assert person["birthDate"] == "1990-02-22"
    unit = service.administrator.read(task["requester"]["reference"])
    assert (unit["resourceType"], unit["identifier"][0]["value"]) == ("Organization", STRANGER)
    for name, value in (("subject", task["for"]["reference"]), ("requester", task["requester"]["reference"])):
        assert len(service.administrator.search("ServiceRequest", **{name: value})) == 1


def test_one_patient_for_each_identifier_and_organisation(service: Service) -> None:
    first = task_of(service, refer(service, referral("R-1")))["for"]
    second = task_of(service, refer_alone(service, alone("R-2")))["for"]
    third = service.referrer().post("/intake/referrals", plain(referrer={"unit": UNIT, "reference": "P-1"})).json()
    assert first == second == task_of(service, third["service_request"])["for"]
    theirs = task_of(service, refer(service, referral(unit=OTHER_UNIT), OTHER_UNIT))["for"]
    assert theirs != first
    assert service.count("Patient") == 2


def test_what_one_organisation_sends_never_changes_anothers_patient(service: Service) -> None:
    mine = task_of(service, refer(service, referral()))["for"]["reference"]
    theirs = referral(unit=OTHER_UNIT)
    theirs["entry"][0]["resource"]["name"] = [{"text": "Ett annat namn"}]
    other = task_of(service, refer(service, theirs, OTHER_UNIT))["for"]["reference"]
    assert service.administrator.read(mine)["name"] == [{"text": "Test Testsson"}]
    assert service.administrator.read(mine)["meta"]["versionId"] == "1"
    assert service.administrator.read(other)["name"] == [{"text": "Ett annat namn"}]


def test_what_an_organisation_sends_anew_is_the_next_version_of_its_patient(service: Service) -> None:
    person = task_of(service, refer(service, referral("R-1")))["for"]["reference"]
    sent = referral("R-2")
    sent["entry"][0]["resource"]["telecom"] = [{"system": "phone", "value": "070-1740605"}]
    refer(service, sent)
    stored = service.administrator.read(person)
    assert stored["telecom"] == [{"system": "phone", "value": "070-1740605"}]
    assert stored["meta"]["versionId"] == "2"
    refer_alone(service, alone("R-3"))  # by identifier only: it says nothing new
    assert service.administrator.read(person)["meta"]["versionId"] == "2"


def test_the_packs_directory_wins_over_what_was_sent(service: Service) -> None:
    (before,) = service.administrator.search("Organization", identifier=f"{HSA}|{UNIT}")
    sent = referral()
    sent["entry"][1]["resource"] |= {"name": "Ett påhittat namn", "address": [{"city": "Ljusdal"}]}
    received = refer(service, sent)
    (after,) = service.administrator.search("Organization", identifier=f"{HSA}|{UNIT}")
    assert after == before
    assert route_of(task_of(service, received)) == "unit-directory"
    assert task_of(service, received)["owner"] == {"reference": "HealthcareService/gavle"}


def test_a_unit_outside_the_directory_is_one_organisation_as_it_last_described_itself(service: Service) -> None:
    refer(service, referral("R-1", unit=STRANGER), STRANGER)
    sent = referral("R-2", unit=STRANGER.lower())
    sent["entry"][1]["resource"]["address"] = [{"city": "Ljusdal"}]
    refer(service, sent, STRANGER)
    (unit,) = service.administrator.search("Organization", identifier=f"{HSA}|{STRANGER}")
    assert unit["address"] == [{"city": "Ljusdal"}]


def test_roles_are_matched_by_hsa_id(service: Service) -> None:
    identifier = [{"system": HSA, "value": "SE2321000198-EXR1"}]
    requesters = []
    for number in (1, 2):
        sent = referral(f"R-{number}")
        sent["entry"][2]["resource"]["identifier"] = identifier
        requesters.append(task_of(service, refer(service, sent))["requester"])
    assert requesters[0] == requesters[1]
    assert len(service.administrator.search("PractitionerRole", identifier=f"{HSA}|SE2321000198-EXR1")) == 1


ROLE_ID = "SE2321000198-EXR1"
PERSON = "urn:uuid:10000000-0000-4000-8000-000000000021"


def signed(number: str = "R-1", unit: str = UNIT, phone: str = "026-100 00 01", by: str = ROLE_ID) -> Json:
    """A referral from a role and a person that have HSA-ids, whose telephone is `phone`."""
    sent = referral(number, unit=unit)
    telecom = [{"system": "phone", "value": phone}]
    role_ = sent["entry"][2]["resource"]
    role_ |= {"identifier": [{"system": HSA, "value": by}], "telecom": telecom, "practitioner": {"reference": PERSON}}
    person = {"resourceType": "Practitioner", "identifier": [{"system": HSA, "value": f"{by}P"}], "telecom": telecom}
    request = {"method": "POST", "url": "Practitioner"}
    sent["entry"].append({"fullUrl": PERSON, "resource": person, "request": request})
    return sent


def phones_of(service: Service, received: str) -> tuple[str, str]:
    """The telephones of the requester's role and person, as Task.requester leads to them."""
    role_ = service.administrator.read(task_of(service, received)["requester"]["reference"])
    person = service.administrator.read(role_["practitioner"]["reference"])
    return role_["telecom"][0]["value"], person["telecom"][0]["value"]


def test_what_another_unit_sent_with_the_same_hsa_ids_is_never_used(service: Service) -> None:
    refer(service, signed(unit=OTHER_UNIT, phone="FEL"), OTHER_UNIT)
    received = refer(service, signed())
    assert phones_of(service, received) == ("026-100 00 01", "026-100 00 01")
    refer(service, signed("R-2", unit=OTHER_UNIT, phone="FEL IGEN"), OTHER_UNIT)
    assert phones_of(service, received) == ("026-100 00 01", "026-100 00 01")


def test_a_unit_describes_its_role_and_person_anew(service: Service) -> None:
    received = refer(service, signed())
    again = refer(service, signed("R-2", phone="026-100 00 02"))
    assert task_of(service, again)["requester"] == task_of(service, received)["requester"]
    assert phones_of(service, received) == ("026-100 00 02", "026-100 00 02")
    refer(service, signed("R-3", phone="026-100 00 02"))
    role_ = service.administrator.read(task_of(service, received)["requester"]["reference"])
    assert role_["meta"]["versionId"] == "2", "the same again is no new version"


def test_a_role_that_is_described_twice_in_a_bundle_is_as_it_stands_first(service: Service) -> None:
    received = refer(service, signed())
    sent = signed("R-2", phone="026-100 00 02")
    second = {**sent["entry"][2]["resource"], "telecom": [{"system": "phone", "value": "026-100 00 03"}]}
    sent["entry"].append({"resource": second, "request": {"method": "POST", "url": "PractitionerRole"}})
    refer(service, sent)
    assert phones_of(service, received)[0] == "026-100 00 02"


def test_referrals_at_once_that_describe_a_role_differently_are_all_received(service: Service) -> None:
    refer(service, signed())
    sent = [signed(f"R-1{n}", phone=f"026-100 00 1{n}") for n in range(6)]
    for bundle, identity in zip(sent, identities(), strict=False):
        bundle["entry"][0]["resource"]["identifier"][0]["value"] = identity
    with ThreadPoolExecutor(6) as pool:
        received = list(pool.map(lambda bundle: refer(service, bundle), sent))
    assert phones_of(service, received[0])[0] in {f"026-100 00 1{n}" for n in range(6)}


def test_if_none_exist_finds_what_the_unit_itself_has_described(service: Service) -> None:
    refer(service, signed(unit=OTHER_UNIT, phone="FEL"), OTHER_UNIT)
    condition = f"identifier={HSA}|{ROLE_ID}"
    statuses = []
    for number in ("R-1", "R-2"):
        sent = signed(number)
        sent["entry"][2]["request"]["ifNoneExist"] = condition
        answer = service.referrer().post("/fhir", sent)
        assert answer.status_code == 200, answer.text
        statuses.append(answer.json()["entry"][2]["response"]["status"])
    assert statuses == ["201 Created", "200 OK"]


def test_a_role_without_an_hsa_id_is_its_units_too(service: Service) -> None:
    """Another unit says of a role of its own that it is at this unit: no condition of this unit's finds it."""
    (here,) = service.administrator.search("Organization", identifier=f"{HSA}|{UNIT}")
    at_this_unit = f"Organization/{here['id']}"
    sent = referral(unit=OTHER_UNIT)
    false = role({"reference": at_this_unit}, telecom=[{"system": "phone", "value": "FEL"}])
    sent["entry"].append({"resource": false, "request": {"method": "POST", "url": "PractitionerRole"}})
    refer(service, sent, OTHER_UNIT)
    mine = referral()
    mine["entry"][2]["request"]["ifNoneExist"] = f"organization={at_this_unit}"
    answer = service.referrer().post("/fhir", mine)
    assert answer.json()["entry"][2]["response"]["status"] == "201 Created", answer.text


def test_a_requester_that_is_another_units_role_becomes_the_units_own(service: Service) -> None:
    (here,) = service.administrator.search("Organization", identifier=f"{HSA}|{UNIT}")
    sent = signed(unit=OTHER_UNIT, phone="FEL")
    sent["entry"].append(
        {
            "resource": role(
                {"reference": f"Organization/{here['id']}"},
                identifier=[{"system": HSA, "value": f"{ROLE_ID}X"}],
                telecom=[{"system": "phone", "value": "FEL"}],
            ),
            "request": {"method": "POST", "url": "PractitionerRole"},
        }
    )
    refer(service, sent, OTHER_UNIT)
    (false,) = service.administrator.search("PractitionerRole", identifier=f"{HSA}|{ROLE_ID}X")
    requester = {"reference": f"PractitionerRole/{false['id']}"}
    received = refer_alone(service, alone("R-2", requester=requester))
    used = service.administrator.read(task_of(service, received)["requester"]["reference"])
    assert used["id"] != false["id"]
    assert "telecom" not in used
    assert used["identifier"][0]["value"] == f"{ROLE_ID}X"
    again = refer_alone(service, alone("R-3", requester=requester))
    assert task_of(service, again)["requester"] == task_of(service, received)["requester"]


def test_a_unit_that_another_describes_is_itself_when_it_sends(service: Service) -> None:
    sent = referral()
    false = organisation(STRANGER, name="Ett påhittat namn")
    sent["entry"].append({"resource": false, "request": {"method": "POST", "url": "Organization"}})
    refer(service, sent)
    received = refer(service, referral(unit=STRANGER), STRANGER)
    recipient = messages(service, received)[0]["recipient"][0]["reference"]
    assert service.administrator.read(recipient)["name"] == "Exempelmottagningen"
    again = refer_alone(service, alone("R-2", unit=STRANGER), STRANGER)
    assert messages(service, again)[0]["recipient"][0]["reference"] == recipient
    sent["entry"][-1]["resource"]["name"] = "Ett annat påhittat namn"
    sent["entry"][-2]["resource"]["identifier"][0]["value"] = "R-9"
    refer(service, sent)
    assert service.administrator.read(recipient)["name"] == "Exempelmottagningen"
    assert len(service.administrator.search("Organization", identifier=f"{HSA}|{STRANGER}")) == 2


@pytest.mark.parametrize("way", ["bundle", "contained"])
def test_riv_ta_roots_come_in_and_hl7_swedens_systems_go_out(service: Service, way: str) -> None:
    person = {"identifier": [{"system": RIV_PERSONNUMMER, "value": ADULT}]}
    unit = {"identifier": [{"system": RIV_HSA, "value": STRANGER}]}
    if way == "bundle":
        sent = referral(unit=STRANGER)
        sent["entry"][0]["resource"] |= person
        sent["entry"][1]["resource"] |= unit
        received = refer(service, sent, STRANGER)
    else:
        received = refer_alone(service, whole_alone(patient=person, organisation=unit), STRANGER)
    patient_ = service.administrator.read(task_of(service, received)["for"]["reference"])
    assert {"system": PERSONNUMMER, "value": ADULT} in patient_["identifier"]
    assert len(service.administrator.search("Organization", identifier=f"{HSA}|{STRANGER}")) == 1
    assert messages(service, received)[0]["recipient"][0]["identifier"] == {"system": HSA, "value": STRANGER}


def test_logical_riv_ta_roots_are_written_as_hl7_sweden_does(service: Service) -> None:
    subject = {"identifier": {"system": RIV_PERSONNUMMER, "value": ADULT}}
    requester = {"type": "Organization", "identifier": {"system": RIV_HSA, "value": STRANGER}}
    received = refer_alone(
        service, alone(contained=None, supportingInfo=None, subject=subject, requester=requester), STRANGER
    )
    assert service.administrator.read(task_of(service, received)["for"]["reference"])["identifier"] == [
        {"system": PERSONNUMMER, "value": ADULT}
    ]
    assert len(service.administrator.search("Organization", identifier=f"{HSA}|{STRANGER}")) == 1
    assert service.administrator.read(received)["requester"] == requester


def test_protected_identity_is_carried_through_to_the_stored_patient(service: Service) -> None:
    # a contained Patient cannot carry a label: R4's invariant dom-5
    sent = referral(unit=STRANGER)
    sent["entry"][0]["resource"]["meta"] = {"security": [SEKRETESS]}
    received = refer(service, sent, STRANGER)
    stored = service.administrator.read(task_of(service, received)["for"]["reference"])
    assert stored["meta"]["security"] == [SEKRETESS]


def test_protected_identity_is_carried_through_to_a_patient_that_sluss_makes(service: Service) -> None:
    sent = referral()
    sent["entry"][0]["resource"]["meta"] = {"security": [SEKRETESS]}
    known = task_of(service, refer(service, sent))["for"]
    # an administrator types in a letter of another unit about the same stored patient
    order = alone("R-2", unit=OTHER_UNIT, contained=None, supportingInfo=None, subject=known)
    answer = service.administrator.post("/fhir/ServiceRequest", order)
    assert answer.status_code == 201, answer.text
    made = task_of(service, f"ServiceRequest/{answer.json()['id']}")["for"]
    assert made != known
    assert service.administrator.read(made["reference"])["meta"]["security"] == [SEKRETESS]


def test_our_own_resources_refer_to_the_stored_parties(service: Service) -> None:
    received = refer_alone(service, whole_alone(), STRANGER)
    person = task_of(service, received)["for"]
    for type_ in ("Task", "Communication", "Observation"):
        for resource in service.all_of(received, type_):
            assert (resource.get("for") or resource.get("subject")) == person
            assert "#" not in str([resource.get("requester"), resource.get("recipient")])


def test_a_municipality_is_read_from_code_district_or_city(service: Service) -> None:
    url = "https://sluss.example/fhir/StructureDefinition/municipality-code"
    addresses: list[Json] = [
        {"extension": [{"url": url, "valueCode": "2161"}], "city": "Stockholm"},
        {"district": "Ljusdal"},
        {"city": "Ljusdal"},
    ]
    for number, address in enumerate(addresses):
        sent = referral(f"R-{number}", unit=STRANGER)
        sent["entry"][0]["resource"]["address"] = [address]
        task = task_of(service, refer(service, sent, STRANGER))
        assert (route_of(task), task["owner"]["reference"]) == (
            "patient-municipality",
            "HealthcareService/norra-halsingland",
        )


def test_the_subject_by_identifier_may_be_about_a_stored_patient(service: Service) -> None:
    known = task_of(service, refer(service, referral()))["for"]
    received = refer_alone(service, alone("R-2", subject=logical_patient()))
    assert task_of(service, received)["for"] == known
    assert service.administrator.read(received)["subject"] == logical_patient()
