"""The scenes of the story, in order; each part of one goes on when another fails."""

from contextlib import AbstractContextManager

from fhir_mappings.records import Json
from service.demo.people import Person, exact
from service.demo.stage import Referral, Stage
from service.demo.treatment import (
    accept,
    answer_question,
    end_safety_follow_up,
    hand_over,
    pass_on,
    prepare,
    report,
    start,
)

_DELIVERED_WITHIN = 45.0
_NOTICED_WITHIN = 20.0


def morning(stage: Stage) -> None:
    """Referrals by FHIR from many units, judged and routed."""
    messages = {
        "whole": ["acknowledgement"],
        "elsewhere": ["acknowledgement"],
        "incomplete": ["information-request"],
        "returned": ["returned"],
        "overridden": ["returned"],
        "alerting": ["acknowledgement", "safety-alert"],
        "unrouted": ["acknowledgement"],
        "withdrawn": ["acknowledgement"],
        "held": ["acknowledgement"],
    }
    for name, told in messages.items():
        with _of(stage, name):
            referral = stage.send(name)
            referral.messages += told
            if referral.verdict == "return":
                stage.waiting.leave(referral.identity)
            if name == "whole":
                _delivered(stage, referral)


def _delivered(stage: Stage, referral: Referral) -> None:
    """The worker runs: the first referral reaches the external server."""
    there = stage.wait(lambda: _copy_of(stage, referral) is not None, _DELIVERED_WITHIN)
    stage.checks.that(there, "Arbetaren har levererat den till den externa FHIR-servern")


def not_received(stage: Stage) -> None:
    """What cannot be read is refused with everything that is wrong; what comes twice is there once."""
    sample = stage.samples["refused"]
    answer = Person(stage.servers.url, sample.case.caller).call("POST", sample.path, sample.case.body)
    issues = exact(answer).get("issue", [])
    found = sorted((issue["code"], *issue.get("expression", [None])) for issue in issues)
    wanted = sorted((code, expression) for code, expression in sample.case.expected.issues or ())
    stage.checks.that(
        answer.status_code == sample.case.expected.status and found == wanted,
        f"{stage.titles['refused']}: 422, alla {len(wanted)} fel på en gång ({sample.case.name})",
        f"{answer.status_code} {found}",
    )
    for issue in issues:
        where = ", ".join(issue.get("expression", ()))
        stage.checks.aside(f"  {issue['code']} {where}: {issue['details']['text']}")
    whole = stage.referrals["whole"]
    before = len(stage.observer.search("ServiceRequest", _count="200"))
    again = stage.referrer(whole).call("POST", whole.sample.path, stage.sent["whole"])
    stage.checks.equal(again.status_code, 200, "Samma remiss en gång till: 200, pekar på den som finns")
    after = len(stage.observer.search("ServiceRequest", _count="200"))
    stage.checks.equal(after, before, f"Ingenting nytt: fortfarande {before} remisser")


def work(stage: Stage) -> None:
    """A treatment from the worklist to the final reply; a referral sent back, one routed by hand, one taken back."""
    with _of(stage, "whole"):
        whole = stage.referrals["whole"]
        accept(stage, whole)
        prepare(stage, whole)
        start(stage, whole)
        report(stage, whole)
    for name, work in (("elsewhere", _send_back), ("unrouted", _reroute), ("withdrawn", _withdraw)):
        with _of(stage, name):
            work(stage, stage.referrals[name])


def _send_back(stage: Stage, referral: Referral) -> None:
    """Only the team sees that the patient is treated already; it decides."""
    reason = {"text": "Patienten har redan en IKBT-behandling på remiss från en annan enhet."}
    stage.team_of(referral).change(referral.task, status="rejected", statusReason=reason)
    referral.deeds.append("behandlaren återsänder: patienten behandlas redan")
    referral.messages.append("returned")
    stage.checks.equal(stage.status(referral), "rejected", f"{referral.title}: återsänd av behandlaren")


def _reroute(stage: Stage, referral: Referral) -> None:
    coordination = stage.therapist(stage.pack.coordination)
    waits = [task for task in coordination.worklist() if f"Task/{task['id']}" == referral.task]
    stage.checks.equal(len(waits), 1, f"{referral.title}: ligger på samordningens arbetslista (needs-routing)")
    coordination.change(referral.task, owner={"reference": "HealthcareService/gavle"})
    referral.deeds.append("samordningen fördelar till Gävle")
    referral.messages.append("rerouted")
    accept(stage, referral)
    stage.therapist("gavle").complete_activity(referral.task, "first-call")
    reason = {"text": "Efter första samtalet: patienten vill hellre ha samtal på plats."}
    stage.therapist("gavle").change(referral.task, status="cancelled", statusReason=reason)
    referral.deeds.append("behandlaren avbryter efter första samtalet")
    referral.messages.append("discontinued")
    stage.ended(referral, "cancelled")


