"""What the deployed system holds, read into the exact models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ballast.model import plan as plans
from ballast.model.ledger import Account, Lender, Loans
from ballast.model.margin import GWEI, Mark, Position, Terms
from ballast.model.perps import Breaker, Exposure, Funding, Headroom, Market, MarketTerms
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
        asset: Position.from_word(
            world.clearinghouse.position_word(account, asset),
            world.clearinghouse.cost_word(account, asset),
        )
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


def read_markets(world: World) -> dict[int, Market]:
    """All markets, by what views tell of them.

    Right for plans as long as no trade was made since the newest round of a feed: the skew with
    which that began is then the present one. A tripped breaker is read as close-only.
    """
    perps = world.system.perps
    markets: dict[int, Market] = {}
    for asset in perps.market_ids():
        longs, shorts = (side // GWEI for side in perps.exposure_of(asset))
        long_room, short_room, refreshed_at = perps.headroom_of(asset)
        price = world.system.oracle.price_wad(asset)
        markets[asset] = Market(
            MarketTerms(*perps.terms_of(asset)),
            Exposure(longs, shorts),
            Headroom(long_room // GWEI, short_room // GWEI, refreshed_at),
            Breaker(price, price, world.chain.time),
            Funding.from_word(world.clearinghouse.market_word(asset)),
            perps.is_increase_stopped(asset),
        )
    return markets


def read_lender(world: World) -> Lender:
    """What limits the vault's loans."""
    state = world.system.vault.state()
    return Lender(state.idle, state.debt_shares)


def assess_on_chain(world: World, account: int) -> Terms:
    """The four figures as the clearing house says."""
    return Terms(*world.clearinghouse.assess(account))


def read_plan(world: World, account: int) -> plans.Plan:
    """The plan as the default hook says."""
    answer = world.rebalancer.plan(account)
    steps = tuple(plans.Step(*step) for step in answer.steps)
    return plans.Plan(answer.code, answer.shortfall, answer.uncured, steps, answer.called)


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
            tuple(plans.Sale(*sale) for sale in policy.sales),
            world.rebalancer.last_at(account),
            policy.actions,
            policy.funding_bps,
        )
    markets = read_markets(world)
    marks = {
        asset: replace(mark, funding_wad=markets[asset].funding.at(world.chain.time))
        if asset in markets
        else mark
        for asset, mark in read_marks(world).items()
    }
    accounts = {known_id: read_account(world, known_id) for known_id in {account, *siblings}}
    accounts.update({donor: read_account(world, donor) for donor in donors})
    return plans.Scene(
        account=account,
        accounts=accounts,
        marks=marks,
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
        slippage_bps=guard.slippage_bps,
        markets=markets,
        house=read_account(world, world.system.house),
        lender=read_lender(world),
        bounds=read_bounds(world, account),
        remembered=plans.Remembered(
            *world.rebalancer.state_of(account)[:2],
            world.system.liquidator.flagged_since(account)[1],
        ),
    )


def read_bounds(world: World, account: int) -> plans.Bounds:
    """The bounds of an account's policy."""
    bounds = world.rebalancer.bounds_of(account)
    return plans.Bounds(
        bounds.expires_at,
        bounds.emergency_cooldown_s,
        bounds.max_step,
        bounds.gas_cap_gwei,
        bounds.confirms,
        bounds.call_s,
        bounds.buffer_bps,
        bounds.horizon_s,
        bounds.pay_bps,
        bounds.pay_cap,
        bounds.gap_per_pay,
    )
