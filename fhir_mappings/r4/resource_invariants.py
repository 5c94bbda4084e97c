"""R4's invariants of the resources that Sluss stores (https://hl7.org/fhir/R4/<type>.html).

Each function yields what is broken in one object of its type. Rules of severity warning ("best practice") are left out:
con-3, dom-6, pdf-0, que-0.
"""

from collections.abc import Callable

from fhir_mappings.r4.bindings import CONDITION_CLINICAL, CONDITION_VERIFICATION
from fhir_mappings.r4.primitives import certainly_before
from fhir_mappings.r4.reading import Breaches, codings, has, has_choice, objects
from fhir_mappings.records import Json
from fhir_mappings.terminology import Systems


def _task(node: Json) -> Breaches:
    if certainly_before(node.get("lastModified"), node.get("authoredOn")):
        yield (
            ".lastModified",
            "inv-1",
            "Uppgiften är ändrad innan den skapades.",
            "Task.lastModified lies before Task.authoredOn.",
        )


def _service_request(node: Json) -> Breaches:
    if has(node, "orderDetail") and not has(node, "code"):
        yield "", "prr-1", "Detaljer kräver en kod.", "ServiceRequest.orderDetail needs ServiceRequest.code."


def _observation(node: Json) -> Breaches:
    valued = has_choice(node, "value")
    if valued and has(node, "dataAbsentReason"):
        yield (
            ".dataAbsentReason",
            "obs-6",
            "Ange ett värde eller varför det saknas, inte båda.",
            "Observation.dataAbsentReason only without a value.",
        )
    codes = codings(node.get("code"))
    if valued and any(codes & codings(component.get("code")) for _, component in objects(node, "component")):
        yield (
            "",
            "obs-7",
            "En del har samma kod som helheten, som då inte får ha eget värde.",
            "A component has the Observation's own code: then the Observation has no value.",
        )
    yield from _reference_ranges(node, "")
    for position, component in objects(node, "component"):
        yield from _reference_ranges(component, f".component[{position}]")


def _reference_ranges(node: Json, where: str) -> Breaches:
    for position, item in objects(node, "referenceRange"):
        if not any(has(item, name) for name in ("low", "high", "text")):
            yield (
                f"{where}.referenceRange[{position}]",
                "obs-3",
                "Referensintervallet är tomt.",
                "A referenceRange needs low, high or text.",
            )


def _response_item(node: Json) -> Breaches:
    if has(node, "item") and has(node, "answer"):
        yield (
            "",
            "qrs-1",
            "Underfrågor ska stå under svaret, inte bredvid det.",
            "Nested item and answer at once: nest the items below the answer.",
        )


_OPTION_TYPES = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")
_LENGTH_TYPES = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")


def _questionnaire_item(node: Json) -> Breaches:
    kind = node.get("type")
    nested = has(node, "item")
    if (kind == "group" and not nested) or (kind == "display" and nested):
        yield "", "que-1", "En grupp ska ha frågor, en text inga.", "A group needs items; a display has none."
    if kind == "display":
        for names, key in ((("code",), "que-3"), (("required", "repeats"), "que-6"), (("readOnly",), "que-9")):
            if any(has(node, name) for name in names):
                told = f"A display item has no {' or '.join(names)}."
                yield "", key, "En text är ingen fråga och har inte frågans egenskaper.", told
    if has(node, "maxLength") and kind not in _LENGTH_TYPES:
        told = "Only simple text and number types have maxLength."
        yield ".maxLength", "que-10", "Frågan kan inte ha längsta längd.", told
    yield from _answer_options(node)
    yield from _enabling(node)


def _answer_options(node: Json) -> Breaches:
    kind, answers = node.get("type"), has(node, "answerOption") or has(node, "answerValueSet")
    if has(node, "answerOption") and has(node, "answerValueSet"):
        yield "", "que-4", "Ange svar på ett sätt.", "answerOption or answerValueSet, not both."
    if answers and kind not in _OPTION_TYPES:
        yield "", "que-5", "Frågan kan inte ha svarsalternativ.", "Only choice and simple types have answer options."
    if kind in ("group", "display") and has(node, "initial"):
        yield ".initial", "que-8", "Frågan kan inte ha förval.", "A group or display item has no initial value."
    if has(node, "answerOption") and has(node, "initial"):
        yield ".initial", "que-11", "Ange förval bland svaren.", "With answerOption, use initialSelected."
    if len(objects(node, "initial")) > 1 and node.get("repeats") is not True:
        yield ".initial", "que-13", "Bara en upprepad fråga har flera förval.", "Several initial values need repeats."


def _enabling(node: Json) -> Breaches:
    conditions = objects(node, "enableWhen")
    if len(conditions) > 1 and not has(node, "enableBehavior"):
        yield "", "que-12", "Flera villkor kräver hur de räknas.", "More than one enableWhen needs enableBehavior."
    for position, condition in conditions:
        if condition.get("operator") == "exists" and not has(condition, "answerBoolean"):
            where = f".enableWhen[{position}]"
            yield where, "que-7", "Villkoret ”exists” kräver ja eller nej.", "Operator 'exists' needs answerBoolean."


