"""R4's invariants of datatypes (https://hl7.org/fhir/R4/datatypes.html).

Each function yields what is broken in one object of its type. Rules of severity warning ("best practice") are left out.
"""

from collections.abc import Callable

from fhir_mappings.r4.primitives import certainly_before
from fhir_mappings.r4.reading import Breaches, has, has_choice, member, number
from fhir_mappings.records import Json


def _extension(node: Json) -> Breaches:
    if has(node, "extension") == has_choice(node, "value"):
        yield (
            "",
            "ext-1",
            "Ett tillägg ska ha antingen ett värde eller egna tillägg.",
            "An extension has either a value or extensions, not both and not neither.",
        )


def _attachment(node: Json) -> Breaches:
    if has(node, "data") and not has(node, "contentType"):
        yield "", "att-1", "En bilaga med innehåll ska ange sin typ.", "Attachment.data needs a contentType."


def _contact_point(node: Json) -> Breaches:
    if has(node, "value") and not has(node, "system"):
        yield "", "cpt-2", "En kontaktuppgift ska ange sitt slag.", "ContactPoint.value needs a system."


def _quantity(node: Json) -> Breaches:
    if has(node, "code") and not has(node, "system"):
        yield "", "qty-3", "En enhetskod ska ha ett kodsystem.", "Quantity.code needs a system."


def _period(node: Json) -> Breaches:
    if certainly_before(node.get("end"), node.get("start")):
        yield "", "per-1", "Perioden slutar innan den börjar.", "Period.end lies before Period.start."


def _range(node: Json) -> Breaches:
    low, high = member(node, "low"), member(node, "high")
    least, most = number(low.get("value")), number(high.get("value"))
    if least is not None and most is not None and low.get("code") == high.get("code") and least > most:
        yield "", "rng-2", "Intervallets undre gräns är över den övre.", "Range.low is above Range.high."
    for name, end in (("low", low), ("high", high)):
        if has(end, "comparator"):
            yield (
                f".{name}",
                "sqty-1",
                "En gräns får inte ha jämförelsetecken.",
                f"Range.{name} is a SimpleQuantity: no comparator.",
            )


def _ratio(node: Json) -> Breaches:
    if has(node, "numerator") != has(node, "denominator") or not (has(node, "numerator") or has(node, "extension")):
        yield "", "rat-1", "En kvot ska ha både täljare och nämnare.", "Ratio needs numerator and denominator."


def _timing_repeat(node: Json) -> Breaches:
    for name, unit, key in (("duration", "durationUnit", "tim-1"), ("period", "periodUnit", "tim-2")):
        if has(node, name) and not has(node, unit):
            yield "", key, "Tidsangivelsen saknar enhet.", f"Timing.repeat.{name} needs {unit}."
    for name, key in (("duration", "tim-4"), ("period", "tim-5")):
        length = number(node.get(name))
        if length is not None and length < 0:
            yield f".{name}", key, "Tiden får inte vara negativ.", f"Timing.repeat.{name} must not be negative."
    for greater, base, key in (
        ("periodMax", "period", "tim-6"),
        ("durationMax", "duration", "tim-7"),
        ("countMax", "count", "tim-8"),
    ):
        if has(node, greater) and not has(node, base):
            yield "", key, "Tidsangivelsens övre gräns saknar undre.", f"Timing.repeat.{greater} needs {base}."
    meals = node.get("when")
    if has(node, "offset") and (
        not has(node, "when") or (isinstance(meals, list) and any(c in ("C", "CM", "CD", "CV") for c in meals))
    ):
        yield (
            "",
            "tim-9",
            "Förskjutningen saknar händelse.",
            "Timing.repeat.offset needs a when that is not C, CM, CD or CV.",
        )
    if has(node, "timeOfDay") and has(node, "when"):
        yield "", "tim-10", "Ange klockslag eller händelse, inte båda.", "Timing.repeat: timeOfDay or when, not both."


def _expression(node: Json) -> Breaches:
    if not (has(node, "expression") or has(node, "reference")):
        yield "", "exp-1", "Uttrycket är tomt.", "Expression needs an expression or a reference."


DATATYPE_INVARIANTS: dict[str, Callable[[Json], Breaches]] = {
    "Age": _quantity,
    "Attachment": _attachment,
    "ContactPoint": _contact_point,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "Expression": _expression,
    "Extension": _extension,
    "Period": _period,
    "Quantity": _quantity,
    "Range": _range,
    "Ratio": _ratio,
    "TimingRepeat": _timing_repeat,
}
"""By type name, backbones by their joined name."""
