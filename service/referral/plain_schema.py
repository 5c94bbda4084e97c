"""The plain JSON of `POST /intake/referrals`, checked field by field by marshmallow (contract 3)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from fhir_mappings.diagnoses import normalise_icd10
from fhir_mappings.identity import parse_identity
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Channel, HsaId, IdentityKind, MadrsS, PatientIdentity
from fhir_mappings.referral_form import QUESTIONS, is_answer
from fhir_mappings.terminology import IDENTITY_SYSTEMS
from service.packs.model import Pack
from service.referral.plain import PlainReferral

_CHANNELS = [str(channel) for channel in Channel if channel is not Channel.FHIR]
_HSA_ID = r"^[A-Za-z]{2}[0-9]{10}-[0-9A-Za-z]{1,18}\Z"
_TEXT = validate.Length(min=1, max=4000)
_LINE = validate.Length(min=1, max=200)
_MUNICIPALITY = validate.Regexp(r"^[0-9]{4}\Z", error="takes the four digits of a municipality code")
_FOUR_DIGITS = {"pattern": "^[0-9]{4}$"}


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class _Referrer(_Strict):
    unit = fields.String(
        required=True,
        validate=validate.Regexp(_HSA_ID, error="takes an HSA-id"),
        metadata={"pattern": _HSA_ID.replace(r"\Z", "$"), "description": "HSA-id of the referring unit."},
    )
    name = fields.String(validate=_LINE)
    municipality = fields.String(validate=_MUNICIPALITY, metadata=_FOUR_DIGITS)
    reference = fields.String(
        validate=_LINE, metadata={"description": "The referrer's own number; required of a record-message."}
    )


class _Patient(_Strict):
    identifier = fields.String(
        required=True,
        metadata={"description": "Personnummer, samordningsnummer or reservnummer of 12 characters, a hyphen allowed."},
    )
    name = fields.String(validate=_LINE)
    phone = fields.String(validate=_LINE)
    municipality = fields.String(validate=_MUNICIPALITY, metadata=_FOUR_DIGITS)


class _Whole(fields.Integer):
    """A number without a fraction, however it is written: 48.0 is 48, as for JSON Schema, which the description of this
    endpoint is written in.
    """

    def _validated(self, value: Any) -> Any:
        is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
        return super()._validated(int(value) if is_whole else value)


class _MadrsS(_Strict):
    date = fields.Date()
    items = fields.List(_Whole(strict=True, validate=validate.Range(0, 6)), validate=validate.Length(equal=9))
    total = _Whole(strict=True, validate=validate.Range(0, 54))

    @validates_schema
    def _agrees(self, data: Mapping[str, Any], **_: object) -> None:
        items, total = data.get("items"), data.get("total")
        if items is None and total is None:
            raise ValidationError("takes items (nine of 0 to 6) or total (0 to 54)", "items")
        if items is not None and total is not None and sum(items) != total:
            raise ValidationError("is not the sum of the items", "total")


class ReferralSchema(_Strict):
    """The whole body. Unknown fields are refused, so that nothing that was meant is dropped."""

    channel = fields.String(required=True, validate=validate.OneOf(_CHANNELS))
    received = fields.Date(required=True)
    referrer = fields.Nested(_Referrer, required=True)
    patient = fields.Nested(_Patient, required=True)
    programme = fields.String(required=True)
    diagnoses = fields.List(fields.String(), validate=validate.Length(max=50))
    madrs_s = fields.Nested(_MadrsS)
    answers = fields.Dict(keys=fields.String())
    parallel_treatment = fields.String(validate=_TEXT)
    other = fields.String(validate=_TEXT)


def read_plain(body: Mapping[str, Any], pack: Pack, today: date) -> PlainReferral | list[Issue]:
    """The referral, or every field error as an Issue whose expression is the field's path (`madrs_s.items[3]`)."""
    try:
        data = ReferralSchema().load(body)
        issues: list[Issue] = []
    except ValidationError as problem:
        issues = list(_flattened(problem.messages_dict, ""))
        data = problem.valid_data if isinstance(problem.valid_data, dict) else {}
    identity, found = _identity(data.get("patient", {}).get("identifier"), today)
    issues += [*found, *_own_rules(data, pack, today)]
    if issues or identity is None:
        return issues
    return _referral(data, identity)


