"""What the record holds of one patient, for the patient: who looked, from which unit, when and what for (PDL 8:5,
HSLF-FS 2016:40 4:10). In Swedish.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from fhir_mappings.audit_event import TREATING, Recorded
from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.records import HsaId, Json
from service.packs.model import Pack

_DONE = {
    "create": "lade in",
    "transaction": "lade in",
    "read": "läste",
    "vread": "läste",
    "history-instance": "läste tidigare versioner av",
    "history-type": "läste tidigare versioner av",
    "search-type": "sökte fram",
    "update": "ändrade",
    "patch": "ändrade",
    "delete": "tog bort",
    "operation": "prövade en remiss för",
    "delivery": "skickade till regionens server",
    "collection": "hämtade från regionens server",
    "administration": "gjorde ett utdrag om",
}
_THINGS = {
    "ServiceRequest": "remissen",
    "Task": "ärendet",
    "Communication": "ett meddelande",
    "CarePlan": "vårdplanen",
    "Observation": "en skattning",
    "QuestionnaireResponse": "ett formulärsvar",
    "Condition": "diagnosen",
    "Appointment": "en bokning",
    "Patient": "personuppgifterna",
}
_WHO = {
    "referrer": "remittenten",
    "therapist": "behandlare",
    "platform": "journalsystemet",
    "administrator": "administratör",
    "sluss": "Sluss (automatiskt)",
}


def lines_of(events: Sequence[Recorded], pack: Pack) -> Iterator[str]:
    """One line for each event."""
    for event in events:
        one = account_of(event, pack)
        from_where = f", {'; '.join(one['units'])}" if one["units"] else ""
        why = f". Ändamål: {one['purpose']}" if one["purpose"] else ""
        denied = " (nekades)" if event.outcome else ""
        yield f"{one['when']}  {one['who']}{from_where}: {one['what']}{denied}{why}."


def account_of(event: Recorded, pack: Pack) -> Json:
    """What a line says, as JSON."""
    return {
        "when": _when(event.recorded),
        "who": _who(event),
        "units": list(_units(event, pack)),
        "what": _what(event),
        "denied": event.outcome != 0,
        "purpose": event.reason or ("vård" if event.role in TREATING else ""),
    }


def _when(moment: datetime) -> str:
    return moment.astimezone(SWEDEN).strftime("%Y-%m-%d %H:%M")


def _who(event: Recorded) -> str:
    who = _WHO.get(event.role, "okänd")
    named = [f"HSA-id {event.person}"] if event.person else []
    named += [f"system {event.client}"] if event.client else []
    return f"{who} ({', '.join(named)})" if named else who


def _units(event: Recorded, pack: Pack) -> Iterator[str]:
    for hsa_id in dict.fromkeys((*([event.unit] if event.unit else ()), *event.organisations)):
        unit = pack.units.get(HsaId(hsa_id))
        yield f"{unit.name} ({hsa_id})" if unit else hsa_id
    for id_ in event.teams:
        team = pack.teams.get(id_)
        yield team.name if team else id_


def _what(event: Recorded) -> str:
    things = [_THINGS[type_] for type_ in (one.partition("/")[0] for one in event.about) if type_ in _THINGS]
    return f"{_DONE.get(event.interaction, 'använde')} {things[0] if things else 'uppgifter'}"
