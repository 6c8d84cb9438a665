"""The states in which the table of entries must hold, and what must stay open in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.world import QUOTE, WAD, ZERO_ADDRESS
from tests.threats.access import ANY_STATE, GUARD, Scene
from tests.threats.kit import trade

GRACE_S = 3_600
OWNERS_FIRST = "liquidator: owners first"


def _normal(scene: Scene) -> None:
    """As it is."""


def _paused(scene: Scene) -> None:
    """Every asset, by the guardian."""
    council = scene.council
    council.governance.pause(list(scene.world.system.assets.values()), sender=council.guardian)


def _stale(scene: Scene) -> None:
    """Every feed beyond its heartbeat, that of the quote token alone is live."""
    scene.world.make_stale(*scene.world.names)


def _closed(scene: Scene) -> None:
    """Every market for increases."""
    for asset in scene.world.system.perps.market_ids():
        scene.council.governance.close_market(asset, sender=scene.council.guardian)


def _capped(scene: Scene) -> None:
    """Vaults and open interest at nothing."""
    council, system = scene.council, scene.world.system
    for vault in (system.vault, system.liquidity_vault):
        council.governance.set_deposit_cap(vault, 1, sender=council.guardian)
    for asset in system.perps.market_ids():
        skew = system.perps.terms_of(asset).skew_cap_gwei
        council.governance.set_market_caps(asset, 0, skew, 0, sender=council.guardian)


def _sequencer_down(scene: Scene) -> None:
    """Since now."""
    scene.sequencer.set_answer(1, sender=scene.world.stranger)
    scene.world.chain.mine()


def _sequencer_back(scene: Scene) -> None:
    """Up again, within the hour in which prices stay stale."""
    _sequencer_down(scene)
    scene.sequencer.set_answer(0, sender=scene.world.stranger)
    scene.world.chain.advance(GRACE_S // 2)
    scene.world.refresh()


Act = Callable[[Scene], object]

STATES: Mapping[str, Act] = {
    "normal": _normal,
    "paused": _paused,
    "stale": _stale,
    "closed": _closed,
    "capped": _capped,
    "sequencer down": _sequencer_down,
    "sequencer grace": _sequencer_back,
}


# ---- what stays open


def _repay(scene: Scene) -> None:
    house, world = scene.world.clearinghouse, scene.world
    before = house.picture_of(scene.account)[0]
    house.repay(scene.account, 10**6, sender=world.keeper)
    assert house.picture_of(scene.account)[0] > before


def _withdraw_free(scene: Scene) -> None:
    world = scene.world
    held = world.clearinghouse.position_word(scene.free, 1)
    world.clearinghouse.withdraw(scene.free, 1, held, world.owner, sender=world.owner)
    assert world.clearinghouse.listed_word(scene.free) == 0


def _revoke_operator(scene: Scene) -> None:
    world = scene.world
    world.mandates.set_operator(scene.account, world.attacker, 0, 0, sender=world.owner)


def _tighten_guard(scene: Scene) -> None:
    """At once: the same hook, less slippage."""
    world = scene.world
    target_bps, band_bps, slippage_bps, *rest = GUARD
    tighter = (target_bps, band_bps, slippage_bps - 1, *rest)
    world.mandates.set_guard(scene.hooked, world.rebalancer, tighter, sender=world.owner)
    assert world.mandates.guard_of(scene.hooked).slippage_bps == slippage_bps - 1


def _disable_hook(scene: Scene) -> None:
    world = scene.world
    world.mandates.revoke(scene.hooked, sender=world.owner)
    assert world.mandates.hook_of(scene.hooked) == ZERO_ADDRESS


def _tighten_policy(scene: Scene) -> None:
    """At once: nothing may be sold any more."""
    world = scene.world
    policy = (10_500, 0, 0, False, [], [], ZERO_ADDRESS, 0, 0)
    world.rebalancer.set_policy(scene.hooked, policy, sender=world.owner)


def _clear_policy(scene: Scene) -> None:
    scene.world.rebalancer.clear_policy(scene.hooked, sender=scene.world.owner)


def _disarm_budget(scene: Scene) -> None:
    scene.world.mandates.arm_budget((0, 86_400, 0), sender=scene.world.owner)


def _liquidate(scene: Scene) -> None:
    world, liquidator = scene.world, scene.world.system.liquidator
    receipt = liquidator.liquidate(scene.victim, scene.taker, ANY_STATE, sender=world.owner)
    assert liquidator.events(receipt, "Liquidated")


def _liquidate_for_tokens(scene: Scene) -> None:
    world, seller = scene.world, scene.world.system.token_liquidator
    before = world.tokens["BTC"].balanceOf(world.owner)
    seller.liquidate(scene.victim, 10**9, world.owner, ANY_STATE, sender=world.owner)
    assert world.tokens["BTC"].balanceOf(world.owner) > before


def _flag(scene: Scene) -> None:
    assert scene.world.system.liquidator.flag(scene.victim, sender=scene.world.keeper)


def _leave_lending(scene: Scene) -> None:
    vault, lender = scene.world.system.vault, scene.world.lender
    vault.withdraw(10**6, lender, lender, sender=lender)


def _ask_out_of_the_house(scene: Scene) -> None:
    vault, owner = scene.world.system.liquidity_vault, scene.world.owner
    vault.requestRedeem(1, owner, owner, sender=owner)


def _claim_from_the_house(scene: Scene) -> None:
    vault, owner = scene.world.system.liquidity_vault, scene.world.owner
    vault.withdraw(1, owner, owner, sender=owner)


def _cancel(scene: Scene) -> None:
    scene.ready.cancel(scene.council.timelock, sender=scene.council.guardian)


def _execute(scene: Scene) -> None:
    scene.ready.execute(scene.council.timelock, sender=scene.world.stranger)


def _deposit(name: str) -> Act:
    return lambda scene: scene.world.deposit(scene.account, name, 1_000)


# In every state.
ALWAYS_OPEN: Mapping[str, Act] = {
    "repay": _repay,
    "deposit cash": _deposit(QUOTE),
    "deposit collateral": _deposit("ETH"),
    "withdraw without debt": _withdraw_free,
    "revoke an operator": _revoke_operator,
    "tighten a guard": _tighten_guard,
    "disable a hook": _disable_hook,
    "tighten a policy": _tighten_policy,
    "clear a policy": _clear_policy,
    "disarm a budget": _disarm_budget,
    "flag": _flag,
    "leave the lending vault": _leave_lending,
    "ask out of the liquidity vault": _ask_out_of_the_house,
    "claim from the liquidity vault": _claim_from_the_house,
    "cancel a decision": _cancel,
    "execute a decision": _execute,
}


# Unless the chain was down a moment ago: then owners have an hour, if half is left.
LIQUIDATIONS: Mapping[str, Act] = {
    "liquidate": _liquidate,
    "liquidate for tokens": _liquidate_for_tokens,
}
OUTAGES = frozenset({"sequencer down", "sequencer grace"})


def _reduce(scene: Scene) -> None:
    trade(scene.world, scene.account, "-0.05")


def _close(scene: Scene) -> None:
    trade(scene.world, scene.account, "-0.1")


def _sell(scene: Scene) -> None:
    world = scene.world
    world.clearinghouse.swap(scene.account, world.venue, 1, 0, WAD // 10, 0, sender=world.owner)


def _rebalance(scene: Scene) -> None:
    """By a sale: the account's excess over initial margin grows."""
    world = scene.world
    before = _excess_init(scene, scene.hooked)
    world.mandates.rebalance(scene.hooked, sender=world.keeper)
    assert _excess_init(scene, scene.hooked) > before


