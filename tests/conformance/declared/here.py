"""The filled service as the tests of its statement see it: what it answers over HTTP, what is in its database."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import psycopg
import requests
import simplejson

from fhir_mappings.r4 import SUPPORTED_TYPES
from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.store import plain_search

Parameters = Sequence[tuple[str, str]]
FORM = "application/x-www-form-urlencoded"

_ENTRY = re.compile(r'"fullUrl":"[^"]*/([A-Za-z]+/[^"/]+)"')
_NEXT = re.compile(r'"relation":"next","url":"([^"]+)"')


class Here:
    """The service, its statement and its rows."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.base = f"{service.base}/fhir"
        self._session = requests.Session()
        self._session.trust_env = False
        self._found: dict[tuple[str, str, int, str], list[Any]] = {}

    # ------------------------------------------------------------ what it says of itself

    @cached_property
    def rest(self) -> Json:
        """`rest` of the CapabilityStatement, as it is fetched."""
        statement: Json = self.ask("GET", "metadata").json()
        (rest,) = statement["rest"]
        return dict(rest)

    @cached_property
    def statement(self) -> Json:
        """The whole CapabilityStatement."""
        return dict(self.ask("GET", "metadata").json())

    @cached_property
    def declared(self) -> dict[str, Json]:
        """Type → what the statement says of it."""
        return {resource["type"]: resource for resource in self.rest["resource"]}

    @property
    def apart(self) -> list[str]:
        """The declared types that are not kept among the others, such as Subscription."""
        return sorted(self.declared.keys() - SUPPORTED_TYPES)

    def interactions(self, type_: str) -> set[str]:
        """The codes of what can be done with a type."""
        return {interaction["code"] for interaction in self.declared[type_]["interaction"]}

    # ------------------------------------------------------------ what it answers

    def ask(  # noqa: PLR0917 - who asks is often the fifth
        self,
        method: str,
        path: str,
        parameters: Parameters = (),
        body: Any = None,
        caller: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """`path` below the base, or a whole URL; `body` JSON or bytes."""
        url = path if path.startswith("http://") else f"{self.base}/{path}".rstrip("/")
        data = simplejson.dumps(body, use_decimal=True).encode() if isinstance(body, dict | list) else body
        media = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
        sent = {"Content-Type": media} if data is not None else {}
        sent |= {"Sluss-Caller": caller} if caller else {}
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._session.request(
            method, url + query, data=data, headers={**sent, **(headers or {})}, timeout=20, allow_redirects=False
        )

    def search(self, type_: str, parameters: Parameters, *, post: bool = False) -> list[str]:
        """`Type/id` of every entry but outcomes, to the last page."""
        if post:
            form = urlencode(parameters).encode()
            answer = self.ask("POST", f"{type_}/_search", body=form, headers={"Content-Type": FORM})
        else:
            answer = self.ask("GET", type_, parameters)
        found: list[str] = []
        while True:
            assert answer.status_code == 200, (type_, parameters, answer.text[:500])
            found += _ENTRY.findall(answer.text)
            more = _NEXT.search(answer.text)
            if more is None:
                return found
            answer = self.ask("GET", more[1])

    # ------------------------------------------------------------ what is stored

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement finds in the service's database."""
        with psycopg.connect(self.service.store.url, autocommit=True) as connection:
            return connection.execute(sql.encode(), values).fetchall()

    def stored(self, type_: str) -> dict[str, Json]:
        """id → content of every resource of a type as it is now; of one that is kept apart, as it is shown."""
        if type_ not in SUPPORTED_TYPES:
            entries = self.ask("GET", type_, [("_count", "1000")]).json().get("entry", [])
            return {entry["resource"]["id"]: entry["resource"] for entry in entries}
        rows = self.rows("SELECT body FROM resource WHERE type = %s", type_)
        read = [simplejson.loads(body, use_decimal=True) for (body,) in rows]
        return {resource["id"]: resource for resource in read}

    def everything(self) -> dict[str, Json]:
        """`Type/id` → content, of all types that have rows."""
        read = [simplejson.loads(body, use_decimal=True) for (body,) in self.rows("SELECT body FROM resource")]
        return {f"{resource['resourceType']}/{resource['id']}": resource for resource in read}

    def versions(self, type_: str) -> list[tuple[str, int]]:
        """(id, version) of all that there ever was of a type, newest first."""
        return [
            (id_, version)
            for id_, version in self.rows(
                "SELECT id, version FROM (SELECT id, version, last_updated FROM resource WHERE type = %s UNION ALL"
                " SELECT id, version, last_updated FROM resource_history WHERE type = %s) every"
                " ORDER BY last_updated DESC, id DESC, version DESC",
                type_,
                type_,
            )
        ]

    # ------------------------------------------------------------ what a search should find

    def elements(self, resource: Json, name: str) -> list[Any]:
        """What R4's expression of a parameter finds in a resource, evaluated once."""
        key = (resource["resourceType"], resource["id"], int(resource["meta"]["versionId"]), name)
        if key not in self._found:
            self._found[key] = [*plain_search.elements(resource, name), *self._made_of(resource, name)]
        return self._found[key]

    def _made_of(self, resource: Json, name: str) -> list[Json]:
        """A referral that names its patient or its unit by an identifier, or contains them, stays as it was sent and is
        found under the Patient and the unit that were made of that, one from a Practitioner also under the role that
        joins them to a unit (contract 3): those that its Task refers to.
        """
        element = {"subject": "for", "patient": "for", "requester": "requester"}.get(name)
        sent = resource.get("subject" if element == "for" else "requester", {})
        if resource["resourceType"] != "ServiceRequest" or not sent or not element:
            return []
        if not sent.get("reference", "#").startswith(("#", "Practitioner/")):
            return []
        return [
            task[element] for task in self._tasks if task.get("focus", {}).get("reference", "").endswith(resource["id"])
        ]

    @cached_property
    def _tasks(self) -> list[Json]:
        return list(self.stored("Task").values())

    def matching(self, resources: Iterable[Json], name: str, modifier: str, text: str) -> set[str]:
        """The ids of those that a search by `name:modifier=text` must find."""
        return {
            resource["id"]
            for resource in resources
            if plain_search.satisfied(
                self.elements(resource, name), plain_search.DEFINED[resource["resourceType"]][name], modifier, text
            )
        }
