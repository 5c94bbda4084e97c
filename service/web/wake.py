"""The external server says that something has changed there: a hint to look soon, and nothing else.

It comes as the rest-hook of a Subscription (https://hl7.org/fhir/R4/subscription.html), whose header carries the
secret. Whatever is sent with it is not read: what has changed is asked of that server itself. A hint that is lost costs
nothing but the time until the next look.
"""

import hmac
from datetime import UTC, datetime

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from service.web.requests_in import MOST_BYTES, WAKE, house

COLLECT = "collect"
"""Name of the job that looks at the external server: however many wake it, one waits."""
_FIRST = 1
"""Its priority, as the worker's own: one that waited behind a backlog of deliveries would keep the others out."""

blueprint = Blueprint("wake", __name__)


@blueprint.route(WAKE, methods=["POST", "PUT"])
@blueprint.route(f"{WAKE}/<path:_what>", methods=["POST", "PUT"])
def wake(_what: str = "") -> Response:
    """Have the collector look soon. 404 where nothing may wake it, 401 without the secret. A server that is told to
    send what has changed appends `/Type/id` to the address.
    """
    secret: str | None = current_app.config["WAKE_TOKEN"]
    if secret is None or current_app.config["FHIR_SERVER_URL"] is None:
        raise NotFound
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {secret}".encode()):
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    if (request.content_length or 0) > MOST_BYTES:
        raise RequestEntityTooLarge
    house().store.wake(COLLECT, {"timestamp": int(datetime.now(UTC).timestamp())}, _FIRST)
    return Response(status=204)
