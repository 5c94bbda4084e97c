"""What became of what was received, on our side and on the external server's: counted from the rows here and the
resources there, without any help of the code that delivered them.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from fhir_mappings.records import Json
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.exchange.translate import REFERRAL_TYPES, SHARED_TYPES
from tests.faults.load import Known

Shown = Callable[[], Sequence[Json]]
"""Everything that the external server shows."""

_CANONICAL = Canonical("https://sluss.example/fhir")
_KEY = _CANONICAL.resource_key
_COPIED = frozenset((*REFERRAL_TYPES, *SHARED_TYPES))

_WAITING: LiteralString = """
SELECT (SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'deliver_referral')
     + (SELECT count(*) FROM exchange WHERE next_attempt_at IS NOT NULL)
     + (SELECT count(*) FROM referral r WHERE NOT EXISTS
           (SELECT FROM exchange e WHERE e.referral_id = r.id AND e.delivered_at IS NOT NULL))
"""


@dataclass(frozen=True)
class Tally:
    """The four figures, and for who must find a mistake, what is amiss."""

    received: int
    """Referrals that a client was told were received."""
    delivered: int
    """Of them, those that the external server shows whole and as they are here."""
    lost: int
    """Things acknowledged that are not here, and things here that are not there as they are here."""
    duplicated: int
    """Things that are here, or there, more than once."""
    amiss: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"received={self.received} delivered={self.delivered} lost={self.lost} duplicated={self.duplicated}"

    def is_whole(self, received: int) -> bool:
        """True when so many were received and nothing is lost or doubled."""
        return (self.received, self.delivered, self.lost, self.duplicated) == (received, received, 0, 0)


def settled(known: Mapping[str, Known], database_url: str, shown: Shown, patience: float = 180.0) -> Tally:
    """The tally when no delivery waits any longer and everything is there, or when patience ends."""
    until = time.monotonic() + patience
    while True:
        if not _waiting(database_url) or time.monotonic() > until:
            tally = count(known, database_url, shown())
            if tally.is_whole(len(known)) or time.monotonic() > until:
                return tally
        time.sleep(0.5)


def count(known: Mapping[str, Known], database_url: str, shown: Sequence[Json]) -> Tally:
    """The tally as it stands."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT type, id, referral_id, body FROM resource").fetchall()
        told = connection.execute(
            "SELECT id, body FROM resource WHERE type = 'Task' UNION ALL"
            " SELECT id, body FROM resource_history WHERE type = 'Task'"
        ).fetchall()
    here = {f"{type_}/{id_}": json.loads(text) for type_, id_, _, text in rows}
    referral_of = {f"{type_}/{id_}": referral for type_, id_, referral, _ in rows}
    statuses = defaultdict(set)
    for id_, text in told:
        statuses[f"Task/{id_}"].add(json.loads(text)["status"])
    there = _by_key(shown)
    delivered_types = [key for key in here if referral_of[key] and key.partition("/")[0] in REFERRAL_TYPES]
    ours = {key: f"{_identities(one)}" for key, one in here.items() if one["resourceType"] == "Patient"}
    theirs = _leads(shown)
    wrong = [key for key in delivered_types if key not in there or not _agree(here[key], ours, there[key][0], theirs)]
    incomplete = {referral_of[key] for key in wrong}
    lost = [f"{one.placer} is not here" for one in known.values() if one.order not in here]
    lost += [
        f"{one.placer} was told {status}"
        for one in known.values()
        for status in one.said
        if status not in statuses[f"Task/{one.task['id']}"]
    ]
    lost += [f"{key} is not there as it is here" for key in wrong]
    doubled = [f"{what} is here {many} times" for what, many in _singular(here, referral_of).items() if many > 1]
    doubled += [f"{key} is there {len(copies)} times" for key, copies in there.items() if len(copies) > 1]
    doubled += [f"{what} is there {many} times" for what, many in _people(shown).items() if many > 1]
    doubled += [f"{key} is there and not here" for key in there if key not in here]
    delivered = [one for one in known.values() if one.order in here and referral_of[one.order] not in incomplete]
    return Tally(len(known), len(delivered), len(lost), len(doubled), (*lost[:10], *doubled[:10]))


