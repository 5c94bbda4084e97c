"""Reading a region pack from its folder, and refusing a broken one with all that is wrong with it.

A pack is a folder with `pack.toml` (programmes, teams, areas, limits), `rules.toml`, `units.toml`, `texts.toml` and
`questionnaires/*.json`. MADRS-S is the same everywhere and lies beside the shipped packs; a pack's own file of the same
name wins.
"""

from collections.abc import Mapping
from pathlib import Path

from fhir_mappings.records import Channel, HsaId, Reach, Unit
from service.packs.forms import read_questionnaires
from service.packs.model import Absence, Area, Pack, UnitKind, business_version
from service.packs.programmes import read_limits, read_programmes, read_sources, read_teams, read_time_limits
from service.packs.reading import Problem, Section, open_toml, unknown
from service.packs.rules import read_rules
from service.packs.templates import read_texts

SHIPPED = Path(__file__).parent
"""Where the shipped packs lie, one folder each."""


class BrokenPack(ValueError):  # noqa: N818  # said of the pack, not of the error
    """A pack that cannot be used; `problems` has everything that is wrong with it, in the order of its files."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.name = name
        self.problems = problems
        super().__init__(f"Pack {name}: " + "; ".join(map(str, problems)))


def shipped() -> tuple[str, ...]:
    """Names of the packs that come with Sluss."""
    return tuple(sorted(folder.parent.name for folder in SHIPPED.glob("*/pack.toml")))


def folder_of(name_or_path: str | Path) -> Path:
    """The folder of a shipped pack by its name, else the path as given."""
    return SHIPPED / name_or_path if str(name_or_path) in shipped() else Path(name_or_path)


def load(name_or_path: str | Path) -> Pack:
    """The pack, whole and consistent. Raises BrokenPack with every problem otherwise."""
    folder = folder_of(name_or_path)
    if not folder.is_dir():
        raise BrokenPack(
            str(name_or_path),
            [Problem("", "", f"neither a shipped pack ({', '.join(shipped())}) nor a folder: {name_or_path}")],
        )
    problems: list[Problem] = []
    pack = _read(folder, problems)
    if problems or pack is None:
        raise BrokenPack(str(name_or_path), problems)
    return pack


def _read(folder: Path, problems: list[Problem]) -> Pack | None:
    """The pack as far as it can be read; every problem is noted in `problems`."""
    main, rules, units, texts = (
        open_toml(folder, file, problems) for file in ("pack.toml", "rules.toml", "units.toml", "texts.toml")
    )
    templates = read_texts(texts) if texts else {}
    name, version = (main.text("name"), main.text("version")) if main else ("", "")
    questionnaires = read_questionnaires(SHIPPED, folder, business_version(name, version), problems)
    if main is None:
        return None
    limits = read_limits(main)
    programmes = read_programmes(main)
    teams = read_teams(main)
    municipalities = _municipalities(main)
    areas = _areas(main, teams, municipalities)
    kinds = _unit_kinds(main)
    role_titles = main.section("role_titles")
    pack = Pack(
        name=name,
        version=version,
        title=main.text("title"),
        sources=read_sources(main),
        programmes=programmes,
        rules=read_rules(rules, programmes, {name: limit.value for name, limit in limits.items()}) if rules else (),
        limits=limits,
        teams=teams,
        coordination=main.text("coordination"),
        areas=areas,
        units=_units(units, areas, kinds, municipalities) if units else {},
        unit_kinds=kinds,
        municipalities=municipalities,
        time_limits=read_time_limits(main),
        texts=templates,
        role_titles={code: role_titles.text(code) for code in role_titles.table},
        default_reach=_default_reach(main),
        platform=main.text("platform"),
        demo_link=main.optional_text("demo_link"),
        patient_information=main.optional_text("patient_information"),
        absences=_absences(main, teams),
        questionnaires=questionnaires,
    )
    _check_teams(main, pack)
    main.close()
    return pack


def _unit_kinds(main: Section) -> dict[str, UnitKind]:
    kinds: dict[str, UnitKind] = {}
    for code, section in main.named_sections("unit_kind"):
        kinds[code] = UnitKind(code, section.text("title"), section.flag("may_refer"))
        section.close()
    return kinds


def _check_teams(main: Section, pack: Pack) -> None:
    if pack.coordination and pack.coordination not in pack.teams:
        main.problem("coordination", f"is not the id of a team: {pack.coordination!r}")
    for team in pack.teams.values():
        if team.role_code not in pack.role_titles:
            main.problem(f"team.{team.id}.role_code", f"has no title in role_titles: {team.role_code!r}")
    roles = [role for team in pack.teams.values() for role in team.roles]
    for role in sorted({role for role in roles if roles.count(role) > 1}):
        main.problem("team", f"the role {role!r} belongs to more than one team")


def _municipalities(main: Section) -> dict[str, str]:
    table = main.section("municipalities")
    for code in table.table:
        if not (len(code) == 4 and code.isascii() and code.isdigit()):
            table.problem(code, "is not a municipality code of four digits")
    return {code: table.text(code) for code in table.table}


def _areas(main: Section, teams: Mapping[str, object], municipalities: Mapping[str, str]) -> dict[str, Area]:
    areas: dict[str, Area] = {}
    holder: dict[str, str] = {}
    for id_, section in main.named_sections("area"):
        area = Area(id_, section.text("team"), frozenset(section.texts("municipalities")))
        if area.team and area.team not in teams:
            section.problem("team", f"is not the id of a team: {area.team!r}")
        for code in unknown(area.municipalities, municipalities):
            section.problem("municipalities", f"has a code without a name in [municipalities]: {code}")
        for code in sorted(area.municipalities & holder.keys()):
            section.problem("municipalities", f"has {code}, which area {holder[code]!r} has too")
        holder.update(dict.fromkeys(area.municipalities, id_))
        section.close()
        areas[id_] = area
    return areas


def _units(
    file: Section, areas: Mapping[str, Area], kinds: Mapping[str, UnitKind], municipalities: Mapping[str, str]
) -> dict[HsaId, Unit]:
    units: dict[HsaId, Unit] = {}
    for section in file.sections("unit"):
        unit = Unit(
            hsa_id=HsaId(section.text("hsa_id")),
            name=section.text("name"),
            kind=section.text("kind"),
            municipality=section.text("municipality"),
            area=section.text("area"),
            reach=section.choice("reach", Reach),
            may_book_start_call=section.flag("may_book_start_call"),
        )
        for name, value, known in (
            ("kind", unit.kind, kinds),
            ("municipality", unit.municipality, municipalities),
            ("area", unit.area, areas),
        ):
            if value and value not in known:
                section.problem(name, f"is not known to the pack: {value!r}")
        if unit.hsa_id in units:
            section.problem("hsa_id", f"is listed twice: {unit.hsa_id}")
        section.close()
        units[unit.hsa_id] = unit
    file.close()
    return units


def _default_reach(main: Section) -> dict[Channel, Reach]:
    section = main.section("default_reach")
    reach = {channel: section.choice(channel, Reach) for channel in Channel}
    section.close()
    return reach


def _absences(main: Section, teams: Mapping[str, object]) -> tuple[Absence, ...]:
    absences = []
    for section in main.sections("absence", needed=False):
        absence = Absence(
            section.text("team"), section.day("first"), section.day("last"), section.optional_text("substitute")
        )
        for name, team in (("team", absence.team), ("substitute", absence.substitute)):
            if team and team not in teams:
                section.problem(name, f"is not the id of a team: {team!r}")
        if absence.last < absence.first:
            section.problem("last", f"comes before first ({absence.first})")
        section.close()
        absences.append(absence)
    return tuple(absences)
