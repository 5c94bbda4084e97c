"""A resource with some of its elements: `_summary` and `_elements`. Pure.

https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

from collections.abc import Collection

from fhir_mappings.r4 import definition, summary_elements
from fhir_mappings.records import Json

SUMMARIES = frozenset({"true", "text", "data", "false"})
"""What `_summary` may say of a resource; `count` is about a search."""

SUBSETTED: Json = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
"""The tag of what is not whole: nobody must put it back as if it were."""

_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules"})


def summarised(resource: Json, summary: str) -> Json:
    """The resource as `_summary` asks for it: one of `SUMMARIES`. Mandatory elements stay."""
    type_ = resource["resourceType"]
    match summary:
        case "true":
            return _with(resource, summary_elements(type_) | _mandatory(type_))
        case "text":
            return _with(resource, {"text"} | _mandatory(type_))
        case "data":
            return _tagged({name: value for name, value in resource.items() if name != "text"})
    return resource


def with_elements(resource: Json, elements: Collection[str]) -> Json:
    """The resource with these elements (FHIR names; a choice without its type, `effective`, or with) and the mandatory
    ones. `Type.element` counts for that type only.
    """
    type_ = resource["resourceType"]
    named = {name.removeprefix(f"{type_}.") for name in elements}
    return _with(resource, named | _mandatory(type_))


def _mandatory(type_: str) -> set[str]:
    kind = definition(type_)
    return {name for name, _ in kind.required} | {choice for choice, _, needed in kind.choices if needed}


def _with(resource: Json, names: Collection[str]) -> Json:
    known = definition(resource["resourceType"]).elements
    return _tagged(
        {
            name: value
            for name, value in resource.items()
            if name in _ALWAYS or name.removeprefix("_") in names or (name in known and known[name].path_name in names)
        }
    )


def _tagged(resource: Json) -> Json:
    meta = resource.get("meta", {})
    return {**resource, "meta": {**meta, "tag": [*meta.get("tag", ()), SUBSETTED]}}
