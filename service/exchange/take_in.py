"""A ServiceRequest that was posted on the external server is taken in with what it refers to, as if it had come to us;
later versions amend it. One that cannot be taken is set aside, and whoever can do something about it is told.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

import structlog

from fhir_mappings import unreadable
from fhir_mappings.elements import children
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json, Reference
from fhir_mappings.terminology import HSA_SYSTEMS, Systems
from service.access.caller import referrer_of
from service.exchange.client import Answered
from service.exchange.original import Known, absolute, literals, their_references, to_original
from service.exchange.poll import Change
from service.exchange.reader import Reader
from service.exchange.transaction import found_copy
from service.referral.house import House
from service.referral.intake import Lookup, Submission, Unreadable, read_submission
from service.referral.journey.amend import amend
from service.referral.journey.judgement import ITEM_9_LIMIT
from service.referral.journey.receive import Receipt, reading_for, receive
from service.referral.lookup import SHARED
from service.referral.parts import WITH_A_REFERRAL
from service.referral.refusal import Kind, Refusal
from service.referral.risk_signs import risk_signs
from service.store.exchange_state import THEIRS, Copy
from service.store.records import ReferralRow, Stored

log = structlog.get_logger(__name__)

VIA = "external-server"
"""How the journal calls the way by which somebody's act there has come here."""
_MOST_PARTS = 60
_LEADING_ON: Mapping[str, tuple[str, ...]] = {
    "ServiceRequest": ("subject", "requester", "supportingInfo", "reasonReference"),
    "PractitionerRole": ("practitioner", "organization"),
    "Observation": ("derivedFrom",),
}
"""The elements whose references belong to a referral; all others are left alone."""

Standings = Callable[[Sequence[Reference]], Mapping[str, str]]
"""Which of these `Type/id` of the external server stand for which of ours."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A ServiceRequest there and what belongs to it, as they would stand here."""

    order: Json
    parts: tuple[Json, ...]
    remote: Mapping[str, Json]
    """By absolute reference: each as it is there."""
    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What has come of it."""

    referral_id: str
    organisation: str
    """HSA-id of the referring unit."""
    joined: tuple[Copy, ...]
    """What stands there for what is stored here."""


def order_url(base: str, remote_id: str) -> str:
    """Absolute reference of a ServiceRequest there."""
    return absolute(f"ServiceRequest/{remote_id}", base)


def id_for(url: str) -> str:
    """The id here of what was made there: always the same, so that it is made once."""
    return str(uuid5(NAMESPACE_URL, url))


def making_first(house: House, first: str) -> House:
    """The house, whose next new id is `first`."""
    ids = iter((first,))
    return replace(house, new_id=lambda: next(ids, None) or house.new_id())


def there(url: str, resource: Json) -> str:
    """The absolute URL of a resource there, with its version where it has one."""
    version = resource.get("meta", {}).get("versionId")
    return f"{url}/_history/{version}" if version else url


def gather(
    reader: Reader,
    change: Change,
    standings: Standings,
    known: Callable[[Mapping[str, str]], Known],
    beside: Sequence[Change] = (),
) -> Gathered:
    """Read what the ServiceRequest refers to over there and what nothing here stands for yet; `beside` is evidence that
    refers to it. Raises Away.

    What stands for ours already is referred to as ours, but for patients and evidence when `standings` leaves them out.
    """
    base = reader.base_url
    remote: dict[str, Json] = {f"{one.type}/{one.id}": one.resource for one in (change, *beside)}
    ours: dict[str, str] = {}
    issues: list[Issue] = []
    waiting = list(remote)
    while waiting:
        name = waiting.pop(0)
        resource = remote[name]
        wanted = [
            reference
            for reference in _led_to(resource, base)
            if reference not in remote and reference.partition("/")[0] in WITH_A_REFERRAL
        ]
        stand = standings(wanted)
        ours |= stand
        for reference in dict.fromkeys(wanted):
            if reference in stand:
                continue
            if len(remote) > _MOST_PARTS:
                issues.append(_TOO_MUCH)
                break
            read = reader.certain(*reference.split("/"))
            if isinstance(read, Answered):
                remote[reference] = read.resource
                waiting.append(reference)
            else:
                issues.append(_not_there(name, reference))
    everything = known(ours)
    originals = {name: to_original(resource, everything) for name, resource in remote.items()}
    order = originals.pop(f"ServiceRequest/{change.id}")
    return Gathered(
        order,
        tuple(originals.values()),
        {absolute(name, base): resource for name, resource in remote.items()},
        tuple(issues),
    )


def bundle_of(gathered: Gathered, base: str, *, put: str | None = None) -> Json:
    """The transaction that would have brought it to us; `put` is our ServiceRequest's id when it amends that."""
    entries = [_entry(part, base) for part in gathered.parts]
    order = _entry(gathered.order if put is None else {**gathered.order, "id": put}, base)
    if put is not None:
        order["request"] = {"method": "PUT", "url": f"ServiceRequest/{put}"}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [*entries, order]}


