"""Everything that Sluss stores or answers passes a real server's `$validate`: no error, no warning but those told."""

from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from fhir_mappings.r4 import DEFINITIONS
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump, parse
from service.packs.cases import Case, Way
from service.packs.loading import shipped
from service.store.database import Store
from tests.fixtures.sending import BY_NAME, CASES, Service, exact, order_of, pack_of, serve
from tests.hapi import ways
from tests.hapi.server import Running
from tests.hapi.validation import BASE, Validator
from tests.journeys.conftest import Service as RunningService
from tests.journeys.referrals import HSA

pytestmark = pytest.mark.hapi

RECEIVED = [case for case in CASES if case.expected.status < 300]
REFUSED = [case for case in CASES if case.expected.status >= 400 and case.way is not Way.PLAIN]
FHIR = "application/fhir+json"


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="module")
def validator(hapi: Running) -> Iterator[Validator]:
    """One for all cases, so that each shape is asked for once."""
    validator = Validator(hapi.url)
    validator.session.trust_env = False  # loopback needs no proxy
    # both packs' forms, told apart by version; who names none means the latest here, which is gavleborg's
    packs = [pack_of(pack) for pack in reversed(shipped())]
    forms = {(form["url"], form["version"]): form for pack in packs for form in pack.questionnaires.values()}
    for written in forms.values():
        definition = parse(dump(written).replace("{S}", BASE).encode())
        assert isinstance(definition, dict)
        validator.knows(definition)
    yield validator
    validator.session.close()


def stored(store: Store) -> Iterator[Json]:
    """Every version of everything that is stored but what describes us, which `test_package` validates as a whole."""
    with psycopg.connect(store.url) as connection:
        for (body,) in connection.execute("SELECT body FROM resource UNION ALL SELECT body FROM resource_history"):
            resource = parse(body.encode())
            assert isinstance(resource, dict)
            if resource["resourceType"] not in DEFINITIONS:
                yield resource


def asked(service: Service, path: str) -> Json:
    answer = service.client.get(f"/fhir/{path}")
    assert answer.status_code == 200, answer.text
    return exact(answer)


def found(service: Service, order: str) -> Iterator[Json]:
    """What a therapist, a platform and an auditor are answered about a referral."""
    work_list = asked(service, f"Task?focus={order}&_sort=-_lastUpdated&_include=Task:focus&_include=Task:patient")
    yield work_list
    task = next(e["resource"] for e in work_list["entry"] if e["search"]["mode"] == "match")
    yield asked(service, f"Task/{task['id']}/_history")
    told = asked(service, f"Communication?based-on={order}&status=completed&_sort=_lastUpdated&_count=200")
    yield told
    for message in (entry["resource"] for entry in told.get("entry", [])):
        unit = message["recipient"][0]["identifier"]["value"]
        poll = f"recipient:identifier={quote(f'{HSA}|{unit}')}&_lastUpdated=gt2020-01-01T00:00:00Z"
        yield asked(service, f"Communication?{poll}&status=completed&_sort=_lastUpdated&_count=200")


def test_what_is_wrong_is_found_wherever_it_stands(validator: Validator) -> None:
    """The proof that the tests below can fail."""
    task = {"resourceType": "Task", "id": "1", "status": "requested", "intent": "order"}
    late = task | {"authoredOn": "2026-11-23T10:00:00+01:00", "lastModified": "2026-11-22T10:00:00+01:00"}
    answer = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {"resourceType": "Communication"}}]}
    (wrong_date,) = validator.problems(late)
    assert wrong_date.startswith("error: Task")
    assert "inv-1" in wrong_date
    assert any("Communication.status" in problem for problem in validator.problems(task, answer))


@named(RECEIVED)
def test_what_a_received_case_leads_to_and_is_answered_is_valid(case: Case, store: Store, validator: Validator) -> None:
    service = serve(case, store)
    answers = []
    if case.way is not Way.PLAIN:
        dry = service.client.post("/fhir/ServiceRequest/$assess", data=case.body, content_type=FHIR)
        assert dry.status_code == 200, dry.text
        answers.append(exact(dry))
    received = service.send(case)
    assert received.status_code < 300, received.text
    if case.way is not Way.PLAIN:
        answers.append(exact(received))
    assert validator.problems(*stored(store)) == []
    assert validator.problems(*answers, *found(service, order_of(case, received))) == []


@named(REFUSED)
def test_what_a_refused_case_is_answered_is_valid(case: Case, store: Store, validator: Validator) -> None:
    outcome = exact(serve(case, store).send(case))
    assert outcome["resourceType"] == "OperationOutcome"
    assert validator.problems(outcome) == []


@pytest.mark.parametrize("way", ways.GAVLEBORG, ids=lambda way: str(way.__name__))
def test_what_is_stored_at_every_step_of_a_way_is_valid(
    way: ways.Way, service: RunningService, validator: Validator
) -> None:
    way(service)
    assert validator.problems(*stored(service.store)) == []
    record = service.administrator.get("/fhir/AuditEvent?_count=1000").json()
    assert len(record["entry"]) > 1, "who did what is recorded"
    assert validator.problems(record) == []


@pytest.mark.parametrize("service", ["praktikertjanst"], indirect=True)
def test_the_same_holds_for_the_other_pack(service: RunningService, validator: Validator) -> None:
    ways.with_an_assessment_visit_first(service)
    assert validator.problems(*stored(service.store)) == []


@pytest.mark.parametrize("name", ["depression-all-well", "praktikertjanst-anxiety-all-well"])
def test_what_is_published_is_valid(name: str, store: Store, validator: Validator) -> None:
    service = serve(BY_NAME[name], store)
    service.send(BY_NAME[name])
    published = [
        asked(service, path)
        for path in ("metadata", "Questionnaire", "PlanDefinition", "HealthcareService", "Organization")
    ]
    assert validator.problems(*published) == []
