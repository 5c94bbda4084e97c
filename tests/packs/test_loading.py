"""Loading a pack: the shipped ones are whole, and a broken one is refused with everything that is wrong with it."""

import shutil
from pathlib import Path

import pytest

from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.terminology import PROGRAMMES
from service.packs.forms import bound_to
from service.packs.loading import SHIPPED, BrokenPack, load, shipped
from service.packs.model import TIME_LIMITS

FILES = ("pack.toml", "rules.toml", "units.toml", "texts.toml", "questionnaires/ikbt-referral.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "gavleborg", tmp_path / "own"))


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def problems(folder: Path) -> list[str]:
    with pytest.raises(BrokenPack) as broken:
        load(folder)
    return [str(problem) for problem in broken.value.problems]


def test_two_packs_are_shipped() -> None:
    assert shipped() == ("gavleborg", "praktikertjanst")


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_pack_is_whole(name: str) -> None:
    pack = load(name)
    assert pack.name == name
    assert set(pack.programmes) <= set(PROGRAMMES)
    assert set(pack.time_limits) == set(TIME_LIMITS)
    assert pack.coordination in pack.teams


@pytest.mark.parametrize("name", shipped())
def test_the_directory_knows_where_every_team_is_seated(name: str) -> None:
    pack = load(name)
    assert {team.hsa_id for team in pack.teams.values()} <= set(pack.units)


def test_a_pack_of_ones_own_is_loaded_by_its_path(folder: Path) -> None:
    change(folder / "pack.toml", 'name = "gavleborg"', 'name = "own"')
    assert load(folder).name == "own"
    assert load(str(folder)).rules == load("gavleborg").rules


def test_a_path_that_is_no_folder_is_refused_with_the_names_of_shipped_packs(tmp_path: Path) -> None:
    assert "gavleborg, praktikertjanst" in problems(tmp_path / "nowhere")[0]


def test_all_problems_are_told_at_once(folder: Path) -> None:
    change(folder / "pack.toml", 'team = "gavle"', 'team = "nobody"')
    change(folder / "pack.toml", "[limit.madrs-s-age]\nvalue = 30", '[limit.madrs-s-age]\nvalue = "thirty"')
    change(folder / "rules.toml", "%diagnoses.empty()", "%diagnosis.empty()")
    change(folder / "rules.toml", 'verdict = "information"', 'verdict = "perhaps"')
    change(folder / "units.toml", 'kind = "hospital"', 'kind = "castle"')
    change(folder / "texts.toml", "{demo_link}", "{demo}")
    (folder / "questionnaires" / "ikbt-referral.json").write_text("{", encoding="utf-8")
    told = "\n".join(problems(folder))
    for said in (
        "pack.toml: area.gavle.team: is not the id of a team: 'nobody'",
        "pack.toml: limit.madrs-s-age.value: must be a whole number, not 'thirty'",
        "rules.toml: rule[1].outcome[0].when: names %diagnosis, which is no variable and no limit",
        "rules.toml: rule[1].outcome[0].verdict: must be one of advice, eligible, review, information, return",
        "units.toml: unit[7].kind: is not known to the pack: 'castle'",
        "texts.toml: message.acknowledgement: names {demo}",
        "questionnaires/ikbt-referral.json: line 1:",
    ):
        assert said in told


@pytest.mark.parametrize("file", FILES[:4])
def test_a_missing_file_is_told(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"{file}: the file is missing" in problems(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_not_text_is_told(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"\xff\xfe\x00")
    assert any(told.startswith(f"{file}: cannot be read") for told in problems(folder))


@pytest.mark.parametrize("file", FILES[:4])
def test_bad_toml_is_told_with_its_line(folder: Path, file: str) -> None:
    path = folder / file
    path.write_text("ok = 1\nbad = = 1\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert any(told.startswith(f"{file}: line 2, column 7: Invalid value") for told in problems(folder))


def test_a_key_that_nobody_knows_is_told(folder: Path) -> None:
    change(folder / "rules.toml", "alert = true", "alart = true")
    change(folder / "pack.toml", "before_start = true", "before_begin = true")
    told = "\n".join(problems(folder))
    assert "alart: is not a key that is known here" in told
    assert "before_begin: is not a key that is known here" in told


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("%ageYears <", "is not FHIRPath: column"),
        ("%ageYears < 18 rubbish", "nothing may follow"),
        ("%ageYears + 1", "gives [18] where true or false is needed"),
        ("%ageYears > 'x'", "cannot be evaluated"),
        ("nonsense(%ageYears)", "cannot be evaluated"),
        ("%ageYear < 18", "names %ageYear"),
    ],
)
def test_a_condition_that_cannot_work_is_told(folder: Path, condition: str, reason: str) -> None:
    change(folder / "rules.toml", "%ageYears < %`age-minimum`", condition)
    (told,) = problems(folder)
    assert told.startswith("rules.toml: rule[0].outcome[0].when: ")
    assert reason in told


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        (
            "pack.toml",
            'coordination = "samordning"',
            'coordination = "nobody"',
            "coordination: is not the id of a team",
        ),
        ("pack.toml", "shortest_weeks = 6", "shortest_weeks = 60", "longest_weeks: is less than shortest_weeks"),
        ("pack.toml", "count = 2", "count = 4", "activity[2].count: is more than most (3)"),
        ("pack.toml", '["2180"]', '["2180", "2101"]', "has 2101, which area 'gavle' has too"),
        ("pack.toml", '["2180"]', '["2199"]', "has a code without a name in [municipalities]: 2199"),
        ("pack.toml", '2180 = "Gävle"', '218 = "Gävle"', "is not a municipality code of four digits"),
        ("pack.toml", "[programme.stress]", "[programme.gout]", "'gout' is not a code of ikbt-programme"),
        ("pack.toml", "[time_limit.abort]", "[time_limit.pause]", "time_limit.abort: is missing"),
        ("pack.toml", "escalate_after_hours = 72", "escalate_after_hours = 7", "comes before the reminder"),
        ("pack.toml", "[limit.age-minimum]", "[limit.ageYears]", "is the name of a variable already"),
        ("pack.toml", "gavle-internet-therapist-2", "a b", "'a b' is not a FHIR id"),
        ("pack.toml", "gavle-internet-therapist-2", "samordning-1", "belongs to more than one team"),
        ("pack.toml", 'role_code = "internet-therapist"', 'role_code = "x"', "has no title in role_titles: 'x'"),
        ("pack.toml", 'phone = "026-157777"', 'phone = " "', "team.gavle.phone: must not be blank"),
        (
            "pack.toml",
            "[default_reach]",
            '[[absence]]\nteam="x"\nfirst=2026-07-02\nlast=2026-07-01\n[default_reach]',
            "x'",
        ),
        ("units.toml", "SE2321000198-EX02", "SE2321000198-EX01", "is listed twice: SE2321000198-EX01"),
        ("rules.toml", 'id = "motivated"', 'id = "age-minimum"', "is the id of two rules: age-minimum"),
        ("rules.toml", 'row = "R1"', "", "rule[0].row: is missing"),
        ("rules.toml", 'programmes = ["stress"]', 'programmes = ["gout"]', "the pack has no programme 'gout'"),
        ("rules.toml", "{ageYears} år", "{age} år", "names {age}, which is no variable and no limit"),
        ("rules.toml", 'verdict = "advice"', 'verdict = "eligible"', "eligible is the lack of them"),
        ("texts.toml", "[sentence]", "[sentences]", "sentence: is missing"),
        ("questionnaires/ikbt-referral.json", "{S}/Questionnaire/ikbt-referral", "x", "url: must be {S}"),
        ("questionnaires/ikbt-referral.json", '"motivated"', '"eager"', "is no question that Sluss reads: 'eager'"),
    ],
)
def test_what_does_not_fit_together_is_told(folder: Path, file: str, before: str, after: str, said: str) -> None:
    change(folder / file, before, after)
    assert any(told.startswith(file) and said in told for told in problems(folder))