def _excess_init(scene: Scene, account: int) -> int:
    equity, required, *_ = scene.world.clearinghouse.assess(account)
    return int(equity - required)


# Wherever a price is live: nothing is traded at one that may be hours old.
OPEN_AT_A_LIVE_PRICE: Mapping[str, Act] = {
    "reduce a position": _reduce,
    "close a position": _close,
    "sell collateral": _sell,
    "rebalance": _rebalance,
}
LIVE = frozenset({"normal", "paused", "closed", "capped"})


def _borrow(scene: Scene) -> None:
    scene.world.borrow(scene.account, 10**6)


def _increase(scene: Scene) -> None:
    trade(scene.world, scene.account, "0.01")


def _lend(scene: Scene) -> None:
    world = scene.world
    world.system.vault.deposit(10**6, world.owner, sender=world.owner)


# What shows that a state is one: refused in it, and not in the normal one.
CLOSED: Mapping[str, tuple[tuple[Act, str], ...]] = {
    "normal": (),
    "paused": (
        (_borrow, "margin: price not usable"),
        (_increase, "perps: price not usable"),
    ),
    "stale": (
        (_borrow, "margin: price not usable"),
        (_increase, "perps: price stale"),
        (_reduce, "perps: price stale"),
        (_sell, "exchange: price not usable"),
    ),
    "closed": ((_increase, "perps: close only"),),
    "capped": ((_lend, "vault: deposit cap"), (_increase, "perps: open interest cap")),
    "sequencer down": (
        (_borrow, "margin: price not usable"),
        (_increase, "perps: price stale"),
        (_sell, "exchange: price not usable"),
        (_liquidate, OWNERS_FIRST),
        (_liquidate_for_tokens, OWNERS_FIRST),
    ),
    "sequencer grace": (
        (_borrow, "margin: price not usable"),
        (_increase, "perps: price stale"),
        (_sell, "exchange: price not usable"),
        (_liquidate, OWNERS_FIRST),
        (_liquidate_for_tokens, OWNERS_FIRST),
    ),
}
