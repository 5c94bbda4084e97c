"""What HAPI's `$validate` holds of resources: asked for many at once, and of each shape once.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

import requests

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump

BASE = "https://sluss.example/fhir"

TOLERATED = {
    "Best Practice Recommendation": "advice; we write no narrative, and what a sender leaves out is not ours",
    "CodeSystem is unknown and can't be validated": "ours are not published, nor are the national ones in HAPI",
    r"A definition for CodeSystem '?[^']*'? could not be found": "the same",
    "UCUM Codes that contain human readable annotations": "the code is {score}; the unit beside it is for people",
    "If text exists, it must match the questionnaire": "a sender's wording of a question; its linkId decides",
    "No response answer found for required item": "a sender's unfinished response, which does not count",
    r"None of the codings .*v3-ParticipationType#RESP": "extensible; nothing in it is the unit that answers",
    r"Profile reference '[^']*' has not been checked": "a sender's claim, about a profile that HAPI does not have",
}
"""Messages that are no fault of the resource, as regular expressions, and why not."""

# What differs between two resources that are otherwise the same: ids, instants and versions.
_PASSING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d{2}-\d{2}T[0-9:.]+(Z|[+-]\d{2}:\d{2})"
    r'|(?<="versionId":")\d+'
    r"|(?<=/_history/)\d+"
)
_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]\.resource(/\*[^*]*\*/)?")
_tolerated = re.compile("|".join(TOLERATED))


@dataclass
class Validator:
    """Asks a HAPI, and remembers what it has asked."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)
    _seen: set[str] = field(default_factory=set)

    def problems(self, *resources: Json) -> list[str]:
        """What is wrong, or untold in TOLERATED, with those of the resources whose shape is new."""
        parts: list[dict[str, Json]] = []
        for resource in resources:
            shape = _PASSING.sub("~", dump(resource))
            if shape not in self._seen:
                self._seen.add(shape)
                _put(parts, resource)
        return [problem for part in parts for problem in self._asked(part)]

    def knows(self, resource: Json) -> None:
        """Store a definition there, so that what refers to it is validated by it."""
        definition = {name: value for name, value in resource.items() if name not in ("id", "meta")}
        self._post(f"/{resource['resourceType']}", definition)

    def _asked(self, by_url: dict[str, Json]) -> Iterable[str]:
        resources = list(by_url.values())
        entries = [{"fullUrl": url, "resource": resource} for url, resource in by_url.items()]
        outcome = self._post("/Bundle/$validate", {"resourceType": "Bundle", "type": "collection", "entry": entries})
        assert outcome["resourceType"] == "OperationOutcome"
        for issue in outcome["issue"]:
            if issue["severity"] == "information" or _tolerated.search(issue["diagnostics"]):
                continue
            place = next(iter(issue.get("expression") or issue.get("location") or []), "Bundle")
            match = _ENTRY.match(place)
            path = f"{resources[int(match[1])]['resourceType']}{place[match.end() :]}" if match else place
            yield f"{issue['severity']}: {path}: {issue['diagnostics']}"

    def _post(self, path: str, resource: Json) -> Json:
        answer = self.session.post(
            self.url + path,
            data=dump(resource).encode(),
            headers={"Content-Type": "application/fhir+json"},
            timeout=120,
        )
        body: Json = answer.json()
        return body


def _put(parts: list[dict[str, Json]], resource: Json) -> None:
    """Into the first part that has no other version of it: a reference would lead to both."""
    place = f"urn:uuid:{uuid5(NAMESPACE_URL, dump(resource))}"
    if "id" in resource and resource["resourceType"] != "Bundle":
        place = f"{BASE}/{resource['resourceType']}/{resource['id']}"
    for part in parts:
        if place not in part:
            part[place] = resource
            return
    parts.append({place: resource})
