"""R4's invariants of the datatypes and resources that Sluss handles, and of Bundle as Sluss receives it.

Each function yields what is broken in one object of its type: (where below it, the invariant's key, Swedish, English). They look
at objects whose members may still be of any JSON type, because all problems are told at once, so they never assume one.
Rules of severity warning ("best practice") are left out: con-3, dom-6, pdf-0, que-0. Texts: https://hl7.org/fhir/R4/<type>.html
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from fhir_mappings.r4.bindings import CONDITION_CLINICAL, CONDITION_VERIFICATION
from fhir_mappings.r4.primitives import certainly_before
from fhir_mappings.records import Json
from fhir_mappings.terminology import Systems

Broken = tuple[str, str, str, str]
"""Where (`.lastModified`, or nothing), the invariant's key, Swedish text, English diagnostics."""


def _objects(node: Json, name: str) -> list[tuple[int, Json]]:
    """The objects in a list member, with their positions."""
    value = node.get(name)
    return [(i, item) for i, item in enumerate(value) if isinstance(item, dict)] if isinstance(value, list) else []


def _object(node: Json, name: str) -> Json:
    value = node.get(name)
    return value if isinstance(value, dict) else {}


def _has(node: Json, name: str) -> bool:
    """True when the element is there, be it only as extensions of an absent value; `value` stands for any `value[x]`."""
    return name in node or f"_{name}" in node


def _has_choice(node: Json, name: str) -> bool:
    return any(key.lstrip("_").startswith(name) and key.lstrip("_")[len(name) : len(name) + 1].isupper() for key in node)


def _codings(concept: Any) -> set[tuple[Any, Any]]:
    if not isinstance(concept, dict):
        return set()
    codings = [coding for _, coding in _objects(concept, "coding")]
    return {
        (coding.get("system"), coding.get("code"))
        for coding in codings
        if isinstance(coding.get("system"), str) and isinstance(coding.get("code"), str)
    }


def _number(value: Any) -> Decimal | int | float | None:
    return value if isinstance(value, Decimal | int | float) and not isinstance(value, bool) else None


# ---------------------------------------------------------------- datatypes


def _extension(node: Json) -> Iterator[Broken]:
    if _has(node, "extension") == _has_choice(node, "value"):
        yield (
            "",
            "ext-1",
            "Ett tillägg ska ha antingen ett värde eller egna tillägg.",
            "An extension has either a value or extensions, not both and not neither.",
        )


def _attachment(node: Json) -> Iterator[Broken]:
    if _has(node, "data") and not _has(node, "contentType"):
        yield "", "att-1", "En bilaga med innehåll ska ange sin typ.", "Attachment.data needs a contentType."


def _contact_point(node: Json) -> Iterator[Broken]:
    if _has(node, "value") and not _has(node, "system"):
        yield "", "cpt-2", "En kontaktuppgift ska ange sitt slag.", "ContactPoint.value needs a system."


def _quantity(node: Json) -> Iterator[Broken]:
    if _has(node, "code") and not _has(node, "system"):
        yield "", "qty-3", "En enhetskod ska ha ett kodsystem.", "Quantity.code needs a system."


def _period(node: Json) -> Iterator[Broken]:
    if certainly_before(node.get("end"), node.get("start")):
        yield "", "per-1", "Perioden slutar innan den börjar.", "Period.end lies before Period.start."


def _range(node: Json) -> Iterator[Broken]:
    low, high = _object(node, "low"), _object(node, "high")
    least, most = _number(low.get("value")), _number(high.get("value"))
    if least is not None and most is not None and low.get("code") == high.get("code") and least > most:
        yield "", "rng-2", "Intervallets undre gräns är över den övre.", "Range.low is above Range.high."
    for name, end in (("low", low), ("high", high)):
        if _has(end, "comparator"):
            yield (
                f".{name}",
                "sqty-1",
                "En gräns får inte ha jämförelsetecken.",
                f"Range.{name} is a SimpleQuantity: no comparator.",
            )


def _ratio(node: Json) -> Iterator[Broken]:
    if _has(node, "numerator") != _has(node, "denominator") or not (_has(node, "numerator") or _has(node, "extension")):
        yield "", "rat-1", "En kvot ska ha både täljare och nämnare.", "Ratio needs numerator and denominator."