def _withdraw(stage: Stage, referral: Referral) -> None:
    accept(stage, referral)
    prepare(stage, referral)
    start(stage, referral)
    order = stage.observer.read(referral.order)
    stage.referrer(referral).ask("PUT", f"/fhir/{referral.order}", {**order, "status": "revoked"})
    referral.deeds.append("remittenten återtar (ServiceRequest revoked)")
    stage.checks.equal(stage.status(referral), "in-progress", f"{referral.title}: behandlaren får avgöra (abort)")
    therapist = stage.team_of(referral)
    abort = therapist.open_tasks("abort", referral.patient)[0]
    therapist.change(f"Task/{abort['id']}", status="accepted")
    referral.deeds.append("behandlaren godtar avbrottet")
    referral.messages.append("withdrawal-confirmed")
    stage.ended(referral, "cancelled")


def questions(stage: Stage) -> None:
    """What is missing is asked for and comes; a return is overridden; signs of risk are followed up."""
    for name, work in (
        ("incomplete", _complete),
        ("overridden", _override),
        ("alerting", end_safety_follow_up),
        ("held", answer_question),
    ):
        with _of(stage, name):
            work(stage, stage.referrals[name])


def _complete(stage: Stage, referral: Referral) -> None:
    """The referrer sends the MADRS-S that was missing."""
    response: Json = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": stage.canonical.questionnaire("madrs-s"),
        "status": "completed",
        "basedOn": [{"reference": referral.order}],
        "subject": {"reference": referral.patient},
        "authored": stage.today.isoformat(),
        "item": [
            {"linkId": f"item-{number}", "answer": [{"valueInteger": value}]}
            for number, value in enumerate((2, 2, 2, 1, 2, 2, 1, 1, 0), 1)
        ],
    }
    made = stage.referrer(referral).ask("POST", "/fhir/QuestionnaireResponse", response)
    referral.parts.append(f"QuestionnaireResponse/{made['id']}")
    referral.deeds.append("remittenten kompletterar med MADRS-S (13 poäng); bedöms på nytt")
    referral.messages.append("acknowledgement")
    stage.checks.equal(stage.status(referral), "requested", f"{referral.title}: on-hold → requested, bedömd på nytt")


def _override(stage: Stage, referral: Referral) -> None:
    therapist = stage.team_of(referral)
    task: Json = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
        "focus": {"reference": referral.order},
        "note": [
            {"authorString": "Internetbehandlare", "text": "Sömnapnén är utredd och behandlad; insomnin kvarstår."}
        ],
    }
    made = therapist.ask("POST", "/fhir/Task", task)
    stage.waiting.identities.add(referral.identity)
    referral.task = f"Task/{made['id']}"
    referral.deeds.append("behandlaren tar in den ändå, med skäl i en note (ny Task på samma focus)")
    referral.messages.append("acknowledgement")
    stage.checks.equal(made["status"], "requested", f"{referral.title}: ny Task")
    accept(stage, referral)


def outage(stage: Stage) -> None:
    """The external server is down: messages, letters and calls come in all the same, and are passed on."""
    stage.servers.stand_in.switch_off()
    stage.checks.aside("Den externa FHIR-servern svarar inte längre.")
    for name in ("message", "letter", "call", "handed-over", "booked"):
        with _of(stage, name):
            referral = stage.send(name)
            referral.messages += ["acknowledgement", *(["safety-alert"] if referral.alert else [])]
            if referral.relayed:
                pass_on(stage, referral)
            if referral.alert:
                end_safety_follow_up(stage, referral)
    noticed = stage.wait(
        lambda: "degraded" in str(stage.observer.ask("GET", "/health/ready")["external_fhir_server"]),
        _NOTICED_WITHIN,
    )
    state = stage.observer.ask("GET", "/health/ready")
    stage.checks.that(noticed, f"/health/ready: {state['external_fhir_server']} (svarar ändå 200)", state)


def recovery(stage: Stage) -> None:
    """The external server is back, and treatments go on."""
    stage.servers.stand_in.switch_on()
    stage.checks.aside("Den externa FHIR-servern svarar igen; den har kvar vad den hade.")
    with _of(stage, "booked"):
        booked = stage.referrals["booked"]
        accept(stage, booked)
        prepare(stage, booked)
        start(stage, booked)
    with _of(stage, "handed-over"):
        handed_over = stage.referrals["handed-over"]
        accept(stage, handed_over)
        hand_over(stage, handed_over, to="gavle")
    with _of(stage, "overridden"):
        overridden = stage.referrals["overridden"]
        prepare(stage, overridden)
        start(stage, overridden)


# ---------------------------------------------------------------- private


def _of(stage: Stage, name: str) -> AbstractContextManager[None]:
    """What happens to one referral; when it fails the others go on."""
    return stage.checks.guard(stage.titles[name])


def _copy_of(stage: Stage, referral: Referral) -> Json | None:
    found = stage.external.search("ServiceRequest", identifier=f"{stage.canonical.resource_key}|{referral.order}")
    return found[0] if found else None
