"""The referrals that the story needs, each with the cases of `fixtures/` that fit best."""

from collections.abc import Callable
from datetime import date

from fhir_mappings.records import Reach, Verdict
from fhir_mappings.terminology import Canonical
from service.demo.checks import Checks
from service.demo.people import Person, Platform
from service.demo.samples import Sample, Wish, choose, judged, reach_of
from service.demo.servers import Servers
from service.demo.stage import Stage
from service.packs.cases import FIXTURES, Way, read_cases
from service.packs.loading import load
from service.packs.model import Pack
from service.settings import DEFAULT_CANONICAL_BASE

PACK = "gavleborg"


def gather(servers: Servers, checks: Checks, today: date) -> Stage:
    """The stage with a sample for every part; a part without a case is a failed check."""
    pack = load(PACK)
    cases, problems = read_cases(FIXTURES)
    samples, missing = choose(_wishes(pack), [case for case in cases if case.pack == PACK])
    checks.that(not problems and not missing, "Provremisserna finns", [*map(str, problems), *missing])
    units = {s.unit for s in samples.values() if not s.case.expected.refused and reach_of(s, pack) is Reach.PLATFORM}
    return Stage(
        servers=servers,
        checks=checks,
        pack=pack,
        canonical=Canonical(DEFAULT_CANONICAL_BASE),
        today=today,
        samples=samples,
        titles={wish.name: wish.title for wish in _wishes(pack)},
        platform=Platform(Person(servers.url, "platform"), tuple(sorted(units))),
    )


def _wishes(pack: Pack) -> tuple[Wish, ...]:
    eligible, review = judged(Verdict.ELIGIBLE), judged(Verdict.REVIEW)

    def polled(fits: Callable[[Sample], bool]) -> Callable[[Sample], bool]:
        return lambda sample: fits(sample) and reach_of(sample, pack) is Reach.PLATFORM

    def relayed(sample: Sample) -> bool:
        return reach_of(sample, pack) is not Reach.PLATFORM

    def rules(*names: str) -> Callable[[Sample], bool]:
        return lambda sample: {rule for rule, _ in sample.case.expected.findings or ()} == set(names)

    def of(programme: str, fits: Callable[[Sample], bool]) -> Callable[[Sample], bool]:
        return lambda sample: sample.programme == programme and fits(sample)

    def typed_in(channel: str) -> Callable[[Sample], bool]:
        return lambda s: s.channel == channel and relayed(s) and s.case.expected.team is not None and not s.case.before

    return (
        Wish(
            "whole",
            "Depression, hela vägen till slutsvar",
            polled(of("depression", eligible)),
            ("depression-all-well",),
        ),
        Wish(
            "elsewhere",
            "Ångest, patienten har redan en remiss från en annan enhet",
            lambda s: s.case.open_referral == "other" and "depression-all-well" in s.case.before,
            ("open-referral-of-another-unit",),
        ),
        Wish(
            "incomplete",
            "Depression utan MADRS-S, kompletteras",
            polled(lambda s: judged(Verdict.INFORMATION)(s) and rules("madrs-s-required")(s)),
            ("depression-without-madrs-s",),
        ),
        Wish(
            "returned",
            "Depression, MADRS-S över 26, återsänds",
            polled(lambda s: judged(Verdict.RETURN)(s) and rules("madrs-s-maximum")(s)),
            ("madrs-s-27",),
        ),
        Wish(
            "overridden",
            "Sömn, återsänd men tas in ändå",
            polled(lambda s: of("sleep", judged(Verdict.RETURN))(s) and not s.case.expected.alert),
            ("sleep-apnoea-answered",),
        ),
        Wish(
            "alerting",
            "Ångest, MADRS-S fråga 9 larmar",
            polled(lambda s: review(s) and bool(s.case.expected.alert)),
            ("madrs-s-item-9-four",),
        ),
        Wish(
            "unrouted",
            "Sömn, ingen vet vilket team",
            polled(lambda s: review(s) and s.case.expected.route == "needs-routing"),
            ("nobody-knows-the-team",),
        ),
        Wish(
            "withdrawn",
            "Stress, återtas efter start",
            polled(lambda s: of("stress", eligible)(s) and s.case.way is Way.BUNDLE),
            ("stress-early",),
        ),
        Wish(
            "held",
            "Oro, behandlaren frågar och får svar",
            polled(lambda s: of("worry", eligible)(s) and s.case.way is Way.SINGLE),
            ("child-and-family-health",),
        ),
        Wish(
            "handed-over",
            "Självkänsla, ett annat team tar över",
            polled(of("self-esteem", eligible)),
            ("self-esteem-relapse-prevention",),
        ),
        Wish(
            "booked",
            "Depression, remittenten har bokat startsamtalet",
            lambda s: eligible(s) and s.case.expected.start == "booked",
            ("start-call-booked",),
        ),
        Wish(
            "message",
            "Meddelande ur journalsystemet, enhet utan plattform",
            lambda s: typed_in("record-message")(s) and eligible(s),
            ("message-from-the-record-system",),
        ),
        Wish("letter", "Brev i slutet kuvert", typed_in("paper-letter"), ("letter-in-sealed-envelope",)),
        Wish(
            "call",
            "Telefonsamtal med tecken på suicidrisk",
            lambda s: typed_in("phone")(s) and bool(s.case.expected.alert),
            ("phone-call-with-signs-of-risk",),
        ),
        Wish(
            "refused",
            "En remiss som inte går att läsa",
            lambda s: s.case.expected.status == 422 and len(s.case.expected.issues or ()) > 1,
            ("refused-many-problems-at-once",),
        ),
    )
