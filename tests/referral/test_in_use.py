"""A pack that has lost a team or a programme stops the start while referrals are under way with it."""

import pytest

from service.referral.in_use import PackInUse, check_in_use
from service.store.database import Store
from tests.referral.examples import GAVLEBORG, PRAKTIKERTJANST
from tests.store.examples import referral


@pytest.mark.parametrize("state", ["requested", "on-hold", "in-progress"])
def test_a_pack_without_the_team_of_an_open_referral_is_refused_and_told_what_it_lacks(
    store: Store, state: str
) -> None:
    with store.change() as change:
        change.open_referral(referral(team="gavle", programme="sleep", state=state))
    check_in_use(GAVLEBORG, store)
    with pytest.raises(PackInUse, match=r"praktikertjanst lacks .*: team gavle, programme sleep"):
        check_in_use(PRAKTIKERTJANST, store)


def test_referrals_at_an_end_hold_no_pack(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral(team="gavle", programme="sleep", state="completed"))
    check_in_use(PRAKTIKERTJANST, store)
