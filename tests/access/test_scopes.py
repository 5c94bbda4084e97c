"""Scopes as they are written, and what two of them have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.scopes import LETTERS, Scope, Scopes, problems_of, read_scope, read_scopes


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("system/Task.rs", Scope("system", "Task", frozenset("rs"))),
        ("system/*.cruds", Scope("system", "*", frozenset(LETTERS))),
        ("user/Patient.r", Scope("user", "Patient", frozenset("r"))),
        ("system/Task.read", Scope("system", "Task", frozenset("rs"))),
        ("system/Task.write", Scope("system", "Task", frozenset("cud"))),
        ("system/*.*", Scope("system", "*", frozenset(LETTERS))),
        (
            "system/Task.rs?owner=HealthcareService/gavle&status=requested,received",
            Scope(
                "system",
                "Task",
                frozenset("rs"),
                (("owner", "HealthcareService/gavle"), ("status", "requested,received")),
            ),
        ),
    ],
)
def test_a_scope_is_read_as_smart_writes_it(written: str, read: Scope) -> None:
    assert read_scope(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "system/Task",
        "system/Task.",
        "system/Task.dus",
        "system/Task.rr",
        "system/task.rs",
        "system/Nope.rs",
        "system/Task.rs?",
        "system/Task.rs?=",
        "patient/Task.rs",
        "openid",
        "launch/patient",
        'system/Task".rs',
        "system/Task.rsx",
        "System/Task.rs",
    ],
)
def test_what_is_no_scope_of_ours_is_passed_over(written: str) -> None:
    found = read_scope(written)
    assert found is None or found.query == (("", ""),)
    assert read_scopes(f"openid {written}").scopes in ((), (found,))


LETTER_SETS = st.sets(st.sampled_from(LETTERS), min_size=1).map(frozenset)
SCOPES = st.builds(
    Scope,
    st.sampled_from(["system", "user"]),
    st.sampled_from(["Task", "Patient", "*"]),
    LETTER_SETS,
    st.lists(st.sampled_from([("owner", "x/1"), ("status", "a,b"), ("code:not", "s|c å&=?")]), unique=True).map(tuple),
)
MANY = st.lists(SCOPES, max_size=4).map(lambda scopes: Scopes(tuple(scopes)))


@given(SCOPES)
def test_what_is_written_is_read_again(scope: Scope) -> None:
    assert read_scope(str(scope)) == scope


@given(MANY, MANY)
def test_nothing_is_granted_that_was_not_asked_for_or_is_not_registered(asked: Scopes, registered: Scopes) -> None:
    granted = asked.within(registered)
    for type_ in ("Task", "Patient", "ServiceRequest"):
        for letter in LETTERS:
            if granted.for_(type_, letter):
                assert asked.for_(type_, letter)
                assert registered.for_(type_, letter)
    for scope in granted.scopes:
        assert any(set(one.query) <= set(scope.query) for one in registered.scopes), "no search is lost"
        assert "c" not in scope.letters or not scope.query


@given(MANY)
def test_what_is_registered_is_granted_whole_to_who_asks_for_everything(registered: Scopes) -> None:
    plain = Scopes(tuple(scope for scope in registered.scopes if not scope.query and scope.level == "system"))
    assert set(read_scopes("system/*.cruds").within(plain).scopes) == set(plain.scopes)


def test_bad_scopes_of_a_registration_are_told_all_at_once() -> None:
    told = problems_of(("system/Task.rs", "Task.rs", "system/Task.cruds?owner=x", "system/*.rs?owner=x"))
    assert len(told) == 3
