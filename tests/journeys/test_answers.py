"""What a referrer is told at once, and what a verdict leads to (contract 3, answers; 4, consequences)."""

from typing import Any

import pytest

from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE, MILD, OTHER_UNIT, SEVERE, S, alone, located, plain, referral
from tests.journeys.steps import category_of, findings_of, messages, refer, start, task_of, text_of


def test_a_single_post_is_created_with_location_and_etag(service: Service) -> None:
    answer = service.referrer().post("/fhir/ServiceRequest", alone())
    assert answer.status_code == 201
    id_ = answer.json()["id"]
    assert answer.headers["Location"] == f"{service.base}/fhir/ServiceRequest/{id_}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Sluss-Verdict"] == "eligible"
    assert "Sluss-Alert" not in answer.headers


def test_prefer_operation_outcome_gives_the_findings_in_the_body(service: Service) -> None:
    answer = service.referrer().post(
        "/fhir/ServiceRequest", alone(reasonCode=None), {"Prefer": "return=OperationOutcome"}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    coded = [c["code"] for i in body["issue"] for c in i["details"].get("coding", [])]
    assert coded == ["diagnosis-code"]
    assert all(i["severity"] in ("information", "warning") for i in body["issue"])
    assert "verdict: information" in body["issue"][0]["diagnostics"]


def test_prefer_minimal_gives_headers_and_no_body(service: Service) -> None:
    answer = service.referrer().post("/fhir/ServiceRequest", alone(), {"Prefer": "return=minimal"})
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["Sluss-Verdict"] == "eligible"


def test_a_transaction_answers_with_an_entry_each_and_the_outcome_at_the_order(service: Service) -> None:
    sent = referral(items=(*SEVERE[:8], 5))
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200
    body = answer.json()
    assert body["type"] == "transaction-response"
    assert len(body["entry"]) == len(sent["entry"])
    assert [e["response"]["status"] for e in body["entry"]] == [
        "201 Created",
        "200 OK",  # the unit is in the directory
        "201 Created",
        "201 Created",
        "201 Created",
        "201 Created",
    ]
    assert [located(e).split("/")[0] for e in body["entry"]] == [e["resource"]["resourceType"] for e in sent["entry"]]
    outcome = body["entry"][-1]["response"]["outcome"]["issue"]
    coded = [c["code"] for i in outcome for c in i["details"].get("coding", [])]
    assert coded == ["madrs-s-maximum", "madrs-s-item-9"]
    assert any("verdict: return" in i["diagnostics"] for i in outcome)
    assert (answer.headers["Sluss-Verdict"], answer.headers["Sluss-Alert"]) == ("return", "suicide-risk")
    assert all("outcome" not in e["response"] for e in body["entry"][:-1])


CASES: dict[str, tuple[dict[str, Any], str, str | None, str]] = {
    "eligible": ({}, "requested", None, "acknowledgement"),
    "review": (
        {"answers": {"parallel_therapy": True, "parallel_homework": True}},
        "requested",
        None,
        "acknowledgement",
    ),
    "information": ({"reasonCode": None}, "on-hold", "information-requested", "information-request"),
    "return": ({"answers": {"motivated": False, "internet_access": False}}, "rejected", None, "returned"),
}


@pytest.mark.parametrize("verdict", CASES)
def test_each_verdict_has_its_task_and_its_message(service: Service, verdict: str) -> None:
    changes, status, business_status, category = CASES[verdict]
    answer = service.referrer().post("/fhir", referral(**changes))
    assert answer.headers["Sluss-Verdict"] == verdict
    received = located(answer.json()["entry"][-1])
    task = task_of(service, received)
    assert task["status"] == status
    coded = task.get("businessStatus", {}).get("coding", [{}])[0].get("code")
    assert coded == business_status
    assert task["owner"] == {"reference": "HealthcareService/gavle"}
    (told,) = messages(service, received)
    assert category_of(told) == category
    assert told["basedOn"] == [{"reference": received}]
    assert told["partOf"] == [{"reference": f"Task/{task['id']}"}]


def test_findings_stand_on_the_task_as_input_and_as_note(service: Service) -> None:
    received = refer(service, referral(answers={"parallel_therapy": True, "parallel_homework": True}))
    task = task_of(service, received)
    assert findings_of(task) == ["parallel-homework-therapy"]
    (finding,) = [i for i in task["input"] if i["type"]["coding"][0]["code"] == "finding"]
    concept = finding["valueCodeableConcept"]
    assert concept["coding"][0]["system"] == f"{S}/CodeSystem/eligibility-rule"
    assert [n["text"] for n in task["note"]] == [concept["text"]]


def test_a_return_names_the_gravest_rule_and_every_reason(service: Service) -> None:
    received = refer(service, referral(answers={"motivated": False, "internet_access": False, "computer_habit": None}))
    reason = task_of(service, received)["statusReason"]
    assert [c["code"] for c in reason["coding"]] == ["motivated"]
    assert "internet" in reason["text"]
    assert "motiverad" in reason["text"]
    (told,) = messages(service, received, "returned")
    assert [c["coding"][0]["code"] for c in told["reasonCode"]] == ["motivated", "internet-access"]
    assert "datavana" not in text_of(told)


def test_an_ineligible_referral_is_received_recorded_and_answered(service: Service) -> None:
    answer = service.referrer().post(
        "/fhir/ServiceRequest", alone(contained=None, supportingInfo=None, reasonCode=None)
    )
    assert answer.status_code == 201
    returned = service.referrer().post("/fhir", referral("R-2", answers={"motivated": False}))
    assert returned.status_code == 200
    row = service.row(located(returned.json()["entry"][-1]))
    assert (row.verdict, row.state) == ("return", "rejected")
    journal = service.store.view().journal_of(row.id)
    assert [entry.event for entry in journal][-1] == "received"


def test_the_gravest_finding_is_the_verdict(service: Service) -> None:
    sent = referral(
        reasonCode=None, answers={"parallel_therapy": True, "parallel_homework": True, "computer_habit": None}
    )
    assert service.referrer().post("/fhir", sent).headers["Sluss-Verdict"] == "information"
    sent = referral("R-2", reasonCode=None, answers={"motivated": False})
    assert service.referrer().post("/fhir", sent).headers["Sluss-Verdict"] == "return"


@pytest.mark.parametrize("items", [(2, 2, 2, 1, 1, 2, 1, 1), (2, 2, 2, 1, 1, 2, 1, 1, 7)])
def test_a_rating_that_contradicts_itself_is_bad_input(service: Service, items: tuple[int, ...]) -> None:
    answer = service.referrer().post("/fhir", referral(items=items))
    assert answer.status_code == 422
    assert service.count("ServiceRequest") == 0


def test_eighteen_is_counted_on_the_day_of_assessment_in_sweden(service: Service) -> None:
    sent = referral(identity="200302022389", authoredOn="2021-01-20", items=None, programme="sleep")
    sent["entry"][3]["resource"]["authored"] = "2021-01-20T09:00:00+01:00"
    service.clock.set("2021-02-01T23:59")
    answer = service.referrer().post("/fhir", sent)
    assert answer.headers["Sluss-Verdict"] == "return"
    service.clock.set("2021-02-02T00:00")  # still the first of February in UTC
    received = located(answer.json()["entry"][-1])
    current = service.referrer().read(received)
    again = service.referrer().put(received, current)
    assert again.headers["Sluss-Verdict"] == "eligible", task_of(service, received)


# ------------------------------------------------------------ open referrals


def test_ones_own_open_referral_is_told(service: Service) -> None:
    refer(service, referral("R-1"))
    answer = service.referrer().post("/fhir", referral("R-2"))
    assert answer.headers["Sluss-Verdict"] == "review"
    assert "er enhet" in answer.text
    received = located(answer.json()["entry"][-1])
    assert "open-referral" in findings_of(task_of(service, received))
    assert "er enhet" in text_of(messages(service, received)[0])


def test_another_organisations_open_referral_is_told_to_the_team_only(service: Service) -> None:
    refer(service, referral(unit=OTHER_UNIT), OTHER_UNIT)
    client = service.referrer()
    dry = client.post("/fhir/ServiceRequest/$assess", referral())
    answer = client.post("/fhir", referral(answers={"computer_habit": None}))
    received = located(answer.json()["entry"][-1])
    told = [answer.text, str(answer.headers), dry.text, str(dry.headers)]
    told += [str(m) for m in messages(service, received)]
    told.append(client.post("/fhir", referral(answers={"computer_habit": None})).text)  # and not in a repeat
    for text in told:
        assert "open-referral" not in text
        assert "annan enhet" not in text
    task = task_of(service, received)
    assert "open-referral" in findings_of(task)
    assert "annan enhet" in str(task["note"])


def test_another_organisations_open_referral_is_not_told_in_plain_json_either(service: Service) -> None:
    refer(service, referral(unit=OTHER_UNIT), OTHER_UNIT)
    answer = service.referrer("SE2321000198-EX01").post(
        "/intake/referrals", plain(referrer={"unit": "SE2321000198-EX01", "reference": "P-1"})
    )
    assert answer.status_code == 201
    assert "open-referral" not in answer.text
    assert "open-referral" in findings_of(task_of(service, answer.json()["service_request"]))


def test_a_referral_that_has_ended_is_not_open(service: Service) -> None:
    received = refer(service, referral("R-1"))
    current = service.referrer().read(received)
    assert service.referrer().put(received, {**current, "status": "revoked"}).status_code == 200
    answer = service.referrer().post("/fhir", referral("R-2"))
    assert answer.headers["Sluss-Verdict"] == "eligible"


def test_a_treatment_under_way_is_an_open_referral(service: Service) -> None:
    start(service, refer(service, referral("R-1")))
    assert service.referrer().post("/fhir", referral("R-2")).headers["Sluss-Verdict"] == "review"


# ------------------------------------------------------------ dry run, and the other pack


def test_a_dry_run_says_the_same_and_stores_nothing(service: Service) -> None:
    sent = referral(items=GRAVE)
    answer = service.referrer().post("/fhir/ServiceRequest/$assess", sent)
    assert answer.status_code == 200
    said = {p["name"]: p.get("valueCode") for p in answer.json()["parameter"]}
    assert (said["verdict"], said["alert"]) == ("review", "suicide-risk")
    assert [service.count(t) for t in ("ServiceRequest", "Patient", "Task")] == [0, 0, 0]


@pytest.mark.parametrize("service", ["praktikertjanst"], indirect=True)
def test_another_region_runs_with_its_own_pack(service: Service) -> None:
    unit = next(iter(service.house.pack.units))
    sent = referral(programme="anxiety", unit=unit, items=MILD)
    answer = service.referrer(unit).post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Verdict"] == "eligible"
    unknown = service.referrer(unit).post("/fhir", referral("R-2", programme="stress", unit=unit))
    assert unknown.status_code == 422
