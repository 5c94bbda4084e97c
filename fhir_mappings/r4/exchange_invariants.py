"""R4's invariants of what is exchanged but not stored: Bundle, Parameters, CapabilityStatement.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/parameters.html, https://hl7.org/fhir/R4/capabilitystatement.html
"""

from collections.abc import Callable

from fhir_mappings.r4.reading import Breaches, has, has_choice, member, objects
from fhir_mappings.records import Json


def _parameter(node: Json) -> Breaches:
    said = [has_choice(node, "value"), has(node, "resource"), has(node, "part")]
    if sum(said) != 1:
        yield "", "inv-1", "Ange ett värde, en resurs eller delar.", "A parameter has one of value, resource and part."


_REQUESTED = ("batch", "transaction", "history")
_ANSWERED = ("batch-response", "transaction-response", "history")


def _bundle(node: Json) -> Breaches:
    kind, entries = node.get("type"), objects(node, "entry")
    if has(node, "total") and kind not in ("searchset", "history"):
        yield ".total", "bdl-1", "Antal anges bara i sökresultat.", "Bundle.total only in a searchset or history."
    seen: set[tuple[str, object]] = set()
    for position, entry in entries:
        where = f".entry[{position}]"
        if has(entry, "search") and kind != "searchset":
            yield f"{where}.search", "bdl-2", "Bara sökresultat har sökuppgifter.", "entry.search only in a searchset."
        if has(entry, "request") != (kind in _REQUESTED):
            yield (
                where,
                "bdl-3",
                "Posten saknar begäran, eller ska inte ha någon.",
                "entry.request is for batch, transaction and history, and mandatory there.",
            )
        if has(entry, "response") != (kind in _ANSWERED):
            yield (
                where,
                "bdl-4",
                "Posten saknar svar, eller ska inte ha något.",
                "entry.response is for batch-response, transaction-response and history, and mandatory there.",
            )
        if not any(has(entry, name) for name in ("resource", "request", "response")):
            yield where, "bdl-5", "Posten är tom.", "An entry needs a resource, a request or a response."
        yield from _full_url(entry, where, kind, seen)
        request = member(entry, "request")
        if request.get("method") in ("POST", "PUT") and not has(entry, "resource") and kind in ("batch", "transaction"):
            yield (
                where,
                "entry-resource",
                "Posten saknar den resurs som ska sparas.",
                "POST and PUT need entry.resource (https://hl7.org/fhir/R4/http.html#transaction).",
            )
    if kind == "document":
        identifier = member(node, "identifier")
        if not (has(identifier, "system") and has(identifier, "value")):
            yield "", "bdl-9", "Dokumentet saknar id.", "A document needs an identifier with system and value."
        if not has(node, "timestamp"):
            yield "", "bdl-10", "Dokumentet saknar datum.", "A document needs a timestamp."
    for named, needed, key in (("document", "Composition", "bdl-11"), ("message", "MessageHeader", "bdl-12")):
        if kind == named and (not entries or member(entries[0][1], "resource").get("resourceType") != needed):
            yield ".entry", key, "Första posten är av fel slag.", f"A {named} starts with a {needed}."


def _full_url(entry: Json, where: str, kind: object, seen: set[tuple[str, object]]) -> Breaches:
    full_url, resource = entry.get("fullUrl"), member(entry, "resource")
    if not isinstance(full_url, str):
        return
    version = member(resource, "meta").get("versionId")
    known = (full_url, version if isinstance(version, str) else None)
    if known in seen and kind != "history":
        yield (
            f"{where}.fullUrl",
            "bdl-7",
            "Samma fullUrl står på flera poster.",
            "fullUrl must be unique in the Bundle.",
        )
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


def _capability_statement(node: Json) -> Breaches:
    if not any(has(node, name) for name in ("rest", "messaging", "document")):
        yield "", "cpb-1", "Beskrivningen är tom.", "A CapabilityStatement needs rest, messaging or document."
    if not any(has(node, name) for name in ("description", "software", "implementation")):
        yield "", "cpb-2", "Beskrivningen saknar avsändare.", "It needs a description, software or implementation."
    kind = node.get("kind")
    for key, holds in (
        ("cpb-14", kind != "instance" or has(node, "implementation")),
        ("cpb-15", kind != "capability" or (not has(node, "implementation") and has(node, "software"))),
        ("cpb-16", kind != "requirements" or not (has(node, "implementation") or has(node, "software"))),
    ):
        if not holds:
            yield (
                "",
                key,
                "Beskrivningens slag stämmer inte.",
                f"kind '{kind}' does not fit implementation and software.",
            )
    for position, rest in objects(node, "rest"):
        kinds = [item.get("type") for _, item in objects(rest, "resource") if isinstance(item.get("type"), str)]
        if len(kinds) != len(set(kinds)):
            yield f".rest[{position}]", "cpb-9", "En typ står flera gånger.", "A type stands once per rest."
        for number, item in objects(rest, "resource"):
            names = [p.get("name") for _, p in objects(item, "searchParam") if isinstance(p.get("name"), str)]
            if len(names) != len(set(names)):
                where = f".rest[{position}].resource[{number}]"
                yield where, "cpb-12", "En sökparameter står flera gånger.", "searchParam names are unique."


EXCHANGE_INVARIANTS: dict[str, Callable[[Json], Breaches]] = {
    "Bundle": _bundle,
    "CapabilityStatement": _capability_statement,
    "ParametersParameter": _parameter,
}
"""By type name, backbones by their joined name."""
