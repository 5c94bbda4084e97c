"""create, and only if there is none. https://hl7.org/fhir/R4/http.html#create"""

import json
from concurrent.futures import ThreadPoolExecutor

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
    entry,
    message,
    new_number,
    of,
    outcome,
    places,
)
from tests.web.caller import bundle, single


def test_a_create_answers_201_with_where_and_which_version(fhir: Client) -> None:
    answer = fhir.acting(REFERRER).post("ServiceRequest", another_order())
    made = content(answer)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{fhir.base}/ServiceRequest/{made['id']}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"]
    assert fhir.read(f"ServiceRequest/{made['id']}") == made


def test_id_version_and_time_that_a_client_made_up_are_left_aside(fhir: Client) -> None:
    meta = {"versionId": "77", "lastUpdated": "2001-01-01T00:00:00Z"}
    made = content(fhir.acting(REFERRER).post("ServiceRequest", another_order(id="mine", meta=meta)))
    assert made["id"] != "mine"
    assert made["meta"]["versionId"] == "1"
    outcome(fhir.get("ServiceRequest/mine"), 404)


@pytest.mark.parametrize("prefer", ["minimal", "representation", "OperationOutcome"])
def test_prefer_decides_the_body(fhir: Client, prefer: str) -> None:
    answer = fhir.acting(REFERRER).post("ServiceRequest", another_order(), {"Prefer": f"return={prefer}"})
    assert answer.status_code == 201
    kinds = {"minimal": None, "representation": "ServiceRequest", "OperationOutcome": "OperationOutcome"}
    assert (content(answer)["resourceType"] if answer.content else None) == kinds[prefer]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"resourceType":"Patient"}', b"<Task/>"])
def test_what_cannot_be_read_is_400(fhir: Client, body: bytes) -> None:
    outcome(fhir.post("ServiceRequest", body), 400)


def test_what_is_read_and_breaks_a_rule_is_422(fhir: Client) -> None:
    issues = outcome(fhir.acting(REFERRER).post("ServiceRequest", another_order(intent="plan")), 422)
    assert places(issues) == ["ServiceRequest.intent"]


@pytest.mark.parametrize("media", ["application/fhir+xml", "text/plain", "application/json-patch+json", "image/png"])
def test_another_media_type_is_415(fhir: Client, media: str) -> None:
    outcome(fhir.post("ServiceRequest", another_order(), {"Content-Type": media}), 415)


@pytest.mark.parametrize("type_", ["Patient", "Organization", "CarePlan", "Questionnaire"])
def test_a_type_that_nobody_makes_is_405(fhir: Client, type_: str) -> None:
    answer = fhir.post(type_, {"resourceType": type_})
    outcome(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_condition_in_the_address_is_400_and_makes_nothing(fhir: Client) -> None:
    sent = another_order()
    number = sent["identifier"][0]["value"]
    outcome(fhir.acting(REFERRER).post(f"ServiceRequest?identifier={PLACER}|{number}", sent), 400)
    assert fhir.found(f"ServiceRequest?identifier={PLACER}|{number}") == []


# ---------------------------------------------------------------- If-None-Exist


def _only_if_none(client: Client, type_: str, sent: Json, condition: str) -> tuple[int, Json]:
    answer = client.post(type_, sent, {"If-None-Exist": condition})
    return answer.status_code, content(answer)


@pytest.mark.parametrize("number", ["C-plain", "Über-ÅÄÖ", "ett två", "a?b", "a&b=c"])
def test_none_makes_one_and_one_is_answered_with(fhir: Client, number: str) -> None:
    from urllib.parse import quote

    referrer = fhir.acting(REFERRER)
    condition = f"identifier={PLACER}|{quote(number)}"
    status, made = _only_if_none(referrer, "ServiceRequest", single(number), condition)
    assert status == 201
    status, found = _only_if_none(referrer, "ServiceRequest", another_order(), condition)
    assert (status, found["id"]) == (200, made["id"])


def test_a_condition_that_no_server_can_decode_never_makes_a_second_one(fhir: Client) -> None:
    referrer = fhir.acting(REFERRER)
    assert referrer.post("ServiceRequest", single("Räksmörgås")).status_code == 201
    raw = f"identifier={PLACER}|Räksmörgås".encode().decode("latin-1")
    answer = referrer.post("ServiceRequest", another_order(), {"If-None-Exist": raw})
    assert answer.status_code in (200, 400), answer.text


def _task(referral: Referral) -> Json:
    return {
        "resourceType": "Task",
        "identifier": [{"system": "https://therapist.example/task", "value": new_number()}],
        "status": "requested",
        "intent": "order",
        "code": {
            "coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-activity", "code": "extra-contact"}]
        },
        "partOf": [{"reference": referral.task_place}],
    }


