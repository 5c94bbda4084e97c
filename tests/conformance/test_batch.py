"""batch: each entry by itself, whatever becomes of the others. https://hl7.org/fhir/R4/http.html#transaction"""

from base64 import b64encode

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.conformance.client import (
    GAVLE,
    JSON_PATCH,
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
    refer,
    statuses,
)
from tests.web.caller import bundle


def test_several_referrals_come_in_one_batch(fhir: Client) -> None:
    sent = of("batch", *(entry("POST", "ServiceRequest", another_order()) for _ in range(5)))
    answer = fhir.acting(REFERRER).post("", sent)
    assert statuses(answer) == ["201 Created"] * 5
    assert content(answer)["type"] == "batch-response"
    for told in content(answer)["entry"]:
        order = fhir.read(told["response"]["location"])
        assert order["resourceType"] == "ServiceRequest"
        assert told["response"]["outcome"]["issue"][0]["diagnostics"].startswith("verdict: ")


def test_what_cannot_be_done_does_not_hinder_the_rest(fhir: Client, referral: Referral) -> None:
    sent = of(
        "batch",
        entry("GET", referral.task_place),
        entry("PUT", referral.task_place, {**referral.task, "status": "received"}),
        entry("GET", "Task/nobody"),
        entry("POST", "ServiceRequest", another_order(intent="plan")),
        entry("DELETE", referral.task_place),
        entry("POST", "Patient", {"resourceType": "Patient"}),
        entry("GET", "Encounter/1"),
        entry("PUT", referral.task_place, {**referral.task, "status": "received"}, ifMatch='W/"9"'),
        entry("GET", f"Task?focus={referral.order_place}"),
        entry("POST", "Communication", message(referral.order_place)),
        entry("HEAD", referral.task_place),
        entry("GET", referral.task_place, ifNoneMatch='W/"2"'),
        entry("GET", "metadata"),
    )
    answer = fhir.post("", sent)
    told = [status[:3] for status in statuses(answer)]
    # the administrator may route, but not move a Task
    assert told == ["200", "403", "404", "422", "405", "405", "404", "412", "200", "403", "200", "200", "200"]
    answer = fhir.acting(GAVLE).post("", sent)
    told = [status[:3] for status in statuses(answer)]
    assert told == ["200", "200", "404", "403", "405", "405", "404", "412", "200", "422", "200", "304", "200"]
    for one in content(answer)["entry"]:
        assert ("outcome" in one["response"]) == (one["response"]["status"][0] == "4")
    assert fhir.read(referral.task_place)["status"] == "received"


def test_reads_see_what_the_writes_have_done_wherever_they_stand(fhir: Client, referral: Referral) -> None:
    sent = of(
        "batch",
        entry("GET", referral.task_place),
        entry("PUT", referral.task_place, {**referral.task, "status": "received"}),
    )
    answer = fhir.acting(GAVLE).post("", sent)
    assert content(answer)["entry"][0]["resource"]["status"] == "received"


def test_searches_histories_and_dry_runs_are_answered_with_their_resource(fhir: Client, referral: Referral) -> None:
    sent = of(
        "batch",
        entry("GET", f"Task?focus={referral.order_place}&_include=Task:focus"),
        entry("GET", f"Task?focus={referral.order_place}&_summary=count"),
        entry("GET", f"{referral.task_place}/_history"),
        entry("GET", f"{referral.task_place}/_history/1"),
        entry("POST", "ServiceRequest/$assess", another_order()),
        entry("GET", f"/{referral.task_place}"),
        entry("GET", f"{fhir.base}/{referral.task_place}"),
    )
    answer = fhir.post("", sent)
    assert statuses(answer) == ["200 OK"] * 7
    resources = [one["resource"] for one in content(answer)["entry"]]
    assert [r["resourceType"] for r in resources] == ["Bundle"] * 3 + ["Task", "Parameters", "Task", "Task"]
    assert [len(r.get("entry", [])) for r in resources[:3]] == [2, 0, 1]


def test_a_search_by_post_is_told_to_come_as_a_get(fhir: Client, referral: Referral) -> None:
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "status", "valueCode": "requested"}]}
    sent = of("batch", entry("POST", "Task/_search?status=requested"), entry("POST", "Task/_search", parameters))
    for told in content(fhir.post("", sent))["entry"]:
        assert told["response"]["status"] == "400 Bad Request"
        (issue,) = told["response"]["outcome"]["issue"]
        assert (issue["code"], "is a GET" in issue["diagnostics"]) == ("not-supported", True)