def _timing_repeat(node: Json) -> Iterator[Broken]:
    for name, unit, key in (("duration", "durationUnit", "tim-1"), ("period", "periodUnit", "tim-2")):
        if _has(node, name) and not _has(node, unit):
            yield "", key, "Tidsangivelsen saknar enhet.", f"Timing.repeat.{name} needs {unit}."
    for name, key in (("duration", "tim-4"), ("period", "tim-5")):
        number = _number(node.get(name))
        if number is not None and number < 0:
            yield f".{name}", key, "Tiden får inte vara negativ.", f"Timing.repeat.{name} must not be negative."
    for greater, base, key in (
        ("periodMax", "period", "tim-6"),
        ("durationMax", "duration", "tim-7"),
        ("countMax", "count", "tim-8"),
    ):
        if _has(node, greater) and not _has(node, base):
            yield "", key, "Tidsangivelsens övre gräns saknar undre.", f"Timing.repeat.{greater} needs {base}."
    meals = node.get("when")
    if _has(node, "offset") and (
        not _has(node, "when") or (isinstance(meals, list) and any(c in ("C", "CM", "CD", "CV") for c in meals))
    ):
        yield "", "tim-9", "Förskjutningen saknar händelse.", "Timing.repeat.offset needs a when that is not C, CM, CD or CV."
    if _has(node, "timeOfDay") and _has(node, "when"):
        yield "", "tim-10", "Ange klockslag eller händelse, inte båda.", "Timing.repeat: timeOfDay or when, not both."


def _expression(node: Json) -> Iterator[Broken]:
    if not (_has(node, "expression") or _has(node, "reference")):
        yield "", "exp-1", "Uttrycket är tomt.", "Expression needs an expression or a reference."


# ---------------------------------------------------------------- resources that are stored


def _task(node: Json) -> Iterator[Broken]:
    if certainly_before(node.get("lastModified"), node.get("authoredOn")):
        yield (
            ".lastModified",
            "inv-1",
            "Uppgiften är ändrad innan den skapades.",
            "Task.lastModified lies before Task.authoredOn.",
        )


def _service_request(node: Json) -> Iterator[Broken]:
    if _has(node, "orderDetail") and not _has(node, "code"):
        yield "", "prr-1", "Detaljer kräver en kod.", "ServiceRequest.orderDetail needs ServiceRequest.code."


def _observation(node: Json) -> Iterator[Broken]:
    valued = _has_choice(node, "value")
    if valued and _has(node, "dataAbsentReason"):
        yield (
            ".dataAbsentReason",
            "obs-6",
            "Ange ett värde eller varför det saknas, inte båda.",
            "Observation.dataAbsentReason only without a value.",
        )
    codes = _codings(node.get("code"))
    if valued and any(codes & _codings(component.get("code")) for _, component in _objects(node, "component")):
        yield (
            "",
            "obs-7",
            "En del har samma kod som helheten, som då inte får ha eget värde.",
            "A component has the Observation's own code: then the Observation has no value.",
        )
    yield from _reference_ranges(node, "")
    for position, component in _objects(node, "component"):
        yield from _reference_ranges(component, f".component[{position}]")


def _reference_ranges(node: Json, where: str) -> Iterator[Broken]:
    for position, item in _objects(node, "referenceRange"):
        if not any(_has(item, name) for name in ("low", "high", "text")):
            yield (
                f"{where}.referenceRange[{position}]",
                "obs-3",
                "Referensintervallet är tomt.",
                "A referenceRange needs low, high or text.",
            )


def _response_item(node: Json) -> Iterator[Broken]:
    if _has(node, "item") and _has(node, "answer"):
        yield (
            "",
            "qrs-1",
            "Underfrågor ska stå under svaret, inte bredvid det.",
            "Nested item and answer at once: nest the items below the answer.",
        )


_NO_INITIAL = ("group", "display")
_OPTION_TYPES = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")
_LENGTH_TYPES = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")


