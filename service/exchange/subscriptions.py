"""Asking the external server to say when something has changed there: Subscriptions with a rest-hook.

Only a hint, and only where that server has Subscriptions: looking from time to time is what nothing is lost by. The
hook carries no content, so that nothing of a patient goes where nobody reads it.
https://hl7.org/fhir/R4/subscription.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import PROGRAMMES, Canonical
from service.exchange.client import Answered, FhirClient, Found, Permanent, Transient, condition, token
from service.exchange.translate import carries_key

Failure = Transient | Permanent

_TYPES = ("Task", "Communication", "ServiceRequest")
_ASLEEP = ("error", "off")


@dataclass(frozen=True, slots=True)
class Registered:
    """A Subscription as it is there."""

    id: str
    criteria: str
    status: str
    """`requested` until that server has looked at it, then `active`; `error` or `off` when it does not notify."""


@dataclass(frozen=True)
class Subscriptions:
    """Our Subscriptions on one external server, known by a tag of ours."""

    client: FhirClient
    canonical: Canonical

    def register(self, endpoint: str, secret: str) -> list[Registered] | Failure:
        """Have the server call `endpoint` with `secret` when something that concerns us changes. Gives what is there
        afterwards. May be repeated: what is there is kept, brought up to date, woken when it has gone to sleep; what is
        there twice is taken away.
        """
        there = self._there()
        if not isinstance(there, list):
            return there
        entries: list[Json] = []
        surplus: list[Json] = []
        for wanted in _wanted(self.canonical, endpoint, secret):
            of_type = [one for one in there if carries_key(one, _key(wanted), self.canonical)]
            surplus += of_type[1:]
            if not of_type:
                entries.append(_create(wanted, self.canonical))
            elif not _is_same(of_type[0], wanted):
                entries.append(_update(of_type[0], wanted))
        if entries:
            outcome = self.client.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})
            if not isinstance(outcome, Answered):
                return outcome
        return self._without(surplus)

    def remove(self) -> list[Registered] | Failure:
        """Take ours away. Gives what is left, which is nothing."""
        there = self._there()
        return self._without(there) if isinstance(there, list) else there

    def _without(self, surplus: Sequence[Json]) -> list[Registered] | Failure:
        """What is there after these were deleted; the server is asked, whatever it answered to the deletions."""
        refusals = []
        for one in surplus:
            outcome = self.client.send("DELETE", f"/Subscription/{one['id']}")
            if not isinstance(outcome, Answered):  # also where it was done and nothing is said
                refusals.append(outcome)
        there = self._there()
        if not isinstance(there, list):
            return there
        left = {one["id"] for one in there} & {one["id"] for one in surplus}
        return refusals[0] if left and refusals else [_registered(one) for one in there]

    def _there(self) -> list[Json] | Failure:
        """Ours, type by type, the longest unchanged first."""
        keys = [_key_of(type_) for type_ in _TYPES]
        wanted = ",".join(token(self.canonical.resource_key, key) for key in keys)
        found = self.client.search("Subscription", [("_tag", wanted), ("_count", "50")])
        if not isinstance(found, Found):
            return found
        by_age = sorted(found.resources, key=lambda one: str(one.get("meta", {}).get("lastUpdated")))
        return [one for key in keys for one in by_age if carries_key(one, key, self.canonical)]


def _wanted(canonical: Canonical, endpoint: str, secret: str) -> Iterator[Json]:
    programmes = ",".join(f"{canonical.programme}|{code}" for code in PROGRAMMES)
    for type_ in _TYPES:
        yield {
            "resourceType": "Subscription",
            "meta": {"tag": [{"system": canonical.resource_key, "code": _key_of(type_)}]},
            "status": "requested",
            "reason": "Sluss looks for what has changed",
            "criteria": f"{type_}?code={programmes}" if type_ == "ServiceRequest" else f"{type_}?",
            "channel": {"type": "rest-hook", "endpoint": endpoint, "header": [f"Authorization: Bearer {secret}"]},
        }


def _key_of(type_: str) -> Reference:
    return Reference(f"Subscription/wake-{type_}")


def _key(subscription: Json) -> Reference:
    return Reference(subscription["meta"]["tag"][0]["code"])


def _create(wanted: Json, canonical: Canonical) -> Json:
    unless = condition("_tag", token(canonical.resource_key, _key(wanted)))
    return {"resource": wanted, "request": {"method": "POST", "url": "Subscription", "ifNoneExist": unless}}


def _update(there: Json, wanted: Json) -> Json:
    request = {"method": "PUT", "url": f"Subscription/{there['id']}"}
    if version := there["meta"].get("versionId"):
        request["ifMatch"] = f'W/"{version}"'
    return {"resource": {**wanted, "id": there["id"]}, "request": request}


def _is_same(there: Json, wanted: Json) -> bool:
    same = all(there.get(name) == wanted[name] for name in ("criteria", "channel"))
    return same and there.get("status") not in _ASLEEP


def _registered(one: Json) -> Registered:
    return Registered(str(one["id"]), str(one.get("criteria", "")), str(one.get("status", "")))