def take_in(house: House, gathered: Gathered, base: str, usable: Lookup) -> Taken:
    """Receive it from its requester's organisation. Raises Refusal with every problem."""
    url = absolute(f"ServiceRequest/{gathered.order['id']}", base)
    bundle = bundle_of(gathered, base)
    submission = _submission(house, gathered, bundle, usable)
    caller = referrer_of(submission.referral.requester.unit, VIA)
    receipt = receive(making_first(_collecting(house, gathered, base), id_for(url)), caller, submission)
    row = house.store.view().referral_of("ServiceRequest", receipt.service_request.id)
    assert row is not None  # noqa: S101 - it was just received
    return Taken(row.id, row.organisation, _joined(gathered, bundle, receipt, base))


def take_in_amendment(house: House, row: ReferralRow, gathered: Gathered, base: str) -> Taken:
    """A later version of one that was taken in; its revocation too. Raises Refusal with every problem."""
    bundle = bundle_of(gathered, base, put=row.service_request)
    wrong = [issue for issue in (*validate(bundle), *gathered.issues) if is_error(issue)]
    if wrong:
        raise Refusal(Kind.UNREADABLE, wrong)
    caller = referrer_of(HsaId(row.organisation), VIA)
    collecting = _collecting(house, gathered, base, f"ServiceRequest/{row.service_request}")
    receipt = amend(collecting, caller, bundle, row.service_request)
    return Taken(row.id, row.organisation, _joined(gathered, bundle, receipt, base))


def unreadable_of(house: House, gathered: Gathered, base: str, issues: Sequence[Issue]) -> unreadable.Unreadable:
    """What to tell of a ServiceRequest that cannot be taken in."""
    limit = house.pack.limits.get(ITEM_9_LIMIT)
    everything = [gathered.order, *gathered.parts]
    signs = list(dict.fromkeys(risk_signs(everything, limit.value))) if limit else []
    return unreadable.Unreadable(
        about=order_url(base, gathered.order["id"]),
        text=unreadable.what_is_wrong(issues, signs),
        risk=bool(signs),
        recipient=_recipient(gathered, _unit_of(gathered)),
        issues=tuple(issues),
    )


def digest(found: unreadable.Unreadable) -> str:
    """Changes when there is something new to tell."""
    return hashlib.sha256(found.text.encode()).hexdigest()


# ---------------------------------------------------------------- private


def _submission(house: House, gathered: Gathered, bundle: Json, usable: Lookup) -> Submission:
    against_r4 = [issue for issue in (*validate(bundle), *gathered.issues) if is_error(issue)]
    read = read_submission(bundle, reading_for(house), usable)
    if against_r4 or isinstance(read, Unreadable):
        own = read.issues if isinstance(read, Unreadable) else ()
        raise Refusal(Kind.UNREADABLE if against_r4 else Kind.INVALID, [*against_r4, *own])
    return read


