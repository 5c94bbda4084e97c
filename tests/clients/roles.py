"""What every client can be asked to do, whoever wrote it, and what the people behind it do with that."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fhir_mappings.records import Json


class Refused(Exception):  # noqa: N818 - what happened, no fault
    """The service refused, and this is the OperationOutcome as the client shows it."""

    def __init__(self, outcome: Json) -> None:
        super().__init__(outcome)
        self.issues: list[Json] = outcome["issue"]

    @property
    def diagnostics(self) -> str:
        """For integrators."""
        return "\n".join(issue.get("diagnostics", "") for issue in self.issues)


class Client(Protocol):
    """A client that acts for one caller. All raise Refused."""

    def capabilities(self) -> Json: ...

    def read(self, reference: str) -> Json: ...

    def search(self, type_: str, parameters: Mapping[str, str], include: Sequence[str] = ()) -> list[Json]:
        """The resources of all pages; `include` names search parameters of the type."""

    def create(self, resource: Json) -> Json: ...

    def update(self, resource: Json, version: str | None = None) -> Json:
        """Only if `version` is the current one, where it is given."""

    def transaction(self, bundle: Json) -> Json: ...


CLIENTS = {
    "fhirpy": "199002222397",
    "fhirclient": "200302022389",
    "fhir-kit-client": "196101182803",
    "medplum": "200001252386",
    "fhirclient.js": "189002029800",
    "hapi": "199002222397",
}
"""The clients by name, each with its patient: a referral that is still open would be a finding in the next one."""
