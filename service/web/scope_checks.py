"""What a token must be good for, by the method and address of a request (SMART scopes, version 2).

| Request | Needs |
|---|---|
| read, vread, history of one; operations that only tell | `r` |
| search, history of a type | `s` |
| create; `$assess`, the plain intake and CDS Hooks, which is a ServiceRequest's | `c` |
| update, patch | `u`; where a conditional update makes one, one without a search, or `c` |
| delete | `d` |

A Bundle needs nothing itself, each of its entries what it would need alone. Whom a caller acts for and what a scope's
search leaves of it is for the store's queries (`service.access.seeing`).
"""

import re
from collections.abc import Iterable

from fhir_mappings.bundle import Entry
from fhir_mappings.issues import Issue, IssueCode, error
from service.access.caller import Caller

_SEARCHES = {"GET": "s", "HEAD": "s", "POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}
_OF_ONE = {"GET": "r", "HEAD": "r", "PUT": "u", "PATCH": "u", "DELETE": "d"}

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")

_WHOLE = frozenset({"AuditEvent", "Subscription"})
"""What no search of a scope narrows, so that a scope with one gives nothing of it."""

Need = tuple[str, str]
"""A resource type, and one of c, r, u, d and s."""


class InsufficientScope(Exception):  # noqa: N818  a refusal, not a fault
    """403: the token is not good for this. https://www.rfc-editor.org/rfc/rfc6750#section-3.1"""

    def __init__(self, needs: list[Need], issues: list[Issue]) -> None:
        super().__init__("insufficient scope")
        self.scope = " ".join(dict.fromkeys(f"system/{type_}.{letter}" for type_, letter in needs))
        self.issues = issues


def needed(method: str, path: str) -> Need | None:
    """What a request needs; None for one that needs no scope (or leads nowhere)."""
    need: Need | None = None
    match path.strip("/").split("/"):
        case ["intake", *_] | ["fhir", "ServiceRequest", "$assess"]:
            need = "ServiceRequest", "c"
        case ["cds-services", *rest] if rest:
            need = "ServiceRequest", "c"
        case ["fhir", type_, "_search" | "_history"]:
            need = type_, "s"
        case ["fhir", type_] if type_ and method in _SEARCHES:
            need = type_, _SEARCHES[method]
        case ["fhir", type_, operation] if operation.startswith("$"):
            need = type_, "r"
        case ["fhir", type_, _] if method in _OF_ONE:
            need = type_, _OF_ONE[method]
        case ["fhir", type_, _, _, *_]:
            need = type_, "r"
    return need if need is not None and _TYPE.fullmatch(need[0]) else None


def check_scope(caller: Caller, method: str, path: str) -> None:
    """Raises InsufficientScope where the caller's token is not good for a request."""
    need = needed(method, path)
    if need is not None and _lacks(caller, need):
        raise InsufficientScope([need], [_lacking(need, None)])


def check_making(caller: Caller, type_: str) -> None:
    """Raises InsufficientScope where a conditional update has found nothing, and its token must not make one: the
    search of a scope narrows what may be changed, and could not narrow what is made.
    """
    if caller.scopes is None or any(not scope.query for scope in caller.scopes.for_(type_, "u")):
        return
    check_scope(caller, "POST", f"/fhir/{type_}")


def check_telling(caller: Caller, type_: str) -> None:
    """Raises InsufficientScope where the caller's token is not good for being told of every resource of a type: who
    subscribes is told by what the caller may see, whatever the search of a scope leaves of it.
    """
    if caller.scopes is None:
        return
    lacking = [(type_, letter) for letter in "rs" if all(scope.query for scope in caller.scopes.for_(type_, letter))]
    if lacking:
        told = error(
            IssueCode.FORBIDDEN,
            None,
            f"Inloggningen måste gälla alla {type_} utan urval, eftersom en prenumeration berättar om alla.",
            f"a Subscription tells of every {type_}: the token needs the scope system/{type_}.rs without a search",
        )
        raise InsufficientScope(lacking, [told])


def check_entries(caller: Caller, asked: Iterable[tuple[Entry, str]]) -> None:
    """Raises InsufficientScope where the caller's token is not good for every entry of a transaction, each with the
    path of its URL below the base.
    """
    if caller.scopes is None or caller.scopes.is_everything:
        return
    needs = [(entry, needed(entry.method or "", f"/fhir/{path}")) for entry, path in asked]
    lacking = [(entry, need) for entry, need in needs if need is not None and _lacks(caller, need)]
    if lacking:
        raise InsufficientScope(
            [need for _, need in lacking],
            [_lacking(need, f"Bundle.entry[{entry.position}].request") for entry, need in lacking],
        )


def _lacks(caller: Caller, need: Need) -> bool:
    if caller.scopes is None:
        return False
    granted = caller.scopes.for_(*need)
    return not any(not scope.query or need[0] not in _WHOLE for scope in granted)


def _lacking(need: Need, place: str | None) -> Issue:
    return error(
        IssueCode.FORBIDDEN,
        place,
        "Inloggningen ger inte rätt till det här.",
        f"the token is not good for this; it needs the scope system/{need[0]}.{need[1]}",
    )
