"""What a Subscription asks for, and everything that is wrong with it. Pure.

https://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition-backport-subscription.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fhir_mappings.elements import child, children, text, texts, whole_number
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.store.moments import parse_moment
from service.subscriptions.topics import DEFINITIONS, Filters, Topic, canonical_url, topic_of

GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport"
_EXTENSION = f"{GUIDE}/StructureDefinition/backport-"

LONGEST_TIMEOUT = 30
"""Seconds that an endpoint may take to answer."""
_USUAL_TIMEOUT = 10
MOST_EVENTS = 100
"""In one notification."""
_SHORTEST_HEARTBEAT = 10
_LONGEST_HEARTBEAT = 7 * 24 * 3600
_MOST_HEADERS = 20
_MOST_FILTERS = 20
_MOST_VALUES = 100

_PAYLOAD = re.compile(r"application/(fhir\+)?json(\s*;\s*(fhirVersion\s*=\s*4\.0(\.1)?|charset\s*=\s*utf-?8))*", re.I)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[ -~\t]{0,4000}")
_NOT_THEIRS = re.compile(
    r"(host|content-.*|transfer-encoding|te|trailer|connection|keep-alive|upgrade|expect|proxy-.*|accept-encoding|range"
    r"|forwarded|x-forwarded-.*|x-real-ip)",
    re.I,
)
"""Headers that say what is sent, to whom and for whom: a client that set them could send a second request in the first
(https://www.rfc-editor.org/rfc/rfc9112#section-11.2), or pass for somebody else behind a proxy."""
_FILTER = re.compile(r"(?:(?P<type>[A-Za-z]+)[.?])?(?P<name>[a-z-]+(?::[a-z]+)?)=(?P<values>[^&=\\$]+)")


class Content(StrEnum):
    """How much a notification tells."""

    EMPTY = "empty"
    ID_ONLY = "id-only"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    topic: Topic
    filters: Filters
    endpoint: str
    headers: tuple[tuple[str, str], ...]
    payload: str
    """The media type of a notification, as it is written."""
    content: Content
    timeout: int
    """Seconds."""
    most: int
    """Events in one notification."""
    heartbeat: int | None
    """Seconds of silence after which a sign of life is sent."""
    end: datetime | None

    @property
    def way(self) -> tuple[object, ...]:
        """What a handshake has shown to work."""
        return self.endpoint, self.headers, self.payload


def read_subscription(sent: Json, canonical: Canonical, base: str) -> Wanted | list[Issue]:
    """What a Subscription asks for, or every problem. `base` is the FHIR base that the caller sees: references below it
    are read as ours. Where its endpoint lies is for `Endpoints`; a resource that R4 refuses may read without a problem.
    """
    channel, issues = child(sent, "channel"), list[Issue]()
    topic = topic_of(text(sent, "criteria") or "", canonical)
    if topic is None:
        issues.append(_no_topic(canonical))
    filters = tuple(_filters(sent, topic, base, issues)) if topic else ()
    if text(channel, "type") != "rest-hook" or child(channel, "_type"):
        issues.append(_unsupported("channel.type", "Bara kanalen rest-hook finns.", "the channel type is rest-hook"))
    headers = tuple(_headers(channel, issues))
    payload, content = text(channel, "payload") or "", _content(channel, issues)
    if not _PAYLOAD.fullmatch(payload):
        issues.append(
            _unsupported("channel.payload", "Aviseringar är FHIR R4 i JSON.", "application/fhir+json (R4) only")
        )
    timeout = _number(channel, "timeout", 1, LONGEST_TIMEOUT, issues)
    most = _number(channel, "max-count", 1, MOST_EVENTS, issues)
    heartbeat = _number(channel, "heartbeat-period", _SHORTEST_HEARTBEAT, _LONGEST_HEARTBEAT, issues)
    issues += _strange_extensions(sent, channel)
    end = parse_moment(text(sent, "end") or "")
    if issues or topic is None:
        return issues
    return Wanted(
        topic,
        filters,
        text(channel, "endpoint") or "",
        headers,
        payload,
        content,
        timeout or _USUAL_TIMEOUT,
        most or MOST_EVENTS,
        heartbeat,
        end.low if end else None,
    )


def _filters(sent: Json, topic: Topic, base: str, issues: list[Issue]) -> Iterator[tuple[str, tuple[str, ...]]]:
    defined = DEFINITIONS[topic]
    extensions = [one for _, one in children(child(sent, "_criteria"), "extension")]
    told = [one.get("valueString") for one in extensions if one.get("url") == f"{_EXTENSION}filter-criteria"]
    written = [part for one in told for part in str(one).split("&")]
    for position, part in enumerate(written):
        found = _FILTER.fullmatch(part)
        values = tuple(value.removeprefix(f"{base}/") for value in found["values"].split(",")) if found else ()
        known = found is not None and found["name"] in defined.filters and found["type"] in (None, defined.focus)
        few = position < _MOST_FILTERS and len(values) <= _MOST_VALUES
        if found is not None and known and few and all(values):
            yield found["name"], values
            continue
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                "Subscription.criteria.extension",
                "Ämnet kan inte filtreras så.",
                f"filters of this topic: [{defined.focus}.]({'|'.join(sorted(defined.filters))})=value,… – at most "
                f"{_MOST_FILTERS} with {_MOST_VALUES} values each",
            )
        )
        if not few:
            return


