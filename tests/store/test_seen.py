"""What a Sight lets through, in every kind of read: compared with the whole, filtered by the table in plain Python."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_mappings.records import Json
from service.store.asked import SearchQuery
from service.store.database import Store
from service.store.histories import HistoryQuery, parse_history
from service.store.query import parse_query
from service.store.records import Stored, Write
from service.store.sight import EVERYTHING, Sight
from tests.store.examples import HSA, communication, patient, query, referral, service_request, task

UNITS = ("SE2321000198-EX01", "SE2321000198-EX02")
TEAMS = ("gavle", "norra-halsingland", "samordning")
SHARED = frozenset({"Organization"})


@pytest.fixture
def filled(store: Store) -> Store:
    """Six referrals of two units, three teams and three patients, and a message that belongs to none."""
    with store.change() as change:
        change.write([Write({"resourceType": "Organization", "id": f"o-{n}", "name": "Enhet"}) for n in (1, 2)])
    for n in range(6):
        unit, team = UNITS[n % 2], TEAMS[n // 2]
        with store.change() as change:
            row = referral(f"r-{n}", organisation=unit, team=team, patient=f"p-{n // 2}-{n % 2}")
            involved = (TEAMS[2],) if n == 0 else ()
            change.open_referral(replace(row, service_request=f"sr-{n}", involved=involved))
            change.write(list(_writes(n, unit, team)))
        with store.change() as change:
            changed = task(f"t-{n}", **_about(n), owner={"reference": f"HealthcareService/{team}"}, status="accepted")
            change.write([Write(changed, f"r-{n}", expect=1)])
    with store.change() as change:
        change.write([Write(communication("c-alone", recipient=[_unit(UNITS[0])]), "no-referral")])
    return store


def _about(n: int) -> dict[str, Any]:
    return {
        "focus": {"reference": f"ServiceRequest/sr-{n}"},
        "for": {"reference": f"Patient/p-{n // 2}-{n % 2}"},
        "requester": {"reference": f"Organization/o-{n % 2 + 1}"},
    }


def _unit(unit: str) -> Json:
    return {"reference": f"Organization/o-{unit[-1]}", "identifier": {"system": HSA, "value": unit}}


def _writes(n: int, unit: str, team: str) -> Iterator[Write]:
    subject = {"reference": f"Patient/p-{n // 2}-{n % 2}"}
    based_on = [{"reference": f"ServiceRequest/sr-{n}"}]
    under = f"r-{n}"
    yield Write(patient(f"p-{n // 2}-{n % 2}"))
    yield Write(service_request(f"sr-{n}", subject=subject), under)
    yield Write(task(f"t-{n}", **_about(n), owner={"reference": f"HealthcareService/{team}"}), under)
    child = {**_about(n), "partOf": [{"reference": f"Task/t-{n}"}], "owner": {"reference": "HealthcareService/gavle"}}
    yield Write(task(f"child-{n}", **child), under)
    reply = {"subject": subject, "basedOn": based_on, "partOf": [{"reference": f"Task/t-{n}"}]}
    yield Write(communication(f"c-{n}", **reply, recipient=[_unit(unit)]), under)
    # the other unit has a copy: it is still about this unit's referral
    yield Write(communication(f"copy-{n}", **reply, recipient=[_unit(UNITS[(n + 1) % 2]), _unit(unit)]), under)
    to_team = [{"reference": f"HealthcareService/{team}"}]
    yield Write(communication(f"said-{n}", **reply, recipient=to_team), under)


def may_see(store: Store, sight: Sight, stored: Stored) -> bool:
    """The table in plain Python: what a Sight lets through of the current resources."""
    if stored.type in sight.shared:
        return True
    number = stored.id.split("-")
    if stored.type == "Patient":
        rows = [n for n in range(6) if f"p-{n // 2}-{n % 2}" == stored.id]
    else:
        rows = [] if stored.id == "c-alone" else [int(number[-1])]
    mine = [
        n
        for n in rows
        if sight.every_referral
        or UNITS[n % 2] in sight.organisations
        or TEAMS[n // 2] in sight.teams
        or (n == 0 and TEAMS[2] in sight.teams)
    ]
    alone = stored.id == "c-alone" and (sight.every_referral or UNITS[0] in sight.organisations)
    if not sight.replies_only:
        return bool(mine) or alone
    if stored.type == "Task":
        return bool(mine) and stored.id.startswith("t-")
    if stored.type == "Communication":
        to = str(stored.content.get("recipient"))
        addressed = any(unit in to for unit in (UNITS if sight.every_referral else sight.organisations))
        return (bool(mine) or alone) and addressed
    return bool(mine) and stored.type in ("ServiceRequest", "Patient")


ORGANISATIONS = st.frozensets(st.sampled_from(UNITS))
SIGHTS = st.one_of(
    st.builds(Sight, st.just(SHARED), st.booleans(), ORGANISATIONS, st.frozensets(st.sampled_from(TEAMS))),
    st.builds(Sight, st.just(SHARED), st.booleans(), ORGANISATIONS, replies_only=st.just(True)),
)
CONDITIONS: dict[str, list[tuple[str, str]]] = {
    "Task": [
        ("owner", "HealthcareService/gavle"),
        ("status", "accepted"),
        ("status:not", "accepted"),
        ("focus.status", "active"),
        ("patient.identifier", "199002222397"),
        ("part-of:missing", "true"),
        ("requester:Organization.name", "enhet"),
        ("_id", "t-0,t-3,child-1"),
        ("authored-on", "ge2020-01-01"),
        ("_lastUpdated", "gt2020-01-01"),
    ],
    "Communication": [
        ("recipient:identifier", f"{HSA}|{UNITS[0]}"),
        ("status", "completed"),
        ("based-on.identifier", "PMO-2026-000123"),
        ("part-of:Task.status", "accepted"),
        ("sent", "gt2020-01-01"),
    ],
    "Patient": [("identifier", "199002222397"), ("name", "test"), ("birthdate", "1990-02-22")],
    "ServiceRequest": [("identifier", "PMO-2026-000123"), ("subject.name", "test"), ("status", "active")],
    "Organization": [("name", "enhet")],
}
INCLUDES = {
    "Task": [("_include", "Task:focus"), ("_include", "Task:patient"), ("_revinclude", "Communication:part-of")],
    "Communication": [("_include", "Communication:part-of"), ("_include:iterate", "Task:focus")],
    "Patient": [("_revinclude", "Task:patient"), ("_revinclude", "ServiceRequest:subject")],
    "ServiceRequest": [("_revinclude", "Task:focus"), ("_revinclude:iterate", "Communication:part-of")],
    "Organization": [("_revinclude", "Task:requester"), ("_revinclude", "Communication:recipient")],
}
SORTS: list[tuple[str, str]] = [("_sort", "_id"), ("_sort", "-_lastUpdated"), ("_sort", "-status,_id")]


@st.composite
def searches(draw: st.DrawFn) -> SearchQuery:
    type_ = draw(st.sampled_from(sorted(CONDITIONS)))
    asked = draw(st.lists(st.sampled_from(CONDITIONS[type_]), max_size=3, unique=True))
    asked += draw(st.lists(st.sampled_from(INCLUDES[type_]), max_size=2, unique=True))
    if type_ not in ("Patient", "Organization"):
        asked += draw(st.lists(st.sampled_from(SORTS), max_size=1))
    read = parse_query(type_, [*asked, ("_total", "accurate"), ("_count", "100")], strict=True)
    assert isinstance(read, SearchQuery), read
    return read


RUN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RUN
@given(searches(), SIGHTS)
def test_a_search_finds_what_everybody_together_finds_but_for_what_is_not_seen(
    filled: Store, asked: SearchQuery, sight: Sight
) -> None:
    seen, whole = filled.view().seen_by(sight).search(asked), filled.view().search(asked)
    wanted = [found.reference for found in whole.matches if may_see(filled, sight, found)]
    if any(clause.chained for clause in asked.clauses):  # what a chain leads to must be seen too
        assert {found.reference for found in seen.matches} <= set(wanted)
        wanted = [found.reference for found in whole.matches if _reached(filled, sight, asked, found)]
    assert [found.reference for found in seen.matches] == wanted
    assert seen.total == len(wanted)
    assert all(may_see(filled, sight, found) for found in seen.includes)
    if len(seen.matches) == len(whole.matches):
        by_seen_ones = {found.reference for found in whole.includes if may_see(filled, sight, found)}
        assert {found.reference for found in seen.includes} <= by_seen_ones
        if not asked.includes or not any(include.iterate for include in asked.includes):
            assert {found.reference for found in seen.includes} == by_seen_ones


def _reached(store: Store, sight: Sight, asked: SearchQuery, found: Stored) -> bool:
    """True for a match that is seen, and each chain of which leads to something seen."""
    if not may_see(store, sight, found):
        return False
    for clause in asked.clauses:
        if clause.chained:
            (path,) = clause.parameter.paths
            named = found.content.get(path, [])
            references = [one["reference"] for one in (named if isinstance(named, list) else [named])]
            types = {type_ for type_, _ in clause.chained}
            led = store.view().get_many(r for r in references if r.partition("/")[0] in types)
            if not any(may_see(store, sight, there) for there in led.values()):
                return False
    return True


@RUN
@given(SIGHTS)
def test_reads_and_histories_show_what_is_seen_and_nothing_else(filled: Store, sight: Sight) -> None:
    seen, whole = filled.view().seen_by(sight), filled.view()
    everything = [found for type_ in CONDITIONS for found in whole.search(query(type_)).matches]
    assert len(everything) > 40
    for stored in everything:
        expected = may_see(filled, sight, stored)
        assert (seen.get(stored.type, stored.id) is not None) is expected, stored.reference
        for version in range(1, stored.version + 1):
            assert (seen.version(stored.type, stored.id, version) is not None) is expected
        of_one = parse_history(stored.type, stored.id, [])
        assert isinstance(of_one, HistoryQuery)
        page = seen.history_page(of_one)
        assert (len(page.versions), page.total) == ((stored.version,) * 2 if expected else (0, 0))
    shown = {stored.reference for stored in everything if may_see(filled, sight, stored)}
    assert set(seen.get_many(stored.reference for stored in everything)) == shown
    for type_ in CONDITIONS:
        of_type = parse_history(type_, None, [("_count", "100")])
        assert isinstance(of_type, HistoryQuery)
        told = {version.reference for version in seen.history_page(of_type).versions}
        assert told == {reference for reference in shown if reference.startswith(f"{type_}/")}


# ---------------------------------------------------------------- what a token is good for


def _allowed(*searches: tuple[str, tuple[str, str]], others: tuple[str, ...] = ()) -> Sight:
    allowed = {type_: (query(type_, asked),) for type_, asked in searches}
    return replace(EVERYTHING, allowed={**dict.fromkeys(others, ()), **allowed})


def test_a_scope_with_a_search_leaves_exactly_what_it_finds(filled: Store) -> None:
    seen = filled.view().seen_by(_allowed(("Task", ("owner", "HealthcareService/norra-halsingland"))))
    assert sorted(found.id for found in seen.search(query("Task")).matches) == ["t-2", "t-3"]
    assert seen.search(query("Task", ("_summary", "count"))).total == 2
    assert seen.get("Task", "t-2") is not None
    assert seen.get("Task", "t-0") is None
    assert seen.get("Patient", "p-0-0") is None
    assert seen.version("Task", "t-2", 1) is not None
    assert seen.version("Task", "t-0", 1) is None
    assert set(seen.get_many(["Task/t-2", "Task/t-0", "ServiceRequest/sr-2"])) == {"Task/t-2"}


def test_what_has_no_scope_is_neither_included_nor_reached_by_a_chain(filled: Store) -> None:
    asked = query("Task", ("_include", "Task:focus"), ("_include", "Task:patient"))
    seen = filled.view().seen_by(_allowed(others=("Task", "Patient")))
    assert {found.type for found in seen.search(asked).includes} == {"Patient"}
    assert seen.search(query("Task", ("focus.status", "active"))).matches == ()
    assert seen.search(query("Patient", ("_revinclude", "ServiceRequest:subject"))).includes == ()
    assert len(seen.search(query("Task", ("patient.identifier", "199002222397"))).matches) == 12


def test_the_search_of_a_scope_may_be_a_chain(filled: Store) -> None:
    seen = filled.view().seen_by(_allowed(("Communication", ("part-of:Task.owner", "HealthcareService/samordning"))))
    found = {stored.id for stored in seen.search(query("Communication")).matches}
    assert found == {f"{name}-{n}" for name in ("c", "copy", "said") for n in (4, 5)}


def test_more_of_others_than_a_page_shows_does_not_hide_ones_own(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("includes", "seen"):
        monkeypatch.setattr(f"service.store.{module}.MAX_INCLUDES", 3)
    seen = filled.view().seen_by(Sight(SHARED, organisations=frozenset({UNITS[1]})))
    page = seen.search(query("Organization", ("_id", "o-2"), ("_revinclude", "ServiceRequest:requester")))
    assert not page.includes_cut
    page = seen.search(query("Organization", ("_revinclude", "Communication:recipient")))
    assert page.includes_cut
    assert all(may_see(filled, seen.sight, found) for found in page.includes)
