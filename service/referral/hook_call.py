"""A CDS Hooks request and its feedback, read from JSON; every problem at once. Pure. https://cds-hooks.hl7.org/2.0/"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fhir_mappings.elements import child, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json
from service.referral.draft import Context, sent_along

OUTCOMES = ("accepted", "overridden")


@dataclass(frozen=True, slots=True)
class HookCall:
    """A call of one of our services."""

    instance: str
    draft_orders: Json
    selections: tuple[str, ...] | None
    """For order-select the orders that were just chosen; None for order-sign, which is about all."""
    context: Context


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody did with a card. What they wrote in their own words is not read: it may be about a patient."""

    card: str
    outcome: str
    reason: tuple[str, str] | None = None
    """(system, code) of why it was overridden."""


def read_call(body: Json, hook: str) -> HookCall | list[Issue]:
    """The call in `body`, which must be of `hook` (order-sign or order-select)."""
    context = child(body, "context")
    draft_orders = child(context, "draftOrders")
    selections = context.get("selections")
    issues = [
        *([] if body.get("hook") == hook else [_wrong("hook", f"must be {hook!r}")]),
        *([] if _is_uuid(body.get("hookInstance")) else [_wrong("hookInstance", "must be a UUID")]),
        *(_wrong(f"context.{name}", "is required") for name in ("userId", "patientId") if not text(context, name)),
        *(
            []
            if draft_orders.get("resourceType") == "Bundle"
            else [_wrong("context.draftOrders", "must be a Bundle of draft orders")]
        ),
        *(
            [_wrong("fhirServer", "is required with fhirAuthorization")]
            if "fhirAuthorization" in body and not text(body, "fhirServer")
            else []
        ),
        *(
            [_wrong("context.selections", "must be a list of references")]
            if hook == "order-select" and not _all_texts(selections)
            else []
        ),
        *_prefetch_problems(body),
    ]
    if issues:
        return issues
    base = text(body, "fhirServer")
    along = [value for value in child(body, "prefetch").values() if value is not None]
    return HookCall(
        instance=body["hookInstance"],
        draft_orders=draft_orders,
        selections=tuple(selections) if hook == "order-select" and isinstance(selections, list) else None,
        context=Context(
            patient=f"Patient/{context['patientId']}",
            user=context["userId"],
            resources=sent_along([*along, draft_orders]),
            base=base.rstrip("/") if base else None,
        ),
    )


def read_feedback(body: Json) -> list[Feedback] | list[Issue]:
    """What was done with each card."""
    entries = body.get("feedback")
    if not isinstance(entries, list) or not entries:
        return [_wrong("feedback", "must be a list of at least one entry")]
    issues = [issue for position, entry in enumerate(entries) for issue in _feedback_problems(position, entry)]
    if issues:
        return issues
    return [Feedback(entry["card"], entry["outcome"], _reason(entry)) for entry in entries]


def _feedback_problems(position: int, entry: Any) -> Iterator[Issue]:
    place = f"feedback[{position}]"
    if not isinstance(entry, dict):
        yield _wrong(place, "must be an object")
        return
    if not _is_uuid(entry.get("card")):
        yield _wrong(f"{place}.card", "must be the uuid of a card")
    if entry.get("outcome") not in OUTCOMES:
        yield _wrong(f"{place}.outcome", f"must be one of {', '.join(OUTCOMES)}")
    if not _is_instant(entry.get("outcomeTimestamp")):
        yield _wrong(f"{place}.outcomeTimestamp", "must be an ISO 8601 instant")


def _reason(entry: Json) -> tuple[str, str] | None:
    coding = child(child(entry, "overrideReason"), "reason")
    code = text(coding, "code")
    return (text(coding, "system") or "", code) if code else None


def _prefetch_problems(body: Json) -> Iterator[Issue]:
    prefetch = body.get("prefetch")
    if prefetch is None:
        return
    if not isinstance(prefetch, dict):
        yield _wrong("prefetch", "must be an object")
        return
    for key, value in prefetch.items():
        if value is not None and not (isinstance(value, dict) and text(value, "resourceType")):
            yield _wrong(f"prefetch.{key}" if key.isalnum() else "prefetch", "must be a resource or null")


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_instant(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _wrong(where: str, told: str) -> Issue:
    return error(IssueCode.VALUE, where, "Anropet från journalsystemet är felaktigt.", f"{where} {told}")