def test_a_message_is_made_once_under_its_own_number(fhir: Client, referral: Referral) -> None:
    referrer = fhir.acting(REFERRER)
    number = new_number()
    sent = {**message(referral.order_place), "identifier": [{"system": PLACER, "value": number}]}
    condition = f"identifier={PLACER}|{number}"
    status, made = _only_if_none(referrer, "Communication", sent, condition)
    assert status == 201
    assert _only_if_none(referrer, "Communication", sent, condition) == (200, made)
    assert len(fhir.found(f"Communication?identifier={PLACER}|{number}")) == 1


def test_ten_at_once_make_one_message(fhir: Client, referral: Referral) -> None:
    referrer = fhir.acting(REFERRER)
    number = new_number()
    sent = {**message(referral.order_place), "identifier": [{"system": PLACER, "value": number}]}
    with ThreadPoolExecutor(10) as pool:
        condition = f"identifier={PLACER}|{number}"
        answers = list(pool.map(lambda _: _only_if_none(referrer, "Communication", sent, condition), range(10)))
    assert sorted(status for status, _ in answers) == [200] * 9 + [201]
    assert len({made["id"] for _, made in answers}) == 1


def test_several_are_412(fhir: Client, referral: Referral) -> None:
    referrer = fhir.acting(REFERRER)
    for _ in range(2):
        assert referrer.post("Communication", message(referral.order_place)).status_code == 201
    condition = f"based-on={referral.order_place}&category=information"
    sent = message(referral.order_place)
    for _ in range(2):
        sent["category"] = [
            {"coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-message", "code": "information"}]}
        ]
        assert referrer.post("Communication", sent).status_code == 201
    issues = outcome(referrer.post("Communication", sent, {"If-None-Exist": condition}), 412)
    assert issues[0]["code"] == "multiple-matches"


@pytest.mark.parametrize("condition", ["", "nonsense", "unknown=1", "_sort=_lastUpdated", "status:above=x"])
@pytest.mark.parametrize("type_", ["ServiceRequest", "Communication", "Observation"])
def test_a_condition_that_is_no_search_is_400(fhir: Client, referral: Referral, condition: str, type_: str) -> None:
    sent = {
        "ServiceRequest": another_order(),
        "Communication": message(referral.order_place),
        "Observation": {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "basedOn": [{"reference": referral.order_place}],
        },
    }[type_]
    outcome(fhir.acting(REFERRER).post(type_, sent, {"If-None-Exist": condition}), 400)


def test_what_another_organisation_has_is_never_answered_with(fhir: Client, referral: Referral) -> None:
    number = new_number()
    sent = {**message(referral.order_place), "identifier": [{"system": PLACER, "value": number}]}
    assert fhir.acting(REFERRER).post("Communication", sent).status_code == 201
    condition = {"If-None-Exist": f"identifier={PLACER}|{number}"}
    outcome(fhir.acting(STRANGER).post("Communication", sent, condition), 404)