def _questionnaire(node: Json) -> Breaches:
    seen: set[str] = set()
    waiting = [item for _, item in objects(node, "item")]
    while waiting:
        item = waiting.pop()
        name = item.get("linkId")
        if isinstance(name, str):
            if name in seen:
                yield "", "que-2", "Samma linkId används flera gånger.", "linkIds must be unique in a Questionnaire."
                return
            seen.add(name)
        waiting.extend(child for _, child in objects(item, "item"))


def _patient_contact(node: Json) -> Breaches:
    if not any(has(node, name) for name in ("name", "telecom", "address", "organization")):
        yield "", "pat-1", "Kontakten saknar uppgifter.", "A contact needs name, telecom, address or organization."


def _organization(node: Json) -> Breaches:
    if not (has(node, "identifier") or has(node, "name")):
        yield "", "org-1", "Enheten saknar både namn och id.", "An Organization needs a name or an identifier."
    for name, key in (("address", "org-2"), ("telecom", "org-3")):
        for position, item in objects(node, name):
            if item.get("use") == "home":
                yield (
                    f".{name}[{position}].use",
                    key,
                    "En enhet har ingen hemadress eller hemtelefon.",
                    f"Organization.{name}.use is never home.",
                )


def _condition(node: Json) -> Breaches:
    for name, system, codes in (
        ("clinicalStatus", Systems.CONDITION_CLINICAL, CONDITION_CLINICAL),
        ("verificationStatus", Systems.CONDITION_VERIFICATION, CONDITION_VERIFICATION),
    ):
        if name in node and isinstance(node[name], dict):
            told = codings(node[name])
            # Required binding of a CodeableConcept: one of its codings must be from the value set.
            if not any((str(system), code) in told for code in codes):
                yield (
                    f".{name}",
                    "required-binding",
                    "Koden hör inte till den obligatoriska kodlistan.",
                    f"Condition.{name} needs a coding of {system} from its required value set.",
                )
    clinical, verification = codings(node.get("clinicalStatus")), codings(node.get("verificationStatus"))
    ended = {(str(Systems.CONDITION_CLINICAL), code) for code in ("inactive", "resolved", "remission")}
    if has_choice(node, "abatement") and not clinical & ended:
        yield (
            ".clinicalStatus",
            "con-4",
            "Ett avslutat tillstånd ska stå som avslutat.",
            "With abatement, clinicalStatus must be inactive, resolved or remission.",
        )
    if (str(Systems.CONDITION_VERIFICATION), "entered-in-error") in verification and has(node, "clinicalStatus"):
        yield (
            ".clinicalStatus",
            "con-5",
            "Ett felregistrerat tillstånd har ingen klinisk status.",
            "No clinicalStatus when verificationStatus is entered-in-error.",
        )
    for position, stage in objects(node, "stage"):
        if not (has(stage, "summary") or has(stage, "assessment")):
            yield f".stage[{position}]", "con-1", "Stadiet är tomt.", "A stage needs summary or assessment."
    for position, evidence in objects(node, "evidence"):
        if not (has(evidence, "code") or has(evidence, "detail")):
            yield f".evidence[{position}]", "con-2", "Underlaget är tomt.", "Evidence needs code or detail."


def _appointment(node: Json) -> Breaches:
    starts, ends, status = has(node, "start"), has(node, "end"), node.get("status")
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
    if has(node, "cancelationReason") and status not in ("cancelled", "noshow", "no-show"):
        yield (
            ".cancelationReason",
            "app-4",
            "Bara en avbokad tid har skäl till avbokning.",
            "cancelationReason only when cancelled or noshow.",
        )
    for position, participant in objects(node, "participant"):
        if not (has(participant, "type") or has(participant, "actor")):
            yield f".participant[{position}]", "app-1", "Deltagaren saknas.", "A participant needs type or actor."


def _care_plan_activity(node: Json) -> Breaches:
    if has(node, "detail") and has(node, "reference"):
        yield (
            "",
            "cpl-3",
            "Ange hänvisning eller detaljer, inte båda.",
            "An activity has reference or detail, not both.",
        )


RESOURCE_INVARIANTS: dict[str, Callable[[Json], Breaches]] = {
    "Appointment": _appointment,
    "CarePlanActivity": _care_plan_activity,
    "Condition": _condition,
    "Observation": _observation,
    "Organization": _organization,
    "PatientContact": _patient_contact,
    "Questionnaire": _questionnaire,
    "QuestionnaireItem": _questionnaire_item,
    "QuestionnaireResponseItem": _response_item,
    "ServiceRequest": _service_request,
    "Task": _task,
}
"""By type name, backbones by their joined name."""
