"""Why a request is refused: a kind and all its issues. The web's error table turns the kind into a status."""

from collections.abc import Sequence
from enum import StrEnum

from fhir_mappings.issues import Issue, IssueCode, error


class Kind(StrEnum):
    """What kind of refusal; each has one row in the web's error table."""

    UNREADABLE = "unreadable"
    """Not valid FHIR R4 or not JSON."""
    INVALID = "invalid"
    """Readable, but against our rules."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    STALE = "stale"
    """If-Match does not name the current version, or a condition matches several."""
    NOT_SUPPORTED = "not-supported"
    TOO_LARGE = "too-large"
    UNAVAILABLE = "unavailable"
    """Nothing is wrong with the request; trying again may help."""


class Refusal(Exception):  # noqa: N818  a refusal is an answer, not a programming error
    """Raised inside a transaction so that nothing of the request is stored."""

    def __init__(self, kind: Kind, issues: Sequence[Issue], location: str | None = None) -> None:
        super().__init__(kind, *(issue.diagnostics for issue in issues))
        self.kind = kind
        self.issues = tuple(issues)
        self.location = location
        """`Type/id` of the stored resource that a conflict is with."""


def forbidden(text: str, diagnostics: str) -> Refusal:
    """The caller is known but may not do this."""
    return Refusal(Kind.FORBIDDEN, [error(IssueCode.FORBIDDEN, None, text, diagnostics)])


def needs_reason() -> Refusal:
    """An administrator asks for clinical content and does not say why; the same whether or not it is there."""
    return forbidden(
        "En administratör anger varför vårduppgifter behövs, i huvudet Sluss-Reason.",
        "an administrator needs a reason for clinical content: the header Sluss-Reason, which is recorded",
    )


def not_found(type_: str, id_: str) -> Refusal:
    """There is no such resource, or the caller may not know of it."""
    return Refusal(
        Kind.NOT_FOUND,
        [error(IssueCode.NOT_FOUND, None, "Resursen finns inte.", f"{type_}/{id_} is not known")],
    )


def stale(version: int) -> Refusal:
    """If-Match does not name the current version, which is `version`."""
    return Refusal(
        Kind.STALE,
        [
            error(
                IssueCode.CONFLICT,
                None,
                "Resursen har ändrats sedan du läste den. Läs om den och försök igen.",
                f'If-Match does not name the current version, which is W/"{version}"',
            )
        ],
    )


def invalid(code: IssueCode, expression: str | None, text: str, diagnostics: str) -> Refusal:
    """One rule of ours is broken; callers with several issues raise `Refusal` themselves."""
    return Refusal(Kind.INVALID, [error(code, expression, text, diagnostics)])
