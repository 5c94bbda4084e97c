"""The municipality of a patient or a unit, from `Patient.address` and `Organization.address`, and back (contract 3)."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical

_CODE = re.compile(r"[0-9]{4}")
_MUNICIPALITY_SUFFIX = " kommun"


def municipality_of(
    resource: Mapping[str, Any], expression: str, canonical: Canonical, municipalities: Mapping[str, str]
) -> tuple[str | None, list[Issue]]:
    """The four-digit municipality code of a resource with `address`, or None where it cannot be told.

    Any address's extension goes before a name in `district` or `city`; an old address tells nothing. `municipalities`
    gives the code for a lower-case name. An extension without a four-digit `valueCode` is passed over with a warning.
    """
    addresses = [(i, address) for i, address in children(resource, "address") if address.get("use") != "old"]
    issues: list[Issue] = []
    for position, address in addresses:
        for number, extension in children(address, "extension"):
            if extension.get("url") != canonical.municipality_extension:
                continue
            code = text(extension, "valueCode")
            if code and _CODE.fullmatch(code):
                return code, issues
            issues.append(_unreadable(f"{expression}.address[{position}].extension[{number}].value"))
    for element in ("district", "city"):
        for _, address in addresses:
            named = _code_by_name(text(address, element), municipalities)
            if named:
                return named, issues
    return None, issues


def to_fhir_address(municipality: str, canonical: Canonical) -> Json:
    """An Address that says only the municipality; the pair of `municipality_of`."""
    return {"extension": [{"url": canonical.municipality_extension, "valueCode": municipality}]}


def _code_by_name(name: str | None, municipalities: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    plain = unicodedata.normalize("NFC", name).strip().lower()
    if not plain.endswith(_MUNICIPALITY_SUFFIX):
        return municipalities.get(plain)
    # "Gävle kommun", and in the genitive "Ljusdals kommun"
    stem = plain.removesuffix(_MUNICIPALITY_SUFFIX).strip()
    return municipalities.get(stem) or municipalities.get(stem.removesuffix("s"))


def _unreadable(expression: str) -> Issue:
    return Issue(
        Severity.WARNING,
        IssueCode.VALUE,
        "Kommunkoden kunde inte läsas: den ska ha fyra siffror.",
        "The municipality extension takes a valueCode of four digits; it was passed over.",
        expression,
    )
