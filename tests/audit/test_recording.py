"""Each interaction leaves exactly one event, and the right one; what did not happen leaves none."""

from typing import Any

import pytest

from fhir_mappings.audit_event import Recorded
from fhir_mappings.records import Json
from service.referral.house import House
from service.referral.journey.timers import run_timers
from service.store.audit_records import Act, Acting, Agent
from service.store.database import Store
from service.store.records import Write
from tests.audit.conftest import Events
from tests.audit.tampering import rows, tamper
from tests.web.caller import UNIT, Sluss, bundle, content, plain, single

REFERRER = f"referrer {UNIT}"
GAVLE = "therapist gavle"
PATCH = {"Content-Type": "application/json-patch+json"}


def told(event: Recorded) -> tuple[str, str, int]:
    return event.interaction, event.action, event.outcome


def the_one(events: Events) -> Recorded:
    (event,) = events()
    return event


@pytest.fixture
def referral(sluss: Sluss, events: Events) -> Json:
    """A referral that has been received; what that has recorded is not looked at."""
    found = sluss.acting(REFERRER).refer()
    events()
    return found


def patient_of(store: Store) -> str:
    ((id_,),) = rows(store, "SELECT patient FROM referral")
    return f"Patient/{id_}"


def test_a_referral_that_comes_in_is_one_event_with_all_that_became_of_it(
    sluss: Sluss, store: Store, events: Events
) -> None:
    answer = sluss.acting(REFERRER).post("/fhir", bundle(), {"X-Request-Id": "remiss-1"})
    event = the_one(events)
    assert told(event) == ("transaction", "C", 0)
    assert (event.role, list(event.organisations), event.address) == ("referrer", [UNIT], "127.0.0.1")
    assert (event.request_id, event.tried) == ("remiss-1", "POST /fhir")
    stored = rows(store, "SELECT type || '/' || id, version FROM resource WHERE referral_id IS NOT NULL")
    assert event.about[0].startswith("ServiceRequest/")
    assert set(stored) <= set(zip(event.about, event.versions, strict=True))
    assert list(event.patients) == [patient_of(store)]
    assert answer.headers["X-Request-Id"] == "remiss-1"


@pytest.mark.parametrize(
    ("path", "body"), [("/fhir/ServiceRequest", single()), ("/intake/referrals", plain())], ids=["single", "plain"]
)
def test_so_is_one_that_comes_alone_or_is_typed_in(
    sluss: Sluss, store: Store, events: Events, path: str, body: Json
) -> None:
    media = {"Content-Type": "application/json"}
    assert sluss.post(path, body, media if "intake" in path else None).status_code == 201
    event = the_one(events)
    assert told(event) == ("create", "C", 0)
    assert event.about[0].startswith("ServiceRequest/")
    assert list(event.patients) == [patient_of(store)]


def test_one_that_is_here_already_is_recorded_as_what_was_tried_and_told(
    sluss: Sluss, referral: Json, store: Store, events: Events
) -> None:
    assert sluss.acting(REFERRER).post("/fhir", bundle()).status_code == 200
    event = the_one(events)
    assert told(event) == ("transaction", "E", 0)
    assert list(event.about) == [f"ServiceRequest/{referral['order']['id']}"]
    assert list(event.patients) == [patient_of(store)]


@pytest.mark.parametrize(
    ("path", "kind", "about"),
    [
        ("Task/{id}", ("read", "R", 0), "Task/{id}"),
        ("Task/{id}/_history/1", ("vread", "R", 0), "Task/{id}"),
        ("Task/{id}/_history", ("history-instance", "R", 0), "Task/{id}"),
        ("Task/_history", ("history-type", "E", 0), None),
        ("Task?_id={id}", ("search-type", "E", 0), None),
    ],
)
def test_whoever_reads_or_searches_is_recorded_with_the_patients_found(
    sluss: Sluss, referral: Json, store: Store, events: Events, *, path: str, kind: Any, about: Any
) -> None:
    id_ = referral["task"]["id"]
    for method in ("GET", "HEAD"):
        asked = sluss.acting(GAVLE).call(method, "/fhir/" + path.format(id=id_))
        assert asked.status_code == 200
        event = the_one(events)
        assert told(event) == kind
        assert (event.role, list(event.teams)) == ("therapist", ["gavle"])
        assert about is None or list(event.about) == [about.format(id=id_)]
        assert list(event.patients) == [patient_of(store)]