def _collecting(house: House, gathered: Gathered, base: str, amended: str | None = None) -> House:
    """The house, which knows what these are over there; `amended` is the ServiceRequest here that is amended."""
    sources = {url: there(url, resource) for url, resource in gathered.remote.items()}
    if amended is not None:
        sources[amended] = sources[order_url(base, gathered.order["id"])]
    return replace(house, sources=sources)


def providers(house: House) -> Lookup:
    """Finds shared providers; everything else of a referral from there comes along in it."""
    view = house.store.view()

    def find(reference: str) -> Json | None:
        type_, _, id_ = reference.partition("/")
        stored = view.get(type_, id_) if type_ in SHARED else None
        return stored.content if stored else None

    return find


def _joined(gathered: Gathered, bundle: Json, receipt: Receipt, base: str) -> tuple[Copy, ...]:
    found: list[Copy | None] = [_join(receipt.service_request, gathered.remote, gathered.order["id"], base)]
    for position, stored, _ in receipt.parts:
        sent = bundle["entry"][position]["resource"] if position is not None else {}
        if sent.get("resourceType") == stored.type:
            found.append(_join(stored, gathered.remote, sent["id"], base))
    return tuple(copy for copy in found if copy is not None)


def _join(stored: Stored, remote: Mapping[str, Json], remote_id: str, base: str) -> Copy | None:
    there = remote.get(absolute(f"{stored.type}/{remote_id}", base))
    return found_copy(stored.reference, there, THEIRS) if there is not None else None


def _entry(resource: Json, base: str) -> Json:
    type_ = resource["resourceType"]
    return {
        "fullUrl": absolute(f"{type_}/{resource['id']}", base),
        "resource": resource,
        "request": {"method": "POST", "url": type_},
    }


def _led_to(resource: Json, base: str) -> Iterator[Reference]:
    names = _LEADING_ON.get(str(resource.get("resourceType")), ())
    there = their_references(resource, base)
    for literal in literals(resource, *names):
        short = literal.removeprefix(f"{base}/").partition("/_history/")[0]
        if short in there:
            yield Reference(short)


def _not_there(name: str, reference: str) -> Issue:
    return error(
        IssueCode.NOT_FOUND,
        name.partition("/")[0],
        f"Det som remissen hänvisar till finns inte på den externa servern ({reference.partition('/')[0]}).",
        f"{name} refers to {reference}, which cannot be read there",
    )


_TOO_MUCH = error(
    IssueCode.BUSINESS_RULE,
    "ServiceRequest.supportingInfo",
    f"Remissen hänvisar till mer än {_MOST_PARTS} resurser.",
    f"no more than {_MOST_PARTS} resources are read with a referral",
)


def _unit_of(gathered: Gathered) -> str | None:
    """An HSA-id that stands with the requester, for who is told; nothing is decided by it."""
    resources = [gathered.order.get("requester", {}), *gathered.parts]
    for resource in resources:
        if resource.get("resourceType", "Organization") != "Organization":
            continue
        identifiers = resource.get("identifier")
        for identifier in (
            [identifiers] if isinstance(identifiers, dict) else [i for _, i in children(resource, "identifier")]
        ):
            if identifier.get("system") in HSA_SYSTEMS and isinstance(identifier.get("value"), str):
                return str(identifier["value"])
    return None


def _recipient(gathered: Gathered, unit: str | None) -> Json | None:
    requester = gathered.order.get("requester")
    literal = requester.get("reference") if isinstance(requester, dict) else None
    told: Json = {}
    if isinstance(literal, str) and not literal.startswith("#"):
        told["reference"] = literal
    if unit is not None:
        told["identifier"] = {"system": str(Systems.HSA_ID), "value": unit}
    return told or None
