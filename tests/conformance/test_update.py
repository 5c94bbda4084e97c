"""update, by id and by a search, under versions. https://hl7.org/fhir/R4/http.html#update"""

from urllib.parse import quote

import pytest

from fhir_mappings.records import Json
from tests.conformance.client import (
    GAVLE,
    PLACER,
    REFERRER,
    STRANGER,
    Client,
    Referral,
    another_order,
    content,
    new_number,
    outcome,
    places,
)
from tests.web.caller import single


def test_an_update_makes_the_next_version(fhir: Client, referral: Referral) -> None:
    answer = fhir.acting(GAVLE).put(referral.task_place, {**referral.task, "status": "received"})
    assert content(answer)["meta"]["versionId"] == "2"
    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"2"'
    assert answer.headers["Last-Modified"]
    assert fhir.read(referral.task_place) == content(answer)


@pytest.mark.parametrize("id_", [None, "another"])
def test_an_id_that_is_missing_or_another_is_400(fhir: Client, referral: Referral, id_: str | None) -> None:
    sent = {**referral.task, "id": id_}
    issues = outcome(fhir.acting(GAVLE).put(referral.task_place, {k: v for k, v in sent.items() if v}), 400)
    assert places(issues) == ["Task.id"]


def test_an_id_that_a_client_chose_is_not_taken(fhir: Client, referral: Referral) -> None:
    outcome(fhir.acting(GAVLE).put("Task/mine", {**referral.task, "id": "mine"}), 404)
    outcome(fhir.get("Task/mine"), 404)


def test_a_type_that_nobody_changes_is_405(fhir: Client, referral: Referral) -> None:
    patient = fhir.read(referral.order["subject"]["reference"])
    answer = fhir.put(f"Patient/{patient['id']}", patient)
    outcome(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"
    assert fhir.read(f"Patient/{patient['id']}") == patient


@pytest.mark.parametrize("etag", ['W/"1"', '"1"', "1", "*", 'W/"7", W/"1"', 'W/"7",*'])
def test_if_match_with_the_current_version_is_taken(fhir: Client, referral: Referral, etag: str) -> None:
    sent = {**referral.task, "status": "received"}
    assert fhir.acting(GAVLE).put(referral.task_place, sent, {"If-Match": etag}).status_code == 200


@pytest.mark.parametrize("etag", ['W/"2"', "nonsense", '"0"', 'W/"2", W/"3"', 'W/"2",nonsense'])
def test_if_match_with_another_is_412_and_nothing_happens(fhir: Client, referral: Referral, etag: str) -> None:
    sent = {**referral.task, "status": "received"}
    outcome(fhir.acting(GAVLE).put(referral.task_place, sent, {"If-Match": etag}), 412)
    assert fhir.read(referral.task_place) == referral.task


def test_if_none_match_of_anything_is_412_for_what_is_there(fhir: Client, referral: Referral) -> None:
    sent = {**referral.task, "status": "received"}
    outcome(fhir.acting(GAVLE).put(referral.task_place, sent, {"If-None-Match": "*"}), 412)
    outcome(fhir.acting(GAVLE).put("Task/nobody", {**sent, "id": "nobody"}, {"If-None-Match": "*"}), 404)
    assert fhir.read(referral.task_place) == referral.task


# ---------------------------------------------------------------- conditional update


def _by_focus(referral: Referral) -> str:
    return f"Task?focus={referral.order_place}"


def test_one_match_is_changed_with_or_without_its_id(fhir: Client, referral: Referral) -> None:
    therapist = fhir.acting(GAVLE)
    whole = {**referral.task, "status": "received"}
    assert content(therapist.put(_by_focus(referral), whole))["status"] == "received"
    without = {k: v for k, v in therapist.read(referral.task_place).items() if k != "id"} | {"status": "accepted"}
    answer = therapist.put(_by_focus(referral), without)
    assert (content(answer)["id"], content(answer)["status"]) == (referral.task["id"], "accepted")


def test_one_match_with_another_id_is_400(fhir: Client, referral: Referral) -> None:
    issues = outcome(fhir.acting(GAVLE).put(_by_focus(referral), {**referral.task, "id": "another"}), 400)
    assert places(issues) == ["Task.id"]


def test_a_change_by_a_search_passes_the_same_guards(fhir: Client, referral: Referral) -> None:
    sent = {**referral.task, "priority": "asap"}
    issues = outcome(fhir.acting(GAVLE).put(_by_focus(referral), sent), 422)
    assert places(issues) == ["Task.priority"]
    outcome(fhir.acting(GAVLE).put(_by_focus(referral), referral.task, {"If-Match": 'W/"9"'}), 412)


def test_several_matches_are_412(fhir: Client, referral: Referral) -> None:
    sent = {k: v for k, v in referral.task.items() if k != "id"}
    assert outcome(fhir.put("Task?intent=order", sent), 412)[0]["code"] == "multiple-matches"


def test_no_match_makes_one(fhir: Client) -> None:
    number = new_number()
    condition = f"ServiceRequest?identifier={quote(f'{PLACER}|{number}')}"
    referrer = fhir.acting(REFERRER)
    made = referrer.put(condition, single(number))
    assert made.status_code == 201
    assert made.headers["Location"].endswith("/_history/1")
    again = referrer.put(condition, {**single(number), "priority": "urgent"})
    assert again.status_code == 200
    assert content(again)["id"] == content(made)["id"]
    assert content(again)["meta"]["versionId"] == "2"


def test_no_match_with_an_id_is_not_made(fhir: Client, referral: Referral) -> None:
    condition = f"ServiceRequest?identifier={new_number()}"
    outcome(fhir.put(condition, another_order(id="mine")), 404)
    outcome(fhir.put(condition, another_order(id=referral.order["id"])), 409)


def test_another_team_finds_nothing_to_change(fhir: Client, referral: Referral) -> None:
    sent: Json = {**referral.task, "status": "received"}
    outcome(fhir.acting("therapist sodra-halsingland").put(_by_focus(referral), sent), 404)
    outcome(fhir.acting(STRANGER).put(_by_focus(referral), sent), 404)
    assert fhir.read(referral.task_place) == referral.task


@pytest.mark.parametrize("search", ["", "?", "?nonsense=1", "?_sort=_id", "?status:above=x", "?_format=json"])
def test_a_search_that_is_none_is_400(fhir: Client, referral: Referral, search: str) -> None:
    outcome(fhir.acting(GAVLE).put(f"Task{search}", referral.task), 400)


# ---------------------------------------------------------------- delete


@pytest.mark.parametrize("path", ["{}", "Task?_id=x", "Task", "{}/_history/1"])
def test_nothing_is_deleted(fhir: Client, referral: Referral, path: str) -> None:
    outcome(fhir.call("DELETE", path.format(referral.task_place)), 405)
    assert fhir.read(referral.task_place) == referral.task
