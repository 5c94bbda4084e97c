"""Broken object-level access, tried: whatever is asked about another's resource is answered as for one that does not
exist, byte by byte. Made from the routes and the CapabilityStatement: a route without a case fails.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_mappings.records import Json
from service import web
from service.store.search_parameters import BY_TYPE
from service.web.capability import capability_of
from tests.journeys import referrals
from tests.web.caller import FHIR, Sluss, content
from tests.web.probes import CASES, PATCH, UNKNOWN, Target
from tests.web.world import HSA, WITHOUT_REASON, Side, Who, refer, told

NOBODY = "191212121212"
"""A valid personnummer that no Patient has."""
PERSONNUMMER = referrals.PERSONNUMMER

OF_REPLIES = ("Patient", "ServiceRequest", "Communication")
"""What the platform of the other side sees of it, beside the Task that replies refer to."""


@pytest.fixture
def house_of_two(another: Callable[..., Sluss]) -> tuple[Sluss, Side, Side]:
    """Sluss with two referrals of different units, teams and patients."""
    sluss = another(subscription_hosts=("ehr.example",))
    mine = refer(sluss, "SE2321000198-EX07", "gavle", referrals.ADULT, "R-MINE-1")
    theirs = refer(sluss, "SE2321000198-EX04", "norra-halsingland", referrals.SECOND_ADULT, "R-THEIRS")
    return sluss, mine, theirs


def test_every_route_has_its_case(sluss: Sluss) -> None:
    routes = {
        (method, rule.rule)
        for rule in sluss.app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(CASES)


def test_no_answer_comes_to_what_is_stored_but_by_what_its_caller_sees() -> None:
    for path in Path(web.__file__).parent.glob("*.py"):
        figures_only = path.name in ("system.py", "measuring.py")
        assert figures_only or "store.view()" not in path.read_text().replace("store.view().seen_by(", ""), path.name


WHO: dict[str, Callable[[Side], Who]] = {
    "the other unit": lambda side: Who("referrer", f"referrer {side.unit}"),
    "the other team": lambda side: Who("therapist", f"therapist {side.team}"),
    "the other unit's platform": lambda side: Who("platform", f"platform {side.unit}"),
    "an administrator without a reason": lambda _: Who("administrator", known=WITHOUT_REASON),
}


@pytest.mark.parametrize("turned", [False, True], ids=["one way", "the other way"])
@pytest.mark.parametrize("who", WHO)
def test_anothers_resources_are_as_if_they_did_not_exist(
    house_of_two: tuple[Sluss, Side, Side], who: str, turned: bool
) -> None:
    sluss, mine, theirs = house_of_two
    if turned:
        mine, theirs = theirs, mine
    hidden = [(type_, one) for type_, listed in theirs.resources.items() for one in listed[:2]]
    assert {type_ for type_, _ in hidden} >= {"Patient", "ServiceRequest", "Task", "CarePlan", "Communication"}
    _try(sluss, WHO[who](mine), mine, theirs, hidden)


def test_the_platform_of_a_unit_sees_its_replies_and_nothing_else_of_the_referral(
    house_of_two: tuple[Sluss, Side, Side],
) -> None:
    sluss, mine, theirs = house_of_two
    who = Who("platform", f"platform {theirs.unit}")
    for type_ in OF_REPLIES:
        assert who.ask(sluss, "GET", f"/fhir/{theirs.reference(type_)}", None, {}).status_code == 200, type_
    task, *children = theirs.resources["Task"]
    assert who.ask(sluss, "GET", f"/fhir/Task/{task['id']}", None, {}).status_code == 200
    rest = [(type_, listed[0]) for type_, listed in theirs.resources.items() if type_ not in (*OF_REPLIES, "Task")]
    _try(sluss, who, mine, theirs, [*rest, ("Task", children[0])])


def test_coordination_sees_every_referral(house_of_two: tuple[Sluss, Side, Side]) -> None:
    sluss, *sides = house_of_two
    coordination = sluss.acting("therapist samordning")
    for side in sides:
        for listed in side.resources.values():
            assert [coordination.read(f"{one['resourceType']}/{one['id']}") for one in listed] == listed


def _try(sluss: Sluss, who: Who, mine: Side, theirs: Side, hidden: list[tuple[str, Json]]) -> None:
    subscription = ("Subscription", {"resourceType": "Subscription", "id": theirs.subscription})
    tried = 0
    for type_, resource in (*hidden, subscription):
        if type_ == "Subscription" and who.known is not None:
            continue  # those are an administrator's business
        there = Target(type_, resource, theirs, mine, resource["id"])
        nowhere = Target(type_, resource, theirs, mine, UNKNOWN)
        for (_, route), probes in CASES.items():
            if type_ == "Subscription" and not route.startswith("/fhir/Subscription"):
                continue
            if who.known is not None and route.startswith("/fhir/AuditEvent"):
                continue  # and so is the record of who did what
            for known, unknown in zip(probes(there), probes(nowhere), strict=True):
                answers = [
                    told(who.ask(sluss, probe.method, probe.path, probe.body, probe.headers), {id_: "ID"})
                    for probe, id_ in ((known, there.id), (unknown, UNKNOWN))
                ]
                assert answers[0] == answers[1], (who, known)
                tried += 1
    assert tried > 30


# ---------------------------------------------------------------- what a search could tell


def test_no_search_parameter_include_or_chain_tells_of_anothers(house_of_two: tuple[Sluss, Side, Side]) -> None:
    sluss, mine, theirs = house_of_two
    who = sluss.acting(f"referrer {mine.unit}")
    declared = capability_of(sluss.app.extensions["sluss"].canonical)["rest"][0]["resource"]
    tried = 0
    for described in declared:
        type_ = described["type"]
        for query in _inferences(described, theirs):
            known, unknown = (who.get(f"/fhir/{type_}?{query.format(id=id_)}") for id_ in _ids(type_, theirs, query))
            secrets = dict.fromkeys((UNKNOWN, *_ids(type_, theirs, query)), "ID")
            assert told(known, secrets) == told(unknown, secrets), (type_, query)
            assert known.status_code == 200, known.text
            tried += 1
    assert tried > 500


def _ids(type_: str, side: Side, query: str) -> tuple[str, str]:
    """The id that a query is about: of its own type, or of the type that a reference in it names."""
    named = next((other for other in side.resources if f"={other}/{{id}}" in query), type_)
    return (side.one(named)["id"] if named in side.resources else UNKNOWN), UNKNOWN


def _inferences(described: Json, side: Side) -> Iterator[str]:
    if described["type"] in side.resources:
        for parameter in described["searchParam"]:
            name = parameter["name"]
            if name in ("_id", "_lastUpdated"):
                continue
            for missing in ("true", "false"):
                yield f"_id={{id}}&{name}:missing={missing}&_total=accurate"
            if parameter["type"] != "reference":
                yield f"_id={{id}}&_sort=-{name}"
        for include in described.get("searchInclude", ()):
            yield f"_id={{id}}&_include={include}"
        for include in described.get("searchRevInclude", ()):
            yield f"_id={{id}}&_revinclude={include}&_revinclude:iterate={include}"
    for parameter in BY_TYPE[described["type"]].values():
        for type_ in set(parameter.targets) & set(side.resources):
            yield f"{parameter.name}={type_}/{{id}}&_total=accurate&_summary=count"


IDENTIFIED: dict[str, Callable[[Side], str]] = {
    "Patient?identifier={0}": lambda side: side.person,
    "Patient?identifier=" + PERSONNUMMER + "|{0}": lambda side: side.person,
    "Task?patient.identifier={0}&_total=accurate": lambda side: side.person,
    "ServiceRequest?subject:Patient.identifier={0}&_summary=count": lambda side: side.person,
    "Communication?patient.identifier={0}": lambda side: side.person,
    "ServiceRequest?identifier={0}&_total=accurate": lambda side: side.placer,
    "Task?focus:ServiceRequest.identifier={0}": lambda side: side.placer,
    "Communication?based-on:ServiceRequest.identifier={0}": lambda side: side.placer,
}


@pytest.mark.parametrize("query", IDENTIFIED)
@pytest.mark.parametrize("who", ["the other unit", "the other team", "the other unit's platform"])
def test_nobody_learns_by_identifier_or_chain_that_another_has_a_patient(
    house_of_two: tuple[Sluss, Side, Side], who: str, query: str
) -> None:
    sluss, mine, theirs = house_of_two
    caller, value = WHO[who](mine), IDENTIFIED[query]
    unknown = NOBODY if value(theirs) == theirs.person else "R-NOBODY"
    answers = [
        told(caller.ask(sluss, "GET", f"/fhir/{query.format(asked)}", None, {}), {asked: "VALUE"})
        for asked in (value(theirs), unknown)
    ]
    assert answers[0] == answers[1]
    if not (caller.name == "platform" and "Patient?" not in query):
        own = content(caller.ask(sluss, "GET", f"/fhir/{query.format(value(mine))}&_total=accurate", None, {}))
        assert own["total"] > 0


def test_what_is_shared_brings_nobody_elses_along(house_of_two: tuple[Sluss, Side, Side]) -> None:
    sluss, mine, theirs = house_of_two
    for who in (f"referrer {mine.unit}", f"therapist {mine.team}", f"platform {mine.unit}"):
        (unit,) = sluss.acting(who).search(f"Organization?identifier={HSA}|{theirs.unit}")
        for include in ("Communication:recipient", "Task:requester", "ServiceRequest:requester"):
            found = sluss.acting(who).search(f"Organization?_id={unit['id']}&_revinclude={include}")
            assert [one["resourceType"] for one in found] == ["Organization"], (who, include)


def test_a_history_of_a_type_holds_ones_own_versions_only(house_of_two: tuple[Sluss, Side, Side]) -> None:
    sluss, mine, theirs = house_of_two
    for who in (f"referrer {mine.unit}", f"therapist {mine.team}"):
        for type_, listed in mine.resources.items():
            shown = content(sluss.acting(who).get(f"/fhir/{type_}/_history?_count=1000")).get("entry", [])
            ids = {entry["resource"]["id"] for entry in shown}
            assert ids == {one["id"] for one in listed}, (who, type_)
            assert ids.isdisjoint(one["id"] for one in theirs.resources.get(type_, ()))


def test_totals_count_ones_own_only(house_of_two: tuple[Sluss, Side, Side]) -> None:
    sluss, mine, _ = house_of_two
    for who in (f"referrer {mine.unit}", f"therapist {mine.team}"):
        for type_, listed in mine.resources.items():
            for query in ("_total=accurate&_count=1", "_summary=count"):
                assert content(sluss.acting(who).get(f"/fhir/{type_}?{query}"))["total"] == len(listed), (who, type_)


# ---------------------------------------------------------------- the finding that is for the team only


def _doubled(sluss: Sluss) -> tuple[Json, Json]:
    """The same patient from two units; gives the second's order and Task as the team has them."""
    first = referrals.referral("R-1", unit="SE2321000198-EX07")
    assert sluss.acting("referrer SE2321000198-EX07").post("/fhir", first).status_code == 200
    second = referrals.referral("R-2", unit="SE2321000198-EX01")
    answer = sluss.acting("referrer SE2321000198-EX01").post("/fhir", second)
    assert answer.headers["Sluss-Verdict"] == "review"
    assert "open-referral" not in answer.text
    assert "annan enhet" not in answer.text
    (task,) = (
        one
        for one in sluss.search("Task?code=fulfill")
        if any("annan enhet" in str(finding) for finding in one.get("input", ()))
    )
    return sluss.read(task["focus"]["reference"]), task