def test_an_entry_that_is_not_r4_is_refused_by_itself(fhir: Client, referral: Referral) -> None:
    sent = of(
        "batch",
        entry("POST", "ServiceRequest", another_order(nonsense=1)),
        entry("GET", referral.task_place),
        {"resource": another_order()},
        {"request": {"method": "FETCH", "url": "Task"}},
        entry("POST", "ServiceRequest"),
    )
    answer = fhir.acting(REFERRER).post("", sent)
    told = [e["response"]["status"][:3] for e in content(answer)["entry"]]
    assert told == ["400", "200", "400", "400", "400"]
    (first, *_) = content(answer)["entry"]
    assert first["response"]["outcome"]["issue"][0]["expression"] == ["ServiceRequest.nonsense"]


@pytest.mark.parametrize("member", ["entry", "type", "nonsense"])
def test_a_bundle_that_is_none_is_refused_as_a_whole(fhir: Client, member: str) -> None:
    sent: Json = {**of("batch", entry("GET", "metadata")), member: {"a": 1}}
    outcome(fhir.post("", sent), 400)


def test_entries_that_refer_to_each_other_are_refused_as_a_whole(fhir: Client) -> None:
    issues = outcome(fhir.acting(REFERRER).post("", {**bundle(new_number()), "type": "batch"}), 422)
    assert places(issues) == ["Bundle.type"]


def test_an_empty_batch_is_fine(fhir: Client) -> None:
    assert content(fhir.post("", of("batch"))) == {"resourceType": "Bundle", "type": "batch-response"}


@pytest.mark.parametrize("url", ["", "/", "?x=1"])
@pytest.mark.parametrize("type_", ["batch", "transaction"])
def test_a_bundle_in_a_bundle_is_refused(fhir: Client, url: str, type_: str) -> None:
    inner = of(type_, entry("GET", "metadata"))
    answer = fhir.post("", of("batch", entry("POST", url or " ", inner), entry("GET", "metadata")))
    told = [e["response"]["status"][:3] for e in content(answer)["entry"]]
    assert told[0] in ("400", "404", "422")
    assert told[1] == "200"


def test_a_patch_comes_as_a_binary(fhir: Client, referral: Referral) -> None:
    def patch(media: str, data: str) -> Json:
        return entry("PATCH", referral.task_place, {"resourceType": "Binary", "contentType": media, "data": data})

    good = b64encode(b'[{"op":"replace","path":"/status","value":"received"}]').decode()
    sent = of("batch", patch(JSON_PATCH, good), patch("application/json", good), patch(JSON_PATCH, "bm9uZQ=="))
    answer = fhir.acting(GAVLE).post("", sent)
    assert [s[:3] for s in statuses(answer)] == ["200", "415", "400"]


def test_every_entry_has_the_rights_of_who_sends_the_batch(fhir: Client, referral: Referral) -> None:
    sent = of(
        "batch",
        entry("PUT", referral.task_place, {**referral.task, "status": "received"}),
        entry("PUT", referral.order_place, {**referral.order, "priority": "urgent"}),
        entry("POST", "Communication", message(referral.order_place)),
    )
    for caller, status in ((STRANGER, "404"), ("platform", "403")):  # who sees it not, and who only sees it
        answer = fhir.acting(caller).post("", sent)
        assert [s[:3] for s in statuses(answer)] == [status] * 3
    assert fhir.read(referral.task_place) == referral.task


def test_signs_of_risk_in_a_refused_entry_are_told_first_and_by_themselves(fhir: Client, referral: Referral) -> None:
    risky = next(
        e["resource"]
        for e in bundle()["entry"]
        if e["resource"]["resourceType"] == "QuestionnaireResponse"
        and any(item["linkId"] == "item-9" for item in e["resource"].get("item", ()))
    )
    for item in risky["item"]:
        if item["linkId"] == "item-9":
            item["answer"] = [{"valueInteger": 6}]
    sent = of("batch", entry("POST", "QuestionnaireResponse", {**risky, "basedOn": []} | {"subject": None}))
    sent["entry"][0]["resource"] = {k: v for k, v in risky.items() if k != "basedOn"}
    answer = fhir.acting(REFERRER).post("", sent)
    (told,) = content(answer)["entry"]
    assert told["response"]["status"][0] == "4"
    assert told["response"]["outcome"]["issue"][0]["diagnostics"].startswith("NOT received")


def test_representations_are_given_where_they_are_preferred(fhir: Client) -> None:
    sent = of("batch", entry("POST", "ServiceRequest", another_order()))
    whole = fhir.acting(REFERRER).post("", sent, {"Prefer": "return=representation"})
    (told,) = content(whole)["entry"]
    assert validate(content(whole)) == []
    assert told["resource"] == fhir.read(told["response"]["location"])
    assert told["response"]["outcome"]["issue"][0]["diagnostics"].startswith("verdict: ")


def test_two_hundred_entries_are_done_and_one_more_is_413(fhir: Client) -> None:
    referral = refer(fhir)
    reads = [entry("GET", referral.task_place)] * 200
    assert statuses(fhir.post("", of("batch", *reads))) == ["200 OK"] * 200
    outcome(fhir.post("", of("batch", *reads, reads[0])), 413)
