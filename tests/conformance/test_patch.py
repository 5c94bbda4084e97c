"""patch by JSON Patch: as an update of what it makes of the current version, or not at all.

https://hl7.org/fhir/R4/http.html#patch
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_mappings.records import Json
from tests.conformance.client import (
    GAVLE,
    JSON_PATCH,
    REFERRER,
    STRANGER,
    Client,
    Referral,
    content,
    outcome,
    places,
)

RECEIVED = {"op": "replace", "path": "/status", "value": "received"}


def _note(text: str) -> Json:
    return {"op": "add", "path": "/note/-", "value": {"text": text}}


def _noted(therapist: Client, referral: Referral) -> None:
    """Its Task has a note."""
    sent = {**referral.task, "note": [*referral.task.get("note", []), {"text": "x"}]}
    assert therapist.put(referral.task_place, sent).status_code == 200


def test_a_patch_answers_with_the_resource_that_it_made(fhir: Client, referral: Referral) -> None:
    answer = fhir.acting(GAVLE).patch(referral.task_place, [RECEIVED])
    assert content(answer)["status"] == "received"
    assert answer.headers["ETag"] == 'W/"2"'
    assert fhir.read(referral.task_place) == content(answer)


def test_what_follows_from_an_update_follows_from_a_patch(fhir: Client, referral: Referral) -> None:
    accepted = [{"op": "replace", "path": "/status", "value": "accepted"}]
    assert fhir.acting(GAVLE).patch(referral.task_place, accepted).status_code == 200
    assert len(fhir.found(f"CarePlan?subject={referral.task['for']['reference']}&_sort=-_lastUpdated")) >= 1
    assert fhir.found(f"Task?part-of={referral.task_place}")


def test_a_referral_is_amended_by_a_patch_of_its_referrer(fhir: Client, referral: Referral) -> None:
    urgent = [{"op": "add", "path": "/priority", "value": "urgent"}]
    answer = fhir.acting(REFERRER).patch(referral.order_place, urgent)
    assert content(answer)["priority"] == "urgent"
    assert answer.headers["Sluss-Verdict"] in ("eligible", "review")
    assert fhir.read(referral.task_place)["priority"] == "urgent"
    outcome(fhir.acting(STRANGER).patch(referral.order_place, urgent), 404)
    outcome(fhir.acting("platform").patch(referral.order_place, urgent), 403)


@pytest.mark.parametrize("prefer", ["minimal", "representation", "OperationOutcome"])
def test_prefer_decides_the_body(fhir: Client, referral: Referral, prefer: str) -> None:
    answer = fhir.acting(GAVLE).patch(referral.task_place, [RECEIVED], {"Prefer": f"return={prefer}"})
    kinds = {"minimal": None, "representation": "Task", "OperationOutcome": "OperationOutcome"}
    assert (content(answer)["resourceType"] if answer.content else None) == kinds[prefer]


@pytest.mark.parametrize("etag", ['W/"1"', "1", "*"])
def test_if_match_with_the_current_version_is_taken(fhir: Client, referral: Referral, etag: str) -> None:
    assert fhir.acting(GAVLE).patch(referral.task_place, [RECEIVED], {"If-Match": etag}).status_code == 200


def test_a_stale_if_match_is_412_before_anything_else(fhir: Client, referral: Referral) -> None:
    fails = [{"op": "test", "path": "/status", "value": "nonsense"}]
    for caller in (GAVLE, "platform"):
        for operations in ([RECEIVED], fails):
            outcome(fhir.acting(caller).patch(referral.task_place, operations, {"If-Match": 'W/"9"'}), 412)
    assert fhir.read(referral.task_place) == referral.task


def test_a_test_of_the_version_that_does_not_hold_is_409(fhir: Client, referral: Referral) -> None:
    tested = {"op": "test", "path": "/meta/versionId", "value": "1"}
    assert fhir.acting(GAVLE).patch(referral.task_place, [tested, RECEIVED]).status_code == 200
    outcome(fhir.acting(GAVLE).patch(referral.task_place, [tested, _note("x")]), 409)
    assert fhir.read(referral.task_place)["meta"]["versionId"] == "2"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/description"},
        {"op": "replace", "path": "/note/99", "value": {}},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "replace", "path": "", "value": []},
    ],
)
def test_what_cannot_be_carried_out_is_422_and_nothing_of_it_is(
    fhir: Client, referral: Referral, operation: Json
) -> None:
    outcome(fhir.acting(GAVLE).patch(referral.task_place, [RECEIVED, operation]), 422)
    assert fhir.read(referral.task_place) == referral.task


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[7]", b'[{"op":"x","path":"/a"}]', b'[{"op":"add","path":"a"}]'])
def test_what_is_no_patch_is_400(fhir: Client, referral: Referral, body: bytes) -> None:
    outcome(fhir.acting(GAVLE).patch(referral.task_place, body), 400)


@pytest.mark.parametrize(
    ("operation", "status", "place"),
    [
        ({"op": "replace", "path": "/status", "value": "nonsense"}, 400, "Task.status"),
        ({"op": "add", "path": "/nonsense", "value": 1}, 400, "Task.nonsense"),
        ({"op": "remove", "path": "/intent"}, 400, "Task.intent"),
        ({"op": "replace", "path": "/id", "value": "x"}, 400, "Task.id"),
        ({"op": "remove", "path": "/id"}, 400, "Task.id"),
        ({"op": "replace", "path": "/resourceType", "value": "Patient"}, 400, "Task.id"),
        ({"op": "replace", "path": "/priority", "value": "asap"}, 422, "Task.priority"),
        ({"op": "replace", "path": "/for/reference", "value": "Patient/1"}, 422, "Task.for"),
        ({"op": "replace", "path": "/status", "value": "completed"}, 422, "Task.status"),
        ({"op": "remove", "path": "/note"}, 422, "Task.note"),
    ],
)
def test_the_guards_are_those_of_an_update(
    fhir: Client, referral: Referral, operation: Json, status: int, place: str
) -> None:
    therapist = fhir.acting(GAVLE)
    _noted(therapist, referral)
    before = fhir.read(referral.task_place)
    assert place in places(outcome(therapist.patch(referral.task_place, [operation]), status))
    assert fhir.read(referral.task_place) == before


@pytest.mark.parametrize(
    "operation",
    [
        RECEIVED,
        {"op": "test", "path": "/priority", "value": "stat"},
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "remove", "path": "/description"},
        {"op": "copy", "from": "/for/reference", "path": "/id"},
        {"op": "replace", "path": "/status", "value": "nonsense"},
    ],
)
def test_who_goes_before_what_so_a_stranger_learns_nothing(fhir: Client, referral: Referral, operation: Json) -> None:
    for caller, status in ((STRANGER, 404), ("platform", 403)):
        answer = fhir.acting(caller).patch(referral.task_place, [operation])
        outcome(answer, status)
        assert "Patient/" not in answer.text
    assert fhir.read(referral.task_place) == referral.task


def test_what_is_not_there_is_404(fhir: Client) -> None:
    outcome(fhir.acting(GAVLE).patch("Task/nobody", [RECEIVED]), 404)


@pytest.mark.parametrize("media", ["application/json", "application/merge-patch+json", "application/fhir+json", ""])
def test_another_kind_of_patch_is_415_that_names_ours(fhir: Client, referral: Referral, media: str) -> None:
    answer = fhir.acting(GAVLE).patch(referral.task_place, {"status": "received"}, {"Content-Type": media})
    outcome(answer, 415)
    assert answer.headers["Accept-Patch"] == JSON_PATCH


def test_a_charset_is_taken(fhir: Client, referral: Referral) -> None:
    media = {"Content-Type": f"{JSON_PATCH}; charset=UTF-8"}
    assert fhir.acting(GAVLE).patch(referral.task_place, [RECEIVED], media).status_code == 200


def test_a_type_that_nobody_changes_is_405(fhir: Client, referral: Referral) -> None:
    outcome(fhir.patch(referral.order["subject"]["reference"], [RECEIVED]), 405)


def test_the_one_that_a_search_finds_is_patched(fhir: Client, referral: Referral) -> None:
    therapist = fhir.acting(GAVLE)
    assert content(therapist.patch(f"Task?focus={referral.order_place}", [RECEIVED]))["id"] == referral.task["id"]
    outcome(therapist.patch("Task?identifier=nobody", [RECEIVED]), 404)
    outcome(fhir.patch("Task?intent=order&_id:missing=false", [RECEIVED]), 400)


def test_patches_at_once_all_count(fhir: Client, referral: Referral) -> None:
    therapist = fhir.acting(GAVLE)
    _noted(therapist, referral)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: therapist.patch(referral.task_place, [_note(f"note {i}")]), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    task = fhir.read(referral.task_place)
    assert {n["text"] for n in task["note"]} >= {f"note {i}" for i in range(16)}
    assert task["meta"]["versionId"] == "18"


def _response_place(fhir: Client, referral: Referral) -> tuple[str, int]:
    """The MADRS-S response of a referral, and where its ninth answer stands."""
    for reference in referral.order["supportingInfo"]:
        found = fhir.read(reference["reference"])
        links = [item["linkId"] for item in found.get("item", [])]
        if "item-9" in links:
            return reference["reference"], links.index("item-9")
    raise AssertionError(referral.order)


def test_signs_of_risk_in_a_refused_patch_are_told_first_and_to_nobody_else(fhir: Client, referral: Referral) -> None:
    place, position = _response_place(fhir, referral)
    risky = [
        {"op": "replace", "path": f"/item/{position}/answer/0/valueInteger", "value": 6},
        {"op": "replace", "path": "/status", "value": "nonsense"},
    ]
    first, *_ = outcome(fhir.acting(REFERRER).patch(place, risky), 400)
    assert first["diagnostics"].startswith("NOT received")
    assert "MADRS-S fråga 9 = 6" in first["details"]["text"]
    answer = fhir.acting(STRANGER).patch(place, risky)
    assert "NOT received" not in str(outcome(answer, 404))
