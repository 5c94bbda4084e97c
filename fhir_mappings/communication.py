"""Messages about a referral, as Communications and back. https://hl7.org/fhir/R4/communication.html"""

from fhir_mappings.records import HsaId, Json, Message, MessageCategory, Priority, Reference
from fhir_mappings.terminology import HSA_SYSTEMS, NATIONAL_MESSAGE_CODES, Canonical, Systems

CATEGORY_TITLES: dict[MessageCategory, str] = {
    MessageCategory.ACKNOWLEDGEMENT: "Remissbekräftelse",
    MessageCategory.INFORMATION_REQUEST: "Begäran om komplettering",
    MessageCategory.RETURNED: "Remissen återsänds",
    MessageCategory.SAFETY_ALERT: "Varning om suicidrisk",
    MessageCategory.STARTED: "Behandlingen har startat",
    MessageCategory.REROUTED: "Remissen har skickats vidare",
    MessageCategory.DISCONTINUED: "Behandlingen har avbrutits",
    MessageCategory.WITHDRAWAL_CONFIRMED: "Återkallelsen är bekräftad",
    MessageCategory.WITHDRAWAL_REFUSED: "Återkallelsen kunde inte verkställas",
    MessageCategory.INTERIM_REPLY: "Delsvar",
    MessageCategory.FINAL_REPLY: "Slutsvar",
    MessageCategory.CORRECTION: "Rättelse",
    MessageCategory.INFORMATION: "Information",
}
"""Displays of CodeSystem `ikbt-message`."""


def to_fhir_communication(message: Message, canonical: Canonical) -> Json:
    """The message as a Communication, without `meta` (contract 6)."""
    communication: Json = {
        "resourceType": "Communication",
        "id": message.id,
        "identifier": [{"system": canonical.identifier("communication"), "value": message.id}],
        "basedOn": [{"reference": message.based_on}],
        "partOf": [{"reference": message.part_of}],
        "inResponseTo": [{"reference": message.in_response_to}] if message.in_response_to else None,
        "status": "preparation" if message.prepared else "completed",
        "category": [_category(message.category, canonical)],
        "priority": str(message.priority),
        "subject": {"reference": message.subject},
        # a message that somebody must still pass on has not been sent
        "sent": None if message.prepared else message.sent,
        "recipient": [
            {
                "reference": message.recipient,
                "identifier": {"system": str(Systems.HSA_ID), "value": message.recipient_unit},
            }
        ],
        "sender": {"reference": message.sender},
        "reasonCode": [
            {"coding": [{"system": canonical.rule, "code": rule}], "text": text} for rule, text in message.reasons
        ],
        "payload": [{"contentString": message.text}],
    }
    return {name: value for name, value in communication.items() if value not in (None, [])}


def from_fhir_communication(communication: Json, canonical: Canonical) -> Message | None:
    """The message of a Communication; None when its category is none of ours, so that nobody guesses."""
    category = category_of(communication, canonical)
    if category is None:
        return None
    recipient = (communication.get("recipient") or [{}])[0]
    return Message(
        id=communication.get("id", ""),
        category=category,
        text=text_of(communication),
        sent=communication.get("sent", ""),
        subject=_reference(communication.get("subject")),
        based_on=_reference(_first(communication, "basedOn")),
        part_of=_reference(_first(communication, "partOf")),
        sender=_reference(communication.get("sender")),
        recipient=_reference(recipient),
        recipient_unit=_hsa_id(recipient),
        priority=Priority(communication.get("priority", "routine")),
        reasons=tuple(
            (coding["code"], concept.get("text", ""))
            for concept in communication.get("reasonCode", ())
            for coding in concept.get("coding", ())
            if coding.get("system") == canonical.rule and coding.get("code")
        ),
        in_response_to=_reference(_first(communication, "inResponseTo")) or None,
        prepared=communication["status"] == "preparation",
    )


def category_of(communication: Json, canonical: Canonical) -> MessageCategory | None:
    """The message category in our CodeSystem, or None."""
    for concept in communication.get("category", ()):
        for coding in concept.get("coding", ()):
            if coding.get("system") == canonical.message and coding.get("code") in _CATEGORIES:
                return MessageCategory(coding["code"])
    return None


_CATEGORIES = frozenset(str(category) for category in MessageCategory)


def text_of(communication: Json) -> str:
    """All text payloads, one paragraph each; empty when there is none."""
    return "\n\n".join(p["contentString"] for p in communication.get("payload", ()) if "contentString" in p)


def passed_on(communication: Json, at: str) -> Json:
    """A prepared Communication that somebody has now passed on: `completed`, sent `at` (ISO instant)."""
    return {**communication, "status": "completed", "sent": at}


def _category(category: MessageCategory, canonical: Canonical) -> Json:
    coding = [{"system": canonical.message, "code": str(category), "display": CATEGORY_TITLES[category]}]
    if category in NATIONAL_MESSAGE_CODES:
        coding.append({"system": canonical.national_message, "code": NATIONAL_MESSAGE_CODES[category]})
    return {"coding": coding, "text": CATEGORY_TITLES[category]}


def _first(resource: Json, name: str) -> Json | None:
    values = resource.get(name)
    return values[0] if values else None


def _reference(element: Json | None) -> Reference:
    return Reference((element or {}).get("reference", ""))


def _hsa_id(recipient: Json) -> HsaId:
    identifier = recipient.get("identifier", {})
    return HsaId(identifier.get("value", "") if identifier.get("system") in HSA_SYSTEMS else "")
