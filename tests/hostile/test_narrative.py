"""Script in a narrative, wherever one may stand: refused (txt-1), whatever it is dressed as."""

from collections.abc import Callable

import pytest

from fhir_mappings.records import Json
from tests.web.caller import Sluss, bundle, issues, single

Rows = Callable[[], dict[str, int]]

HOSTILE = [
    "<script>alert(1)</script>",
    '<script src="https://evil.example/x.js"/>',
    '<p onclick="alert(1)">x</p>',
    '<img src="x" onerror="alert(1)"/>',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt:alert(1)">x</a>',
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href=" \x09java&#10;script:alert(1)">x</a>',
    '<a href="vbscript:x">x</a>',
    '<a href="data:text/html,&lt;script&gt;alert(1)&lt;/script&gt;">x</a>',
    '<img src="data:image/svg+xml,&lt;svg onload=alert(1)&gt;"/>',
    "<form action='https://evil.example'><input name='x'/></form>",
    "<iframe src='https://evil.example'/>",
    "<object data='x'/>",
    "<embed src='x'/>",
    "<base href='https://evil.example/'/>",
    "<link rel='stylesheet' href='https://evil.example/x.css'/>",
    "<style>p{background:url(https://evil.example)}</style>",
    "<meta http-equiv='refresh' content='0;url=https://evil.example'/>",
    "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "<math xmlns='http://www.w3.org/1998/Math/MathML'><mi>x</mi></math>",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
    "<p xlink:href='javascript:alert(1)' xmlns:xlink='http://www.w3.org/1999/xlink'>x</p>",
    "<p style='background:url(https://evil.example)'>x</p>",
    "<p style='background:u\\72l(https://evil.example)'>x</p>",
    "<p style='background:u/**/rl(https://evil.example)'>x</p>",
    "<p style='background:image-set(\"https://evil.example\" 1x)'>x</p>",
    "<p style='width:expression(alert(1))'>x</p>",
    "<p style='width:e\\78 pression(alert(1))'>x</p>",
    "<p style='-moz-binding:url(x)'>x</p>",
    "<!ENTITY x 'y'><p>&x;</p>",
    "<?xml-stylesheet href='x'?><p>x</p>",
    "<![CDATA[<script>alert(1)</script>]]><script>x</script>",
    "<p>&nbsp;</p>",
    "<p>not closed",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<video src='https://evil.example'/>",
    "<frameset><frame src='x'/></frameset>",
]
HARMLESS = [
    "<p>Samtal varannan vecka</p>",
    '<a href="https://ehr.example/1">x</a>',
    '<a href="#part">x</a>',
    '<p style="color:red; font-weight:bold">x</p>',
    '<img src="data:image/png;base64,iVBORw0KGgo=" alt="x"/>',
    "<table><tbody><tr><td>1</td></tr></tbody></table>",
]


def text(inside: str) -> Json:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">x{inside}</div>'}


@pytest.mark.parametrize("inside", HOSTILE)
def test_a_narrative_that_does_something_is_400_and_nothing_is_stored(sluss: Sluss, rows: Rows, inside: str) -> None:
    before = rows()
    answers = [
        sluss.post("/fhir/ServiceRequest", single(text=text(inside))),
        sluss.post("/fhir", bundle(change=lambda order: order.update(text=text(inside)))),
        sluss.post("/fhir/ServiceRequest/$assess", single(text=text(inside))),
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert any(issue["expression"][0].endswith(".text.div") for issue in issues(answer))
        assert "evil.example" not in answer.text, "it is not told again"
    assert {name: count for name, count in rows().items() if "audit" not in name} == {
        name: count for name, count in before.items() if "audit" not in name
    }


def test_in_contained_resources_amendments_and_patches_too(sluss: Sluss) -> None:
    bad = text(HOSTILE[0])
    contained = single("R-2", contained=[{"resourceType": "Patient", "id": "p", "text": bad}])
    assert sluss.post("/fhir/ServiceRequest", contained).status_code == 400
    stored = sluss.refer()
    order, task = stored["order"], stored["task"]
    assert sluss.put(f"/fhir/ServiceRequest/{order['id']}", {**order, "text": bad}).status_code == 400
    assert sluss.put(f"/fhir/Task/{task['id']}", {**task, "text": bad}).status_code == 400
    patch = '[{"op": "add", "path": "/text", "value": {"status": "generated", "div": "<div xmlns=\'http://www.w3.org/'
    patch += "1999/xhtml'><script>x</script></div>\"}}]"
    media = {"Content-Type": "application/json-patch+json"}
    assert sluss.call("PATCH", f"/fhir/Task/{task['id']}", patch, media).status_code in (400, 422)
    assert sluss.read(f"Task/{task['id']}") == task


@pytest.mark.parametrize("inside", HARMLESS)
def test_a_narrative_that_is_only_text_is_stored_as_sent(sluss: Sluss, inside: str) -> None:
    answer = sluss.post("/fhir/ServiceRequest", single(text=text(inside)))
    assert answer.status_code == 201, answer.text
    (order,) = sluss.search("ServiceRequest")
    assert order["text"] == text(inside)


def test_text_in_other_elements_is_data_and_never_a_page(sluss: Sluss) -> None:
    answer = sluss.post("/fhir/ServiceRequest", single(note=[{"text": "<script>alert(1)</script>"}]))
    assert answer.status_code == 201
    (order,) = sluss.search("ServiceRequest")
    assert order["note"][0]["text"] == "<script>alert(1)</script>"
    shown = sluss.get(f"/fhir/ServiceRequest/{order['id']}", {"Accept": "text/html"})
    assert shown.status_code == 406, "never as HTML"
