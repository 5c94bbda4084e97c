"""What Sluss and the external FHIR server hold of each referral, read over HTTP and compared.

The comparison shares no code with the delivery, so that a mistake there is not repeated here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_mappings.records import Json
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.demo.people import Person

TYPES = (
    "ServiceRequest",
    "Task",
    "Communication",
    "CarePlan",
    "Observation",
    "QuestionnaireResponse",
    "Condition",
    "Appointment",
)
"""What is delivered of a referral."""

_SHARED = ("Patient", "Organization", "PractitionerRole", "HealthcareService", "Practitioner")
_UNCOMPARED = ("id", "meta", "contained", "identifier")
_LED = {"ServiceRequest": ("subject", "requester")}
"""What may be contained or logical here and leads to a resource of its own there."""


@dataclass
class Holding:
    """All resources of one referral at Sluss, by `Type/id`, oldest first."""

    order: Json
    resources: dict[str, Json] = field(default_factory=dict)

    def all_of(self, type_: str) -> list[Json]:
        """Those of one type, oldest first."""
        return [resource for resource in self.resources.values() if resource["resourceType"] == type_]


def holdings(person: Person, orders: Mapping[str, Sequence[str]]) -> dict[str, Holding]:
    """Every referral's resources, by `ServiceRequest/{id}`; `orders` adds, to each, references that came with it."""
    everything = {
        f"{type_}/{resource['id']}": resource
        for type_ in TYPES
        for resource in person.search(type_, _count="200", **({"_sort": "_lastUpdated"} if type_ == "Task" else {}))
    }
    found = {order: Holding(everything[order], {order: everything[order]}) for order in orders}
    for reference, resource in everything.items():
        about = _about(resource, everything)
        if about in found:
            found[about].resources[reference] = resource
    for order, holding in found.items():
        asked = [r["reference"] for n in ("supportingInfo", "reasonReference") for r in holding.order.get(n, ())]
        asked += [r["reference"] for o in holding.all_of("Observation") for r in o.get("derivedFrom", ())]
        asked += [o["valueReference"]["reference"] for t in holding.all_of("Task") for o in _references(t)]
        holding.resources |= {r: everything[r] for r in [*orders[order], *asked] if r in everything}
    return found


def _references(task: Json) -> list[Json]:
    return [output for output in task.get("output", ()) if "valueReference" in output]


def _about(resource: Json, everything: Mapping[str, Json]) -> str | None:
    """The ServiceRequest that a resource belongs to: a Task by its focus, others by `basedOn`."""
    seen: set[str] = set()
    while True:
        focus = resource.get("focus", {}).get("reference")
        based_on = [r.get("reference", "") for r in resource.get("basedOn", ())]
        order = next((r for r in [focus or "", *based_on] if r.startswith("ServiceRequest/")), None)
        if order is not None or focus is None or focus in seen or focus not in everything:
            return order
        seen.add(focus)
        resource = everything[focus]


@dataclass
class External:
    """The copies on the external server at one moment."""

    canonical: Canonical
    copies: dict[str, list[Json]]
    """By our `Type/id`, the key that every copy carries; more than one would be a duplicate."""
    names: dict[str, str]
    """Their `Type/id` → what it stands for."""

    @classmethod
    def read(cls, person: Person, canonical: Canonical) -> "External":
        """Everything that it holds."""
        copies: dict[str, list[Json]] = {}
        names: dict[str, str] = {}
        for type_ in (*TYPES, *_SHARED):
            for resource in person.search(type_, _count="500"):
                key = _key(resource, canonical)
                if key is not None:
                    copies.setdefault(key, []).append(resource)
                name = _identity(resource) if type_ == "Patient" else key
                names[f"{type_}/{resource['id']}"] = name or key or "?"
        return cls(canonical, copies, names)

    def differences(self, holding: Holding, names: Mapping[str, str]) -> list[str]:
        """What there is not as it is here, one line for each resource; `names` are those of our Patients."""
        told = []
        for reference, ours in holding.resources.items():
            theirs = self.copies.get(reference, [])
            if len(theirs) != 1:
                told.append(f"{reference}: {'saknas' if not theirs else f'{len(theirs)} kopior'}")
                continue
            unlike = sorted(
                name
                for name in {*ours, *theirs[0]} - {*_UNCOMPARED, *_LED.get(ours["resourceType"], ())}
                if _plain(ours.get(name), names) != _plain(theirs[0].get(name), self.names)
            )
            if unlike:
                told.append(f"{reference}: {', '.join(unlike)} skiljer sig")
        return told

    def patient_of(self, order: str) -> str | None:
        """The national identifier of the patient that the copy of a ServiceRequest leads to."""
        copies = self.copies.get(order, [])
        return self.names.get(copies[0].get("subject", {}).get("reference", "")) if copies else None


def patient_names(person: Person) -> dict[str, str]:
    """Our `Patient/id` → what it is called in a comparison."""
    found = {f"Patient/{patient['id']}": _identity(patient) for patient in person.search("Patient", _count="200")}
    return {reference: name for reference, name in found.items() if name is not None}


def _key(resource: Json, canonical: Canonical) -> str | None:
    system = canonical.resource_key
    tags = [tag.get("code") for tag in resource.get("meta", {}).get("tag", ()) if tag.get("system") == system]
    identifiers = resource.get("identifier", [])
    listed = identifiers if isinstance(identifiers, list) else [identifiers]
    return next(iter([*tags, *(i.get("value") for i in listed if i.get("system") == system)]), None)


def _identity(patient: Json) -> str | None:
    return next((str(i["value"]) for i in patient.get("identifier", ()) if i.get("system") in IDENTITY_KINDS), None)


def _plain(element: Any, names: Mapping[str, str]) -> Any:
    """The element with every reference replaced by what it stands for."""
    if isinstance(element, list):
        return [_plain(item, names) for item in element]
    if not isinstance(element, dict):
        return element
    stands_for = next(_meant(element, names), None)
    if stands_for is not None:
        return stands_for
    return {name: _plain(value, names) for name, value in element.items()}


def _meant(element: Json, names: Mapping[str, str]) -> Iterator[str]:
    """What a Reference stands for: literal as the names have it, logical its identifier."""
    literal, logical = element.get("reference"), element.get("identifier")
    if isinstance(literal, str):
        yield names.get(literal, literal)
    if isinstance(logical, dict) and "resourceType" not in element:
        yield str(logical.get("value"))
