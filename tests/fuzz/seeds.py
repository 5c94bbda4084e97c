"""Where fuzzing starts from: every body of fixtures/ and every kind of search that there is, written into a folder."""

from pathlib import Path

import simplejson

from service.store.search_kinds import Kind
from service.store.search_parameters import BY_TYPE
from tests.fuzz.targets import STORED, TYPES
from tests.web.cases import cases

_VALUES = {
    Kind.TOKEN: ("http://example.org|a,b", "|x"),
    Kind.REFERENCE: ("Patient/1,http://127.0.0.1/fhir/Patient/2", "urn:uuid:00000000-0000-4000-8000-000000000001"),
    Kind.DATE: ("ge2026-11-20T10:00:00.5%2B01:00", "2026"),
    Kind.STRING: ("Testsson", r"a\,b"),
    Kind.URI: ("http://example.org/x",),
    Kind.QUANTITY: ("gt5.40e1|http://unitsofmeasure.org|mg", "ap7"),
}
_SPECIAL = (
    "_id=a,b&_lastUpdated=gt2026-11-20&_sort=-_lastUpdated,_id&_count=0",
    "_total=none&_summary=true&_elements=status,Task.owner",
    "_include=Task:focus&_revinclude=Task:patient&_include:iterate=ServiceRequest:subject:Patient",
    "_page=WyIyMDI2LTExLTIzVDEwOjAwOjAwWiIsICJhIl0",
    "_since=2026-11-20T10:00:00Z&_at=2026-11&_count=3",
    "patient.name:exact=x&subject:Patient.identifier=y&owner:missing=true&status:not=draft",
    "therapist gavle",
)
_PATCHES = (
    [
        {"op": "test", "path": "/meta/versionId", "value": "1"},
        {"op": "replace", "path": "/status", "value": "received"},
    ],
    [{"op": "add", "path": "/note/-", "value": {"text": "x"}}, {"op": "remove", "path": "/input/0"}],
    [{"op": "move", "from": "/note/0", "path": "/note/1"}, {"op": "copy", "from": "/for", "path": "/requester"}],
)


def write_seeds(target: str, folder: Path) -> int:
    """The seeds of a target as files; gives how many."""
    found = bodies() if target == "intake" else searches()
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(found):
        (folder / f"{number:04d}").write_bytes(seed)
    return len(found)


def bodies() -> list[bytes]:
    """What is sent in every fixture, in compact JSON where it can be read; patches; a call of CDS Hooks."""
    sent = []
    for case in cases():
        try:
            sent.append(simplejson.dumps(case.content, use_decimal=True, ensure_ascii=False).encode())
        except AssertionError:  # one that is not to be readable
            sent.append(case.body)
    patches = [simplejson.dumps(patch).encode() for patch in _PATCHES]
    return [*sent, *patches, simplejson.dumps(STORED).encode(), *_calls()]


def searches() -> list[bytes]:
    """One for each parameter of each type, and what all types know."""
    found = [
        bytes([number]) + f"{name}={value}".encode()
        for number, type_ in enumerate(TYPES)
        for name, parameter in BY_TYPE[type_].items()
        for value in _VALUES[parameter.kind]
    ]
    return found + [bytes([number]) + special.encode() for number in range(len(TYPES)) for special in _SPECIAL]


def _calls() -> list[bytes]:
    bundle = next(case.content for case in cases("bundle") if case.name == "depression-all-well")
    call = {
        "hook": "order-sign",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "PractitionerRole/1", "patientId": "1", "draftOrders": bundle},
        "prefetch": {"patient": bundle["entry"][0]["resource"]},
    }
    return [simplejson.dumps(call, use_decimal=True).encode()]
