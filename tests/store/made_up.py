"""Resources of every type with something in every element that is searched by, made up from a few values, so that each
search finds some and not others. They are no sensible referrals, and need not be: the store takes any.
"""

import random
import re
from decimal import Decimal
from typing import Any

from fhir_mappings.r4 import definition
from fhir_mappings.records import Json
from service.store.search_parameters import BY_TYPE, STATUSES

SYSTEMS = ["https://a.example/s", "https://b.example/s"]
CODES = ["one", "two", "three"]
UNITS = ["{score}", "mg"]
TEXTS = ["Åsa Öberg", "asa", "Testsson", "TESTSSON-berg", "Gävle", "gavle", "x y"]
URLS = ["https://a.example/q", "https://a.example/q|1.0", "https://a.example/other", "urn:oid:1.2.3"]
DATES = [
    "2026",
    "2026-11",
    "2026-11-23",
    "2026-11-24",
    "2026-10-25",
    "2026-11-23T10:00:00+01:00",
    "2026-11-23T10:00:00.123+01:00",
    "2026-11-23T09:00:00Z",
    "2026-11-22T23:30:00Z",
    "2025-12-31T23:59:59.999999Z",
]
NUMBERS = [Decimal(n) for n in ("20", "20.4", "21", "19.5", "5.40", "0", "-3", "54")]


class Maker:
    """Makes resources, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._pick = random.Random(seed)  # noqa: S311 - made-up data

    def resource(self, type_: str, id_: str) -> Json:
        """One resource; about half of what it is searched by is there."""
        made: Json = {"resourceType": type_, "id": id_}
        if type_ in STATUSES:
            # As everywhere: mandatory, and of its value set.
            made["status"] = self._pick.choice(STATUSES[type_])
        parameters = list(BY_TYPE[type_].values())
        # Of the types of a choice the first one is made, so none must always come first.
        self._pick.shuffle(parameters)
        for parameter in parameters:
            if parameter.name != "status" and self._pick.random() < 0.5:
                path = self._pick.choice(parameter.paths)
                filtered = re.fullmatch(r'(\w+) \? \(@\.(\w+) == "([\w-]+)"\)\.(\w+)', path)
                if filtered:
                    several, kind, one, element = filtered.groups()
                    value = self._pick.choice(URLS if element == "resource" else CODES)
                    made.setdefault(several, []).append({kind: one, element: value})
                else:
                    self._put(made, type_, path.split("."), parameter.targets)
        return made

    def _put(self, node: Json, kind: str, path: list[str], targets: tuple[str, ...]) -> None:
        name, *below = path
        known = definition(kind).elements
        element = known[name]
        if any(other != name and other in known and known[other].path_name == element.path_name for other in node):
            return  # a choice that is made already
        if not below:
            many = self._pick.choice([1, 2]) if element.many else 1
            values = [self._value(element.type_name, targets) for _ in range(many)]
            node[name] = [*node.get(name, ()), *values] if element.many else values[0]
            return
        child: Json = {}
        self._put(child, element.type_name, below, targets)
        if element.many:
            node.setdefault(name, []).append(child)
        elif name in node:
            self._put(node[name], element.type_name, below, targets)
        else:
            node[name] = child

    def _value(self, kind: str, targets: tuple[str, ...]) -> Any:  # noqa: PLR0911 - one for each type
        one = self._pick.choice
        match kind:
            case "boolean":
                return one([True, False])
            case "CodeableConcept":
                return {"coding": [self._coded("code") for _ in range(one([1, 2]))], "text": one(TEXTS)}
            case "Coding":
                return self._coded("code")
            case "Identifier":
                return self._coded("value")
            case "Reference":
                return self._reference(targets)
            case "Period":
                start, end = one(DATES), one(DATES)
                return one([{"start": start}, {"end": end}, {"start": "2026-01", "end": end}])
            case "dateTime" | "date" | "instant":
                return one(DATES)
            case "Quantity":
                return {
                    "value": one(NUMBERS),
                    **one([{}, {"system": SYSTEMS[0], "code": one(UNITS)}, {"unit": one(UNITS)}]),
                }
            case "uri" | "url" | "canonical":
                return one(URLS)
            case "code" | "id":
                return one(CODES)
        return one(TEXTS)

    def _coded(self, member: str) -> Json:
        return {member: self._pick.choice(CODES)} | self._pick.choice([{}, *({"system": s} for s in SYSTEMS)])

    def _reference(self, targets: tuple[str, ...]) -> Json:
        target = f"{self._pick.choice(targets)}/{self._pick.choice(CODES)}"
        return self._pick.choice(
            [
                {"reference": target},
                {"reference": f"{target}/_history/2"},
                {"reference": f"https://other.example/fhir/{target}"},
                {"identifier": self._coded("value")},
                {"reference": target, "identifier": self._coded("value")},
            ]
        )
