"""Each interaction that the CapabilityStatement declares does what R4 says of it on what is stored; each that it does
not declare is answered as such. https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import pytest
import requests

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from fhir_mappings.records import Json
from tests.conformance.client import JSON_PATCH, content, outcome
from tests.conformance.declared.here import FORM, Here
from tests.conformance.declared.makers import CHANGES, MAKERS, Made

TYPES = sorted(SUPPORTED_TYPES | {"Subscription"})
UNDECLARED_TYPES = ("Encounter", "Medication", "AllergyIntolerance", "Binary", "Basic")
TYPE_INTERACTIONS = (
    "read vread update patch delete history-instance history-type create search-type".split()  # noqa: SIM905
)
"""https://hl7.org/fhir/R4/valueset-type-restful-interaction.html"""


def test_every_type_that_is_declared_is_looked_at_here(here: Here) -> None:
    assert validate(here.statement) == []
    assert sorted(here.declared) == TYPES
    for type_ in TYPES:
        assert here.interactions(type_) <= set(TYPE_INTERACTIONS), type_


@pytest.mark.parametrize("code", TYPE_INTERACTIONS)
@pytest.mark.parametrize("type_", TYPES)
def test_a_declared_interaction_works_and_another_is_answered_as_undeclared(here: Here, type_: str, code: str) -> None:
    if code in here.interactions(type_):
        WORKS[code](here, type_)
    else:
        is_undeclared(here, type_, code)


# ---------------------------------------------------------------- read


def _a_stored(here: Here, type_: str) -> Json:
    """One that came as clients send it, with as many versions as any."""
    real = [r for r in here.stored(type_).values() if validate(r) == []]
    assert real, f"nothing of type {type_} is stored"
    return max(real, key=lambda resource: int(resource["meta"]["versionId"]))


def _is_version(answer: requests.Response, resource: Json) -> None:
    """The headers of a version say what its meta says."""
    meta = resource["meta"]
    assert answer.headers["ETag"] == f'W/"{meta["versionId"]}"'
    stamp = datetime.fromisoformat(meta["lastUpdated"]).astimezone(UTC)
    assert answer.headers["Last-Modified"] == format_datetime(stamp.replace(microsecond=0), usegmt=True)


def _read(here: Here, type_: str) -> None:
    stored = _a_stored(here, type_)
    place = f"{type_}/{stored['id']}"
    answer = here.ask("GET", place)
    assert content(answer) == stored
    _is_version(answer, stored)
    head = here.ask("HEAD", place)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("ETag", "Last-Modified", "Content-Type", "Content-Length"):
        assert head.headers[name] == answer.headers[name]
    outcome(here.ask("GET", f"{type_}/nobody"), 404)
    if here.declared[type_].get("conditionalRead") == "full-support":
        _conditional(here, place, answer)
    else:
        etag = {"If-None-Match": answer.headers["ETag"]}
        assert here.ask("GET", place, headers=etag).status_code == 200


