"""What the deployed system holds, read into the exact models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ballast.model import plan as plans
from ballast.model.ledger import Account, Loans
from ballast.model.margin import Mark, Position, Terms
from tests.support.world import QUOTE, World

RAY_TO_WAD = 10**9
MAX_MARKS = 16  # assets in one reading


def listed_assets(world: World, account: int) -> list[int]:
    """Asset ids of an account in the order of its list."""
    word = world.clearinghouse.listed_word(account)
    return [word >> 8 * i & 255 for i in range(word >> 128 & 255)]


def read_account(world: World, account: int) -> Account:
    """Everything an account holds."""
    word = world.clearinghouse.account_word(account)
    positions = {
        asset: Position.from_word(world.clearinghouse.position_word(account, asset))
        for asset in listed_assets(world, account)
    }
    return Account(word & (2**128 - 1), word >> 128, positions)


def read_loans(world: World) -> Loans:
    """Terms of loans now."""
    index_ray = int(world.system.vault.debt_index_ray())
    return Loans(index_ray // RAY_TO_WAD, world.unit_wad(QUOTE))


def read_marks(world: World, assets: Iterable[int] | None = None) -> dict[int, Mark]:
    """Marks of assets, of all by default."""
    ids = list(world.system.assets.values() if assets is None else assets)
    words: list[int] = []
    for start in range(0, len(ids), MAX_MARKS):
        words += world.system.oracle.marks(ids[start : start + MAX_MARKS])
    return {asset: Mark.from_words(words[2 * i], words[2 * i + 1]) for i, asset in enumerate(ids)}


def assess_on_chain(world: World, account: int) -> Terms:
    """The four figures as the clearing house says."""
    return Terms(*world.clearinghouse.assess(account))


def read_plan(world: World, account: int) -> plans.Plan:
    """The plan as the default hook says."""
    answer = world.rebalancer.plan(account)
    steps = tuple(plans.Step(*step) for step in answer.steps)
    return plans.Plan(answer.code, answer.shortfall, answer.uncured, steps)


def read_scene(world: World, account: int, donors: Sequence[int] = ()) -> plans.Scene:
    """Everything that the plan of an account depends on; `donors` are further accounts to read."""
    owner = world.owner_of(account)
    policy = world.rebalancer.policy_of(account)
    guard = world.mandates.guard_of(account)
    siblings = [world.account(sub, owner) for sub in policy.donors]
    known = None
    if policy.trigger_bps:
        known = plans.Policy(
            policy.trigger_bps,
            policy.cooldown_s,
            policy.min_step,
            policy.uses_wallet,
            tuple(siblings),
            tuple(plans.Sale(sale.asset, sale.cost_bps) for sale in policy.sales),
            world.rebalancer.last_at(account),
        )
    accounts = {known_id: read_account(world, known_id) for known_id in {account, *siblings}}
    accounts.update({donor: read_account(world, donor) for donor in donors})
    return plans.Scene(
        account=account,
        accounts=accounts,
        marks=read_marks(world),
        unit_wad={world.asset(name): world.unit_wad(name) for name in world.names},
        loans=read_loans(world),
        policy=known,
        target_bps=guard.target_bps or None,
        floors={donor: world.mandates.guard_of(donor).floor_bps for donor in siblings},
        wallet=plans.Wallet(
            world.mandates.wallet_left(account),
            world.quote.balanceOf(owner),
            world.quote.allowance(owner, world.clearinghouse),
        ),
        now=world.chain.time,
        budget_wad=world.mandates.budget_left(owner),
    )
