"""What a clinician is told before signing, as CDS Hooks cards. Pure. https://cds-hooks.hl7.org/2.0/#cds-service-response

One card for each finding that stands in the way, one for all advice together, one where nothing does. A sign of suicide
risk goes first and is critical.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fhir_mappings.issues import Issue, is_error
from fhir_mappings.records import Assessment, Finding, Json, Route, Verdict
from fhir_mappings.terminology import Canonical
from service.definitions.terminologies import OVERRIDE_REASONS
from service.packs.model import Pack
from service.packs.texts import phone

LONGEST_SUMMARY = 139
"""'One-sentence, <140-character summary'"""

_CRITICAL, _WARNING, _INFO = "critical", "warning", "info"
_ORDER = (_CRITICAL, _WARNING, _INFO)
_INDICATOR = {Verdict.RETURN: _WARNING, Verdict.INFORMATION: _WARNING, Verdict.REVIEW: _INFO}
_CONSEQUENCE = {
    Verdict.RETURN: "Remissen skulle återsändas.",
    Verdict.INFORMATION: "Remissen skulle behöva kompletteras.",
    Verdict.REVIEW: "Behandlaren skulle avgöra.",
    Verdict.ADVICE: "Att tänka på.",
}


@dataclass(frozen=True, slots=True)
class Card:
    """One card, and the rules that it rests on."""

    body: Json
    rules: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its `uuid`."""
        return str(self.body["uuid"])


@dataclass(frozen=True, slots=True)
class Desk:
    """What cards are made with."""

    pack: Pack
    canonical: Canonical
    new_id: Callable[[], str]

    def card(self, indicator: str, summary: str, detail: str, rules: Sequence[str], **more: object) -> Card:
        """A card with its source; with rules it may be overridden for a reason."""
        source: Json = {"label": self.pack.sources[0].title}
        if len(rules) == 1:
            source["topic"] = {"system": self.canonical.rule, "code": rules[0], "display": rules[0]}
        reasons = [
            {"system": self.canonical.override_reason, "code": code, "display": display}
            for code, display in OVERRIDE_REASONS.items()
        ]
        body: Json = {
            "uuid": self.new_id(),
            "summary": _short(summary),
            "detail": detail,
            "indicator": indicator,
            "source": source,
            **({"overrideReasons": reasons} if rules else {}),
            **more,
        }
        return Card(body, tuple(rules))


def cards_of(assessment: Assessment, route: Route, unseen: Sequence[str], desk: Desk) -> list[Card]:
    """The cards for a draft that can be read, gravest first."""
    advice = [f for f in assessment.findings if f.verdict is Verdict.ADVICE and not f.alert]
    cards = [_finding(f, desk) for f in assessment.findings if f not in advice]
    if advice:
        cards.append(_advice(advice, desk))
    if assessment.verdict is Verdict.ELIGIBLE and not assessment.alert:
        cards.append(_fits(route, desk))
    if unseen:
        names = "\n".join(f"- {name}" for name in unseen)
        summary = "Sluss har inte sett allt som remissen hänvisar till; bedömningen kan bli en annan."
        cards.append(desk.card(_INFO, summary, f"Skickades inte med:\n\n{names}", ()))
    return sorted(cards, key=lambda card: _ORDER.index(card.body["indicator"]))


def card_of_refusal(issues: Sequence[Issue], desk: Desk) -> Card:
    """The one card for a draft that Sluss could not take in as it is."""
    lines = dict.fromkeys(f"- {issue.text}" for issue in issues if is_error(issue))
    return desk.card(_WARNING, "Remissen kan inte tas emot som den är.", "\n".join(lines), ())


def _finding(finding: Finding, desk: Desk) -> Card:
    indicator = _CRITICAL if finding.alert else _INDICATOR.get(finding.verdict, _INFO)
    return desk.card(indicator, finding.text, "\n\n".join(_told(finding)), [finding.rule])


def _told(finding: Finding) -> Iterator[str]:
    yield finding.text
    if finding.alert:
        yield "**Tecken på suicidrisk. Bedöm patientens säkerhet nu.**"
    yield _CONSEQUENCE[finding.verdict]
    if finding.passage:
        yield f"> {finding.passage}" + (f" ({finding.row})" if finding.row else "")
    yield f"Regel: `{finding.rule}`"


def _advice(findings: Sequence[Finding], desk: Desk) -> Card:
    if len(findings) == 1:
        return _finding(findings[0], desk)
    lines = "\n".join(f"- {finding.text} (`{finding.rule}`)" for finding in findings)
    return desk.card(_INFO, f"{len(findings)} saker att tänka på i remissen.", lines, [f.rule for f in findings])


def _fits(route: Route, desk: Desk) -> Card:
    team = desk.pack.teams[route.team]
    link = {"label": "Så går behandlingen till", "url": desk.pack.demo_link, "type": "absolute"}
    links = {"links": [link]} if desk.pack.demo_link else {}
    detail = f"Remissen skulle gå till {team.name}, telefon {phone(team)}."
    return desk.card(_INFO, "Ingenting står i vägen för remissen.", detail, (), **links)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SUMMARY else text[: LONGEST_SUMMARY - 1].rstrip() + "…"
