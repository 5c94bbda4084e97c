import pytest

from fhir_mappings.r4.narrative import is_narrative


def div(inside: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'


@pytest.mark.parametrize(
    "inside",
    [
        "Remiss för IKBT",
        '<p class="a" style="color: red">Hej <b>du</b><br/></p>',
        '<a href="https://x.example/a?b=c#d">x</a>',
        '<a href="#part">x</a><a name="part">y</a>',
        '<img src="data:image/png;base64,YQ==" alt="x"/>',
        '<table><tbody><tr><td colspan="2">1</td></tr></tbody></table>',
        '<p xml:lang="sv" lang="sv">å</p>',
        "&#160;x &lt;b&gt;",
    ],
)
def test_basic_formatting_is_allowed(inside: str) -> None:
    assert is_narrative(div(inside))


@pytest.mark.parametrize(
    "text",
    [
        div(""),
        div("  <p> </p>"),
        div("<script>alert(1)</script>x"),
        div('<p onclick="alert(1)">x</p>'),
        div('<a href="javascript:alert(1)">x</a>'),
        div('<a href="java&#9;script:alert(1)">x</a>'),
        div('<a href=" JavaScript:alert(1)">x</a>'),
        div('<a href="data:text/html,x">x</a>'),
        div('<a href="http://[x">x</a>'),
        div('<p style="background: url(https://x.example)">x</p>'),
        div('<iframe src="https://x.example"/>x'),
        div('<form action="x">x</form>'),
        div("<object>x</object>"),
        div('<svg xmlns="http://www.w3.org/2000/svg">x</svg>'),
        div("&nbsp;"),
        div("<p>x"),
        "<div>x</div>",
        '<p xmlns="http://www.w3.org/1999/xhtml">x</p>',
        '<!DOCTYPE div [<!ENTITY a "b">]>' + div("&a;"),
        '<?xml version="1.0"?>' + div("x"),
        div("x") + "<p/>",
        "text",
        "",
        div("\x01"),
        div("<p>" * 20_000),
    ],
)
def test_what_runs_fetches_or_hides_is_refused(text: str) -> None:
    assert not is_narrative(text)


def test_a_deep_narrative_kills_nothing() -> None:
    assert is_narrative(div("<b>" * 20_000 + "x" + "</b>" * 20_000))
    assert not is_narrative(None)
