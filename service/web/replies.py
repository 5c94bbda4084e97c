"""How answers look: stored resources, receipts of referrals, search sets and histories."""

from collections.abc import Sequence
from datetime import UTC
from email.utils import format_datetime

from flask import Response, request

from fhir_mappings.bundle import transaction_response
from fhir_mappings.issues import Issue, IssueCode, Severity, to_operation_outcome
from fhir_mappings.records import Json, Verdict
from fhir_mappings.strict_json import dump
from service.referral.journey.judgement import SEVERITY
from service.referral.journey.receive import Receipt
from service.store.records import Stored
from service.web.requests_in import base_url, house, prefers

FHIR = "application/fhir+json; charset=utf-8"


def fhir(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A FHIR JSON answer from serialised text."""
    return Response(body, status, headers, content_type=FHIR)


def resource(stored: Stored, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A stored resource as `Prefer` wants it, with ETag, Last-Modified and, where it was written, Location."""
    told = {**version_headers(stored), **(headers or {})}
    if status == 201:
        told["Location"] = location(stored)
    match prefers() if request.method in ("POST", "PUT") else "representation":
        case "minimal":
            return fhir("", status, told)
        case "OperationOutcome":
            return fhir(dump(to_operation_outcome([])), status, told)
    return fhir(stored.body, status, told)


def version_headers(stored: Stored) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {"ETag": f'W/"{stored.version}"', "Last-Modified": http_date(stored)}


def http_date(stored: Stored) -> str:
    """RFC 9110 date of the last change."""
    return format_datetime(stored.last_updated.astimezone(UTC), usegmt=True)


def location(stored: Stored) -> str:
    """`[base]/Type/id/_history/v`"""
    return f"{base_url()}/{stored.type}/{stored.id}/_history/{stored.version}"


def receipt(given: Receipt) -> Response:
    """What became of a single ServiceRequest: 201, or 200 for one that was here; always with the verdict's headers."""
    stored = given.service_request
    status = 200 if given.replayed or request.method == "PUT" else 201
    headers = {**version_headers(stored), **verdict_headers(given), "Location": location(stored)}
    match prefers():
        case "minimal":
            return fhir("", status, headers)
        case "OperationOutcome":
            return fhir(dump(receipt_outcome(given)), status, headers)
    return fhir(stored.body, status, headers)


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


def transaction(given: Receipt, order_position: int, size: int) -> Response:
    """The transaction-response: an entry each in request order; the ServiceRequest's carries verdict and findings."""
    responses: list[Json] = [{"response": {"status": "200 OK"}} for _ in range(size)]
    for position, stored, is_new in given.parts:
        if position is not None:
            responses[position] = {"response": _entry_response(stored, is_new)}
    new = not given.replayed and given.service_request.version == 1
    responses[order_position] = {
        "response": {**_entry_response(given.service_request, new), "outcome": receipt_outcome(given)}
    }
    return fhir(dump(transaction_response(responses)), 200, verdict_headers(given))


def _entry_response(stored: Stored, is_new: bool) -> Json:
    return {
        "status": "201 Created" if is_new else "200 OK",
        "location": f"{stored.type}/{stored.id}/_history/{stored.version}",
        "etag": f'W/"{stored.version}"',
        "lastModified": stored.last_updated.isoformat(),
    }


def history(type_: str, id_: str, versions: Sequence[Stored]) -> Response:
    """A history Bundle, newest first. https://hl7.org/fhir/R4/http.html#history"""
    entries = ",".join(
        '{"fullUrl":'
        + dump_text(f"{base_url()}/{type_}/{id_}")
        + ',"resource":'
        + stored.body
        + ',"request":'
        + dump(
            {
                "method": "POST" if stored.version == 1 else "PUT",
                "url": type_ if stored.version == 1 else f"{type_}/{id_}",
            }
        )
        + ',"response":'
        + dump(_entry_response(stored, stored.version == 1))
        + "}"
        for stored in versions
    )
    self_url = dump_text(f"{base_url()}/{type_}/{id_}/_history")
    return fhir(
        f'{{"resourceType":"Bundle","type":"history","total":{len(versions)},'
        f'"link":[{{"relation":"self","url":{self_url}}}],"entry":[{entries}]}}'
    )


def dump_text(text: str) -> str:
    """A JSON string literal."""
    return dump({"": text})[4:-1]


_VERDICT_TEXT = {
    Verdict.ADVICE: "Remissen är mottagen.",
    Verdict.ELIGIBLE: "Remissen är mottagen och uppfyller kraven.",
    Verdict.REVIEW: "Remissen är mottagen; behandlaren avgör.",
    Verdict.INFORMATION: "Remissen är mottagen men behöver kompletteras.",
    Verdict.RETURN: "Remissen är mottagen men återsänds.",
}
