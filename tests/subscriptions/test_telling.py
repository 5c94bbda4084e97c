"""Subscribers are told: a handshake, then every event once, in order and without a gap."""

from datetime import UTC, datetime, timedelta

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.audit.looked_up import recorded
from tests.subscriptions.conftest import Region
from tests.subscriptions.endpoint import Answer, Endpoint
from tests.web.caller import UNIT, S, Sluss, content
from tests.web.test_subscriptions import GUIDE

GAVLE = "therapist gavle"
REFERRER = f"referrer {UNIT}"
BASE = "http://localhost/fhir"


def accept(sluss: Sluss, task: Json) -> None:
    """The therapist accepts the referral."""
    now = sluss.read(f"Task/{task['id']}")
    answer = sluss.acting(GAVLE).put(f"/fhir/Task/{task['id']}", {**now, "status": "accepted"})
    assert answer.status_code == 200, answer.text


def test_a_subscription_becomes_active_by_a_handshake(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated", header=["Authorization: Bearer hush", "X-Way: a b"])
    region.tell()
    (handshake,) = endpoint.told
    assert handshake.path == "/told?by=sluss"
    assert handshake.headers["authorization"] == "Bearer hush"
    assert handshake.headers["x-way"] == "a b"
    assert handshake.headers["content-type"] == "application/fhir+json"
    assert handshake.headers["host"] == endpoint.host
    assert handshake.parameters == {
        "subscription": {"reference": f"{BASE}/Subscription/{id_}"},
        "topic": f"{S}/SubscriptionTopic/task-updated",
        "status": "requested",
        "type": "handshake",
        "events-since-subscription-start": "0",
    }
    first = handshake.bundle["entry"][0]
    assert first["request"] == {"method": "GET", "url": f"{BASE}/Subscription/{id_}/$status"}
    assert first["response"] == {"status": "200"}
    assert region.read(id_)["status"] == "active"
    region.tell(3)
    assert len(endpoint.told) == 1


def test_whom_an_event_was_told_is_in_the_record(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated")
    region.tell()
    task = region.sluss.refer("R-1")["task"]
    region.tell(3)
    (event,) = recorded(region.sluss.app.extensions["sluss"].store, "notification")
    assert (event.role, list(event.teams), event.outcome) == ("therapist", ["gavle"], 0)
    assert list(event.about) == [f"Subscription/{id_}", f"Task/{task['id']}"]


def test_a_handshake_that_fails_leaves_it_in_error_until_it_is_asked_for_anew(
    region: Region, endpoint: Endpoint
) -> None:
    endpoint.coming = [Answer(500)]
    id_ = region.subscribe(endpoint, GAVLE, "task-updated")
    region.tell(3)
    assert len(endpoint.told) == 1
    shown = region.read(id_)
    assert (shown["status"], shown["error"]) == (
        "error",
        "the handshake failed: it answered with an error (HTTP 500)",
    )
    referred = region.sluss.refer("R-1")
    region.tell()
    assert len(endpoint.told) == 1
    region.ask(id_, "requested", GAVLE)
    region.tell()
    assert [one.type for one in endpoint.told] == ["handshake", "handshake", "event-notification"]
    assert endpoint.events == [(1, f"{BASE}/Task/{referred['task']['id']}")]
    assert "error" not in region.read(id_)


def test_a_team_is_told_of_its_tasks_in_order_and_without_a_gap(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated", "owner=HealthcareService/gavle&code=fulfill")
    region.tell()
    first, second = region.sluss.refer("R-1")["task"], region.sluss.refer("R-2")["task"]
    accept(region.sluss, first)
    region.tell()
    told = [f"{BASE}/Task/{task['id']}" for task in (first, second, first)]
    assert endpoint.events == list(enumerate(told, 1))
    notice = endpoint.told[-1]
    assert notice.parameters["events-since-subscription-start"] == "3"
    assert [entry["fullUrl"] for entry in notice.bundle["entry"][1:]] == told[:2]
    assert all("resource" not in entry for entry in notice.bundle["entry"][1:])
    answer = content(region.sluss.acting(GAVLE).get(f"/fhir/Subscription/{id_}/$status"))
    (status,) = [entry["resource"]["parameter"] for entry in answer["entry"]]
    assert {"name": "events-since-subscription-start", "valueString": "3"} in status


def test_every_version_is_an_event_also_when_it_was_soon_replaced(region: Region, endpoint: Endpoint) -> None:
    region.subscribe(endpoint, GAVLE, "task-updated", "status=received&code=fulfill")
    region.tell()
    task = region.sluss.refer()["task"]
    therapist = region.sluss.acting(GAVLE)
    for status in ("received", "accepted"):
        now = therapist.read(f"Task/{task['id']}")
        assert therapist.put(f"/fhir/Task/{task['id']}", {**now, "status": status}).status_code == 200
    region.tell()
    assert endpoint.events == [(1, f"{BASE}/Task/{task['id']}")]


def test_an_empty_notification_names_nothing(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated", "code=fulfill", content="empty")
    region.tell()
    task = region.sluss.refer()["task"]
    region.tell()
    notice = endpoint.told[-1]
    assert notice.events == [(1, None)]
    assert len(notice.bundle["entry"]) == 1
    assert "topic" not in notice.parameters
    assert task["id"] not in str(notice.bundle)
    assert id_ in str(notice.bundle)


def test_no_more_events_at_once_than_the_subscriber_wants(region: Region, endpoint: Endpoint) -> None:
    at_most = {"url": f"{GUIDE}/backport-max-count", "valuePositiveInt": 2}
    region.subscribe(endpoint, REFERRER, "referral-received", extension=[at_most])
    region.tell()
    for number in range(5):
        region.sluss.refer(f"R-{number}")
    region.tell()
    assert [[number for number, _ in one.events] for one in endpoint.told] == [[], [1, 2], [3, 4], [5]]


def test_an_endpoint_that_is_away_is_told_everything_when_it_is_back(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated", "code=fulfill")
    region.tell()
    endpoint.always = Answer(503)
    first = region.sluss.refer("R-1")["task"]
    region.tell(3)
    assert len(endpoint.told) == 2  # a handshake, and one try until the next is due
    shown = region.read(id_)
    assert (shown["status"], shown["error"]) == ("active", "it answered with an error (HTTP 503)")
    second = region.sluss.refer("R-2")["task"]
    endpoint.always = Answer(204)
    region.clock.later(seconds=10)
    endpoint.told.clear()
    region.tell()
    assert endpoint.events == [(1, f"{BASE}/Task/{first['id']}"), (2, f"{BASE}/Task/{second['id']}")]
    assert "error" not in region.read(id_)


def test_an_answer_that_is_lost_has_the_same_events_told_again_under_the_same_numbers(
    region: Region, endpoint: Endpoint
) -> None:
    soon = {"url": f"{GUIDE}/backport-timeout", "valueUnsignedInt": 1}
    region.subscribe(endpoint, REFERRER, "referral-received", extension=[soon])
    region.tell()
    endpoint.coming = [Answer(200, after=2)]
    region.sluss.refer()
    region.tell()
    region.clock.later(seconds=10)
    region.tell(2)
    assert [number for number, _ in endpoint.events] == [1, 1]


def test_after_a_day_it_is_given_up_and_resumes_without_a_gap_when_it_is_asked_for(
    region: Region, endpoint: Endpoint
) -> None:
    id_ = region.subscribe(endpoint, GAVLE, "task-updated", "code=fulfill")
    region.tell()
    endpoint.always = Answer(500)
    region.sluss.refer("R-1")
    for _ in range(40):
        region.tell()
        region.clock.later(hours=2)
    assert len(endpoint.told) == 1 + 34
    shown = region.read(id_)
    assert shown["status"] == "error"
    assert shown["error"] == "given up after 34 attempts: it answered with an error (HTTP 500)"
    region.sluss.refer("R-2")
    region.tell()
    metrics = region.sluss.get("/metrics", {"Accept": "*/*"}).text
    assert 'sluss_subscriptions{status="error"} 1.0' in metrics
    assert "sluss_events_waiting 2.0" in metrics
    assert "sluss_events_oldest_waiting_seconds 0.0" not in metrics
    endpoint.always = Answer()
    endpoint.told.clear()
    region.ask(id_, "active", GAVLE)
    region.tell()
    assert [one.type for one in endpoint.told] == ["handshake", "event-notification"]
    assert [number for number, _ in endpoint.events] == [1, 2]


def test_one_that_was_off_counts_on_from_when_it_is_on_again(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    region.sluss.refer("R-1")
    region.tell()
    region.ask(id_, "off", REFERRER)
    region.sluss.refer("R-2")
    region.tell()
    region.ask(id_, "requested", REFERRER)
    third = region.sluss.refer("R-3")["order"]
    region.tell()
    assert endpoint.events[1:] == [(2, f"{BASE}/ServiceRequest/{third['id']}")]


def test_a_deleted_subscription_is_told_nothing_more(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    region.sluss.refer()
    region.notifier.look()
    assert region.sluss.acting(REFERRER).call("DELETE", f"/fhir/Subscription/{id_}").status_code == 204
    region.tell()
    region.notifier.notify(id_)
    assert len(endpoint.told) == 1


def test_at_its_end_it_is_off(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    referrer = region.sluss.acting(REFERRER)
    shown = referrer.read(f"Subscription/{id_}")
    end = (region.clock.now.replace(microsecond=0)).isoformat()
    region.clock.later(hours=-1)
    assert referrer.put(f"/fhir/Subscription/{id_}", {**shown, "end": end}).status_code == 200
    region.clock.later(hours=2)
    region.sluss.refer()
    region.tell()
    shown = region.read(id_)
    assert (shown["status"], shown["error"]) == ("off", "its end has passed")
    assert len(endpoint.told) == 1


def test_silence_is_broken_by_a_sign_of_life(region: Region, endpoint: Endpoint) -> None:
    every_minute = {"url": f"{GUIDE}/backport-heartbeat-period", "valueUnsignedInt": 60}
    id_ = region.subscribe(endpoint, REFERRER, "referral-received", extension=[every_minute])
    region.tell()
    region.clock.later(seconds=59)
    region.tell()
    region.clock.later(seconds=1)
    region.tell(2)
    region.clock.later(seconds=30)
    region.sluss.refer()
    region.tell()
    region.clock.later(seconds=30)
    region.tell()
    assert [one.type for one in endpoint.told] == ["handshake", "heartbeat", "event-notification"]
    assert endpoint.told[1].parameters["status"] == "active"
    region.clock.later(seconds=30)
    endpoint.coming = [Answer(500)]
    region.tell()
    assert "error" in region.read(id_)


def test_an_endpoint_that_is_away_holds_up_nobody_else(region: Region, endpoint: Endpoint) -> None:
    away = region.subscribe(endpoint, REFERRER, "referral-received")
    near = region.subscribe(endpoint, GAVLE, "task-updated", "code=fulfill")
    region.tell()
    endpoint.coming = [Answer(500)]
    region.sluss.refer()
    region.tell()
    in_trouble = sorted("error" in region.read(id_) for id_ in (away, near))
    assert in_trouble == [False, True]
    assert len(endpoint.told) == 4


def test_events_can_be_asked_for_again_by_their_numbers(region: Region, endpoint: Endpoint) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    orders = [region.sluss.refer(f"R-{number}")["order"]["id"] for number in range(4)]
    region.tell()
    referrer = region.sluss.acting(REFERRER)

    def asked(query: str) -> list[tuple[str, str | None]]:
        bundle = content(referrer.get(f"/fhir/Subscription/{id_}/$events?{query}"))
        assert validate(bundle) == []
        assert bundle["type"] == "history"
        parameters = bundle["entry"][0]["resource"]["parameter"]
        assert {"name": "type", "valueCode": "query-event"} in parameters
        parts = [
            {part["name"]: part for part in one["part"]} for one in parameters if one["name"] == "notification-event"
        ]
        return [
            (
                part["event-number"]["valueString"],
                part["focus"]["valueReference"]["reference"].rpartition("/")[2] if "focus" in part else None,
            )
            for part in parts
        ]

    numbered = [(str(number), order) for number, order in enumerate(orders, 1)]
    assert asked("") == numbered
    assert asked("eventsSinceNumber=2&eventsUntilNumber=3") == numbered[1:3]
    assert asked("eventsSinceNumber=5") == []
    assert asked("eventsSinceNumber=99999999999") == []
    assert asked("eventsUntilNumber=1&content=empty") == [("1", None)]
    body = {"resourceType": "Parameters", "parameter": [{"name": "eventsSinceNumber", "valueString": "4"}]}
    posted = content(referrer.post(f"/fhir/Subscription/{id_}/$events", body))
    assert [entry["fullUrl"] for entry in posted["entry"][1:]] == [f"{BASE}/ServiceRequest/{orders[3]}"]


def test_what_was_taken_is_forgotten_after_thirty_days_and_what_was_not_is_kept(
    region: Region, endpoint: Endpoint
) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    region.sluss.refer("R-1")
    region.tell()
    endpoint.always = Answer(500)
    region.sluss.refer("R-2")
    region.tell()
    region.clock.now = datetime.now(UTC) + timedelta(days=31)  # what the database stamps has the machine's time
    region.notifier.tidy()
    bundle = content(region.sluss.acting(REFERRER).get(f"/fhir/Subscription/{id_}/$events"))
    assert len(bundle["entry"]) == 2
    endpoint.always = Answer()
    region.tell()
    assert [number for number, _ in endpoint.events] == [1, 2, 2]


def test_one_that_is_left_in_error_for_thirty_days_is_off(region: Region, endpoint: Endpoint) -> None:
    endpoint.always = Answer(500)
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    region.sluss.refer("R-1")
    region.tell()
    region.clock.now = datetime.now(UTC) + timedelta(days=31)  # what the database stamps has the machine's time
    region.notifier.tidy()
    assert region.read(id_)["status"] == "off"
    region.notifier.tidy()
    endpoint.always = Answer()
    region.ask(id_, "requested", REFERRER)
    region.tell(2)
    region.sluss.refer("R-2")
    region.tell(2)
    assert [one.type for one in endpoint.told] == ["handshake", "handshake", "event-notification"]
    assert [number for number, _ in endpoint.events] == [2]
