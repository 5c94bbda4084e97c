"""Our CodeSystems, and for each the ValueSet of all its codes. https://hl7.org/fhir/R4/codesystem.html

The codes are those that the mappings and the pack use, read from where they are used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fhir_mappings.communication import CATEGORY_TITLES
from fhir_mappings.madrs_s import ITEMS
from fhir_mappings.records import Json, Verdict
from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.task import BUSINESS_STATUS, KIND_TITLES, OUTPUT_TITLES, OWN_KINDS, STATUS_REASONS
from fhir_mappings.terminology import PROGRAMME_TITLES, Canonical
from service.definitions.about import SOFTWARE_VERSION, headed
from service.packs.model import Pack
from service.packs.vocabulary import REFERRAL_FORM


@dataclass(frozen=True, slots=True)
class Terminology:
    """One CodeSystem of ours."""

    url: str
    version: str
    title: str
    description: str
    codes: Mapping[str, str]
    """Code to Swedish display; '' where the code says it all."""
    definitions: Mapping[str, str]
    """Code to what it rests on, where there is more to say than the display."""
    whole: bool = True
    """False where others have codes under the same URL: "fragment"."""

    @property
    def id(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def terminologies(pack: Pack, canonical: Canonical) -> Iterator[Terminology]:
    """Every CodeSystem that Sluss writes codes of, apart from HL7's own."""

    def own(url: str, title: str, description: str, codes: Mapping[str, str], *, whole: bool = True) -> Terminology:
        return Terminology(url, SOFTWARE_VERSION, title, description, codes, {}, whole)

    def of_pack(
        url: str, title: str, description: str, codes: Mapping[str, str], because: Mapping[str, str]
    ) -> Terminology:
        # a fragment: under one URL every pack has codes of its own
        return Terminology(url, pack.business_version, title, description, codes, because, whole=False)

    yield own(
        canonical.programme,
        "Behandlingsprogram",
        "Treatment programmes that a referral may ask for: ServiceRequest.code.",
        PROGRAMME_TITLES,
    )
    yield own(canonical.message, "Meddelanden", "What a Communication to or from the referrer is.", _messages())
    yield own(
        canonical.national_message,
        "Remissbekräftelse och remissvar, nationella koder",
        "Codes of RIV-TA clinicalprocess:activity:request that fit our messages; others own them.",
        _NATIONAL,
        whole=False,
    )
    yield own(canonical.business_status, "Remissens läge", "Task.businessStatus.", BUSINESS_STATUS)
    yield own(
        canonical.task_kind,
        "Uppgifter",
        "Tasks of Sluss's own beside the referral's, which is task-code#fulfill.",
        {str(kind): KIND_TITLES[kind] for kind in sorted(OWN_KINDS)},
    )
    yield own(canonical.task_input, "Indata i uppgifter", "Task.input.type.", _INPUTS)
    yield own(canonical.task_output, "Utdata i uppgifter", "Task.output.type.", OUTPUT_TITLES)
    yield own(
        canonical.status_reason,
        "Skäl till uppgiftens läge",
        "Task.statusReason where no eligibility rule is the reason.",
        STATUS_REASONS,
    )
    yield own(
        canonical.code_system("ikbt-verdict"), "Utfall", "What becomes of a referral; advice is a finding's.", _VERDICTS
    )
    yield own(
        canonical.code_system("ikbt-alert"), "Varningar", "What a finding warns of.", {"suicide-risk": "Suicidrisk"}
    )
    yield own(canonical.answer, "Svar i remissformuläret", "Coded answers in the referral form.", _ANSWERS)
    yield own(canonical.madrs_s, "MADRS-S", "The total of MADRS-S and its nine items, 0 to 6 each.", _MADRS_S)
    yield own(
        canonical.override_reason,
        "Skäl att gå vidare",
        "Why a clinician goes on against a CDS Hooks card.",
        OVERRIDE_REASONS,
    )
    items = {item["linkId"]: item["text"] for item in pack.questionnaires[REFERRAL_FORM]["item"]}
    yield of_pack(
        canonical.question,
        "Frågor i remissformuläret",
        "The questions of the referral form, as the pack puts them; code by linkId.",
        {link_id: items.get(link_id, "") for link_id in QUESTIONS},
        {},
    )
    yield of_pack(
        canonical.rule,
        "Regler",
        "The pack's eligibility and routing rules, each with the passage of the source that it rests on.",
        {rule.id: "" for rule in pack.rules},
        {rule.id: rule.passage for rule in pack.rules if rule.passage},
    )
    activities = [activity for programme in pack.programmes.values() for activity in programme.activities]
    yield of_pack(
        canonical.activity,
        "Aktiviteter",
        "What is done in a treatment: the code of a CarePlan's child Tasks.",
        {activity.code: activity.title for activity in activities},
        {activity.code: activity.description for activity in activities if activity.description},
    )
    yield of_pack(canonical.role, "Roller", "What the members of a team are.", pack.role_titles, {})


