"""What a submission consists of: the ServiceRequest and the resources beside it, each with its place. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from fhir_mappings.bundle import Entry, entries
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, Reference

WITH_A_REFERRAL = frozenset(
    {
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Condition",
        "Observation",
        "QuestionnaireResponse",
        "Appointment",
    }
)
"""What may stand beside the ServiceRequest in a Bundle (contract 3)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a submission and where it stands."""

    resource: Json
    expression: str
    """`Bundle.entry[2].resource`, `ServiceRequest`, `ServiceRequest.contained[0]`."""
    source: str | None = None
    """What references in the submission call it: fullUrl, `#id` or `Type/id`; an entry without fullUrl, which nothing
    can refer to, is called by its place.
    """
    position: int | None = None
    """Of its Bundle entry."""
    method: str = "POST"
    url: str = ""
    if_none_exist: str | None = None
    if_match: str | None = None
    existing: Reference | None = None
    """What is stored and stands for it, where its If-None-Exist matches; `resource` is then as stored."""

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource.get("resourceType"))


def parts_of(resource: Json) -> tuple[Part | None, list[Part], list[Issue]]:
    """The ServiceRequest, what stands beside it, and what is wrong with the Bundle as a Bundle.

    `resource` is a ServiceRequest or a transaction Bundle, valid R4.
    """
    if resource.get("resourceType") == "ServiceRequest":
        return Part(resource, "ServiceRequest"), [], []
    issues: list[Issue] = []
    if resource.get("type") != "transaction":
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                "Bundle.type",
                "En Bundle med remiss ska vara av typen transaction.",
                f"Bundle.type {resource.get('type')!r} is not supported here; send a transaction",
            )
        )
    orders: list[Part] = []
    beside: list[Part] = []
    for entry in entries(resource):
        part = _part(entry, issues)
        if part is not None:
            (orders if part.type == "ServiceRequest" else beside).append(part)
    if len(orders) != 1:
        issues.append(
            error(
                IssueCode.BUSINESS_RULE,
                "Bundle.entry",
                "Skicka en remiss (ServiceRequest) per Bundle.",
                f"a Bundle carries exactly one ServiceRequest; this one has {len(orders)}",
            )
        )
        return None, beside, issues
    return orders[0], beside, issues


def is_absolute(literal: str) -> bool:
    """True for an http(s) URL, sound or not: `http://[` is one that no parser of URLs would take."""
    return literal[:8].lower().startswith(("http://", "https://"))


def names_of(part: Part) -> Iterator[str]:
    """What references in the same submission may call a part: its fullUrl, and the relative form of an absolute one
    (https://hl7.org/fhir/R4/bundle.html#references).
    """
    if part.source is None:
        return
    yield part.source
    if is_absolute(part.source):
        yield "/".join(part.source.rstrip("/").split("/")[-2:])


def _part(entry: Entry, issues: list[Issue]) -> Part | None:
    """The entry as a part of a referral; None (and an issue) for what no referral consists of."""
    place = f"Bundle.entry[{entry.position}]"
    if entry.resource is None:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.request.method",
                "Bara POST och PUT av resurser tas emot tillsammans med en remiss.",
                f"{entry.method} without a resource is not supported in a referral Bundle",
            )
        )
        return None
    type_ = str(entry.resource.get("resourceType"))
    amends = entry.method == "PUT" and type_ == "ServiceRequest"
    if entry.method != "POST" and not amends:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.request.method",
                f"{entry.method} av {type_} tas inte emot tillsammans med en remiss.",
                f"{entry.method} {type_} is not supported in a referral Bundle; POST resources, PUT the ServiceRequest",
            )
        )
    url = entry.url or ""
    if type_ != "ServiceRequest" and type_ not in WITH_A_REFERRAL:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.resource",
                f"{type_} hör inte till en remiss.",
                f"{type_} is not part of a referral; allowed: {', '.join(sorted(WITH_A_REFERRAL))}",
            )
        )
    elif entry.method == "POST" and url.strip("/") != type_:
        issues.append(
            error(
                IssueCode.VALUE,
                f"{place}.request.url",
                "request.url stämmer inte med resursens typ.",
                f"request.url must be {type_!r} for a POST of it",
            )
        )
    return Part(
        entry.resource,
        f"{place}.resource",
        entry.full_url or f"{place}.resource",
        entry.position,
        entry.method or "",
        url,
        entry.if_none_exist,
        entry.if_match,
    )
