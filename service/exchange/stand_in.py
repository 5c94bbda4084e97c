"""A small R4 FHIR server in memory that stands in for the region's own, in the demo and in tests.

It accepts nothing that a real one would refuse: strict validation, unknown search parameters refused, references
checked, no client-chosen ids, ids that differ from ours. Nothing survives its end.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from fhir_mappings import strict_json
from fhir_mappings.r4 import SUPPORTED_TYPES
from fhir_mappings.records import Json
from service.exchange.stand_in_memory import Memory
from service.exchange.stand_in_search import Refused

_PAGE_SIZE = 50
_LONGEST_PAGE = 1000


def create_stand_in(memory: Memory | None = None) -> Flask:
    """The stand-in as a Flask app below `/fhir`; `memory` lets the caller look at, and change, what it holds."""
    held = memory if memory is not None else Memory()
    pages: dict[str, tuple[list[Json], str]] = {}
    app = Flask("sluss-stand-in")

    @app.errorhandler(Refused)
    def refused(problem: Refused) -> Response:
        return _answer(problem.status, _outcome(problem.code, problem.diagnostics))

    @app.errorhandler(HTTPException)
    def unknown(problem: HTTPException) -> Response:
        return _answer(problem.code or 500, _outcome("not-supported", problem.name))

    @app.get("/fhir/metadata")
    def metadata() -> Response:
        return _answer(200, _capabilities(held.clock()))

    @app.post("/fhir")
    @app.post("/fhir/")
    def transaction() -> Response:
        return _answer(200, held.transaction(_body("Bundle")))

    @app.post("/fhir/<resource_type>")
    def create(resource_type: str) -> Response:
        status, resource = held.create(_body(resource_type), request.headers.get("If-None-Exist"))
        answer = _answer(status, resource)
        version = resource["meta"]["versionId"]
        answer.headers["Location"] = f"{request.base_url}/{resource['id']}/_history/{version}"
        return answer

    @app.get("/fhir/<resource_type>/<resource_id>")
    def read(resource_type: str, resource_id: str) -> Response:
        return _answer(200, held.read(resource_type, resource_id))

    @app.get("/fhir/<resource_type>/<resource_id>/_history/<version>")
    def version_read(resource_type: str, resource_id: str, version: str) -> Response:
        return _answer(200, held.read(resource_type, resource_id, version))

    @app.get("/fhir/<resource_type>/<resource_id>/_history")
    def history(resource_type: str, resource_id: str) -> Response:
        versions = held.history(resource_type, resource_id)
        return page(versions, _count([*request.args.items(multi=True)]), request.base_url, kind="history")

    @app.put("/fhir/<resource_type>/<resource_id>")
    def update(resource_type: str, resource_id: str) -> Response:
        return _answer(200, held.update(_body(resource_type), resource_id, request.headers.get("If-Match")))

    @app.delete("/fhir/<resource_type>/<resource_id>")
    def delete(resource_type: str, resource_id: str) -> Response:
        held.delete(resource_type, resource_id)
        return Response(status=204)

    @app.get("/fhir/<resource_type>")
    @app.post("/fhir/<resource_type>/_search")
    def search(resource_type: str) -> Response:
        parameters = [*request.args.items(multi=True), *request.form.items(multi=True)]
        return page(held.search(resource_type, parameters), _count(parameters), request.base_url)

    @app.get("/fhir/_page/<token>/<int:size>")
    def next_page(token: str, size: int) -> Response:
        if token not in pages:
            raise Refused(410, "expired", "No such page")
        rest, kind = pages.pop(token)
        return page(rest, size, request.base_url, kind)

    def page(found: list[Json], size: int, self_url: str, kind: str = "searchset") -> Response:
        links = [{"relation": "self", "url": self_url}]
        if len(found) > size:
            token = uuid4().hex
            pages[token] = found[size:], kind
            links.append({"relation": "next", "url": f"{request.host_url}fhir/_page/{token}/{size}"})
        entries = [
            {
                "fullUrl": f"{request.host_url}fhir/{one['resourceType']}/{one['id']}",
                "resource": one,
                **({"search": {"mode": "match"}} if kind == "searchset" else _made_by(one)),
            }
            for one in found[:size]
        ]
        bundle: Json = {"resourceType": "Bundle", "type": kind, "link": links}
        return _answer(200, {**bundle, "entry": entries} if entries else bundle)

    return app


@dataclass(frozen=True, slots=True)
class Running:
    """A stand-in that answers on a loopback port."""

    url: str
    """Its FHIR base URL."""
    memory: Memory


@contextmanager
def running_stand_in(
    port: int = 0, memory: Memory | None = None, wrap: Callable[[Flask], None] | None = None
) -> Iterator[Running]:
    """Serve a stand-in on 127.0.0.1 in threads until the block ends; port 0 takes a free one.

    `wrap` may change the app before it is served (a test adds trouble). Raises OSError when the port is taken.
    """
    held = memory if memory is not None else Memory()
    app = create_stand_in(held)
    if wrap is not None:
        wrap(app)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="stand-in", daemon=True)
    thread.start()
    try:
        yield Running(f"http://127.0.0.1:{server.server_port}/fhir", held)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    """Without a line for every request, which would drown what a demo has to say."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _count(parameters: list[tuple[str, str]]) -> int:
    count = next((value for name, value in parameters if name == "_count"), str(_PAGE_SIZE))
    if not count.isdecimal() or not 0 < int(count) <= _LONGEST_PAGE:
        raise Refused(400, "value", f"_count is 1 to {_LONGEST_PAGE}")
    return int(count)


def _made_by(version: Json) -> Json:
    """What made a version: a history entry has the request and what was answered
    (https://hl7.org/fhir/R4/http.html#history).
    """
    name = f"{version['resourceType']}/{version['id']}"
    first = version["meta"]["versionId"] == "1"
    return {
        "request": {"method": "POST", "url": version["resourceType"]} if first else {"method": "PUT", "url": name},
        "response": {"status": "201 Created" if first else "200 OK", "etag": f'W/"{version["meta"]["versionId"]}"'},
    }


def _body(resource_type: str) -> Json:
    if request.mimetype not in ("application/fhir+json", "application/json"):
        raise Refused(415, "not-supported", "Only application/fhir+json")
    parsed = strict_json.parse(request.get_data())
    if isinstance(parsed, list):
        raise Refused(400, "structure", "; ".join(issue.diagnostics for issue in parsed))
    if parsed.get("resourceType") != resource_type:
        raise Refused(400, "invalid", f"The body is not a {resource_type}")
    return parsed


def _answer(status: int, resource: Json) -> Response:
    answer = Response(strict_json.dump(resource), status, content_type="application/fhir+json; charset=utf-8")
    meta = resource.get("meta", {})
    if "versionId" in meta:
        answer.headers["ETag"] = f'W/"{meta["versionId"]}"'
    return answer


def _outcome(code: str, diagnostics: str) -> Json:
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": diagnostics}],
    }


def _capabilities(now: datetime) -> Json:
    interactions = [
        {"code": code} for code in ("read", "vread", "history-instance", "create", "update", "delete", "search-type")
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.astimezone(UTC).isoformat(timespec="seconds"),
        "kind": "instance",
        "implementation": {"description": "Stand-in for an external FHIR server"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {"type": name, "interaction": interactions, "versioning": "versioned", "conditionalCreate": True}
                    for name in sorted(SUPPORTED_TYPES)
                ],
                "interaction": [{"code": "transaction"}],
            }
        ],
    }