def test_a_search_is_one_event_with_an_entity_per_patient_and_the_query(sluss: Sluss, events: Events) -> None:
    for number in range(3):
        sluss.refer(f"R-{number}", change=_other_patient(number))
    events()
    query = "status=requested&_include=Task:patient&_include=Task:focus"
    found = sluss.acting(GAVLE).search(f"Task?{query}")
    event = the_one(events)
    patients = {f"Patient/{r['id']}" for r in found if r["resourceType"] == "Patient"}
    assert set(event.patients) == patients
    assert len(event.patients) == len(patients) >= 1
    assert event.query == query
    assert list(event.about) == []


def _other_patient(number: int) -> Any:
    return None if number == 0 else lambda order: order.update(note=[{"text": f"nr {number}"}])


@pytest.mark.parametrize("only", ["_summary=count", "_count=0"])
def test_who_is_only_counted_was_found_too(
    sluss: Sluss, referral: Json, store: Store, events: Events, only: str
) -> None:
    answer = sluss.acting(GAVLE).get(f"/fhir/Task?patient.identifier=199002222397&{only}")
    assert content(answer)["total"] == 1
    assert "entry" not in content(answer)
    assert list(the_one(events).patients) == [patient_of(store)]


def _about(identity: str) -> Json:
    sent = plain()
    return {
        **sent,
        "referrer": {**sent["referrer"], "reference": identity[::-1]},
        "patient": {**sent["patient"], "identifier": identity},
    }


@pytest.mark.parametrize("asked", ["_total=accurate&_count=1", "_total=accurate&_count=1&_sort=-_lastUpdated"])
def test_who_is_counted_beyond_the_page_was_found_too_on_each_page(
    sluss: Sluss, store: Store, events: Events, asked: str
) -> None:
    for identity in ("199002222397", "200302022389"):
        answer = sluss.post("/intake/referrals", _about(identity), {"Content-Type": "application/json"})
        assert answer.status_code == 201, answer.text
    everybody = {f"Patient/{id_}" for (id_,) in rows(store, "SELECT DISTINCT patient FROM referral")}
    assert len(everybody) == 2
    events()
    first = sluss.acting(GAVLE).get(f"/fhir/Task?status=requested&{asked}")
    assert (content(first)["total"], len(content(first)["entry"])) == (2, 1)
    assert set(the_one(events).patients) == everybody
    (following,) = [link["url"] for link in content(first)["link"] if link["relation"] == "next"]
    second = sluss.acting(GAVLE).get(following.removeprefix("http://localhost"))
    assert (content(second)["total"], len(content(second)["entry"])) == (2, 1)
    assert set(the_one(events).patients) == everybody


def test_a_search_by_a_form_keeps_what_was_searched_for(sluss: Sluss, referral: Json, events: Events) -> None:
    media = {"Content-Type": "application/x-www-form-urlencoded"}
    assert sluss.call("POST", "/fhir/Patient/_search", "identifier=199002222397", media).status_code == 200
    event = the_one(events)
    assert told(event) == ("search-type", "E", 0)
    assert event.query == "identifier=199002222397"
    assert "199002222397" not in (event.tried or "")


