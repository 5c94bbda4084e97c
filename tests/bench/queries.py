"""The searches that are measured: what therapists, platforms, referrers and an overview ask most."""

from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

import psycopg

from tests.bench import lives
from tests.bench.asking import Asked, Server
from tests.journeys.referrals import HSA

NEW_MESSAGES = 10
"""How many messages a reply poll finds."""
SAMPLES = 20
"""Of how many referrals, spread over the years, patient and number are asked for in turn."""
PAGE = 50
"""Said in each search, as servers differ in what they show unasked."""
WIDE = 200
"""Room for what is included too: HAPI counts it."""
STEP = 1000
"""The pages by which one comes to the middle of a long result."""
_UNIT = lives.TEAMS["gavle"]


@dataclass(frozen=True)
class _Sample:
    """A referral that has ended."""

    team: str
    organisation: str
    patient: str
    placer: str


def six(url: str, server: Server, *, is_hapi: bool = False) -> dict[str, tuple[Asked, ...]]:
    """Name → what is asked in turn, with as many results in every store. `url`: the database of the store, or of one
    with the same resources under the same ids.
    """
    samples = _samples(url)
    # HAPI does not know `:identifier`, so it is asked for the organisation itself.
    recipients = {
        unit: f"recipient={_organisation(url, unit)}" if is_hapi else f"recipient:identifier={quote(f'{HSA}|{unit}')}"
        for unit in lives.TEAMS.values()
    }
    return {
        "work list": tuple(
            Asked(
                f"/fhir/Task?owner=HealthcareService/{team},PractitionerRole/{team}-internet-therapist-1"
                "&status=requested,received,accepted,in-progress,on-hold&_sort=-_lastUpdated"
                f"&_include=Task:focus&_include=Task:patient&_count={WIDE}",
                f"therapist {team}",
            )
            for team in lives.TEAMS
        ),
        "reply poll": tuple(_poll(recipient, server) for recipient in recipients.values()),
        "patient history": tuple(
            Asked(
                f"/fhir/ServiceRequest?patient=Patient/{one.patient}&_sort=-authored&_include=ServiceRequest:patient"
                f"&_count={PAGE}",
                f"therapist {one.team}",
            )
            for one in samples
        ),
        "identifier": tuple(
            Asked(f"/fhir/ServiceRequest?identifier={quote(one.placer)}", f"referrer {one.organisation}")
            for one in samples
        ),
        "a page deep in the result": (_half_way(url, recipients[_UNIT], server),),
        "Observation by value": (
            Asked(f"/fhir/Observation?value-quantity=ge{lives.GRAVE}&_count={PAGE}", "administrator"),
        ),
    }


def _poll(recipient: str, server: Server) -> Asked:
    """The platform's, for what came after the message before the last NEW_MESSAGES."""
    messages, who = f"/fhir/Communication?{recipient}&status=completed", "platform"
    latest = server.bundle(Asked(f"{messages}&_sort=-_lastUpdated&_count={NEW_MESSAGES + 1}", who))
    seen = latest["entry"][NEW_MESSAGES]["resource"]["meta"]["lastUpdated"]
    return Asked(f"{messages}&_lastUpdated=gt{quote(seen)}&_sort=_lastUpdated&_count=200", who)


def _organisation(url: str, unit: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT reference FROM natural_key WHERE kind = 'Organization' AND key = %s", (unit,)
        ).fetchone()
    assert row is not None
    return str(row[0])


def _samples(url: str) -> list[_Sample]:
    """Of families, whose ids begin with the time: one after each of some instants."""
    found = []
    with psycopg.connect(url) as connection:
        ends = "SELECT min(id), max(id) FROM referral WHERE state <> 'requested'"
        first, last = (int(id_.replace("-", "")[:12], 16) for id_ in connection.execute(ends).fetchone() or ())
        for number in range(SAMPLES):
            digits = f"{first + (last - first) * number // SAMPLES:012x}"
            row = connection.execute(
                "SELECT team, organisation, patient, placer_system || '|' || placer_value FROM referral"
                " WHERE id >= %s ORDER BY id LIMIT 1",
                (f"{digits[:8]}-{digits[8:]}",),
            ).fetchone()
            assert row is not None
            found.append(_Sample(*row))
    return found


def _half_way(url: str, recipient: str, server: Server) -> Asked:
    """The page in the middle of all messages that a unit has had, as a client comes there: link by link."""
    with psycopg.connect(url) as connection:
        (total,) = connection.execute(
            "SELECT count(*) FROM search_value WHERE type = 'Communication' AND param = 'recipient:identifier'"
            " AND value = %s",
            (f"{HSA}|{_UNIT}",),
        ).fetchone() or (0,)
    step = STEP if total > 10 * STEP else PAGE
    path = f"/fhir/Communication?{recipient}&_sort=-_lastUpdated&_count={step}"
    page = Asked(path, "platform", fresh=False)
    for _ in range(total // step // 2):
        links = server.bundle(page)["link"]
        following = urlsplit(next(link["url"] for link in links if link["relation"] == "next"))
        page = replace(page, path=f"{following.path}?{following.query}")
    return replace(page, path=page.path.replace(f"_count={step}", f"_count={PAGE}"))
