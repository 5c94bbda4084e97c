"""The integration platform's work, with HAPI's client: it polls for replies, page by page, and misses none."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.clients.conftest import Acting, Plainly
from tests.clients.foreign import Foreign
from tests.journeys.referrals import HSA, OTHER_UNIT, alone

pytestmark = pytest.mark.clients

REFERRALS = 40
"""At least so many, and until there were so many polls."""
POLLS = 3
WRITERS = 3
SUBJECT = {
    "type": "Patient",
    "identifier": {"system": "http://electronichealth.se/identifier/samordningsnummer", "value": "196109732393"},
}
"""Nobody that another test refers: these referrals stay open."""


def test_the_platform_sees_every_reply_in_order_while_others_write(acting: Acting, plain: Plainly) -> None:
    platform = acting("hapi", "platform")
    assert isinstance(platform, Foreign)
    platform.capabilities()  # it has started
    numbers, polls = count(), 0
    sent: list[int] = []
    seen: list[str] = []

    def refer() -> None:
        referrer = plain(f"referrer {OTHER_UNIT}")
        while (number := next(numbers)) < REFERRALS or polls < POLLS:
            order = alone(f"P-{number}", unit=OTHER_UNIT, subject=SUBJECT, contained=None, supportingInfo=None)
            answer = referrer.post("/fhir/ServiceRequest", order)
            assert answer.status_code == 201, answer.text
            sent.append(number)

    with ThreadPoolExecutor(WRITERS) as writers:
        writing = [writers.submit(refer) for _ in range(WRITERS)]
        try:
            while not all(each.done() for each in writing):
                seen += platform.ask("poll", system=HSA, unit=OTHER_UNIT, count=5)
                polls += 1
        finally:
            polls = POLLS
    for each in writing:
        each.result()
    seen += platform.ask("poll", system=HSA, unit=OTHER_UNIT, count=3)

    to_the_unit = {"recipient:identifier": f"{HSA}|{OTHER_UNIT}", "_sort": "_lastUpdated"}
    told = [f"Communication/{each['id']}" for each in acting("fhirpy", "platform").search("Communication", to_the_unit)]
    assert len(told) == len(sent)
    # HAPI cuts what it remembers to milliseconds, so it may see the newest again, and nothing else
    assert list(dict.fromkeys(seen)) == told

    from_the_beginning = acting("hapi", "administrator")
    assert isinstance(from_the_beginning, Foreign)
    assert from_the_beginning.ask("poll", system=HSA, unit=OTHER_UNIT, count=3) == told
