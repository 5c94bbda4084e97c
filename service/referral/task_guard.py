"""Which elements of a Task a client may change, and how (contract 7). Pure."""

from fhir_mappings.elements import children
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json
from fhir_mappings.task import outputs_of
from fhir_mappings.terminology import Canonical
from service.access.rights import Actor

OWNER_MAY = frozenset(
    {"status", "statusReason", "businessStatus", "owner", "output", "note", "executionPeriod"},
)
COORDINATION_MAY = frozenset({"status", "statusReason", "owner", "note"})
REQUESTER_MAY = frozenset({"status", "statusReason", "note"})
IGNORED = frozenset({"meta", "lastModified"})
"""Sluss sets these itself; whatever a client sends for them is left aside."""

KNOWN_OUTPUTS = frozenset({"final-reply", "interim-reply", "progress", "madrs-s", "care-plan"})
"""CodeSystem `task-output`."""


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
    return [*issues, *_notes(current, sent), *_outputs(current, sent, canonical)]


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


def _outputs(current: Json, sent: Json, canonical: Canonical) -> list[Issue]:
    """What Sluss has put there stays, and a type in our CodeSystem is one that it has."""
    issues = []
    for ours in ("care-plan",):
        if outputs_of(current, ours, canonical) != outputs_of(sent, ours, canonical):
            issues.append(
                error(
                    IssueCode.BUSINESS_RULE,
                    "Task.output",
                    f"Utdata av typen {ours} sätts av Sluss och får inte ändras.",
                    f"outputs of type {ours!r} are set by Sluss and must stay",
                )
            )
    for i, output in children(sent, "output"):
        for j, coding in children(output.get("type", {}), "coding"):
            if coding.get("system") == canonical.task_output and coding.get("code") not in KNOWN_OUTPUTS:
                issues.append(
                    error(
                        IssueCode.CODE_INVALID,
                        f"Task.output[{i}].type.coding[{j}].code",
                        f"Okänd typ av utdata: {coding.get('code')}.",
                        f"unknown code {coding.get('code')!r}; known: {', '.join(sorted(KNOWN_OUTPUTS))}",
                    )
                )
    return issues
