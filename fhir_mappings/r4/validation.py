"""The walk over a resource that finds every problem at once.

One pass over the JSON beside the type's definition; each object is looked at once. Expressions are built only when there is
something to tell, from a chain of (parent, name, position) that costs next to nothing while all is well.
"""

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.r4.bindings import RESOURCE_TYPES
from fhir_mappings.r4.definitions import R4B_ONLY, Definition, Element, definition, is_resource_type
from fhir_mappings.r4.invariants import INVARIANTS
from fhir_mappings.r4.primitives import CHECKS, EXPECTED
from fhir_mappings.records import Json

MAX_DEPTH = 100
"""Objects within objects; the walk is recursive and must never reach Python's own limit."""

Place = tuple[Any, str, int]
"""Where the walk is: the place above, the element's name, its position in a list or -1."""

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_HARMLESS_CODE = re.compile(r"[A-Za-z][A-Za-z-]{0,29}")
"""What of a wrong value may be told again: a code, never anything that could be somebody's number or name with digits."""

_LITERAL = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.-]{1,64})(/_history/[A-Za-z0-9.-]{1,64})?")


@dataclass(slots=True)
class _Container:
    """The resource that the walk is in: what it contains, and by which type."""

    contained: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Run:
    issues: list[Issue] = field(default_factory=list)
    references: list[tuple[Json, Place, frozenset[str] | None, _Container]] = field(default_factory=list)
    container: _Container = field(default_factory=_Container)
    full_urls: dict[str, str] = field(default_factory=dict)
    """fullUrl -> resource type, of the Bundle that the walk is in."""

    def tell(self, code: IssueCode, place: Place, text: str, diagnostics: str) -> None:
        self.issues.append(Issue(Severity.ERROR, code, text, diagnostics, _expression(place)))


def validate(resource: Json, expression: str | None = None) -> list[Issue]:
    """Every problem of `resource` as FHIR R4 4.0.1; an empty list when it is sound. Never raises on any JSON object.

    Checks element names, types, cardinality, required bindings, reference targets and invariants, of contained resources and
    Bundle entries as well. `expression` says where the resource stands (`Parameters.parameter[0].resource`); without it the
    expressions start at the resource type. Issue codes: `structure` for what R4 does not know, `required` for what is missing,
    `value` for malformed values, `code-invalid` for bindings, `invariant` for the rest; all of severity error.
    """
    run = _Run()
    named = resource.get("resourceType")
    root: Place = (None, expression or (named if is_resource_type(named) else "Resource"), -1)
    _resource(resource, root, run, 0, contained=False)
    for reference, place, targets, container in run.references:
        _reference(reference, place, targets, container, run)
    return run.issues


def _expression(place: Place) -> str:
    parts: list[str] = []
    at: Place | None = place
    while at is not None:
        above, name, position = at
        parts.append(f"{name}[{position}]" if position >= 0 else name)
        at = above
    return ".".join(reversed(parts))


def _resource(node: object, place: Place, run: _Run, depth: int, *, contained: bool) -> None:
    if not isinstance(node, dict):
        return _no_object(node, place, run)
    name = node.get("resourceType")
    if not isinstance(name, str):
        code = IssueCode.REQUIRED if name is None else IssueCode.VALUE
        return run.tell(code, place, "Resursens typ saknas.", "resourceType is missing or not a string.")
    if not is_resource_type(name):
        if name in RESOURCE_TYPES:
            text, diagnostics = "Resurstypen stöds inte.", f"Resource type '{name}' of R4 is not supported."
            return run.tell(IssueCode.NOT_SUPPORTED, place, text, diagnostics)
        near = _suggestion(name, RESOURCE_TYPES)
        return run.tell(IssueCode.STRUCTURE, place, "Resurstypen finns inte i FHIR R4.", f"Unknown resource type.{near}")
    if contained:
        return _contained(node, place, run, depth, definition(name))
    outer, outer_urls = run.container, run.full_urls
    run.container = _Container(_contained_types(node))
    if name == "Bundle":
        run.full_urls = _full_urls(node)
    _object(node, definition(name), place, run, depth)
    if "contained" in node:
        _contained_are_used(node, place, run)
    run.container, run.full_urls = outer, outer_urls


