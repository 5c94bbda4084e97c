"""Whatever is sent, asked, refused and broken, nothing personal stands in what Sluss writes down or tells others: real
processes at debug level, their output, the database's own log, the metrics, the headers, and the addresses they ask.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
import requests

from fhir_mappings.records import Json
from service.exchange.stand_in import running_stand_in
from service.packs.cases import Way as Sent
from service.store import embedded
from service.store.database import Store
from tests.exchange.region import Region, message_in
from tests.exchange.troubled import Trouble, Way
from tests.fixtures.sending import CASES
from tests.journeys.referrals import SECOND_ADULT, STRANGER, UNIT, patient, referral
from tests.privacy.personal import (
    FAMILY,
    GIVEN,
    NOTE,
    NUMBER,
    PHONE,
    QUESTION,
    REPLY,
    named,
    of_the_fixtures,
    of_this_person,
    standing_in,
)
from tests.web.served import PROJECT, Away, Served, environment, served

PERSONAL = of_the_fixtures() | of_this_person()
FHIR = "application/fhir+json"
OUR_UNIT, OUR_TEAM = f"referrer {UNIT}", "therapist gavle"
ECHO = json.dumps(
    {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "invalid",
                "details": {"text": f"{GIVEN} {FAMILY}: {NOTE}"},
                "diagnostics": f"HAPI-0000: Patient {NUMBER} ({FAMILY}, {PHONE}) is not valid",
                "expression": [f"Patient.where(name='{FAMILY}')"],
            }
        ],
    }
)
"""How other servers refuse: with everything that they were sent."""


@dataclass
class Told:
    """Everything that has left the service, by where it went."""

    answers: list[requests.Response] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    metrics: str = ""
    written: str = ""
    database: str = ""
    kept: str = ""
    """The journal, the jobs and why deliveries have failed."""
    asked: list[str] = field(default_factory=list)
    """Method and address of what was asked of the external server."""


class Everybody:
    """All who call the service."""

    def __init__(self, served: Served, told: Told) -> None:
        self.served = served
        self.told = told
        self.session = requests.Session()
        self.session.trust_env = False

    def call(
        self, method: str, path: str, body: Json | bytes | None = None, caller: str | None = None, **headers: str
    ) -> requests.Response:
        given = {"Content-Type": FHIR, **({"Sluss-Caller": caller} if caller else {})}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        answer = self.session.request(
            method, self.served.url + path, data=data, headers=given, timeout=30, allow_redirects=False
        )
        self.told.answers.append(answer)
        return answer


def our_referral(number: str, note: str = NOTE) -> Json:
    sent = referral(number, note=[{"text": note}])
    for entry in sent["entry"]:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"] = named(patient())
    return sent


def order_in(sent: Json) -> Json:
    found: Json = next(e["resource"] for e in sent["entry"] if e["resource"]["resourceType"] == "ServiceRequest")
    return found


# ---------------------------------------------------------------- what is done


def journeys(all_: Everybody) -> None:
    """What is sent in the fixtures, and one referral from its arrival to its end."""
    paths = {Sent.BUNDLE: "/fhir", Sent.SINGLE: "/fhir/ServiceRequest", Sent.PLAIN: "/intake/referrals"}
    for case in CASES:
        type_ = "application/json" if case.way is Sent.PLAIN else FHIR
        all_.call("POST", paths[case.way], case.body, case.caller, Content_Type=type_)
    answer = all_.call("POST", "/fhir", our_referral("R-1"), OUR_UNIT)
    assert answer.status_code == 200, answer.text
    order = next(
        entry["response"]["location"].partition("/_history")[0]
        for entry in answer.json()["entry"]
        if entry["response"].get("location", "").startswith("ServiceRequest/")
    )
    all_.call("POST", "/fhir", our_referral("R-1"), OUR_UNIT)
    assert all_.call("POST", "/fhir", our_referral("R-1", QUESTION), OUR_UNIT).status_code == 409
    current = all_.call("GET", f"/fhir/{order}", caller=OUR_UNIT).json()
    assert all_.call("PUT", f"/fhir/{order}", {**current, "note": [{"text": QUESTION}]}, OUR_UNIT).status_code == 200
    task = _task(all_, order)
    asked = {**task, "status": "on-hold", "statusReason": {"text": QUESTION}}
    all_.call("PUT", f"/fhir/Task/{task['id']}", asked, OUR_TEAM)
    all_.call(
        "POST",
        "/fhir/Communication",
        message_in("information", NOTE, basedOn=[{"reference": order}], subject=current["subject"]),
        OUR_UNIT,
    )
    moved = {**_task(all_, order), "status": "accepted"}
    assert all_.call("PUT", f"/fhir/Task/{task['id']}", moved, OUR_TEAM).status_code == 200
    reply = message_in("interim-reply", REPLY, partOf=[{"reference": f"Task/{task['id']}"}])
    assert all_.call("POST", "/fhir/Communication", reply, OUR_TEAM).status_code == 201
    for wrong in ({"status": "completed"}, {"status": NOTE}, {"note": [{"text": NOTE}]}, {"for": {"display": FAMILY}}):
        all_.call("PUT", f"/fhir/Task/{task['id']}", {**_task(all_, order), **wrong}, OUR_TEAM)
    all_.call("PUT", f"/fhir/{order}", {**current, "status": "revoked"}, OUR_UNIT)


def _task(all_: Everybody, order: str) -> Json:
    found = all_.call("GET", f"/fhir/Task?focus={order}&code=fulfill", caller=OUR_TEAM).json()
    task: Json = found["entry"][0]["resource"]
    return task


def searches(all_: Everybody) -> None:
    """By all that is personal, right and wrong, by GET, POST, condition and batch."""
    asked = [
        ("Patient", {"identifier": f"http://electronichealth.se/identifier/personnummer|{NUMBER}"}),
        ("Patient", {"name": FAMILY, "_sort": "family", "_count": "1"}),
        ("Patient", {"birthdate": FAMILY}),
        ("Patient", {"identifier:of-type": NUMBER}),
        ("Patient", {f"{FAMILY}": NUMBER}),
        ("Patient", {"_sort": FAMILY}),
        ("Patient", {"_include": f"{FAMILY}:{NUMBER}"}),
        ("Patient", {"_lastUpdated": NUMBER}),
        ("Patient", {"_page": NUMBER}),
        ("Patient", {"_sealed": NUMBER}),
        ("Task", {"patient": NUMBER}),
        ("Task", {"patient": f"{FAMILY}/x/y"}),
        ("Task", {"patient.name": FAMILY, "_count": "1"}),
        ("Observation", {"value-quantity": NOTE}),
    ]
    for type_, parameters in asked:
        query = urlencode(parameters)
        all_.call("GET", f"/fhir/{type_}?{query}", Prefer="handling=strict")
        answer = all_.call(
            "POST", f"/fhir/{type_}/_search", query.encode(), Content_Type="application/x-www-form-urlencoded"
        )
        for link in answer.json().get("link", ()):
            assert standing_in(link["url"], PERSONAL) == set()
            all_.call("GET", link["url"].partition(all_.served.url)[2])
        all_.call("PUT", f"/fhir/{type_}?{query}", {"resourceType": type_, "id": NUMBER})
        all_.call("POST", "/fhir/ServiceRequest", order_in(our_referral("R-9")), If_None_Exist=query)
        entry = {"request": {"method": "GET", "url": f"{type_}?{query}"}}
        all_.call("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})


def bad_input(all_: Everybody) -> None:
    """What cannot be read, and what stands in the wrong places."""
    whole = json.dumps(our_referral("R-2")).encode()
    bodies: list[bytes] = [
        whole[:-40],
        whole.replace(b'"active"', f'"{FAMILY}"'.encode()),
        whole.replace(b'"resourceType": "Patient"', f'"resourceType": "{FAMILY}"'.encode()),
        whole.replace(b'"resourceType": "Patient"', f'"resourceType": "Patient", "{NUMBER}": "{NOTE}"'.encode()),
        whole.replace(b'"birthDate": "1990-02-22"', f'"birthDate": "{NOTE}"'.encode()),
        whole.replace(NUMBER.encode(), b"199002222398"),
        whole.replace(NUMBER.encode(), f"{FAMILY} {PHONE}".encode()),
        whole.replace(b'"line"', b'"line": ["Kvarnstensgatan 17"], "line"'),
        whole.replace(b'"phone"', f'"{PHONE}"'.encode()),
        whole.decode().encode("utf-16"),
        b"[" * 5000 + NUMBER.encode(),
        f'"{NUMBER}"'.encode(),
        f"{FAMILY} {NUMBER}".encode(),
    ]
    for body in bodies:
        all_.call("POST", "/fhir", body, OUR_UNIT)
        all_.call("POST", "/fhir/ServiceRequest/$assess", body, OUR_UNIT)
        all_.call("POST", f"/fhir/{FAMILY}", body, OUR_UNIT)
    plain: list[Json] = [
        {"patient": {"identifier": NUMBER, "name": FAMILY, "phone": PHONE}, "other": NOTE},
        {NUMBER: NOTE, "channel": FAMILY, "programme": NOTE, "patient": NUMBER, "diagnoses": [NOTE]},
        {"channel": "phone", "received": NOTE, "referrer": {"unit": FAMILY}, "answers": {FAMILY: NOTE}},
        {
            "channel": "phone",
            "patient": {"identifier": f"{NUMBER}0", "municipality": FAMILY},
            "madrs_s": {"date": NOTE},
        },
    ]
    for sent in plain:
        all_.call("POST", "/intake/referrals", sent, Content_Type="application/json")
    for path in (
        f"/fhir/Patient/{NUMBER}",
        f"/fhir/{NUMBER}",
        f"/{NUMBER}",
        f"/fhir/Patient/{quote(FAMILY)}/_history/1",
    ):
        for method in ("GET", "PUT", "DELETE", FAMILY.upper()):
            all_.call(method, path, {"resourceType": "Patient", "id": NUMBER} if method == "PUT" else None)
    named_by_headers: list[dict[str, str]] = [
        {"X_Request_Id": NUMBER},
        {"X_Request_Id": FAMILY},
        {"Sluss_Caller": f"referrer {NUMBER}"},
        {"Sluss_Caller": f"{FAMILY} {NUMBER}"},
        {"Sluss_Caller": f"therapist {FAMILY}"},
        {"Accept": f"text/{FAMILY}"},
        {"Content_Type": f"text/{FAMILY}"},
        {"If_Match": f'W/"{NUMBER}"'},
        {"Prefer": f"return={FAMILY}"},
        {"User_Agent": f"{GIVEN} {NUMBER}"},
        {"Authorization": f"Bearer {NUMBER}"},
        {"Host": f"{FAMILY}.{NUMBER}"},
        {"Sluss_Reason": NOTE.encode().decode("latin-1")},
    ]
    for headers in named_by_headers:
        all_.call("GET", f"/fhir/Task?_id={NUMBER}", None, None, **headers)
        all_.call("POST", "/fhir", whole, None, **headers)


def there(all_: Everybody, way: Way, region: Region) -> None:
    """The external server refuses with what it was sent, breaks, and has things that cannot be read."""
    for status, body in (
        (422, ECHO),
        (400, ECHO),
        (412, ECHO),
        (500, f"<html>{FAMILY} {NUMBER}"),
        (200, f"{NOTE}"),
        (404, ""),
    ):
        way.always = Trouble(status, body)
        all_.call("POST", "/fhir", our_referral(f"T-{status}"), OUR_UNIT)
        time.sleep(1.2)
    way.always = None
    unreadable = our_referral("X-1")
    order_in(unreadable)["code"]["text"] = NOTE
    del order_in(unreadable)["identifier"]
    region.transact(unreadable)
    region.transact(our_referral("X-2"))
    time.sleep(4)
    for copy in region.search("Task")[:3]:
        region.change(copy, status="completed", description=NOTE)
    time.sleep(4)


def failures(all_: Everybody, away: Away, real: str) -> None:
    """The database refuses rows, breaks connections and is away; jobs fail; deep inside things are not as they were."""
    with psycopg.connect(real, autocommit=True) as connection:
        connection.execute("ALTER TABLE resource ADD CONSTRAINT none_today CHECK (false) NOT VALID")
        connection.execute("ALTER TABLE journal ADD CONSTRAINT none_today CHECK (false) NOT VALID")
        all_.call("POST", "/fhir", our_referral("F-1"), OUR_UNIT)
        all_.call("POST", "/intake/referrals", {"patient": {"identifier": NUMBER}}, Content_Type="application/json")
        run(all_, "team", "absent", "gavle", "--from", "2026-11-01", "--to", "2026-12-31")
        time.sleep(3)
        connection.execute("ALTER TABLE resource DROP CONSTRAINT none_today")
        connection.execute("ALTER TABLE journal DROP CONSTRAINT none_today")
        connection.execute("ALTER TABLE natural_key ADD CONSTRAINT no_one CHECK (key !~ '2003') NOT VALID")
        refused = all_.call(
            "POST", "/fhir", referral("F-2", identity=SECOND_ADULT, unit=STRANGER), f"referrer {STRANGER}"
        )
        assert refused.status_code == 500, "the row that it names has the number"
        connection.execute("ALTER TABLE natural_key DROP CONSTRAINT no_one")
        # what is stored is not what was: everything that reads it fails deep inside
        connection.execute("ALTER TABLE referral RENAME COLUMN placer_value TO placer_number")
        all_.call("POST", "/fhir", our_referral("F-3"), OUR_UNIT)
        all_.call("GET", f"/fhir/Patient?identifier={NUMBER}")
        time.sleep(2)
        connection.execute("ALTER TABLE referral RENAME COLUMN placer_number TO placer_value")
        connection.execute(
            "INSERT INTO procrastinate_jobs (task_name, queue_name, args) VALUES"
            " ('deliver_referral', 'default', '{\"referral_id\": 7}'), ('none_such', 'default', '{}')"
        )
        broken = 'replace(body, \'"resourceType":"Task"\', \'"resourceType":7\')'
        connection.execute(f"UPDATE resource SET body = {broken} WHERE type = 'Task'".encode())  # noqa: S608
        all_.call("GET", "/fhir/Task?_elements=status")
        all_.call("POST", "/fhir", our_referral("R-1"), OUR_UNIT)
        run(all_, "exchange", "reconcile")
        time.sleep(3)
    away.go()
    all_.call("POST", "/fhir", our_referral("F-4"), OUR_UNIT)
    all_.call("GET", f"/fhir/Patient?identifier={NUMBER}")
    run(all_, "exchange", "status")
    run(all_, "exchange", "replay", "none-such", "--why", NOTE)
    time.sleep(2)
    away.come()


def run(all_: Everybody, *command: str) -> None:
    """A command of the command line, with the service's own settings."""
    told = subprocess.run(
        [sys.executable, "-m", "service.cli", *command],
        cwd=PROJECT,
        env={**environment(), **SETTINGS},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    all_.told.commands.append(told.stdout + told.stderr)


SETTINGS: dict[str, str] = {}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """All of it done once, and what was told of it."""
    folder = tmp_path_factory.mktemp("told")
    os.environ["NO_PROXY"] = "127.0.0.1"
    # not in `folder`: the server's own user may not go there
    cluster_folder = Path(tempfile.mkdtemp(prefix="sluss-test-")) / "data"
    cluster = embedded.start(cluster_folder)
    Store(cluster.url).migrate()
    away, way, gathered = Away(cluster.url, folder), Way(), Told()
    away.come()
    with running_stand_in(wrap=way.lead_through) as other:
        SETTINGS.update(
            SLUSS_DATABASE_URL=away.url,
            SLUSS_FHIR_SERVER_URL=other.url,
            SLUSS_LOG_LEVEL="debug",
            SLUSS_COLLECT_SECONDS="1",
        )
        with served(folder / "sluss.log", "--with-worker", **SETTINGS) as running:
            all_ = Everybody(running, gathered)
            journeys(all_)
            searches(all_)
            bad_input(all_)
            there(all_, way, Region(other.url))
            for command in (
                ("exchange", "status"),
                ("exchange", "dead"),
                ("exchange", "replay", "none-such", "--why", NOTE),
            ):
                run(all_, *command)
            gathered.metrics = all_.call("GET", "/metrics").text
            failures(all_, away, cluster.url)
            gathered.metrics += all_.call("GET", "/metrics").text
        gathered.written = running.written
        gathered.asked = list(way.asked)
    with psycopg.connect(cluster.url) as connection:
        for table in ("journal", "procrastinate_jobs", "procrastinate_events", "exchange", "external_server"):
            gathered.kept += str(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())  # noqa: S608
    cluster.stop()
    gathered.database = (cluster_folder / "log").read_text(errors="replace")
    shutil.rmtree(cluster_folder.parent)
    return gathered


# ---------------------------------------------------------------- what is told


def test_all_of_it_happened(told: Told) -> None:
    statuses = {answer.status_code for answer in told.answers}
    assert {200, 201, 400, 404, 405, 409, 415, 422, 500, 503} <= statuses
    assert '"event": "request"' in told.written
    assert "delivered" in told.written
    assert "ERROR" in told.database


def test_nothing_of_a_person_in_what_the_processes_write(told: Told) -> None:
    found = standing_in(told.written, PERSONAL)
    lines = [line[:400] for line in told.written.splitlines() if standing_in(line, found)] if found else []
    assert lines == []


def test_nothing_of_a_person_in_the_databases_log(told: Told) -> None:
    found = standing_in(told.database, PERSONAL)
    lines = [line[:400] for line in told.database.splitlines() if standing_in(line, found)] if found else []
    assert lines == []


def test_nobody_who_fails_says_more_than_what_and_where(told: Told) -> None:
    assert '"error": "CheckViolation"' in told.written
    assert "Traceback" not in told.written
    assert "DETAIL" not in told.database
    assert "STATEMENT" not in told.database


def test_nothing_of_a_person_in_the_metrics(told: Told) -> None:
    assert "sluss_http_requests_total" in told.metrics
    assert standing_in(told.metrics, PERSONAL) == set()


def test_nothing_of_a_person_on_the_command_line(told: Told) -> None:
    assert any("internal error: CheckViolation" in command for command in told.commands)
    assert [command for command in told.commands if "Traceback" in command or standing_in(command, PERSONAL)] == []


def test_nothing_of_a_person_in_journal_jobs_and_failures(told: Told) -> None:
    assert standing_in(told.kept, PERSONAL) == set()


def test_nothing_of_a_person_in_addresses_that_we_ask_for(told: Told) -> None:
    assert any(line.startswith("POST") for line in told.asked)
    assert [line for line in told.asked if standing_in(line, PERSONAL)] == []


def test_nothing_of_a_person_in_headers(told: Told) -> None:
    headers = [str(dict(answer.headers)) for answer in told.answers]
    assert [each for each in headers if standing_in(each, PERSONAL)] == []


def test_a_refusal_does_not_repeat_who_or_what_it_was_about(told: Told) -> None:
    refused = [answer for answer in told.answers if answer.status_code >= 400]
    assert len(refused) > 100
    # as the name of an element, a code, a type or an id it is repeated: else nobody would find what is wrong
    not_names = PERSONAL - {FAMILY}
    found = [(a.request.method, a.status_code, standing_in(a.text, not_names), a.text[:600]) for a in refused]
    assert [each for each in found if each[2]] == []
