"""What happens in the demonstration: a day's referrals come in, people work with them, a server goes down and comes
back, and everybody gets what they should.
"""

from dataclasses import dataclass
from datetime import date

from fhir_mappings.records import Json
from service.demo import scenes
from service.demo.cast import gather
from service.demo.checks import Checks
from service.demo.holdings import External, Holding, holdings, patient_names
from service.demo.servers import Servers
from service.demo.stage import Stage

_DELIVERED_WITHIN = 45.0


@dataclass
class Story:
    """The story and what it has come to."""

    stage: Stage
    held: dict[str, Holding]
    """What Sluss holds at the end, by `ServiceRequest/{id}`."""
    external: External | None = None
    differences: dict[str, list[str]] | None = None

    @classmethod
    def begin(cls, servers: Servers, checks: Checks, today: date) -> "Story":
        """Gather everybody."""
        return cls(gather(servers, checks, today), {})

    def play(self) -> None:
        """All scenes, in order. Raises NotStarted when one of our processes has ended."""
        stage = self.stage
        for title, scene in (
            ("1. Dagens remisser kommer in: Bundle och ensam ServiceRequest", scenes.morning),
            ("2. Det som inte går att läsa, och det som kommer två gånger", scenes.not_received),
            ("3. Behandlarna arbetar från sin arbetslista", scenes.work),
            ("4. Komplettering, frågor och återsända remisser", scenes.questions),
            ("5. Den externa FHIR-servern går ner; meddelande, brev och samtal kommer ändå in", scenes.outage),
            ("6. Servern är tillbaka; behandlingarna fortsätter", scenes.recovery),
        ):
            stage.checks.heading(title)
            with stage.checks.guard(title):
                scene(stage)
                stage.platform.poll()
            stage.servers.check_alive()
        for title, closing in (
            ("7. Remittenternas plattform har pollat hela tiden", self._replies),
            ("8. Vad den externa FHIR-servern har, jämfört med Sluss", self._compare),
        ):
            stage.checks.heading(title)
            with stage.checks.guard(title):
                closing()

    def _replies(self) -> None:
        stage = self.stage
        stage.platform.poll()
        for referral in stage.referrals.values():
            stage.check_messages(referral)
        everything = stage.observer.search("Communication", status="completed", _count="200")
        wanted = {m["id"] for m in everything if _to_platform(m, stage)}
        got = [m["id"] for m in stage.platform.received]
        stage.checks.that(
            set(got) == wanted and len(got) == len(wanted) and not stage.platform.out_of_order,
            f"{len(wanted)} svar i {stage.platform.polls} pollningar: inget saknas, inget dubbelt, alla i ordning",
            f"{len(got)} hämtade, {len(wanted - set(got))} saknas, {stage.platform.out_of_order} i fel ordning",
        )
        waiting = stage.observer.search("Communication", status="preparation")
        stage.checks.equal(len(waiting), 0, "Inget meddelande väntar på att vidarebefordras")

    def _compare(self) -> None:
        stage = self.stage
        orders = {referral.order: referral.parts for referral in stage.referrals.values()}
        names = patient_names(stage.observer)
        self.held = holdings(stage.observer, orders)

        def unlike() -> dict[str, list[str]]:
            self.external = External.read(stage.external, stage.canonical)
            return {order: self.external.differences(held, names) for order, held in self.held.items()}

        stage.wait(lambda: not any(unlike().values()), _DELIVERED_WITHIN)
        self.differences = unlike()
        for referral in stage.referrals.values():
            told = self.differences[referral.order]
            count = len(self.held[referral.order].resources)
            stage.checks.that(not told, f"{referral.title}: {count} resurser, alla lika", "; ".join(told))
            patient = self.external.patient_of(referral.order) if self.external else None
            if patient != referral.identity:
                stage.checks.equal(patient, referral.identity, f"{referral.title}: rätt patient")
        health = stage.observer.ask("GET", "/health/ready")
        stage.checks.equal(health.get("external_fhir_server"), "ok", "/health/ready: inga leveranser väntar")


def _to_platform(message: Json, stage: Stage) -> bool:
    """True for a message to a unit on the platform."""
    recipients = {r.get("identifier", {}).get("value") for r in message.get("recipient", ())}
    return bool(recipients & set(stage.platform.units))
