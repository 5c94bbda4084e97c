"""What can be asked about a resource, route by route: the requests that broken object-level access is tried with."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fhir_mappings.records import Json
from tests.journeys import referrals
from tests.web.caller import single
from tests.web.world import HSA, Side

UNKNOWN = "99999999-9999-4999-8999-999999999999"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATCH = {"Content-Type": "application/json-patch+json"}


@dataclass(frozen=True)
class Target:
    """What is asked for: a resource of the other side, or the like of it that does not exist."""

    type: str
    resource: Json
    other: Side
    own: Side
    id: str

    @property
    def reference(self) -> str:
        """`Type/id`"""
        return f"{self.type}/{self.id}"

    @property
    def content(self) -> Json:
        """The resource under this id."""
        return {**self.resource, "id": self.id}


@dataclass(frozen=True)
class Probe:
    """One request."""

    method: str
    path: str
    body: Json | str | None = None
    headers: dict[str, str] = field(default_factory=dict)


Probes = Callable[[Target], Iterator[Probe]]


def _read(target: Target) -> Iterator[Probe]:
    for method in ("GET", "HEAD"):
        yield Probe(method, f"/fhir/{target.reference}")
    yield Probe("GET", f"/fhir/{target.reference}?_summary=true&_elements=id")
    yield Probe("GET", f"/fhir/{target.reference}", headers={"If-None-Match": 'W/"1"'})
    yield Probe("GET", f"/fhir/{target.reference}", headers={"If-Modified-Since": "Mon, 23 Nov 2099 10:00:00 GMT"})


def _vread(target: Target) -> Iterator[Probe]:
    for version in (1, 2):
        yield Probe("GET", f"/fhir/{target.reference}/_history/{version}")
        yield Probe("HEAD", f"/fhir/{target.reference}/_history/{version}", headers={"If-None-Match": 'W/"1"'})


def _history(target: Target) -> Iterator[Probe]:
    yield Probe("GET", f"/fhir/{target.reference}/_history")
    yield Probe("GET", f"/fhir/{target.reference}/_history?_since=2020-01-01&_count=1")


def _history_of_type(target: Target) -> Iterator[Probe]:
    # What is asked for is not in it: told apart in test_a_history_of_a_type_holds_ones_own_versions_only.
    yield Probe("GET", f"/fhir/{target.type}/_history?_since=2099-01-01")


def _search(target: Target) -> Iterator[Probe]:
    asked = [f"_id={target.id}", f"_id={target.id}&_total=accurate", f"_id={target.id}&_summary=count"]
    asked += [f"_id={target.id}&_sort={name}" for name in ("_id", "_lastUpdated")]
    yield from (Probe("GET", f"/fhir/{target.type}?{query}") for query in asked)


def _search_by_post(target: Target) -> Iterator[Probe]:
    yield Probe("POST", f"/fhir/{target.type}/_search", f"_id={target.id}&_total=accurate", FORM)


def _update(target: Target) -> Iterator[Probe]:
    path = f"/fhir/{target.reference}"
    for headers in ({}, {"If-Match": 'W/"1"'}, {"If-Match": 'W/"9"'}, {"If-None-Match": "*"}):
        yield Probe("PUT", path, target.content, headers)
    yield Probe("PUT", path, {**target.content, "status": "nonsense"})


def _update_conditionally(target: Target) -> Iterator[Probe]:
    yield Probe("PUT", f"/fhir/{target.type}?_id={target.id}", target.content)
    if target.type == "ServiceRequest":
        return  # one without an id is a referral of its own
    without = {name: value for name, value in target.content.items() if name != "id"}
    yield Probe("PUT", f"/fhir/{target.type}?_id={target.id}", without)


def _patch(target: Target) -> Iterator[Probe]:
    for operations in (
        '[{"op": "test", "path": "/status", "value": "accepted"}]',
        '[{"op": "replace", "path": "/status", "value": "nonsense"}]',
        '[{"op": "remove", "path": "/nothing"}]',
    ):
        for headers in ({}, {"If-Match": 'W/"9"'}):
            yield Probe("PATCH", f"/fhir/{target.reference}", operations, {**PATCH, **headers})


def _patch_conditionally(target: Target) -> Iterator[Probe]:
    operations = '[{"op": "test", "path": "/status", "value": "accepted"}]'
    yield Probe("PATCH", f"/fhir/{target.type}?_id={target.id}", operations, PATCH)


def _create(target: Target) -> Iterator[Probe]:
    """Resources that refer to it, and conditions that would match it."""
    about, own = {"reference": target.reference}, target.own
    message = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": f"{referrals.S}/CodeSystem/ikbt-message", "code": "information"}]}],
        "payload": [{"contentString": "Nås bäst efter 15."}],
    }
    in_own = {**message, "basedOn": [{"reference": own.reference("ServiceRequest")}]}
    yield Probe("POST", "/fhir/Communication", in_own, {"If-None-Exist": f"_id={target.id}"})
    yield Probe("POST", "/fhir/Communication", {**in_own, "inResponseTo": [about]})
    if target.type in ("Task", "ServiceRequest"):
        yield Probe("POST", "/fhir/Communication", {**message, "partOf": [about]})
        yield Probe("POST", "/fhir/Communication", {**message, "basedOn": [about]}, {"If-None-Exist": "_id=x"})
        task = {"resourceType": "Task", "status": "requested", "intent": "order", "partOf": [about], "focus": about}
        for code in ("fulfill", "abort"):
            coded = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": code}]}
            yield Probe("POST", "/fhir/Task", {**task, "code": coded})
    if target.type == "ServiceRequest":
        for type_ in ("Observation", "QuestionnaireResponse"):
            if type_ in target.other.resources:
                yield Probe("POST", f"/fhir/{type_}", {**target.other.one(type_), "basedOn": [about]})
    yield from (Probe("POST", "/fhir/ServiceRequest", order) for order in _orders(target))


def _orders(target: Target) -> Iterator[Json]:
    """Referrals of one's own unit that refer to it, and are refused or not for that alone."""
    own = target.own
    requester = {"type": "Organization", "identifier": {"system": HSA, "value": own.unit}}
    order = single("R-X", requester=requester, status="draft")  # never taken in
    about = {"reference": target.reference}
    yield {**order, "supportingInfo": [about]}
    yield {**order, "reasonReference": [about]}
    if target.type == "Patient":
        yield {**order, "subject": about}


