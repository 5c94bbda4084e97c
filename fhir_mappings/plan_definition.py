"""A programme of the pack as a PlanDefinition that CarePlans instantiate. https://hl7.org/fhir/R4/plandefinition.html"""

from fhir_mappings.records import Activity, Json, Programme
from fhir_mappings.terminology import Canonical


def to_fhir_plan_definition(programme: Programme, pack: str, version: str, canonical: Canonical) -> Json:
    """The PlanDefinition of a programme in a version of its pack, without `meta`; its id is `{pack}-{programme}`. The
    duration in weeks stands on the root action, the activities below it in the pack's order.
    """
    name = f"{pack}-{programme.code}"
    shortest, longest = programme.weeks
    weeks = {"low": _weeks(shortest), "high": _weeks(longest)}
    activities = [_action(activity, canonical) for activity in programme.activities]
    return {
        "resourceType": "PlanDefinition",
        "id": name,
        "url": canonical.plan_definition(pack, programme.code),
        "identifier": [{"system": canonical.identifier("programme"), "value": name}],
        "version": version,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "title": programme.title,
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/plan-definition-type", "code": "clinical-protocol"}
            ]
        },
        "status": "active",
        **({"description": programme.description} if programme.description else {}),
        "topic": [{"coding": [{"system": canonical.programme, "code": programme.code}]}],
        "action": [
            {
                "title": programme.title,
                "timingRange": weeks,
                **({"action": activities} if activities else {}),
            }
        ],
    }


def from_fhir_plan_definition(definition: Json, canonical: Canonical) -> tuple[str, tuple[int, int], tuple[str, ...]]:
    """The programme's code, its shortest and longest duration in weeks, and the codes of its activities in order."""
    root = definition["action"][0]
    weeks = root["timingRange"]
    codes = tuple(
        coding["code"]
        for action in root.get("action", ())
        for concept in action["code"]
        for coding in concept["coding"]
        if coding["system"] == canonical.activity
    )
    code = definition["topic"][0]["coding"][0]["code"]
    return code, (int(weeks["low"]["value"]), int(weeks["high"]["value"])), codes


def _weeks(number: int) -> Json:
    return {"value": number, "unit": "v", "system": "http://unitsofmeasure.org", "code": "wk"}


def _action(activity: Activity, canonical: Canonical) -> Json:
    action: Json = {
        "title": activity.title,
        "code": [{"coding": [{"system": canonical.activity, "code": activity.code}], "text": activity.title}],
    }
    if activity.description:
        action["description"] = activity.description
    return action
