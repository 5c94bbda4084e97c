"""The search parameters as SearchParameters, made from the table that answers the searches: each is one of HL7's, as
far as Sluss goes with it. https://hl7.org/fhir/R4/searchparameter.html
"""

import re
from collections.abc import Iterable, Iterator

from fhir_mappings.r4 import definition
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.about import SOFTWARE_VERSION, headed
from service.definitions.search import definition_of
from service.store.query import modifiers_of
from service.store.query_values import PREFIXES
from service.store.search_parameters import BY_TYPE, PARAMETERS, Kind, SearchParameter, Shape

_STEP = re.compile(r'(\w+)(?: \? \(@\.(\w+) == "([^"]+)"\))?(?:\.|$)')
"""`telecom ? (@.system == "phone").value` is two of them."""


def search_parameters(canonical: Canonical) -> Iterator[Json]:
    """One for each parameter of each type; one for all types of those that every type has."""
    age = {"expression": "meta.lastUpdated", "comparator": list(PREFIXES)}
    yield _of_all(canonical, "_id", {"type": "token", "expression": "id"})
    yield _of_all(canonical, "_lastUpdated", {"type": "date", **age})
    for name, parameter in BY_TYPE["Task"].items():
        if name.startswith("_"):
            told = {"type": str(parameter.kind), "expression": " | ".join(parameter.paths), **_abilities(parameter)}
            yield _of_all(canonical, name, told)
    for parameter in PARAMETERS:
        if not parameter.name.startswith("_"):
            yield _of_one(canonical, parameter)


def _of_all(canonical: Canonical, name: str, told: Json) -> Json:
    types = sorted(BY_TYPE)
    described = f"Resources of every type by {told['expression']}."
    return {
        **_headed(canonical, f"Resource-{name[1:]}", types[0], name, described),
        "base": types,
        "multipleOr": True,
        "multipleAnd": True,
        **told,
    }


def _of_one(canonical: Canonical, parameter: SearchParameter) -> Json:
    type_, name = parameter.type, parameter.name
    elements = [".".join(name for name, *_ in _STEP.findall(path)) for path in parameter.paths]
    only = f", where that refers to a {parameter.targets[0]}" if parameter.shares else ""
    told = f"{type_} resources by {' or '.join(elements)}{only}."
    return {
        **_headed(canonical, f"{type_}-{name}", type_, name, told),
        "base": [type_],
        "type": str(parameter.kind),
        "expression": _expression(parameter),
        "multipleOr": True,
        "multipleAnd": True,
        **_abilities(parameter),
    }


def _headed(canonical: Canonical, id_: str, type_: str, name: str, told: str) -> Json:
    head = headed("SearchParameter", id_, canonical.base, SOFTWARE_VERSION, title="", description=told)
    del head["title"]  # R4 gives it none
    # Not active: a server that loads the package would search by these instead of its own, as HAPI does.
    return {**head, "status": "draft", "derivedFrom": definition_of(type_, name), "code": name}


def _abilities(parameter: SearchParameter) -> Json:
    """What a query may do with it."""
    modifiers = sorted(modifiers_of(parameter) | ({"type"} if parameter.targets else set()))
    able: Json = {"target": list(parameter.targets), "modifier": modifiers, "chain": _chained(parameter)}
    if parameter.kind in (Kind.DATE, Kind.QUANTITY):
        able["comparator"] = list(PREFIXES)
    return {name: value for name, value in able.items() if value}


def _chained(parameter: SearchParameter) -> list[str]:
    """The parameters of what it refers to that may follow it."""
    if parameter.kind is not Kind.REFERENCE or parameter.shape is Shape.CANONICAL:
        return []
    if parameter.type == "AuditEvent":  # which has tables of its own
        return ["identifier"] if parameter.name == "patient" else []
    known: Iterable[str] = (name for type_ in parameter.targets for name in BY_TYPE.get(type_, ()))
    return sorted({"_id", "_lastUpdated", *known})


def _expression(parameter: SearchParameter) -> str:
    """The paths of the table as FHIRPath."""
    found = [_fhirpath(parameter.type, path) for path in parameter.paths]
    if parameter.shape is Shape.TRUTH:
        element = found[0].rpartition(".ofType")[0]
        return f"{element}.exists() and {element} != false"
    resolved = f".where(resolve() is {parameter.targets[0]})" if parameter.shares else ""
    return " | ".join(f"{one}{resolved}" for one in found)


def _fhirpath(type_: str, path: str) -> str:
    kind, steps = type_, [type_]
    for name, member, value in _STEP.findall(path):
        element = definition(kind).elements[name]
        kind = element.type_name
        step = name if element.path_name == name else f"{element.path_name}.ofType({kind})"
        steps.append(f"{step}.where({member} = '{value}')" if member else step)
    return ".".join(steps)
