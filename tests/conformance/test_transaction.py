"""transaction: all of it or nothing, in R4's order. https://hl7.org/fhir/R4/http.html#transaction"""

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import simplejson

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.conformance.client import (
    GAVLE,
    JSON_PATCH,
    PLACER,
    REFERRER,
    STRANGER,
    Client,
    Referral,
    content,
    entry,
    message,
    new_number,
    of,
    outcome,
    places,
    refer,
    statuses,
)
from tests.web.caller import bundle, order_in

URN = "urn:uuid:99999999-0000-4000-8000-{:012d}"


def _received(referral: Referral, **more: str) -> Json:
    return entry("PUT", referral.task_place, {**referral.task, "status": "received"}, **more)


def _reply(referral: Referral, text: str = "Ett svar.", number: int = 1) -> Json:
    sent = {
        **message(referral.order_place, text),
        "category": [
            {"coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-message", "code": "interim-reply"}]}
        ],
    }
    return entry("POST", "Communication", sent, URN.format(number))


def _response(answer: Any, position: int) -> Json:
    told: Json = content(answer)["entry"][position]["response"]
    return told


def test_an_empty_transaction_is_fine(fhir: Client) -> None:
    answer = fhir.post("", of("transaction"))
    assert answer.status_code == 200
    assert content(answer) == {"resourceType": "Bundle", "type": "transaction-response"}


def test_a_therapist_moves_a_task_and_replies_in_one(fhir: Client, referral: Referral) -> None:
    answer = fhir.acting(GAVLE).post("", of("transaction", _received(referral), _reply(referral)))
    assert statuses(answer) == ["200 OK", "201 Created"]
    assert _response(answer, 0)["etag"] == 'W/"2"'
    assert _response(answer, 0)["location"] == f"{referral.task_place}/_history/2"
    task, reply = (fhir.read(_response(answer, i)["location"]) for i in (0, 1))
    assert task["status"] == "received"
    assert reply["payload"][0]["contentString"] == "Ett svar."
    stamps = {r["meta"]["lastUpdated"] for r in (task, reply)}
    assert len(stamps) == 1, "one change has one stamp"
    assert all(_response(answer, i)["lastModified"] for i in (0, 1))


def test_answers_stand_in_the_order_of_the_request_whatever_was_done_first(fhir: Client, referral: Referral) -> None:
    read = entry("GET", referral.task_place)
    answer = fhir.acting(GAVLE).post("", of("transaction", read, _received(referral), _reply(referral), read))
    assert statuses(answer) == ["200 OK", "200 OK", "201 Created", "200 OK"]
    entries = content(answer)["entry"]
    assert entries[0]["resource"]["status"] == entries[3]["resource"]["status"] == "received"
    assert entries[0]["response"]["etag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("broken", "status", "place"),
    [
        (entry("GET", "Task/nobody"), 404, "Bundle.entry[2]"),
        (entry("GET", "Encounter?status=x"), 404, "Bundle.entry[2]"),
        (entry("GET", "Task?status:above=x"), 400, "Bundle.entry[2]"),
        (entry("POST", "Communication", message("ServiceRequest/nobody")), 404, "Bundle.entry[2]"),
        (entry("POST", "Communication", {**message("x"), "basedOn": [{"display": "x"}]}), 422, "resource.basedOn"),
        (entry("DELETE", "Task/1"), 422, "Bundle.entry[2].request.method"),
        (entry("POST", "Patient", {"resourceType": "Patient"}), 422, "Bundle.entry"),
        (entry("PUT", "Patient/1", {"resourceType": "Patient", "id": "1"}), 422, "Bundle.entry[2]"),
        (entry("POST", "Task/1", {"resourceType": "Task", "status": "requested", "intent": "order"}), 422, "entry[2]"),
        (entry("POST", "Subscription", {"resourceType": "Subscription"}), 400, "Bundle.entry[2].resource"),
        (entry("DELETE", "Subscription/1"), 422, "Bundle.entry[2].request.method"),
        (entry("GET", "https://elsewhere.example/fhir/Task/1"), 404, "Bundle.entry[2]"),
        (entry("GET", "Task/1", ifNoneMatch="*"), 404, "Bundle.entry[2]"),
        (entry("POST", "/", of("batch")), 422, "Bundle.entry"),
    ],
)
def test_one_entry_that_cannot_be_done_leaves_nothing_of_the_others(
    fhir: Client, referral: Referral, broken: Json, status: int, place: str
) -> None:
    before = len(fhir.found(f"Communication?based-on={referral.order_place}"))
    answer = fhir.acting(GAVLE).post("", of("transaction", _received(referral), _reply(referral), broken))
    told = places(outcome(answer, status))
    assert any(place in where for where in told), told
    assert fhir.read(referral.task_place) == referral.task
    assert len(fhir.found(f"Communication?based-on={referral.order_place}")) == before


