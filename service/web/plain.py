"""`POST /intake/referrals`: a message copied from the record system, a letter or a call, typed in as plain JSON."""

from flask import Blueprint, Response

from fhir_mappings.strict_json import dump
from service.referral.intake import Unreadable, read_submission
from service.referral.journey.receive import Receipt, authorise, reading_for, receive
from service.referral.lookup import usable_by
from service.referral.plain import to_bundle
from service.referral.plain_schema import read_plain
from service.referral.refusal import Kind, Refusal
from service.web import replies
from service.web.measuring import count_received
from service.web.requests_in import caller, house, read_json

blueprint = Blueprint("intake", __name__, url_prefix="/intake")


@blueprint.post("/referrals")
def take_in() -> Response:
    """The very same way through the house as a Bundle."""
    home = house()
    plain = read_plain(read_json(), home.pack, home.today())
    if isinstance(plain, list):
        raise Refusal(Kind.INVALID, plain)
    reference = plain.reference or f"SLUSS-{home.new_id()}"
    bundle = to_bundle(plain, reference, home.canonical)
    reading = reading_for(home, channel=plain.channel)
    read = read_submission(bundle, reading, usable_by(home, caller()), made_reference=plain.reference is None)
    if isinstance(read, Unreadable):
        if read.unit:
            authorise(caller(), read.unit)
        raise Refusal(Kind.INVALID, read.issues)
    given = receive(home, caller(), read)
    status = 200 if given.replayed else 201
    if not given.replayed:
        count_received(str(given.assessment.verdict))
    headers = {**replies.verdict_headers(given), "Location": replies.location(given.service_request)}
    answer = replies.Answer(dump(_account(given)), status, headers, content_type="application/json")
    answer.stored = given.service_request
    return answer


def _account(given: Receipt) -> dict[str, object]:
    """What became of it, in the words of contract 3."""
    return {
        "service_request": given.service_request.reference,
        "task": given.task.reference,
        "verdict": str(given.assessment.verdict),
        "team": given.team.id,
        "findings": [
            {
                "rule": finding.rule,
                "verdict": str(finding.verdict),
                "text": finding.text,
                **({"passage": finding.passage} if finding.passage else {}),
            }
            for finding in given.told
        ],
        "alert": "suicide-risk" if given.assessment.alert else None,
    }
