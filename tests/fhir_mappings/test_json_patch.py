"""JSON Patch on resources: what is carried out, and why what cannot be is not (RFC 6902)."""

import json
from decimal import Decimal
from typing import Any

import pytest

from fhir_mappings.json_patch import MAX_OPERATIONS, Failure, Unpatched, patched, read_patch
from fhir_mappings.records import Json

TASK: Json = {
    "resourceType": "Task",
    "status": "requested",
    "note": [{"text": "a/b~c"}],
    "extension": [{"url": "u", "valueDecimal": Decimal("1.00")}, {"url": "v", "valueBoolean": True}],
}


def _operations(*operations: Json) -> list[Json]:
    read = read_patch(json.dumps(operations).encode())
    assert isinstance(read, list), read
    return read


def _patched(*operations: Json, most: int = 10_000) -> Json | Unpatched:
    return patched(TASK, _operations(*operations), most)


def _why(*operations: Json) -> Failure:
    answer = _patched(*operations)
    assert isinstance(answer, Unpatched)
    assert answer.issues
    return answer.failure


def test_operations_are_carried_out_in_order_on_a_copy() -> None:
    before = json.dumps(TASK, default=str)
    made = _patched(
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "replace", "path": "/status", "value": "received"},
        {"op": "add", "path": "/note/-", "value": {"text": "b"}},
        {"op": "copy", "from": "/note/1", "path": "/note/-"},
        {"op": "move", "from": "/note/0/text", "path": "/description"},
        {"op": "remove", "path": "/note/0"},
    )
    assert not isinstance(made, Unpatched)
    assert (made["status"], made["description"], made["note"]) == ("received", "a/b~c", [{"text": "b"}, {"text": "b"}])
    assert json.dumps(TASK, default=str) == before


def test_decimals_keep_every_digit() -> None:
    read = read_patch(b'[{"op":"add","path":"/extension/-","value":{"url":"w","valueDecimal":2.50}}]')
    assert isinstance(read, list)
    made = patched(TASK, read, 10_000)
    assert not isinstance(made, Unpatched)
    assert [str(e.get("valueDecimal")) for e in made["extension"]] == ["1.00", "None", "2.50"]


@pytest.mark.parametrize(
    ("path", "value", "holds"),
    [
        ("/extension/0/valueDecimal", 1, True),
        ("/extension/1/valueBoolean", 1, False),
        ("/extension/1/valueBoolean", True, True),
        ("/status", "received", False),
        ("/owner", None, False),
        ("/note/0", {"text": "a/b~c"}, True),
    ],
)
def test_a_test_compares_as_json_does(path: str, value: Any, holds: bool) -> None:
    answer = _patched({"op": "test", "path": path, "value": value})
    assert isinstance(answer, Unpatched) is not holds
    if isinstance(answer, Unpatched):
        assert answer.failure is Failure.CONFLICT


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/owner"},
        {"op": "replace", "path": "/owner", "value": {}},
        {"op": "replace", "path": "/note/7", "value": {}},
        {"op": "add", "path": "/note/7", "value": {}},
        {"op": "add", "path": "/note/first", "value": {}},
        {"op": "add", "path": "/owner/reference", "value": "x"},
        {"op": "move", "from": "/owner", "path": "/focus"},
        {"op": "move", "from": "/note", "path": "/note/0"},
        {"op": "copy", "from": "/note/01", "path": "/note/-"},
        {"op": "add", "path": "/status/x", "value": 1},
        {"op": "replace", "path": "", "value": 7},
        {"op": "replace", "path": "", "value": []},
    ],
)
def test_a_path_that_leads_nowhere_is_told(operation: Json) -> None:
    assert _why(operation) is Failure.IMPOSSIBLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"7",
        b"null",
        b"[",
        b"[7]",
        b"[[]]",
        b'[{"op":"test"}]',
        b'[{"op":"nonsense","path":"/a"}]',
        b'[{"path":"/a","value":1}]',
        b'[{"op":["add"],"path":"/a","value":1}]',
        b'[{"op":"add","path":"a","value":1}]',
        b'[{"op":"add","path":"/a~2","value":1}]',
        b'[{"op":"add","path":7,"value":1}]',
        b'[{"op":"add","path":"/a"}]',
        b'[{"op":"move","path":"/a"}]',
        b'[{"op":"add","op":"remove","path":"/a","value":1}]',
        b'[{"op":"add","path":"/a","value":"\\ud800"}]',
        b'[{"op":"add","path":"/a\\u0000","value":1}]',
        b'[{"op":"add","path":"/a","value":1e999}]',
        b'[{"op":"add","path":"/a","value":NaN}]',
        b'[{"op":"add","path":"/a","value":' + b"[" * 200 + b"]" * 200 + b"}]",
        b"[" * 100_000,
        b"\xef\xbb\xbf[]",
        b"\xff",
        json.dumps([{"op": "test", "path": "", "value": 1}] * (MAX_OPERATIONS + 1)).encode(),
    ],
)
def test_what_is_no_patch_is_malformed(body: bytes) -> None:
    answer = read_patch(body)
    assert isinstance(answer, Unpatched)
    assert answer.failure is Failure.MALFORMED
    assert answer.issues


def test_every_malformed_operation_is_told_at_once() -> None:
    answer = read_patch(b'[{"op":"add"},{"op":"remove","path":"/a"},{"op":"x"}]')
    assert isinstance(answer, Unpatched)
    assert [issue.diagnostics.split()[1] for issue in answer.issues] == ["0", "0", "2"]


@pytest.mark.parametrize("target", ["/note/-", "/x"])
def test_copies_of_copies_end_before_they_fill_the_memory(target: str) -> None:
    source = "" if target == "/x" else "/note"
    assert _why(*[{"op": "copy", "from": source, "path": target}] * 100) is Failure.IMPOSSIBLE


def test_what_is_told_holds_nothing_of_the_patch() -> None:
    answer = _patched({"op": "test", "path": "/199002222397", "value": "199002222397"})
    assert isinstance(answer, Unpatched)
    assert "1990" not in str(answer.issues)