def _everything_of(who: Sluss, order: Json, task: Json) -> str:
    place = f"ServiceRequest/{order['id']}"
    paths = [
        f"Task/{task['id']}",
        f"Task/{task['id']}/_history",
        f"Task/{task['id']}/_history/1",
        "Task/_history",
        f"Task?focus={place}",
        f"{place}",
        f"ServiceRequest?_id={order['id']}&_revinclude=Task:focus&_revinclude=Communication:based-on",
        f"Communication?based-on={place}&_include=Communication:part-of",
    ]
    answers = [who.get(f"/fhir/{path}") for path in paths]
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    return "".join(answer.text for answer in answers)


def test_that_a_patient_has_a_referral_from_another_unit_is_for_the_team_only(sluss: Sluss) -> None:
    order, task = _doubled(sluss)
    assert "open-referral" in _everything_of(sluss.acting("therapist gavle"), order, task)
    for who in ("referrer SE2321000198-EX01", "platform SE2321000198-EX01", "platform"):
        seen = _everything_of(sluss.acting(who), order, task)
        assert "open-referral" not in seen, who
        assert "annan enhet" not in seen, who
        assert "SUBSETTED" not in seen, who  # that something is left out would tell it just as well


@pytest.mark.parametrize("homework", [False, True], ids=["eligible", "with a finding of its own"])
def test_no_guess_at_what_is_for_the_team_only_is_answered(sluss: Sluss, homework: bool) -> None:
    """Whether the patient has a referral from another unit must not show in what a changed Task is answered with."""
    first = referrals.referral("R-1", unit="SE2321000198-EX07")
    assert sluss.acting("referrer SE2321000198-EX07").post("/fhir", first).status_code == 200
    answers = {"parallel-therapy": homework, "parallel-homework": homework}
    referrer, answered = sluss.acting("referrer SE2321000198-EX01"), []
    withheld: Json = {}
    for person in (referrals.ADULT, referrals.SECOND_ADULT):
        sent = referrals.referral(f"R-{person}", unit="SE2321000198-EX01", identity=person, answers=answers)
        assert referrer.post("/fhir", sent).status_code == 200
        (order,) = referrer.search(f"ServiceRequest?identifier=R-{person}")
        (shown,) = referrer.search(f"Task?focus=ServiceRequest/{order['id']}")
        (whole,) = sluss.search(f"Task?focus=ServiceRequest/{order['id']}&code=fulfill")
        withheld = withheld or {name: whole[name] for name in ("input", "note")}
        tried = [
            told(referrer.put(f"/fhir/Task/{shown['id']}", {**shown, name: guess}), {person: "P"})
            for name, hidden in withheld.items()
            for guess in (hidden, [*shown.get(name, []), *hidden])
        ]
        answered.append([(status, body) for status, _, body in tried])
    with_another, without = answered
    assert with_another == without
    assert "open-referral" in str(withheld["input"])
    assert [status for status, _ in without][:2] == [422, 422]