def test_what_r4_has_against_any_entry_is_400_with_all_places(fhir: Client, referral: Referral) -> None:
    sent = of("transaction", _received(referral), _reply(referral))
    for one in sent["entry"]:
        one["resource"]["nonsense"] = 1
    told = places(outcome(fhir.acting(GAVLE).post("", sent), 400))
    assert {f"Bundle.entry[{i}].resource.nonsense" for i in (0, 1)} <= set(told)


def test_a_rule_that_is_broken_is_told_at_its_place_in_the_bundle(fhir: Client, referral: Referral) -> None:
    wrong = entry("PUT", referral.task_place, {**referral.task, "priority": "asap"})
    told = outcome(fhir.acting(GAVLE).post("", of("transaction", _reply(referral), wrong)), 422)
    assert places(told) == ["Bundle.entry[1].resource.priority"]


def test_a_stale_version_in_an_entry_is_412(fhir: Client, referral: Referral) -> None:
    answer = fhir.acting(GAVLE).post("", of("transaction", _reply(referral), _received(referral, ifMatch='W/"9"')))
    assert places(outcome(answer, 412)) == ["Bundle.entry[1]"]
    answer = fhir.acting(GAVLE).post("", of("transaction", _received(referral, ifMatch='W/"1"')))
    assert statuses(answer) == ["200 OK"]


def test_for_a_stranger_nothing_is_there_and_nothing_is_done(fhir: Client, referral: Referral) -> None:
    outcome(fhir.acting("platform").post("", of("transaction", _received(referral))), 403)
    outcome(fhir.acting(STRANGER).post("", of("transaction", _received(referral))), 404)
    own = refer(fhir)
    both = of("transaction", entry("POST", "Communication", message(own.order_place)), _received(referral))
    outcome(fhir.acting(STRANGER).post("", both), 404)
    assert fhir.read(referral.task_place) == referral.task


@pytest.mark.parametrize(
    "other",
    [
        _received,
        lambda r: entry("PUT", f"Task?focus={r.order_place}", r.task),
        lambda r: _patch(r.task_place, [{"op": "replace", "path": "/status", "value": "accepted"}]),
    ],
)
def test_two_entries_that_change_the_same_are_refused(fhir: Client, referral: Referral, other: Any) -> None:
    answer = fhir.acting(GAVLE).post("", of("transaction", _received(referral), other(referral)))
    assert places(outcome(answer, 400)) == ["Bundle.entry[1].request.url"]
    assert fhir.read(referral.task_place) == referral.task


def test_two_entries_on_what_others_brought_about_see_it(fhir: Client, referral: Referral) -> None:
    accepted = entry("PUT", referral.task_place, {**referral.task, "status": "accepted"})
    read = entry("GET", f"Task?part-of={referral.task_place}")
    answer = fhir.acting(GAVLE).post("", of("transaction", read, accepted))
    assert statuses(answer) == ["200 OK", "200 OK"]
    found = content(answer)["entry"][0]["resource"]
    assert found["type"] == "searchset"
    assert len(found["entry"]) == len(fhir.found(f"Task?part-of={referral.task_place}")) >= 3


