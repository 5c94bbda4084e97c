"""A subscriber is told of what it may see, and of nothing else."""

from collections.abc import Callable

import pytest

from fhir_mappings.records import Json
from tests.subscriptions.conftest import Region
from tests.subscriptions.endpoint import Endpoint
from tests.web.caller import S, content, plain, single

HSA = "urn:oid:1.2.752.29.4.19"
NEAR, FAR, BY_MESSAGE = "SE2321000198-EX01", "SE2321000198-EX04", "SE2321000198-EX02"
"""Units of Gävle and of northern Hälsingland, and one that our messages are passed on to by a person."""
GAVLE, NORTH = "therapist gavle", "therapist norra-halsingland"


@pytest.fixture
def referred(region: Region) -> Callable[[str, str], Json]:
    """A unit refers a patient; gives the ServiceRequest, its Task and the messages about it."""

    def refer(unit: str, number: str) -> Json:
        requester = {"type": "Organization", "identifier": {"system": HSA, "value": unit}}
        answer = region.sluss.post("/fhir/ServiceRequest", single(number, requester=requester))
        assert answer.status_code == 201, answer.text
        return about(region, content(answer))

    return refer


def about(region: Region, order: Json) -> Json:
    name = f"ServiceRequest/{order['id']}"
    (task,) = region.sluss.search(f"Task?focus={name}")
    return {
        "order": name,
        "task": f"Task/{task['id']}",
        "messages": {f"Communication/{one['id']}" for one in region.sluss.search(f"Communication?based-on={name}")},
    }


def told(endpoint: Endpoint, path: str) -> set[str]:
    """What the requests to a path were about."""
    focuses = [focus for one in endpoint.told if one.path == path for _, focus in one.events]
    return {focus.removeprefix("http://localhost/fhir/") for focus in focuses if focus}


SEES: dict[str, set[str]] = {
    GAVLE: {"near"},
    NORTH: {"far"},
    f"referrer {NEAR}": {"near"},
    f"referrer {FAR}": {"far"},
    "referrer SE2321000198-EX06": set(),
    "administrator": {"near", "far"},
}


@pytest.mark.parametrize("caller", SEES)
def test_each_is_told_of_its_own_referrals_tasks_and_replies(
    region: Region, endpoint: Endpoint, referred: Callable[[str, str], Json], caller: str
) -> None:
    for topic in ("referral-received", "task-updated", "reply-sent"):
        region.subscribe(
            endpoint, caller, topic, *(["code=fulfill"] if topic == "task-updated" else []), path=f"/{topic}"
        )
    region.tell()
    happened = {"near": referred(NEAR, "R-1"), "far": referred(FAR, "R-2")}
    assert all(one["messages"] for one in happened.values())
    region.tell()
    seen = [happened[which] for which in SEES[caller]]
    assert told(endpoint, "/referral-received") == {one["order"] for one in seen}
    assert told(endpoint, "/task-updated") == {one["task"] for one in seen}
    assert told(endpoint, "/reply-sent") == {message for one in seen for message in one["messages"]}


def test_a_platform_is_told_of_every_organisations_replies_or_of_those_it_asks_for(
    region: Region, endpoint: Endpoint, referred: Callable[[str, str], Json]
) -> None:
    region.subscribe(endpoint, "platform", "reply-sent", path="/all")
    region.subscribe(endpoint, "platform", "reply-sent", f"recipient:identifier={HSA}|{FAR}", path="/far")
    region.subscribe(endpoint, "platform", "reply-sent", f"category={S}/CodeSystem/ikbt-message|started", path="/none")
    region.tell()
    near, far = referred(NEAR, "R-1"), referred(FAR, "R-2")
    region.tell()
    assert told(endpoint, "/all") == near["messages"] | far["messages"]
    assert told(endpoint, "/far") == far["messages"]
    assert told(endpoint, "/none") == set()


def test_a_filter_never_shows_more_than_the_subscriber_may_see(
    region: Region, endpoint: Endpoint, referred: Callable[[str, str], Json]
) -> None:
    region.subscribe(endpoint, NORTH, "task-updated", "owner=HealthcareService/gavle", path="/a")
    region.subscribe(endpoint, f"referrer {FAR}", "reply-sent", f"recipient:identifier={HSA}|{NEAR}", path="/b")
    region.subscribe(endpoint, f"referrer {FAR}", "referral-received", f"requester:identifier={NEAR}", path="/c")
    region.tell()
    referred(NEAR, "R-1")
    region.tell(2)
    assert {one.type for one in endpoint.told} == {"handshake"}