def test_an_update_and_a_patch_are_recorded_by_the_change_itself(
    sluss: Sluss, referral: Json, store: Store, events: Events
) -> None:
    id_ = referral["task"]["id"]
    therapist = sluss.acting(GAVLE)
    assert therapist.put(f"/fhir/Task/{id_}", {**referral["task"], "status": "received"}).status_code == 200
    event = the_one(events)
    assert told(event) == ("update", "U", 0)
    assert (event.about[0], event.versions[0]) == (f"Task/{id_}", 2)
    patch = b'[{"op":"replace","path":"/status","value":"accepted"}]'
    assert therapist.call("PATCH", f"/fhir/Task/{id_}", patch, PATCH).status_code == 200
    event = the_one(events)
    assert told(event) == ("patch", "U", 0)
    assert (event.about[0], event.versions[0]) == (f"Task/{id_}", 3)
    assert any(reference.startswith("CarePlan/") for reference in event.about)
    assert list(event.patients) == [patient_of(store)]


@pytest.mark.parametrize(
    ("caller", "asked", "status"),
    [
        (GAVLE, ("GET", "/fhir/Task/nobody", None), 404),
        (GAVLE, ("GET", "/fhir/Encounter/1", None), 404),
        (GAVLE, ("GET", "/fhir/Task?_sort=owner", None), 400),
        (GAVLE, ("DELETE", "/fhir/Task/{id}", None), 405),
        ("therapist norra-halsingland", ("GET", "/fhir/Task/{id}", None), 404),
        (GAVLE, ("PUT", "/fhir/Task/{id}", {"resourceType": "Task", "id": "{id}", "status": "completed"}), 400),
        ("referrer SE2321000198-EX02", ("POST", "/fhir", bundle("R-2")), 403),
        (REFERRER, ("POST", "/fhir", {"resourceType": "Patient"}), 400),
        (REFERRER, ("GET", "/fhir/AuditEvent", None), 403),
    ],
)
def test_what_is_refused_is_recorded_as_who_tried_what(
    sluss: Sluss, referral: Json, events: Events, *, caller: str, asked: tuple[str, str, Any], status: int
) -> None:
    method, path, body = asked
    address = path.format(id=referral["task"]["id"])
    if isinstance(body, dict) and body.get("id") == "{id}":
        body = {**body, "id": referral["task"]["id"]}
    answer = sluss.acting(caller).call(method, address, body)
    assert answer.status_code == status, answer.text
    event = the_one(events)
    assert (event.outcome, event.status) == (4, status)
    assert event.role == caller.split(maxsplit=1)[0]
    assert event.tried == f"{method} {address.partition('?')[0]}"


def test_whoever_is_not_known_is_recorded_too(another: Any, events: Events) -> None:
    assert another(auth="smart").get("/fhir/Task/7", {"Authorization": "Bearer nothing"}).status_code == 401
    event = the_one(events)
    assert (event.role, event.outcome, event.status, event.tried) == ("unknown", 4, 401, "GET /fhir/Task/7")
    assert list(event.about) == ["Task/7"]


WAKING = "a-secret-of-at-least-32-characters"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/exchange/wake"),
        ("PUT", "/exchange/wake/Task/17"),
        ("GET", "/cds-services"),
        ("GET", "/openapi.json"),
        ("GET", "/fhir/metadata/more"),
        ("GET", "/fhir/.well-known/more"),
        ("GET", "/nowhere"),
        ("POST", "/auth/token/"),
    ],
)
@pytest.mark.parametrize("waking", [None, WAKING])
def test_so_is_whoever_is_not_known_anywhere_else(
    another: Any, events: Events, waking: str | None, method: str, path: str
) -> None:
    sluss = another(auth="smart", fhir_server_url="http://127.0.0.1:9/fhir", wake_token=waking)
    status = sluss.call(method, path, None, {"Authorization": "Bearer nothing"}).status_code
    assert status == (400 if "token" in path else 401)
    event = the_one(events)
    assert (event.role, event.outcome, event.status, event.tried) == ("unknown", 4, status, f"{method} {path}")