def test_madrs_s_has_its_nine_items_in_every_pack() -> None:
    for name in shipped():
        form = load(name).questionnaires["madrs-s"]
        assert [item["linkId"] for item in form["item"]] == [f"item-{number}" for number in range(1, 10)]
        assert {item["type"] for item in form["item"]} == {"integer"}


def test_the_referral_form_of_gavleborg_asks_every_question_in_the_way_it_is_read() -> None:
    items = {item["linkId"]: item for item in load("gavleborg").questionnaires["ikbt-referral"]["item"]}
    codes = {
        link_id: tuple(option["valueCoding"]["code"] for option in item.get("answerOption", ()))
        for link_id, item in items.items()
    }
    assert codes == dict(QUESTIONS)
    assert {item["type"] for item in items.values()} == {"boolean", "choice"}


def test_the_canonical_base_is_put_in_when_a_questionnaire_is_served() -> None:
    form = load("gavleborg").questionnaires["ikbt-referral"]
    served = bound_to(form, "https://sluss.example/fhir")
    assert served["url"] == "https://sluss.example/fhir/Questionnaire/ikbt-referral"
    assert "{S}" not in str(served)
    assert form["url"].startswith("{S}")


def test_forms_of_different_packs_under_one_canonical_url_differ_in_version(folder: Path) -> None:
    change(folder / "pack.toml", 'name = "gavleborg"\nversion = "1.0.0"', 'name = "own"\nversion = "2.1.0"')
    packs = [load("gavleborg"), load("praktikertjanst"), load(folder)]
    forms = [pack.questionnaires["ikbt-referral"] for pack in packs]
    assert len({form["url"] for form in forms}) == 1
    assert [form["version"] for form in forms] == ["1.0.0-gavleborg", "1.0.0-praktikertjanst", "2.1.0-own"]


def test_what_all_packs_share_has_one_version() -> None:
    assert load("gavleborg").questionnaires["madrs-s"] == load("praktikertjanst").questionnaires["madrs-s"]


@pytest.mark.parametrize("name", shipped())
def test_every_question_of_the_form_has_a_code_to_be_extracted_by(name: str) -> None:
    for item in load(name).questionnaires["ikbt-referral"]["item"]:
        assert item["code"] == [{"system": "{S}/CodeSystem/ikbt-referral-question", "code": item["linkId"]}]


def test_a_pack_without_a_version_is_refused(folder: Path) -> None:
    change(folder / "pack.toml", 'version = "1.0.0"\n', "")
    assert "pack.toml: version: is missing; a text is needed" in problems(folder)
