"""What was collected says from where: the resource there with its version, whose it is, and that Sluss put it here."""

import pytest

from fhir_mappings.provenance import Activity, Origin, from_fhir_provenance
from fhir_mappings.r4 import validate
from service.store.asked import SearchQuery
from service.store.query import parse_query
from service.store.records import ReferralRow
from tests.exchange.gateway import Gateway
from tests.exchange.region import message_in
from tests.journeys.referrals import UNIT, referral


def origins(gateway: Gateway, row: ReferralRow) -> dict[str, Origin]:
    """By target and version; each of them names one."""
    found = {}
    for stored in gateway.house.store.view().of_referral(row.id):
        if stored.type == "Provenance":
            assert validate(stored.content) == []
            origin = from_fhir_provenance(stored.content)
            assert origin is not None
            ((reference, version),) = origin.targets
            found[f"{reference}/_history/{version}"] = origin
    return found


@pytest.fixture
def order(gateway: Gateway) -> str:
    """A referral that an EHR posted there, taken in and told."""
    references = gateway.region.transact(referral())
    gateway.settle()
    return next(reference for reference in references if reference.startswith("ServiceRequest/"))


def test_each_part_of_a_referral_names_what_it_is_there(gateway: Gateway, order: str) -> None:
    row = gateway.the_one()
    found = origins(gateway, row)
    mine = found[f"ServiceRequest/{row.service_request}/_history/1"]
    assert mine.source == f"{gateway.region.base}/{order}/_history/1"
    assert (mine.activity, mine.author_unit) == (Activity.CREATE, UNIT)
    assert f"Patient/{row.patient}/_history/1" in found
    for target, origin in found.items():
        assert origin.source is not None
        there = origin.source.removeprefix(f"{gateway.region.base}/").partition("/_history/")[0]
        assert there.partition("/")[0] == target.partition("/")[0]
        assert gateway.region.read(there)["meta"]["versionId"] == origin.source.rpartition("/")[2]


def test_it_is_found_by_the_patient_and_by_where_it_comes_from(gateway: Gateway, order: str) -> None:
    row = gateway.the_one()
    for asked, target in (
        (("patient", f"Patient/{row.patient}"), f"Patient/{row.patient}"),
        (("entity", f"{gateway.region.base}/{order}"), f"ServiceRequest/{row.service_request}"),
    ):
        query = parse_query("Provenance", [asked])
        assert isinstance(query, SearchQuery)
        (found,) = gateway.house.store.view().search(query).matches
        assert found.content["target"][0]["reference"].startswith(target)


def test_a_later_version_there_is_named_too(gateway: Gateway, order: str) -> None:
    gateway.region.change(gateway.region.read(order), note=[{"text": "Nås bäst efter 15"}])
    gateway.settle()
    row = gateway.the_one()
    mine = origins(gateway, row)[f"ServiceRequest/{row.service_request}/_history/2"]
    assert mine.source == f"{gateway.region.base}/{order}/_history/2"
    assert mine.activity is Activity.UPDATE


def test_a_therapists_move_and_message_there_are_the_teams(gateway: Gateway, order: str) -> None:
    row = gateway.the_one()
    task = gateway.copy_of_task(row)
    moved = gateway.region.change(task, status="accepted")
    gateway.settle()
    message = gateway.region.post(
        message_in("information", "Vi ringer i morgon.", partOf=[{"reference": f"Task/{task['id']}"}])
    )
    gateway.settle()
    by_source = {origin.source: origin for origin in origins(gateway, row).values()}
    seat = gateway.house.store.view().get("HealthcareService", "gavle")
    assert seat is not None
    for resource in (moved, message):
        name = f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"
        origin = by_source[f"{gateway.region.base}/{name}"]
        assert origin.author == seat.content["providedBy"]["reference"]


def test_none_of_it_is_delivered(gateway: Gateway, order: str) -> None:
    assert origins(gateway, gateway.the_one())
    assert gateway.region.search("Provenance") == []
