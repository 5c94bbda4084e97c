"""A Communication was posted or changed on the external server."""

from fhir_mappings.elements import children
from fhir_mappings.issues import IssueCode, error
from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import HSA_SYSTEMS
from service.access.caller import Caller, Role
from service.exchange.both_sides import BothSides, Step, check, team_caller
from service.exchange.original import literals, without_server_elements
from service.referral.journey.correspond import correspond
from service.referral.journey.elsewhere import turn_down
from service.referral.journey.ownership import team_of
from service.store.collection_state import Outcome, Standing
from service.store.exchange_state import OVERRULED, THEIRS

CHANGE = "Ändringen av meddelandet"
_SAYS = ("status", "category", "payload")
_NOT_EDITED = error(
    IssueCode.BUSINESS_RULE,
    "Communication",
    "Ett skickat meddelande ändras inte: skicka ett nytt av kategorin correction som svar på det.",
    "a message that was sent is never edited; send a correction that is inResponseTo it",
)


def posted(sides: BothSides, step: Step) -> Outcome | None:
    """A new message, of the therapist or of the referrer; None for one that is not sent yet."""
    if step.change.resource.get("status") != "completed":
        return None
    sent = sides.original(step.change.resource)
    caller = _sender_of(sides, sent)

    def tell() -> Reference:
        check(sent)
        return correspond(sides.making(step.change), caller, without_server_elements(sent)).reference

    # a therapist's message gets what the referrer finds it by; a referrer's is left as it is
    acknowledged = OVERRULED if caller.role is Role.THERAPIST else THEIRS
    return sides.made(step, caller, sent, "Meddelandet", tell, acknowledged=acknowledged)


def edited(sides: BothSides, step: Step, standing: Standing) -> Outcome | None:
    """The referrer's own message: it was read as it was. None where it still says what it said."""
    reference = standing.copy.reference
    stored, after = sides.stored(reference).content, sides.original(step.change.resource)
    sides.adopt(step, reference)
    if all(stored.get(name) == after.get(name) for name in _SAYS):
        return None
    turn_down(sides.house, sides.referrer(), reference, CHANGE, [_NOT_EDITED])
    return Outcome.TURNED_DOWN


def _sender_of(sides: BothSides, sent: Json) -> Caller:
    """The team or the referring unit, by the sender, else by what the message hangs on."""
    team = team_of(sides.house, Reference(next(literals(sent, "sender"), "")))
    if team is not None:
        return team_caller(team)
    on_a_task = any(literal.startswith("Task/") for literal in literals(sent, "partOf"))
    if not on_a_task or sides.row().organisation in _units(sides, sent.get("sender", {})):
        return sides.referrer()
    return sides.owner_of(sides.task())


def _units(sides: BothSides, named: Json) -> set[str]:
    """HSA-ids of the unit that a Reference names, by itself, by the Organization or by the role in it."""
    found = _hsa_ids({"identifier": [named.get("identifier", {})]})
    resource = _resource(sides, next(literals({"named": named}, "named"), ""))
    if resource.get("resourceType") == "PractitionerRole":
        return found | _units(sides, resource.get("organization", {}))
    return found | _hsa_ids(resource)


def _resource(sides: BothSides, literal: str) -> Json:
    """The provider that a reference leads to, here or there; empty when it cannot be read."""
    base = f"{sides.reader.base_url}/"
    type_, _, id_ = literal.removeprefix(base).partition("/")
    if type_ not in ("Organization", "PractitionerRole"):
        return {}
    if literal.startswith(base):
        change = sides.read(type_, id_)
        return sides.original(change.resource) if change is not None else {}
    stored = sides.house.store.view().get(type_, id_)
    return stored.content if stored is not None else {}


def _hsa_ids(resource: Json) -> set[str]:
    return {
        str(identifier["value"])
        for _, identifier in children(resource, "identifier")
        if identifier.get("system") in HSA_SYSTEMS and identifier.get("value")
    }
