"""How an interaction that is not declared is answered."""

import requests

from tests.conformance.client import outcome
from tests.conformance.declared.here import Here

ADDRESS = {
    "read": ("GET", "{}"),
    "vread": ("GET", "{}/_history/1"),
    "history-instance": ("GET", "{}/_history"),
    "history-type": ("GET", "{type}/_history"),
    "search-type": ("GET", "{type}"),
    "create": ("POST", "{type}"),
    "update": ("PUT", "{}"),
    "patch": ("PATCH", "{}"),
    "delete": ("DELETE", "{}"),
}
METHODS = {code: method for code, (method, _) in ADDRESS.items()}
SHARES_ADDRESS = {"{}": ("read", "update", "patch", "delete"), "{type}": ("search-type", "create")}


def is_undeclared(here: Here, type_: str, code: str) -> None:
    """405 with what may be done at the address, or 404 where nothing may; told as not supported."""
    method, address = ADDRESS[code]
    some = next(iter(here.stored(type_)))
    path = address.format(f"{type_}/{some}", type=type_)
    possible = {METHODS[c] for c in SHARES_ADDRESS.get(address, ()) if c in here.interactions(type_)}
    if address == "{type}" and here.declared[type_].get("conditionalUpdate"):
        possible |= {"PUT", "PATCH"}
    body = {"resourceType": type_, "id": some} if method in ("POST", "PUT", "PATCH") else None
    answer = here.ask(method, path, body=body)
    issues = outcome(answer, 405 if possible else 404)
    assert issues[0]["code"] == "not-supported"
    assert "type" not in issues[0]["diagnostics"], "the type is known"
    if possible:
        assert allowed(answer) - {"HEAD"} == possible


def allowed(answer: requests.Response) -> set[str]:
    return {method.strip() for method in answer.headers["Allow"].split(",")}