def test_a_call_with_a_jwt_of_the_clients_own_is_recorded_as_its_and_one_that_is_refused_as_nobodys(
    another: Any, events: Events
) -> None:
    from tests.web.authenticated import WithToken, register
    from tests.web.test_cds_clients import jwt_for
    from tests.web.test_hooks import SIGN, call, order

    sluss = another(auth="smart")
    register(sluss, "ehr", "referrer")
    jwt = jwt_for(issuer="ehr", jti="call-1")
    assert [WithToken(sluss, jwt).post(SIGN, call(order())).status_code for _ in range(2)] == [200, 401]
    good, refused = events()
    assert (good.client, good.role, good.outcome, list(good.organisations)) == ("ehr", "referrer", 0, [UNIT])
    assert (refused.client, refused.role, refused.outcome, refused.status) == (None, "unknown", 4, 401)
    assert good.tried == refused.tried == f"POST {SIGN}"


def test_what_is_open_to_everybody_is_not_recorded(sluss: Sluss, events: Events) -> None:
    for path in ("/fhir/metadata", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/cds-services"):
        assert sluss.get(path).status_code == 200
    assert events() == []


def test_nor_is_whoever_watches_the_service_and_is_not_known(another: Any, events: Events) -> None:
    sluss = another(auth="smart")
    assert {sluss.get(path).status_code for path in ("/health/ready", "/metrics")} == {401}
    assert {sluss.get(path).status_code for path in ("/fhir/metadata", "/fhir/metadata/", "/health/live")} == {200}
    assert events() == []


def test_a_dry_run_is_recorded_with_the_patient_who_is_not_stored(sluss: Sluss, events: Events) -> None:
    assert sluss.acting(REFERRER).post("/fhir/ServiceRequest/$assess", single()).status_code == 200
    event = the_one(events)
    assert told(event) == ("operation", "E", 0)
    assert list(event.patients) == ["personnummer|199002222397"]


def test_an_extraction_of_what_is_stored_is_recorded_as_about_it(
    sluss: Sluss, referral: Json, store: Store, events: Events
) -> None:
    (stored, *_) = sluss.search("QuestionnaireResponse")
    events()
    reference = f"QuestionnaireResponse/{stored['id']}"
    for caller, outcome in ((GAVLE, 0), ("therapist norra-halsingland", 4)):
        sluss.acting(caller).get(f"/fhir/{reference}/$extract")
        event = the_one(events)
        assert told(event) == ("operation", "E", outcome)
        assert (list(event.about), event.tried) == ([reference], f"GET /fhir/{reference}/$extract")
        assert list(event.patients) == ([patient_of(store)] if outcome == 0 else [])


def test_each_entry_of_a_batch_is_an_event_of_its_own(sluss: Sluss, referral: Json, events: Events) -> None:
    id_ = referral["task"]["id"]
    asked = [("GET", f"Task/{id_}"), ("GET", "Task/nobody"), ("GET", "Task?status=requested"), ("GET", "metadata")]
    entries = [{"request": {"method": method, "url": url}} for method, url in asked]
    answer = sluss.acting(GAVLE).post("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [entry["response"]["status"][:3] for entry in content(answer)["entry"]] == ["200", "404", "200", "200"]
    found = events()
    assert [told(event) for event in found] == [("read", "R", 0), ("read", "R", 4), ("search-type", "E", 0)]
    assert {event.request_id for event in found} == {answer.headers["X-Request-Id"]}


def test_each_entry_of_a_transaction_is_an_event_within_it(sluss: Sluss, referral: Json, events: Events) -> None:
    task = referral["task"]
    entries = [
        {"request": {"method": "PUT", "url": f"Task/{task['id']}"}, "resource": {**task, "status": "received"}},
        {"request": {"method": "GET", "url": f"Task/{task['id']}"}},
    ]
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert sluss.acting(GAVLE).post("/fhir", sent).status_code == 200
    update, read = events()
    assert (told(update), update.about[0], update.versions[0]) == (
        ("update", "U", 0),
        f"Task/{task['id']}",
        2,
    )
    assert (told(read), list(read.about), list(read.versions)) == (("read", "R", 0), [f"Task/{task['id']}"], [2])


def test_a_transaction_that_is_refused_is_one_refusal_and_nothing_else(
    sluss: Sluss, referral: Json, events: Events
) -> None:
    task = referral["task"]
    entries = [
        {"request": {"method": "PUT", "url": f"Task/{task['id']}"}, "resource": {**task, "status": "received"}},
        {"request": {"method": "GET", "url": "Task/nobody"}},
    ]
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert sluss.acting(GAVLE).post("/fhir", sent).status_code == 404
    event = the_one(events)
    assert (event.interaction, event.outcome, event.status) == ("transaction", 4, 404)
    assert event.tried == "POST /fhir: GET /fhir/Task/nobody"


def test_a_subscription_is_recorded_when_it_is_made_read_and_deleted(another: Any, events: Events) -> None:
    from tests.web.test_subscriptions import wanted

    sluss = another(subscription_hosts=("ehr.example",)).acting(REFERRER)
    made = content(sluss.post("/fhir/Subscription", wanted("task-updated")))
    path = f"/fhir/Subscription/{made['id']}"
    assert sluss.get(path).status_code == 200
    assert sluss.call("DELETE", path).status_code == 204
    assert sluss.call("DELETE", path).status_code == 204
    found = events()
    assert [told(event) for event in found] == [("create", "C", 0), ("read", "R", 0), *[("delete", "D", 0)] * 2]
    assert list(found[0].about) == [f"Subscription/{made['id']}"]


def test_what_sluss_does_by_itself_is_recorded_as_its_own(
    sluss: Sluss, referral: Json, house: House, events: Events
) -> None:
    from dataclasses import replace
    from datetime import timedelta

    later = replace(house, clock=lambda: house.clock() + timedelta(days=60))
    run_timers(later, later.now())
    found = events()
    assert found
    assert {(event.role, event.outcome) for event in found} == {("sluss", 0)}
    assert all(event.about and event.patients for event in found)


# ---------------------------------------------------------------- together with the change, or before the answer


def test_a_change_that_is_rolled_back_leaves_nothing(store: Store, events: Events) -> None:
    acting = Acting(Act(Agent("administrator"), "create", "C"))

    def fail() -> None:
        with store.acting_for(acting).change() as change:
            change.write([Write({"resourceType": "Task", "id": "1", "status": "requested", "intent": "order"})])
            with change.done_by(Acting(acting.act)):
                change.write([Write({"resourceType": "Task", "id": "2", "status": "requested", "intent": "order"})])
            change.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert events() == []
    assert not acting.noted


@pytest.fixture
def unwritable(store: Store) -> Any:
    """The record takes nothing for the length of a test."""
    tamper(store, "ALTER TABLE audit_event ADD CONSTRAINT full_up CHECK (id < 0) NOT VALID")
    yield
    tamper(store, "ALTER TABLE audit_event DROP CONSTRAINT full_up")


@pytest.mark.parametrize("path", ["Task/{id}", "Task?status=requested", "Task/_history", "Task/nobody", "AuditEvent"])
def test_what_cannot_be_recorded_is_not_shown(
    sluss: Sluss, referral: Json, unwritable: None, path: str, events: Events
) -> None:
    answer = sluss.get("/fhir/" + path.format(id=referral["task"]["id"]))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert referral["task"]["id"] not in answer.text
    assert events() == []


def test_what_cannot_be_recorded_is_not_done(
    sluss: Sluss, referral: Json, unwritable: None, events: Events, store: Store
) -> None:
    task = referral["task"]
    answer = sluss.acting(GAVLE).put(f"/fhir/Task/{task['id']}", {**task, "status": "received"})
    assert answer.status_code >= 500
    assert sluss.acting(REFERRER).post("/fhir", bundle("R-2")).status_code >= 500
    assert rows(store, "SELECT version FROM resource WHERE id = %s", task["id"]) == [(1,)]
    assert rows(store, "SELECT count(*) FROM referral") == [(1,)]