def _bundle(target: Target) -> Iterator[Probe]:
    asked = [{"request": {"method": method, "url": target.reference}} for method in ("GET", "HEAD")]
    asked.append({"request": {"method": "GET", "url": f"{target.type}?_id={target.id}"}})
    asked.append({"request": {"method": "PUT", "url": target.reference}, "resource": target.content})
    patch: Json = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    patch["data"] = b64encode(b'[{"op": "test", "path": "/status", "value": "accepted"}]').decode()
    asked.append({"request": {"method": "PATCH", "url": target.reference}, "resource": patch})
    for type_ in ("batch", "transaction"):
        for entry in asked:
            yield Probe("POST", "/fhir", {"resourceType": "Bundle", "type": type_, "entry": [entry]})
    # a reference that is a search
    message: Json = {"resourceType": "Communication", "status": "completed", "payload": [{"contentString": "Hej."}]}
    message["basedOn"] = [{"reference": target.own.reference("ServiceRequest")}]
    message["about"] = [{"reference": f"{target.type}?_id={target.id}"}]
    entry = {"request": {"method": "POST", "url": "Communication"}, "resource": message}
    yield Probe("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})


def _assess(target: Target) -> Iterator[Probe]:
    yield from (Probe("POST", "/fhir/ServiceRequest/$assess", order) for order in _orders(target))
    active = ({**order, "status": "active"} for order in _orders(target))
    yield from (Probe("POST", "/fhir/ServiceRequest/$assess", order) for order in active)


def _extract(target: Target) -> Iterator[Probe]:
    response = referrals.madrs_s(subject={"reference": target.reference}, basedOn=[{"reference": target.reference}])
    yield Probe("POST", "/fhir/QuestionnaireResponse/$extract", response)


def _extract_of(*methods: str) -> Probes:
    def probes(target: Target) -> Iterator[Probe]:
        yield from (Probe(method, f"/fhir/QuestionnaireResponse/{target.id}/$extract") for method in methods)

    return probes


def _intake(target: Target) -> Iterator[Probe]:
    # a number that only the other side has used is free here; what is wrong with the body stops both
    body: Json = {
        "channel": "record-message",
        "received": "2026-11-20",
        "referrer": {"unit": target.own.unit, "reference": target.id},
        "patient": {"identifier": "199002222390"},
        "programme": "depression",
    }
    yield Probe("POST", "/intake/referrals", body, {"Content-Type": "application/json"})


def _hook(target: Target) -> Iterator[Probe]:
    order = {**single("R-X", status="draft"), "id": "draft"}
    context: Json = {"userId": "PractitionerRole/x", "patientId": target.id}
    context["draftOrders"] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]}
    body: Json = {"hook": "order-sign", "hookInstance": UNKNOWN, "context": context}
    yield Probe("POST", "/cds-services/ikbt-order-sign", body, {"Content-Type": "application/json"})


def _feedback(target: Target) -> Iterator[Probe]:
    told_of: Json = {"card": target.id, "outcome": "accepted", "outcomeTimestamp": "2026-11-23T10:00:00Z"}
    path = "/cds-services/ikbt-order-sign/feedback"
    yield Probe("POST", path, {"feedback": [told_of]}, {"Content-Type": "application/json"})


