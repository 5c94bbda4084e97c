"""What is called, and what is not: endpoints are somebody else's word."""

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.exchange.rest_hook import NotTaken, RestHook, Trouble
from service.subscriptions.endpoints import Endpoints
from tests.subscriptions.conftest import Region
from tests.subscriptions.endpoint import CERTIFICATE, Answer, Endpoint, running_endpoint
from tests.web.caller import UNIT

REFERRER = f"referrer {UNIT}"
LOOPBACK = ("127.0.0.0/8", "::1/128")
HEADERS = [("Content-Type", "application/fhir+json")]
EMPTY = (
    b'{"resourceType":"Bundle","type":"history","entry":[{"request":{"method":"GET","url":"a"},'
    b'"response":{"status":"200"}}]}'
)


@pytest.fixture
def hook(endpoint: Endpoint) -> RestHook:
    return RestHook(Endpoints.of([endpoint.host], LOOPBACK), CERTIFICATE)


def post(hook: RestHook, endpoint: Endpoint, seconds: float = 5) -> NotTaken | None:
    return hook.post(endpoint.url, HEADERS, EMPTY, seconds)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_2xx_is_taken(hook: RestHook, endpoint: Endpoint, status: int) -> None:
    endpoint.always = Answer(status)
    assert post(hook, endpoint) is None


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_an_error_is_not_taken(hook: RestHook, endpoint: Endpoint, status: int) -> None:
    endpoint.always = Answer(status)
    assert post(hook, endpoint) == NotTaken(Trouble.REFUSED, status)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(hook: RestHook, endpoint: Endpoint, status: int) -> None:
    with running_endpoint() as elsewhere:
        endpoint.always = Answer(status, {"Location": elsewhere.url})
        assert post(hook, endpoint) == NotTaken(Trouble.REDIRECT, status)
        assert elsewhere.told == []
    assert len(endpoint.told) == 1


def test_an_address_inside_is_not_called_unless_the_settings_name_its_network(endpoint: Endpoint) -> None:
    hook = RestHook(Endpoints.of([endpoint.host], []), CERTIFICATE)
    assert post(hook, endpoint) == NotTaken(Trouble.NOT_ALLOWED)
    assert endpoint.told == []


def test_a_host_that_the_settings_name_no_longer_is_not_called(endpoint: Endpoint) -> None:
    hook = RestHook(Endpoints.of(["elsewhere.example"], LOOPBACK), CERTIFICATE)
    assert post(hook, endpoint) == NotTaken(Trouble.NOT_ALLOWED)
    assert endpoint.told == []


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names mean these addresses, another list each time they are looked up; gives what was looked up."""
    asked: list[str] = []
    left = list(answers)

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("service.exchange.rest_hook.socket.getaddrinfo", look_up)
    return asked


def test_a_name_that_means_an_inner_address_is_not_called(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    resolving(monkeypatch, ["127.0.0.1"])
    hook = RestHook(Endpoints.of([f"ehr.test:{endpoint.port}"], []), CERTIFICATE)
    assert hook.post(f"https://ehr.test:{endpoint.port}/", HEADERS, EMPTY, 5) == NotTaken(Trouble.NOT_ALLOWED)
    assert endpoint.told == []


def test_a_name_with_one_inner_address_among_others_is_not_called(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    resolving(monkeypatch, ["93.184.216.34", "169.254.169.254"])
    hook = RestHook(Endpoints.of([f"ehr.test:{endpoint.port}"], []), CERTIFICATE)
    assert hook.post(f"https://ehr.test:{endpoint.port}/", HEADERS, EMPTY, 5) == NotTaken(Trouble.NOT_ALLOWED)


def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    """A name that is looked up twice may mean an allowed address first and an inner one then."""
    asked = resolving(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    hook = RestHook(Endpoints.of([f"ehr.test:{endpoint.port}"], LOOPBACK), CERTIFICATE)
    assert hook.post(f"https://ehr.test:{endpoint.port}/", HEADERS, EMPTY, 5) is None
    assert asked == ["ehr.test"]
    assert endpoint.told[0].headers["host"] == f"ehr.test:{endpoint.port}"


def test_a_certificate_of_another_name_is_not_trusted(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    resolving(monkeypatch, ["127.0.0.1"])
    hook = RestHook(Endpoints.of([f"ehr.example:{endpoint.port}"], LOOPBACK), CERTIFICATE)
    assert hook.post(f"https://ehr.example:{endpoint.port}/", HEADERS, EMPTY, 5) == NotTaken(Trouble.CERTIFICATE)
    assert endpoint.told == []


def test_a_certificate_that_nobody_has_signed_is_not_trusted(hook: RestHook, endpoint: Endpoint) -> None:
    assert post(replace(hook, certificates=None), endpoint) == NotTaken(Trouble.CERTIFICATE)
    assert endpoint.told == []


def test_a_proxy_of_the_environment_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, hook: RestHook, endpoint: Endpoint
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert post(hook, endpoint) is None


def test_a_slow_answer_is_waited_for_until_its_time_is_up(hook: RestHook, endpoint: Endpoint) -> None:
    endpoint.always = Answer(after=3)
    began = time.monotonic()
    assert post(hook, endpoint, 0.5) == NotTaken(Trouble.TIMEOUT)
    assert time.monotonic() - began < 2


def test_an_answer_that_comes_a_byte_at_a_time_has_no_longer(hook: RestHook, endpoint: Endpoint) -> None:
    endpoint.always = Answer(drips=True)
    began = time.monotonic()
    assert post(hook, endpoint, 0.7) == NotTaken(Trouble.TIMEOUT)
    assert time.monotonic() - began < 3


def test_a_long_answer_is_not_read(hook: RestHook, endpoint: Endpoint) -> None:
    endpoint.always = Answer(body=200_000_000)
    began = time.monotonic()
    assert post(hook, endpoint) is None
    assert time.monotonic() - began < 2


def test_who_does_not_speak_tls_is_unreachable_and_one_that_says_nothing_is_late(hook: RestHook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        listening = replace(hook, endpoints=Endpoints.of([f"localhost:{port}"], LOOPBACK))
        assert listening.post(f"https://localhost:{port}/", HEADERS, EMPTY, 0.5) == NotTaken(Trouble.TIMEOUT)
    assert listening.post(f"https://localhost:{port}/", HEADERS, EMPTY, 0.5) == NotTaken(Trouble.UNREACHABLE)


def test_a_subscription_whose_endpoint_may_not_be_called_is_in_error_and_says_so(
    region_of: Callable[..., Region], endpoint: Endpoint
) -> None:
    region = region_of(endpoint.host, subscription_networks=())
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    region.tell()
    shown = region.read(id_)
    assert (shown["status"], shown["error"]) == ("error", "the handshake failed: its address may not be called")
    assert endpoint.told == []
