"""The bound that intake is measured against: what nobody who takes in a Bundle can do without.

A bare Flask route that parses the same Bundle, validates it with fhir.resources and writes as many rows as intake does
to a plain table with a primary key, in one statement that is one transaction.
"""

import json
import os
import queue
import sys
from itertools import cycle, islice

import psycopg
from fhir.resources.R4B.bundle import Bundle
from flask import Flask, Response, request

from service.cli import web_server

URL = "BENCH_URL"
DOCUMENTS = "BENCH_DOCUMENTS"
"""How many of the rows hold a resource."""
LINES = "BENCH_LINES"
"""How many hold something short, as rows of an index do."""

TABLE = "CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL)"
_INSERT = "INSERT INTO bare (content) SELECT unnest(%(rows)b::text[])"
_LINE = "ServiceRequest/00000000-0000-4000-8000-000000000000"


def create_app() -> Flask:
    """The bare application; its database and row counts come from the environment."""
    app = Flask("bare")
    documents, lines = int(os.environ[DOCUMENTS]), int(os.environ[LINES])
    idle: queue.SimpleQueue[psycopg.Connection] = queue.SimpleQueue()

    @app.post("/fhir")
    def take_in() -> Response:
        bundle = json.loads(request.get_data(cache=False))
        Bundle.model_validate(bundle)
        resources = [json.dumps(entry["resource"], ensure_ascii=False) for entry in bundle["entry"]]
        rows = [*islice(cycle(resources), documents), *[_LINE] * lines]
        try:
            connection = idle.get_nowait()
        except queue.Empty:
            connection = psycopg.connect(os.environ[URL], autocommit=True, prepare_threshold=0)
        connection.execute(_INSERT, {"rows": rows})
        idle.put(connection)
        return Response('{"resourceType":"Bundle"}', content_type="application/fhir+json")

    @app.get("/health/live")
    def live() -> str:
        return "ok"

    return app


if os.environ.get(URL):
    app = create_app()

if __name__ == "__main__":
    port, processes, threads = map(int, sys.argv[1:4])
    web_server("tests.bench.bare:app", "127.0.0.1", port, processes, threads).serve()
