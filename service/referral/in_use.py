"""A changed pack must still know the teams and programmes of referrals that are under way."""

from service.packs.model import Pack
from service.store.database import Store


class PackInUse(ValueError):  # noqa: N818  said of the pack, not of the error
    """The pack lacks a team or a programme that open referrals have; with it nobody could go on with them."""


def check_in_use(pack: Pack, store: Store) -> None:
    """Raises PackInUse when open referrals belong to teams or programmes that the pack no longer has."""
    in_use = store.view().in_use()
    teams = sorted({team for team, _ in in_use} - set(pack.teams))
    programmes = sorted({programme for _, programme in in_use} - set(pack.programmes))
    missing = [f"team {team}" for team in teams] + [f"programme {programme}" for programme in programmes]
    if missing:
        raise PackInUse(f"pack {pack.name} lacks what open referrals have: {', '.join(missing)}")
