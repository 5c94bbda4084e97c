"""`_pretty=true`: JSON for people to read. https://hl7.org/fhir/R4/http.html#parameters"""

import re

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def indented(text: str) -> str:
    """JSON text with a line for each member. Every value stays as it is written: `1.00` is not read as a number."""
    parts: list[str] = []
    depth, before = 0, ":"
    for part in _PART.findall(text):
        opened, closes = before in "{[", part in "}]"
        depth -= closes
        if (opened or before == "," or closes) and not (opened and closes):
            parts.append("\n" + "  " * depth)
        parts.append(": " if part == ":" else part)
        depth += part in "{["
        before = part
    return "".join(parts)