# ---------------------------------------------------------------- references


def test_references_between_entries_become_those_of_what_is_stored(fhir: Client, referral: Referral) -> None:
    second = _reply(referral, "Det andra.", 2)
    second["resource"]["inResponseTo"] = [{"reference": URN.format(1)}]
    # the one that refers stands first
    answer = fhir.acting(GAVLE).post("", of("transaction", second, _reply(referral, "Det första.", 1)))
    assert statuses(answer) == ["201 Created", "201 Created"]
    later, earlier = (fhir.read(_response(answer, i)["location"]) for i in (0, 1))
    assert later["inResponseTo"] == [{"reference": f"Communication/{earlier['id']}"}]


def test_a_changed_resource_may_refer_to_a_new_one(fhir: Client, referral: Referral) -> None:
    observation: Json = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Uppföljning"},
        "subject": {"reference": referral.order["subject"]["reference"]},
        "basedOn": [{"reference": referral.order_place}],
    }
    output = {"type": {"text": "Uppföljning"}, "valueReference": {"reference": URN.format(1)}}
    changed = {**referral.task, "status": "received", "output": [output]}
    sent = of(
        "transaction",
        entry("PUT", referral.task_place, changed),
        entry("POST", "Observation", observation, URN.format(1)),
    )
    answer = fhir.acting(GAVLE).post("", sent)
    assert statuses(answer) == ["200 OK", "201 Created"]
    stored = fhir.read(referral.task_place)["output"][0]["valueReference"]["reference"]
    assert stored == _response(answer, 1)["location"].split("/_history")[0]


def test_a_referral_and_a_message_about_it_come_together(fhir: Client) -> None:
    sent = bundle(new_number())
    place = next(e["fullUrl"] for e in sent["entry"] if e["resource"] is order_in(sent))
    sent["entry"].insert(0, entry("POST", "Communication", message(place)))
    answer = fhir.acting(REFERRER).post("", sent)
    assert set(statuses(answer)) <= {"201 Created", "200 OK"}
    assert answer.headers["Sluss-Verdict"]
    told = fhir.read(_response(answer, 0)["location"])
    order = next(e["response"] for e in content(answer)["entry"] if "outcome" in e["response"])
    assert told["basedOn"] == [{"reference": order["location"].split("/_history")[0]}]
    assert order["outcome"]["issue"][0]["diagnostics"].startswith("verdict: ")


def test_a_referral_is_not_taken_in_when_the_message_beside_it_cannot_be(fhir: Client) -> None:
    number = new_number()
    sent = bundle(number)
    place = next(e["fullUrl"] for e in sent["entry"] if e["resource"] is order_in(sent))
    sent["entry"].insert(0, entry("POST", "Communication", {**message(place), "status": "preparation"}))
    told = places(outcome(fhir.acting(REFERRER).post("", sent), 422))
    assert told == ["Bundle.entry[0].resource.status"]
    assert fhir.found(f"ServiceRequest?identifier={PLACER}|{number}") == []


def test_what_is_wrong_with_the_referral_is_told_at_its_place_among_all_entries(
    fhir: Client, referral: Referral
) -> None:
    sent = bundle(new_number())
    order_in(sent)["status"] = "draft"
    sent["entry"].insert(0, entry("GET", referral.task_place))
    kinds = [e.get("resource", {}).get("resourceType") for e in sent["entry"]]
    at = kinds.index("ServiceRequest")
    assert places(outcome(fhir.acting(REFERRER).post("", sent), 422)) == [f"Bundle.entry[{at}].resource.status"]


