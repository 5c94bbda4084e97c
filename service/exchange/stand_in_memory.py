"""The stand-in's memory: versioned R4 resources, conditional create and atomic transactions.

Written from the R4 pages alone, sharing no code with the delivery, so that a mistake there is not repeated here:
https://hl7.org/fhir/R4/http.html
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fhir_mappings import r4
from fhir_mappings.issues import is_error
from fhir_mappings.records import Json
from service.exchange.stand_in_search import Refused, matching

Key = tuple[str, str]


@dataclass(slots=True)
class Memory:
    """All that the stand-in knows. One request at a time; a transaction is all or nothing."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    versions: dict[Key, list[Json]] = field(default_factory=dict)
    """Every version of every resource, oldest first."""
    _made: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, resource_type: str, resource_id: str, version: str | None = None) -> Json:
        """The current version, or the one asked for; Refused 404 when there is none."""
        kept = self.versions.get((resource_type, resource_id), [])
        wanted = [kept[-1]] if kept and version is None else [v for v in kept if v["meta"]["versionId"] == version]
        if not wanted:
            raise Refused(404, "not-found", "No such resource")
        return wanted[0]

    def history(self, resource_type: str, resource_id: str) -> list[Json]:
        """All versions, newest first; Refused 404 when there is none."""
        kept = self.versions.get((resource_type, resource_id))
        if kept is None:
            raise Refused(404, "not-found", "No such resource")
        return kept[::-1]

    def of_type(self, resource_type: str) -> list[Json]:
        """The current version of every resource of a type, oldest first."""
        return [kept[-1] for (kind, _), kept in self.versions.items() if kind == resource_type]

    def create(self, resource: Json, if_none_exist: str | None = None) -> tuple[int, Json]:
        """(201, the new resource) or, when `if_none_exist` finds one, (200, that one); Refused 412 on several."""
        with self._lock:
            found = self._existing(resource["resourceType"], if_none_exist)
            if found:
                return 200, found
            self._check(resource)
            self._check_references(resource)
            return 201, self._keep(resource, self._new_id())

    def update(self, resource: Json, resource_id: str, if_match: str | None) -> Json:
        """The new version. Refused 405 when there is none to update (no update as create), 412 on a stale ETag."""
        with self._lock:
            self._check_update(resource, resource_id, if_match)
            self._check(resource)
            self._check_references(resource)
            return self._keep(resource, resource_id)

    def delete(self, resource_type: str, resource_id: str) -> None:
        """Forget a resource, with its history; nothing happens when there is none. Refused 409 while another refers to
        it (https://hl7.org/fhir/R4/http.html#delete).
        """
        with self._lock:
            name = f"{resource_type}/{resource_id}"
            if any(name in _references(kept[-1]) for kept in self.versions.values()):
                raise Refused(409, "conflict", "Another resource refers to it")
            self.versions.pop((resource_type, resource_id), None)

    def transaction(self, bundle: Json) -> Json:
        """The transaction-response; Refused, with nothing kept, when any entry is refused
        (https://hl7.org/fhir/R4/http.html#transaction).
        """
        if bundle.get("type") != "transaction":
            raise Refused(422, "not-supported", "Only transactions are supported")
        with self._lock:
            kept, made = {key: list(versions) for key, versions in self.versions.items()}, self._made
            try:
                return {
                    "resourceType": "Bundle",
                    "type": "transaction-response",
                    "entry": self._carry_out(bundle.get("entry", [])),
                }
            except Refused:
                self.versions, self._made = kept, made
                raise

    def _carry_out(self, entries: Sequence[Json]) -> list[Json]:
        full_urls = [entry["fullUrl"] for entry in entries if "fullUrl" in entry]
        if len(set(full_urls)) != len(full_urls):
            raise Refused(400, "invalid", "The same fullUrl twice")
        for entry in entries:
            if entry["request"]["method"] not in ("POST", "PUT"):
                raise Refused(422, "not-supported", "Only POST and PUT are supported in a transaction")
            if entry["request"]["url"].partition("/")[0] != entry["resource"]["resourceType"]:
                raise Refused(400, "invalid", "request.url does not fit the resource")
        # Creates come before updates, whatever their order in the Bundle; ids are given out before anything is kept,
        # because entries may refer to each other in circles.
        found = {
            position: self._existing(entry["resource"]["resourceType"], entry["request"].get("ifNoneExist"))
            for position, entry in enumerate(entries)
            if entry["request"]["method"] == "POST"
        }
        ids = {position: one["id"] if one else self._new_id() for position, one in found.items()}
        targets = {
            entries[position]["fullUrl"]: f"{entries[position]['resource']['resourceType']}/{resource_id}"
            for position, resource_id in ids.items()
            if "fullUrl" in entries[position]
        }
        answers = {position: ("200 OK", one) for position, one in found.items() if one}
        for position in sorted(ids.keys() - answers.keys()):
            resource = entries[position]["resource"]
            self._check(resource)
            answers[position] = ("201 Created", self._keep(_pointed(resource, targets), ids[position]))
        for position, entry in enumerate(entries):
            if position not in answers:
                answers[position] = ("200 OK", self._put(entry, targets))
        for _, resource in answers.values():
            self._check_references(resource)
        return [{"response": _response(*answers[position])} for position in range(len(entries))]

    def _put(self, entry: Json, targets: Mapping[str, str]) -> Json:
        resource_id = entry["request"]["url"].partition("/")[2]
        self._check_update(entry["resource"], resource_id, entry["request"].get("ifMatch"))
        self._check(entry["resource"])
        return self._keep(_pointed(entry["resource"], targets), resource_id)

    def _existing(self, resource_type: str, if_none_exist: str | None) -> Json | None:
        if if_none_exist is None:
            return None
        try:
            parameters = parse_qsl(if_none_exist, strict_parsing=True, errors="strict")
        except ValueError:
            raise Refused(400, "invalid", "If-None-Exist is not a query string") from None
        found = self.search(resource_type, parameters)
        if len(found) > 1:
            raise Refused(412, "multiple-matches", "If-None-Exist matches several resources")
        return found[0] if found else None

    def _check(self, resource: Json) -> None:
        problems = [issue for issue in r4.validate(resource) if is_error(issue)]
        if problems:
            raise Refused(400, "invalid", "; ".join(f"{p.expression}: {p.diagnostics}" for p in problems))

    def _check_update(self, resource: Json, resource_id: str, if_match: str | None) -> None:
        kept = self.versions.get((resource["resourceType"], resource_id))
        if kept is None:
            raise Refused(405, "not-supported", "Update as create is not supported")
        if resource.get("id") != resource_id:
            raise Refused(400, "invalid", "The id in the resource and in the URL differ")
        if if_match is not None and if_match != f'W/"{kept[-1]["meta"]["versionId"]}"':
            raise Refused(412, "conflict", "If-Match names another version")

    def _check_references(self, resource: Json) -> None:
        for reference in _references(resource):
            if reference.startswith("#") or "://" in reference:
                continue
            resource_type, _, resource_id = reference.partition("/")
            if (resource_type, resource_id) not in self.versions:
                raise Refused(422, "not-found", f"Reference to a {resource_type} that is not here")

    def _new_id(self) -> str:
        self._made += 1
        return f"s-{self._made}"

    def _keep(self, resource: Json, resource_id: str) -> Json:
        kept = self.versions.setdefault((resource["resourceType"], resource_id), [])
        stamp = self.clock().isoformat(timespec="milliseconds")
        meta = {**resource.get("meta", {}), "versionId": str(len(kept) + 1), "lastUpdated": stamp}
        kept.append({**resource, "id": resource_id, "meta": meta})
        return kept[-1]

    def search(self, resource_type: str, parameters: Sequence[tuple[str, str]]) -> list[Json]:
        """Current resources that fulfil all parameters, in the asked order; Refused 400 on an unknown parameter."""
        with self._lock:
            return matching(self.of_type(resource_type), parameters)


def _references(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        if isinstance(element.get("reference"), str):
            yield element["reference"]
        for value in element.values():
            yield from _references(value)
    elif isinstance(element, list):
        for value in element:
            yield from _references(value)


def _pointed(element: Any, targets: Mapping[str, str]) -> Any:
    """The element with every reference to a fullUrl of the Bundle pointing at what became of that entry."""
    if isinstance(element, dict):
        return {
            name: targets.get(value, value)
            if name == "reference" and isinstance(value, str)
            else _pointed(value, targets)
            for name, value in element.items()
        }
    return [_pointed(value, targets) for value in element] if isinstance(element, list) else element


def _response(status: str, resource: Json) -> Json:
    version = resource["meta"]["versionId"]
    return {
        "status": status,
        "location": f"{resource['resourceType']}/{resource['id']}/_history/{version}",
        "etag": f'W/"{version}"',
        "lastModified": resource["meta"]["lastUpdated"],
    }
