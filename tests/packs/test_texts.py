"""Messages in Swedish: what they must tell, and that nothing is left unfilled."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import Finding, MessageCategory, StartMode, Verdict
from service.packs.loading import load, shipped
from service.packs.model import Pack
from service.packs.texts import fill, finding_lines, render, task_text
from service.packs.vocabulary import SENTENCES

GAVLEBORG = load("gavleborg")
GAVLE = GAVLEBORG.teams["gavle"]
FINDING = Finding("madrs-s-maximum", Verdict.RETURN, "MADRS-S är 27.", "MADRS-S is 27.", "inte är över 26", "R14")


def rendered(category: MessageCategory, **more: object) -> str:
    values = {"team": GAVLE, "programme": "depression", "reference": "PMO-2026-000123", **more}
    return render(GAVLEBORG, category, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("category", MessageCategory)
def test_every_message_of_every_pack_is_filled_in_and_names_referral_and_team(
    name: str, category: MessageCategory
) -> None:
    pack: Pack = load(name)
    team = pack.teams[pack.coordination]
    text = render(
        pack, category, team=team, programme="depression", reference="PMO-1", findings=[FINDING], text="Fri text."
    )
    assert "{" not in text
    assert "PMO-1" in text
    assert team.phone in text


def test_the_acknowledgement_tells_what_the_referrer_needs() -> None:
    text = rendered(MessageCategory.ACKNOWLEDGEMENT)
    assert "https://www.livanda.se/sob/info/?region=rg" in text  # R20
    assert "09-503795" in text  # R25
    assert "026-157777 (välj rådgivning, välj sen psykosociala teamet)" in text  # R22, R37
    assert "Internetbehandlaren ringer patienten innan behandlingen startar" in text  # R24
    assert "Att tänka på" not in text


def test_the_acknowledgement_of_a_booked_start_call_says_so() -> None:
    assert "Startsamtalet är bokat" in rendered(MessageCategory.ACKNOWLEDGEMENT, start=StartMode.BOOKED)  # R29


def test_the_acknowledgement_tells_what_to_think_of() -> None:
    text = rendered(MessageCategory.ACKNOWLEDGEMENT, findings=[FINDING])
    assert "Att tänka på:\n- MADRS-S är 27." in text


def test_a_returned_referral_is_told_the_reason_with_its_passage_and_whom_to_ask() -> None:
    text = rendered(MessageCategory.RETURNED, findings=[FINDING])
    assert "- MADRS-S är 27. (”inte är över 26”)" in text
    assert "Kontakta gärna internetbehandlaren" in text  # R22


def test_a_reason_of_the_packs_own_is_not_quoted_as_if_the_routine_said_it() -> None:
    own = replace(FINDING, row="", passage="packets skäl")
    assert finding_lines([own], for_referrer=True) == "- MADRS-S är 27."


def test_what_only_the_team_may_see_is_never_told_to_the_referrer() -> None:
    secret = replace(FINDING, rule="open-referral", text="En annan enhet har remitterat.", team_only=True)
    for category in MessageCategory:
        assert secret.text not in rendered(category, findings=[secret, FINDING])
    assert secret.text in finding_lines([secret], for_referrer=False)
    assert "Att tänka på" not in rendered(MessageCategory.ACKNOWLEDGEMENT, findings=[secret])


def test_what_a_person_has_written_stands_in_the_reply_as_written() -> None:
    reply = "Patienten {mår} bättre.\n\nMADRS-S från 24 till 9."
    assert reply in rendered(MessageCategory.FINAL_REPLY, text=reply)


def test_a_rerouted_referral_tells_both_teams() -> None:
    text = rendered(MessageCategory.REROUTED, previous_team=GAVLEBORG.teams["sodra-halsingland"])
    assert "Internetbehandlare Södra Hälsingland" in text
    assert "Internetbehandlare Gävle" in text


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_can_be_filled_in(name: str, sentence: str) -> None:
    values = dict.fromkeys(SENTENCES[sentence], "värde")
    text = task_text(load(name), sentence, **values)
    assert text
    assert "{" not in text


def test_a_line_whose_words_are_all_empty_falls_away_with_the_blank_lines_around_it() -> None:
    assert fill("Ett.\n\n{findings}\n{text}\n\nTvå.", {"findings": "", "text": ""}) == "Ett.\n\nTvå."


def test_a_name_without_a_value_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(KeyError):
        fill("Hej {namn} {efternamn}", {"namn": "x"})


@given(st.text(min_size=1))
def test_what_is_filled_in_stays_exactly_as_it_is(value: str) -> None:
    assert fill("före {text} efter", {"text": value}) == f"före {value} efter"
