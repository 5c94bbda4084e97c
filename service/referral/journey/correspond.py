"""A Communication is posted: the referrer answers or adds, the therapist replies or corrects (contract 6, 7)."""

from fhir_mappings import task as tasks
from fhir_mappings.communication import category_of, text_of
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, MessageCategory, Priority, Reference, Verdict
from fhir_mappings.service_request import unknown_modifier_extensions
from fhir_mappings.terminology import HSA_SYSTEMS, NATIONAL_MESSAGE_CODES, Systems
from service.access.caller import Caller
from service.access.rights import Actor, actors
from service.referral.case import Case, team_reference
from service.referral.house import House
from service.referral.journey.opening import open_case
from service.referral.journey.ownership import is_unrouted, team_of
from service.referral.refusal import Kind, Refusal, forbidden
from service.referral.routing import NEEDS_ROUTING
from service.store.records import Stored

THERAPIST_MAY = frozenset(
    {
        MessageCategory.FINAL_REPLY,
        MessageCategory.INTERIM_REPLY,
        MessageCategory.INFORMATION,
        MessageCategory.CORRECTION,
    }
)
REFERRER_MAY = frozenset({MessageCategory.INFORMATION, MessageCategory.CORRECTION})


def correspond(house: House, caller: Caller, sent: Json) -> Stored:
    """Store a message of the referrer or of the therapist, and do what follows from it. Raises Refusal."""
    about = _about(sent)
    with house.store.change() as change:
        case = open_case(house, change, caller, about)
        owner = team_of(house, tasks.owner_of(case.task))
        who = actors(
            caller,
            owner.id if owner else None,
            case.row.organisation,  # type: ignore[arg-type]  # stored as text
            house.pack.coordination,
        )
        if Actor.OWNER in who:
            reference = _from_therapist(case, sent)
        elif Actor.REQUESTER in who:
            reference = _from_referrer(case, sent)
        else:
            raise forbidden(
                "Du är varken remittent eller behandlare i det här ärendet.",
                f"caller {caller.label!r} is neither the requester nor the owner's team",
            )
        return case.save()[reference]


def _about(sent: Json) -> Reference:
    """The referral that a message is about: its Task, or its ServiceRequest."""
    for name in ("partOf", "basedOn"):
        for _, reference in children(sent, name):
            literal = text(reference, "reference")
            if literal and literal.startswith(("Task/", "ServiceRequest/")):
                return Reference(literal)
    raise Refusal(
        Kind.INVALID,
        [
            error(
                IssueCode.REQUIRED,
                "Communication.basedOn",
                "Ange vilken remiss meddelandet gäller.",
                "basedOn must refer to the ServiceRequest, or partOf to the referral's Task",
            )
        ],
    )


def _checked(
    case: Case, sent: Json, may: frozenset[MessageCategory], default: MessageCategory | None
) -> MessageCategory:
    """The category, after all that every message needs. `default` is for a message without any category of ours; one
    that we do not know, or two at once, nobody guesses.
    """
    coded = [
        coding.get("code")
        for concept in sent.get("category", ())
        for coding in concept.get("coding", ())
        if coding.get("system") == case.canonical.message
    ]
    category = category_of(sent, case.canonical) if len(coded) == 1 else None if coded else default
    issues: list[Issue] = []
    if category is None or category not in may:
        allowed = ", ".join(sorted(may))
        issues.append(
            error(
                IssueCode.CODE_INVALID,
                "Communication.category",
                f"Ange vad meddelandet är: {allowed}.",
                f"category needs one coding of {case.canonical.message}: {allowed}",
            )
        )
    if not text_of(sent).strip():
        issues.append(
            error(
                IssueCode.REQUIRED,
                "Communication.payload",
                "Meddelandet har ingen text.",
                "payload.contentString is required",
            )
        )
    if sent.get("status") != "completed":
        issues.append(
            error(
                IssueCode.VALUE,
                "Communication.status",
                "Ett meddelande som skickas är completed.",
                "status must be completed",
            )
        )
    issues += [*_posing(case, sent, may), *_answered(case, sent, category)]
    issues += unknown_modifier_extensions(sent, "Communication")
    if issues or category is None:
        raise Refusal(Kind.INVALID, issues)
    return category


def _posing(case: Case, sent: Json, may: frozenset[MessageCategory]) -> list[Issue]:
    """Neither side writes in the other's name; a person or a unit of its own is for each to say."""
    sender = Reference(text(child(sent, "sender"), "reference") or "")
    others = team_of(case.house, sender) is not None if may is REFERRER_MAY else sender == case.organisation
    if not others:
        return []
    return [
        error(
            IssueCode.VALUE,
            "Communication.sender",
            "Meddelandet är skrivet i någon annans namn.",
            "sender must not be the other side of the referral",
        )
    ]


