"""Findings that are for the team only (contract 4): that a patient has a referral from another unit is not for the unit
that refers. Their verdict counts, and the team reads them on the Task; everybody else is shown the Task without them.
"""

from collections.abc import Callable
from dataclasses import replace

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from fhir_mappings.task import findings_of, inputs_but
from fhir_mappings.terminology import Canonical
from service.packs.model import Pack
from service.packs.texts import is_worded, recalled
from service.referral.case import SLUSS_AUTHOR
from service.store.records import Stored


def withholding(pack: Pack, canonical: Canonical) -> Callable[[Stored], Stored]:
    """Takes from a stored Task what is for the team only; any other resource stays as it is."""

    def withhold(stored: Stored) -> Stored:
        if stored.type != "Task":
            return stored
        shown = without_team_only(stored.content, pack, canonical)
        return stored if shown is stored.content else replace(stored, body=dump(shown))

    return withhold


def without_team_only(task: Json, pack: Pack, canonical: Canonical) -> Json:
    """The Task without the findings, and the notes of them, that are for the team only; the same when there is none.
    Nothing says that something is left out: that would tell it just as well.
    """
    hidden = [finding for finding in findings_of(task, canonical) if recalled(finding, pack).team_only]
    texts = {finding.text for finding in hidden}
    told = [outcome.text for rule in pack.rules for outcome in rule.outcomes if outcome.team_only]
    notes = [
        note
        for note in task.get("note", ())
        if not (
            note.get("authorString") == SLUSS_AUTHOR
            # a note stays when a later assessment no longer finds it
            and (note.get("text") in texts or any(is_worded(template, note.get("text", "")) for template in told))
        )
    ]
    if not hidden and len(notes) == len(task.get("note", ())):
        return task
    shown = {**task, "note": notes, "input": inputs_but(task, hidden, canonical)}
    return {name: value for name, value in shown.items() if value != []}


def as_stored(sent: Json, current: Json, pack: Pack, canonical: Canonical) -> Json:
    """The Task that a client means by the one that it was shown in part and sends back changed: with what was withheld,
    where it has left the rest of these elements alone.
    """
    shown = without_team_only(current, pack, canonical)
    if shown is current:
        return sent
    whole = dict(sent)
    for name in ("input", "note"):
        stored, seen, given = current.get(name, []), shown.get(name, []), sent.get(name, [])
        if given[: len(seen)] == seen:
            whole[name] = [*stored, *given[len(seen) :]]
        else:  # what was withheld is there besides: who guesses at it changes something, as where there is nothing
            whole[name] = [*(one for one in stored if one not in seen), *given]
    return {name: value for name, value in whole.items() if value != []}