def test_a_task_is_made_once_under_its_own_number(fhir: Client, referral: Referral) -> None:
    therapist = fhir.acting(GAVLE)
    assert therapist.put(referral.task_place, {**referral.task, "status": "accepted"}).status_code == 200
    sent = _task(referral)
    condition = f"part-of={referral.task_place}&code=extra-contact"
    status, made = _only_if_none(therapist, "Task", sent, condition)
    assert status == 201, made
    assert _only_if_none(therapist, "Task", sent, condition) == (200, made)


# ---------------------------------------------------------------- who before what


@pytest.mark.parametrize(
    "changes",
    [{"status": "draft"}, {"intent": "plan"}, {"code": {"text": "x"}}, {"code": {"text": "x"}, "partOf": []}],
)
@pytest.mark.parametrize(
    ("caller", "status"), [(STRANGER, 404), ("therapist sodra-halsingland", 404), (REFERRER, 403), ("platform", 403)]
)
def test_a_task_of_who_may_not_make_one_is_403_or_404_whatever_else_is_wrong_with_it(
    fhir: Client, referral: Referral, changes: Json, caller: str, status: int
) -> None:
    sent = {**_task(referral), **changes, "focus": {"reference": referral.order_place}}
    sent = {name: value for name, value in sent.items() if value}
    outcome(fhir.acting(caller).post("Task", sent), status)
    outcome(fhir.acting(GAVLE).post("Task", sent), 422)


def test_a_task_about_what_is_not_there_is_404_before_403(fhir: Client, referral: Referral) -> None:
    sent = {**_task(referral), "partOf": [{"reference": "Task/nobody"}], "status": "draft"}
    for caller in (STRANGER, GAVLE):
        outcome(fhir.acting(caller).post("Task", sent), 404)


@pytest.mark.parametrize("caller", [REFERRER, "platform"])
def test_a_task_about_nothing_by_who_never_makes_any_is_403(fhir: Client, caller: str) -> None:
    sent = {"resourceType": "Task", "status": "draft", "intent": "plan"}
    outcome(fhir.acting(caller).post("Task", sent), 403)
    assert {"Task.status", "Task.intent", "Task.code"} <= set(
        places(outcome(fhir.acting(GAVLE).post("Task", sent), 422))
    )


def test_a_reference_may_say_this_servers_own_address(fhir: Client, referral: Referral) -> None:
    here, patient = f"{fhir.base}/", referral.order["subject"]["reference"]
    referrer, order = fhir.acting(REFERRER), referral.order_place
    single = referrer.post("ServiceRequest", another_order(subject={"reference": here + patient}))
    assert single.status_code == 201, single.text
    assert content(single)["subject"]["reference"] == patient
    answer = referrer.post("", of("transaction", entry("POST", "Communication", message(here + order))))
    assert answer.status_code == 200, answer.text
    told = referrer.post("Communication", message(here + order))
    assert told.status_code == 201, told.text
    assert {"reference": order} in content(told)["basedOn"]
    therapist, task = fhir.acting(GAVLE), fhir.read(referral.task_place)
    owner = {"reference": here + task["owner"]["reference"]}
    for answer in (
        therapist.put(referral.task_place, {**task, "owner": owner}),
        therapist.patch(referral.task_place, [{"op": "replace", "path": "/owner", "value": owner}]),
    ):
        assert answer.status_code == 200, answer.text
        assert content(answer)["owner"] == task["owner"]


def test_an_address_of_this_server_may_be_the_full_url_of_an_entry(fhir: Client) -> None:
    sent = json.dumps(bundle(new_number()))
    named = {e["fullUrl"]: f"{fhir.base}/{e['resource']['resourceType']}/x" for e in json.loads(sent)["entry"]}
    for name, address in named.items():
        sent = sent.replace(f'"{name}"', f'"{address}{name[-4:]}"')
    answer = fhir.acting(REFERRER).post("", sent.encode())
    assert answer.status_code == 200, answer.text
