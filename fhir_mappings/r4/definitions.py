"""What elements each FHIR type has, read once from fhir.resources. The only import of that package.

fhir.resources 8 has no R4 package; its R4B models are the source, and where R4B and R4 4.0.1 differ for types that
Sluss handles, R4 is put back. The models are never instantiated: they read `"yes"` as true and null as absent, lose
trailing zeros, raise KeyError for an unknown resource type, and cost about seven times as much as walking these tables.
"""

import typing
from dataclasses import dataclass
from functools import cache
from importlib import import_module

# Importing fhirtypes fills FHIR_TYPES_MAPS: type name -> module and class. Each class is imported when first asked for.
import fhir.resources.R4B.fhirtypes  # noqa: F401
from fhir_core.constraints import FHIR_PRIMITIVES_MAPS, FHIR_TYPES_MAPS
from fhir_core.types import FhirBase

from fhir_mappings.r4.bindings import REQUIRED_CODES, RESOURCE_TYPES

_ANY_TARGET = "Resource"

R4B_ONLY = {
    "Extension": {"valueCodeableReference", "valueRatioRange"},
    "PlanDefinition": {"subjectCanonical"},
    "PlanDefinitionAction": {"subjectCanonical"},
    "ActivityDefinition": {"subjectCanonical"},
    "EventDefinition": {"subjectCanonical"},
    "Library": {"subjectCanonical"},
    "Measure": {"subjectCanonical"},
    "ResearchDefinition": {"subjectCanonical"},
    "ResearchElementDefinition": {"subjectCanonical"},
}
"""Elements that R4B has and R4 has not: https://hl7.org/fhir/R4B/diff.html"""

UNLIKE_R4 = frozenset({"Evidence", "EvidenceVariable"})
"""Types that R4B redefined altogether, so that its models cannot tell valid R4."""


@dataclass(slots=True)
class Element:
    """One element of a type, under one JSON name."""

    json_name: str
    path_name: str
    """As FHIRPath says it: a choice without its type (`value` for `valueQuantity`), `_birthDate` as `birthDate`."""
    type_name: str
    """A FHIR primitive (`dateTime`), a datatype (`Reference`), a backbone (`TaskInput`) or `Resource`."""
    many: bool
    primitive: bool
    codes: frozenset[str] | None = None
    """The codes of a required binding."""
    targets: frozenset[str] | None = None
    """The resource types a Reference may point at; None for any."""
    sibling: bool = False
    """True for `_name`, the id and extensions of the primitive `name`."""
    _definition: "Definition | None" = None

    @property
    def definition(self) -> "Definition":
        """The definition of a complex element's type; compiled at the first use, because types refer to each other."""
        if self._definition is None:
            self._definition = definition(self.type_name)
        return self._definition


@dataclass(frozen=True, slots=True)
class Definition:
    """The elements of one type."""

    name: str
    elements: dict[str, Element]
    """By JSON name, `_name` siblings and every type of a choice included."""
    required: tuple[tuple[str, str], ...]
    """(JSON name, name of its sibling or itself) of elements that must be there."""
    choices: tuple[tuple[str, dict[str, str], bool], ...]
    """(name without type, JSON name or sibling -> JSON name, must be there) of each choice of types."""
    is_resource: bool


_CHECKABLE = frozenset(name for name in RESOURCE_TYPES - UNLIKE_R4 if f"R4.{name}Type" in FHIR_TYPES_MAPS)


def is_resource_type(name: object) -> bool:
    """True when `name` is a type of R4 4.0.1 that can be checked here."""
    return isinstance(name, str) and name in _CHECKABLE


@cache
def definition(name: str) -> Definition:
    """The definition of a resource type, a datatype or a backbone (`TaskInput`). Raises KeyError for an unknown one."""
    module, _, class_name = FHIR_TYPES_MAPS[f"R4.{name}Type"].rpartition(".")
    model = getattr(import_module(module), class_name)
    elements: dict[str, Element] = {}
    required: list[tuple[str, str]] = []
    choices: dict[str, tuple[dict[str, str], bool]] = {}
    for python_name, info in model.model_fields.items():
        json_name = info.alias or python_name
        # `fhir_comments` is DSTU2's; R4 knows no such property.
        if json_name == "fhir_comments" or json_name.lstrip("_") in R4B_ONLY.get(name, ()):
            continue
        hints = info.json_schema_extra or {}
        element = elements[json_name] = _element(name, json_name, info.annotation, hints)
        if hints.get("one_of_many"):
            names, _ = choices.setdefault(hints["one_of_many"], ({}, bool(hints["one_of_many_required"])))
            names |= {json_name: json_name, f"_{json_name}": json_name}
        elif info.is_required() or hints.get("element_required"):
            required.append((json_name, f"_{json_name}" if element.primitive else json_name))
    if name == "Extension":
        # R4 lists Meta among the open types; R4B's model of Extension has it no more.
        elements["valueMeta"] = Element("valueMeta", "value", "Meta", many=False, primitive=False)
        choices["value"][0]["valueMeta"] = "valueMeta"
    for choice, (names, _) in choices.items():
        for sibling in names.keys() & elements.keys():
            elements[sibling].path_name = choice
    return Definition(
        name,
        elements,
        tuple(required),
        tuple((choice, names, needed) for choice, (names, needed) in choices.items()),
        is_resource=name in RESOURCE_TYPES,
    )


@cache
def summary_elements(name: str) -> frozenset[str]:
    """The elements of a resource type that R4 marks as its summary (Σ), by JSON name."""
    module, _, class_name = FHIR_TYPES_MAPS[f"R4.{name}Type"].rpartition(".")
    return frozenset(getattr(import_module(module), class_name).summary_elements_sequence())


def _element(owner: str, json_name: str, annotation: typing.Any, hints: dict[str, typing.Any]) -> Element:
    many, type_name, primitive = _typed(annotation)
    targets = frozenset(hints.get("enum_reference_types", ())) if type_name == "Reference" else frozenset()
    return Element(
        json_name,
        path_name=json_name.removeprefix("_"),
        type_name=type_name,
        many=many,
        primitive=primitive,
        codes=REQUIRED_CODES.get(f"{owner}.{json_name}"),
        targets=targets if targets and _ANY_TARGET not in targets else None,
        sibling=json_name.startswith("_"),
    )


def _typed(annotation: typing.Any) -> tuple[bool, str, bool]:
    """(is a list, FHIR type name, is primitive) of a model field's annotation, for example `List[CodeType] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, FhirBase):
        name = annotation._model_klass.rpartition(".")[2]
        return False, name, False
    if annotation in FHIR_PRIMITIVES_MAPS:
        return False, FHIR_PRIMITIVES_MAPS[annotation], True
    arguments = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
    if typing.get_origin(annotation) is list:
        # A list of primitives may hold nulls, where only the sibling has something to say.
        _, name, primitive = _typed(arguments[0])
        return True, name, primitive
    return _typed(arguments[0])