def test_a_team_hears_that_a_task_was_taken_from_it_and_nothing_after_that(region: Region, endpoint: Endpoint) -> None:
    for caller, path in ((GAVLE, "/old"), (NORTH, "/new")):
        region.subscribe(endpoint, caller, "task-updated", "code=fulfill", path=path)
    region.tell()
    task = f"Task/{region.sluss.refer()['task']['id']}"

    def change(caller: str, **changes: object) -> None:
        now = region.sluss.read(task)
        answer = region.sluss.acting(caller).put(f"/fhir/{task}", {**now, **changes})
        assert answer.status_code == 200, answer.text
        region.tell()

    def heard(path: str) -> int:
        return sum(len(one.events) for one in endpoint.told if one.path == path)

    region.tell()
    assert (heard("/old"), heard("/new")) == (1, 0)
    change(GAVLE, owner={"reference": "HealthcareService/norra-halsingland"})
    assert (heard("/old"), heard("/new")) == (2, 1)
    change(NORTH, status="accepted")
    assert (heard("/old"), heard("/new")) == (2, 2)


def test_a_therapist_who_claims_a_task_still_has_it_for_the_team(region: Region, endpoint: Endpoint) -> None:
    role = region.notifier.house.pack.teams["gavle"].roles[0]
    region.subscribe(endpoint, GAVLE, "task-updated", "code=fulfill")
    region.tell()
    task = f"Task/{region.sluss.refer()['task']['id']}"
    now = region.sluss.read(task)
    claimed = {**now, "owner": {"reference": f"PractitionerRole/{role}"}}
    assert region.sluss.acting(GAVLE).put(f"/fhir/{task}", claimed).status_code == 200
    claimed = {**region.sluss.read(task), "status": "accepted"}
    assert region.sluss.acting(GAVLE).put(f"/fhir/{task}", claimed).status_code == 200
    region.tell()
    assert [number for number, _ in endpoint.events] == [1, 2, 3]


def test_a_referrer_is_not_told_of_what_a_team_gives_itself_to_do(region: Region, endpoint: Endpoint) -> None:
    region.subscribe(endpoint, f"referrer {NEAR}", "task-updated", path="/referrer")
    region.subscribe(endpoint, GAVLE, "task-updated", path="/team")
    region.tell()
    task = f"Task/{region.sluss.refer()['task']['id']}"
    now = region.sluss.read(task)
    assert region.sluss.acting(GAVLE).put(f"/fhir/{task}", {**now, "status": "accepted"}).status_code == 200
    region.tell()
    assert told(endpoint, "/referrer") == {task}
    assert told(endpoint, "/team") > {task}


def test_a_reply_that_a_person_passes_on_is_sent_when_that_is_done(region: Region, endpoint: Endpoint) -> None:
    region.subscribe(endpoint, "platform", "reply-sent")
    region.tell()
    body = plain(referrer={"unit": BY_MESSAGE, "name": "Sätra", "reference": "P-1"})
    received = content(region.sluss.post("/intake/referrals", body, {"Content-Type": "application/json"}))
    region.tell()
    assert endpoint.events == []
    (message,) = region.sluss.search(f"Communication?based-on={received['service_request']}")
    (relay,) = region.sluss.search(f"Task?focus=Communication/{message['id']}")
    done = {**relay, "status": "completed"}
    assert region.sluss.acting(GAVLE).put(f"/fhir/Task/{relay['id']}", done).status_code == 200
    region.tell()
    assert endpoint.events == [(1, f"http://localhost/fhir/Communication/{message['id']}")]


def test_what_a_referrer_writes_is_no_reply(
    region: Region, endpoint: Endpoint, referred: Callable[[str, str], Json]
) -> None:
    region.subscribe(endpoint, "administrator", "reply-sent")
    region.tell()
    order = referred(NEAR, "R-1")
    region.tell()
    known = len(endpoint.events)
    sent = {
        "resourceType": "Communication",
        "status": "completed",
        "basedOn": [{"reference": order["order"]}],
        "category": [{"coding": [{"system": f"{S}/CodeSystem/ikbt-message", "code": "information"}]}],
        "payload": [{"contentString": "Nås bäst efter 15"}],
    }
    answer = region.sluss.acting(f"referrer {NEAR}").post("/fhir/Communication", sent)
    assert answer.status_code == 201, answer.text
    region.tell()
    assert len(endpoint.events) == known