def _waiting(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_WAITING).fetchone()
    assert row is not None
    return int(row[0])


def _singular(here: Mapping[str, Json], referral_of: Mapping[str, str | None]) -> Counter[str]:
    """What there is one of: an order of each placer identifier; of a referral a Task, a plan, an acknowledgement."""
    found: Counter[str] = Counter()
    for key, one in here.items():
        type_, referral = one["resourceType"], referral_of[key]
        if type_ == "ServiceRequest":
            found.update(f"the order {i['system']}|{i['value']}" for i in one["identifier"])
        elif (type_ == "Task" and "fulfill" in _codes(one.get("code"))) or type_ == "CarePlan":
            found[f"the {type_} of {referral}"] += 1
        elif type_ == "Communication":
            said = [code for category in one.get("category", ()) for code in _codes(category)]
            found.update(f"{code} of {referral}" for code in said if code in _SAID_ONCE)
    return found


_SAID_ONCE = ("acknowledgement", "withdrawal-confirmed")


def _codes(concept: Json | None) -> list[str]:
    return [coding.get("code", "") for coding in (concept or {}).get("coding", ())]


def _by_key(shown: Sequence[Json]) -> dict[str, list[Json]]:
    """The external server's copies by our key."""
    found: dict[str, list[Json]] = defaultdict(list)
    for one in shown:
        for key in _keys(one):
            if key.partition("/")[0] in _COPIED:
                found[key].append(one)
    return found


def _keys(one: Json) -> list[str]:
    listed = one.get("identifier")
    keys = [i["value"] for i in (listed if isinstance(listed, list) else ()) if i.get("system") == _KEY]
    return keys + [tag["code"] for tag in one.get("meta", {}).get("tag", ()) if tag.get("system") == _KEY]


def _people(shown: Sequence[Json]) -> Counter[str]:
    return Counter(identity for one in shown if one["resourceType"] == "Patient" for identity in _identities(one))


def _identities(patient: Json) -> list[str]:
    return [i["value"] for i in patient.get("identifier", ()) if i.get("system") in IDENTITY_KINDS]


def _leads(shown: Sequence[Json]) -> dict[str, str]:
    """Where their references lead, in our words."""
    leads = {f"{one['resourceType']}/{one['id']}": key for one in shown for key in _keys(one)}
    people = (one for one in shown if one["resourceType"] == "Patient")
    return leads | {f"Patient/{one['id']}": f"{_identities(one)}" for one in people}


def _agree(one: Json, ours: Mapping[str, str], copy: Json, theirs: Mapping[str, str]) -> bool:
    """Whether both say the same. A party that is named by its identifier only leads to a resource there."""
    named = [name for name, value in one.items() if isinstance(value, dict) and "reference" not in value]
    logical = [name for name in named if "identifier" in one[name]]
    here, there = ({**_said(each, leads), **dict.fromkeys(logical)} for each, leads in ((one, ours), (copy, theirs)))
    return here == there


def _said(resource: Json, leads: Mapping[str, str]) -> Json:
    """Without what each server sets itself, and without our key."""
    said = {name: _led(value, leads) for name, value in resource.items() if name not in ("id", "meta")}
    if isinstance(said.get("identifier"), list):
        said["identifier"] = [i for i in said["identifier"] if i.get("system") != _KEY]
    return {name: value for name, value in said.items() if value != []}


def _led(element: Any, leads: Mapping[str, str]) -> Any:
    if isinstance(element, list):
        return [_led(item, leads) for item in element]
    if not isinstance(element, dict):
        return element
    out = {name: _led(value, leads) for name, value in element.items()}
    if isinstance(out.get("reference"), str):
        out["reference"] = leads.get(out["reference"], out["reference"])
    return out
