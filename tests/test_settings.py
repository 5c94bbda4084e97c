"""Settings: read from the environment, all checked at once, bad ones named with what they take (contract 1)."""

from dataclasses import fields
from pathlib import Path

import pytest

from service.secret_files import SECRETS
from service.settings import BadSettings, Settings

SECRET = "a-secret-of-at-least-32-characters"


def test_without_any_variable_everything_has_its_default() -> None:
    settings = Settings.from_env({})
    assert settings == Settings(auth="smart")
    assert settings.database_url is None
    assert settings.data_dir == Path("var")
    assert settings.pack == "gavleborg"
    assert settings.fhir_server_url is None
    assert settings.canonical_base == "https://sluss.example/fhir"
    assert settings.public_url is None
    assert settings.auth == "smart"


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "SLUSS_DATABASE_URL": "postgresql://sluss@db:5432/sluss",
            "SLUSS_DATA_DIR": "/srv/sluss",
            "SLUSS_PACK": "praktikertjanst",
            "SLUSS_FHIR_SERVER_URL": "https://fhir.example/r4/",
            "SLUSS_CANONICAL_BASE": "https://region.example/ikbt/",
            "SLUSS_PUBLIC_URL": "https://remiss.example/",
            "SLUSS_AUTH": "off",
            "SLUSS_LOG_LEVEL": "DEBUG",
            "SLUSS_COLLECT_SECONDS": "60",
            "SLUSS_WAKE_TOKEN": SECRET,
            "SLUSS_SUBSCRIPTION_HOSTS": "ehr.example, ehr.example:8443,[2001:db8::1]:443",
            "SLUSS_SUBSCRIPTION_NETWORKS": "10.20.0.0/16,fd00::/8",
            "SLUSS_SUBSCRIPTION_CA": __file__,
        }
    )
    assert settings == Settings(
        database_url="postgresql://sluss@db:5432/sluss",
        data_dir=Path("/srv/sluss"),
        pack="praktikertjanst",
        fhir_server_url="https://fhir.example/r4",
        canonical_base="https://region.example/ikbt",
        public_url="https://remiss.example",
        log_level="debug",
        collect_seconds=60,
        wake_token=SECRET,
        subscription_hosts=("ehr.example", "ehr.example:8443", "[2001:db8::1]:443"),
        subscription_networks=("10.20.0.0/16", "fd00::/8"),
        subscription_ca=Path(__file__),
    )


@pytest.mark.parametrize(
    "name",
    [
        "SLUSS_DATABASE_URL",
        "SLUSS_DATA_DIR",
        "SLUSS_PACK",
        "SLUSS_FHIR_SERVER_URL",
        "SLUSS_CANONICAL_BASE",
        "SLUSS_PUBLIC_URL",
        "SLUSS_AUTH",
        "SLUSS_LOG_LEVEL",
        "SLUSS_COLLECT_SECONDS",
        "SLUSS_WAKE_TOKEN",
        "SLUSS_SUBSCRIPTION_HOSTS",
        "SLUSS_SUBSCRIPTION_NETWORKS",
        "SLUSS_SUBSCRIPTION_CA",
    ],
)
def test_an_empty_variable_is_as_if_it_were_not_there(name: str) -> None:
    assert Settings.from_env({name: ""}) == Settings(auth="smart")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_postgresql_url_is_taken_in_each_of_its_spellings(scheme: str) -> None:
    assert Settings.from_env({"SLUSS_DATABASE_URL": f"{scheme}://u@h/d"}).database_url == f"{scheme}://u@h/d"


@pytest.mark.parametrize(
    "value", ["sqlite:///x.db", "mysql://secret@h/d", "host=h dbname=d", "//h/d", "postgresql://[::1/d"]
)
def test_another_database_is_refused_without_repeating_what_may_hold_a_password(value: str) -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({"SLUSS_DATABASE_URL": value})
    (problem,) = refused.value.problems
    assert problem.startswith("SLUSS_DATABASE_URL takes a PostgreSQL URL: postgresql://")
    assert value not in problem


@pytest.mark.parametrize("name", ["SLUSS_FHIR_SERVER_URL", "SLUSS_CANONICAL_BASE", "SLUSS_PUBLIC_URL"])
@pytest.mark.parametrize(
    "value", ["fhir.example", "ftp://h/x", "http://", "https://h/x?y=1", "https://h/#x", "http://h:port", "http://[::1"]
)
def test_an_address_must_be_an_absolute_web_address(name: str, value: str) -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({name: value})
    assert refused.value.problems == [f"{name} takes an absolute http or https URL without query"]


