"""The transaction Bundle of one delivery, and what its answer tells. Pure.

https://hl7.org/fhir/R4/http.html#transaction
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.client import condition, is_id
from service.exchange.translate import Peers, identity_choices, key_condition, national_identities, placeholder, to_copy
from service.store.exchange_state import Copy
from service.store.records import Stored

_ETAG = re.compile(r'(W/)?"(?P<version>[A-Za-z0-9.-]{1,64})"\Z')
_STATUS = re.compile(r"(?P<code>2[0-9]{2})\b")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the server did with one entry."""

    reference: Reference
    copy: Copy | None
    """None when the answer does not tell where the copy is: look it up."""
    existed: bool = False
    """True when a create found a copy there, so that what it says is not known."""


def leading_to(copies: Mapping[Reference, Copy], arriving: Sequence[Stored], canonical: Canonical) -> dict[str, str]:
    """Where our references lead: to copies that are there, else to entries that arrive in the same Bundle."""
    targets = {str(stored.reference): placeholder(stored.reference, canonical) for stored in arriving}
    return targets | {str(ref): f"{ref.partition('/')[0]}/{copy.remote_id}" for ref, copy in copies.items()}


def to_transaction(
    changes: Sequence[Stored], new_patients: Sequence[Stored], copies: Mapping[Reference, Copy], peers: Peers, base: str
) -> Json:
    """A Bundle that creates what has no copy yet and updates what has; `base` is the server's base URL.

    A create is conditional on our key, so that repeating it makes no second copy, and an update on the version we know
    (`ifMatch`), so that it never hides what somebody did there. A Patient is created only if none has the same national
    identifier, and never updated.
    """
    entries = [
        _create(patient, condition("identifier", *identity_choices(national_identities(patient.content))), peers)
        for patient in new_patients
    ]
    for stored in changes:
        copy = copies.get(stored.reference)
        if copy is None:
            entries.append(_create(stored, key_condition(stored.reference, peers.canonical), peers))
        else:
            entries.append(_update(stored, copy, peers, base))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def receipts(sent: Sequence[Stored], copies: Mapping[Reference, Copy], answer: Json) -> list[Receipt]:
    """What became of each resource sent, in the order of the Bundle (patients first, as they were sent)."""
    pairs = zip(sent, answer["entry"], strict=True)
    return [_receipt(stored, copies.get(stored.reference), entry["response"]) for stored, entry in pairs]


def found_copy(reference: Reference, resource: Json, acknowledged: int = 0) -> Copy | None:
    """The Copy that a resource read or found there is; None when it has no usable id."""
    resource_id, version = resource.get("id"), resource.get("meta", {}).get("versionId")
    if not isinstance(resource_id, str) or not is_id(resource_id):
        return None
    return Copy(reference, resource_id, version if is_id(version) else None, acknowledged)


def _create(stored: Stored, if_none_exist: str, peers: Peers) -> Json:
    return {
        "fullUrl": placeholder(stored.reference, peers.canonical),
        "resource": to_copy(stored.content, peers),
        "request": {"method": "POST", "url": stored.type, "ifNoneExist": if_none_exist},
    }


def _update(stored: Stored, copy: Copy, peers: Peers, base: str) -> Json:
    resource = to_copy(stored.content, peers)
    request = {"method": "PUT", "url": f"{stored.type}/{copy.remote_id}"}
    if copy.remote_version is not None:
        request["ifMatch"] = f'W/"{copy.remote_version}"'
    return {
        "fullUrl": f"{base}/{stored.type}/{copy.remote_id}",
        "resource": {"resourceType": resource.pop("resourceType"), "id": copy.remote_id, **resource},
        "request": request,
    }


def _receipt(stored: Stored, known: Copy | None, response: Json) -> Receipt:
    status = _STATUS.match(str(response.get("status", "")))
    version = _version(response)
    if status is None:
        return Receipt(stored.reference, None)
    if known is not None:
        return Receipt(stored.reference, Copy(stored.reference, known.remote_id, version, stored.version))
    remote_id = _remote_id(stored.type, response.get("location"))
    existed = status["code"] != "201"
    if remote_id is None:
        return Receipt(stored.reference, None, existed)
    return Receipt(
        stored.reference, Copy(stored.reference, remote_id, version, 0 if existed else stored.version), existed
    )


def _version(response: Json) -> str | None:
    etag = response.get("etag")
    match = _ETAG.match(etag) if isinstance(etag, str) else None
    if match:
        return match["version"]
    _, history, version = str(response.get("location", "")).rpartition("/_history/")
    return version if history and is_id(version) else None


def _remote_id(resource_type: str, location: object) -> str | None:
    """The id in `[base/]Type/id[/_history/version]`."""
    if not isinstance(location, str):
        return None
    parts = location.partition("/_history/")[0].rsplit("/", 2)
    fits = len(parts) >= 2 and parts[-2] == resource_type and is_id(parts[-1])
    return parts[-1] if fits else None
