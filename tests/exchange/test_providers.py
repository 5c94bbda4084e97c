"""Roles and persons with the same HSA-ids, as two units describe them, on both sides."""

from fhir_mappings.records import HsaId, Json
from service.access.caller import referrer_of
from service.exchange.deliver import State
from service.referral.intake import Submission, read_submission
from service.referral.journey.receive import reading_for, receive
from service.referral.lookup import usable_by
from service.store.records import ReferralRow
from tests.exchange.gateway import Gateway
from tests.journeys.referrals import HSA, OTHER_UNIT, SECOND_ADULT, UNIT, referral

PERSON = "urn:uuid:10000000-0000-4000-8000-000000000021"
PERSON_ID = "SE2321000198-EXP1"


def signed(unit: str, name: str, identity: str, number: str = "R-1") -> Json:
    """A referral from a person with an HSA-id, whom the unit calls `name`."""
    person: Json = {
        "resourceType": "Practitioner",
        "identifier": [{"system": HSA, "value": PERSON_ID}],
        "name": [{"text": name}],
    }
    sent = referral(number, unit=unit, identity=identity, extra=((PERSON, person),))
    role = sent["entry"][2]["resource"]
    role["identifier"] = [{"system": HSA, "value": "SE2321000198-EXR1"}]
    role["practitioner"] = {"reference": PERSON}
    return sent


def received(gateway: Gateway, bundle: Json, unit: str) -> ReferralRow:
    caller = referrer_of(HsaId(unit))
    read = read_submission(bundle, reading_for(gateway.house), usable_by(gateway.house, caller))
    assert isinstance(read, Submission), read
    receipt = receive(gateway.house, caller, read)
    row = gateway.house.store.view().referral_of("ServiceRequest", receipt.service_request.id)
    assert row is not None
    return row


def person_of(gateway: Gateway, unit: str) -> Json:
    """The person as the unit knows them here."""
    view = gateway.house.store.view()
    (reference,) = view.natural("Practitioner", [f"{PERSON_ID}@{unit}"]).values()
    stored = view.get(*reference.split("/"))
    assert stored is not None
    return stored.content


def name_of(person: Json) -> str:
    return str(person["name"][0]["text"])


def test_both_are_delivered_and_renewed_each_as_its_own_copy(gateway: Gateway) -> None:
    rows = [
        received(gateway, signed(UNIT, "Kim Exempel", "199002222397"), UNIT),
        received(gateway, signed(OTHER_UNIT, "Fel Namn", SECOND_ADULT), OTHER_UNIT),
    ]
    assert [gateway.deliver(row) for row in rows] == [State.DELIVERED, State.DELIVERED]
    there = gateway.region.search("Practitioner", identifier=f"{HSA}|{PERSON_ID}")
    assert sorted(map(name_of, there)) == ["Fel Namn", "Kim Exempel"]
    again = received(gateway, signed(UNIT, "Kim Exempel-Ny", "199002222397", "R-2"), UNIT)
    assert gateway.deliver(again) is State.DELIVERED
    there = gateway.region.search("Practitioner", identifier=f"{HSA}|{PERSON_ID}")
    assert sorted(map(name_of, there)) == ["Fel Namn", "Kim Exempel-Ny"]


def test_a_person_there_whom_two_units_refer_for_is_one_here_for_each(gateway: Gateway) -> None:
    first = gateway.region.transact(signed(UNIT, "Kim Exempel", "199002222397"))
    person = next(reference for reference in first if reference.startswith("Practitioner/"))
    sent = signed(OTHER_UNIT, "Kim Exempel", SECOND_ADULT)
    sent["entry"] = [one for one in sent["entry"] if one["fullUrl"] != PERSON]
    sent["entry"][2]["resource"]["practitioner"] = {"reference": person}
    gateway.region.transact(sent)
    gateway.settle()
    mine, theirs = person_of(gateway, UNIT), person_of(gateway, OTHER_UNIT)
    assert mine["id"] != theirs["id"]
    received(gateway, signed(UNIT, "Ett annat namn", "199002222397", "R-2"), UNIT)
    assert name_of(person_of(gateway, OTHER_UNIT)) == "Kim Exempel"
    gateway.settle()
    assert len(gateway.region.search("Practitioner", identifier=f"{HSA}|{PERSON_ID}")) == 1


def test_a_person_there_whom_two_units_refer_for_is_its_own_units_in_an_amendment(gateway: Gateway) -> None:
    first = gateway.region.transact(signed(UNIT, "Kim Exempel", "199002222397"))
    person = next(reference for reference in first if reference.startswith("Practitioner/"))
    sent = signed(OTHER_UNIT, "Kim Exempel", SECOND_ADULT)
    sent["entry"] = [one for one in sent["entry"] if one["fullUrl"] != PERSON]
    sent["entry"][2]["resource"]["practitioner"] = {"reference": person}
    theirs = next(one for one in gateway.region.transact(sent) if one.startswith("ServiceRequest/"))
    gateway.settle()
    gateway.region.change(gateway.region.read(theirs), requester={"reference": person}, priority="urgent")
    gateway.settle()
    view = gateway.house.store.view()
    (row,) = [one for one in view.waiting_at("vastra-gastrikland", ("requested",)) if one.organisation == OTHER_UNIT]
    stored = view.get("ServiceRequest", row.service_request)
    assert stored is not None
    assert stored.content["priority"] == "urgent"
    assert stored.content["requester"] == {"reference": f"Practitioner/{person_of(gateway, OTHER_UNIT)['id']}"}
