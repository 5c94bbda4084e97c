"""Problems as plain values, and their way into and out of a FHIR OperationOutcome.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Required binding issue-severity: https://hl7.org/fhir/R4/valueset-issue-severity.html"""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class IssueCode(StrEnum):
    """The part of the required binding issue-type that Sluss says: https://hl7.org/fhir/R4/valueset-issue-type.html"""

    INVALID = "invalid"
    STRUCTURE = "structure"
    REQUIRED = "required"
    VALUE = "value"
    INVARIANT = "invariant"
    SECURITY = "security"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    PROCESSING = "processing"
    NOT_SUPPORTED = "not-supported"
    DUPLICATE = "duplicate"
    MULTIPLE_MATCHES = "multiple-matches"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    TOO_LONG = "too-long"
    CODE_INVALID = "code-invalid"
    EXTENSION = "extension"
    TOO_COSTLY = "too-costly"
    BUSINESS_RULE = "business-rule"
    CONFLICT = "conflict"
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    EXCEPTION = "exception"
    INFORMATIONAL = "informational"


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem: what, where, in Swedish for people (`text`) and English for integrators (`diagnostics`)."""

    severity: Severity
    code: IssueCode
    text: str
    diagnostics: str
    expression: str | None = None
    """FHIRPath of the element, relative to what was sent, for example `Bundle.entry[2].resource.subject`."""
    rule: str | None = None
    """Id of the eligibility rule, where the issue tells of one."""

    def at(self, prefix: str) -> "Issue":
        """The same issue with its expression below `prefix`: `Patient.name` at `Bundle.entry[1].resource` gives
        `Bundle.entry[1].resource.name`.
        """
        if self.expression is None:
            return replace(self, expression=prefix)
        _, _, rest = self.expression.partition(".")
        return replace(self, expression=f"{prefix}.{rest}" if rest else prefix)


def error(code: IssueCode, expression: str | None, text: str, diagnostics: str) -> Issue:
    """An Issue of severity error; the form most callers need."""
    return Issue(Severity.ERROR, code, text, diagnostics, expression)


def is_error(issue: Issue) -> bool:
    """True for what refuses a request: severity fatal or error."""
    return issue.severity in (Severity.FATAL, Severity.ERROR)


MOST_TOLD = 500
"""Issues in one answer. A megabyte can have a hundred thousand things wrong with it, each told in 300 bytes."""


def listed(issues: Sequence[Issue]) -> list[Issue]:
    """The first `MOST_TOLD` of them, and that there are more."""
    return [*issues[:MOST_TOLD], *([AND_MORE] if len(issues) > MOST_TOLD else [])]


AND_MORE = error(
    IssueCode.TOO_COSTLY,
    None,
    "Det finns fler fel än de som räknas upp.",
    f"There are more problems; the first {MOST_TOLD} are told.",
)


def to_operation_outcome(issues: Sequence[Issue], rule_system: str | None = None) -> dict[str, Any]:
    """An OperationOutcome with one issue each, in order; never empty (`issue` is 1..*).

    `rule_system` is the CodeSystem of eligibility rules, coded in `details.coding` where an issue names a rule.
    """
    told: Iterable[Issue] = issues or (
        Issue(Severity.INFORMATION, IssueCode.INFORMATIONAL, "Inget att anmärka.", "All OK."),
    )
    return {"resourceType": "OperationOutcome", "issue": [_to_fhir(issue, rule_system) for issue in told]}


def _to_fhir(issue: Issue, rule_system: str | None) -> dict[str, Any]:
    details: dict[str, Any] = {"text": issue.text}
    if issue.rule and rule_system:
        details = {"coding": [{"system": rule_system, "code": issue.rule}], "text": issue.text}
    out: dict[str, Any] = {"severity": str(issue.severity), "code": str(issue.code), "details": details}
    if issue.diagnostics:
        out["diagnostics"] = issue.diagnostics
    if issue.expression:
        out["expression"] = [issue.expression]
    return out


def from_operation_outcome(outcome: dict[str, Any]) -> list[Issue]:
    """The issues of an OperationOutcome; the pair of `to_operation_outcome`. Codes that Sluss never says read as
    `processing`, because another server may use the whole value set.
    """
    issues = []
    for item in outcome.get("issue", ()):
        details = item.get("details", {})
        codings = details.get("coding") or [{}]
        code = item.get("code", "")
        issues.append(
            Issue(
                Severity(item["severity"]),
                IssueCode(code) if code in IssueCode.__members__.values() else IssueCode.PROCESSING,
                details.get("text", ""),
                item.get("diagnostics", ""),
                (item.get("expression") or [None])[0],
                codings[0].get("code"),
            )
        )
    return issues
