"""Messages and Task texts in Swedish, filled in from the pack's templates.

A line whose placeholders are all empty falls away, so that one template serves with and without, say, findings.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fhir_mappings.records import Finding, MessageCategory, StartMode, Team
from service.packs.model import Pack

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]+)\}")


def placeholders(template: str) -> frozenset[str]:
    """The names in braces that a template uses."""
    return frozenset(_PLACEHOLDER.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced. A line that has placeholders, all of them empty, is left out, and
    so are the blank lines that this leaves doubled. Braces in values stay as they are. Raises KeyError for a name
    that `values` does not have.
    """
    kept = []
    for line in template.split("\n"):
        named = _PLACEHOLDER.findall(line)
        if not named or any(values[name] for name in named):
            kept.append(line)
    shape = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return _PLACEHOLDER.sub(lambda found: values[found[1]], shape)


def phone(team: Team) -> str:
    """The team's telephone with its menu choice: `026-157777 (välj …)`."""
    return f"{team.phone} ({team.phone_menu})" if team.phone_menu else team.phone


def finding_lines(findings: Sequence[Finding], *, for_referrer: bool) -> str:
    """One line per finding, with the passage that it rests on where the source speaks of it.

    What only the team may see is left out for the referrer.
    """
    told = [finding for finding in findings if not (for_referrer and finding.team_only)]
    return "\n".join(f"- {finding.text}{_quoted(finding)}" for finding in told)


def render(
    pack: Pack,
    category: MessageCategory,
    *,
    team: Team,
    programme: str,
    reference: str,
    findings: Sequence[Finding] = (),
    start: StartMode = StartMode.THERAPIST_PHONES,
    previous_team: Team | None = None,
    text: str = "",
) -> str:
    """The text of a message to the referrer, in Swedish and fit for the record.

    `programme` is the programme's code, `reference` the referrer's own number, `text` what a person has written (the
    reason, the reply). Findings that only the team may see are never told. Raises KeyError for a programme that the
    pack does not have.
    """
    offered = pack.programmes[programme]
    shortest, longest = offered.weeks
    told = finding_lines(findings, for_referrer=True)
    values = {
        **_of_team(pack, team),
        "reference": reference,
        "programme": offered.title,
        "weeks": f"{shortest}–{longest}",
        "previous_team": previous_team.name if previous_team else "",
        "text": text.strip(),
        "start": fill(pack.texts[f"start-{start}"], _of_team(pack, team)),
        "findings": told,
    }
    if category is MessageCategory.ACKNOWLEDGEMENT and told:
        values["findings"] = fill(pack.texts["findings-acknowledged"], {"findings": told})
    return fill(pack.texts[str(category)], values)


def task_text(pack: Pack, name: str, **values: str) -> str:
    """The description of one of our own Tasks, or another sentence of the pack (`service.packs.vocabulary.SENTENCES`
    has the names and what each needs). Raises KeyError for an unknown name or a value that is missing.
    """
    return fill(pack.texts[name], values)


def recalled(finding: Finding, pack: Pack) -> Finding:
    """A finding of which rule, verdict and Swedish text are stored, with the rest as the pack has it: English text,
    passage, row, and whether only the team may know. A rule that the pack no longer has is for the team only.
    """
    rule = next((rule for rule in pack.rules if rule.id == finding.rule), None)
    if rule is None:
        return replace(finding, text_en=f"rule {finding.rule}", team_only=True)
    for outcome in rule.outcomes:
        values = _read_back(outcome.text, finding.text)
        if values is not None and outcome.verdict is finding.verdict:
            english = fill(outcome.text_en, dict.fromkeys(placeholders(outcome.text_en), "") | values)
            return replace(finding, text_en=english, passage=rule.passage, row=rule.row, team_only=outcome.team_only)
    # told in other words since: what any outcome keeps from the referrer stays so
    hidden = any(outcome.team_only for outcome in rule.outcomes)
    return replace(finding, text_en=f"rule {rule.id}", passage=rule.passage, row=rule.row, team_only=hidden)


def is_worded(template: str, text: str) -> bool:
    """True when the template, filled in with whatever values, says this."""
    return _read_back(template, text) is not None


def _read_back(template: str, text: str) -> dict[str, str] | None:
    """The values that make the template this text; None when none do."""
    names = _PLACEHOLDER.findall(template)
    pattern = "(.*)".join(re.escape(part) for part in _PLACEHOLDER.split(template)[::2])
    found = re.fullmatch(pattern, text, re.DOTALL)
    return dict(zip(names, found.groups(), strict=True)) if found else None


def _quoted(finding: Finding) -> str:
    """The passage as a quotation; a rule without a row in the source has a reason of the pack's, not a passage."""
    return f" (”{finding.passage}”)" if finding.row else ""


def _of_team(pack: Pack, team: Team) -> dict[str, str]:
    return {
        "team": team.name,
        "phone": phone(team),
        "seat": team.seat,
        "demo_link": pack.demo_link or "",
        "patient_information": pack.patient_information or "",
        "platform": pack.platform,
    }
