"""The walk over a resource that finds every problem at once: one pass over the JSON beside the type's definition."""

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.r4.bindings import RESOURCE_TYPES
from fhir_mappings.r4.datatype_invariants import DATATYPE_INVARIANTS
from fhir_mappings.r4.definitions import Definition, Element, definition, is_resource_type
from fhir_mappings.r4.exchange_invariants import EXCHANGE_INVARIANTS
from fhir_mappings.r4.links import Link, check_contained, check_container, check_link, contained_types, full_urls
from fhir_mappings.r4.primitives import CHECKS
from fhir_mappings.r4.problems import MAX_DEPTH, Place, Problems, expression, suggestion
from fhir_mappings.r4.resource_invariants import RESOURCE_INVARIANTS
from fhir_mappings.records import Json

_INVARIANTS = {**DATATYPE_INVARIANTS, **RESOURCE_INVARIANTS, **EXCHANGE_INVARIANTS}


def validate(resource: Json, expression: str | None = None) -> list[Issue]:
    """Every problem of `resource` as FHIR R4 4.0.1; an empty list when it is sound. Never raises on any JSON object.

    Checks element names, types, cardinality, required bindings, reference targets and invariants, of contained
    resources and Bundle entries as well. `expression` says where the resource stands, for example
    `Parameters.parameter[0].resource`; without it expressions start at the resource type. All issues are errors:
    `structure` for what R4 does not know, `required` for what is missing, `value` for malformed values, `code-invalid`
    for bindings, `invariant` for the rest.
    """
    kind = resource.get("resourceType")
    root = kind if isinstance(kind, str) and is_resource_type(kind) else "Resource"
    walk = _Walk()
    walk.resource(resource, (None, expression or root, -1))
    for link in walk.links:
        check_link(link, walk.problems)
    return walk.problems.issues


