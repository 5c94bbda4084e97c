"""`ServiceRequest/$assess`: what would become of a referral, without taking it in (contract 2, 4)."""

from flask import Blueprint, Response

from fhir_mappings.elements import children
from fhir_mappings.issues import IssueCode, error, is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import Assessment, Finding, Json, Route
from fhir_mappings.strict_json import dump
from service.packs.texts import phone
from service.referral.dry_run import dry_run
from service.referral.intake import Submission, Unreadable, read_submission
from service.referral.journey.receive import reading_for
from service.referral.lookup import usable_by
from service.referral.refusal import Kind, Refusal
from service.web import replies
from service.web.recording import concerns
from service.web.requests_in import Body, caller, house, read_resource

blueprint = Blueprint("operations", __name__, url_prefix="/fhir")


@blueprint.post("/ServiceRequest/$assess")
def assess_only() -> Response:
    """A Bundle, a ServiceRequest, or Parameters with `referral` in; Parameters out. Nothing is stored."""
    submission = _submission(read_resource("ServiceRequest", "Bundle", "Parameters"))
    concerns(submission.referral.patient.identity.key)
    assessment, route = dry_run(house(), caller(), submission)
    return replies.fhir(dump(_parameters(assessment, route)))


def _submission(body: Body) -> Submission:
    home = house()
    referral, issues = body.resource, list(body.issues)
    if referral["resourceType"] == "Parameters":
        named = [p for _, p in children(referral, "parameter") if p.get("name") == "referral"]
        inner = named[0].get("resource") if len(named) == 1 else None
        if not isinstance(inner, dict) or inner.get("resourceType") not in ("ServiceRequest", "Bundle"):
            missing = error(
                IssueCode.REQUIRED,
                "Parameters.parameter",
                "Ange remissen som parametern referral.",
                "exactly one parameter 'referral' with a ServiceRequest or Bundle is required",
            )
            raise Refusal(Kind.UNREADABLE, [*issues, missing])
        referral = inner
        issues = issues or validate(inner)
    read = read_submission(referral, reading_for(home), usable_by(home, caller()))
    against_r4 = [issue for issue in issues if is_error(issue)]
    if against_r4:
        raise Refusal(Kind.UNREADABLE, [*against_r4, *(read.issues if isinstance(read, Unreadable) else ())])
    if isinstance(read, Unreadable):
        raise Refusal(Kind.INVALID, read.issues)
    return read


def _parameters(assessment: Assessment, route: Route) -> Json:
    pack = house().pack
    team = pack.teams[route.team]
    parameters: list[Json] = [{"name": "verdict", "valueCode": str(assessment.verdict)}]
    if assessment.alert:
        parameters.append({"name": "alert", "valueCode": "suicide-risk"})
    parameters += [_finding(finding) for finding in assessment.findings]
    parameters.append(
        {
            "name": "route",
            "part": [
                {"name": "team", "valueReference": {"reference": f"HealthcareService/{team.id}", "display": team.name}},
                {"name": "rule", "valueCode": route.rule},
                {"name": "start", "valueCode": str(route.start)},
                {"name": "phone", "valueString": phone(team)},
            ],
        }
    )
    if pack.demo_link:
        parameters.append({"name": "demo-link", "valueUrl": pack.demo_link})
    if pack.patient_information:
        parameters.append({"name": "patient-information", "valueString": pack.patient_information})
    return {"resourceType": "Parameters", "parameter": parameters}


def _finding(finding: Finding) -> Json:
    parts: list[Json] = [
        {"name": "rule", "valueCoding": {"system": house().canonical.rule, "code": finding.rule}},
        {"name": "verdict", "valueCode": str(finding.verdict)},
        {"name": "alert", "valueBoolean": finding.alert},
        {"name": "text", "valueString": finding.text},
        {"name": "text-en", "valueString": finding.text_en},
    ]
    parts += [
        {"name": name, "valueString": value}
        for name, value in (("passage", finding.passage), ("row", finding.row))
        if value
    ]
    return {"name": "finding", "part": parts}
