"""What a real server shows of ours, read back in our words without any help of the code that delivered it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from fhir_mappings.records import Json
from fhir_mappings.strict_json import parse
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.exchange.client import FORM
from service.exchange.translate import REFERRAL_TYPES, SHARED_TYPES
from service.store.records import Stored

FHIR_JSON = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}


@dataclass(frozen=True)
class There:
    """A server, and the key that our copies carry on it."""

    url: str
    canonical: Canonical
    session: requests.Session = field(default_factory=requests.Session)

    def asked(self, path: str, method: str = "GET", body: Json | None = None) -> Json:
        answer = self.session.request(method, f"{self.url}/{path}", json=body, headers=FHIR_JSON, timeout=60)
        assert answer.status_code < 300, answer.text
        read = parse(answer.content)
        assert isinstance(read, dict)
        return read

    def found(self, type_: str, **parameters: str) -> list[Json]:
        """Every match, from as many pages as there are; asked for in a body, as a careful client does."""
        answer = self.session.post(
            f"{self.url}/{type_}/_search",
            data={**parameters, "_count": "200"},
            headers={"Cache-Control": "no-cache", "Content-Type": FORM},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        resources: list[Json] = []
        while True:
            page = parse(answer.content)
            assert isinstance(page, dict)
            resources += [entry["resource"] for entry in page.get("entry", [])]
            following = [link["url"] for link in page["link"] if link["relation"] == "next"]
            if not following:
                return resources
            answer = self.session.get(following[0], timeout=60)

    def patients(self, identity: str) -> list[Json]:
        systems = [system for system, kind in IDENTITY_KINDS.items() if str(kind) == "personnummer"]
        return self.found("Patient", identifier=",".join(f"{system}|{identity}" for system in systems))

    def copies(self) -> dict[str, list[Json]]:
        """All that carry our key, by the `Type/id` that it says."""
        copies: dict[str, list[Json]] = {}
        for type_ in (*REFERRAL_TYPES, *SHARED_TYPES):
            # HAPI searches for tags by code only, so of those all are asked for.
            tagged = type_ == "QuestionnaireResponse"
            narrowed = {} if tagged else {"identifier": f"{self.canonical.resource_key}|"}
            for resource in self.found(type_, **narrowed):
                for key in self._keys(resource):
                    copies.setdefault(key, []).append(resource)
        return copies

    def shows(self, ours: list[Stored], identity: str) -> None:
        """One copy each, which says what ours says, every reference leading where ours leads."""
        copies = self.copies()
        (person,) = self.patients(identity)
        led = {f"{theirs['resourceType']}/{theirs['id']}": key for key, found in copies.items() for theirs in found}
        for stored in ours:
            assert len(copies.get(stored.reference, ())) == 1, stored.reference
            (theirs,) = copies[stored.reference]
            patient = next((r for r in _references(stored.content) if r.startswith("Patient/")), None)
            leads = {**led, f"Patient/{person['id']}": patient} if patient else led
            assert self._in_our_words(theirs, leads) == _said(stored.content), stored.reference

    def _keys(self, resource: Json) -> list[str]:
        listed = resource.get("identifier", [])
        return [
            str(each.get("value") or each.get("code"))
            for each in (*(listed if isinstance(listed, list) else []), *resource.get("meta", {}).get("tag", []))
            if each.get("system") == self.canonical.resource_key
        ]

    def _in_our_words(self, theirs: Json, led: Mapping[str, str]) -> Json:
        said: Json = _led(_said(theirs), led)
        listed = said.get("identifier")
        if not isinstance(listed, list):
            return said
        own = [each for each in listed if each.get("system") != self.canonical.resource_key]
        rest = {name: value for name, value in said.items() if name != "identifier"}
        return {**rest, "identifier": own} if own else rest


def _said(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name not in ("id", "meta")}


def _references(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        if isinstance(element.get("reference"), str):
            yield element["reference"]
        for value in element.values():
            yield from _references(value)
    elif isinstance(element, list):
        for value in element:
            yield from _references(value)


def _led(element: Any, led: Mapping[str, str]) -> Any:
    if isinstance(element, list):
        return [_led(item, led) for item in element]
    if not isinstance(element, dict):
        return element
    out = {name: _led(value, led) for name, value in element.items()}
    if isinstance(out.get("reference"), str):
        out["reference"] = led.get(out["reference"], out["reference"])
    return out
