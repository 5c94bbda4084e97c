"""Our operations as OperationDefinitions. https://hl7.org/fhir/R4/operationdefinition.html"""

from collections.abc import Iterator

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.about import SOFTWARE_VERSION, headed

SDC_EXTRACT = "http://hl7.org/fhir/uv/sdc/OperationDefinition/QuestionnaireResponse-extract"

OPERATIONS = {"ServiceRequest": ("assess",), "QuestionnaireResponse": ("extract",)}
"""The operations of each type, all of them at the type itself; `id` of the OperationDefinition and its code are one."""

OF_ONE = {"QuestionnaireResponse": ("extract",)}
"""Those of each type that are also at each resource of it."""


def operation_definitions(canonical: Canonical) -> Iterator[Json]:
    """Every operation."""
    yield {
        **_headed(
            canonical,
            "assess",
            "Pröva en remiss",
            "What would become of a referral: verdict, findings and team. Nothing is stored, nothing is told of other"
            " units' referrals. A ServiceRequest or a transaction Bundle may also be the body itself.",
        ),
        "resource": ["ServiceRequest"],
        "parameter": [
            _parameter("referral", "in", "1..1", "Resource", "The ServiceRequest, or its transaction Bundle."),
            _parameter("verdict", "out", "1..1", "code", "eligible | review | information | return"),
            _parameter("alert", "out", "0..1", "code", "suicide-risk, where there are signs of it"),
            _parameter(
                "finding",
                "out",
                "0..*",
                None,
                "What a rule finds.",
                _parameter("rule", "out", "1..1", "Coding", "The rule."),
                _parameter("verdict", "out", "1..1", "code", "advice | review | information | return"),
                _parameter("alert", "out", "1..1", "boolean", "Whether the finding is a sign of suicide risk."),
                _parameter("text", "out", "1..1", "string", "In Swedish."),
                _parameter("text-en", "out", "1..1", "string", "In English."),
                _parameter("passage", "out", "0..1", "string", "The source's own words."),
                _parameter("row", "out", "0..1", "string", "Row of the source table."),
            ),
            _parameter(
                "route",
                "out",
                "1..1",
                None,
                "Who would get the referral.",
                _parameter("team", "out", "1..1", "Reference", "The HealthcareService."),
                _parameter("rule", "out", "1..1", "code", "The routing rule."),
                _parameter("start", "out", "1..1", "code", "How the treatment starts."),
                _parameter("phone", "out", "1..1", "string", "The team's telephone."),
            ),
            _parameter("demo-link", "out", "0..1", "url", "Where the patient can see what the treatment is like."),
            _parameter("patient-information", "out", "0..1", "string", "The written information for patients."),
        ],
    }
    yield {
        **_headed(
            canonical,
            "extract",
            "Skapa Observationer av ett formulärsvar",
            "A completed response to MADRS-S or to the referral form as Observations, in a transaction Bundle. Nothing"
            " is stored. The QuestionnaireResponse may also be the body itself; the Bundle is the answer itself where"
            " there is nothing to say of it. At a stored one's own address nothing need be sent.",
        ),
        "instance": True,
        "base": SDC_EXTRACT,
        "resource": ["QuestionnaireResponse"],
        "parameter": [
            _parameter(
                "questionnaire-response",
                "in",
                "0..1",
                "QuestionnaireResponse",
                "The completed response: required at the type, not allowed at a stored one's own address.",
            ),
            _parameter("return", "out", "0..1", "Bundle", "The Observations; absent where nothing was answered."),
            _parameter("issues", "out", "0..1", "OperationOutcome", "Why there is nothing to extract."),
        ],
    }


def _headed(canonical: Canonical, code: str, title: str, description: str) -> Json:
    return {
        **headed("OperationDefinition", code, canonical.base, SOFTWARE_VERSION, title=title, description=description),
        "kind": "operation",
        "affectsState": False,
        "code": code,
        "system": False,
        "type": True,
        "instance": False,
    }


def _parameter(name: str, use: str, cardinality: str, type_: str | None, told: str, *parts: Json) -> Json:
    least, _, most = cardinality.partition("..")
    parameter: Json = {"name": name, "use": use, "min": int(least), "max": most, "documentation": told}
    if type_:
        parameter["type"] = type_
    if parts:
        parameter["part"] = list(parts)
    return parameter
