"""A Subscription is its client's own, and ends with it."""

from collections.abc import Callable

import pytest

from tests.subscriptions.conftest import Region
from tests.subscriptions.endpoint import Endpoint
from tests.web.authenticated import WithToken, acting_with_token
from tests.web.caller import content
from tests.web.test_subscriptions import wanted


@pytest.fixture
def smart(region_of: Callable[..., Region], endpoint: Endpoint) -> Region:
    return region_of(endpoint.host, auth="smart")


def subscribe(client: WithToken, endpoint: Endpoint) -> str:
    answer = client.post("/fhir/Subscription", wanted("task-updated", endpoint=endpoint.url))
    assert answer.status_code == 201, answer.text
    return str(content(answer)["id"])


def test_it_is_seen_by_the_client_that_has_made_it_and_not_by_another_of_the_team(
    smart: Region, endpoint: Endpoint
) -> None:
    one, other = (acting_with_token(smart.sluss, "therapist") for _ in range(2))
    id_ = subscribe(one, endpoint)
    assert one.get(f"/fhir/Subscription/{id_}").status_code == 200
    assert other.get(f"/fhir/Subscription/{id_}").status_code == 404
    assert acting_with_token(smart.sluss, "administrator").get(f"/fhir/Subscription/{id_}").status_code == 200


def test_nobody_is_told_anything_for_a_client_that_is_disabled(smart: Region, endpoint: Endpoint) -> None:
    client = acting_with_token(smart.sluss, "therapist")
    id_ = subscribe(client, endpoint)
    smart.tell()
    referrer = acting_with_token(smart.sluss, "referrer")
    task = referrer.refer("R-1")["task"]
    smart.tell()
    told = len(endpoint.told)
    assert told == 2, "the handshake, and the new Task"

    store = smart.sluss.app.extensions["sluss"].store
    assert store.clients.disable("therapist-0", smart.clock())
    order = task["focus"]["reference"]
    revoked = referrer.put(f"/fhir/{order}", {**referrer.read(order), "status": "revoked"})
    assert revoked.status_code == 200, revoked.text
    smart.tell(3)
    assert len(endpoint.told) == told
    shown = acting_with_token(smart.sluss, "administrator").read(f"Subscription/{id_}")
    assert (shown["status"], shown["error"]) == ("off", "its client is disabled")
