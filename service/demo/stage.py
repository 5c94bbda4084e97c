"""The stage of the demonstration: who is there, what has been sent, and what every referral should come to."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from fhir_mappings.records import Json, Reach
from fhir_mappings.task import FINAL_STATES, findings_of, route_rule_of
from fhir_mappings.terminology import Canonical
from service.demo.checks import Checks
from service.demo.people import Person, Platform, Therapist, Unexpected, exact, told
from service.demo.samples import Sample, Waiting, reach_of
from service.demo.servers import Servers
from service.packs.cases import Way
from service.packs.model import Pack

WAYS = {
    Way.BUNDLE: "transaction Bundle (POST /fhir)",
    Way.SINGLE: "ensam ServiceRequest (POST /fhir/ServiceRequest)",
    Way.PLAIN: "JSON (POST /intake/referrals)",
}
CHANNELS = {
    "record-message": "meddelande ur journalsystemet",
    "paper-letter": "brev på papper",
    "phone": "telefonsamtal",
}


@dataclass
class Referral:
    """One referral of the demonstration."""

    title: str
    sample: Sample
    identity: str
    order: str
    """`ServiceRequest/{id}`"""
    task: str
    """`Task/{id}`, the current one."""
    patient: str
    verdict: str
    alert: bool
    parts: list[str]
    """Everything that was stored of what was sent, as `Type/id`."""
    relayed: bool
    """True where no platform reaches the unit."""
    messages: list[str] = field(default_factory=list)
    """Categories of the messages that the referrer must have got, in order."""
    deeds: list[str] = field(default_factory=list)
    """What people have done with it."""

    @property
    def way(self) -> str:
        """How it came in, in words."""
        words = WAYS[self.sample.case.way]
        return f"{CHANNELS[self.sample.channel]}, {words}" if self.sample.channel else words


@dataclass
class Stage:
    """Who and what takes part."""

    servers: Servers
    checks: Checks
    pack: Pack
    canonical: Canonical
    today: date
    samples: dict[str, Sample]
    titles: dict[str, str]
    platform: Platform
    waiting: Waiting = field(default_factory=Waiting)
    referrals: dict[str, Referral] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    """What was posted for each sample, byte by byte."""

    @property
    def observer(self) -> Person:
        """Who looks at everything, for the account."""
        return Person(self.servers.url, "administrator")

    @property
    def external(self) -> Person:
        """A client of the external FHIR server."""
        return Person(self.servers.stand_in.url.removesuffix("/fhir"), None)

    def referrer(self, referral: Referral) -> Person:
        """The unit that sent it."""
        return Person(self.servers.url, f"referrer {referral.sample.unit}")

    def therapist(self, team: str) -> Therapist:
        """The first therapist of a team; for the coordination team its one role."""
        role = self.pack.teams[team].roles[0]
        return Therapist(self.servers.url, f"therapist {team}", team=team, role=role, canonical=self.canonical)

    def team_of(self, referral: Referral) -> Therapist:
        """A therapist of the team that has the referral now."""
        owner = self.observer.read(referral.task)["owner"]["reference"]
        kind, _, name = owner.partition("/")
        teams = self.pack.teams.values()
        team = name if kind == "HealthcareService" else next(t.id for t in teams if name in t.roles)
        return self.therapist(team)

    def send(self, name: str) -> Referral:
        """Post a sample's input as its sender does, and check the answer against what the case expects."""
        sample = self.samples[name]
        case = sample.case
        body, identity = self.waiting.prepare(sample, self.today)
        self.sent[name] = body
        answer = Person(self.servers.url, case.caller).call("POST", sample.path, body)
        unit = self.pack.units.get(sample.unit)  # type: ignore[call-overload]  # as sent
        self.checks.equal(
            answer.status_code,
            case.expected.status,
            f"{self.titles[name]}: {unit.name if unit else sample.unit} → {case.expected.status} ({case.name})",
        )
        if not answer.ok:
            raise Unexpected(f"POST {sample.path}: {told(answer)}")
        given = exact(answer)
        stored = _stored(given, answer.headers.get("Location", ""))
        order = next(reference for reference in stored if reference.startswith("ServiceRequest/"))
        task = self.task_of(order)
        verdict = answer.headers.get("Sluss-Verdict", "")
        alert = "Sluss-Alert" in answer.headers
        self.checks.that(
            (verdict, alert) == (str(case.expected.verdict), bool(case.expected.alert)),
            f"Bedömning: {case.expected.verdict}{' + larm om suicidrisk' if case.expected.alert else ''}",
            f"{verdict} {alert}",
        )
        self._check_task(task, sample)
        referral = Referral(
            title=self.titles[name],
            sample=sample,
            identity=identity,
            order=order,
            task=f"Task/{task['id']}",
            patient=task["for"]["reference"],
            verdict=verdict,
            alert=alert,
            parts=stored,
            relayed=reach_of(sample, self.pack) is not Reach.PLATFORM,
        )
        self.referrals[name] = referral
        return referral

    def _check_task(self, task: Json, sample: Sample) -> None:
        expected = sample.case.expected
        found = sorted((f.rule, str(f.verdict)) for f in findings_of(task, self.canonical))
        wanted = sorted((rule, str(verdict)) for rule, verdict in expected.findings or ())
        if expected.findings is not None:
            rules = ", ".join(rule for rule, _ in wanted) or "inga"
            self.checks.equal(found, wanted, f"Regler på Task.input: {rules}")
        if expected.team is not None:
            found_team = task["owner"]["reference"].removeprefix("HealthcareService/")
            rule = route_rule_of(task, self.canonical)
            self.checks.that(
                found_team == expected.team and expected.route in (None, rule),
                f"Fördelad till {self.pack.teams[expected.team].name} ({expected.route})",
                f"{found_team} ({rule})",
            )

    def task_of(self, order: str) -> Json:
        """The referral's current Task: the newest one with the ServiceRequest in focus."""
        found = self.observer.search("Task", focus=order, code="fulfill", _sort="_lastUpdated")
        if not found:
            raise Unexpected(f"{order} has no Task")
        still_open = [task for task in found if task["status"] not in FINAL_STATES]
        return (still_open or found)[-1]

    def ended(self, referral: Referral, status: str) -> None:
        """Check that the Task has come to its end; the patient may be referred again."""
        self.checks.equal(self.status(referral), status, f"Task är {status}")
        self.waiting.leave(referral.identity)

    def status(self, referral: Referral) -> str:
        """Status of the referral's current Task."""
        return str(self.observer.read(referral.task)["status"])

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """True as soon as it holds; False when the time is up. Raises NotStarted when a process has ended."""
        end = time.monotonic() + seconds
        while True:
            try:
                if until():
                    return True
            except Unexpected:
                pass  # not yet
            if time.monotonic() > end:
                return False
            self.servers.check_alive()
            time.sleep(0.25)

    def check_messages(self, referral: Referral) -> None:
        """Check that the referrer's platform has got each message that it should, and no other."""
        got = [category(message, self.canonical) for message in self.platform.of(referral.order)]
        wanted = [] if referral.relayed else referral.messages
        self.checks.that(
            sorted(got) == sorted(wanted) and self._in_turn(referral),
            f"{referral.title}: plattformen fick {', '.join(wanted) or 'inget (enheten nås på annat sätt)'}",
            ", ".join(got),
        )

    def _in_turn(self, referral: Referral) -> bool:
        """The messages came in the order of the story; those of one moment in any order."""
        stamped = [(m["meta"]["lastUpdated"], m) for m in self.platform.of(referral.order)]
        return [stamp for stamp, _ in stamped] == sorted(stamp for stamp, _ in stamped)


def category(message: Json, canonical: Canonical) -> str:
    """A Communication's category in our CodeSystem, empty where it has none."""
    return coded(message.get("category", ()), canonical.message)


def coded(concepts: Sequence[Json], system: str) -> str:
    """The first code of a system among CodeableConcepts, empty where there is none."""
    found = (c["code"] for concept in concepts for c in concept.get("coding", ()) if c.get("system") == system)
    return next(found, "")


def _stored(given: Json, location: str) -> list[str]:
    """`Type/id` of everything that an answer says is stored."""
    if "service_request" in given:
        return [given["service_request"]]
    located = [entry["response"].get("location", "") for entry in given.get("entry", ())] or [location]
    parts = [place.partition("/_history/")[0].split("/") for place in located if place]
    return ["/".join(part[-2:]) for part in parts]
