"""Diagnoses in ICD-10-SE, from ServiceRequest.reasonCode and from Conditions (contract 3).

No single URI exists for ICD-10-SE, and codes are written with and without the dot; both are read in every known way.
"""

import re
from collections.abc import Iterator, Sequence

from fhir_mappings.elements import child, children, codings, text
from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.records import Json
from fhir_mappings.terminology import ICD_10_SE_SYSTEMS, Systems

_ICD_10 = re.compile(r"([A-Z][0-9]{2})(?:\.?([0-9]{1,2}[A-Z]?)|\.?-([A-Z])?)?[*+†#]?")
"""Socialstyrelsen, ICD-10-SE: a letter and two digits, then digits and perhaps a letter (`F43.8A`, `F41.9P`).

`-` stands for digits that the code does not have (`F32.-`, in primary care's KSH97-P also `F32-P`); the marks of the
dagger and asterisk system say how a code is used, not which it is."""

_NOT_COUNTING = ("refuted", "entered-in-error")
"""Condition.verificationStatus of what is no diagnosis: https://hl7.org/fhir/R4/valueset-condition-ver-status.html"""


def normalise_icd10(code: str) -> str | None:
    """The code in capitals and with its dot (`f321` gives `F32.1`), or None for what is no ICD-10-SE code.

    A letter at the end is kept (`F43.8A`), a placeholder falls away (`F32.-` gives `F32`).
    """
    found = _ICD_10.fullmatch(code.strip().upper())
    if found is None:
        return None
    category, detail, variant = found.groups()
    if detail:
        return f"{category}.{detail}"
    return f"{category}-{variant}" if variant else str(category)


def diagnoses_from(
    resource: Json, expression: str, conditions: Sequence[tuple[Json, str]] = ()
) -> tuple[tuple[str, ...], list[Issue]]:
    """The diagnosis codes that count, each once: those of the ServiceRequest's reasonCode, then of the Conditions.

    `conditions` are (Condition, its expression). A Condition that is refuted or entered in error does not count; that,
    and a code that cannot be read, is said with severity information. Whether a diagnosis is missing or fits is for the
    pack's rules.
    """
    codes: list[str] = []
    issues: list[Issue] = []
    for position, reason in children(resource, "reasonCode"):
        _read_concept(reason, f"{expression}.reasonCode[{position}]", codes, issues)
    for condition, place in conditions:
        withdrawn = _why_it_does_not_count(condition, place)
        if withdrawn:
            issues.append(withdrawn)
        else:
            _read_concept(child(condition, "code"), f"{place}.code", codes, issues)
    return tuple(dict.fromkeys(codes)), issues


def to_fhir_reason(code: str) -> Json:
    """A CodeableConcept with one ICD-10-SE code, the system that Sluss writes; the pair of `diagnoses_from`."""
    return {"coding": [{"system": Systems.ICD_10_SE.value, "code": code}]}


def _read_concept(concept: Json, expression: str, codes: list[str], issues: list[Issue]) -> None:
    for place, written in _icd_10_codes(concept, expression):
        code = normalise_icd10(written)
        if code is None:
            issues.append(_unreadable(place))
        else:
            codes.append(code)


def _icd_10_codes(concept: Json, expression: str) -> Iterator[tuple[str, str]]:
    """(expression, code as written) of each coding in ICD-10-SE; other systems' codes are no diagnoses to Sluss."""
    for position, coding in children(concept, "coding"):
        code = text(coding, "code")
        if text(coding, "system") in ICD_10_SE_SYSTEMS and code is not None:
            yield f"{expression}.coding[{position}].code", code


def _why_it_does_not_count(condition: Json, expression: str) -> Issue | None:
    for system, status in codings(condition, "verificationStatus"):
        if system == Systems.CONDITION_VERIFICATION and status in _NOT_COUNTING:
            why = "den är avfärdad" if status == "refuted" else "den är felaktigt införd"
            return Issue(
                Severity.INFORMATION,
                IssueCode.INFORMATIONAL,
                f"Diagnosen räknas inte: {why}.",
                f"The Condition has verificationStatus {status} and does not count.",
                f"{expression}.verificationStatus",
            )
    return None


def _unreadable(expression: str) -> Issue:
    return Issue(
        Severity.INFORMATION,
        IssueCode.CODE_INVALID,
        "Diagnoskoden räknas inte: den är ingen kod i ICD-10-SE.",
        "The code is not of the form of ICD-10-SE and does not count.",
        expression,
    )
