"""Changes to JSON as a tree: what is deleted, doubled, moved, exchanged, nested or made odd."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import simplejson

Place = tuple[Any, Any]
"""An object or list, and the name or position in it."""

ODD: Sequence[Any] = (
    None, True, False, 0, -1, 7, 2**31, 10**30, Decimal("1.50"), Decimal("1e300"), "", " ", "x", "\u00e5", "\u2028",
    "2026-02-30", "9999-12-31T23:59:60Z", "0001-01-01", "2026-11-20T10:00:00.000000000001+14:00", "urn:uuid:x", "#",
    "#p", "Patient/1", "Patient?name=x", "http://[", "http://example.org/fhir/Patient/1/_history/1", "//", "a|b|c",
    "\\", "%00",
    "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>", "199002222397", "SE2321000198-EX01", "F32.1", "x" * 2000,
    [], {}, [None], [[]], {"": ""}, {"resourceType": "Patient"}, {"reference": "#p"}, {"extension": [{"url": "x"}]},
    {"coding": [{}]}, {"system": "x"}, {"value": "x"},
)  # fmt: skip


def changed(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes | None:
    """The JSON with one to four changes, some of them parts of others; None for what is no JSON object or array."""
    tree = _parsed(data)
    if not isinstance(tree, dict | list):
        return None
    for _ in range(chance.randint(1, 4)):
        places = list(_places(tree))
        if not places:
            break
        _CHANGES[chance.randrange(len(_CHANGES))](chance.choice(places), places, others, chance)
    try:
        return simplejson.dumps(tree, use_decimal=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # a part that was put into itself
        return None


def _parsed(data: bytes) -> Any:
    try:
        return simplejson.loads(data.decode(), use_decimal=True)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _places(node: Any) -> Iterator[Place]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            yield one, key
            if isinstance(value, dict | list):
                waiting.append(value)


def _delete(place: Place, _: list[Place], __: Sequence[bytes], ___: random.Random) -> None:
    above, key = place
    del above[key]


def _make_odd(place: Place, _: list[Place], __: Sequence[bytes], chance: random.Random) -> None:
    above, key = place
    above[key] = copy.deepcopy(chance.choice(ODD))


def _double(place: Place, _: list[Place], __: Sequence[bytes], ___: random.Random) -> None:
    above, key = place
    if isinstance(above, list):
        above.append(copy.deepcopy(above[key]))
    else:
        above[f"_{key}"] = copy.deepcopy(above[key])


def _nest(place: Place, _: list[Place], __: Sequence[bytes], chance: random.Random) -> None:
    above, key = place
    above[key] = chance.choice(([above[key]], {"extension": [above[key]]}, {"url": "x", "valueReference": above[key]}))


def _exchange(place: Place, places: list[Place], _: Sequence[bytes], chance: random.Random) -> None:
    other, at = chance.choice(places)
    above, key = place
    above[key] = copy.deepcopy(other[at])


def _rename(place: Place, places: list[Place], _: Sequence[bytes], chance: random.Random) -> None:
    above, key = place
    names = [name for _, name in places if isinstance(name, str)]
    if isinstance(above, dict) and names:
        above[chance.choice(names)] = above.pop(key)


def _of_another(place: Place, _: list[Place], others: Sequence[bytes], chance: random.Random) -> None:
    tree = _parsed(chance.choice(others))
    theirs = list(_places(tree)) if isinstance(tree, dict | list) else []
    if theirs:
        other, at = chance.choice(theirs)
        above, key = place
        above[key] = other[at]


def _edit_text(place: Place, _: list[Place], __: Sequence[bytes], chance: random.Random) -> None:
    above, key = place
    value = above[key]
    if isinstance(value, str):
        at = chance.randint(0, len(value))
        above[key] = value[:at] + chance.choice("\u0000\ud800/#|:?.-0Zé \\") + value[at + 1 :]
    elif isinstance(value, int) and not isinstance(value, bool):
        above[key] = value + chance.choice((-1, 1, 10**6))


_CHANGES: Sequence[Callable[[Place, list[Place], Sequence[bytes], random.Random], None]] = (
    _delete, _make_odd, _make_odd, _double, _nest, _exchange, _rename, _of_another, _edit_text, _edit_text,
)  # fmt: skip
