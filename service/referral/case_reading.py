"""A case's input as a Referral, by the same reading as a request's."""

from dataclasses import replace
from datetime import datetime, time

from fhir_mappings import strict_json
from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.issues import is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import Referral
from fhir_mappings.terminology import Canonical
from service.packs.cases import Case, Way
from service.packs.model import Pack
from service.referral.intake import Reading, Unreadable, read_submission
from service.referral.plain import to_bundle
from service.referral.plain_schema import read_plain


def referral_of(case: Case, pack: Pack, canonical_base: str) -> Referral | None:
    """The referral of a case, or None where its input is refused. The day is the case's, at noon in Sweden."""
    body = strict_json.parse(case.body)
    if isinstance(body, list):
        return None
    canonical = Canonical(canonical_base)
    reading = Reading(canonical, pack, datetime.combine(case.today, time(12), SWEDEN), case.today)
    if case.way is Way.PLAIN:
        plain = read_plain(body, pack, case.today)
        if isinstance(plain, list):
            return None
        body = to_bundle(plain, plain.reference or "made", canonical)
        reading = replace(reading, channel=plain.channel)
    elif any(map(is_error, validate(body))):
        return None
    read = read_submission(body, reading, lambda _: None)
    return None if isinstance(read, Unreadable) else read.referral
