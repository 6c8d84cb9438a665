"""What the threat tests share: every entry of a contract as a call, who holds how much, trades."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ballast.chain import Contract, Receipt
from ballast.deploy import WAD, Market, list_asset, load_parameters
from ballast.model.margin import Position
from ballast.model.perps import Funding
from ballast.sandbox import Amount
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS, World, to_wad

FAR = 2**40 - 1  # a deadline


def free_of_charge(entry: dict[str, Any]) -> list[Any]:
    """Arguments of the right shape and no meaning for an ABI entry."""
    return [_nothing(argument) for argument in entry["inputs"]]


def _nothing(argument: dict[str, Any]) -> Any:
    kind = argument["type"]
    if kind.endswith("[]"):
        return []
    if kind.startswith("tuple"):
        return tuple(_nothing(part) for part in argument["components"])
    if kind == "address":
        return ZERO_ADDRESS
    if kind == "bool":
        return False
    if kind.startswith("bytes"):
        return b""
    return "" if kind == "string" else 0


def entries(contract: Contract, *, is_view: bool) -> list[tuple[str, bytes]]:
    """Name and data of a call without meaning of every view, or of everything else."""
    chosen = []
    for entry in contract.artifact.abi:
        if entry["type"] != "function":
            continue
        if (entry["stateMutability"] in ("view", "pure")) == is_view:
            arguments = free_of_charge(entry)
            name = str(entry["name"])
            chosen.append((name, contract.function(name).encode(*arguments)))
    return chosen


def equity(world: World, account: int) -> int:
    """Value of everything an account has less what it owes, WAD, at present prices."""
    return int(world.clearinghouse.assess(account)[2])


def wealth(world: World, who: str) -> int:
    """Value of the tokens in a wallet or contract, WAD."""
    total = int(world.quote.balanceOf(who)) * world.unit_wad(QUOTE)
    for name in world.names:
        units = int(world.tokens[name].balanceOf(who))
        total += units * world.unit_wad(name) * world.price_wad(name) // WAD
    return total


def lenders_claim(world: World) -> int:
    """What the vault owes its lenders, token units."""
    return int(world.system.vault.totalAssets())


# ---- perpetuals


def fund_house(world: World, amount: Amount = 1_000_000) -> None:
    """Cash for the house, from anybody, and headroom that counts it."""
    units = world.units(QUOTE, amount)
    payer = world.other_owner
    world.fund(payer, QUOTE, int(world.quote.balanceOf(payer)) + units)
    world.clearinghouse.deposit(world.system.house, 0, units, sender=payer)
    renew(world)


def renew(world: World) -> None:
    """Headroom as of now."""
    world.system.perps.refresh(sender=world.keeper)


def trade_wad(
    world: World, account: int, size_wad: int, name: str = "ETH", *, reduce_only: bool = False
) -> Receipt:
    """Buys (> 0) or sells at any price."""
    receipt: Receipt = world.system.perps.trade(
        account,
        world.asset(name),
        size_wad,
        UNLIMITED if size_wad > 0 else 0,
        FAR,
        reduce_only,
        sender=world.owner_of(account),
    )
    return receipt


def trade(world: World, account: int, size: Amount, name: str = "ETH") -> Receipt:
    """Buys (> 0) or sells whole units at any price."""
    return trade_wad(world, account, to_wad(size), name)


def close(world: World, account: int, name: str = "ETH") -> Receipt:
    """Trades the position to zero."""
    return trade_wad(world, account, -held(world, account, name).size_wad, name)


def held(world: World, account: int, name: str = "ETH") -> Position:
    """Collateral, size, cost and entry of a position."""
    asset, house = world.asset(name), world.clearinghouse
    return Position.from_word(house.position_word(account, asset), house.cost_word(account, asset))


def unsettled(world: World, account: int, name: str = "ETH") -> int:
    """What a perpetual has won or lost and not been paid, WAD, at the newest price."""
    word = world.clearinghouse.market_word(world.asset(name))
    move = world.price_wad(name) - Funding.from_word(word).at(world.chain.time)
    position = held(world, account, name)
    return int(position.size_wad * move // WAD - position.cost_wad)


def cash(world: World, account: int) -> int:
    """Cash less debt, WAD."""
    return int(world.clearinghouse.picture_of(account)[0])


def set_terms(world: World, name: str = "ETH", **changes: int) -> None:
    """Other terms for a market, by the names of its parameters; sizes in 1e-9 units."""
    perps, asset = world.system.perps, world.asset(name)
    terms = perps.terms_of(asset)._asdict() | changes
    perps.set_terms(asset, tuple(terms.values()), sender=world.governor)


def make_free(world: World, name: str = "ETH") -> None:
    """Takes the fees off a market; what remains of a fill price is the premium for skew."""
    set_terms(world, name, base_fee_e6=0, band_e6=0, lag_s=0)


# ---- the liquidity vault


def ask_in(world: World, who: str, amount: Amount) -> int:
    """A request to enter; returns its epoch."""
    vault, units = world.system.liquidity_vault, world.units(QUOTE, amount)
    world.fund(who, QUOTE, int(world.quote.balanceOf(who)) + units)
    world.quote.approve(vault, UNLIMITED, sender=who)
    return int(vault.requestDeposit(units, who, who, sender=who).return_value)


def ask_out(world: World, who: str, shares: int) -> int:
    """A request to leave; returns its epoch."""
    vault = world.system.liquidity_vault
    return int(vault.requestRedeem(shares, who, who, sender=who).return_value)


def wait_until(world: World, time: int) -> None:
    """Feeds are silent until then, and speak again."""
    if world.chain.time < time:
        world.chain.set_time(time)
    world.refresh()


def take_in(world: World, epoch: int) -> None:
    """Fulfils an epoch of deposits as soon as it may be."""
    vault = world.system.liquidity_vault
    wait_until(world, vault.deposit_epoch(epoch).ready_at)
    vault.fulfil_deposits(epoch, sender=world.keeper)


def pay_out(world: World, epoch: int) -> None:
    """Fulfils an epoch of redemptions as soon as it may be."""
    vault = world.system.liquidity_vault
    wait_until(world, vault.redeem_epoch(epoch).ready_at)
    vault.fulfil_redemptions(epoch, sender=world.keeper)


def claim_shares(world: World, who: str, part: int = 1) -> None:
    """All shares that can be claimed, or a part of them."""
    vault = world.system.liquidity_vault
    vault.deposit(vault.maxDeposit(who) // part, who, sender=who)


def ready_epochs(world: World, who: str) -> tuple[int, int]:
    """An epoch of deposits and one of redemptions that anyone may fulfil, of who has shares."""
    shares = int(world.system.liquidity_vault.balanceOf(who))
    epochs = ask_in(world, who, 1_000), ask_out(world, who, shares // 2)
    wait_until(world, world.system.liquidity_vault.redeem_epoch(epochs[1]).ready_at)
    return epochs


# ---- a further token

EXTRA_ID = 200
EXTRA_PRICE = 100  # quote tokens


def list_token(
    world: World, token: Contract, asset: int = EXTRA_ID, price: int = EXTRA_PRICE
) -> Contract:
    """Lists a token at so many quote tokens under ETH's terms, without its perpetual.

    Returns the feed.
    """
    terms = load_parameters()["assets"]["ETH"]
    del terms["perpetual"]
    feed = world.chain.deploy("MockFeed", 8, "extra / USD", sender=world.governor)
    feed.set_answer(price * 10**8, sender=world.governor)
    world.chain.mine()
    system = replace(world.system, assets={**world.system.assets, "extra": asset})
    market = Market(token, feed, price * WAD)
    terms = terms | {"id": asset, "band_low_log2": 10, "band_high_log2": 93}
    list_asset(system, "extra", terms, market)
    world.chain.mine()
    return feed


def deploy_adapters(world: World, exchange: str) -> dict[str, Contract]:
    """Every adapter, deployed by a stranger for the governor.

    Any address serves as a factory: nobody here gets as far.
    """
    governor, vault, feed = world.governor, world.system.vault, world.feeds[QUOTE]
    arguments = {
        "UniswapV3Adapter": (exchange, world.venue, governor),
        "ERC4626Adapter": (exchange, governor),
        "VaultFeed": (vault, feed, 10**9, True),
    }
    return {
        name: world.chain.deploy(name, *given, sender=world.stranger)
        for name, given in arguments.items()
    }