def _answered(case: Case, sent: Json, category: MessageCategory | None) -> list[Issue]:
    """What it answers belongs to the same referral; a correction always answers what it corrects."""
    answered = [text(r, "reference") or "" for _, r in children(sent, "inResponseTo")]
    unknown = [a for a in answered if not a.startswith("Communication/") or case.get(Reference(a)) is None]
    if unknown or (category is MessageCategory.CORRECTION and not answered):
        return [
            error(
                IssueCode.VALUE if unknown else IssueCode.REQUIRED,
                "Communication.inResponseTo",
                "Ange vilket meddelande i samma remiss som detta svarar på eller rättar.",
                "inResponseTo must refer to a Communication of the same referral",
            )
        ]
    return []


def _from_referrer(case: Case, sent: Json) -> Reference:
    """Text from the referrer: it answers an information request, else it is a note to the therapist.

    Text is not assessed anew; after an information request the therapist decides with it in hand.
    """
    category = _checked(case, sent, REFERRER_MAY, MessageCategory.INFORMATION)
    reference = case.put(
        {
            **_without_server_elements(sent),
            "id": case.house.new_id(),
            "subject": {"reference": case.patient},
            "basedOn": _with(sent, "basedOn", case.order_reference),
            "sent": sent.get("sent", case.at),
            "sender": sent.get("sender", {"reference": case.organisation}),
            "recipient": sent.get("recipient") or [{"reference": team_reference(case.team.id)}],
        }
    )
    case.note(text_of(sent), author=f"Remittent {case.row.organisation}")
    case.record("informed", communication=reference)
    task = case.task
    if category is MessageCategory.INFORMATION and task["status"] == "on-hold" and not case.has_started:
        status = tasks.business_status(NEEDS_ROUTING, case.canonical) if is_unrouted(case) else None
        case.move(task, "requested", businessStatus=status, statusReason=None)
        case.set(verdict=str(Verdict.REVIEW))
    return reference


def _from_therapist(case: Case, sent: Json) -> Reference:
    """A reply of the therapist. It always reaches the referring organisation by reference and HSA-id, so that a
    platform that polls by identifier finds it; a unit without a platform gets it passed on.
    """
    category = _checked(case, sent, THERAPIST_MAY, None)
    relay = case.must_be_relayed
    id_ = case.house.new_id()
    message: Json = {
        "priority": str(Priority.ROUTINE),
        **_without_server_elements(sent),
        "id": id_,
        "identifier": [
            *sent.get("identifier", ()),
            {"system": case.canonical.identifier("communication"), "value": id_},
        ],
        "category": _categories(case, sent, category),
        "subject": {"reference": case.patient},
        "basedOn": _with(sent, "basedOn", case.order_reference),
        "partOf": _with(sent, "partOf", Reference(f"Task/{case.task['id']}")),
        "sender": sent.get("sender", {"reference": team_reference(case.team.id)}),
        "recipient": _recipients(case, sent),
        "sent": sent.get("sent", case.at),
    }
    if relay:
        message |= {"status": "preparation"}
        del message["sent"]
    reference = case.put(message)
    case.record("told", category=str(category), communication=reference)
    if relay:
        case.ask_to_relay(reference)
    return reference


def _without_server_elements(sent: Json) -> Json:
    return {name: value for name, value in sent.items() if name not in ("id", "meta")}


def _with(sent: Json, name: str, reference: Reference) -> list[Json]:
    """The references as sent, with ours among them."""
    given: list[Json] = sent.get(name, [])
    return given if any(r.get("reference") == reference for r in given) else [*given, {"reference": reference}]


def _recipients(case: Case, sent: Json) -> list[Json]:
    """The recipients as sent; the referring organisation is one of them, by reference and HSA-id."""
    ours = {
        "reference": case.organisation,
        "identifier": {"system": str(Systems.HSA_ID), "value": case.row.organisation},
    }
    others = [
        recipient
        for recipient in sent.get("recipient", [])
        if recipient.get("reference") != case.organisation
        and not (
            child(recipient, "identifier").get("system") in HSA_SYSTEMS
            and child(recipient, "identifier").get("value") == case.row.organisation
        )
    ]
    return [ours, *others]


def _categories(case: Case, sent: Json, category: MessageCategory) -> list[Json]:
    """The categories as sent, with the national code where one exists and is not there."""
    code = NATIONAL_MESSAGE_CODES.get(category)
    categories: list[Json] = sent.get("category", [])
    national = case.canonical.national_message
    known = {(c.get("system"), c.get("code")) for concept in categories for c in concept.get("coding", ())}
    if code is None or (national, code) in known:
        return categories
    return [*categories, {"coding": [{"system": national, "code": code}]}]