def _conditional(here: Here, place: str, answer: requests.Response) -> None:
    etag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
    before = format_datetime(parsedate_to_datetime(modified) - timedelta(seconds=1), usegmt=True)
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'W/"999", {etag}'}, 304),
        ({"If-None-Match": 'W/"999"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": before}, 200),
        ({"If-None-Match": 'W/"999"', "If-Modified-Since": modified}, 200),
    ):
        for method in ("GET", "HEAD"):
            asked = here.ask(method, place, headers=headers)
            assert asked.status_code == status, (headers, method)
            assert asked.headers["ETag"] == etag
            if status == 304:
                assert asked.content == b""


def _vread(here: Here, type_: str) -> None:
    stored = _a_stored(here, type_)
    place = f"{type_}/{stored['id']}"
    newest = int(stored["meta"]["versionId"])
    for version in range(1, newest + 1):
        answer = here.ask("GET", f"{place}/_history/{version}")
        told = content(answer)
        assert (told["id"], told["meta"]["versionId"]) == (stored["id"], str(version))
        _is_version(answer, told)
    assert told == stored
    _conditional(here, f"{place}/_history/{newest}", answer)
    for other in (f"{place}/_history/{newest + 1}", f"{place}/_history/0", f"{type_}/nobody/_history/1"):
        outcome(here.ask("GET", other), 404)


# ---------------------------------------------------------------- history and search


def _pages(here: Here, path: str, parameters: list[tuple[str, str]]) -> list[Json]:
    """The entries of all pages of a history or search."""
    entries: list[Json] = []
    answer = here.ask("GET", path, parameters)
    while True:
        page = content(answer)
        assert answer.status_code == 200
        links = {link["relation"]: link["url"] for link in page["link"]}
        assert links["self"].startswith(f"{here.base}/{path}")
        entries += page.get("entry", [])
        if "next" not in links:
            return entries
        answer = here.ask("GET", links["next"])


def _of(entries: list[Json]) -> list[tuple[str, int]]:
    return [(e["resource"]["id"], int(e["resource"]["meta"]["versionId"])) for e in entries]


def _history_instance(here: Here, type_: str) -> None:
    stored = _a_stored(here, type_)
    path, versions = f"{type_}/{stored['id']}/_history", int(stored["meta"]["versionId"])
    history = content(here.ask("GET", path))
    assert validate(history) == []
    assert (history["type"], history["total"]) == ("history", versions)
    assert _of(history["entry"]) == [(stored["id"], v) for v in range(versions, 0, -1)]
    _is_history(here, history["entry"], type_)
    for size in (1, 2):
        assert _of(_pages(here, path, [("_count", str(size))])) == _of(history["entry"])
    since = stored["meta"]["lastUpdated"]
    later = [e for e in history["entry"] if e["resource"]["meta"]["lastUpdated"] >= since]
    assert _of(_pages(here, path, [("_since", since)])) == _of(later)
    assert _pages(here, path, [("_since", "2100-01-01T00:00:00Z")]) == []
    assert _of(_pages(here, path, [("_at", since)]))[0] == (stored["id"], versions)
    assert _pages(here, path, [("_at", "2001")]) == []
    for bad in ("_since=yesterday", "_count=-1", "_at=then"):
        outcome(here.ask("GET", f"{path}?{bad}"), 400)
    outcome(here.ask("GET", f"{type_}/nobody/_history"), 404)


def _is_history(here: Here, entries: list[Json], type_: str) -> None:
    for told in entries:
        resource = told["resource"]
        place, version = f"{type_}/{resource['id']}", resource["meta"]["versionId"]
        assert told["fullUrl"] == f"{here.base}/{place}"
        first = version == "1"
        assert told["request"] == {"method": "POST" if first else "PUT", "url": type_ if first else place}
        assert told["response"]["status"].startswith("201" if first else "200")
        assert told["response"]["etag"] == f'W/"{version}"'
        stamps = (told["response"]["lastModified"], resource["meta"]["lastUpdated"])
        assert len(set(map(datetime.fromisoformat, stamps))) == 1


def _history_type(here: Here, type_: str) -> None:
    path, versions = f"{type_}/_history", here.versions(type_)
    every = _pages(here, path, [("_count", "50")])
    assert _of(every) == versions
    _is_history(here, every, type_)
    assert _of(_pages(here, path, [("_count", str(max(2, len(versions) // 3)))])) == versions
    since = every[len(every) // 2]["resource"]["meta"]["lastUpdated"]
    later = [e for e in every if e["resource"]["meta"]["lastUpdated"] >= since]
    assert _of(_pages(here, path, [("_since", since), ("_count", "20")])) == _of(later)


def _search_type(here: Here, type_: str) -> None:
    everything = {f"{type_}/{id_}" for id_ in here.stored(type_)}
    for post in (False, True):
        for size in ("1000", str(max(1, len(everything) // 3))):
            found = here.search(type_, [("_count", size)], post=post)
            assert sorted(found) == sorted(everything)
    bundle = content(here.ask("GET", type_, [("_count", "2"), ("_sort", "_id")] if type_ != "Subscription" else []))
    assert bundle["type"] == "searchset"
    assert {entry["search"]["mode"] for entry in bundle["entry"]} == {"match"}


# ---------------------------------------------------------------- create


def _made(type_: str, here: Here) -> Made:
    assert type_ in MAKERS, f"{type_} is declared as creatable, and nothing here makes one"
    return MAKERS[type_](here)


def _newly(here: Here, type_: str) -> tuple[Made, Json]:
    made = _made(type_, here)
    answer = here.ask("POST", type_, body=made.resource, caller=made.caller)
    assert answer.status_code == 201, answer.text
    return made, content(answer)


def _create(here: Here, type_: str) -> None:
    made = _made(type_, here)
    before = set(here.stored(type_))
    answer = here.ask("POST", type_, body=made.resource, caller=made.caller)
    assert answer.status_code == 201, answer.text
    stored = content(answer)
    assert stored["id"] not in before
    assert stored["meta"]["versionId"] == "1"
    _is_version(answer, stored)
    versioned = f"/_history/{stored['meta']['versionId']}" if "vread" in here.interactions(type_) else ""
    assert answer.headers["Location"] == f"{here.base}/{type_}/{stored['id']}{versioned}"
    assert content(here.ask("GET", answer.headers["Location"], caller=made.caller)) == stored
    for status, body in ((400, b"{"), (400, {"resourceType": type_, "nonsense": 1}), (400, {"resourceType": "Basic"})):
        outcome(here.ask("POST", type_, body=body, caller=made.caller), status)
    outcome(here.ask("POST", type_, body=b"<x/>", headers={"Content-Type": "application/fhir+xml"}), 415)
    _prefers(here, lambda headers: _posted(here, type_, headers), type_)
    if here.declared[type_]["conditionalCreate"]:
        _create_conditionally(here, type_, made, stored)


def _posted(here: Here, type_: str, headers: Mapping[str, str]) -> requests.Response:
    made = _made(type_, here)
    return here.ask("POST", type_, body=made.resource, caller=made.caller, headers=headers)


def _prefers(here: Here, ask: Callable[[Mapping[str, str]], requests.Response], type_: str) -> None:
    """https://hl7.org/fhir/R4/http.html#return"""
    for preferred, kind in (("minimal", None), ("representation", type_), ("OperationOutcome", "OperationOutcome")):
        answer = ask({"Prefer": f"return={preferred}"})
        assert answer.status_code in (200, 201), answer.text
        assert (content(answer)["resourceType"] if answer.content else None) == kind
        assert answer.headers["ETag"]


def _create_conditionally(here: Here, type_: str, made: Made, stored: Json) -> None:
    before = set(here.stored(type_))

    def create(condition: str, resource: Json = made.resource) -> requests.Response:
        return here.ask("POST", type_, body=resource, caller=made.caller, headers={"If-None-Exist": condition})

    again = create(made.condition)
    assert again.status_code == 200
    assert content(again) == stored
    assert set(here.stored(type_)) == before
    outcome(create("nonsense=1"), 400)
    several = f"_id={stored['id']},{_newly(here, type_)[1]['id']}"
    outcome(create(several), 412)
    another = _made(type_, here)
    fresh = create(another.condition, another.resource)
    assert fresh.status_code == 201, fresh.text


# ---------------------------------------------------------------- update and patch


def _changed(type_: str, stored: Json) -> Json:
    assert type_ in CHANGES, f"{type_} is declared as updatable, and nothing here changes one"
    name, value = CHANGES[type_]
    return {**stored, name: value}


def _is_changed(answer: requests.Response, type_: str, version: int) -> Json:
    assert answer.status_code == 200, answer.text
    stored = content(answer)
    name, value = CHANGES[type_]
    shown = [{"text": note["text"]} for note in stored[name]] if name == "note" else stored[name]
    assert shown == value
    assert stored["meta"]["versionId"] == str(version)
    _is_version(answer, stored)
    return stored


def _update(here: Here, type_: str) -> None:
    made, stored = _newly(here, type_)
    place, sent = f"{type_}/{stored['id']}", _changed(type_, stored)

    def put(path: str = place, body: Any = sent, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return here.ask("PUT", path, body=body, caller=made.caller, headers=named)

    for stale in ('W/"7"', '"7"', 'W/"8", W/"9"', "nonsense"):
        outcome(put(If_Match=stale), 412)
    outcome(put(body={**sent, "id": "other"}), 400)
    outcome(put(body={n: v for n, v in sent.items() if n != "id"}), 400)
    outcome(put(body={**sent, "nonsense": 1}), 400)
    nobody = put(f"{type_}/nobody", {**sent, "id": "nobody"})
    assert here.declared[type_]["updateCreate"] is False
    outcome(nobody, 404)
    assert content(here.ask("GET", place, caller=made.caller)) == stored
    updated = _is_changed(put(If_Match='W/"1"'), type_, 2)
    assert content(here.ask("GET", place, caller=made.caller)) == updated
    outcome(put(If_Match='W/"1"'), 412)
    for matching in ("*", 'W/"7", W/"2"', 'W/"2"', '"2"'):
        answer = put(body=updated, If_Match=matching)
        assert answer.status_code in (200, 412), answer.text
        if matching == "*":
            assert answer.status_code == 200
        updated = content(here.ask("GET", place, caller=made.caller))
    _prefers(here, lambda headers: put(body=content(here.ask("GET", place)), **_named(headers)), type_)
    if here.declared[type_]["conditionalUpdate"]:
        _update_conditionally(here, type_)
    else:
        outcome(put(f"{type_}?_id={stored['id']}"), 405)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def _update_conditionally(here: Here, type_: str) -> None:
    made, stored = _newly(here, type_)
    other = _newly(here, type_)[1]
    sent = _changed(type_, stored)

    def put(condition: str, body: Json) -> requests.Response:
        return here.ask("PUT", f"{type_}?{condition}", body=body, caller=made.caller)

    _is_changed(put(made.condition, sent), type_, 2)
    unnamed = {n: v for n, v in content(here.ask("GET", f"{type_}/{stored['id']}")).items() if n != "id"}
    assert put(made.condition, unnamed).status_code == 200
    outcome(put(f"_id={stored['id']},{other['id']}", sent), 412)
    outcome(put("nonsense=1", sent), 400)
    new = _made(type_, here)
    made_anew = here.ask("PUT", f"{type_}?{new.condition}", body=new.resource, caller=new.caller)
    assert made_anew.status_code == 201, made_anew.text


def _patch(here: Here, type_: str) -> None:
    made, stored = _newly(here, type_)
    assert here.statement["patchFormat"] == [JSON_PATCH]
    place = f"{type_}/{stored['id']}"
    name, value = CHANGES[type_]
    change = [{"op": "test", "path": "/id", "value": stored["id"]}, {"op": "add", "path": f"/{name}", "value": value}]

    def patch(body: Any = change, path: str = place, **headers: str) -> requests.Response:
        named = {header.replace("_", "-"): said for header, said in headers.items()}
        return here.ask("PATCH", path, body=body, caller=made.caller, headers=named)

    for media in ("application/fhir+json", "application/merge-patch+json", "application/xml-patch+xml"):
        refused = patch(Content_Type=media)
        outcome(refused, 415)
        assert refused.headers["Accept-Patch"] == JSON_PATCH
    outcome(patch(If_Match='W/"7"'), 412)
    outcome(patch([{"op": "test", "path": "/id", "value": "x"}]), 409)
    outcome(patch([{"op": "remove", "path": "/nowhere"}]), 422)
    outcome(patch(b"{}"), 400)
    outcome(patch(path=f"{type_}/nobody"), 404)
    assert content(here.ask("GET", place)) == stored
    _is_changed(patch(If_Match='W/"1"'), type_, 2)
    if here.declared[type_]["conditionalUpdate"]:
        other_made, other = _newly(here, type_)
        answer = here.ask("PATCH", f"{type_}?{other_made.condition}", body=change[1:], caller=other_made.caller)
        assert _is_changed(answer, type_, 2)["id"] == other["id"]
        outcome(patch(path=f"{type_}?_id=nobody"), 404)
        outcome(patch(path=f"{type_}?_id={stored['id']},{other['id']}"), 412)


# ---------------------------------------------------------------- delete


def _delete(here: Here, type_: str) -> None:
    made, stored = _newly(here, type_)
    place = f"{type_}/{stored['id']}"
    answer = here.ask("DELETE", place, caller=made.caller)
    assert (answer.status_code, answer.content) == (204, b"")
    assert outcome(here.ask("GET", place, caller=made.caller), 410)[0]["code"] == "deleted"
    assert here.ask("DELETE", place, caller=made.caller).status_code == 204
    assert place not in here.search(type_, [])
    assert here.declared[type_]["conditionalDelete"] == "not-supported"
    outcome(here.ask("DELETE", f"{type_}?_id=x", caller=made.caller), 405)


WORKS: Mapping[str, Callable[[Here, str], None]] = {
    "read": _read,
    "vread": _vread,
    "history-instance": _history_instance,
    "history-type": _history_type,
    "search-type": _search_type,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
}


# ---------------------------------------------------------------- what is not declared

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
    if address == "{type}" and here.declared[type_]["conditionalUpdate"]:
        possible |= {"PUT", "PATCH"}
    body = {"resourceType": type_, "id": some} if method in ("POST", "PUT", "PATCH") else None
    answer = here.ask(method, path, body=body)
    issues = outcome(answer, 405 if possible else 404)
    assert issues[0]["code"] == "not-supported"
    assert "type" not in issues[0]["diagnostics"], "the type is known"
    if possible:
        assert _allowed(answer) - {"HEAD"} == possible


def _allowed(answer: requests.Response) -> set[str]:
    return {method.strip() for method in answer.headers["Allow"].split(",")}


@pytest.mark.parametrize("type_", [t for t in TYPES if t != "Subscription"])
def test_a_condition_in_the_address_deletes_nothing(here: Here, type_: str) -> None:
    before = set(here.stored(type_))
    answer = here.ask("DELETE", f"{type_}?_id={min(before)}")
    assert outcome(answer, 405)[0]["code"] == "not-supported"
    assert "DELETE" not in _allowed(answer)
    assert set(here.stored(type_)) == before


@pytest.mark.parametrize("type_", UNDECLARED_TYPES)
def test_a_type_that_is_not_declared_is_404_whatever_is_done(here: Here, type_: str) -> None:
    assert type_ not in here.declared
    resource = {"resourceType": type_, "id": "x"}
    for method, address in (*ADDRESS.values(), ("HEAD", "{}"), ("PUT", "{type}?_id=x"), ("DELETE", "{type}?_id=x")):
        path = address.format(f"{type_}/x", type=type_)
        answer = here.ask(method, path, body=resource if method in ("POST", "PUT", "PATCH") else None)
        if method != "HEAD":
            assert outcome(answer, 404)[0]["code"] == "not-supported", (method, path)
        assert answer.status_code == 404
    asked = here.ask("POST", f"{type_}/_search", body=b"_id=x", headers={"Content-Type": FORM})
    assert outcome(asked, 404)[0]["code"] == "not-supported"


# ---------------------------------------------------------------- of the whole server


SYSTEM = {
    "transaction": ("POST", ""),
    "batch": ("POST", ""),
    "search-system": ("GET", "?_type=Task"),
    "history-system": ("GET", "_history"),
}
"""https://hl7.org/fhir/R4/valueset-system-restful-interaction.html"""


@pytest.mark.parametrize("code", SYSTEM)
def test_an_interaction_of_the_whole_server_works_or_is_answered_as_undeclared(here: Here, code: str) -> None:
    declared = {interaction["code"] for interaction in here.rest["interaction"]}
    assert declared <= set(SYSTEM)
    if code in declared:
        SYSTEM_WORKS[code](here)
        return
    answer = here.ask(*SYSTEM[code])
    assert answer.status_code in (404, 405)
    assert outcome(answer, answer.status_code)[0]["code"] == "not-supported"


def test_search_of_the_whole_server_by_post_is_undeclared_too(here: Here) -> None:
    answer = here.ask("POST", "_search", body=b"_type=Task", headers={"Content-Type": FORM})
    assert outcome(answer, 404)[0]["code"] == "not-supported"


def _bundle(type_: str, entries: list[Json]) -> Json:
    return {"resourceType": "Bundle", "type": type_, "entry": entries}


def _one_of_each(here: Here, type_: str) -> tuple[str, Json]:
    """A caller, and a Bundle with an entry for each verb."""
    made, stored = _newly(here, "Task")
    name, value = CHANGES["Task"]
    new = MAKERS["Communication"](here)
    entries = [
        {"request": {"method": "GET", "url": f"Task?_id={stored['id']}"}},
        {"request": {"method": "GET", "url": f"Task/{stored['id']}"}},
        {"resource": {**stored, name: value}, "request": {"method": "PUT", "url": f"Task/{stored['id']}"}},
        {"resource": new.resource, "request": {"method": "POST", "url": "Communication"}},
    ]
    return made.caller, _bundle(type_, entries)


def _whole(here: Here, type_: str) -> None:
    caller, bundle = _one_of_each(here, type_)
    bundle["entry"].pop()  # of another caller
    answer = here.ask("POST", "", body=bundle, caller=caller)
    told = content(answer)
    assert answer.status_code == 200, answer.text
    assert validate(told) == []
    assert told["type"] == f"{type_}-response"
    searched, read, updated = told["entry"]
    assert searched["resource"]["type"] == "searchset"
    assert searched["resource"]["entry"][0]["resource"]["meta"]["versionId"] == "2", "reads come last"
    assert read["resource"]["meta"]["versionId"] == "2"
    assert updated["response"]["status"].startswith("200")
    assert updated["response"]["etag"] == 'W/"2"'


def _transaction(here: Here) -> None:
    _whole(here, "transaction")
    caller, bundle = _one_of_each(here, "transaction")
    place = bundle["entry"][2]["request"]["url"]
    bundle["entry"][3] = {"request": {"method": "GET", "url": "Task/nobody"}}
    issues = outcome(here.ask("POST", "", body=bundle, caller=caller), 404)
    assert issues[0]["expression"] == ["Bundle.entry[3]"]
    assert content(here.ask("GET", place))["meta"]["versionId"] == "1", "nothing of it was stored"


def _batch(here: Here) -> None:
    _whole(here, "batch")
    caller, bundle = _one_of_each(here, "batch")
    bundle["entry"][3] = {"request": {"method": "GET", "url": "Task/nobody"}}
    told = content(here.ask("POST", "", body=bundle, caller=caller))
    assert [e["response"]["status"][:3] for e in told["entry"]] == ["200", "200", "200", "404"]
    assert told["entry"][3]["response"]["outcome"]["resourceType"] == "OperationOutcome"


SYSTEM_WORKS: Mapping[str, Callable[[Here], None]] = {"transaction": _transaction, "batch": _batch}
