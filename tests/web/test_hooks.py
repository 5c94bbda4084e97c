"""CDS Hooks: what stands in the way of a referral is told while it is a draft (https://cds-hooks.hl7.org/2.0/)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from fhir_mappings.records import Json
from service.web.hooks import SERVICES
from tests.web.caller import UNIT, S, Sluss, content

Rows = Callable[[], dict[str, int]]
SIGN, SELECT = "/cds-services/ikbt-order-sign", "/cds-services/ikbt-order-select"
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
HSA = "urn:oid:1.2.752.29.4.19"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
ANSWER = f"{S}/CodeSystem/ikbt-referral-answer"
EHR = "https://ehr.example/fhir"


def order(id_: str = "103", programme: str = "depression", **changes: Any) -> Json:
    """A ServiceRequest as an EHR drafts it: no number, no date, no requester yet."""
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-programme", "code": programme}]},
        "subject": {"reference": "Patient/128"},
        "reasonCode": [{"coding": [{"system": "https://www.icd10.se/", "code": "F32.1"}]}],
        **changes,
    }


PATIENT: Json = {
    "resourceType": "Patient",
    "id": "128",
    "identifier": [{"system": PERSONNUMMER, "value": "199002222397"}],
}
ROLE: Json = {
    "resourceType": "PractitionerRole",
    "id": "123",
    "organization": {"identifier": {"system": HSA, "value": "SE2321000198-EX03"}},
}
FORM: Json = {
    "resourceType": "QuestionnaireResponse",
    "id": "f",
    "questionnaire": f"{S}/Questionnaire/ikbt-referral",
    "status": "completed",
    "subject": {"reference": "Patient/128"},
    "authored": "2026-11-20T10:00:00+01:00",
    "item": [
        {"linkId": "suicide-risk", "answer": [{"valueCoding": {"system": ANSWER, "code": "low"}}]},
        *(
            {"linkId": link_id, "answer": [{"valueBoolean": True}]}
            for link_id in (
                "motivated", "works-independently", "computer-habit", "internet-access", "reads-and-writes",
                "patient-interested", "sets-aside-time", "assessment-held", "patient-informed",
            )
        ),
        {"linkId": "parallel-therapy", "answer": [{"valueBoolean": False}]},
    ],
}  # fmt: skip


def rating(*scores: int) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "m",
        "questionnaire": f"{S}/Questionnaire/madrs-s",
        "status": "completed",
        "subject": {"reference": "Patient/128"},
        "authored": "2026-11-18T19:42:11+01:00",
        "item": [{"linkId": f"item-{n}", "answer": [{"valueInteger": score}]} for n, score in enumerate(scores, 1)],
    }


def found(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def call(*orders: Json, forms: Json | None = None, **changes: Any) -> Json:
    return {
        "hook": "order-sign",
        "hookInstance": INSTANCE,
        "context": {
            "userId": "PractitionerRole/123",
            "patientId": "128",
            "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": one} for one in orders]},
        },
        "prefetch": {
            "patient": PATIENT,
            "user": found(ROLE),
            "forms": forms or found(FORM, rating(2, 2, 2, 2, 1, 1, 1, 1, 0)),
            "ratings": None,
        },
        **changes,
    }


def cards(sluss: Sluss, body: Json, path: str = SIGN) -> list[Json]:
    answer = sluss.post(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    shown: list[Json] = content(answer)["cards"]
    for card in shown:
        UUID(card["uuid"])
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"] == "IKBT - Rutin för internetbaserad KBT"
        assert all(reason["display"] for reason in card.get("overrideReasons", ()))
    return shown


def topics(shown: list[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in shown if "topic" in card["source"]]


# ---------------------------------------------------------------- discovery


def test_services_are_discovered_with_what_they_want_to_know_beforehand(sluss: Sluss) -> None:
    services = content(sluss.get("/cds-services"))["services"]
    assert {service["id"]: service["hook"] for service in services} == SERVICES
    for service in services:
        assert service["description"]
        assert set(service["prefetch"]) == {"patient", "user", "conditions", "forms", "ratings"}


# ---------------------------------------------------------------- cards


def test_a_draft_that_nothing_stands_in_the_way_of_is_told_where_it_would_go(sluss: Sluss) -> None:
    (card,) = cards(sluss, call(order()))
    assert card["indicator"] == "info"
    assert "Internetbehandlare Västra Gästrikland" in card["detail"]
    assert card["links"][0]["type"] == "absolute"


def test_each_finding_in_the_way_is_a_card_with_its_rule_and_the_sources_words(sluss: Sluss) -> None:
    shown = cards(sluss, call(order(), forms=found(FORM, rating(3, 3, 3, 3, 3, 3, 3, 3, 3))))
    (card,) = [one for one in shown if topics([one]) == ["madrs-s-maximum"]]
    assert card["indicator"] == "warning"
    assert "27" in card["summary"]
    assert "MADRS-S inte är över 26" in card["detail"]
    assert card["source"]["topic"]["system"] == f"{S}/CodeSystem/eligibility-rule"


def test_signs_of_suicide_risk_come_first_and_are_critical(sluss: Sluss) -> None:
    shown = cards(sluss, call(order(programme="sleep"), forms=found(FORM, rating(1, 1, 1, 1, 1, 1, 1, 1, 5))))
    assert shown[0]["indicator"] == "critical"
    assert topics(shown)[0] == "madrs-s-item-9"
    assert "Bedöm patientens säkerhet nu" in shown[0]["detail"]


def test_advice_is_gathered_in_one_card(sluss: Sluss) -> None:
    shown = cards(sluss, call(order(programme="anxiety"), forms=found()))
    gathered = [card for card in shown if "saker att tänka på" in card["summary"]]
    assert len(gathered) == 1
    assert gathered[0]["indicator"] == "info"
    assert "`motivated`" in gathered[0]["detail"]


def test_it_finds_what_the_same_referral_would_be_judged_by(sluss: Sluss) -> None:
    """The draft signed and sent: `$assess` finds the same rules."""
    shown = cards(sluss, call(order(), forms=found(rating(3, 3, 3, 3, 3, 3, 3, 3, 3))))
    signed = order(
        status="active",
        identifier=[{"system": "https://ehr.example/remiss", "value": "1"}],
        authoredOn="2026-11-23",
        contained=[{**PATIENT, "id": "p"}, {**rating(3, 3, 3, 3, 3, 3, 3, 3, 3), "subject": {"reference": "#p"}}],
        subject={"reference": "#p"},
        supportingInfo=[{"reference": "#m"}],
        requester={"identifier": {"system": HSA, "value": UNIT}, "type": "Organization"},
    )
    told = content(sluss.post("/fhir/ServiceRequest/$assess", signed))
    findings = [{p["name"]: p for p in one["part"]} for one in told["parameter"] if one["name"] == "finding"]
    serious = {f["rule"]["valueCoding"]["code"] for f in findings if f["verdict"]["valueCode"] != "advice"}
    assert serious == set(topics(shown))


def test_orders_that_are_not_for_ikbt_are_nobodys_business(sluss: Sluss) -> None:
    other = {**order(), "code": {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]}}
    assert cards(sluss, call(other, {"resourceType": "MedicationRequest", "id": "1"})) == []
    assert cards(sluss, call(), SIGN) == []


def test_order_select_is_about_the_selected_orders_only(sluss: Sluss) -> None:
    context = call(order("1", "stress"), order("2", "sleep"))["context"]
    body = call(hook="order-select", context={**context, "selections": ["ServiceRequest/2"]})
    told = " ".join(card["detail"] for card in cards(sluss, body, SELECT))
    assert "`sleep-apnoea`" in told
    assert "`stress-timing`" not in told
    assert cards(sluss, {**body, "context": {**context, "selections": []}}, SELECT) == []


def test_a_draft_that_could_not_be_taken_in_is_told_so(sluss: Sluss) -> None:
    nameless = {**PATIENT, "identifier": [{"system": "https://ehr.example/id", "value": "7"}]}
    body = call(order())
    (card,) = cards(sluss, {**body, "prefetch": {**body["prefetch"], "patient": nameless}})
    assert card["indicator"] == "warning"
    assert card["summary"] == "Remissen kan inte tas emot som den är."


def test_evidence_that_was_not_sent_along_is_named_and_never_looked_for(sluss: Sluss) -> None:
    sluss.refer()
    stored = sluss.search("Observation")[0]
    unseen = [f"Observation/{stored['id']}", f"{EHR}/Condition/8"]
    draft = order(supportingInfo=[{"reference": unseen[0]}], reasonReference=[{"reference": unseen[1]}])
    shown = cards(sluss, call(draft, forms=found(FORM)))
    (card,) = [one for one in shown if "inte sett allt" in one["summary"]]
    assert all(name in card["detail"] for name in unseen)
    assert "madrs-s-required" in topics(shown), "an EHR's id is not one of ours"


def test_references_into_the_ehrs_own_base_are_understood(sluss: Sluss) -> None:
    draft = order(subject={"reference": f"{EHR}/Patient/128"}, requester={"reference": f"{EHR}/PractitionerRole/123"})
    (card,) = cards(sluss, call(draft, fhirServer=EHR))
    assert card["summary"] == "Ingenting står i vägen för remissen."


def test_no_address_that_a_client_names_is_called(sluss: Sluss, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    allowed = socket.socket.connect

    def only_the_database(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX, f"called {address}"
        allowed(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_the_database)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    token = {
        "access_token": "secret",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "x",
    }
    body = call(order(), fhirServer="http://169.254.169.254/fhir", fhirAuthorization=token)
    del body["prefetch"]["patient"]
    assert sluss.post(SIGN, body).status_code == 412


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("lacking", ["patient", "user"])
def test_without_the_patient_or_the_requester_it_is_412_that_says_which(sluss: Sluss, lacking: str) -> None:
    body = call(order())
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
    for value in (None, outcome):
        answer = sluss.post(SIGN, {**body, "prefetch": {**body["prefetch"], lacking: value}})
        assert answer.status_code == 412
        assert [e["field"] for e in content(answer)["errors"]] == [f"prefetch.{lacking}"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hook": "patient-view"}, "hook"),
        ({"hookInstance": "1"}, "hookInstance"),
        ({"context": {"userId": "PractitionerRole/1", "patientId": "1"}}, "context.draftOrders"),
        ({"context": None}, "context.userId"),
        ({"prefetch": {"patient": "Patient/1"}}, "prefetch.patient"),
        ({"prefetch": []}, "prefetch"),
        ({"fhirAuthorization": {}}, "fhirServer"),
    ],
)
def test_a_call_that_is_no_cds_hooks_call_is_400_with_everything_wrong(sluss: Sluss, change: Json, field: str) -> None:
    answer = sluss.post(SIGN, {**call(order()), **change})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert field in [problem["field"] for problem in content(answer)["errors"]]


def test_a_draft_that_is_not_r4_is_400(sluss: Sluss) -> None:
    answer = sluss.post(SIGN, call(order(nonsense=1)))
    assert answer.status_code == 400
    assert content(answer)["errors"][0]["field"] == "context.draftOrders.entry[0].resource.nonsense"


def test_order_select_without_selections_is_400_and_an_unknown_service_404(sluss: Sluss) -> None:
    assert sluss.post(SELECT, {**call(order()), "hook": "order-select"}).status_code == 400
    assert sluss.post("/cds-services/other", call(order())).status_code == 404
    assert sluss.post("/cds-services/other/feedback", {}).status_code == 404
    assert sluss.get(SIGN).status_code == 405


# ---------------------------------------------------------------- feedback and what is kept


def told(card: str, outcome: str = "overridden", **more: Any) -> Json:
    return {"card": card, "outcome": outcome, "outcomeTimestamp": "2026-11-23T09:05:31Z", **more}


def overridden(card: str, system: str, code: str) -> Json:
    reason = {"reason": {"system": system, "code": code}, "userComment": "HEMLIGT: Test Testsson"}
    return told(card, overrideReason=reason)


def test_nothing_is_kept_of_a_draft_but_which_cards_were_shown(sluss: Sluss, rows: Rows) -> None:
    before = rows()
    shown = cards(sluss, call(order(), forms=found(FORM)))
    after = rows()
    assert {table for table in after if after[table] != before[table]} == {"journal"}
    assert after["journal"] - before["journal"] == len(shown)


def test_what_was_done_with_a_card_stays_in_the_journal_without_the_words(sluss: Sluss) -> None:
    from service.referral.feedback import journal_key

    (card, *_) = cards(sluss, call(order(), forms=found(FORM)))
    system = f"{S}/CodeSystem/override-reason"
    answer = sluss.post(f"{SIGN}/feedback", {"feedback": [overridden(card["uuid"], system, "completed-later")]})
    assert (answer.status_code, answer.data) == (200, b"")
    elsewhere = sluss.post(f"{SIGN}/feedback", {"feedback": [overridden(card["uuid"], "urn:x", "Test Testsson")]})
    assert elsewhere.status_code == 200
    kept = sluss.app.extensions["sluss"].store.view().journal_of(journal_key(card["uuid"]))
    assert [entry.event for entry in kept] == ["card-shown", "card-outcome", "card-outcome"]
    assert kept[0].detail["rules"] == [card["source"]["topic"]["code"]]
    assert [entry.detail.get("reason") for entry in kept] == [None, "completed-later", "other"]
    assert "Test" not in str(kept)


def test_feedback_on_a_card_that_was_never_shown_here_is_404_and_none_of_it_is_kept(sluss: Sluss, rows: Rows) -> None:
    (card, *_) = cards(sluss, call(order(), forms=found(FORM)))
    before = rows()
    answer = sluss.post(f"{SIGN}/feedback", {"feedback": [told(card["uuid"]), told(INSTANCE)]})
    assert answer.status_code == 404
    assert [e["field"] for e in content(answer)["errors"]] == ["feedback[1].card"]
    assert sluss.post(f"{SELECT}/feedback", {"feedback": [told(card["uuid"])]}).status_code == 404
    assert rows() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "feedback"),
        ({"feedback": []}, "feedback"),
        ({"feedback": [1]}, "feedback[0]"),
        ({"feedback": [told("1")]}, "feedback[0].card"),
        ({"feedback": [told(INSTANCE, "ignored")]}, "feedback[0].outcome"),
        ({"feedback": [{"card": INSTANCE, "outcome": "accepted"}]}, "feedback[0].outcomeTimestamp"),
    ],
)
def test_bad_feedback_is_400_with_the_place(sluss: Sluss, body: Json, field: str) -> None:
    answer = sluss.post(f"{SIGN}/feedback", body)
    assert answer.status_code == 400
    assert field in [problem["field"] for problem in content(answer)["errors"]]


def test_what_became_of_the_cards_is_counted_rule_by_rule(sluss: Sluss) -> None:
    from datetime import UTC, datetime

    view = sluss.app.extensions["sluss"].store.view()
    system = f"{S}/CodeSystem/override-reason"
    first, second = (
        next(card["uuid"] for card in cards(sluss, call(order(), forms=found(FORM))) if topics([card]))
        for _ in range(2)
    )
    given = [told(first, "accepted"), overridden(first, system, "completed-later"), told(second, "accepted")]
    for one in given:
        assert sluss.post(f"{SIGN}/feedback", {"feedback": [one]}).status_code == 200
    (figures,) = view.card_figures(datetime(2020, 1, 1, tzinfo=UTC))
    assert (figures.rule, figures.shown) == ("madrs-s-required", 2)
    assert (figures.accepted, figures.overridden, figures.reasons) == (1, 1, ("completed-later",))
    assert view.card_figures(datetime(2100, 1, 1, tzinfo=UTC)) == []
