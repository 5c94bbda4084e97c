"""Settings of who may call: checked at start, bad ones named, secrets never repeated."""

from pathlib import Path

import pytest

from service.settings import BadSettings, Settings

SECRET = "a-secret-of-at-least-32-characters"
IDP = {
    "SLUSS_IDP_ISSUER": "https://idp.example",
    "SLUSS_IDP_JWKS": "https://idp.example/keys",
    "SLUSS_IDP_AUDIENCE": "sluss",
}
PROXIES = {"SLUSS_TRUSTED_PROXIES": "10.1.2.0/24, fd00::/8"}


def problems(**given: str) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        Settings.from_env(given)
    return refused.value.problems


def test_nobody_is_let_in_by_default() -> None:
    settings = Settings.from_env({})
    assert settings.auth == "smart"
    assert settings.idp_issuer is None
    assert settings.trusted_proxies == ()
    assert settings.client_subject_header is None
    assert settings.metrics_token is None


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            **IDP,
            **PROXIES,
            "SLUSS_IDP_USER_CLAIM": "hsaId",
            "SLUSS_IDP_UNIT_CLAIM": "commissionHsaId",
            "SLUSS_IDP_ACR": "http://id.sambi.se/loa/loa3, urn:loa4",
            "SLUSS_CLIENT_SUBJECT_HEADER": "X-Client-Subject",
            "SLUSS_METRICS_TOKEN": SECRET,
            "SLUSS_KEYS_CA": __file__,
        }
    )
    assert settings == Settings(
        auth="smart",
        idp_issuer="https://idp.example",
        idp_jwks="https://idp.example/keys",
        idp_audience="sluss",
        idp_user_claim="hsaId",
        idp_unit_claim="commissionHsaId",
        idp_levels=("http://id.sambi.se/loa/loa3", "urn:loa4"),
        trusted_proxies=("10.1.2.0/24", "fd00::/8"),
        client_subject_header="X-Client-Subject",
        metrics_token=SECRET,
        keys_ca=Path(__file__),
    )
    assert SECRET not in repr(settings)


def test_keys_may_be_a_file() -> None:
    assert Settings.from_env({**IDP, "SLUSS_IDP_JWKS": __file__}).idp_jwks == __file__


@pytest.mark.parametrize("value", ["http://idp.example/keys", "/no/such/file", "https://", "https://u:p@idp.example/k"])
def test_the_keys_of_an_identity_provider_come_over_https_or_from_a_file(value: str) -> None:
    (problem,) = problems(**{**IDP, "SLUSS_IDP_JWKS": value})
    assert problem.startswith("SLUSS_IDP_JWKS takes")


@pytest.mark.parametrize("left_out", list(IDP))
def test_an_identity_provider_is_set_whole_or_not_at_all(left_out: str) -> None:
    (problem,) = problems(**{name: value for name, value in IDP.items() if name != left_out})
    assert "the other two" in problem


@pytest.mark.parametrize(
    "given",
    [
        {"SLUSS_CLIENT_SUBJECT_HEADER": "X-Client-Subject"},
        {**PROXIES, "SLUSS_CLIENT_SUBJECT_HEADER": "X Client"},
        {**PROXIES, "SLUSS_CLIENT_SUBJECT_HEADER": "X-Client:"},
    ],
)
def test_a_header_with_subjects_needs_a_name_and_a_proxy_that_is_trusted(given: dict[str, str]) -> None:
    (problem,) = problems(**given)
    assert problem.startswith("SLUSS_CLIENT_SUBJECT_HEADER takes")


@pytest.mark.parametrize("value", ["x", "10.1.2.3/24", "10.0.0.0/8;11.0.0.0/8"])
def test_trusted_proxies_are_networks(value: str) -> None:
    assert problems(SLUSS_TRUSTED_PROXIES=value)[0].startswith("SLUSS_TRUSTED_PROXIES takes")


def test_a_secret_that_is_guessed_is_refused_and_never_repeated() -> None:
    (problem,) = problems(SLUSS_METRICS_TOKEN=SECRET[:31])
    assert problem.startswith("SLUSS_METRICS_TOKEN takes 32 to 200")
    assert SECRET[:31] not in problem


def test_certificates_are_a_file() -> None:
    assert problems(SLUSS_KEYS_CA="/no/such/file") == ["SLUSS_KEYS_CA takes the path of a file of certificates (PEM)"]