def _questionnaire_item(node: Json) -> Iterator[Broken]:
    kind = node.get("type")
    nested, answers = _has(node, "item"), _has(node, "answerOption") or _has(node, "answerValueSet")
    if (kind == "group" and not nested) or (kind == "display" and nested):
        yield "", "que-1", "En grupp ska ha frågor, en text inga.", "A group needs items; a display has none."
    if kind == "display" and _has(node, "code"):
        yield ".code", "que-3", "En text har ingen kod.", "A display item has no code."
    if _has(node, "answerOption") and _has(node, "answerValueSet"):
        yield "", "que-4", "Ange svar på ett sätt.", "answerOption or answerValueSet, not both."
    if answers and kind not in _OPTION_TYPES:
        yield "", "que-5", "Frågan kan inte ha svarsalternativ.", "Only choice and simple types have answer options."
    if kind == "display" and (_has(node, "required") or _has(node, "repeats")):
        yield "", "que-6", "En text kan inte krävas eller upprepas.", "A display item has no required or repeats."
    if kind in _NO_INITIAL and _has(node, "initial"):
        yield ".initial", "que-8", "Frågan kan inte ha förval.", "A group or display item has no initial value."
    if kind == "display" and _has(node, "readOnly"):
        yield ".readOnly", "que-9", "En text kan inte vara skrivskyddad.", "A display item has no readOnly."
    if _has(node, "maxLength") and kind not in _LENGTH_TYPES:
        yield ".maxLength", "que-10", "Frågan kan inte ha längsta längd.", "Only simple text and number types have maxLength."
    if answers and _has(node, "initial"):
        yield ".initial", "que-11", "Ange förval bland svaren.", "With answer options, initial is told by initialSelected."
    conditions = _objects(node, "enableWhen")
    if len(conditions) > 1 and not _has(node, "enableBehavior"):
        yield "", "que-12", "Flera villkor kräver hur de räknas.", "More than one enableWhen needs enableBehavior."
    if len(_objects(node, "initial")) > 1 and node.get("repeats") is not True:
        yield ".initial", "que-13", "Bara en upprepad fråga har flera förval.", "Several initial values need repeats = true."
    for position, condition in conditions:
        if condition.get("operator") == "exists" and not _has(condition, "answerBoolean"):
            yield (
                f".enableWhen[{position}]",
                "que-7",
                "Villkoret ”exists” kräver ja eller nej.",
                "Operator 'exists' needs answerBoolean.",
            )


def _questionnaire(node: Json) -> Iterator[Broken]:
    seen: set[str] = set()
    waiting = [item for _, item in _objects(node, "item")]
    while waiting:
        item = waiting.pop()
        name = item.get("linkId")
        if isinstance(name, str):
            if name in seen:
                yield "", "que-2", "Samma linkId används flera gånger.", "linkIds must be unique in a Questionnaire."
                return
            seen.add(name)
        waiting.extend(child for _, child in _objects(item, "item"))


def _patient_contact(node: Json) -> Iterator[Broken]:
    if not any(_has(node, name) for name in ("name", "telecom", "address", "organization")):
        yield "", "pat-1", "Kontakten saknar uppgifter.", "A contact needs name, telecom, address or organization."


def _organization(node: Json) -> Iterator[Broken]:
    if not (_has(node, "identifier") or _has(node, "name")):
        yield "", "org-1", "Enheten saknar både namn och id.", "An Organization needs a name or an identifier."
    for name, key in (("address", "org-2"), ("telecom", "org-3")):
        for position, item in _objects(node, name):
            if item.get("use") == "home":
                yield (
                    f".{name}[{position}].use",
                    key,
                    "En enhet har ingen hemadress eller hemtelefon.",
                    f"Organization.{name}.use is never home.",
                )


def _condition(node: Json) -> Iterator[Broken]:
    for name, system, codes in (
        ("clinicalStatus", Systems.CONDITION_CLINICAL, CONDITION_CLINICAL),
        ("verificationStatus", Systems.CONDITION_VERIFICATION, CONDITION_VERIFICATION),
    ):
        if name in node and isinstance(node[name], dict):
            told = _codings(node[name])
            # Required binding of a CodeableConcept: one of its codings must be from the value set.
            if not any((str(system), code) in told for code in codes):
                yield (
                    f".{name}",
                    "required-binding",
                    "Koden hör inte till den obligatoriska kodlistan.",
                    f"Condition.{name} needs a coding of {system} from its required value set.",
                )
    clinical, verification = _codings(node.get("clinicalStatus")), _codings(node.get("verificationStatus"))
    ended = {(str(Systems.CONDITION_CLINICAL), code) for code in ("inactive", "resolved", "remission")}
    if _has_choice(node, "abatement") and not clinical & ended:
        yield (
            ".clinicalStatus",
            "con-4",
            "Ett avslutat tillstånd ska stå som avslutat.",
            "With abatement, clinicalStatus must be inactive, resolved or remission.",
        )
    if (str(Systems.CONDITION_VERIFICATION), "entered-in-error") in verification and _has(node, "clinicalStatus"):
        yield (
            ".clinicalStatus",
            "con-5",
            "Ett felregistrerat tillstånd har ingen klinisk status.",
            "No clinicalStatus when verificationStatus is entered-in-error.",
        )
    for position, stage in _objects(node, "stage"):
        if not (_has(stage, "summary") or _has(stage, "assessment")):
            yield f".stage[{position}]", "con-1", "Stadiet är tomt.", "A stage needs summary or assessment."
    for position, evidence in _objects(node, "evidence"):
        if not (_has(evidence, "code") or _has(evidence, "detail")):
            yield f".evidence[{position}]", "con-2", "Underlaget är tomt.", "Evidence needs code or detail."