def test_a_unit_is_told_of_its_own_open_referral_whether_or_not_another_has_one_too(sluss: Sluss) -> None:
    first = referrals.referral("R-1", unit="SE2321000198-EX07")
    assert sluss.acting("referrer SE2321000198-EX07").post("/fhir", first).status_code == 200
    referrer, told_to = sluss.acting("referrer SE2321000198-EX01"), []
    for person in (referrals.ADULT, referrals.SECOND_ADULT):
        for number in ("R-2", "R-3"):
            sent = referrals.referral(f"{number}-{person}", unit="SE2321000198-EX01", identity=person)
            answer = referrer.call("POST", "/fhir", sent, {"Prefer": "return=OperationOutcome"})
            assert answer.status_code == 200, answer.text
        (order,) = referrer.search(f"ServiceRequest?identifier=R-3-{person}")
        about = f"ServiceRequest/{order['id']}"
        shown = [referrer.get(f"/fhir/{path}={about}") for path in ("Task?focus", "Communication?based-on")]
        told_to.append([told(one, {person: "P"})[2] for one in (answer, *shown)])
        (task,) = sluss.search(f"Task?focus={about}&code=fulfill")
        assert ("från en annan enhet" in str(task["input"])) is (person == referrals.ADULT)
        assert "från er enhet" in str(task["input"])
    assert told_to[0] == told_to[1]
    assert all("från er enhet" in one for one in told_to[0])


