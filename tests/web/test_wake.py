"""The external server says that something has changed there: the collector runs soon, and nothing else happens."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fhir_mappings.records import Json
from service.store.database import Store
from service.web.requests_in import MOST_BYTES
from tests.web.caller import Sluss, single

SECRET = "a-secret-of-at-least-32-characters"
KNOWN = {"Authorization": f"Bearer {SECRET}"}
Rows = Callable[[], dict[str, int]]


@pytest.fixture
def sluss(another: Callable[..., Sluss]) -> Sluss:
    """With an external server, and a secret that it shares."""
    return another(fhir_server_url="http://127.0.0.1:9/fhir", wake_token=SECRET)


def _looks(store: Store) -> list[Json]:
    """The jobs that look at the external server."""
    with psycopg.connect(store.url) as connection:
        rows = connection.execute(
            "SELECT priority, status::text, lock, queueing_lock FROM procrastinate_jobs WHERE task_name = 'collect'"
        )
        return [
            {"priority": priority, "status": status, "locks": {lock, queueing_lock}}
            for priority, status, lock, queueing_lock in rows
        ]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/exchange/wake", "/exchange/wake/", "/exchange/wake/Task/17"])
def test_who_knows_the_secret_has_the_collector_look_soon(sluss: Sluss, store: Store, method: str, path: str) -> None:
    answer = sluss.call(method, path, None, KNOWN)
    assert (answer.status_code, answer.get_data()) == (204, b"")
    (look,) = _looks(store)
    assert look["status"] == "todo"
    assert look["locks"] == {"collect"}
    assert look["priority"] == 1, "a backlog of deliveries does not hold it up"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b"", "application/fhir+json"),
        (b"<Task xmlns='http://hl7.org/fhir'/>", "application/fhir+xml"),
        (b"\xff\x00{", "application/octet-stream"),
        (b'{"resourceType": "Bundle", "type": "transaction"}', "application/json"),
    ],
)
def test_whatever_is_sent_with_it_is_neither_read_nor_kept(
    sluss: Sluss, rows: Rows, body: bytes, content_type: str | None
) -> None:
    sluss.get("/fhir/metadata")
    before = rows()
    headers = KNOWN | ({"Content-Type": content_type} if content_type else {})
    assert sluss.app.test_client().post("/exchange/wake", data=body, headers=headers).status_code == 204
    changed = {name for name, count in rows().items() if count != before[name]}
    assert changed <= {"procrastinate_jobs", "procrastinate_events"}


def test_a_referral_that_is_sent_there_by_mistake_is_not_taken_in(sluss: Sluss) -> None:
    assert sluss.post("/exchange/wake/ServiceRequest/1", single(), KNOWN).status_code == 204
    assert sluss.search("ServiceRequest") == []


def test_many_hints_are_one_look(sluss: Sluss, store: Store) -> None:
    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(lambda _: sluss.post("/exchange/wake", None, KNOWN).status_code, range(60)))
    assert answers == [204] * 60
    assert len(_looks(store)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {SECRET[:-1]}"},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"bearer {SECRET.upper()}"},
        {"Authorization": SECRET},
        {"Authorization": "Bearer åäö"},
        {"Sluss-Caller": "administrator"},
    ],
)
def test_who_does_not_know_the_secret_is_turned_away_and_told_nothing(
    sluss: Sluss, store: Store, headers: dict[str, str]
) -> None:
    answer = sluss.post("/exchange/wake", b'{"item": "hej"}', headers)
    assert (answer.status_code, answer.get_data(), answer.headers["WWW-Authenticate"]) == (401, b"", "Bearer")
    assert _looks(store) == []


@pytest.mark.parametrize("settings", [{"wake_token": None}, {"fhir_server_url": None}])
def test_there_is_nothing_to_wake_without_a_secret_or_without_a_server(
    another: Callable[..., Sluss], store: Store, settings: Json
) -> None:
    sluss = another(**({"fhir_server_url": "http://127.0.0.1:9/fhir", "wake_token": SECRET} | settings))
    assert sluss.post("/exchange/wake", None, KNOWN).status_code == 404
    assert sluss.post("/exchange/wake", None, {"Authorization": "Bearer None"}).status_code == 404
    assert _looks(store) == []


def test_it_is_for_hints_only(sluss: Sluss) -> None:
    for method in ("GET", "DELETE", "PATCH"):
        assert sluss.call(method, "/exchange/wake", None, KNOWN).status_code == 405


def test_a_large_body_is_refused_unread(sluss: Sluss, store: Store) -> None:
    assert sluss.post("/exchange/wake", b" " * (MOST_BYTES + 1), KNOWN).status_code == 413
    assert _looks(store) == []


def test_the_secret_and_what_was_named_stay_out_of_metrics(sluss: Sluss) -> None:
    sluss.post("/exchange/wake/Patient/199002222397", None, KNOWN)
    text = sluss.get("/metrics").text
    assert "/exchange/wake" in text
    assert SECRET not in text
    assert "199002222397" not in text
