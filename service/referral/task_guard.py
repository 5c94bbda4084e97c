"""Which elements of a Task a client may change, and how (contract 7). Pure."""

from collections.abc import Iterator, Sequence

from fhir_mappings.elements import child, children
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json
from fhir_mappings.service_request import unknown_modifier_extensions
from fhir_mappings.task import BUSINESS_STATUS, OUTPUT_TITLES, outputs_of
from fhir_mappings.terminology import Canonical
from service.access.rights import Actor
from service.referral.case import SLUSS_AUTHOR

OWNER_MAY = frozenset(
    {"status", "statusReason", "businessStatus", "owner", "output", "note", "executionPeriod"},
)
COORDINATION_MAY = frozenset({"status", "statusReason", "owner", "note"})
REQUESTER_MAY = frozenset({"status", "statusReason", "note"})
IGNORED = frozenset({"meta", "lastModified"})
"""Sluss sets these itself; whatever a client sends for them is left aside."""

IN_WORDS = frozenset({"final-reply", "interim-reply"})
"""The outputs that are sent to the referrer as they are written."""


def guard(current: Json, sent: Json, who: frozenset[Actor], canonical: Canonical) -> list[Issue]:
    """Every element of `sent` that differs from `current` and that `who` may not change, or not in this way."""
    may = _may_change(who)
    issues = [
        error(
            IssueCode.BUSINESS_RULE,
            f"Task.{name}",
            f"Elementet {name} får inte ändras. Ändras får: {', '.join(sorted(may))}.",
            f"Task.{name} must equal what is stored; changeable here: {', '.join(sorted(may))}",
        )
        for name in _differing(current, sent)
        if name not in may
    ]
    issues += _notes(current, sent)
    added = sent.get("note", [])[len(current.get("note", [])) :]
    issues += () if Actor.SLUSS in who else forged(added)
    return [*issues, *_business_status(sent, canonical), *_outputs(current, sent, canonical)]


def is_move(current: Json, sent: Json) -> bool:
    """True when anything differs at all but what Sluss sets itself."""
    return bool(_differing(current, sent))


def _may_change(who: frozenset[Actor]) -> frozenset[str]:
    may: frozenset[str] = frozenset()
    if Actor.OWNER in who or Actor.SLUSS in who:
        may |= OWNER_MAY
    if Actor.COORDINATION in who:
        may |= COORDINATION_MAY
    if Actor.REQUESTER in who:
        may |= REQUESTER_MAY
    return may


def _differing(current: Json, sent: Json) -> list[str]:
    names = sorted({*current, *sent} - IGNORED)
    return [name for name in names if current.get(name) != sent.get(name)]


def _notes(current: Json, sent: Json) -> list[Issue]:
    """Notes are append-only."""
    old = current.get("note", [])
    if sent.get("note", [])[: len(old)] == old:
        return []
    return [
        error(
            IssueCode.BUSINESS_RULE,
            "Task.note",
            "Anteckningar kan bara läggas till, inte ändras eller tas bort.",
            "Task.note is append-only: it must begin with the stored notes in their order",
        )
    ]


def forged(notes: Sequence[Json]) -> Iterator[Issue]:
    """A problem where one of these new notes is signed by Sluss: what Sluss says is believed, so that nobody else says
    it. Which note it is, is not told: the number would tell of those that are withheld.
    """
    if any(str(note.get("authorString", "")).strip().casefold() == SLUSS_AUTHOR.casefold() for note in notes):
        yield error(
            IssueCode.BUSINESS_RULE,
            "Task.note.authorString",
            "Bara Sluss skriver i Sluss namn. Ange vem som har skrivit anteckningen.",
            f"a new note's authorString must not be {SLUSS_AUTHOR!r}: say who has written it",
        )


def _business_status(sent: Json, canonical: Canonical) -> list[Issue]:
    """A status in our CodeSystem is one that it has."""
    return [
        error(
            IssueCode.CODE_INVALID,
            f"Task.businessStatus.coding[{j}].code",
            f"Okänd status: {coding.get('code')}.",
            f"unknown code {coding.get('code')!r}; known: {', '.join(sorted(BUSINESS_STATUS))}",
        )
        for j, coding in children(child(sent, "businessStatus"), "coding")
        if coding.get("system") == canonical.business_status and coding.get("code") not in BUSINESS_STATUS
    ]


def _outputs(current: Json, sent: Json, canonical: Canonical) -> list[Issue]:
    """What Sluss has put there and what the referrer has been told stays; a type in our CodeSystem is one that it has,
    and a reply has words.
    """
    plan = outputs_of(current, "care-plan", canonical), outputs_of(sent, "care-plan", canonical)
    told = outputs_of(current, "interim-reply", canonical)
    kept = outputs_of(sent, "interim-reply", canonical)[: len(told)]
    return [
        *([] if plan[0] == plan[1] else [_set_by_sluss()]),
        *([] if kept == told else [_told_already()]),
        *(issue for i, output in children(sent, "output") for issue in _output(i, output, canonical)),
        *(
            issue
            for i, output in children(sent, "output")
            if output not in current.get("output", ())
            for issue in unknown_modifier_extensions(output, f"Task.output[{i}]")
        ),
    ]


def _output(i: int, output: Json, canonical: Canonical) -> Iterator[Issue]:
    codes = [
        (j, coding.get("code"))
        for j, coding in children(output.get("type", {}), "coding")
        if coding.get("system") == canonical.task_output
    ]
    for j, code in codes:
        if code not in OUTPUT_TITLES:
            yield error(
                IssueCode.CODE_INVALID,
                f"Task.output[{i}].type.coding[{j}].code",
                f"Okänd typ av utdata: {code}.",
                f"unknown code {code!r}; known: {', '.join(sorted(OUTPUT_TITLES))}",
            )
        elif code in IN_WORDS and not str(output.get("valueString", "")).strip():
            yield error(
                IssueCode.REQUIRED,
                f"Task.output[{i}].valueString",
                "Svaret har ingen text.",
                f"an output of type {code!r} needs a valueString",
            )


def _set_by_sluss() -> Issue:
    return error(
        IssueCode.BUSINESS_RULE,
        "Task.output",
        "Utdata av typen care-plan sätts av Sluss och får inte ändras.",
        "outputs of type 'care-plan' are set by Sluss and must stay",
    )


def _told_already() -> Issue:
    return error(
        IssueCode.BUSINESS_RULE,
        "Task.output",
        "Delsvaret är redan skickat. Skicka en rättelse i stället (Communication correction).",
        "outputs of type 'interim-reply' were sent and must stay; send a Communication of category correction",
    )