def _of_subscription(*methods_and_ends: tuple[str, str]) -> Probes:
    def probes(target: Target) -> Iterator[Probe]:
        if target.type != "Subscription":
            return
        for method, end in methods_and_ends:
            body = target.content if method == "PUT" else None
            yield Probe(method, f"/fhir/Subscription/{target.id}{end}", body)

    return probes


def _of_subscriptions(path: str) -> Probes:
    def probes(target: Target) -> Iterator[Probe]:
        if target.type == "Subscription":
            yield Probe("GET", f"{path}?_id={target.id}&id={target.id}")

    return probes


def _audit(target: Target) -> Iterator[Probe]:
    yield Probe("GET", f"/fhir/AuditEvent/{target.id}")
    yield Probe("GET", f"/fhir/AuditEvent?entity={target.reference}")


def _nothing(_: Target) -> Iterator[Probe]:
    """The route knows no resource of anybody's."""
    return iter(())


CASES: Mapping[tuple[str, str], Probes] = {
    ("GET", "/fhir/<type_>/<id_>"): _read,
    ("GET", "/fhir/<type_>/<id_>/_history/<int:version>"): _vread,
    ("GET", "/fhir/<type_>/<id_>/_history"): _history,
    ("GET", "/fhir/<type_>/_history"): _history_of_type,
    ("GET", "/fhir/<type_>"): _search,
    ("POST", "/fhir/<type_>/_search"): _search_by_post,
    ("POST", "/fhir/<type_>"): _create,
    ("PUT", "/fhir/<type_>/<id_>"): _update,
    ("PUT", "/fhir/<type_>"): _update_conditionally,
    ("PATCH", "/fhir/<type_>/<id_>"): _patch,
    ("PATCH", "/fhir/<type_>"): _patch_conditionally,
    ("POST", "/fhir"): _bundle,
    ("POST", "/fhir/"): _nothing,  # the same as the one before
    ("POST", "/fhir/ServiceRequest/$assess"): _assess,
    ("POST", "/fhir/QuestionnaireResponse/$extract"): _extract,
    ("GET", "/fhir/QuestionnaireResponse/<id_>/$extract"): _extract_of("GET", "HEAD"),
    ("POST", "/fhir/QuestionnaireResponse/<id_>/$extract"): _extract_of("POST"),
    ("POST", "/intake/referrals"): _intake,
    ("GET", "/cds-services"): _nothing,
    ("GET", "/cds-services/"): _nothing,
    ("POST", "/cds-services/<service>"): _hook,
    ("POST", "/cds-services/<service>/feedback"): _feedback,
    ("GET", "/fhir/Subscription"): _of_subscriptions("/fhir/Subscription"),
    ("POST", "/fhir/Subscription"): _nothing,
    ("POST", "/fhir/Subscription/_search"): _nothing,  # as by GET
    ("GET", "/fhir/Subscription/$status"): _of_subscriptions("/fhir/Subscription/$status"),
    ("POST", "/fhir/Subscription/$status"): _nothing,  # as by GET
    ("GET", "/fhir/Subscription/<id_>"): _of_subscription(("GET", ""), ("HEAD", "")),
    ("PUT", "/fhir/Subscription/<id_>"): _of_subscription(("PUT", "")),
    ("DELETE", "/fhir/Subscription/<id_>"): _of_subscription(("DELETE", "")),
    ("GET", "/fhir/Subscription/<id_>/$status"): _of_subscription(("GET", "/$status")),
    ("POST", "/fhir/Subscription/<id_>/$status"): _of_subscription(("POST", "/$status")),
    ("GET", "/fhir/Subscription/<id_>/$events"): _of_subscription(("GET", "/$events")),
    ("POST", "/fhir/Subscription/<id_>/$events"): _of_subscription(("POST", "/$events")),
    ("GET", "/fhir/AuditEvent"): _audit,
    ("POST", "/fhir/AuditEvent/_search"): _nothing,  # as by GET
    ("GET", "/fhir/AuditEvent/<id_>"): _audit,
    ("GET", "/fhir/metadata"): _nothing,
    ("GET", "/fhir/.well-known/smart-configuration"): _nothing,
    ("POST", "/auth/token"): _nothing,
    ("GET", "/openapi.json"): _nothing,
    ("GET", "/health/live"): _nothing,
    ("GET", "/health/ready"): _nothing,
    ("GET", "/metrics"): _nothing,
    ("POST", "/exchange/wake"): _nothing,
    ("PUT", "/exchange/wake"): _nothing,
    ("POST", "/exchange/wake/<path:_what>"): _nothing,
    ("PUT", "/exchange/wake/<path:_what>"): _nothing,
}
"""What is tried at each route."""