class _Walk:
    """One walk: what it has found, what it has still to follow, and where it is."""

    __slots__ = ("contained", "depth", "full_urls", "links", "problems")

    def __init__(self) -> None:
        self.problems = Problems()
        self.links: list[Link] = []
        self.depth = 0
        self.contained: dict[str, str] = {}
        self.full_urls: dict[str, str] = {}

    def resource(self, node: object, place: Place, *, contained: bool = False) -> None:
        """A resource of any type, at the top, in an entry or contained."""
        if not isinstance(node, dict):
            self.problems.no_object(node, place)
            return
        kind = node.get("resourceType")
        if not isinstance(kind, str) or not is_resource_type(kind):
            self._unknown_type(kind, place)
            return
        if contained:
            self._object(node, definition(kind), place)
            check_contained(node, place, self.problems)
            return
        outer = self.contained, self.full_urls
        self.contained = contained_types(node) if "contained" in node else {}
        if kind == "Bundle":
            self.full_urls = full_urls(node)
        self._object(node, definition(kind), place)
        if "contained" in node:
            check_container(node, place, self.problems)
        self.contained, self.full_urls = outer

    def _unknown_type(self, kind: object, place: Place) -> None:
        if kind is None:
            code, text, told = IssueCode.REQUIRED, "Resursens typ saknas.", "resourceType is missing."
        elif not isinstance(kind, str):
            code, text, told = IssueCode.VALUE, "Resursens typ är ingen text.", "resourceType must be a string."
        elif kind in RESOURCE_TYPES:
            code, text, told = IssueCode.NOT_SUPPORTED, "Resurstypen stöds inte.", f"R4's {kind} is not supported here."
        else:
            told = f"Unknown resource type.{suggestion(kind, RESOURCE_TYPES)}"
            code, text = IssueCode.STRUCTURE, "Resurstypen finns inte i FHIR R4."
        self.problems.tell(code, place, text, told)

    def _object(self, node: Json, kind: Definition, place: Place) -> None:
        if self.depth >= MAX_DEPTH:
            self.problems.too_deep(place)
            return
        self.depth += 1
        elements = kind.elements
        for name, value in node.items():
            element = elements.get(name)
            if element is None:
                if name != "resourceType" or not kind.is_resource:
                    self.problems.unknown_element(name, kind, place)
            elif element.many:
                self._list(node, value, element, (place, element.path_name))
            elif element.primitive:
                if not CHECKS[element.type_name](value) or (element.codes is not None and value not in element.codes):
                    self.problems.bad_primitive(value, element, (place, element.path_name, -1))
            elif not (element.sibling and name[1:] in node and _is_id_alone(value)):
                self._child(value, element, (place, element.path_name, -1))
        self.depth -= 1
        self._as_a_whole(node, kind, place)

    def _as_a_whole(self, node: Json, kind: Definition, place: Place) -> None:
        """What one member alone cannot tell: something there, nothing missing, one type of a choice, the invariants."""
        if not node or (len(node) == 1 and "id" in node and not kind.is_resource):
            self.problems.broken(place, "Elementet är tomt.", "ele-1: an element has a value or children.")
        for name, sibling in kind.required:
            if name not in node and sibling not in node:
                at: Place = (place, name, -1)
                self.problems.tell(IssueCode.REQUIRED, at, f"”{name}” saknas.", f"{kind.name}.{name} is required.")
        for choice, names, needed in kind.choices:
            found = {names[name] for name in node if name in names}
            if len(found) > 1 or (needed and not found):
                self._choice(choice, found, kind, place)
        invariant = _INVARIANTS.get(kind.name)
        if invariant is not None:
            for where, key, text, diagnostics in invariant(node):
                code = IssueCode.CODE_INVALID if key == "required-binding" else IssueCode.INVARIANT
                self.problems.add(error(code, expression(place) + where, text, f"{key}: {diagnostics}"))

    def _choice(self, choice: str, found: set[str], kind: Definition, place: Place) -> None:
        at: Place = (place, choice, -1)
        if found:
            told = f"{kind.name}.{choice}[x] has one type only, not {', '.join(sorted(found))}."
            self.problems.tell(IssueCode.STRUCTURE, at, f"Bara ett värde får anges för ”{choice}”.", told)
        else:
            told = f"{kind.name}.{choice}[x] is required."
            self.problems.tell(IssueCode.REQUIRED, at, f"”{choice}” saknas.", told)

    def _child(self, value: object, element: Element, place: Place) -> None:
        if element.type_name == "Resource":
            if self.depth >= MAX_DEPTH:
                self.problems.too_deep(place)
            else:
                self.resource(value, place, contained=element.json_name == "contained")
        elif not isinstance(value, dict):
            self.problems.no_object(value, place)
        else:
            if element.type_name == "Reference":
                self.links.append(Link(value, place, element.targets, self.contained, self.full_urls))
            self._object(value, element.definition, place)

    def _list(self, node: Json, values: object, element: Element, at: tuple[Place, str]) -> None:
        if not isinstance(values, list) or not values:
            self.problems.no_list(values, element, (*at, -1))
        elif element.primitive:
            self._primitives(values, node.get(f"_{element.json_name}"), element, at)
        elif element.sibling:
            self._siblings(values, node.get(element.json_name[1:]), element, at)
        else:
            for position, item in enumerate(values):
                self._child(item, element, (*at, position))

    def _primitives(self, values: list[object], beside: object, element: Element, at: tuple[Place, str]) -> None:
        """A null is a placeholder where the list of siblings has an id or extensions in the same position."""
        check, codes = CHECKS[element.type_name], element.codes
        siblings = beside if isinstance(beside, list) else []
        for position, value in enumerate(values):
            if value is None and position < len(siblings) and siblings[position] is not None:
                continue
            if not check(value) or (codes is not None and value not in codes):
                self.problems.bad_primitive(value, element, (*at, position))

    def _siblings(self, values: list[object], beside: object, element: Element, at: tuple[Place, str]) -> None:
        """A null is a placeholder where the list of values has a value in the same position."""
        if isinstance(beside, list) and len(beside) != len(values):
            text = "Listan med tillägg är inte lika lång som listan med värden."
            told = f"'{element.json_name}' and '{element.json_name[1:]}' must have the same length."
            self.problems.tell(IssueCode.STRUCTURE, (*at, -1), text, told)
        for position, value in enumerate(values):
            if isinstance(beside, list):
                has_value = position < len(beside) and beside[position] is not None
                if value is None or (has_value and _is_id_alone(value)):
                    continue
            self._child(value, element, (*at, position))


def _is_id_alone(sibling: object) -> bool:
    """True for `{"id": "a"}`: no element of its own (ele-1), but all that is to be said beside a value."""
    return isinstance(sibling, dict) and list(sibling) == ["id"] and CHECKS["string"](sibling["id"])
