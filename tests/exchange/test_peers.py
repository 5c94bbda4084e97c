"""Deliveries to servers that say the same with different words, and different things with the same word."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import Json
from fhir_mappings.terminology import IDENTITY_KINDS
from service.exchange import peers
from service.exchange.client import FhirClient, Found
from service.exchange.deliver import Deliverer, Result, State
from service.exchange.outcomes import Permanent, Reason, Transient
from service.exchange.peers import AIDBOX, BLAZE, CAUTIOUS, HAPI, MEDPLUM, MICROSOFT, Meaning, recognise
from service.exchange.stand_in_search import Refused
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from tests.exchange.conftest import CANONICAL, Clock, House
from tests.exchange.kinds import KINDS, Kind, KindMemory, running
from tests.store.examples import patient

BASE = "https://fhir.example/r4"
TYPES = ("Patient", "ServiceRequest", "QuestionnaireResponse", "Task", "Communication")


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def house(kind: Kind, store: Store, exchange: ExchangeState, clock: Clock) -> Iterator[House]:
    with running(kind) as (there, memory):
        deliverer = Deliverer(store, exchange, FhirClient(there.url, 5), CANONICAL, clock, chance=lambda: 0.5)
        yield House(store, exchange, deliverer, memory)


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types that were searched for."""
    search, types = FhirClient.search, list[str]()

    def noting(client: FhirClient, type_: str, parameters: Sequence[tuple[str, str]]) -> Found | Transient | Permanent:
        types.append(type_)
        return search(client, type_, parameters)

    monkeypatch.setattr(FhirClient, "search", noting)
    return types


def there(house: House) -> KindMemory:
    assert isinstance(house.memory, KindMemory)
    return house.memory


def one_copy_each(house: House) -> bool:
    return all(len(house.shown(type_)) == 1 for type_ in TYPES)


def test_a_referral_gets_there_and_its_changes_too(house: House) -> None:
    house.receive()
    assert house.deliver() == Result(State.DELIVERED)
    house.change("Task", "t-1", status="received")
    assert house.deliver() == Result(State.DELIVERED)
    assert [task["status"] for task in house.shown("Task")] == ["received"]
    assert one_copy_each(house)


def test_a_transaction_that_met_another_is_repeated_at_once(house: House, kind: Kind) -> None:
    house.receive()
    house.deliver()
    house.change("Task", "t-1", status="received")
    there(house).to_undo = 2
    assert house.deliver() == Result(State.DELIVERED)
    assert [task["status"] for task in house.shown("Task")] == ["received"]
    assert house.row().attempts == 0
    assert one_copy_each(house)


@pytest.mark.parametrize("kind", [k for k in KINDS.values() if k.undone], ids=lambda kind: str(kind.software))
def test_one_that_always_meets_another_waits_and_is_tried_later(house: House, clock: Clock) -> None:
    house.receive()
    there(house).to_undo = 1000
    result = house.deliver()
    assert result.state is State.WAITING
    assert result.reason in ("conflict", "race")
    assert len(there(house).transactions) < 10
    there(house).to_undo = 0
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DELIVERED)
    assert one_copy_each(house)


def test_what_somebody_changed_there_is_never_written_over(house: House) -> None:
    house.receive()
    house.deliver()
    (task,) = house.shown("Task")
    theirs = house.memory.update({**task, "status": "accepted"}, task["id"], None)
    house.change("Task", "t-1", status="received")
    result = house.deliver()
    assert (result.state, result.reason) == (State.WAITING, "conflict")
    assert house.shown("Task") == [theirs]


def test_several_copies_under_our_key_are_a_case_for_a_person(house: House) -> None:
    house.receive()
    house.deliver("r-unknown")
    for _ in range(2):
        key = {"system": CANONICAL.resource_key, "value": "Task/t-1"}
        house.memory.create({"resourceType": "Task", "status": "requested", "intent": "order", "identifier": [key]})
    assert house.deliver() == Result(State.DEAD, "multiple-matches")


def test_a_patient_is_looked_for_before_anything_is_sent_but_where_the_server_does_so_itself(
    house: House, kind: Kind, looked_for: list[str]
) -> None:
    house.receive()
    assert house.deliver() == Result(State.DELIVERED)
    assert ("Patient" in looked_for) == (kind is not KINDS["hapi"])
    assert len(house.shown("Patient")) == 1


@pytest.mark.parametrize("system", [system for system, kind in IDENTITY_KINDS.items() if kind == "personnummer"])
def test_a_patient_who_is_there_under_any_form_of_the_identifier_is_referred_to_and_never_written(
    house: House, system: str
) -> None:
    _, known = house.memory.create(somebody(identifier=[{"system": system, "value": "199002222397"}]))
    house.receive()
    assert house.deliver() == Result(State.DELIVERED)
    assert house.shown("Patient") == [known]
    assert house.shown("Task")[0]["for"] == {"reference": f"Patient/{known['id']}"}
    assert house.copy("Patient/p-1").remote_id == known["id"]


def test_several_patients_of_one_identifier_are_a_case_for_a_person(house: House, looked_for: list[str]) -> None:
    for _ in range(2):
        house.memory.create(somebody())
    house.receive()
    assert house.deliver() == Result(State.DEAD, "multiple-matches")
    assert (house.shown("Task"), len(house.shown("Patient"))) == ([], 2)
    assert looked_for[-1] == "Patient"