def to_fhir_code_system(terminology: Terminology, canonical: Canonical) -> Json:
    """The CodeSystem, which names its ValueSet."""
    concepts = []
    for code, display in terminology.codes.items():
        told = {"code": code, "display": display, "definition": terminology.definitions.get(code, "")}
        concepts.append({name: value for name, value in told.items() if value})
    return {
        **headed(
            "CodeSystem",
            terminology.id,
            canonical.base,
            terminology.version,
            title=terminology.title,
            description=terminology.description,
        ),
        "caseSensitive": True,
        "valueSet": canonical.value_set(terminology.id),
        "content": "complete" if terminology.whole else "fragment",
        "concept": concepts,
    }


def to_fhir_value_set(terminology: Terminology, canonical: Canonical) -> Json:
    """The ValueSet of all codes of one version of a CodeSystem."""
    return {
        **headed(
            "ValueSet",
            terminology.id,
            canonical.base,
            terminology.version,
            title=terminology.title,
            description=terminology.description,
        ),
        "compose": {"include": [{"system": terminology.url, "version": terminology.version}]},
    }


def _messages() -> dict[str, str]:
    return {str(category): title for category, title in CATEGORY_TITLES.items()}


OVERRIDE_REASONS = {
    "already-handled": "Redan känt och omhändertaget",
    "completed-later": "Uppgiften lämnas senare",
    "rule-does-not-fit": "Regeln passar inte den här patienten",
}
"""CodeSystem `override-reason`."""

_NATIONAL = {
    "BEK": "Bekräftelse",
    "VID": "Vidareskickad",
    "KOM": "Komplettering",
    "AVB": "Avbruten",
    "AVV": "Avvisad",
    "DSV": "Delsvar",
    "PSV": "Preliminärt svar",
    "SSV": "Slutsvar",
}
_INPUTS = {"finding": "Vad en regel har funnit", "route": "Regeln som valde teamet"}
_VERDICTS = {
    str(Verdict.ADVICE): "Att tänka på",
    str(Verdict.ELIGIBLE): "Uppfyller kraven",
    str(Verdict.REVIEW): "Behandlaren avgör",
    str(Verdict.INFORMATION): "Behöver kompletteras",
    str(Verdict.RETURN): "Återsänds",
}
_ANSWERS = {
    "low": "Låg",
    "elevated": "Förhöjd",
    "unknown": "Inte bedömd",
    "early": "Tidig, förebyggande insats",
    "rehabilitation": "Rehabfas efter annan behandling",
    "other": "Något annat",
    "treatment": "Åtgärda ett tillstånd",
    "relapse-prevention": "Motverka återinsjuknande",
    "personal-development": "Personlig utveckling",
}
_MADRS_S = {
    "total": "Totalpoäng",
    **dict(
        zip(
            ITEMS,
            (
                "Sinnesstämning",
                "Oroskänslor",
                "Sömn",
                "Matlust",
                "Koncentrationsförmåga",
                "Initiativförmåga",
                "Känslomässigt engagemang",
                "Pessimism",
                "Livslust",
            ),
            strict=True,
        )
    ),
}