def _appointment(node: Json) -> Iterator[Broken]:
    starts, ends, status = _has(node, "start"), _has(node, "end"), node.get("status")
    if starts != ends:
        yield "", "app-2", "Ange både början och slut.", "An Appointment has both start and end, or neither."
    if not (starts and ends) and status not in ("proposed", "cancelled", "waitlist"):
        yield (
            "",
            "app-3",
            "Bara en föreslagen eller avbokad tid får sakna klockslag.",
            "Only proposed, cancelled or waitlist appointments may lack start and end.",
        )
    # The invariant says 'no-show', the code is 'noshow'.
    if _has(node, "cancelationReason") and status not in ("cancelled", "noshow", "no-show"):
        yield (
            ".cancelationReason",
            "app-4",
            "Bara en avbokad tid har skäl till avbokning.",
            "cancelationReason only when cancelled or noshow.",
        )
    for position, participant in _objects(node, "participant"):
        if not (_has(participant, "type") or _has(participant, "actor")):
            yield f".participant[{position}]", "app-1", "Deltagaren saknas.", "A participant needs type or actor."


def _care_plan_activity(node: Json) -> Iterator[Broken]:
    if _has(node, "detail") and _has(node, "reference"):
        yield "", "cpl-3", "Ange hänvisning eller detaljer, inte båda.", "An activity has reference or detail, not both."


# ---------------------------------------------------------------- resources that are exchanged


def _parameter(node: Json) -> Iterator[Broken]:
    said = [_has_choice(node, "value"), _has(node, "resource"), _has(node, "part")]
    if sum(said) != 1:
        yield "", "inv-1", "Ange ett värde, en resurs eller delar.", "A parameter has one of value, resource and part."


_REQUESTED = ("batch", "transaction", "history")
_ANSWERED = ("batch-response", "transaction-response", "history")


def _bundle(node: Json) -> Iterator[Broken]:
    kind, entries = node.get("type"), _objects(node, "entry")
    if _has(node, "total") and kind not in ("searchset", "history"):
        yield ".total", "bdl-1", "Antal anges bara i sökresultat.", "Bundle.total only in a searchset or history."
    seen: set[tuple[str, object]] = set()
    for position, entry in entries:
        where = f".entry[{position}]"
        if _has(entry, "search") and kind != "searchset":
            yield f"{where}.search", "bdl-2", "Bara sökresultat har sökuppgifter.", "entry.search only in a searchset."
        if _has(entry, "request") != (kind in _REQUESTED):
            yield (
                where,
                "bdl-3",
                "Posten saknar begäran, eller ska inte ha någon.",
                "entry.request is for batch, transaction and history, and mandatory there.",
            )
        if _has(entry, "response") != (kind in _ANSWERED):
            yield (
                where,
                "bdl-4",
                "Posten saknar svar, eller ska inte ha något.",
                "entry.response is for batch-response, transaction-response and history, and mandatory there.",
            )
        if not any(_has(entry, name) for name in ("resource", "request", "response")):
            yield where, "bdl-5", "Posten är tom.", "An entry needs a resource, a request or a response."
        yield from _full_url(entry, where, kind, seen)
        request = _object(entry, "request")
        if request.get("method") in ("POST", "PUT") and not _has(entry, "resource") and kind in ("batch", "transaction"):
            yield (
                where,
                "entry-resource",
                "Posten saknar den resurs som ska sparas.",
                "POST and PUT need entry.resource (https://hl7.org/fhir/R4/http.html#transaction).",
            )
    if kind == "document":
        identifier = _object(node, "identifier")
        if not (_has(identifier, "system") and _has(identifier, "value")):
            yield "", "bdl-9", "Dokumentet saknar id.", "A document needs an identifier with system and value."
        if not _has(node, "timestamp"):
            yield "", "bdl-10", "Dokumentet saknar datum.", "A document needs a timestamp."
    for named, needed, key in (("document", "Composition", "bdl-11"), ("message", "MessageHeader", "bdl-12")):
        if kind == named and (not entries or _object(entries[0][1], "resource").get("resourceType") != needed):
            yield ".entry", key, "Första posten är av fel slag.", f"A {named} starts with a {needed}."