def _contained(node: Json, place: Place, run: _Run, depth: int, kind: Definition) -> None:
    _object(node, kind, place, run, depth)
    if "contained" in node:
        text = "En innesluten resurs får inte innesluta andra."
        run.tell(IssueCode.INVARIANT, place, text, "dom-2: a contained resource contains none.")
    if "id" not in node:
        text = "En innesluten resurs måste ha ett id."
        run.tell(IssueCode.REQUIRED, place, text, "A contained resource needs an id to be referenced by (dom-3).")
    meta = node.get("meta")
    if isinstance(meta, dict):
        if "versionId" in meta or "lastUpdated" in meta:
            text = "En innesluten resurs har ingen egen version."
            run.tell(IssueCode.INVARIANT, (place, "meta", -1), text, "dom-4: no versionId or lastUpdated when contained.")
        if "security" in meta:
            text = "En innesluten resurs har ingen egen säkerhetsmärkning."
            run.tell(IssueCode.INVARIANT, (place, "meta", -1), text, "dom-5: no security label when contained.")


def _contained_types(node: Json) -> dict[str, str]:
    contained = node.get("contained")
    if not isinstance(contained, list):
        return {}
    return {
        item["id"]: item["resourceType"]
        for item in contained
        if isinstance(item, dict) and isinstance(item.get("id"), str) and isinstance(item.get("resourceType"), str)
    }


def _full_urls(bundle: Json) -> dict[str, str]:
    found: dict[str, str] = {}
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and isinstance(entry.get("fullUrl"), str):
            named = resource.get("resourceType")
            if isinstance(named, str):
                found[entry["fullUrl"]] = named
    return found


