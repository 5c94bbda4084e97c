"""The pack's Questionnaires: `questionnaires/*.json`, FHIR R4, with `{S}` where the canonical base belongs."""

import json
from pathlib import Path
from typing import Any

from fhir_mappings.records import Json
from fhir_mappings.referral_form import QUESTIONS
from service.packs.reading import Problem, unknown
from service.packs.vocabulary import MADRS_S, NEEDED_QUESTIONNAIRES, REFERRAL_FORM

_MADRS_S_ITEMS = tuple(f"item-{number}" for number in range(1, 10))


def read_questionnaires(shared: Path, own: Path, version: str, problems: list[Problem]) -> dict[str, Json]:
    """The Questionnaires by name. The pack's `own` go before those `shared` by all packs and get its `version`: other
    packs publish other questions under the same canonical URL.
    """
    found: dict[str, Json] = {}
    for folder in (shared, own):
        for path in sorted((folder / "questionnaires").glob("*.json")):
            resource = _read(path, problems)
            if resource is not None:
                found[path.stem] = resource if folder == shared else resource | {"version": version}
    problems.extend(
        Problem(f"questionnaires/{name}.json", "", "the questionnaire is missing or cannot be used")
        for name in unknown(NEEDED_QUESTIONNAIRES, found)
    )
    return found


def bound_to(questionnaire: Json, canonical_base: str) -> Json:
    """A copy with `{S}` replaced by the canonical base: what is served."""
    return {key: _replaced(value, canonical_base) for key, value in questionnaire.items()}


def _replaced(value: Any, base: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, base) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, base) for inner in value]
    return value.replace("{S}", base) if isinstance(value, str) else value


def _read(path: Path, problems: list[Problem]) -> Json | None:
    file = f"questionnaires/{path.name}"
    try:
        resource = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as broken:
        problems.append(Problem(file, f"line {broken.lineno}", broken.msg))
        return None
    except (OSError, UnicodeDecodeError) as unreadable:
        problems.append(Problem(file, "", f"cannot be read: {unreadable}"))
        return None
    if not isinstance(resource, dict) or resource.get("resourceType") != "Questionnaire":
        problems.append(Problem(file, "resourceType", "must be Questionnaire"))
        return None
    before = len(problems)
    if resource.get("url") != f"{{S}}/Questionnaire/{path.stem}":
        problems.append(Problem(file, "url", f"must be {{S}}/Questionnaire/{path.stem}"))
    items = resource.get("item")
    link_ids = [item.get("linkId") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    if path.stem == MADRS_S and tuple(link_ids) != _MADRS_S_ITEMS:
        problems.append(Problem(file, "item", f"must have the linkIds {', '.join(_MADRS_S_ITEMS)}, in order"))
    if path.stem == REFERRAL_FORM:
        problems.extend(
            Problem(file, f"item[{position}].linkId", f"is no question that Sluss reads: {link_id!r}")
            for position, link_id in enumerate(link_ids)
            if link_id not in QUESTIONS
        )
    return resource if len(problems) == before else None