def _headers(channel: Json, issues: list[Issue]) -> Iterator[tuple[str, str]]:
    for position, line in enumerate(texts(channel, "header")):
        name, _, value = line.partition(":")
        value = value.strip(" \t")
        sound = ":" in line and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
        if sound and not _NOT_THEIRS.fullmatch(name) and position < _MOST_HEADERS:
            yield name, value
            continue
        issues.append(
            error(
                IssueCode.VALUE,
                f"Subscription.channel.header[{position}]",
                "Huvudet kan inte skickas.",  # not repeated: it may be a secret
                f"a header is 'Name: value' in ASCII, at most {_MOST_HEADERS} of them, and none that says what is "
                "sent and to whom (Host, Content-*, Connection, Transfer-Encoding, Proxy-* and such)",
            )
        )
        if position >= _MOST_HEADERS:
            return


def _content(channel: Json, issues: list[Issue]) -> Content:
    extensions = [one for _, one in children(child(channel, "_payload"), "extension")]
    told = [one.get("valueCode") for one in extensions if one.get("url") == f"{_EXTENSION}payload-content"]
    if len(told) == 1 and told[0] in tuple(Content):
        return Content(str(told[0]))
    issues.append(
        _unsupported(
            "channel.payload.extension",
            "En avisering bär inga uppgifter, högst vad som har ändrats: empty eller id-only.",
            "exactly one backport-payload-content, empty or id-only; full-resource is not sent: read the resource",
        )
    )
    return Content.EMPTY


def _number(channel: Json, name: str, least: int, most: int, issues: list[Issue]) -> int | None:
    """The number of an extension of the channel; None without it."""
    extensions = [one for _, one in children(channel, "extension")]
    told = [one for one in extensions if one.get("url") == f"{_EXTENSION}{name}"]
    if not told:
        return None
    value = whole_number(told[0].get("valueUnsignedInt", told[0].get("valuePositiveInt")))
    if len(told) > 1 or value is None or not least <= value <= most:
        issues.append(
            error(
                IssueCode.VALUE,
                "Subscription.channel.extension",
                f"{name} är ett tal från {least} till {most}.",
                f"backport-{name} is a number from {least} to {most}",
            )
        )
        return None
    return value


_KNOWN = {
    "criteria": {f"{_EXTENSION}filter-criteria"},
    "channel": {f"{_EXTENSION}{name}" for name in ("timeout", "max-count", "heartbeat-period")},
    "channel.payload": {f"{_EXTENSION}payload-content"},
}


def _strange_extensions(sent: Json, channel: Json) -> Iterator[Issue]:
    """An extension that is not known would change what is asked for."""
    where = {"criteria": child(sent, "_criteria"), "channel": channel, "channel.payload": child(channel, "_payload")}
    for place, element in where.items():
        for position, extension in children(element, "extension"):
            if extension.get("url") not in _KNOWN[place]:
                yield error(
                    IssueCode.EXTENSION,
                    f"Subscription.{place}.extension[{position}]",
                    "Tillägget är okänt.",
                    f"known here: {', '.join(sorted(_KNOWN[place]))}",
                )


def _no_topic(canonical: Canonical) -> Issue:
    known = ", ".join(canonical_url(topic, canonical) for topic in Topic)
    return error(
        IssueCode.NOT_SUPPORTED,
        "Subscription.criteria",
        "Ämnet finns inte.",
        f"criteria is the canonical URL of a topic: {known}",
    )


def _unsupported(place: str, told: str, diagnostics: str) -> Issue:
    return error(IssueCode.NOT_SUPPORTED, f"Subscription.{place}", told, diagnostics)