def test_a_reference_to_no_entry_is_refused(fhir: Client, referral: Referral) -> None:
    lost = _reply(referral)
    lost["resource"]["inResponseTo"] = [{"reference": URN.format(77)}]
    told = places(outcome(fhir.acting(GAVLE).post("", of("transaction", _received(referral), lost)), 422))
    assert told == ["Bundle.entry[1].resource"]
    assert fhir.read(referral.task_place) == referral.task


def test_entries_that_refer_to_each_other_in_a_circle_are_refused(fhir: Client, referral: Referral) -> None:
    one, two = _reply(referral, "a", 1), _reply(referral, "b", 2)
    one["resource"]["inResponseTo"] = [{"reference": URN.format(2)}]
    two["resource"]["inResponseTo"] = [{"reference": URN.format(1)}]
    issues = outcome(fhir.acting(GAVLE).post("", of("transaction", one, two)), 422)
    assert {issue["code"] for issue in issues} == {"not-supported"}


# ---------------------------------------------------------------- conditions


def test_a_reference_may_be_a_search(fhir: Client, referral: Referral) -> None:
    number = referral.order["identifier"][0]["value"]
    sent = message(f"ServiceRequest?identifier={PLACER}|{number}")
    answer = fhir.acting(REFERRER).post("", of("transaction", entry("POST", "Communication", sent)))
    assert statuses(answer) == ["201 Created"]
    assert fhir.read(_response(answer, 0)["location"])["basedOn"] == [{"reference": referral.order_place}]


@pytest.mark.parametrize("search", ["identifier=nobody", "status=active"])
def test_a_search_that_finds_none_or_several_fails_all(fhir: Client, referral: Referral, search: str) -> None:
    refer(fhir)
    sent = {**message(referral.order_place), "about": [{"reference": f"ServiceRequest?{search}"}]}
    note = entry("POST", "Communication", message(referral.order_place))
    before = len(fhir.found(f"Communication?based-on={referral.order_place}"))
    answer = fhir.acting(REFERRER).post("", of("transaction", note, entry("POST", "Communication", sent)))
    assert places(outcome(answer, 412)) == ["Bundle.entry[1].resource.about[0].reference"]
    assert len(fhir.found(f"Communication?based-on={referral.order_place}")) == before


def test_the_patient_of_a_referral_may_be_a_search(fhir: Client, referral: Referral) -> None:
    sent = bundle(new_number())
    patient = next(e for e in sent["entry"] if e["resource"]["resourceType"] == "Patient")
    sent["entry"].remove(patient)
    system = "http://electronichealth.se/identifier/personnummer"
    text = simplejson.dumps(sent, use_decimal=True)
    searched = text.replace(patient["fullUrl"], f"Patient?identifier={system}|199002222397")
    for body in (searched, searched.replace("Patient?", "Patient\\u003f")):
        answer = fhir.acting(REFERRER).post("", body.replace("C-", new_number() + "-").encode())
        assert answer.status_code == 200, answer.text
        order = next(e["response"] for e in content(answer)["entry"] if "outcome" in e["response"])
        assert fhir.read(order["location"])["subject"] == referral.order["subject"]
    lost = searched.replace("199002222397", "199001012391").encode()
    outcome(fhir.acting(REFERRER).post("", lost), 412)


def test_if_none_exist_in_an_entry(fhir: Client, referral: Referral) -> None:
    number = new_number()
    sent = {**message(referral.order_place), "identifier": [{"system": PLACER, "value": number}]}
    once = entry("POST", "Communication", sent, ifNoneExist=f"identifier={PLACER}|{number}")
    first, second = (fhir.acting(REFERRER).post("", of("transaction", once)) for _ in range(2))
    assert (statuses(first), statuses(second)) == (["201 Created"], ["200 OK"])
    assert _response(first, 0)["location"] == _response(second, 0)["location"]


