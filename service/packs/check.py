"""Does a pack do what its cases say, and does every outcome of every rule have its cases?

The decisions themselves are `service.referral`'s, which stands on the packs; so whoever checks brings them along as a
function (`service.referral.rehearsal` has it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhir_mappings.records import Assessment, Route
from service.packs.cases import Case
from service.packs.model import Pack
from service.packs.reading import Problem


@dataclass(frozen=True, slots=True)
class Trial:
    """What was decided of one case."""

    programme: str
    assessment: Assessment
    route: Route
    fired: frozenset[tuple[str, int]]
    """(rule id, position of the outcome) of everything that fired."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A case of which something else came than it says."""

    case: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        """`too-young: verdict should be return, is eligible`"""
        return f"{self.case}: {self.what} should be {self.expected}, is {self.found}"


@dataclass(frozen=True, slots=True)
class Gap:
    """An outcome of a rule without a case of one kind."""

    rule: str
    outcome: int
    condition: str
    missing: str
    """`fires`, or `does not fire`."""

    def __str__(self) -> str:
        """`age-minimum, outcome 1 (%ageYears.empty()): no case in which it fires`"""
        return f"{self.rule}, outcome {self.outcome} ({self.condition}): no case in which it {self.missing}"


@dataclass(frozen=True, slots=True)
class Report:
    """What the check of a pack gave."""

    pack: str
    cases: int
    mismatches: tuple[Mismatch, ...]
    gaps: tuple[Gap, ...]
    problems: tuple[Problem, ...] = ()
    """Cases that could not be read."""

    @property
    def sound(self) -> bool:
        """True when every case came out as it says and no outcome lacks a case."""
        return not (self.mismatches or self.gaps or self.problems)

    def lines(self) -> list[str]:
        """Everything that is wrong, one line each; empty when the pack is sound."""
        return [str(each) for each in (*self.problems, *self.mismatches, *self.gaps)]


def check(
    pack: Pack,
    cases: Sequence[Case],
    attempt: Callable[[Case], Trial | None],
    problems: Sequence[Problem] = (),
) -> Report:
    """Runs the cases and tells what does not match and which outcomes lack a case that fires them or one that does not.

    `attempt` decides one case; None when the input is refused. Only cases of the rule's programmes count as cases in
    which it does not fire. `problems` are those of reading the cases.
    """
    mismatches: list[Mismatch] = []
    trials: list[Trial] = []
    for case in cases:
        trial = attempt(case)
        mismatches.extend(_mismatches(case, trial))
        if trial is not None:
            trials.append(trial)
    return Report(pack.name, len(cases), tuple(mismatches), tuple(_gaps(pack, trials)), tuple(problems))


def _mismatches(case: Case, trial: Trial | None) -> list[Mismatch]:
    expected = case.expected
    if trial is None:
        return [] if expected.refused else [Mismatch(case.name, "it", "received", "refused")]
    if expected.refused:
        return [Mismatch(case.name, "it", "refused", "received")]
    assessment, route = trial.assessment, trial.route
    pairs: list[tuple[str, object, object]] = [
        ("verdict", expected.verdict, assessment.verdict),
        ("alert", expected.alert, assessment.alert),
        ("team", expected.team, route.team),
        ("route", expected.route, route.rule),
        ("start", expected.start, route.start),
    ]
    if expected.findings is not None:
        found = sorted((finding.rule, finding.verdict) for finding in assessment.findings)
        pairs.append(("findings", _in_words(sorted(expected.findings)), _in_words(found)))
    return [
        Mismatch(case.name, what, str(wanted), str(got))
        for what, wanted, got in pairs
        if wanted is not None and wanted != got
    ]


def _in_words(findings: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{rule} {verdict}" for rule, verdict in findings) or "none"


def _gaps(pack: Pack, trials: Sequence[Trial]) -> list[Gap]:
    gaps: list[Gap] = []
    for rule in pack.rules:
        asked = [trial for trial in trials if rule.concerns(trial.programme)]
        for position, outcome in enumerate(rule.outcomes):
            fires = [(rule.id, position) in trial.fired for trial in asked]
            if True not in fires:
                gaps.append(Gap(rule.id, position, outcome.when.text, "fires"))
            if False not in fires:
                gaps.append(Gap(rule.id, position, outcome.when.text, "does not fire"))
    return gaps
