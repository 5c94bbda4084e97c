"""What therapists and referrers do with a referral in the demonstration, step by step, each step checked."""

from fhir_mappings.records import Json
from service.demo.people import Unexpected
from service.demo.stage import Referral, Stage, coded


def accept(stage: Stage, referral: Referral) -> None:
    """From the worklist: claim, receive, accept; the CarePlan is there in draft."""
    therapist = stage.team_of(referral)
    listed = [f"Task/{task['id']}" for task in therapist.worklist()]
    included = {referral.order, referral.patient} <= therapist.worklist_includes()
    stage.checks.that(
        referral.task in listed and included,
        f"{referral.title}: på arbetslistan ({therapist.team}), med ServiceRequest och Patient",
    )
    therapist.claim(referral.task)
    therapist.change(referral.task, status="received")
    therapist.change(referral.task, status="accepted")
    referral.deeds.append("behandlaren tar den (owner PractitionerRole), received, accepted")
    plan = _care_plan(stage, referral)
    activities = len(plan["activity"])
    stage.checks.equal(plan["status"], "draft", f"accepted: CarePlan i draft med {activities} aktiviteter")


def prepare(stage: Stage, referral: Referral) -> None:
    """What comes before the start, in its order; the other way round is refused."""
    therapist = stage.team_of(referral)
    try:
        therapist.complete_activity(referral.task, "access-1177")
        refused = False
    except Unexpected as refusal:
        refused = str(refusal).partition(": ")[2].startswith("422")
    stage.checks.that(refused, f"{referral.title}: access-1177 före first-call avvisas (422)")
    therapist.complete_activity(referral.task, "first-call")
    therapist.complete_activity(referral.task, "access-1177")
    referral.deeds.append("first-call och access-1177 genomförda, i ordning")


def start(stage: Stage, referral: Referral) -> None:
    """The treatment starts."""
    stage.team_of(referral).change(referral.task, status="in-progress")
    referral.deeds.append("behandlingen startar (in-progress)")
    referral.messages.append("started")
    found = stage.status(referral), _care_plan(stage, referral)["status"]
    stage.checks.equal(found, ("in-progress", "active"), f"{referral.title}: startad, CarePlan active")


def report(stage: Stage, referral: Referral) -> None:
    """An interim reply, the follow-up calls and the final reply."""
    therapist = stage.team_of(referral)
    therapist.complete_activity(referral.task, "follow-up-call")
    therapist.output(referral.task, "interim-reply", "Patienten arbetar aktivt i modul 4. MADRS-S har sjunkit till 9.")
    therapist.complete_activity(referral.task, "follow-up-call")
    stage.platform.poll()
    without = therapist.call(
        "PUT", f"/fhir/{referral.task}", {**stage.observer.read(referral.task), "status": "completed"}
    )
    stage.checks.equal(without.status_code, 422, "completed utan behandlingssvar avvisas (422)")
    text = "Behandlingen är genomförd enligt plan. MADRS-S 6 vid avslut. Ingen fortsatt kontakt planerad."
    therapist.output(referral.task, "final-reply", text, status="completed")
    referral.deeds.append("två follow-up-call, delsvar och slutsvar (completed)")
    referral.messages += ["interim-reply", "final-reply"]
    stage.ended(referral, "completed")
    stage.checks.equal(_care_plan(stage, referral)["status"], "completed", "CarePlan completed")


def answer_question(stage: Stage, referral: Referral) -> None:
    """The therapist asks, the referrer answers in words, the therapist takes the referral."""
    therapist = stage.team_of(referral)
    question = {"text": "Har patienten provat läkemedel mot oron, och med vilken effekt?"}
    therapist.change(referral.task, status="on-hold", statusReason=question)
    referral.messages.append("information-request")
    stage.checks.equal(stage.status(referral), "on-hold", f"{referral.title}: on-hold, frågan är skickad")
    asked = next(m for m in stage.platform.poll() if {"reference": referral.order} in m.get("basedOn", ()))
    reply: Json = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": stage.canonical.message, "code": "information"}]}],
        "basedOn": [{"reference": referral.order}],
        "inResponseTo": [{"reference": f"Communication/{asked['id']}"}],
        "payload": [{"contentString": "Nej, inga läkemedel. Patienten vill prova KBT först."}],
    }
    stage.referrer(referral).ask("POST", "/fhir/Communication", reply)
    referral.deeds.append("behandlaren frågar (on-hold), remittenten svarar (Communication information)")
    stage.checks.equal(stage.status(referral), "requested", "Svaret finns som note: on-hold → requested")
    accept(stage, referral)


def end_safety_follow_up(stage: Stage, referral: Referral) -> None:
    """A person ends the follow-up of the signs of risk; the Task was stat."""
    therapist = stage.team_of(referral)
    task = therapist.open_tasks("safety-follow-up", referral.patient)[0]
    stage.checks.equal(task["priority"], "stat", f"{referral.title}: safety-follow-up (stat) på arbetslistan")
    note = {"authorString": "Internetbehandlare", "text": "Ringt patienten; säkerhetsplan finns, remittenten bedömer."}
    therapist.change(f"Task/{task['id']}", status="completed", note=[*task.get("note", ()), note])
    referral.deeds.append("safety-follow-up avslutad av behandlaren")
    stage.checks.equal(therapist.open_tasks("safety-follow-up", referral.patient), [], "Uppföljningen är avslutad")


def pass_on(stage: Stage, referral: Referral) -> None:
    """The team passes on what no platform can fetch."""
    therapist = stage.team_of(referral)
    waiting = therapist.open_tasks("relay-message", referral.patient)
    for task in waiting:
        communication = task["focus"]["reference"]
        before = stage.observer.read(communication)["status"]
        therapist.change(f"Task/{task['id']}", status="completed")
        after = stage.observer.read(communication)["status"]
        stage.checks.equal((before, after), ("preparation", "completed"), f"{referral.title}: {task['description']}")
    referral.deeds.append(f"{len(waiting)} meddelande vidarebefordrat (relay-message)")
    stage.checks.equal(len(waiting), len(referral.messages), "En relay-message för varje meddelande")


def hand_over(stage: Stage, referral: Referral, *, to: str) -> None:
    """After acceptance another team takes over by a child Task that it accepts."""
    task: Json = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": stage.canonical.task_kind, "code": "take-over"}]},
        "partOf": [{"reference": referral.task}],
        "owner": {"reference": f"HealthcareService/{to}"},
    }
    made = stage.team_of(referral).ask("POST", "/fhir/Task", task)
    stage.therapist(to).change(f"Task/{made['id']}", status="accepted")
    referral.deeds.append(f"{stage.pack.teams[to].name} tar över (take-over)")
    referral.messages.append("rerouted")
    stage.checks.equal(stage.team_of(referral).team, to, f"{referral.title}: {stage.pack.teams[to].name} har den nu")


def _care_plan(stage: Stage, referral: Referral) -> Json:
    """The CarePlan that the referral's Task names as output."""
    for output in stage.observer.read(referral.task).get("output", ()):
        if coded([output["type"]], stage.canonical.task_output) == "care-plan":
            return stage.observer.read(output["valueReference"]["reference"])
    raise Unexpected(f"{referral.task} has no CarePlan")
