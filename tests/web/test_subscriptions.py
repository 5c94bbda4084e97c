"""Subscriptions that others have with us: asked for, read, changed, deleted; and whose they are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.subscriptions.topics import DEFINITIONS
from tests.web.authenticated import WithToken, register, token_of
from tests.web.caller import FHIR, UNIT, S, Sluss, content, issues, places, text_of

GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
ENDPOINT = "https://ehr.example/told?by=sluss"
THERAPIST = "therapist gavle"
OTHERS = (f"referrer {UNIT}", "therapist norra-halsingland", "platform")


@pytest.fixture
def here(another: Callable[..., Sluss]) -> Sluss:
    """Sluss where subscribers may be told at ehr.example; the therapists of Gävle call."""
    return another(subscription_hosts=("ehr.example", "ehr.example:8443")).acting(THERAPIST)


def wanted(topic: str = "task-updated", *filters: str, content: str = "id-only", **channel: Any) -> Json:
    """A Subscription as a client sends it."""
    asked: Json = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "the work list of the record system",
        "criteria": f"{S}/SubscriptionTopic/{topic}",
        "channel": {
            "type": "rest-hook",
            "endpoint": ENDPOINT,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{GUIDE}/backport-payload-content", "valueCode": content}]},
            "header": ["Authorization: Bearer hush"],
            **channel,
        },
    }
    asked["channel"] = {name: value for name, value in asked["channel"].items() if value is not None}
    if filters:
        asked["_criteria"] = {
            "extension": [{"url": f"{GUIDE}/backport-filter-criteria", "valueString": one} for one in filters]
        }
    return asked


def made(sluss: Sluss, *arguments: str, **channel: Any) -> Json:
    answer = sluss.post("/fhir/Subscription", wanted(*arguments, **channel))
    assert answer.status_code == 201, answer.text
    return content(answer)


def test_a_new_subscription_is_requested_and_otherwise_as_it_was_sent(here: Sluss) -> None:
    sent = wanted("task-updated", "owner=HealthcareService/gavle")
    answer = here.post("/fhir/Subscription", sent)
    stored = content(answer)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Location"] == f"http://localhost/fhir/Subscription/{stored['id']}"
    assert {name: value for name, value in stored.items() if name not in ("id", "meta")} == sent
    assert validate(stored) == []
    assert content(here.get(f"/fhir/Subscription/{stored['id']}")) == stored


def test_one_that_is_sent_as_active_is_requested_all_the_same(here: Sluss) -> None:
    assert content(here.post("/fhir/Subscription", {**wanted(), "status": "active"}))["status"] == "requested"


@pytest.mark.parametrize("caller", OTHERS)
def test_somebody_elses_subscription_is_as_if_it_did_not_exist(here: Sluss, caller: str) -> None:
    mine = made(here)
    path, other = f"/fhir/Subscription/{mine['id']}", here.acting(caller)
    unknown = content(other.get("/fhir/Subscription/unknown"))
    for answer in (
        other.get(path),
        other.get(f"{path}/$status"),
        other.get(f"{path}/$events"),
        other.put(path, mine),
        other.call("DELETE", path),
    ):
        assert answer.status_code == 404
        assert text_of(content(answer)).replace(mine["id"], "unknown") == text_of(unknown)
    assert content(other.get("/fhir/Subscription"))["total"] == 0
    assert content(other.get("/fhir/Subscription/$status"))["total"] == 0
    assert here.get(path).status_code == 200


def test_an_administrator_may_turn_it_off_but_never_sees_what_its_headers_say(here: Sluss) -> None:
    mine = made(here, header=["Authorization: Bearer hush", "X-Way: a"])
    path, administrator = f"/fhir/Subscription/{mine['id']}", here.acting("administrator")
    shown = content(administrator.get(path))
    assert shown["channel"]["header"] == ["Authorization: *****", "X-Way: *****"]
    answer = administrator.put(path, {**shown, "status": "off"})
    assert answer.status_code == 200, answer.text
    assert "hush" not in answer.text
    assert "hush" not in administrator.get("/fhir/Subscription").text
    stored = content(here.get(path))
    assert stored["status"] == "off"
    assert stored["channel"]["header"] == ["Authorization: Bearer hush", "X-Way: a"]


def test_the_two_who_are_told_of_replies_do_not_share_their_subscriptions(here: Sluss) -> None:
    made(here.acting("platform"), "reply-sent")
    made(here.acting(f"referrer {UNIT}"), "reply-sent")
    for caller in ("platform", f"referrer {UNIT}"):
        assert content(here.acting(caller).get("/fhir/Subscription"))["total"] == 1
    assert content(here.acting("administrator").get("/fhir/Subscription"))["total"] == 2


@pytest.mark.parametrize("topic", ["task-updated", "referral-received"])
def test_a_platform_is_told_of_replies_only(here: Sluss, topic: str) -> None:
    answer = here.acting("platform").post("/fhir/Subscription", wanted(topic))
    assert answer.status_code == 403
    assert content(here.acting("platform").get("/fhir/Subscription"))["total"] == 0


def extension(name: str, **value: Any) -> Json:
    return {"url": f"{GUIDE}/backport-{name}", **value}


REFUSED: dict[str, tuple[Json, str]] = {
    "an unknown topic": (wanted("task-deleted"), "criteria"),
    "a search instead of a topic": ({**wanted(), "criteria": "Task?status=requested"}, "criteria"),
    "an unknown filter": (wanted("task-updated", "patient=Patient/1"), "criteria.extension"),
    "a filter of another type": (wanted("task-updated", "Communication.status=completed"), "criteria.extension"),
    "a filter without a value": (wanted("task-updated", "status="), "criteria.extension"),
    "R5's own extension": (
        {**wanted(), "_criteria": {"extension": [{"url": "http://hl7.org/fhir/5.0/x", "valueString": "status=x"}]}},
        "criteria.extension[0]",
    ),
    "the whole resource": (wanted(content="full-resource"), "channel.payload.extension"),
    "no word of how much": (wanted(_payload=None), "channel.payload.extension"),
    "XML": (wanted(payload="application/fhir+xml"), "channel.payload"),
    "another FHIR version": (wanted(payload="application/fhir+json; fhirVersion=5.0"), "channel.payload"),
    "an e-mail": (wanted(type="email"), "channel.type"),
    "a channel of somebody's own": (
        wanted(_type={"extension": [extension("channel-type", valueCoding={"code": "queue"})]}),
        "channel.type",
    ),
    "a host that is not named": (wanted(endpoint="https://elsewhere.example/"), "channel.endpoint"),
    "a named host as the user of another": (
        wanted(endpoint="https://ehr.example@elsewhere.example/"),
        "channel.endpoint",
    ),
    "a named host below another": (wanted(endpoint="https://ehr.example.elsewhere.example/"), "channel.endpoint"),
    "another port": (wanted(endpoint="https://ehr.example:22/"), "channel.endpoint"),
    "no https": (wanted(endpoint="http://ehr.example/"), "channel.endpoint"),
    "a backslash": (wanted(endpoint="https://ehr.example\\@elsewhere.example/"), "channel.endpoint"),
    "an inner address": (wanted(endpoint="https://127.0.0.1/"), "channel.endpoint"),
    "a heartbeat every second": (
        wanted(extension=[extension("heartbeat-period", valueUnsignedInt=1)]),
        "channel.extension",
    ),
    "an hour to answer": (wanted(extension=[extension("timeout", valueUnsignedInt=3600)]), "channel.extension"),
    "a thousand at once": (wanted(extension=[extension("max-count", valuePositiveInt=1000)]), "channel.extension"),
    "a host of its own": (wanted(header=["Host: elsewhere.example"]), "channel.header[0]"),
    "a length of its own": (wanted(header=["X-A: b", "content-length: 1"]), "channel.header[1]"),
    "a second line in a header": (wanted(header=["X-A: b\r\nHost: elsewhere.example"]), "channel.header[0]"),
    "a header without a name": (wanted(header=[": b"]), "channel.header[0]"),
    "a header that is all blanks and then none": (
        wanted(header=["X-A:" + " " * 900_000 + "\u00e5"]),
        "channel.header[0]",
    ),
    "too many headers": (wanted(header=[f"X-{n}: 1" for n in range(21)]), "channel.header[20]"),
    "too many filters": (wanted("task-updated", "&".join(["status=requested"] * 21)), "criteria.extension"),
    "too many values": (wanted("task-updated", "status=" + ",".join(["requested"] * 101)), "criteria.extension"),
    "an end in the past": ({**wanted(), "end": "2026-11-22T10:00:00Z"}, "end"),
    "a status that Sluss sets": ({**wanted(), "status": "error"}, "status"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_will_not_be_done_is_refused_with_its_place(here: Sluss, case: str) -> None:
    sent, place = REFUSED[case]
    answer = here.post("/fhir/Subscription", sent)
    assert answer.status_code == 422, answer.text
    assert places(answer) == [f"Subscription.{place}"]
    assert content(here.get("/fhir/Subscription"))["total"] == 0


def test_every_problem_is_told_at_once_and_no_secret_is_repeated(here: Sluss) -> None:
    sent = wanted(
        "task-updated", "patient=1", endpoint="https://x.example/", header=["Host: hush"], payload="text/plain"
    )
    answer = here.post("/fhir/Subscription", sent)
    assert len(issues(answer)) == 4
    assert "hush" not in answer.text


def test_what_is_not_r4_is_400_together_with_what_is_against_our_rules(here: Sluss) -> None:
    sent = wanted(endpoint="https://x.example/")
    del sent["reason"]
    answer = here.post("/fhir/Subscription", sent)
    assert answer.status_code == 400
    assert places(answer) == ["Subscription.reason", "Subscription.channel.endpoint"]


def test_without_hosts_in_the_settings_there_are_no_subscriptions(sluss: Sluss) -> None:
    answer = sluss.post("/fhir/Subscription", wanted())
    assert answer.status_code == 422
    assert places(answer) == ["Subscription.channel.endpoint"]


def test_nobody_has_more_than_twenty(here: Sluss) -> None:
    for _ in range(20):
        made(here)
    assert here.post("/fhir/Subscription", wanted()).status_code == 422
    assert here.acting("administrator").post("/fhir/Subscription", wanted()).status_code == 201


def test_one_that_is_deleted_is_gone_and_its_place_is_free(here: Sluss) -> None:
    mine = made(here)
    path = f"/fhir/Subscription/{mine['id']}"
    gone = here.call("DELETE", path)
    assert (gone.status_code, gone.headers.get("Content-Type")) == (204, None)
    for method, address in (("GET", path), ("GET", f"{path}/$status"), ("GET", f"{path}/$events"), ("PUT", path)):
        answer = here.call(method, address, mine if method == "PUT" else None)
        assert answer.status_code == 410
        assert issues(answer)[0]["code"] == "deleted"
    assert here.call("DELETE", path).status_code == 204
    assert here.acting("platform").get(path).status_code == 404
    assert content(here.get("/fhir/Subscription"))["total"] == 0


def test_changing_the_channel_asks_for_a_new_handshake(here: Sluss) -> None:
    mine = made(here)
    path = f"/fhir/Subscription/{mine['id']}"
    channel = {**mine["channel"], "endpoint": "https://ehr.example:8443/"}
    answer = here.put(path, {**mine, "status": "active", "channel": channel}, {"If-Match": 'W/"1"'})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"2"'
    changed = content(answer)
    assert (changed["status"], changed["channel"]) == ("requested", channel)


def test_what_it_is_about_cannot_change(here: Sluss) -> None:
    mine = made(here, "task-updated", "status=requested")
    path = f"/fhir/Subscription/{mine['id']}"
    for other in (wanted("referral-received"), wanted("task-updated", "status=completed"), wanted("task-updated")):
        answer = here.put(path, {**other, "id": mine["id"]})
        assert answer.status_code == 422
        assert places(answer) == ["Subscription.criteria"]


def test_a_stale_change_or_deletion_is_412(here: Sluss) -> None:
    mine = made(here)
    path = f"/fhir/Subscription/{mine['id']}"
    assert here.put(path, mine).status_code == 200
    assert here.put(path, mine, {"If-Match": 'W/"1"'}).status_code == 412
    assert here.call("DELETE", path, None, {"If-Match": 'W/"1"'}).status_code == 412
    assert here.put(path, {**mine, "id": "another"}).status_code == 400
    assert here.call("DELETE", path, None, {"If-Match": 'W/"2"'}).status_code == 204


def test_search_finds_ones_own_by_status_and_address_in_pages(here: Sluss) -> None:
    first, second = made(here), made(here, endpoint="https://ehr.example:8443/")
    here.put(f"/fhir/Subscription/{second['id']}", {**second, "status": "off"})

    def found(query: str) -> list[str]:
        return [one["id"] for one in here.search(f"Subscription?{query}")]

    assert found("status=off") == [second["id"]]
    assert found("status=http://hl7.org/fhir/subscription-status|off") == [second["id"]]
    assert found("status=requested,active") == [first["id"]]
    assert found("url=https://ehr.example:8443/") == [second["id"]]
    assert found(f"_id={first['id']}") == [first["id"]]
    answer = content(here.get("/fhir/Subscription?_count=1"))
    assert (len(answer["entry"]), answer["total"], validate(answer)) == (1, 2, [])
    after = content(here.get(next(link["url"] for link in answer["link"] if link["relation"] == "next")))
    assert [link["relation"] for link in after["link"]] == ["self"]
    assert {one["entry"][0]["resource"]["id"] for one in (answer, after)} == {first["id"], second["id"]}
    counted = content(here.post("/fhir/Subscription/_search", "_count=0", {"Content-Type": FORM}))
    assert (counted["total"], counted.get("entry")) == (2, None)


def test_search_finds_ones_own_by_topic_channel_contact_and_age(here: Sluss) -> None:
    tasks, replies = made(here), made(here, "reply-sent", payload="application/json")
    wanted_with = wanted() | {"contact": [{"system": "email", "value": "drift@ehr.example"}]}
    reached = content(here.post("/fhir/Subscription", wanted_with))

    def found(query: str) -> set[str]:
        return {one["id"] for one in here.search(f"Subscription?{query}")}

    everyone = {tasks["id"], replies["id"], reached["id"]}
    assert found(f"criteria={S}/subscriptiontopic/reply") == {replies["id"]}
    assert found("criteria=reply-sent") == set()
    assert found("type=rest-hook") == everyone
    assert found("type=email") == set()
    assert found("payload=application/fhir%2Bjson") == everyone - {replies["id"]}
    assert found("contact=drift@ehr.example,nobody") == {reached["id"]}
    age = reached["meta"]["lastUpdated"]
    ages = {"": 1, "ne": 2, "gt": 0, "ge": 1, "lt": 2, "le": 3, "sa": 0, "eb": 2, "ap": 3}
    assert {prefix: len(found(f"_lastUpdated={prefix}{age}")) for prefix in ages} == ages
    assert found(f"_lastUpdated=lt2001,{age}") == {reached["id"]}
    assert here.get("/fhir/Subscription?_lastUpdated=yesterday").status_code == 400


FORM = "application/x-www-form-urlencoded"


def test_an_unknown_search_parameter_is_told_and_under_strict_handling_refused(here: Sluss) -> None:
    mine = made(here)
    lenient = content(here.get("/fhir/Subscription?color=red"))
    assert [entry["search"]["mode"] for entry in lenient["entry"]] == ["match", "outcome"]
    assert lenient["entry"][0]["resource"]["id"] == mine["id"]
    assert here.get("/fhir/Subscription?color=red", {"Prefer": "handling=strict"}).status_code == 400


def test_status_tells_how_it_stands_by_the_guides_profile(here: Sluss) -> None:
    mine = made(here)
    for answer in (
        here.get(f"/fhir/Subscription/{mine['id']}/$status"),
        here.post(f"/fhir/Subscription/{mine['id']}/$status", {"resourceType": "Parameters"}),
        here.get(f"/fhir/Subscription/$status?id={mine['id']}&status=requested"),
        here.get("/fhir/Subscription/$status"),
    ):
        bundle = content(answer)
        assert (bundle["type"], bundle["total"], validate(bundle)) == ("searchset", 1, [])
        status = bundle["entry"][0]["resource"]
        assert status["meta"]["profile"] == [f"{GUIDE}/backport-subscription-status-r4"]
        assert status["parameter"] == [
            {
                "name": "subscription",
                "valueReference": {"reference": f"http://localhost/fhir/Subscription/{mine['id']}"},
            },
            {"name": "topic", "valueCanonical": f"{S}/SubscriptionTopic/task-updated"},
            {"name": "status", "valueCode": "requested"},
            {"name": "type", "valueCode": "query-status"},
            {"name": "events-since-subscription-start", "valueString": "0"},
        ]
    assert content(here.get("/fhir/Subscription/$status?status=active"))["total"] == 0


def test_the_guides_example_works_as_it_stands(here: Sluss) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "subscriptions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    assert here.post("/fhir/Subscription", example.replace("Bearer …", "Bearer hush")).status_code == 201
    topics = re.findall(r"^\| `([a-z-]+)` \|.*\| ([^|]*) \|$", guide, re.MULTILINE)
    assert {name: set(re.findall(r"`(.*?)`", filters)) for name, filters in topics} == {
        str(topic): set(defined.filters) for topic, defined in DEFINITIONS.items()
    }


def test_the_capability_statement_lists_the_topics_where_somebody_may_be_told(here: Sluss, sluss: Sluss) -> None:
    def described(by: Sluss) -> list[Json]:
        statement = content(by.get("/fhir/metadata"))
        assert validate(statement) == []
        return [one for one in statement["rest"][0]["resource"] if one["type"] == "Subscription"]

    assert described(sluss) == []
    (one,) = described(here)
    topics = [extension["valueCanonical"] for extension in one["extension"]]
    assert topics == [f"{S}/SubscriptionTopic/{name}" for name in ("referral-received", "task-updated", "reply-sent")]
    assert all(made(here, topic.rpartition("/")[2])["criteria"] == topic for topic in topics)
    assert {operation["name"] for operation in one["operation"]} == {"status", "events"}
    assert one["supportedProfile"] == [f"{GUIDE}/backport-subscription"]
    # "versioned-update" would say that an update must have If-Match: https://hl7.org/fhir/R4/valueset-versioning-policy.html
    assert one["versioning"] == "versioned"


@pytest.mark.parametrize(("method", "type_"), [("PATCH", "application/json-patch+json"), ("POST", FHIR)])
def test_what_cannot_be_done_with_one_is_405(here: Sluss, method: str, type_: str) -> None:
    answer = here.call(method, f"/fhir/Subscription/{made(here)['id']}", "[]", {"Content-Type": type_})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET, HEAD, PUT")


def test_a_number_that_is_none_is_refused(here: Sluss) -> None:
    mine = made(here)
    assert here.get(f"/fhir/Subscription/{mine['id']}/$events?eventsSinceNumber=two").status_code == 400


@pytest.fixture
def smart(another: Callable[..., Sluss]) -> Sluss:
    """Where tokens count, and one client is known."""
    known = another(auth="smart", subscription_hosts=("ehr.example",))
    register(known, "ehr", "therapist")
    return known


def _narrow(sluss: Sluss, *scopes: str) -> Sluss:
    """The client, with a token that is good for this."""
    return WithToken(sluss, token_of(sluss, "ehr", scope=" ".join(("system/Subscription.cruds", *scopes))))


NARROW = (
    (),
    ("system/Task.r",),
    ("system/Task.s", "system/ServiceRequest.rs"),
    ("system/Task.rs?owner=HealthcareService/gavle",),
    ("system/Task.r", "system/Task.s?status=requested"),
)


@pytest.mark.parametrize("scopes", NARROW)
def test_a_token_that_does_not_see_all_of_a_topic_does_not_subscribe_to_it(
    smart: Sluss, scopes: tuple[str, ...]
) -> None:
    answer = _narrow(smart, *scopes).post("/fhir/Subscription", wanted())
    assert answer.status_code == 403
    assert "system/Task.rs without a search" in issues(answer)[0]["diagnostics"]
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scopes", NARROW)
def test_nor_does_it_change_what_another_token_has_made_or_read_its_events(
    smart: Sluss, scopes: tuple[str, ...]
) -> None:
    mine = made(_narrow(smart, "system/Task.rs", "system/Task.rs?status=requested"))
    path, narrow = f"/fhir/Subscription/{mine['id']}", _narrow(smart, *scopes)
    assert narrow.put(path, mine).status_code == 403
    assert narrow.get(f"{path}/$events").status_code == 403
    assert narrow.get(path).status_code == 200
    assert narrow.put(path, {**mine, "status": "off"}).status_code == 200
    assert narrow.call("DELETE", path).status_code == 204
