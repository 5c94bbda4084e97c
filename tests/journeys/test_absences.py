"""Teams that are away, and who takes their referrals meanwhile (contract 5)."""

from datetime import date

from service.packs.model import Absence
from service.referral.journey.timers import enter_absence
from service.store.records import AbsenceRow
from tests.journeys.conftest import Service
from tests.journeys.referrals import referral
from tests.journeys.steps import accept, messages, notes_of, refer, route_of, task_of


def away(
    service: Service, team: str, substitute: str | None, first: str = "2026-11-20", last: str = "2026-11-30"
) -> None:
    with service.store.change() as change:
        change.enter_absence(AbsenceRow(team, date.fromisoformat(first), date.fromisoformat(last), substitute))


def owner(service: Service, received: str) -> str:
    return str(task_of(service, received)["owner"]["reference"]).removeprefix("HealthcareService/")


def test_the_substitute_gets_what_comes_while_a_team_is_away(service: Service) -> None:
    away(service, "gavle", "norra-halsingland")
    received = refer(service, referral())
    assert owner(service, received) == "norra-halsingland"
    assert route_of(task_of(service, received)) == "unit-directory"
    assert "Frånvarande" in notes_of(task_of(service, received))


def test_the_days_are_counted_in_sweden_first_and_last_included(service: Service) -> None:
    away(service, "gavle", "norra-halsingland", "2026-11-24", "2026-11-24")
    for number, (moment, team) in enumerate(
        (
            ("2026-11-23T23:59", "gavle"),
            ("2026-11-24T00:00", "norra-halsingland"),
            ("2026-11-24T23:59", "norra-halsingland"),
            ("2026-11-25T00:00", "gavle"),
        )
    ):
        service.clock.set(moment)
        assert owner(service, refer(service, referral(f"R-{number}"))) == team, moment


def test_a_substitute_that_is_away_passes_it_on(service: Service) -> None:
    away(service, "gavle", "norra-halsingland")
    away(service, "norra-halsingland", "sodra-halsingland")
    assert owner(service, refer(service, referral())) == "sodra-halsingland"


def test_a_circle_of_substitutes_goes_to_coordination(service: Service) -> None:
    away(service, "gavle", "norra-halsingland")
    away(service, "norra-halsingland", "gavle")
    received = refer(service, referral())
    assert owner(service, received) == service.house.pack.coordination
    assert route_of(task_of(service, received)) == "needs-routing"
    assert task_of(service, received)["businessStatus"]["coding"][0]["code"] == "needs-routing"


def test_entering_an_absence_moves_what_waits_and_leaves_what_is_accepted(service: Service) -> None:
    waiting, taken = refer(service, referral("R-1")), refer(service, referral("R-2", identity="200302022389"))
    accept(service, taken)
    first, last = date(2026, 11, 23), date(2026, 11, 30)
    enter_absence(service.house, Absence("gavle", first, last, "norra-halsingland"))
    assert (owner(service, waiting), owner(service, taken)) == ("norra-halsingland", "gavle")
    assert len(messages(service, waiting, "rerouted")) == 1


def test_an_amendment_moves_what_is_not_accepted_and_leaves_what_is(service: Service) -> None:
    waiting, taken = refer(service, referral("R-1")), refer(service, referral("R-2", identity="200302022389"))
    accept(service, taken)
    away(service, "gavle", "norra-halsingland")
    for received in (waiting, taken):
        order = service.referrer().read(received)
        assert service.referrer().put(received, {**order, "note": [{"text": "x"}]}).status_code == 200
    assert (owner(service, waiting), owner(service, taken)) == ("norra-halsingland", "gavle")
