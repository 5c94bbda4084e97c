"""Which cards were shown, and what was done with them, in the journal: the id of a card, its rules, no patient.

Whoever keeps the rules reads it with `sluss cards`: a rule that is always overridden is perhaps wrong.
"""

from collections.abc import Sequence

from fhir_mappings.issues import Issue, IssueCode, error
from service.access.caller import Caller
from service.referral.cards import Card
from service.referral.hook_call import Feedback
from service.referral.house import House
from service.referral.refusal import Kind, Refusal
from service.store.records import JournalEntry

SHOWN = "card-shown"
OUTCOME = "card-outcome"


def note_shown(house: House, caller: Caller, service: str, cards: Sequence[Card]) -> None:
    """Keep which cards a service has shown."""
    if not cards:
        return
    with house.store.change() as change:
        change.journal(
            JournalEntry(
                journal_key(card.id),
                caller.label,
                SHOWN,
                {"service": service, "rules": list(card.rules), "indicator": card.body["indicator"]},
            )
            for card in cards
        )


def note_feedback(house: House, caller: Caller, service: str, given: Sequence[Feedback]) -> None:
    """Keep what was done with cards. Raises Refusal (not found) for one that this service has not shown to this
    caller; then nothing is kept.
    """
    with house.store.change() as change:
        unknown = [
            f"feedback[{position}].card"
            for position, one in enumerate(given)
            if not any(
                (entry.event, entry.actor, entry.detail.get("service")) == (SHOWN, caller.label, service)
                for entry in change.journal_of(journal_key(one.card))
            )
        ]
        if unknown:
            raise Refusal(Kind.NOT_FOUND, [_never_shown(place) for place in unknown])
        change.journal(
            JournalEntry(journal_key(one.card), caller.label, OUTCOME, _detail(one, house.canonical.override_reason))
            for one in given
        )


def journal_key(card: str) -> str:
    """What the journal calls a card."""
    return f"card/{card.lower()}"


def _detail(one: Feedback, ours: str) -> dict[str, str]:
    if one.reason is None:
        return {"outcome": one.outcome}
    system, code = one.reason
    # a code of a system that is not ours may be anybody's words
    return {"outcome": one.outcome, "reason": code if system == ours else "other"}


def _never_shown(place: str) -> Issue:
    return error(IssueCode.NOT_FOUND, place, "Kortet finns inte här.", "no card of this uuid was shown by this service")
