"""People who work in the external FHIR server: what a therapist and a referrer do there, over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump, parse
from fhir_mappings.terminology import Canonical

CANONICAL = Canonical("https://sluss.example/fhir")
_FHIR_JSON = "application/fhir+json"


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


@dataclass
class Region:
    """The external server, seen from those who use it."""

    base: str
    canonical: Canonical = CANONICAL
    """Whose codes are used there; several instances of Sluss may share a server."""
    session: requests.Session = field(default_factory=_session)

    def send(self, method: str, path: str, body: Json | None = None, **headers: str) -> requests.Response:
        told = {"Content-Type": _FHIR_JSON, "Cache-Control": "no-cache"}
        data = dump(body).replace(CANONICAL.base, self.canonical.base).encode() if body is not None else None
        return self.session.request(
            method,
            f"{self.base}{path}",
            data=data,
            headers={**told, **{name.replace("_", "-"): value for name, value in headers.items()}},
            timeout=60,
        )

    def post(self, resource: Json) -> Json:
        """Create a resource; as it was stored."""
        answer = self.send("POST", f"/{resource['resourceType']}", resource)
        assert answer.status_code == 201, answer.text
        return self.read(f"{resource['resourceType']}/{_located(answer.headers['Location'])}")

    def transact(self, bundle: Json) -> list[str]:
        """`Type/id` of each entry of a transaction."""
        answer = self.send("POST", "", bundle)
        assert answer.status_code == 200, answer.text
        entries = answer.json()["entry"]
        locations = [entry["response"]["location"].partition("/_history/")[0] for entry in entries]
        return ["/".join(location.rsplit("/", 2)[-2:]) for location in locations]

    def read(self, reference: str) -> Json:
        answer = self.send("GET", f"/{reference}")
        assert answer.status_code == 200, answer.text
        parsed = parse(answer.content)
        assert isinstance(parsed, dict)
        return parsed

    def put(self, resource: Json) -> Json:
        """A new version over the one that was read, as a client with If-Match puts it."""
        version = resource["meta"]["versionId"]
        answer = self.send("PUT", f"/{resource['resourceType']}/{resource['id']}", resource, If_Match=f'W/"{version}"')
        assert answer.status_code == 200, answer.text
        return self.read(f"{resource['resourceType']}/{resource['id']}")

    def change(self, resource: Json, **elements: Any) -> Json:
        """Change elements of the current version; None takes one away."""
        current = self.read(f"{resource['resourceType']}/{resource['id']}")
        changed = {name: value for name, value in {**current, **elements}.items() if value is not None}
        return self.put(changed)

    def search(self, type_: str, **parameters: str) -> list[Json]:
        """What matches; a parameter `based-on` is given as `based_on`."""
        asked = {name.replace("_", "-"): value for name, value in parameters.items()}
        answer = self.session.post(
            f"{self.base}/{type_}/_search",
            data={**asked, "_count": "200"},
            headers={"Cache-Control": "no-cache"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        parsed = parse(answer.content)
        assert isinstance(parsed, dict)
        return [entry["resource"] for entry in parsed.get("entry", ()) if entry["search"]["mode"] == "match"]

    def copy_of(self, reference: str) -> Json:
        """The one copy of a resource of Sluss's."""
        (one,) = self.copies_of(reference)
        return one

    def copies_of(self, reference: str) -> list[Json]:
        """Every copy of a resource of Sluss's; more than one is a fault."""
        return self.search(reference.partition("/")[0], identifier=f"{self.canonical.resource_key}|{reference}")

    def children_of(self, task: Json) -> list[Json]:
        """The Tasks that are part of one, by code of activity."""
        wanted = f"Task/{task['id']}"
        found = self.search("Task")
        return [one for one in found if any(p.get("reference") == wanted for p in one.get("partOf", ()))]

    def messages_about(self, order: str) -> list[Json]:
        """The Communications based on one ServiceRequest of theirs."""
        found = self.search("Communication")
        return [m for m in found if any(_is(b, order, self.base) for b in m.get("basedOn", ()))]


def categories(messages: Sequence[Json], canonical: Canonical = CANONICAL) -> list[str]:
    """The categories in our CodeSystem, sorted."""
    return sorted(
        coding["code"]
        for message in messages
        for concept in message.get("category", ())
        for coding in concept.get("coding", ())
        if coding.get("system") == canonical.message
    )


def final_reply(canonical: Canonical = CANONICAL, text: str = "Behandlingen är avslutad med gott resultat.") -> Json:
    """Task.output with the reply to the referrer."""
    return {"type": {"coding": [{"system": canonical.task_output, "code": "final-reply"}]}, "valueString": text}


def activity_of(task: Json) -> str:
    """The code of a Task, whichever CodeSystem it is of."""
    return str(task["code"]["coding"][0]["code"])


def message_in(category: str, text: str, **elements: Any) -> Json:
    """A Communication as somebody posts it there."""
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": CANONICAL.message, "code": category}]}],
        "payload": [{"contentString": text}],
        **elements,
    }


def _is(reference: Json, order: str, base: str) -> bool:
    return str(reference.get("reference", "")).removeprefix(f"{base}/") == order


def _located(location: str) -> str:
    return location.partition("/_history/")[0].rpartition("/")[2]
