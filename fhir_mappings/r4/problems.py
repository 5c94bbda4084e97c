"""Where a check is in a resource, and what it finds there. Expressions are built only when there is a problem."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fhir_mappings.issues import AND_MORE, MOST_TOLD, Issue, IssueCode, error
from fhir_mappings.r4.definitions import R4B_ONLY, Definition, Element
from fhir_mappings.r4.primitives import CHECKS, EXPECTED

MAX_DEPTH = 100
"""Objects within objects; the walk is recursive and must never reach Python's own limit."""

Place = tuple[Any, str, int]
"""(the place above or None, the element's name, its position in a list or -1): a chain that costs next to nothing."""

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_HARMLESS_CODE = re.compile(r"[A-Za-z][A-Za-z-]{0,29}")
_LISTED_CODES = 20


def expression(place: Place) -> str:
    """The FHIRPath of a place: `Task.input[0].type.text`."""
    parts: list[str] = []
    at: Place | None = place
    while at is not None:
        above, name, position = at
        parts.append(f"{name}[{position}]" if position >= 0 else name)
        at = above
    return ".".join(reversed(parts))


def suggestion(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'requester'?`, or nothing when no known name is near."""
    near = difflib.get_close_matches(name[:64], list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


@dataclass(slots=True)
class Problems:
    """What a walk has found. No value that was sent is told again but plain codes: diagnostics end up in logs."""

    issues: list[Issue] = field(default_factory=list)

    def tell(self, code: IssueCode, place: Place, text: str, diagnostics: str) -> None:
        """One problem at a place: Swedish text, English diagnostics."""
        if not self.is_full:
            self.add(error(code, expression(place), text, diagnostics))

    def add(self, issue: Issue) -> None:
        """One problem more; of very many the first, and that there are more."""
        if not self.is_full:
            self.issues.append(issue if len(self.issues) < MOST_TOLD else AND_MORE)

    @property
    def is_full(self) -> bool:
        """True when nothing more is told."""
        return len(self.issues) > MOST_TOLD

    def broken(self, place: Place, text: str, diagnostics: str) -> None:
        """A broken invariant; `diagnostics` begin with its key."""
        self.tell(IssueCode.INVARIANT, place, text, diagnostics)

    def too_deep(self, place: Place) -> None:
        """Nested deeper than is looked at."""
        self.tell(IssueCode.TOO_COSTLY, place, f"Mer än {MAX_DEPTH} nivåer.", f"Nested deeper than {MAX_DEPTH} levels.")

    def null(self, place: Place) -> None:
        """A null that is no placeholder."""
        self.tell(
            IssueCode.STRUCTURE, place, "null är inget värde i FHIR.", "null is not allowed: leave the element out."
        )

    def no_object(self, value: object, place: Place) -> None:
        """Something else where an object should be."""
        if value is None:
            self.null(place)
        else:
            told = f"A JSON object is expected, not {_json_type(value)}."
            self.tell(IssueCode.STRUCTURE, place, "Här ska ett objekt stå.", told)

    def no_list(self, value: object, element: Element, place: Place) -> None:
        """Something else, or nothing, where a list should be."""
        if value is None:
            self.null(place)
        elif isinstance(value, list):
            self.tell(
                IssueCode.STRUCTURE, place, "En lista får inte vara tom.", "An array in FHIR JSON is never empty."
            )
        else:
            told = f"'{element.json_name}' repeats: a JSON array is expected, not {_json_type(value)}."
            self.tell(IssueCode.STRUCTURE, place, "Här ska en lista stå.", told)

    def bad_primitive(self, value: object, element: Element, place: Place) -> None:
        """A value that is not of the element's primitive type, or no code of its required binding."""
        kind = element.type_name
        if value is None:
            self.null(place)
        elif isinstance(value, list | dict):
            told = f"A single {kind} is expected, not {_json_type(value)}."
            self.tell(IssueCode.STRUCTURE, place, "Här ska ett enkelt värde stå.", told)
        elif element.codes is None or not CHECKS[kind](value):
            text = f"Värdet är inte giltigt för typen {kind}."
            self.tell(IssueCode.VALUE, place, text, f"Not a valid {kind}: expected {EXPECTED[kind]}.")
        else:
            listed = len(element.codes) <= _LISTED_CODES
            allowed = ", ".join(sorted(element.codes)) if listed else f"{len(element.codes)} codes of R4"
            # A code is told again; what could be somebody's number or name is not.
            told = f"'{value}'" if _HARMLESS_CODE.fullmatch(str(value)) else "The code"
            text = f"Koden är inte tillåten för ”{element.path_name}”."
            self.tell(IssueCode.CODE_INVALID, place, text, f"{told} is not in the required binding: {allowed}.")

    def unknown_element(self, name: str, kind: Definition, place: Place) -> None:
        """A member that the type does not have."""
        if self.is_full:
            return
        if not _NAME.fullmatch(name):
            told = f"Unknown element in {kind.name}; no FHIR element has such a name."
            self.tell(IssueCode.STRUCTURE, place, "Ett element har ett namn som inte finns i FHIR.", told)
            return
        if name in R4B_ONLY.get(kind.name, ()):
            hint = " It exists in R4B only."
        elif name == "resourceType":
            hint = f" {kind.name} is no resource."
        else:
            hint = suggestion(name, kind.elements)
        told = f"Unknown element '{name}' in {kind.name}.{hint}"
        self.tell(IssueCode.STRUCTURE, (place, name, -1), f"Elementet ”{name}” finns inte i {kind.name}.", told)


def _json_type(value: object) -> str:
    names: dict[type, str] = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")
