"""What may be done at each address of the FHIR interface, as the CapabilityStatement declares it, and the answer to
anything else: 405 where something else may be done, 404 where nothing may, `not-supported` either way.
"""

from flask import request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from fhir_mappings.issues import IssueCode, error
from service.definitions.operations import OF_ONE, OPERATIONS
from service.referral.refusal import Kind, Refusal
from service.web.rest import CREATABLE, TYPES, UPDATABLE

_READ = ["GET", "HEAD"]


def check_declared() -> None:
    """Refuse what is not declared. Addresses that are fixed (metadata, operations) are left to their routes."""
    path = request.path.strip("/")
    if path != "fhir" and not path.startswith("fhir/"):
        return
    lost = request.routing_exception
    if isinstance(lost, NotFound | MethodNotAllowed) or (lost is None and request.view_args):
        methods = methods_of(path)
        if not methods:
            raise _nothing_here(path)
        if request.method not in methods:
            raise MethodNotAllowed(methods)


def methods_of(path: str) -> list[str]:
    """The methods of an address below the root of the server; none where there is nothing."""
    match path.strip("/").split("/"):
        case ["fhir"]:
            return ["POST"]
        case ["fhir", "metadata"]:
            return _READ
        case ["fhir", "AuditEvent", *below]:
            return _of_record(below)
        case ["fhir", "Subscription", *below]:
            return _of_subscriptions(below)
        case ["fhir", type_, *below] if type_ in TYPES:
            return _of_resources(type_, below)
    return []


def _of_resources(type_: str, below: list[str]) -> list[str]:
    changes = ["PUT", "PATCH"] if type_ in UPDATABLE else []
    match below:
        case []:
            return [*_READ, *(["POST"] if type_ in CREATABLE else []), *changes]
        case ["_search"]:
            return ["POST"]
        case [name] | [_, name] if name.startswith("$"):
            known, methods = (OPERATIONS, ["POST"]) if len(below) == 1 else (OF_ONE, [*_READ, "POST"])
            return methods if name[1:] in known.get(type_, ()) else []
        case ["_history"] | [_, "_history"] | [_, "_history", _]:
            return _READ
        case [id_] if not id_.startswith("_"):
            return [*_READ, *changes]
    return []


def _of_record(below: list[str]) -> list[str]:
    match below:
        case []:
            return _READ
        case ["_search"]:
            return ["POST"]
        case [id_] if not id_.startswith(("_", "$")):
            return _READ
    return []


def _of_subscriptions(below: list[str]) -> list[str]:
    match below:
        case []:
            return [*_READ, "POST"]
        case ["_search"]:
            return ["POST"]
        case ["$status"] | [_, "$status"] | [_, "$events"]:
            return [*_READ, "POST"]
        case [id_] if not id_.startswith(("_", "$")):
            return ["DELETE", *_READ, "PUT"]
    return []


def _nothing_here(path: str) -> Refusal:
    type_ = path.split("/")[1]
    if type_.isalpha() and type_[0].isupper() and type_ not in {*TYPES, "AuditEvent", "Subscription"}:
        told = ("Sluss har inga resurser av den typen.", "this resource type is not supported; see /fhir/metadata")
    else:
        told = ("Det här gör inte Sluss.", "no such interaction or operation is declared here; see /fhir/metadata")
    return Refusal(Kind.NOT_FOUND, [error(IssueCode.NOT_SUPPORTED, None, *told)])
