"""Everything that describes us, as it is stored at start and exported by `sluss publish`."""

from collections.abc import Iterator

from fhir_mappings.plan_definition import to_fhir_plan_definition
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.operations import operation_definitions
from service.definitions.parameters import search_parameters
from service.definitions.profiles import structure_definitions
from service.definitions.rules import to_fhir_rules
from service.definitions.terminologies import terminologies, to_fhir_code_system, to_fhir_value_set
from service.packs.forms import bound_to
from service.packs.model import Pack


def definitions(pack: Pack, canonical: Canonical) -> Iterator[Json]:
    """Every definition of this pack and of Sluss itself, with its id and without `meta`."""
    for terminology in terminologies(pack, canonical):
        yield to_fhir_code_system(terminology, canonical)
        yield to_fhir_value_set(terminology, canonical)
    yield from structure_definitions(canonical)
    yield from operation_definitions(canonical)
    yield from search_parameters(canonical)
    yield to_fhir_rules(pack, canonical)
    for programme in pack.programmes.values():
        yield to_fhir_plan_definition(programme, pack.name, pack.version, canonical)
    for name, questionnaire in pack.questionnaires.items():
        yield {**bound_to(questionnaire, canonical.base), "id": name}
