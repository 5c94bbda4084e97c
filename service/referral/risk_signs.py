"""Readable signs of suicide risk in anything that was sent, even where the rest cannot be taken.

A refused request stores nothing; whoever sent it must at least be told at once that the signs in it did not arrive
(contract 3). So this reads leniently and trusts no shape.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir_mappings.issues import Issue, IssueCode, Severity

DEPTH = 100
"""Deeper than any referral; what lies below is not read."""


def risk_signs(body: Any, item_9_threshold: int) -> list[str]:
    """Short names of the signs found, in the order they stand: `MADRS-S fråga 9 = 5`, `suicidrisk angiven som förhöjd`.

    Reads FHIR (QuestionnaireResponse items, Observation components) and the plain form (`madrs_s.items`,
    `answers.suicide-risk`). Never raises.
    """
    return [sign for element in _objects(body, DEPTH) for sign in _signs(element, item_9_threshold)]


def not_received(signs: list[str]) -> Issue:
    """The issue that goes first when a request with signs of risk is refused."""
    listed = ", ".join(signs)
    return Issue(
        Severity.ERROR,
        IssueCode.PROCESSING,
        f"OBS! Det du skickade har INTE tagits emot, och det innehåller tecken på suicidrisk ({listed}). "
        "Bedöm patientens säkerhet nu enligt lokal rutin och skicka sedan om.",
        f"NOT received. The refused content carries signs of suicide risk: {listed}",
    )


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth == 0:
        return
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _objects(child, depth - 1)
    elif isinstance(value, list):
        for child in value:
            yield from _objects(child, depth - 1)


def _signs(element: dict[str, Any], threshold: int) -> Iterator[str]:
    link = element.get("linkId")
    if link == "item-9":
        for answer in _list(element.get("answer")):
            yield from _item_9(answer.get("valueInteger"), threshold)
    elif link == "suicide-risk":
        for answer in _list(element.get("answer")):
            coding = answer.get("valueCoding")
            code = coding.get("code") if isinstance(coding, dict) else answer.get("valueString")
            yield from _stated(code)
    elif any(c.get("code") == "item-9" for c in _codings(element.get("code"))):
        quantity = element.get("valueQuantity")
        value = quantity.get("value") if isinstance(quantity, dict) else None
        yield from _item_9(element.get("valueInteger", value), threshold)
    if isinstance(element.get("madrs_s"), dict):
        items = element["madrs_s"].get("items")
        if isinstance(items, list) and len(items) >= 9:
            yield from _item_9(items[8], threshold)
    if isinstance(element.get("answers"), dict):
        yield from _stated(element["answers"].get("suicide-risk"))


def _item_9(value: Any, threshold: int) -> Iterator[str]:
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and threshold <= value <= 6:
        yield f"MADRS-S fråga 9 = {value:f}" if isinstance(value, Decimal) else f"MADRS-S fråga 9 = {value}"


def _stated(code: Any) -> Iterator[str]:
    if code == "elevated":
        yield "suicidrisk angiven som förhöjd"


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _codings(concept: Any) -> list[dict[str, Any]]:
    return _list(concept.get("coding")) if isinstance(concept, dict) else []
