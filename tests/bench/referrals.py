"""Full referrals as an EHR sends them, as many different ones as a measurement needs. Synthetic.

A referral's Bundle is written once, with marks; `body` fills in the marks, which costs the load generator next to
nothing.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone

from fhir_mappings.records import Json
from tests.journeys import referrals as examples

UNITS = ("SE2321000198-EX01", "SE2321000198-EX06")
"""Units of Gävle that may book the start call, so that nothing in the Bundle is turned down."""

ROLES = 20
"""How many different referrers there are."""

_IDENTITY = "@IDENTITY@"
_PLACER = "@PLACER@"
_ROLE = "@ROLE@"

CONDITION = "urn:uuid:10000000-0000-4000-8000-000000000007"
APPOINTMENT = "urn:uuid:10000000-0000-4000-8000-000000000008"

_WINTER_TIME = timezone(timedelta(hours=1))


def template(
    unit: str,
    today: date,
    *,
    programme: str = "depression",
    books: bool = True,
    items: tuple[int, ...] = examples.MILD,
) -> bytes:
    """The Bundle of a referral in which the rules find nothing, with marks for what differs between referrals."""
    answered = datetime(today.year, today.month, today.day, 9, 0, tzinfo=_WINTER_TIME) - timedelta(days=3)
    subject = {"reference": examples.PATIENT}
    booked = ((APPOINTMENT, _appointment(answered)),) if books else ()
    bundle = examples.referral(
        _PLACER,
        programme,
        unit=unit,
        identity=_IDENTITY,
        items=items,
        extra=(
            (CONDITION, _condition(subject, answered)),
            *booked,
        ),
        authoredOn=(answered + timedelta(hours=2)).isoformat(),
        reasonReference=[{"reference": CONDITION}],
        note=[{"text": "Samtal var tredje vecka utan hemuppgifter. Nås bäst efter klockan 15."}],
    )
    for entry in bundle["entry"]:
        resource = entry["resource"]
        match resource["resourceType"]:
            case "QuestionnaireResponse":
                resource["authored"] = answered.isoformat()
            case "PractitionerRole":
                resource["identifier"] = [{"system": examples.HSA, "value": f"SE2321000198-EXR{_ROLE}"}]
            case "Patient":
                resource["telecom"] = [{"system": "phone", "value": "070-1740605", "use": "mobile"}]
                resource["address"] = [
                    {"line": ["Provgatan 1"], "postalCode": "800 00", "city": "Gävle", "country": "SE"}
                ]
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def body(filled: bytes, placer: str, identity: str, role: int) -> bytes:
    """The template as the Bundle of one referral."""
    return (
        filled.replace(_PLACER.encode(), placer.encode())
        .replace(_IDENTITY.encode(), identity.encode())
        .replace(_ROLE.encode(), str(role).encode())
    )


def identities(first_year: int = 1950, last_year: int = 2003, serials: Sequence[str] = ("238", "239")) -> Iterator[str]:
    """Personal identity numbers of adults with the serials 238 and 239 that many of the Swedish Tax Agency's test
    identities have, or with others: as many for each day.
    """
    day = date(first_year, 1, 1)
    while day.year <= last_year:
        for serial in serials:
            nine = f"{day:%y%m%d}{serial}"
            yield f"{day.year // 100}{nine}{_check_digit(nine)}"
        day += timedelta(days=1)


def _check_digit(nine: str) -> str:
    """Luhn's."""
    doubled = (int(digit) * (2 - position % 2) for position, digit in enumerate(nine))
    return str(-sum(product // 10 + product % 10 for product in doubled) % 10)


def _condition(subject: Json, answered: datetime) -> Json:
    return {
        "resourceType": "Condition",
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
        },
        "verificationStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]
        },
        "code": {
            "coding": [{"system": "https://www.icd10.se/", "code": "F32.1", "display": "Medelsvår depressiv episod"}]
        },
        "subject": subject,
        "recordedDate": answered.date().isoformat(),
    }


def _appointment(answered: datetime) -> Json:
    start = answered + timedelta(days=14)
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "description": "Startsamtal IKBT",
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "participant": [{"actor": {"reference": examples.PATIENT}, "status": "accepted"}],
    }