@pytest.mark.parametrize("value", ["on", "none", "OFF", "SMART"])
def test_authentication_is_smart_or_off(value: str) -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({"SLUSS_AUTH": value})
    assert refused.value.problems[0].startswith("SLUSS_AUTH takes: smart, off")


@pytest.mark.parametrize("value", ["short", SECRET[:31], f"{SECRET} and a space", f"{SECRET}\r\nX: y", "å" * 40])
def test_a_secret_that_is_guessed_or_fits_no_header_is_refused_and_never_repeated(value: str) -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({"SLUSS_WAKE_TOKEN": value})
    (problem,) = refused.value.problems
    assert problem.startswith("SLUSS_WAKE_TOKEN takes 32 to 200")
    assert value not in problem
    assert SECRET not in repr(Settings(wake_token=SECRET))


@pytest.mark.parametrize("value", ["0", "61", "-5", "1.5", "٣"])
def test_the_external_server_is_asked_every_one_to_sixty_seconds(value: str) -> None:
    with pytest.raises(BadSettings, match="1 to 60"):
        Settings.from_env({"SLUSS_COLLECT_SECONDS": value})


def test_all_bad_settings_are_told_at_once_each_with_its_name_and_what_it_takes() -> None:
    bad = {
        "SLUSS_DATABASE_URL": "sqlite://",
        "SLUSS_FHIR_SERVER_URL": "x",
        "SLUSS_CANONICAL_BASE": "x",
        "SLUSS_PUBLIC_URL": "x",
        "SLUSS_AUTH": "x",
        "SLUSS_LOG_LEVEL": "x",
        "SLUSS_COLLECT_SECONDS": "x",
        "SLUSS_WAKE_TOKEN": "x",
        "SLUSS_SUBSCRIPTION_HOSTS": "https://x.example",
        "SLUSS_SUBSCRIPTION_NETWORKS": "x",
        "SLUSS_SUBSCRIPTION_CA": "x",
    }
    with pytest.raises(BadSettings) as refused:
        Settings.from_env(bad)
    assert [problem.split(" takes")[0] for problem in refused.value.problems] == list(bad)
    assert str(refused.value).count("\n") == len(bad) - 1


def test_settings_are_read_from_the_process_when_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUSS_PACK", "praktikertjanst")
    assert Settings.from_env().pack == "praktikertjanst"


@pytest.mark.parametrize(("value", "read"), [("0", 0), ("300", 300), ("6000", 6000), ("", 6000)])
def test_how_often_one_client_may_ask_is_a_number_or_no_limit(value: str, read: int) -> None:
    assert Settings.from_env({"SLUSS_REQUESTS_PER_MINUTE": value}).requests_per_minute == read


@pytest.mark.parametrize("value", ["299", "1", "-1", "many", "1e9", "99999999", "٣٣٣٣"])
def test_a_limit_below_the_largest_bundle_is_refused(value: str) -> None:
    with pytest.raises(BadSettings, match="SLUSS_REQUESTS_PER_MINUTE takes"):
        Settings.from_env({"SLUSS_REQUESTS_PER_MINUTE": value})


@pytest.mark.parametrize("value", ["0", "101", "x", "-8"])
def test_requests_at_work_at_once_are_one_to_a_hundred(value: str) -> None:
    assert Settings.from_env({"SLUSS_THREADS": "16"}).threads == 16
    with pytest.raises(BadSettings, match="SLUSS_THREADS takes"):
        Settings.from_env({"SLUSS_THREADS": value})


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("SLUSS_DATABASE_URL", "postgresql://sluss:secret@db/sluss", "database_url"),
        ("SLUSS_WAKE_TOKEN", SECRET, "wake_token"),
        ("SLUSS_METRICS_TOKEN", SECRET, "metrics_token"),
    ],
)
def test_a_secret_may_stand_in_a_file(tmp_path: Path, name: str, value: str, field: str) -> None:
    kept = tmp_path / "secret"
    kept.write_text(f"{value}\n")
    assert getattr(Settings.from_env({f"{name}_FILE": str(kept)}), field) == value
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({f"{name}_FILE": str(kept), name: value})
    assert refused.value.problems == [f"set {name} or {name}_FILE, not both"]
    with pytest.raises(BadSettings) as refused:
        Settings.from_env({f"{name}_FILE": str(tmp_path / "none")})
    assert refused.value.problems == [f"{name}_FILE takes the path of a file that can be read"]


def test_every_secret_of_the_settings_may_stand_in_a_file() -> None:
    hidden = {f"SLUSS_{field.name.upper()}" for field in fields(Settings) if not field.repr}
    assert hidden == set(SECRETS)