def test_a_referrer_changes_the_task_that_it_was_shown_in_part(sluss: Sluss) -> None:
    _, task = _doubled(sluss)
    referrer = sluss.acting("referrer SE2321000198-EX01")
    shown = referrer.read(f"Task/{task['id']}")
    noted: Json = {**shown, "note": [*shown.get("note", []), {"text": "Nås efter 15."}]}
    answer = referrer.put(f"/fhir/Task/{task['id']}", noted)
    assert answer.status_code == 200, answer.text
    assert "annan enhet" not in answer.text
    patched = referrer.call(
        "PATCH", f"/fhir/Task/{task['id']}", '[{"op":"replace","path":"/status","value":"cancelled"}]', PATCH
    )
    assert patched.status_code == 200, patched.text
    assert "annan enhet" not in patched.text
    stored = sluss.acting("therapist gavle").read(f"Task/{task['id']}")
    assert stored["input"] == task["input"]
    assert stored["note"][: len(task["note"])] == task["note"]
    assert [note["text"] for note in stored["note"]][-1] == "Nås efter 15."


def test_the_plain_intake_tells_a_unit_the_verdict_and_not_the_finding_of_another(sluss: Sluss) -> None:
    first = referrals.referral("R-1", unit="SE2321000198-EX07")
    assert sluss.acting("referrer SE2321000198-EX07").post("/fhir", first).status_code == 200
    told_to = []
    for person, number in ((referrals.ADULT, "R-2"), (referrals.SECOND_ADULT, "R-3")):
        body: dict[str, Any] = {
            "channel": "record-message",
            "received": "2026-11-20",
            "referrer": {"unit": "SE2321000198-EX01", "reference": number},
            "patient": {"identifier": person, "name": "Test Testsson"},
            "programme": "stress",
            "diagnoses": ["F43.8A"],
            "answers": {"suicide-risk": "low"},
        }
        answer = sluss.acting("referrer SE2321000198-EX01").post("/intake/referrals", body)
        assert answer.status_code == 201, answer.text
        told_to.append({**content(answer), "service_request": "", "task": ""})
    assert [given.pop("verdict") for given in told_to] == ["review", "eligible"]
    assert told_to[0] == told_to[1]


def test_an_administrator_says_why_or_sees_nothing_of_any_referral(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    who = Who("administrator", known=WITHOUT_REASON)
    for path in (f"/fhir/ServiceRequest/{order['id']}", "/fhir/Patient?_count=1", "/fhir/Task/_history"):
        answer = who.ask(sluss, "GET", path, None, {})
        assert answer.status_code == 403
        assert "Sluss-Reason" in answer.text
    for path in ("/fhir/Organization", "/fhir/Questionnaire", "/fhir/HealthcareService/gavle", "/fhir/metadata"):
        assert who.ask(sluss, "GET", path, None, {}).status_code == 200, path
    included = content(who.ask(sluss, "GET", "/fhir/Organization?_revinclude=Communication:recipient", None, {}))
    assert {entry["resource"]["resourceType"] for entry in included["entry"]} == {"Organization"}
    for path, body, kind in (("/fhir", referrals.referral("R-9"), FHIR), ("/intake/referrals", {}, "application/json")):
        assert who.ask(sluss, "POST", path, body, {"Content-Type": kind}).status_code == 403, path
