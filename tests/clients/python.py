"""The two clients in Python, each used as its guide says."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirelementfactory import FHIRElementFactory
from fhirclient.models.fhirsearch import FHIRSearch
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import BaseFHIRError, OperationOutcome
from fhirpy.base.searchset import Raw

from fhir_mappings.records import Json
from tests.clients.roles import Refused


class FhirPy:
    """https://github.com/beda-software/fhir-py"""

    def __init__(self, base: str, caller: str) -> None:
        self.base, self.caller = base, caller
        self.client = self._client()

    def capabilities(self) -> Json:
        with _fhirpy_refusals():
            return _plain(self.client.execute("metadata", method="get"))

    def read(self, reference: str) -> Json:
        with _fhirpy_refusals():
            return _plain(self.client.reference(reference=reference).to_resource())

    def search(self, type_: str, parameters: Mapping[str, str], include: Sequence[str] = ()) -> list[Json]:
        found = self.client.resources(type_).search(Raw(**parameters))  # type: ignore[no-untyped-call]  # the client is
        with _fhirpy_refusals():
            if not include:
                return [_plain(resource) for resource in found]  # page after page
            for name in include:
                found = found.include(type_, name)
            return [_plain(entry["resource"]) for entry in found.fetch_raw().get("entry", [])]

    def create(self, resource: Json) -> Json:
        with _fhirpy_refusals():
            return _plain(self.client.resource(resource["resourceType"], **_rest(resource)).create())

    def update(self, resource: Json, version: str | None = None) -> Json:
        # its only way to a header of one request is a client of its own
        client = self._client(**{"If-Match": f'W/"{version}"'}) if version else self.client
        with _fhirpy_refusals():
            return _plain(client.resource(resource["resourceType"], **_rest(resource)).update())

    def transaction(self, bundle: Json) -> Json:
        with _fhirpy_refusals():
            return _plain(self.client.execute("", data=bundle))

    def _client(self, **headers: str) -> SyncFHIRClient:
        return SyncFHIRClient(self.base, extra_headers={"Sluss-Caller": self.caller, **headers})


class FhirClientPy:
    """https://github.com/smart-on-fhir/client-py"""

    def __init__(self, base: str, caller: str) -> None:
        self.server = FHIRClient(settings={"app_id": "test", "api_base": base}).server
        self.server.session.headers["Sluss-Caller"] = caller

    def capabilities(self) -> Json:
        with _fhirclient_refusals():
            self.server.prepare()
            return _plain(self.server.capabilityStatement.as_json())

    def read(self, reference: str) -> Json:
        type_, _, id_ = reference.partition("/")
        with _fhirclient_refusals():
            return _plain(_model(type_).read(id_, self.server).as_json())

    def search(self, type_: str, parameters: Mapping[str, str], include: Sequence[str] = ()) -> list[Json]:
        search = FHIRSearch(type(_model(type_)), dict(parameters))
        for name in include:
            search = search.include(name)
        with _fhirclient_refusals():
            return [_plain(resource.as_json()) for resource in search.perform_resources_iter(self.server)]

    def create(self, resource: Json) -> Json:
        with _fhirclient_refusals():
            return _plain(_model(resource["resourceType"], resource).create(self.server))

    def update(self, resource: Json, version: str | None = None) -> Json:
        # its only way to a header of one request is its session
        headers = self.server.session.headers
        try:
            headers.update({"If-Match": f'W/"{version}"'} if version else {})
            with _fhirclient_refusals():
                return _plain(_model(resource["resourceType"], resource).update(self.server))
        finally:
            headers.pop("If-Match", None)

    def transaction(self, bundle: Json) -> Json:
        with _fhirclient_refusals():
            return _plain(Bundle(bundle).create(self.server))


def _model(type_: str, resource: Json | None = None) -> Any:
    return FHIRElementFactory.instantiate(type_, resource)


def _rest(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "resourceType"}


def _plain(resource: Any) -> Json:
    """Out of the client's own types."""
    plain: Json = json.loads(json.dumps(resource, default=dict))
    return plain


@contextmanager
def _fhirpy_refusals() -> Iterator[None]:
    try:
        yield
    except OperationOutcome as refused:
        raise Refused(_plain(refused.resource)) from refused
    except BaseFHIRError as refused:  # 401, 403, 404, 410 and 412: the body is its text
        raise Refused(json.loads(str(refused))) from refused


@contextmanager
def _fhirclient_refusals() -> Iterator[None]:
    try:
        yield
    except (requests.HTTPError, FHIRNotFoundException, FHIRPermissionDeniedException) as refused:
        raise Refused(refused.response.json()) from refused