def test_a_patient_is_looked_for_after_an_answer_that_was_lost(
    house: House, clock: Clock, looked_for: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FhirClient, "transaction", lambda *_: Transient(Reason.TIMEOUT, unanswered=True))
        house.receive()
        assert house.deliver().state is State.WAITING
    looked_for.clear()
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DELIVERED)
    assert "Patient" in looked_for
    assert one_copy_each(house)


def somebody(**elements: Any) -> Json:
    """A patient as somebody else would create them."""
    return {name: value for name, value in patient(**elements).items() if name != "id"}


def test_what_was_removed_there_is_made_anew_where_the_server_says_so(house: House, kind: Kind) -> None:
    house.receive("1")
    assert house.deliver("r-1") == Result(State.DELIVERED)
    for type_ in ("HealthcareService", "PractitionerRole"):
        there(house).remove(type_)
    house.receive("2", "p-2")
    result = house.deliver("r-2")
    if kind.missing is None:  # nobody there looks where a reference leads
        assert result == Result(State.DELIVERED)
    elif kind.software in ("HAPI FHIR Server", "Blaze"):
        assert result == Result(State.DELIVERED)
        assert len(house.shown("PractitionerRole")) == 1
    else:  # a refusal like any other: a person looks
        assert result == Result(State.DEAD, "refused")


@pytest.mark.parametrize("kind", [KINDS["hapi"], KINDS["blaze"]], ids=["hapi", "blaze"])
def test_a_missing_target_that_is_not_ours_is_a_dead_letter_that_says_so(house: House, kind: Kind) -> None:
    memory = there(house)
    original = KindMemory._check_references
    with pytest.MonkeyPatch.context() as patch:

        def refuse(self: KindMemory, resource: dict[str, object]) -> None:
            if resource["resourceType"] == "Task":
                assert kind.missing is not None
                raise Refused(422, "not-found", "Reference to something that is not here")
            original(self, resource)

        patch.setattr(KindMemory, "_check_references", refuse)
        house.receive()
        assert house.deliver() == Result(State.DEAD, "missing-reference")
    assert memory.of_type("Task") == []


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("HAPI FHIR Server", HAPI),
        ("Smile CDR", HAPI),
        ("medplum", MEDPLUM),
        ("Aidbox", AIDBOX),
        ("Blaze", BLAZE),
        ("Microsoft FHIR Server", MICROSOFT),
        ("Azure API for FHIR", MICROSOFT),
        ("Trailblazer", CAUTIOUS),
        ("", CAUTIOUS),
        (None, CAUTIOUS),
        (7, CAUTIOUS),
    ],
)
def test_a_server_is_recognised_by_what_it_calls_itself(name: object, peer: peers.Peer) -> None:
    assert recognise({"resourceType": "CapabilityStatement", "software": {"name": name}}) is peer


@given(st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())))
def test_no_statement_breaks_the_recognition(statement: dict[str, object]) -> None:
    assert recognise(statement) in (*peers.PEERS, CAUTIOUS)


@pytest.mark.parametrize("peer", [*peers.PEERS, CAUTIOUS], ids=lambda peer: peer.name)
def test_every_server_has_a_meaning_for_409_and_412_and_none_for_what_means_the_same_everywhere(
    peer: peers.Peer,
) -> None:
    assert peer.meaning(409) is not None
    assert peer.meaning(412) is Meaning.LOOK, "a stale version is looked at first, wherever"
    assert [peer.meaning(status) for status in (400, 401, 404, 422, 429, 500, 503)] == [None] * 7


def test_the_same_status_means_different_things() -> None:
    assert [peer.meaning(409) for peer in (HAPI, MEDPLUM, BLAZE)] == [
        Meaning.LOOK,
        Meaning.REPEAT,
        Meaning.TARGET_MISSING,
    ]


@responses.activate
@pytest.mark.parametrize(
    ("software", "reason"),
    [("Blaze", Reason.MISSING_REFERENCE), ("medplum", Reason.RACE), ("HAPI FHIR Server", Reason.CONFLICT)],
)
def test_a_server_is_asked_what_it_is_when_that_first_matters_and_not_again(software: str, reason: Reason) -> None:
    responses.post(BASE, status=409)
    responses.get(f"{BASE}/metadata", json={"resourceType": "CapabilityStatement", "software": {"name": software}})
    client = FhirClient(BASE)
    for _ in range(3):
        assert client.transaction({"resourceType": "Bundle", "entry": []}) == Transient(reason, 409)
    assert [call.request.method for call in responses.calls].count("GET") == 1


@responses.activate
@pytest.mark.parametrize("status", [404, 409, 500])
def test_a_server_that_does_not_say_what_it_is_is_met_with_caution(status: int) -> None:
    responses.post(BASE, status=409)
    responses.get(f"{BASE}/metadata", status=status)
    assert FhirClient(BASE).transaction({"resourceType": "Bundle", "entry": []}) == Transient(Reason.CONFLICT, 409)


@responses.activate
def test_microsofts_own_header_says_to_the_millisecond_when_to_come_back() -> None:
    responses.post(BASE, status=429, headers={"x-ms-retry-after-ms": "1250", "Retry-After": "2"})
    told = FhirClient(BASE).transaction({"resourceType": "Bundle", "entry": []})
    assert isinstance(told, Transient)
    assert told.retry_after == timedelta(milliseconds=1250)
