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
from tests.conformance.declared.here import Here
from tests.conformance.declared.makers import CHANGES, Made, maker_of, newly
from tests.conformance.declared.undeclared import is_undeclared

TYPES = sorted(SUPPORTED_TYPES)
TYPE_INTERACTIONS = (
    "read vread update patch delete history-instance history-type create search-type".split()  # noqa: SIM905
)
"""https://hl7.org/fhir/R4/valueset-type-restful-interaction.html"""


def test_every_type_that_is_declared_is_looked_at_here(here: Here) -> None:
    assert validate(here.statement) == []
    assert set(here.declared) >= {*TYPES, "Subscription"}
    for type_ in here.declared:
        assert here.interactions(type_) <= set(TYPE_INTERACTIONS), type_


@pytest.mark.parametrize("code", TYPE_INTERACTIONS)
@pytest.mark.parametrize("type_", TYPES)
def test_a_declared_interaction_works_and_another_is_answered_as_undeclared(here: Here, type_: str, code: str) -> None:
    _try(here, type_, code)


@pytest.mark.parametrize("code", TYPE_INTERACTIONS)
def test_so_it_is_for_the_types_that_are_kept_apart(here: Here, code: str) -> None:
    for type_ in here.apart:
        _try(here, type_, code)


def _try(here: Here, type_: str, code: str) -> None:
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
    # by date two versions of the same second cannot be told apart, and who asks so gets the later one
    resource = content(answer)
    versions = here.ask("GET", f"{resource['resourceType']}/{resource['id']}/_history", [("_count", "1000")])
    stamps = {
        int(entry["resource"]["meta"]["versionId"]): datetime.fromisoformat(entry["resource"]["meta"]["lastUpdated"])
        for entry in content(versions).get("entry", ())  # a kind that is kept apart has no history
    }
    number = int(resource["meta"]["versionId"])
    earlier, this = stamps.get(number - 1), stamps.get(number)
    alone = earlier is None or this is None or earlier.replace(microsecond=0) < this.replace(microsecond=0)
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'W/"999", {etag}'}, 304),
        ({"If-None-Match": 'W/"999"'}, 200),
        ({"If-Modified-Since": modified}, 304 if alone else 200),
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
            assert len(found) == len(set(found))
            if type_ in here.apart:  # others may have come meanwhile
                assert set(found) >= everything
            else:
                assert set(found) == everything
    bundle = content(here.ask("GET", type_, [("_count", "2")]))
    assert bundle["type"] == "searchset"
    assert len(bundle["entry"]) <= 2
    assert {entry["search"]["mode"] for entry in bundle["entry"]} == {"match"}


# ---------------------------------------------------------------- create


def _create(here: Here, type_: str) -> None:
    made = maker_of(type_)(here)
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
    made = maker_of(type_)(here)
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
    several = f"_id={stored['id']},{newly(here, type_)[1]['id']}"
    outcome(create(several), 412)
    another = maker_of(type_)(here)
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
    made, stored = newly(here, type_)
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
    for matching in ("*", 'W/"{}"', '"{}"', 'W/"7777", W/"{}"'):
        version = updated["meta"]["versionId"]
        updated = content(put(body=updated, If_Match=matching.format(version)))
        assert updated == content(here.ask("GET", place, caller=made.caller)), matching
    _prefers(here, lambda headers: put(body=content(here.ask("GET", place)), **_named(headers)), type_)
    if here.declared[type_]["conditionalUpdate"]:
        _update_conditionally(here, type_)
    else:
        outcome(put(f"{type_}?_id={stored['id']}"), 405)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def _update_conditionally(here: Here, type_: str) -> None:
    made, stored = newly(here, type_)
    other = newly(here, type_)[1]
    sent = _changed(type_, stored)

    def put(condition: str, body: Json) -> requests.Response:
        return here.ask("PUT", f"{type_}?{condition}", body=body, caller=made.caller)

    _is_changed(put(made.condition, sent), type_, 2)
    unnamed = {n: v for n, v in content(here.ask("GET", f"{type_}/{stored['id']}")).items() if n != "id"}
    assert put(made.condition, unnamed).status_code == 200
    outcome(put(f"_id={stored['id']},{other['id']}", sent), 412)
    outcome(put("nonsense=1", sent), 400)
    new = maker_of(type_)(here)
    made_anew = here.ask("PUT", f"{type_}?{new.condition}", body=new.resource, caller=new.caller)
    assert made_anew.status_code == 201, made_anew.text


def _patch(here: Here, type_: str) -> None:
    made, stored = newly(here, type_)
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
        other_made, other = newly(here, type_)
        answer = here.ask("PATCH", f"{type_}?{other_made.condition}", body=change[1:], caller=other_made.caller)
        assert _is_changed(answer, type_, 2)["id"] == other["id"]
        outcome(patch(path=f"{type_}?_id=nobody"), 404)
        outcome(patch(path=f"{type_}?_id={stored['id']},{other['id']}"), 412)


# ---------------------------------------------------------------- delete


def _delete(here: Here, type_: str) -> None:
    made, stored = newly(here, type_)
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
