"""Registered clients for the tests: what they are registered for, and a token for each."""

from collections.abc import Mapping
from typing import Any

from werkzeug.test import TestResponse

from fhir_mappings.records import Json
from service.access.clients import Registration, registered
from service.store.client_records import ClientRow, Credentials
from tests.access import signing
from tests.web.caller import UNIT, Sluss
from tests.web.conftest import NOW

REGISTERED: Mapping[str, dict[str, Any]] = {
    "referrer": {"organisations": (UNIT,)},
    "therapist": {"teams": ("gavle",)},
    "platform": {"organisations": (UNIT,)},
    "administrator": {},
}
TEAMS = ("gavle", "vastra-gastrikland", "norra-halsingland", "sodra-halsingland")


class WithToken(Sluss):
    """Calls with a bearer token, or with none."""

    def __init__(self, plain: Sluss, token: str | None) -> None:
        super().__init__(plain.app)
        self.token = token

    def call(self, method: str, path: str, body: Any = None, headers: Any = None, **more: Any) -> TestResponse:
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return super().call(method, path, body, {**given, **(headers or {})}, **more)


def register(sluss: Sluss, id_: str, role: str, known_by: Credentials | None = None, **reach: Any) -> ClientRow:
    """A client as `sluss client add` registers it; by default for the sample unit or team."""
    given = known_by or Credentials(jwks=signing.key_set())
    made = registered(Registration(id_, id_, role, credentials=given, **(reach or REGISTERED[role])), TEAMS, NOW)
    assert isinstance(made, ClientRow), made
    assert sluss.app.extensions["sluss"].store.clients.add(made)
    return made


def ask(sluss: Sluss, assertion: str, **changes: str | None) -> TestResponse:
    """The answer to a token request."""
    return sluss.app.test_client().post("/auth/token", data=signing.form(assertion, **changes))


def token_of(sluss: Sluss, client: str, **changes: str | None) -> str:
    """A token for a registered client."""
    answer = ask(sluss, signing.signed(signing.claims(sluss.app.extensions["sluss"].clock(), client)), **changes)
    assert answer.status_code == 200, answer.text
    body: Json = answer.get_json()
    return str(body["access_token"])


def acting_with_token(sluss: Sluss, role: str, **reach: Any) -> WithToken:
    """A newly registered client of a role, with a token."""
    scope = reach.pop("scope", None)
    id_ = f"{role}-{len(sluss.app.extensions['sluss'].store.clients.listed())}"
    register(sluss, id_, role, **reach)
    return WithToken(sluss, token_of(sluss, id_, scope=scope))
