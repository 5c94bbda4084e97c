"""`QuestionnaireResponse/$extract`: a response to one of our forms as Observations, stored nowhere (contract 2).

https://hl7.org/fhir/uv/sdc/OperationDefinition-QuestionnaireResponse-extract.html
"""

from flask import Blueprint, Response, request

from fhir_mappings.elements import children, text
from fhir_mappings.extraction import to_fhir_observations
from fhir_mappings.issues import Issue, IssueCode, Severity, error, is_error, to_operation_outcome
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.packs.forms import bound_to
from service.referral.refusal import Kind, Refusal, not_found
from service.web import replies
from service.web.requests_in import house, read_resource, seen

blueprint = Blueprint("extraction", __name__, url_prefix="/fhir")


@blueprint.post("/QuestionnaireResponse/$extract")
def extract() -> Response:
    """A QuestionnaireResponse, or Parameters with `questionnaire-response`, in; a transaction Bundle out, or Parameters
    with `return` and `issues` where there is something to say.
    """
    return _extracted(_response())


@blueprint.route("/QuestionnaireResponse/<id_>/$extract", methods=["GET", "POST"])
def extract_of(id_: str) -> Response:
    """The same of one that is stored, for whoever may read it."""
    if request.method == "POST" and request.content_length:
        _check_nothing_named()
    stored = seen("r").get("QuestionnaireResponse", id_)
    if stored is None:
        raise not_found("QuestionnaireResponse", id_)
    answer = _extracted(stored.content)
    answer.shown = (stored,)
    return answer


def _extracted(response: Json) -> replies.Answer:
    home = house()
    observations, issues = to_fhir_observations(response, _form_of(response), home.canonical)
    if any(map(is_error, issues)):
        raise Refusal(Kind.INVALID, issues)
    if not observations and not issues:
        issues = [
            Issue(
                Severity.INFORMATION,
                IssueCode.INFORMATIONAL,
                "Ingenting är besvarat, så ingen Observation har skapats.",
                "nothing is answered, so there is nothing to extract",
            )
        ]
    entries = [
        {
            "fullUrl": f"urn:uuid:{home.new_id()}",
            "resource": observation,
            "request": {"method": "POST", "url": "Observation"},
        }
        for observation in observations
    ]
    bundle: Json = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    if not issues:
        return replies.fhir(dump(bundle))
    outcome = {"name": "issues", "resource": to_operation_outcome(issues, home.canonical.rule)}
    given = [{"name": "return", "resource": bundle}] if entries else []
    return replies.fhir(dump({"resourceType": "Parameters", "parameter": [*given, outcome]}))


def _check_nothing_named() -> None:
    """Raises Refusal for a body that R4 has something against, or that brings another response."""
    body = read_resource("Parameters")
    errors = [issue for issue in body.issues if is_error(issue)]
    if any(parameter.get("name") == "questionnaire-response" for _, parameter in children(body.resource, "parameter")):
        another = error(
            IssueCode.INVALID,
            "Parameters.parameter",
            "Formulärsvaret är det som står i adressen; skicka inget annat.",
            "the response is the one at this address; send another one to the type's $extract",
        )
        errors.append(another)
    if errors:
        raise Refusal(Kind.UNREADABLE, errors)


def _response() -> Json:
    """The QuestionnaireResponse in the body. Raises Refusal with everything that R4 has against it."""
    body = read_resource("QuestionnaireResponse", "Parameters")
    response, issues = body.resource, list(body.issues)
    if response["resourceType"] == "Parameters":
        named = [p for _, p in children(response, "parameter") if p.get("name") == "questionnaire-response"]
        inner = named[0].get("resource") if len(named) == 1 else None
        if not isinstance(inner, dict) or inner.get("resourceType") != "QuestionnaireResponse":
            missing = error(
                IssueCode.REQUIRED,
                "Parameters.parameter",
                "Ange formulärsvaret som parametern questionnaire-response.",
                "exactly one parameter 'questionnaire-response' with a QuestionnaireResponse is required",
            )
            raise Refusal(Kind.UNREADABLE, [*issues, missing])
        response = inner
        issues = issues or validate(inner)
    errors = [issue for issue in issues if is_error(issue)]
    if errors:
        raise Refusal(Kind.UNREADABLE, errors)
    return response


def _form_of(response: Json) -> Json:
    """The Questionnaire that is answered. Raises Refusal for one that is none of ours; none is fetched."""
    home = house()
    url = (text(response, "questionnaire") or "").split("|", 1)[0]
    forms = [bound_to(form, home.canonical.base) for form in home.pack.questionnaires.values()]
    found = [form for form in forms if form["url"] == url]
    if not found or url not in (home.canonical.madrs_s_form, home.canonical.referral_form):
        raise Refusal(
            Kind.INVALID,
            [
                error(
                    IssueCode.NOT_SUPPORTED,
                    "QuestionnaireResponse.questionnaire",
                    "Sluss kan bara göra Observationer av MADRS-S och remissformuläret.",
                    f"only {home.canonical.madrs_s_form} and {home.canonical.referral_form} can be extracted",
                )
            ],
        )
    return found[0]
