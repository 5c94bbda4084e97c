"""What a referrer is told at once (contract 3, answers)."""

from tests.journeys.conftest import Service
from tests.journeys.referrals import alone, located, referral


def test_a_sound_referral_is_received_and_judged(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral())
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Verdict"] == "eligible", answer.text
    entries = answer.json()["entry"]
    assert located(entries[-1]).startswith("ServiceRequest/")


def test_a_sound_referral_alone_is_created(service: Service) -> None:
    answer = service.referrer().post("/fhir/ServiceRequest", alone())
    assert answer.status_code == 201, answer.text
    assert answer.headers["Sluss-Verdict"] == "eligible", answer.text
