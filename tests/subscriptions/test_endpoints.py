"""Which URLs and addresses an endpoint may have."""

import pytest

from service.subscriptions.endpoints import Endpoints, Target

HOSTS = Endpoints.of(["Ehr.example", "ehr.example:8443", "[2001:db8::1]:443", "192.0.2.1"], ["10.20.0.0/16"])


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://ehr.example", Target("ehr.example", 443, "/")),
        ("https://EHR.example:443/a/b?c=d", Target("ehr.example", 443, "/a/b?c=d")),
        ("https://ehr.example:8443?x=1", Target("ehr.example", 8443, "/?x=1")),
        ("https://[2001:db8::1]/", Target("2001:db8::1", 443, "/")),
        ("https://192.0.2.1/%C3%A5", Target("192.0.2.1", 443, "/%C3%A5")),
    ],
)
def test_a_named_host_is_a_target(url: str, target: Target) -> None:
    assert HOSTS.target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "http://ehr.example/",
        "HTTPS://ehr.example/",
        "https://ehr.example:80/",
        "https://ehr.example:99999/",
        "https://ehr.example:/",
        "https://ehr.example./",
        "https://ehr.example.evil.example/",
        "https://evil.example/ehr.example",
        "https://ehr.example@evil.example/",
        "https://user:secret@ehr.example/",
        "https://ehr.example#@evil.example/",
        "https://ehr.example\\.evil.example/",
        "https://ehr.example/\r\nHost: evil.example",
        "https://ehr.example/ x",
        "https://ehr.example/å",
        "https:///ehr.example/",
        "//ehr.example/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://localhost/",
        "",
        "https://ehr.example/" + "a" * 2000,
    ],
)
def test_any_other_url_is_none(url: str) -> None:
    assert isinstance(HOSTS.target(url), str)


@pytest.mark.parametrize("address", ["93.184.216.34", "2a00:1450:4001::1", "::ffff:93.184.216.34", "10.20.3.4"])
def test_an_address_of_the_internet_or_of_a_named_network_may_be_called(address: str) -> None:
    assert HOSTS.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 - not bound to
        "10.21.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.21.0.1",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_an_inner_address_may_not_be_called_in_whatever_form(address: str) -> None:
    assert not HOSTS.allows(address)
