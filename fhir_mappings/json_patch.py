"""JSON Patch: a resource as the operations make it, or why they cannot be carried out. Pure.

https://hl7.org/fhir/R4/http.html#patch, RFC 6902. Which status a failure has is RFC 5789's, section 2.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jsonpatch

from fhir_mappings import strict_json
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json

MEDIA_TYPE = "application/json-patch+json"

MAX_OPERATIONS = 200
"""More is refused as too costly: each is carried out on a copy of the whole."""


class Failure(StrEnum):
    """Why a patch cannot be carried out."""

    MALFORMED = "malformed"
    """It is no JSON Patch."""
    CONFLICT = "conflict"
    """A `test` of it does not hold for what is stored."""
    IMPOSSIBLE = "impossible"
    """A path of it leads nowhere in what is stored."""


@dataclass(frozen=True, slots=True)
class Unpatched:
    """A patch that was not carried out."""

    failure: Failure
    issues: tuple[Issue, ...]


def read_patch(body: bytes) -> list[Json] | Unpatched:
    """The operations of a patch document; malformed ones are told all at once."""
    operations, issues = strict_json.parse_array(body)
    issues = issues or [issue for i, operation in enumerate(operations) for issue in _malformed(i, operation)]
    if len(operations) > MAX_OPERATIONS:
        issues.append(
            error(
                IssueCode.TOO_COSTLY,
                None,
                f"En patch får ha högst {MAX_OPERATIONS} steg.",
                f"a patch may have at most {MAX_OPERATIONS} operations; this one has {len(operations)}",
            )
        )
    return Unpatched(Failure.MALFORMED, tuple(issues)) if issues else operations


def patched(resource: Json, operations: Sequence[Json], most_bytes: int) -> Json | Unpatched:
    """The resource after all operations, in order; the one given is not changed. A patch that makes more than
    `most_bytes` of it, or nests it too deeply, is refused: `copy` doubles what it is given each time.
    """
    made: Any = resource
    for position, operation in enumerate(operations):
        try:
            made = jsonpatch.apply_patch(made, [operation])
        except jsonpatch.JsonPatchTestFailed:
            return _refused(Failure.CONFLICT, IssueCode.CONFLICT, position, operation, "does not hold")
        except jsonpatch.InvalidJsonPatch:
            return _refused(Failure.MALFORMED, IssueCode.INVALID, position, operation, "is malformed")
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            return _refused(Failure.IMPOSSIBLE, IssueCode.PROCESSING, position, operation, "leads nowhere")
        grows = operation["op"] == "copy" or position == len(operations) - 1
        if grows and len(strict_json.dump([made])) > most_bytes:
            return _refused(Failure.IMPOSSIBLE, IssueCode.TOO_COSTLY, position, operation, "makes it too large")
    read = strict_json.parse(strict_json.dump([made])[1:-1].encode())
    return Unpatched(Failure.IMPOSSIBLE, tuple(read)) if isinstance(read, list) else read


_VALUED = frozenset({"add", "replace", "test"})
_FROM = frozenset({"move", "copy"})


def _malformed(position: int, operation: object) -> list[Issue]:
    """What RFC 6902 section 4 has against one operation."""
    if not isinstance(operation, dict):
        return [_wrong(position, "is no object")]
    op = operation.get("op")
    if op not in (*_VALUED, *_FROM, "remove"):
        return [_wrong(position, "needs an 'op': add, remove, replace, move, copy or test")]
    wrong = []
    if op in _VALUED and "value" not in operation:
        wrong.append(_wrong(position, f"needs a 'value' for {op}"))
    for name in ("path", *(["from"] if op in _FROM else [])):
        pointer = operation.get(name)
        if not isinstance(pointer, str):
            wrong.append(_wrong(position, f"needs a '{name}'"))
            continue
        try:
            jsonpatch.JsonPointer(pointer)
        except jsonpatch.JsonPointerException:
            wrong.append(_wrong(position, f"has a '{name}' that is no JSON Pointer"))
    return wrong


def _wrong(position: int, what: str) -> Issue:
    return error(
        IssueCode.INVALID,
        None,
        f"Steg {position + 1} i ändringen är inte giltig JSON Patch.",
        f"operation {position} {what} (RFC 6902)",
    )


def _refused(failure: Failure, code: IssueCode, position: int, operation: Json, what: str) -> Unpatched:
    # neither paths nor values are told again: they may hold anything
    said = error(
        code,
        None,
        f"Steg {position + 1} i ändringen ({operation['op']}) går inte att göra på resursen som den är nu.",
        f"operation {position} ({operation['op']}) {what}",
    )
    return Unpatched(failure, (said,))
