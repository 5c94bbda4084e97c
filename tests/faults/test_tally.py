"""The tally of the other tests sees what is lost and what is doubled."""

from collections.abc import Sequence
from dataclasses import replace

from fhir_mappings.records import Json
from tests.faults.conftest import MakeSluss
from tests.faults.load import Known, Load
from tests.faults.outside import StandIn
from tests.faults.tally import count, settled


def test_what_is_lost_altered_or_doubled_is_counted(database: str, outside: StandIn, make_sluss: MakeSluss) -> None:
    load = Load(make_sluss(database, outside.url).urls, 0)
    load.run(range(4))
    assert settled(load.known, database, outside.shown).is_whole(4)
    shown = outside.shown()
    (order,) = (one for one in shown if one.get("identifier", [{}])[0].get("value") == "F-1")
    without = [one for one in shown if one is not order]

    def figures(known: dict[str, Known], shown: Sequence[Json]) -> tuple[int, int, int, int]:
        tally = count(known, database, shown)
        return tally.received, tally.delivered, tally.lost, tally.duplicated

    assert figures(load.known, without)[:2] == (4, 3)
    assert figures(load.known, without)[2] > 0
    altered = [*without, {**order, "priority": "asap"}]
    assert figures(load.known, altered) == (4, 3, 1, 0)
    assert figures(load.known, [*shown, {**order, "id": "again"}]) == (4, 4, 0, 1)
    of_nothing = {"system": "https://sluss.example/fhir/identifier/resource", "value": "Task/of-nothing"}
    assert figures(load.known, [*shown, {"resourceType": "Task", "id": "x", "identifier": [of_nothing]}]) == (
        4,
        4,
        0,
        1,
    )
    (patient,) = (one for one in shown if f"Patient/{one['id']}" == order["subject"]["reference"])
    assert figures(load.known, [*shown, {**patient, "id": "again"}])[3] == 1
    forgotten = {**load.known, "F-9": Known("F-9", "ServiceRequest/never-stored")}
    assert figures(forgotten, shown) == (5, 4, 1, 0)
    moved = replace(load.known["F-1"], said=["received", "completed"])
    assert figures({**load.known, "F-1": moved}, shown) == (4, 4, 1, 0)