def _full_url(entry: Json, where: str, kind: object, seen: set[tuple[str, object]]) -> Iterator[Broken]:
    full_url, resource = entry.get("fullUrl"), _object(entry, "resource")
    if not isinstance(full_url, str):
        return
    version = _object(resource, "meta").get("versionId")
    known = (full_url, version if isinstance(version, str) else None)
    if known in seen and kind != "history":
        yield f"{where}.fullUrl", "bdl-7", "Samma fullUrl står på flera poster.", "fullUrl must be unique in the Bundle."
    seen.add(known)
    if "/_history/" in full_url:
        yield f"{where}.fullUrl", "bdl-8", "fullUrl anger en version.", "fullUrl is never version specific."
    own = resource.get("id")
    if isinstance(own, str) and full_url.startswith(("http://", "https://")) and full_url.rpartition("/")[2] != own:
        yield (
            f"{where}.fullUrl",
            "full-url-id",
            "fullUrl och resursens id säger olika.",
            "fullUrl disagrees with the resource's id (https://hl7.org/fhir/R4/bundle.html#bundle-unique).",
        )


def _capability_statement(node: Json) -> Iterator[Broken]:
    if not any(_has(node, name) for name in ("rest", "messaging", "document")):
        yield "", "cpb-1", "Beskrivningen är tom.", "A CapabilityStatement needs rest, messaging or document."
    if not any(_has(node, name) for name in ("description", "software", "implementation")):
        yield "", "cpb-2", "Beskrivningen saknar avsändare.", "It needs a description, software or implementation."
    kind = node.get("kind")
    for key, holds in (
        ("cpb-14", kind != "instance" or _has(node, "implementation")),
        ("cpb-15", kind != "capability" or (not _has(node, "implementation") and _has(node, "software"))),
        ("cpb-16", kind != "requirements" or not (_has(node, "implementation") or _has(node, "software"))),
    ):
        if not holds:
            yield "", key, "Beskrivningens slag stämmer inte.", f"kind '{kind}' does not fit implementation and software."
    for position, rest in _objects(node, "rest"):
        kinds = [item.get("type") for _, item in _objects(rest, "resource") if isinstance(item.get("type"), str)]
        if len(kinds) != len(set(kinds)):
            yield f".rest[{position}]", "cpb-9", "En typ står flera gånger.", "A type stands once per rest."
        for number, item in _objects(rest, "resource"):
            names = [p.get("name") for _, p in _objects(item, "searchParam") if isinstance(p.get("name"), str)]
            if len(names) != len(set(names)):
                where = f".rest[{position}].resource[{number}]"
                yield where, "cpb-12", "En sökparameter står flera gånger.", "searchParam names are unique."


INVARIANTS: dict[str, Callable[[Json], Iterator[Broken]]] = {
    "Age": _quantity,
    "Appointment": _appointment,
    "Attachment": _attachment,
    "Bundle": _bundle,
    "CapabilityStatement": _capability_statement,
    "CarePlanActivity": _care_plan_activity,
    "Condition": _condition,
    "ContactPoint": _contact_point,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "Expression": _expression,
    "Extension": _extension,
    "Observation": _observation,
    "Organization": _organization,
    "ParametersParameter": _parameter,
    "PatientContact": _patient_contact,
    "Period": _period,
    "Quantity": _quantity,
    "Questionnaire": _questionnaire,
    "QuestionnaireItem": _questionnaire_item,
    "QuestionnaireResponseItem": _response_item,
    "Range": _range,
    "Ratio": _ratio,
    "ServiceRequest": _service_request,
    "Task": _task,
    "TimingRepeat": _timing_repeat,
}
"""By type name, backbones by their joined name."""
