"""`texts.toml`: the Swedish messages and sentences of a pack, checked against what can be filled in."""

from collections.abc import Mapping

from service.packs.reading import Section, unknown
from service.packs.texts import placeholders
from service.packs.vocabulary import PLACEHOLDERS, SENTENCES


def read_texts(file: Section) -> dict[str, str]:
    """The templates by name: every message category below `[message]`, every sentence below `[sentence]`."""
    messages = _read(file.section("message"), {str(category): words for category, words in PLACEHOLDERS.items()})
    sentences = _read(file.section("sentence"), SENTENCES)
    file.close()
    return {**messages, **sentences}


def _read(section: Section, wanted: Mapping[str, frozenset[str]]) -> dict[str, str]:
    templates = {name: section.text(name) for name in wanted}
    for name, template in templates.items():
        for word in unknown(placeholders(template), wanted[name]):
            section.problem(name, f"names {{{word}}}; it may name {', '.join(sorted(wanted[name])) or 'nothing'}")
    section.close()
    return templates