def _contained_are_used(node: Json, place: Place, run: _Run) -> None:
    """dom-3: each contained resource is referenced from the resource, or itself refers to its container."""
    contained = node["contained"]
    if not isinstance(contained, list):
        return
    used: set[str] = set()
    # With a stack, and over any texts that look like local references: uri and canonical elements count too.
    waiting: list[object] = [value for name, value in node.items() if name not in ("text",)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and item.startswith("#"):
            used.add(item[1:])
    ids = set()
    for position, item in enumerate(contained):
        own = item.get("id") if isinstance(item, dict) else None
        if not isinstance(own, str):
            continue
        at: Place = (place, "contained", position)
        if own in ids:
            run.tell(IssueCode.INVARIANT, at, "Två inneslutna resurser har samma id.", "Contained ids must be unique.")
        ids.add(own)
        if own not in used and not _refers_to_container(item):
            text = "Den inneslutna resursen hör inte till något."
            run.tell(IssueCode.INVARIANT, at, text, "dom-3: nothing refers to this contained resource.")


def _refers_to_container(node: object) -> bool:
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif item == "#":
            return True
    return False


def _object(node: Json, kind: Definition, place: Place, run: _Run, depth: int) -> None:
    if depth >= MAX_DEPTH:
        text = f"Mer än {MAX_DEPTH} nivåer."
        return run.tell(IssueCode.TOO_COSTLY, place, text, f"Nested deeper than {MAX_DEPTH} levels.")
    if not node or (len(node) == 1 and "id" in node):
        run.tell(IssueCode.INVARIANT, place, "Elementet är tomt.", "ele-1: an element has a value or children.")
    elements = kind.elements
    depth += 1
    for name, value in node.items():
        element = elements.get(name)
        if element is None:
            if name != "resourceType" or "implicitRules" not in elements:
                _unknown(name, kind, place, run)
        elif element.many:
            if type(value) is not list:
                _not_many(value, (place, element.path_name, -1), element, run)
            elif not value:
                at: Place = (place, element.path_name, -1)
                run.tell(IssueCode.STRUCTURE, at, "En lista får inte vara tom.", "An array is never empty in FHIR JSON.")
            elif element.primitive:
                _primitives(node, value, element, place, run)
            elif element.sibling:
                _siblings(node, value, element, place, run, depth)
            else:
                for position, item in enumerate(value):
                    _child(item, element, (place, element.path_name, position), run, depth)
        elif element.primitive:
            check = CHECKS[element.type_name]
            if not check(value) or (element.codes is not None and value not in element.codes):
                _bad_primitive(value, element, (place, element.path_name, -1), run)
        else:
            _child(value, element, (place, element.path_name, -1), run, depth)
    for name, sibling in kind.required:
        if name not in node and sibling not in node:
            text, diagnostics = f"”{name}” saknas.", f"{kind.name}.{name} is required."
            run.tell(IssueCode.REQUIRED, (place, elements[name].path_name, -1), text, diagnostics)
    for name, names, needed in kind.choices:
        _choice(node, name, names, needed, kind, place, run)
    invariant = INVARIANTS.get(kind.name)
    if invariant is not None:
        for where, key, text, diagnostics in invariant(node):
            code = IssueCode.CODE_INVALID if key == "required-binding" else IssueCode.INVARIANT
            at_fault = _expression(place) + where
            run.issues.append(Issue(Severity.ERROR, code, text, f"{key}: {diagnostics}", at_fault))


def _child(value: object, element: Element, place: Place, run: _Run, depth: int) -> None:
    if element.type_name == "Resource":
        if depth < MAX_DEPTH:
            return _resource(value, place, run, depth, contained=element.json_name == "contained")
        text = f"Mer än {MAX_DEPTH} nivåer."
        return run.tell(IssueCode.TOO_COSTLY, place, text, f"Nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(value, dict):
        return _no_object(value, place, run)
    if element.type_name == "Reference":
        run.references.append((value, place, element.targets, run.container))
    _object(value, element.definition, place, run, depth)


def _choice(
    node: Json, name: str, names: frozenset[str], needed: bool, kind: Definition, place: Place, run: _Run
) -> None:
    found = {key.removeprefix("_") for key in node if key in names or (key[:1] == "_" and key[1:] in names)}
    if len(found) > 1:
        text = f"Bara ett värde får anges för ”{name}”."
        told = ", ".join(sorted(found))
        run.tell(IssueCode.STRUCTURE, (place, name, -1), text, f"{kind.name}.{name}[x] has one type only, not {told}.")
    elif needed and not found:
        run.tell(IssueCode.REQUIRED, (place, name, -1), f"”{name}” saknas.", f"{kind.name}.{name}[x] is required.")


def _primitives(node: Json, values: list[object], element: Element, place: Place, run: _Run) -> None:
    check = CHECKS[element.type_name]
    for position, value in enumerate(values):
        if value is None:
            # null stands for a value that has only an id or extensions, in the same position of the sibling list.
            siblings = node.get(f"_{element.json_name}")
            if not isinstance(siblings, list) or position >= len(siblings) or siblings[position] is None:
                _null((place, element.path_name, position), run)
        elif not check(value) or (element.codes is not None and value not in element.codes):
            _bad_primitive(value, element, (place, element.path_name, position), run)


def _siblings(node: Json, values: list[object], element: Element, place: Place, run: _Run, depth: int) -> None:
    beside = node.get(element.json_name[1:])
    if isinstance(beside, list) and len(beside) != len(values):
        text = "Listan med tillägg är inte lika lång som listan med värden."
        diagnostics = f"'{element.json_name}' and '{element.json_name[1:]}' must have the same length."
        run.tell(IssueCode.STRUCTURE, (place, element.path_name, -1), text, diagnostics)
    for position, value in enumerate(values):
        if value is not None:
            _child(value, element, (place, element.path_name, position), run, depth)
        elif not isinstance(beside, list):
            _null((place, element.path_name, position), run)


def _no_object(value: object, place: Place, run: _Run) -> None:
    if value is None:
        return _null(place, run)
    run.tell(IssueCode.STRUCTURE, place, "Här ska ett objekt stå.", f"A JSON object is expected, not {_json_type(value)}.")


def _not_many(value: object, place: Place, element: Element, run: _Run) -> None:
    if value is None:
        return _null(place, run)
    text, diagnostics = "Här ska en lista stå.", f"'{element.json_name}' repeats: a JSON array is expected."
    run.tell(IssueCode.STRUCTURE, place, text, diagnostics)


def _null(place: Place, run: _Run) -> None:
    text = "null är inget värde i FHIR."
    run.tell(IssueCode.STRUCTURE, place, text, "null is not allowed here: leave the element out.")


def _bad_primitive(value: object, element: Element, place: Place, run: _Run) -> None:
    if value is None:
        return _null(place, run)
    if isinstance(value, list | dict):
        text, diagnostics = "Här ska ett enkelt värde stå.", f"A single {element.type_name} is expected."
        return run.tell(IssueCode.STRUCTURE, place, text, f"{diagnostics} not {_json_type(value)}.")
    if element.codes is None or not CHECKS[element.type_name](value):
        text = f"Värdet är inte giltigt för typen {element.type_name}."
        return run.tell(IssueCode.VALUE, place, text, f"Not a {element.type_name}: expected {EXPECTED[element.type_name]}.")
    allowed = ", ".join(sorted(element.codes)) if len(element.codes) <= 20 else "the required value set"
    told = f"'{value}'" if isinstance(value, str) and _HARMLESS_CODE.fullmatch(value) else "The code"
    run.tell(
        IssueCode.CODE_INVALID,
        place,
        f"Koden är inte tillåten för ”{element.path_name}”.",
        f"{told} is not in the required binding: {allowed}.",
    )


def _unknown(name: str, kind: Definition, place: Place, run: _Run) -> None:
    if not _NAME.fullmatch(name):
        # Not told again: a property with such a name may hold anything.
        text = "Ett element har ett namn som inte finns i FHIR."
        return run.tell(IssueCode.STRUCTURE, place, text, f"Unknown element in {kind.name}; no FHIR element has such a name.")
    if name in R4B_ONLY.get(kind.name, ()):
        hint = " It exists in R4B only."
    elif name == "resourceType":
        hint = f" {kind.name} is no resource."
    else:
        hint = _suggestion(name, kind.elements)
    run.tell(
        IssueCode.STRUCTURE,
        (place, name, -1),
        f"Elementet ”{name}” finns inte i {kind.name}.",
        f"Unknown element '{name}' in {kind.name}.{hint}",
    )


def _suggestion(name: str, known: object) -> str:
    near = difflib.get_close_matches(name[:64], list(known), n=1) if isinstance(known, dict | frozenset) else []
    return f" Did you mean '{near[0]}'?" if near else ""


def _json_type(value: object) -> str:
    names: dict[type, str] = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")


# ---------------------------------------------------------------- references


def _reference(node: Json, place: Place, targets: frozenset[str] | None, container: _Container, run: _Run) -> None:
    """ref-1 and the types that the element may point at (https://hl7.org/fhir/R4/references.html)."""
    literal = node.get("reference")
    kind: str | None = None
    if isinstance(literal, str):
        if literal.startswith("#"):
            kind = container.contained.get(literal[1:])
            if literal != "#" and kind is None:
                text = "Hänvisningen pekar på en innesluten resurs som inte finns."
                run.tell(IssueCode.INVARIANT, (place, "reference", -1), text, "ref-1: no contained resource has this id.")
        else:
            kind = run.full_urls.get(literal) or _type_of(literal)
            if kind is not None and kind not in RESOURCE_TYPES:
                text = "Hänvisningen pekar på en resurstyp som inte finns."
                diagnostics = f"No such resource type in R4.{_suggestion(kind, RESOURCE_TYPES)}"
                return run.tell(IssueCode.VALUE, (place, "reference", -1), text, diagnostics)
    told = node.get("type")
    if isinstance(told, str) and told in RESOURCE_TYPES:
        if kind is not None and kind in RESOURCE_TYPES and kind != told:
            text = "Hänvisningens typ stämmer inte med det den pekar på."
            run.tell(IssueCode.VALUE, (place, "type", -1), text, f"Reference.type says {told}, the reference {kind}.")
        kind = kind or told
    if targets is not None and kind is not None and kind in RESOURCE_TYPES and kind not in targets:
        text = f"Hänvisningen får inte peka på {kind}."
        allowed = ", ".join(sorted(targets))
        run.tell(IssueCode.VALUE, place, text, f"A reference to {kind} is not allowed here, only to {allowed}.")


def _type_of(literal: str) -> str | None:
    """The type in `Type/id`, `Type/id/_history/v`, `Type?search` or an absolute URL that ends so; None where none is told."""
    relative = not literal.startswith(("http://", "https://"))
    if relative and "?" in literal:
        return literal.partition("?")[0]
    if relative:
        match = _LITERAL.fullmatch(literal)
        return match[1] if match else None
    # A foreign URL may end in anything: only a type of R4 counts as one.
    path = literal.partition("/_history/")[0].split("/")
    return path[-2] if len(path) > 4 and path[-2] in RESOURCE_TYPES else None