def _own_rules(data: Mapping[str, Any], pack: Pack, today: date) -> list[Issue]:
    issues = []
    received = data.get("received")
    if received is not None and received > today:
        issues.append(_wrong("received", "Datumet ligger i framtiden.", "is in the future"))
    answered = data.get("madrs_s", {}).get("date")
    if answered is not None and answered > today:
        issues.append(_wrong("madrs_s.date", "Datumet ligger i framtiden.", "is in the future"))
    programme = data.get("programme")
    if programme is not None and programme not in pack.programmes:
        offered = ", ".join(pack.programmes)
        issues.append(
            _wrong("programme", f"Programmet erbjuds inte. Det finns: {offered}.", f"takes one of: {offered}")
        )
    if data.get("channel") == Channel.RECORD_MESSAGE and "reference" not in data.get("referrer", {"reference": ""}):
        issues.append(
            _wrong(
                "referrer.reference",
                "Ett meddelande ur journalsystemet har ett eget nummer; ange det.",
                "is required for record-message",
                IssueCode.REQUIRED,
            )
        )
    for i, code in enumerate(data.get("diagnoses", ())):
        if normalise_icd10(code) is None:
            issues.append(_wrong(f"diagnoses[{i}]", "Ingen ICD-10-SE-kod.", "is not an ICD-10-SE code"))
    for link_id, value in data.get("answers", {}).items():
        if not is_answer(link_id, value):
            issues.append(_bad_answer(link_id))
    return issues


def _bad_answer(link_id: str) -> Issue:
    if link_id not in QUESTIONS:
        known = ", ".join(QUESTIONS)
        return _wrong(f"answers.{link_id}", "Frågan finns inte i formuläret.", f"unknown question; known: {known}")
    takes = ", ".join(QUESTIONS[link_id]) or "true, false"
    return _wrong(f"answers.{link_id}", f"Svaret ska vara något av: {takes}.", f"takes one of: {takes}")


def _identity(identifier: str | None, today: date) -> tuple[PatientIdentity | None, list[Issue]]:
    """The kind follows from the number itself: a day of 60 or more is a samordningsnummer, letters a reservnummer."""
    if identifier is None:
        return None, []
    value = identifier.replace("-", "") if len(identifier) == 13 else identifier
    kind = IdentityKind.PERSONNUMMER
    if not (value.isascii() and value.isdigit()):
        kind = IdentityKind.RESERVNUMMER
    elif len(value) == 12 and int(value[6:8]) >= 60:
        kind = IdentityKind.SAMORDNINGSNUMMER
    read = parse_identity(IDENTITY_SYSTEMS[kind], value, "patient.identifier", today)
    # here the identifier is one field, not an element with system and value
    wrong = [replace(issue, expression="patient.identifier") for issue in read] if isinstance(read, list) else []
    return (None, wrong) if isinstance(read, list) else (read, [])


def _referral(data: Mapping[str, Any], identity: PatientIdentity) -> PlainReferral:
    referrer, patient, rating = data["referrer"], data["patient"], data.get("madrs_s")
    return PlainReferral(
        channel=Channel(data["channel"]),
        received=data["received"].isoformat(),
        unit=HsaId(referrer["unit"].upper()),
        unit_name=referrer.get("name"),
        unit_municipality=referrer.get("municipality"),
        reference=referrer.get("reference"),
        identity=identity,
        patient_name=patient.get("name"),
        patient_phone=patient.get("phone"),
        patient_municipality=patient.get("municipality"),
        programme=data["programme"],
        diagnoses=tuple(code for written in data.get("diagnoses", ()) if (code := normalise_icd10(written))),
        madrs_s=_rating(rating) if rating else None,
        answers=data.get("answers", {}),
        parallel_treatment=data.get("parallel_treatment"),
        other=data.get("other"),
    )


def _rating(rating: Mapping[str, Any]) -> MadrsS:
    items = tuple(rating["items"]) if "items" in rating else None
    answered = rating["date"].isoformat() if "date" in rating else None
    return MadrsS(
        total=sum(items) if items else rating["total"],
        items=items,
        answered=answered,
        from_response=items is not None,
    )


def _flattened(messages: object, path: str) -> list[Issue]:
    """The nested messages as issues, one for each message."""
    if isinstance(messages, dict):
        return [issue for key, inner in messages.items() for issue in _flattened(inner, _joined(path, key))]
    if isinstance(messages, list):
        return [_field_error(path, str(message)) for message in messages]
    return [_field_error(path, str(messages))]


def _joined(path: str, key: object) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    if key == "_schema":
        return path
    return f"{path}.{key}" if path else str(key)


def _field_error(path: str, message: str) -> Issue:
    missing = message.startswith("Missing data")
    unknown = message == "Unknown field."
    code = IssueCode.REQUIRED if missing else IssueCode.STRUCTURE if unknown else IssueCode.VALUE
    text = "Fältet saknas." if missing else "Fältet finns inte." if unknown else "Fältets värde går inte att använda."
    return error(code, path or None, text, message)


def _wrong(field: str, text: str, diagnostics: str, code: IssueCode = IssueCode.VALUE) -> Issue:
    return error(code, field, text, diagnostics)
