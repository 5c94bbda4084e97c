"""The account of every referral's way, in Swedish with FHIR's words, from what is stored at the end."""

from itertools import groupby

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from fhir_mappings.communication import CATEGORY_TITLES, category_of, text_of
from fhir_mappings.records import Json
from fhir_mappings.task import findings_of, owner_of, route_rule_of
from service.demo.holdings import Holding
from service.demo.stage import Referral, Stage, coded
from service.demo.story import Story
from service.packs.model import Rule, SetBy

_LONGEST = 400


def tell(story: Story) -> None:
    """Print one panel for each referral."""
    console = story.stage.checks.console
    console.print()
    console.rule("[bold]Varje remiss väg[/bold]")
    for number, referral in enumerate(story.stage.referrals.values(), 1):
        held = story.held.get(referral.order)
        if held is not None:
            _panel(console, story, referral, held, number)


def _panel(console: Console, story: Story, referral: Referral, held: Holding, number: int) -> None:
    stage = story.stage
    tasks = [t for t in held.all_of("Task") if coded([t["code"]], _TASK_CODE) == "fulfill"]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column()
    for label, text in (
        ("Kom in", _came_in(stage, referral)),
        ("Bedömning", _judged(stage, referral, tasks)),
        ("Team", _team(stage, tasks)),
        ("Vad som gjordes", "\n".join(escape(deed) for deed in referral.deeds) or "–"),
        ("Task", "\n".join(_states(stage, task) for task in tasks)),
        ("Andra Task", _others(stage, referral, held, tasks) or "–"),
        ("CarePlan", ", ".join(plan["status"] for plan in held.all_of("CarePlan")) or "–"),
        ("Meddelanden", _messages(stage, referral, held)),
        ("Svar", _reply(stage, held)),
        ("Extern FHIR-server", _external(story, referral, held)),
    ):
        rows.add_row(label, text)
    console.print(Panel(Group(rows), title=f"[bold]{number}. {escape(referral.title)}[/bold]", title_align="left"))


def _came_in(stage: Stage, referral: Referral) -> str:
    sample = referral.sample
    unit = stage.pack.units.get(sample.unit)  # type: ignore[call-overload]  # as sent
    programme = stage.pack.programmes[sample.programme].title
    name = f"{unit.name} ({sample.unit})" if unit else f"{sample.unit}, som inte finns i katalogen"
    return escape(f"{referral.way}\nfrån {name}\nprogram {programme} · {referral.order} · fixtures/{sample.case.name}")


def _judged(stage: Stage, referral: Referral, tasks: list[Json]) -> str:
    colours = {"eligible": "green", "review": "yellow", "information": "yellow", "return": "red"}
    verdict = f"[{colours.get(referral.verdict, 'white')}]{referral.verdict}[/]"
    lines = [verdict + (" + [bold red]larm: suicidrisk[/bold red]" if referral.alert else "")]
    first = stage.observer.read(f"Task/{tasks[0]['id']}/_history/1") if tasks else {}
    rules = {rule.id: rule for rule in stage.pack.rules}
    for finding in findings_of(first, stage.canonical):
        source = f" [dim]{escape(_source(rules[finding.rule]))}[/dim]" if finding.rule in rules else ""
        lines.append(f"{finding.rule} ({finding.verdict}): {escape(finding.text)}{source}")
    return "\n".join(lines if len(lines) > 1 else [*lines, "ingen regel hade något att anmärka"])


def _source(rule: Rule) -> str:
    """Where a rule comes from: the routine's own words, or why the pack adds it."""
    if rule.set_by is SetBy.ROUTINE:
        return f"[rutinen {rule.row}: ”{_short(rule.passage)}”]"
    return f"[packets val: {_short(rule.passage)}]"


def _team(stage: Stage, tasks: list[Json]) -> str:
    if not tasks:
        return "–"
    owners = [_owner(stage, version) for version in _versions(stage, tasks[0])]
    owners += [_owner(stage, version) for task in tasks[1:] for version in _versions(stage, task)]
    rule = route_rule_of(tasks[0], stage.canonical)
    return escape(f"{' → '.join(name for name, _ in groupby(owners))} (regel: {rule})")


def _owner(stage: Stage, task: Json) -> str:
    kind, _, name = owner_of(task).partition("/")
    teams = stage.pack.teams.values()
    team = stage.pack.teams[name] if kind == "HealthcareService" else next(t for t in teams if name in t.roles)
    return team.name


def _states(stage: Stage, task: Json) -> str:
    states = [state for state, _ in groupby(version["status"] for version in _versions(stage, task))]
    return f"{' → '.join(states)} [dim](prioritet {task['priority']}, version {task['meta']['versionId']})[/dim]"


def _versions(stage: Stage, task: Json) -> list[Json]:
    history = stage.observer.ask("GET", f"/fhir/Task/{task['id']}/_history")
    return [entry["resource"] for entry in reversed(history["entry"])]


def _others(stage: Stage, referral: Referral, held: Holding, tasks: list[Json]) -> str:
    """Child Tasks in the programme's order, then those that something made necessary."""
    mine = {task["id"] for task in tasks}
    order = [activity.code for activity in stage.pack.programmes[referral.sample.programme].activities]
    others = [task for task in held.all_of("Task") if task["id"] not in mine]
    named = [(task["code"]["coding"][0]["code"], task["status"]) for task in others]
    named.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
    return ", ".join(f"{code} [dim]{status}[/dim]" for code, status in named)


def _messages(stage: Stage, referral: Referral, held: Holding) -> str:
    lines = []
    for message in sorted(held.all_of("Communication"), key=lambda m: str(m.get("sent", ""))):
        category = category_of(message, stage.canonical)
        national = coded(message.get("category", ()), stage.canonical.national_message)
        title = CATEGORY_TITLES[category] if category else "?"
        own = message["sender"]["reference"].startswith("HealthcareService/") or category != "information"
        way = "vidarebefordrat av teamet" if referral.relayed else "hämtat av plattformen"
        code = f"{category} {national}".strip()
        lines.append(f"{title} [dim]({code}, {message['status']}, {way if own else 'från remittenten'})[/dim]")
    return "\n".join(lines)


def _reply(stage: Stage, held: Holding) -> str:
    """The words of the last message to the referrer that is more than a receipt."""
    wanted = ("final-reply", "discontinued", "withdrawal-confirmed", "returned", "information-request", "started")
    messages = {category_of(m, stage.canonical): m for m in held.all_of("Communication")}
    for category in wanted:
        message = next((m for c, m in messages.items() if c == category), None)
        if message is not None:
            return f"[italic]”{escape(_short(' '.join(text_of(message).split())))}”[/italic]"
    return "–"


def _external(story: Story, referral: Referral, held: Holding) -> str:
    if story.external is None or story.differences is None:
        return "inte jämfört"
    told = story.differences[referral.order]
    if told:
        return "[red]" + escape("; ".join(told)) + "[/red]"
    kinds = [
        (kind, len(held.all_of(kind))) for kind in dict.fromkeys(r["resourceType"] for r in held.resources.values())
    ]
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds)
    there = story.external.copies[referral.task][0]
    return escape(f"lika i allt: {listed}\nTask/{there['id']} är {there['status']} där också")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


_TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
