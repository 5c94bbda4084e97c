"""How answers look: stored resources, receipts of referrals, search sets and histories."""

from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlencode

from flask import Response, request

from fhir_mappings.issues import Issue, IssueCode, Severity, to_operation_outcome
from fhir_mappings.records import Json, Verdict
from fhir_mappings.strict_json import dump, dump_text
from service.referral.journey.judgement import SEVERITY
from service.referral.journey.receive import Receipt
from service.store.histories import HistoryPage, HistoryQuery
from service.store.records import Stored
from service.web.pretty import indented
from service.web.requests_in import WRITING, base_url, house, prefers, sight

FHIR = "application/fhir+json; charset=utf-8"


class Answer(Response):
    """A FHIR answer that knows what it is about, for the Bundle that it may become an entry of."""

    stored: Stored | None = None
    receipt: Receipt | None = None
    shown: tuple[Stored, ...] = ()
    """For the record: what of the store is in it, where that is more than `stored`."""


def shown_in(response: Response) -> tuple[Stored, ...]:
    """What of the store an answer shows or is about."""
    if not isinstance(response, Answer):
        return ()
    return response.shown or ((response.stored,) if response.stored else ())


def fhir(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A FHIR JSON answer from serialised text; in lines where `_pretty` asks for them."""
    if request.args.get("_pretty") == "true":
        body = indented(body)
    return Answer(body, status, headers, content_type=FHIR)


def resource(stored: Stored, status: int = 200, body: str | None = None) -> Answer:
    """A stored resource as `Prefer` wants it, with ETag, Last-Modified and, where it was made, Location. `body`: the
    part of it that was asked for.
    """
    stored = sight().shown(stored)
    headers = version_headers(stored)
    if status == 201:
        headers["Location"] = location(stored)
    text = stored.body if body is None else body
    match prefers() if request.method in WRITING else "representation":
        case "minimal":
            text = ""
        case "OperationOutcome":
            text = dump(to_operation_outcome([]))
    answer = fhir(text, status, headers)
    answer.stored = stored
    return answer


def unchanged(stored: Stored) -> Answer:
    """304: the client has this version already."""
    answer = Answer(status=304, headers=version_headers(stored))
    answer.stored = stored
    return answer


def version_headers(stored: Stored) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {"ETag": f'W/"{stored.version}"', "Last-Modified": http_date(stored.last_updated)}


def http_date(moment: datetime) -> str:
    """A moment as RFC 9110 writes dates, to the second."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def location(stored: Stored) -> str:
    """`[base]/Type/id/_history/v`"""
    return f"{base_url()}/{stored.type}/{stored.id}/_history/{stored.version}"


def receipt(given: Receipt, status: int) -> Answer:
    """What became of a single ServiceRequest: 201, or 200 for one that was here; always with the verdict's headers."""
    stored = given.service_request
    headers = {**version_headers(stored), **verdict_headers(given), "Location": location(stored)}
    text = stored.body
    match prefers():
        case "minimal":
            text = ""
        case "OperationOutcome":
            text = dump(receipt_outcome(given))
    answer = fhir(text, status, headers)
    answer.stored, answer.receipt = stored, given
    return answer


def verdict_headers(given: Receipt) -> dict[str, str]:
    """`Sluss-Verdict`, and `Sluss-Alert` where there are signs of suicide risk."""
    headers = {"Sluss-Verdict": str(given.assessment.verdict)}
    if given.assessment.alert:
        headers["Sluss-Alert"] = "suicide-risk"
    return headers


def receipt_outcome(given: Receipt) -> Json:
    """Verdict, team and findings as an OperationOutcome; nothing in it is an error."""
    return to_operation_outcome(receipt_issues(given), house().canonical.rule)


def receipt_issues(given: Receipt) -> list[Issue]:
    """The verdict first (an alert before it), then one issue per finding, then what did not count as evidence."""
    verdict = given.assessment.verdict
    issues = [
        Issue(
            Severity.INFORMATION,
            IssueCode.INFORMATIONAL,
            f"{_VERDICT_TEXT[verdict]} Team: {given.team.name}, {given.team.phone}.",
            f"verdict: {verdict}; team: {given.team.id}; task: Task/{given.task.id}",
        )
    ]
    if given.assessment.alert:
        issues.insert(
            0,
            Issue(
                Severity.WARNING,
                IssueCode.BUSINESS_RULE,
                "OBS! Tecken på suicidrisk i remissen. Teamet är varnat, men bedöm patientens säkerhet nu.",
                "alert: suicide-risk; a safety follow-up has been opened, but assess the patient's safety now",
            ),
        )
    issues += [
        Issue(
            SEVERITY[finding.verdict],
            IssueCode.BUSINESS_RULE,
            finding.text + (f" (”{finding.passage}”)" if finding.passage else ""),
            f"{finding.rule}: {finding.verdict}. {finding.text_en}",
            rule=finding.rule,
        )
        for finding in given.told
    ]
    return [*issues, *given.advice]


def entry_responses(given: Receipt, order_position: int, size: int) -> list[Json]:
    """An entry for each of a referral's in request order; the ServiceRequest's carries verdict and findings. Under
    `Prefer: return=representation` each has what is stored.
    """
    whole = prefers("minimal") == "representation"
    entries: list[Json] = [{"response": {"status": "200 OK"}} for _ in range(size)]
    new = not given.replayed and given.service_request.version == 1
    for position, stored, is_new in (*given.parts, (order_position, given.service_request, new)):
        if position is not None:
            entries[position] = {"response": entry_response(stored, "201 Created" if is_new else "200 OK")}
            if whole:
                entries[position] = {"resource": stored.content, **entries[position]}
    entries[order_position]["response"]["outcome"] = receipt_outcome(given)
    return entries


def entry_response(stored: Stored, status: str) -> Json:
    """`Bundle.entry.response` of what an entry has made, changed or read."""
    return {
        "status": status,
        "location": f"{stored.type}/{stored.id}/_history/{stored.version}",
        "etag": f'W/"{stored.version}"',
        "lastModified": stored.last_updated.isoformat(),
    }


def history(query: HistoryQuery, page: HistoryPage) -> Answer:
    """A history Bundle, newest first. https://hl7.org/fhir/R4/http.html#history"""
    entries = ",".join(_past(stored) for stored in page.versions)
    here = "/".join(part for part in (base_url(), query.type, query.id, "_history") if part)
    links = [{"relation": "self", "url": f"{here}?{urlencode(query.used)}" if query.used else here}]
    if page.next is not None:
        links.append({"relation": "next", "url": f"{here}?{urlencode([*query.used, ('_page', page.next)])}"})
    total = "" if page.total is None else f'"total":{page.total},'
    listed = f',"entry":[{entries}]' if entries else ""
    answer = fhir(f'{{"resourceType":"Bundle","type":"history",{total}"link":{dump(links)}{listed}}}')
    answer.shown = tuple(page.versions)
    return answer


def _past(stored: Stored) -> str:
    made = stored.version == 1
    asked = {"method": "POST" if made else "PUT", "url": stored.type if made else stored.reference}
    return (
        f'{{"fullUrl":{dump_text(f"{base_url()}/{stored.reference}")},"resource":{stored.body},"request":{dump(asked)},'
        f'"response":{dump(entry_response(stored, "201 Created" if made else "200 OK"))}}}'
    )


_VERDICT_TEXT = {
    Verdict.ADVICE: "Remissen är mottagen.",
    Verdict.ELIGIBLE: "Remissen är mottagen och uppfyller kraven.",
    Verdict.REVIEW: "Remissen är mottagen; behandlaren avgör.",
    Verdict.INFORMATION: "Remissen är mottagen men behöver kompletteras.",
    Verdict.RETURN: "Remissen är mottagen men återsänds.",
}
