"""Which cases of `fixtures/` the demonstration sends, and how they are made to fit today.

A case is written for one day and one patient. Its dates are moved by as many days as have gone since; and where its
patient still has an open referral in this demonstration, it gets another test identity, so that every sample shows
what it is there for.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from fhir_mappings.records import Channel, HsaId, IdentityKind, Json, Reach, Verdict
from fhir_mappings.strict_json import dump, parse
from fhir_mappings.terminology import HSA_SYSTEMS, IDENTITY_KINDS, IDENTITY_SYSTEMS, PROGRAMMES
from service.packs.cases import Case, Way
from service.packs.model import Pack

IDENTITIES = (
    "199002222397",
    "200302022389",
    "196101182803",
    "200001252386",
    "189002029800",
    "189602029812",
    "196109732393",
)
"""Test identities that the Swedish Tax Agency publishes for tests; the last one is a samordningsnummer."""

_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(T.*)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """A case, and what can be told of its input before it is sent."""

    case: Case
    content: Json
    unit: str
    """HSA-id of the referring unit, as sent."""
    identity: str
    programme: str
    channel: str | None = None
    """Of plain JSON: `record-message`, `paper-letter` or `phone`."""

    @property
    def path(self) -> str:
        """Where it is posted."""
        return {Way.BUNDLE: "/fhir", Way.SINGLE: "/fhir/ServiceRequest", Way.PLAIN: "/intake/referrals"}[self.case.way]


@dataclass(frozen=True)
class Wish:
    """What the story needs a case for."""

    name: str
    title: str
    fits: Callable[[Sample], bool]
    cases: tuple[str, ...] = ()
    """Names of cases that are preferred, the best first."""


def sample_of(case: Case) -> Sample | None:
    """The sample of a case; None for an input that names no unit, patient or programme."""
    content = parse(case.body)
    if isinstance(content, list):
        return None
    if case.way is Way.PLAIN:
        referrer, patient = content.get("referrer", {}), content.get("patient", {})
        told = [referrer.get("unit"), patient.get("identifier"), content.get("programme")]
        if not all(isinstance(text, str) for text in told):
            return None
        unit, identity, programme = told
        return Sample(case, content, unit, identity.replace("-", ""), programme, content.get("channel"))
    values = [(d.get("system"), d.get("value") or d.get("code")) for d in _objects(content)]
    said = (case.caller or "").removeprefix("referrer ").split()
    units = [*said, *(value for system, value in values if system in HSA_SYSTEMS and value)]
    identities = [value for system, value in values if system in IDENTITY_KINDS and value]
    programmes = [value for _, value in values if value in PROGRAMMES]
    found = (units, identities, programmes)
    return Sample(case, content, units[0], identities[0], programmes[0]) if all(found) else None


def choose(wishes: Sequence[Wish], cases: Sequence[Case]) -> tuple[dict[str, Sample], list[str]]:
    """A different case for every wish by its name, and the names of those that no case fulfils.

    The cases that the wish names go first, then those tagged `demo`, then any that fit.
    """
    samples = [sample for case in cases if (sample := sample_of(case)) is not None and not case.absences]
    chosen: dict[str, Sample] = {}
    missing: list[str] = []
    taken: set[str] = set()
    for wish in wishes:
        fitting = [s for s in samples if s.case.name not in taken and wish.fits(s)]
        if not fitting:
            missing.append(wish.name)
            continue
        best = min(fitting, key=lambda sample: _rank(sample, wish))
        taken.add(best.case.name)
        chosen[wish.name] = best
    return chosen, missing


def _rank(sample: Sample, wish: Wish) -> tuple[int, bool, str]:
    case = sample.case
    named = wish.cases.index(case.name) if case.name in wish.cases else len(wish.cases)
    return named, "demo" not in case.tags, case.name


@dataclass
class Waiting:
    """The patients with an open referral in this demonstration."""

    identities: set[str] = field(default_factory=set)

    def prepare(self, sample: Sample, today: date) -> tuple[bytes, str]:
        """The body to send today, and the identity in it, which is taken from now on. The body is the case's own,
        byte by byte, when nothing had to change. Where no identity is free the finding `open-referral` will show it.
        """
        identity = sample.identity
        if identity in self.identities and not sample.case.before:
            identity = next((free for free in IDENTITIES if free not in self.identities), identity)
        self.identities.add(identity)
        days = (today - sample.case.today).days
        if identity == sample.identity and not days:
            return sample.case.body, identity
        body = sample.content if not days else _shifted(sample.content, timedelta(days=days))
        if identity != sample.identity:
            body = _renamed(body, sample.identity, identity)
        return dump(body).encode(), identity

    def leave(self, identity: str) -> None:
        """The patient's referral has come to its end."""
        self.identities.discard(identity)


def reach_of(sample: Sample, pack: Pack) -> Reach:
    """How the sample's unit gets our messages."""
    return pack.reach_of(HsaId(sample.unit.upper()), Channel(sample.channel or Channel.FHIR))


def judged(*verdicts: Verdict) -> Callable[[Sample], bool]:
    """A test for the expected verdict; no other referral of the patient may be needed."""

    def fits(sample: Sample) -> bool:
        case = sample.case
        return case.expected.verdict in verdicts and case.expected.findings is not None and not case.before

    return fits


def _objects(element: Any) -> Iterator[Json]:
    if isinstance(element, dict):
        yield element
        for value in element.values():
            yield from _objects(value)
    elif isinstance(element, list):
        for value in element:
            yield from _objects(value)


def _shifted(element: Any, by: timedelta, name: str = "") -> Any:
    """The same with every date moved, but the patient's birth."""
    if isinstance(element, dict):
        return {key: _shifted(value, by, key) for key, value in element.items()}
    if isinstance(element, list):
        return [_shifted(value, by, name) for value in element]
    if not isinstance(element, str) or name == "birthDate":
        return element
    found = _DAY.match(element)
    if found is None:
        return element
    try:
        return (date.fromisoformat(found[1]) + by).isoformat() + (found[2] or "")
    except ValueError:
        return element  # a day that does not exist belongs to what the case shows


def _renamed(element: Any, old: str, new: str) -> Any:
    """The same about another patient."""
    if isinstance(element, list):
        return [_renamed(value, old, new) for value in element]
    if isinstance(element, str):
        return element.replace(old, new).replace(f"{old[:8]}-{old[8:]}", f"{new[:8]}-{new[8:]}")
    if not isinstance(element, dict):
        return element
    out = {key: _renamed(value, old, new) for key, value in element.items()}
    coordination = int(new[6:8]) > 60
    if element.get("system") in IDENTITY_KINDS and out.get("value") == new:
        kind = IdentityKind.SAMORDNINGSNUMMER if coordination else IdentityKind.PERSONNUMMER
        out["system"] = IDENTITY_SYSTEMS[kind]
    if "birthDate" in element:
        day = int(new[6:8]) - (60 if coordination else 0)
        out["birthDate"] = f"{new[:4]}-{new[4:6]}-{day:02}"
    return out
