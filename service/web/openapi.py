"""`GET /openapi.json`: the plain JSON endpoints for whoever makes a client of them; what is FHIR is in `metadata`.

Made from the very schemas that read the requests, so that it cannot say anything else. What JSON Schema cannot say
(check digits, dates to come, codes of ICD-10-SE) is told in words, and by a 422.
"""

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Response, current_app

from fhir_mappings.records import Json, Verdict
from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.strict_json import dump
from service.definitions.about import SOFTWARE_VERSION
from service.packs.model import Pack
from service.referral.plain_schema import ReferralSchema
from service.web.requests_in import house

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def description() -> Response:
    """The description, for the pack that runs."""
    secured = current_app.config["AUTH"] != "off"
    return Response(dump(openapi(house().pack, secured=secured)), content_type="application/json")


def openapi(pack: Pack, *, secured: bool = True) -> Json:
    """The plain endpoints as OpenAPI 3.1. https://spec.openapis.org/oas/v3.1.0. `secured`: with a token only; else a
    header says for whom a request acts.
    """
    spec = APISpec(
        title="Sluss: plain JSON",
        version=SOFTWARE_VERSION,
        openapi_version="3.1.0",
        plugins=[
            MarshmallowPlugin(
                schema_name_resolver=lambda schema: type(schema).__name__.strip("_").removesuffix("Schema")
            )
        ],
        info={"description": "Referrals as plain JSON, and how the service is. FHIR is described by /fhir/metadata."},
    )
    spec.components.schema("Referral", schema=ReferralSchema)
    spec.components.schema("Receipt", _RECEIPT)
    spec.components.schema("Problem", _PROBLEM)
    if secured:
        spec.components.security_scheme("token", _TOKEN)
    intake = {**_INTAKE, **({"security": _WITH_TOKEN} if secured else {"parameters": [_CALLER]})}
    spec.path("/intake/referrals", operations={"post": intake})
    spec.path("/health/live", operations={"get": _health("live", "The process answers.", ("200",))})
    ready = "200 when referrals can be taken in; `degraded` names what else does not work."
    health = _health("ready", ready, ("200", "503"))
    if secured:
        health |= {"security": _WITH_TOKEN}
        for status, why in (("401", _UNKNOWN), ("403", "The token is no administrator's.")):
            outcome = {"application/fhir+json": {"schema": {"type": "object"}}}
            health["responses"] |= {status: {"description": why, "content": outcome}}
    spec.path("/health/ready", operations={"get": health})
    described: Json = spec.to_dict()
    _as_the_pack_offers(described["components"]["schemas"], pack)
    return described


def _as_the_pack_offers(schemas: dict[str, Any], pack: Pack) -> None:
    """What the schemas leave to others: the programmes of the pack, the questions of the form, that a rating says
    something, and what the JSON reader refuses.
    """
    fields = schemas["Referral"]["properties"]
    fields["programme"] = {"type": "string", "enum": list(pack.programmes)}
    fields["answers"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            link_id: {"type": "string", "enum": list(codes)} if codes else {"type": "boolean"}
            for link_id, codes in QUESTIONS.items()
        },
    }
    schemas["MadrsS"]["anyOf"] = [{"required": ["items"]}, {"required": ["total"]}]
    for name in ("Referral", "Referrer", "Patient"):
        for field in schemas[name]["properties"].values():
            text = field.get("items", field)
            if text.get("type") == "string" and not text.keys() & {"enum", "pattern", "format"}:
                text["pattern"] = r"^[^\x00]*$"  # no JSON that is read here holds U+0000


def _answer(description: str, schema: str, media: str = "application/problem+json") -> Json:
    return {
        "description": description,
        "content": {media: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _health(name: str, description: str, statuses: tuple[str, ...]) -> Json:
    state = {"type": "object", "required": ["status"], "additionalProperties": {"type": "string"}}
    content = {"application/json": {"schema": state}}
    return {
        "operationId": name,
        "summary": description,
        "responses": {status: {"description": description, "content": content} for status in statuses},
    }


_RECEIPT: Json = {
    "type": "object",
    "required": ["service_request", "task", "verdict", "team", "findings", "alert"],
    "additionalProperties": False,
    "properties": {
        "service_request": {"type": "string", "pattern": "^ServiceRequest/"},
        "task": {"type": "string", "pattern": "^Task/"},
        "verdict": {"type": "string", "enum": [str(v) for v in Verdict if v is not Verdict.ADVICE]},
        "team": {"type": "string"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rule", "verdict", "text"],
                "additionalProperties": False,
                "properties": {
                    "rule": {"type": "string"},
                    "verdict": {"type": "string", "enum": [str(v) for v in Verdict]},
                    "text": {"type": "string"},
                    "passage": {"type": "string"},
                },
            },
        },
        "alert": {"type": ["string", "null"], "enum": ["suicide-risk", None]},
    },
}

_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457; one member of `errors` per problem, Swedish for people, English for integrators.",
    "required": ["type", "title", "status", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["code", "text", "detail"],
                "additionalProperties": False,
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "text": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_UNKNOWN = "There is no token, or it is not good any more."
_TOKEN: Json = {"type": "http", "scheme": "bearer", "description": "From /auth/token: SMART Backend Services."}
_WITH_TOKEN: list[Json] = [{"token": []}]

_CALLER: Json = {
    "name": "Sluss-Caller",
    "in": "header",
    "description": "Whom the request acts for, without login.",
    "schema": {"type": "string", "enum": ["administrator", "referrer SE2321000198-EX01"]},
}

_LOCATION = {"Location": {"required": True, "schema": {"type": "string"}}}

_INTAKE: Json = {
    "operationId": "take-in",
    "summary": "A referral typed in: a message copied from the record system, a letter, a call.",
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Referral"}}},
    },
    "responses": {
        "200": {
            **_answer("It had come before with the same content.", "Receipt", "application/json"),
            "headers": _LOCATION,
        },
        "201": {**_answer("Taken in, assessed and routed.", "Receipt", "application/json"), "headers": _LOCATION},
        "400": _answer("It is no JSON that can be read.", "Problem"),
        "401": _answer(_UNKNOWN, "Problem"),
        "403": _answer("The caller may not refer for that unit.", "Problem"),
        "406": _answer("The answer is wanted in another format than JSON.", "Problem"),
        "409": _answer("The number is taken by other content.", "Problem"),
        "413": _answer("More than a megabyte.", "Problem"),
        "415": _answer("The body is not sent as JSON in UTF-8.", "Problem"),
        "422": _answer("Every field that is wrong.", "Problem"),
        "429": _answer("Too often; Retry-After says when again.", "Problem"),
        "503": _answer("The database cannot answer now.", "Problem"),
    },
}
