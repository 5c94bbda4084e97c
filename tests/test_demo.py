"""The demonstration, as a process of its own, and the parts of it that decide something."""

import io
import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from fhir_mappings.records import Json
from fhir_mappings.strict_json import parse
from fhir_mappings.terminology import Canonical
from service.demo.checks import Checks
from service.demo.holdings import External, Holding
from service.demo.people import Unexpected
from service.demo.samples import IDENTITIES, Waiting, sample_of
from service.demo.servers import _undisturbed
from service.packs.cases import FIXTURES, Case, read_cases

PROJECT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "service.cli", "demo"]
CANONICAL = Canonical("https://sluss.example/fhir")


def case(name: str) -> Case:
    cases, _ = read_cases(FIXTURES)
    return next(case for case in cases if case.name == name)


def environment(folder: Path) -> dict[str, str]:
    """Temporary folders below `folder`, so that what is left behind is seen."""
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "132"}


def left_behind(folder: Path) -> list[str]:
    """What still lies in the folder, and the processes that run in it."""
    files = [path.name for path in folder.glob("sluss-demo-*")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in process.read_bytes():
                files.append(f"process {process.parent.name}")
        except OSError:
            continue
    return files


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `sluss demo --once` prints; it must end well, soon, and leave nothing."""
    folder = tmp_path_factory.mktemp("demo")
    ended = subprocess.run(
        [*COMMAND, "--once"],
        cwd=PROJECT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert left_behind(folder) == []
    return ended.stdout


def test_every_check_of_the_demonstration_holds(shown: str) -> None:
    assert "MISSLYCKAD" not in shown
    assert "kontroller gick igenom" in shown


@pytest.mark.parametrize("programme", ["Stress och utmattning", "Sömn", "Ångest", "Oro", "Depression", "Självkänsla"])
def test_every_programme_is_shown(shown: str, programme: str) -> None:
    assert f"program {programme} " in shown


@pytest.mark.parametrize(
    "way",
    [
        "POST /fhir)",
        "POST /fhir/ServiceRequest",
        "meddelande ur journalsystemet, JSON",
        "brev på papper, JSON",
        "telefonsamtal, JSON",
    ],
)
def test_every_way_in_is_shown(shown: str, way: str) -> None:
    assert way in shown


@pytest.mark.parametrize(
    "what",
    [
        "requested → received → accepted → in-progress → completed",
        "Samordning IKBT → Internetbehandlare Gävle",
        "final-reply SSV",
        "discontinued AVB",
        "withdrawal-confirmed",
        "larm: suicidrisk",
        "safety-follow-up completed",
        "relay-message completed",
        "rutinen R14: ”För depression gäller att",
        "degraded: down since",
        "alla lika",
    ],
)
def test_the_account_tells_the_way_of_each_referral(shown: str, what: str) -> None:
    assert what in shown


def test_whoever_stops_the_demonstration_early_finds_nothing_left(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, cwd=PROJECT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "Webbtjänsten och arbetaren startar" in line:
                break
        running.send_signal(signal.SIGTERM)
        rest = running.stdout.read()
        assert running.wait(60) == 130, rest
    until = time.monotonic() + 10
    while left_behind(tmp_path) and time.monotonic() < until:
        time.sleep(0.2)
    assert left_behind(tmp_path) == []


def test_who_stops_while_a_process_starts_is_heeded_when_that_process_is_known() -> None:
    known = []

    def start() -> None:
        with _undisturbed():
            signal.raise_signal(signal.SIGINT)
            known.append("process")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert known == ["process"]


def test_a_sample_is_sent_byte_by_byte_on_its_own_day() -> None:
    sample = sample_of(case("depression-all-well"))
    assert sample is not None
    assert Waiting().prepare(sample, sample.case.today) == (sample.case.body, sample.identity)


def test_a_sample_is_sent_later_with_its_dates_moved_and_the_birth_where_it_was() -> None:
    sample = sample_of(case("depression-all-well"))
    assert sample is not None
    body, identity = Waiting().prepare(sample, sample.case.today + timedelta(days=10))
    assert identity == sample.identity
    moved = parse(body)
    assert isinstance(moved, dict)
    before, after = _of(sample.content, "ServiceRequest"), _of(moved, "ServiceRequest")
    assert before["authoredOn"].startswith("2026-11-20T10:14:32.125")
    assert after["authoredOn"] == before["authoredOn"].replace("2026-11-20", "2026-11-30")
    assert _of(moved, "Patient")["birthDate"] == _of(sample.content, "Patient")["birthDate"]
    assert b"4.10" in body


def test_a_patient_who_still_waits_is_not_referred_again_by_mistake() -> None:
    sample = sample_of(case("depression-all-well"))
    assert sample is not None
    waiting = Waiting()
    bodies = [waiting.prepare(sample, sample.case.today) for _ in IDENTITIES]
    assert {identity for _, identity in bodies} == set(IDENTITIES)
    for body, identity in bodies[1:]:
        assert sample.identity.encode() not in body
        assert identity.encode() in body
    waiting.leave(sample.identity)
    assert waiting.prepare(sample, sample.case.today)[1] == sample.identity


def test_a_coordination_number_is_sent_under_its_own_system_with_the_day_of_birth() -> None:
    sample = sample_of(case("depression-all-well"))
    assert sample is not None
    waiting = Waiting(set(IDENTITIES) - {"196109732393"})
    body, _ = waiting.prepare(sample, sample.case.today)
    content = parse(body)
    assert isinstance(content, dict)
    patient = _of(content, "Patient")
    assert patient["identifier"][0]["system"] == "http://electronichealth.se/identifier/samordningsnummer"
    assert patient["birthDate"] == date(1961, 9, 13).isoformat()


def test_a_failed_check_is_told_and_remembered() -> None:
    out = io.StringIO()
    checks = Checks(Console(file=out, width=200))
    assert checks.equal(1, 1, "ett är ett")
    assert not checks.equal(1, 2, "ett är två")
    with checks.guard("ett steg"):
        raise Unexpected("PUT: 422 no")
    assert (checks.made, len(checks.failures)) == (3, 2)
    assert "MISSLYCKAD KONTROLL: ett är två – i stället: 1" in out.getvalue()
    assert "ett steg: steget gick inte – i stället: PUT: 422 no" in out.getvalue()


def test_a_copy_that_says_the_same_is_equal_whatever_the_ids_there() -> None:
    assert _external(_copy()).differences(_holding(), {"Patient/p": "199002222397"}) == []


def test_a_copy_in_another_state_is_told() -> None:
    told = _external(_copy(status="accepted")).differences(_holding(), {"Patient/p": "199002222397"})
    assert told == ["Task/t: status skiljer sig"]


def test_a_copy_about_another_patient_is_told() -> None:
    external = _external(_copy())
    external.names["Patient/s-2"] = "200302022389"
    assert external.differences(_holding(), {"Patient/p": "199002222397"}) == ["Task/t: for skiljer sig"]


def test_a_missing_copy_and_a_second_one_are_told() -> None:
    assert _external().differences(_holding(), {}) == ["Task/t: saknas"]
    assert _external(_copy(), _copy()).differences(_holding(), {}) == ["Task/t: 2 kopior"]


def _holding() -> Holding:
    task: Json = {"resourceType": "Task", "id": "t", "status": "requested", "for": {"reference": "Patient/p"}}
    return Holding({}, {"Task/t": task})


def _copy(status: str = "requested") -> Json:
    key = {"system": CANONICAL.resource_key, "value": "Task/t"}
    patient = {"reference": "Patient/s-2"}
    return {"resourceType": "Task", "id": "s-1", "identifier": [key], "status": status, "for": patient}


def _external(*copies: Json) -> External:
    names = {"Task/s-1": "Task/t", "Patient/s-2": "199002222397"}
    return External(CANONICAL, {"Task/t": list(copies)} if copies else {}, names)


def _of(bundle: Json, type_: str) -> Json:
    found: Json = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == type_)
    return found
