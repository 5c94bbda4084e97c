"""The topics: what makes an event, who may be told of it, and what it can be filtered by. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_mappings.elements import child, children, codings, text
from fhir_mappings.records import Json
from fhir_mappings.terminology import HSA_SYSTEMS, Canonical, Systems
from service.access.caller import Caller, Role
from service.access.seeing import sight_of
from service.packs.model import Pack
from service.store.subscription_records import Changed


class Topic(StrEnum):
    """What can be subscribed to; the last part of its canonical URL."""

    REFERRAL_RECEIVED = "referral-received"
    TASK_UPDATED = "task-updated"
    REPLY_SENT = "reply-sent"


Filters = tuple[tuple[str, tuple[str, ...]], ...]
"""(parameter, values): every parameter must match, with any of its values."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One topic."""

    focus: str
    """The type of resource that an event is about."""
    told: frozenset[Role]
    """Who may subscribe to it."""
    happened: Callable[[Changed], bool]
    concerns: Callable[[Caller, Changed, "Teams"], bool]
    filters: Mapping[str, Callable[[Changed], set[str]]]
    """By parameter, the values of a change that it can be filtered by."""


@dataclass(frozen=True, slots=True)
class Teams:
    """Which team an owner is or belongs to, and which one coordinates."""

    by_owner: Mapping[str, str]
    coordination: str

    @classmethod
    def of(cls, pack: Pack) -> "Teams":
        """The teams of a pack, and the therapists' roles in them."""
        teams = {f"HealthcareService/{team}": team for team in pack.teams}
        roles = {f"PractitionerRole/{role}": team.id for team in pack.teams.values() for role in team.roles}
        return cls(teams | roles, pack.coordination)

    def owning(self, task: Json | None) -> str | None:
        """The team that has a Task."""
        return self.by_owner.get(text(child(task or {}, "owner"), "reference") or "")


def canonical_url(topic: Topic, canonical: Canonical) -> str:
    """`{S}/SubscriptionTopic/{topic}`"""
    return f"{canonical.base}/SubscriptionTopic/{topic}"


def topic_of(criteria: str, canonical: Canonical) -> Topic | None:
    """The topic with this canonical URL."""
    return next((topic for topic in Topic if canonical_url(topic, canonical) == criteria), None)


def is_event(topic: Topic, filters: Filters, subscriber: Caller, changed: Changed, teams: Teams) -> bool:
    """True when a subscriber of the topic is to be told of a change: it is an event, the subscriber may know of it, and
    its filters let it through.
    """
    defined = DEFINITIONS[topic]
    if changed.type != defined.focus or not defined.happened(changed):
        return False
    if not _may_see(subscriber, changed, teams):
        return False
    if subscriber.role is not Role.ADMINISTRATOR and not defined.concerns(subscriber, changed, teams):
        return False
    return all(not defined.filters[name](changed).isdisjoint(values) for name, values in filters)


def _may_see(subscriber: Caller, changed: Changed, teams: Teams) -> bool:
    """By the table of who sees what. A team that a Task was just taken from saw it until then."""
    sight = sight_of(subscriber, teams.coordination)
    if changed.organisation is None:
        return sight.every_referral or not sight.organisations.isdisjoint(_units(changed.content))
    owners = {teams.owning(changed.content), teams.owning(changed.before)} - {None}
    return sight.covers(changed.organisation, changed.team or "", map(str, owners))


def _referral_concerns(subscriber: Caller, changed: Changed, teams: Teams) -> bool:  # noqa: ARG001 - one signature
    if subscriber.role is Role.REFERRER:
        return changed.organisation in subscriber.organisations
    return subscriber.role is Role.THERAPIST and changed.team in subscriber.teams


def _task_concerns(subscriber: Caller, changed: Changed, teams: Teams) -> bool:
    """A team hears of its Tasks, and of the change that takes one from it; a referrer of those that its referrals are
    carried out by, not of those that a team gives itself.
    """
    if subscriber.role is Role.REFERRER:
        own = any(system == Systems.TASK_CODE for system, _ in codings(changed.content, "code"))
        return own and changed.organisation in subscriber.organisations
    owners = {teams.owning(changed.content), teams.owning(changed.before)}
    return subscriber.role is Role.THERAPIST and not subscriber.teams.isdisjoint(owners)


def _reply_concerns(subscriber: Caller, changed: Changed, teams: Teams) -> bool:  # noqa: ARG001 - one signature
    if subscriber.role in (Role.REFERRER, Role.PLATFORM):
        every = subscriber.role is Role.PLATFORM and not subscriber.organisations
        return every or not subscriber.organisations.isdisjoint(_units(changed.content))
    return subscriber.role is Role.THERAPIST and changed.team in subscriber.teams


def _is_received(changed: Changed) -> bool:
    return changed.before is None and changed.organisation is not None


def _is_sent(changed: Changed) -> bool:
    """A message to who referred that has just been sent: one that a person had to pass on was `preparation` before."""
    already = changed.before is not None and changed.before.get("status") == "completed"
    if already or changed.content.get("status") != "completed":
        return False
    units = _units(changed.content)
    return changed.organisation in units if changed.organisation else bool(units)


def _units(communication: Json) -> set[str]:
    """HSA-ids of the recipients."""
    identifiers = [child(recipient, "identifier") for _, recipient in children(communication, "recipient")]
    return {str(one.get("value")).upper() for one in identifiers if one.get("system") in HSA_SYSTEMS}


def _tokens(pairs: list[tuple[str | None, str | None]]) -> set[str]:
    """As a search names them: `system|code` and `code`."""
    return {written for system, code in pairs if code for written in (code, f"{system or ''}|{code}")}


def _codes(changed: Changed) -> set[str]:
    return _tokens(codings(changed.content, "code"))


def _categories(changed: Changed) -> set[str]:
    concepts = [concept for _, concept in children(changed.content, "category")]
    return _tokens([pair for concept in concepts for pair in codings({"category": concept}, "category")])


def _hsa_tokens(units: set[str]) -> set[str]:
    return {written for unit in units for written in (unit, *(f"{system}|{unit}" for system in HSA_SYSTEMS))}


def _owners(changed: Changed) -> set[str]:
    versions = (changed.content, changed.before or {})
    return {text(child(version, "owner"), "reference") or "" for version in versions} - {""}


def _recipients(changed: Changed) -> set[str]:
    return {text(one, "reference") or "" for _, one in children(changed.content, "recipient")} - {""}


DEFINITIONS: Mapping[Topic, Definition] = {
    Topic.REFERRAL_RECEIVED: Definition(
        "ServiceRequest",
        frozenset({Role.REFERRER, Role.THERAPIST, Role.ADMINISTRATOR}),
        _is_received,
        _referral_concerns,
        {
            "code": _codes,
            "requester:identifier": lambda changed: _hsa_tokens({changed.organisation or ""}),
        },
    ),
    Topic.TASK_UPDATED: Definition(
        "Task",
        frozenset({Role.REFERRER, Role.THERAPIST, Role.ADMINISTRATOR}),
        lambda _: True,
        _task_concerns,
        {"owner": _owners, "status": lambda changed: {str(changed.content.get("status"))}, "code": _codes},
    ),
    Topic.REPLY_SENT: Definition(
        "Communication",
        frozenset({Role.REFERRER, Role.THERAPIST, Role.PLATFORM, Role.ADMINISTRATOR}),
        _is_sent,
        _reply_concerns,
        {
            "recipient": _recipients,
            "recipient:identifier": lambda changed: _hsa_tokens(_units(changed.content)),
            "category": _categories,
        },
    ),
}