def test_a_conditional_update_in_an_entry(fhir: Client, referral: Referral) -> None:
    sent = {k: v for k, v in referral.task.items() if k != "id"} | {"status": "received"}
    changed = entry("PUT", f"Task?focus={referral.order_place}", sent)
    answer = fhir.acting(GAVLE).post("", of("transaction", changed, _reply(referral)))
    assert statuses(answer) == ["200 OK", "201 Created"]
    assert fhir.read(referral.task_place)["status"] == "received"


def _patch(place: str, operations: list[Json], **more: str) -> Json:
    data = b64encode(simplejson.dumps(operations).encode()).decode()
    return entry("PATCH", place, {"resourceType": "Binary", "contentType": JSON_PATCH, "data": data}, **more)


def test_a_patch_in_an_entry_comes_as_a_binary(fhir: Client, referral: Referral) -> None:
    operations = [{"op": "replace", "path": "/status", "value": "received"}]
    answer = fhir.acting(GAVLE).post("", of("transaction", _patch(referral.task_place, operations), _reply(referral)))
    assert statuses(answer) == ["200 OK", "201 Created"]
    assert fhir.read(referral.task_place)["status"] == "received"
    stale = _patch(referral.task_place, operations, ifMatch='W/"1"')
    outcome(fhir.acting(GAVLE).post("", of("transaction", _reply(referral), stale)), 412)
    wrong = _patch(referral.task_place, [{"op": "test", "path": "/status", "value": "x"}])
    outcome(fhir.acting(GAVLE).post("", of("transaction", _reply(referral), wrong)), 409)


# ---------------------------------------------------------------- Prefer


def test_return_representation_gives_what_is_stored(fhir: Client, referral: Referral) -> None:
    sent = of("transaction", _received(referral), _reply(referral))
    answer = fhir.acting(GAVLE).post("", sent, {"Prefer": "return=representation"})
    entries = content(answer)["entry"]
    assert validate(content(answer)) == []
    assert entries[0]["resource"] == fhir.read(referral.task_place)
    assert entries[1]["resource"] == fhir.read(entries[1]["response"]["location"])
    whole = fhir.acting(REFERRER).post("", bundle(new_number()), {"Prefer": "return=representation"})
    assert all(e["resource"] == fhir.read(e["response"]["location"]) for e in content(whole)["entry"])


def test_return_operation_outcome_gives_one_each(fhir: Client, referral: Referral) -> None:
    sent = of("transaction", _received(referral), _reply(referral))
    answer = fhir.acting(GAVLE).post("", sent, {"Prefer": "return=OperationOutcome"})
    assert all(e["response"]["outcome"]["issue"] for e in content(answer)["entry"])
    assert all("resource" not in e for e in content(answer)["entry"])


# ---------------------------------------------------------------- at once


def test_transactions_over_the_same_two_referrals_never_wait_for_each_other(fhir: Client) -> None:
    one, two = refer(fhir), refer(fhir)

    def notes(first: Referral, second: Referral, number: int) -> Json:
        return of(
            "transaction",
            *(entry("POST", "Communication", message(r.order_place, f"n {number}")) for r in (first, second)),
        )

    sent = [notes(*pair, i) for i in range(10) for pair in ((one, two), (two, one))]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda b: fhir.acting(REFERRER).post("", b), sent))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers if a.status_code != 200][:1]
    for referral in (one, two):
        found = fhir.found(f"Communication?based-on={referral.order_place}&_count=100")
        texts = [c["payload"][0]["contentString"] for c in found]
        assert sorted(t for t in texts if t.startswith("n ")) == sorted(f"n {i}" for i in range(10) for _ in range(2))


def test_of_two_transactions_on_one_version_one_is_done(fhir: Client, referral: Referral) -> None:
    sent = of("transaction", _reply(referral), _received(referral, ifMatch='W/"1"'))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: fhir.acting(GAVLE).post("", sent), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    found = fhir.found(f"Communication?based-on={referral.order_place}")
    assert len([c for c in found if c["payload"][0]["contentString"] == "Ett svar."]) == 1
