"""ERC-4626, clause by clause: checks C01 to C61 in nine states at three precisions.

The states are those of `lending_kit.STATES`. Where entry or exit is barred (at the cap, while the
clearing house is busy, while exits wait for a loss) a check of an action demands the refusal and
that nothing changed; a check of a view demands the truth all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ballast.chain import Reverted, RevmChain
from tests.conftest import reverts
from tests.lending_kit import STATES, UNLIMITED, YEAR_S, ZERO_ADDRESS, Lending, deploy_lending

VIRTUAL_SHARES = 10**6
DECIMALS = (6, 8, 18)
# Figures that no honest caller passes and no view may choke on: sums of all shares stay below
# 2**128.
LARGEST = 2**128


@dataclass(frozen=True)
class World:
    """A vault in a named state, with what may be done in it."""

    lending: Lending
    state: str

    @property
    def bars_entry(self) -> str | None:
        """The reason that every entry reverts with, if it does."""
        return {"capped": "vault: deposit cap", "busy": "vault: clearinghouse busy"}.get(self.state)

    @property
    def bars_exit(self) -> str | None:
        """The reason that every exit reverts with, if it does."""
        return {
            "busy": "vault: clearinghouse busy",
            "exits held": "vault: exits wait for a loss",
        }.get(self.state)

    @property
    def price(self) -> tuple[int, int]:
        """Shares and assets, the virtual ones included, as the standard's formulas want them."""
        vault = self.lending.vault
        return vault.totalSupply() + VIRTUAL_SHARES, vault.totalAssets() + 1

    @property
    def amounts(self) -> tuple[int, ...]:
        """Asset amounts to try: nothing, dust, odd, ordinary, large."""
        unit = self.lending.unit
        return (0, 1, 2, 3, 7, unit // 3, unit, 1_234 * unit + 5, 10**7 * unit + 1)

    @property
    def share_amounts(self) -> tuple[int, ...]:
        """Share amounts to try."""
        return tuple(
            amount * VIRTUAL_SHARES + odd for amount in self.amounts for odd in (0, 1, 500_001)
        )

    def ensure_shares(self) -> int:
        """Shares of the lender, who deposits first where nobody has."""
        if self.state == "empty":
            self.lending.deposit(self.lending.lender, 1_000 * self.lending.unit)
        return self.lending.shares(self.lending.lender)

    def entered(self, action: str, amount: int, account: str | None = None) -> bool:
        """Deposits or mints; where entry is barred demands the refusal and returns False."""
        who = account or self.lending.attacker
        return self._done(self.bars_entry, action, (amount, who), who)

    def left(self, action: str, amount: int, account: str | None = None) -> bool:
        """Withdraws or redeems; where exit is barred demands the refusal and returns False."""
        who = account or self.lending.lender
        return self._done(self.bars_exit, action, (amount, who, who), who)

    def _done(self, bar: str | None, action: str, args: tuple[object, ...], who: str) -> bool:
        lending = self.lending
        function = lending.vault.function(action)
        before = (lending.figures(), lending.tokens(who), lending.shares(who))
        if bar is None:
            function.transact(*args, sender=who)
            assert (lending.figures(), lending.tokens(who), lending.shares(who)) != before
            return True
        with reverts(bar):
            function.transact(*args, sender=who)
        assert (lending.figures(), lending.tokens(who), lending.shares(who)) == before
        return False


Check = Callable[[World], None]
CHECKS: dict[str, Check] = {}
BEYOND: dict[str, Check] = {}


def conforms(identifier: str) -> Callable[[Check], Check]:
    """Registers a clause of the standard under its id."""

    def register(check: Check) -> Check:
        assert identifier not in CHECKS, identifier
        CHECKS[identifier] = check
        return check

    return register


def exceeds(check: Check) -> Check:
    """Registers a property that the standard does not ask for."""
    BEYOND[check.__name__] = check
    return check


@pytest.fixture(scope="module", params=DECIMALS, ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Lending:
    return deploy_lending(RevmChain(), request.param)


@pytest.fixture(params=STATES)
def world(request: pytest.FixtureRequest, deployed: Lending) -> Iterator[World]:
    with deployed.chain.isolated():
        STATES[request.param](deployed)
        yield World(deployed, request.param)


# ---- asset and totalAssets


@conforms("C01")
def asset_is_an_erc20(world: World) -> None:
    lending = world.lending
    assert lending.vault.asset() == lending.asset.address
    assert lending.asset.totalSupply() >= lending.tokens(lending.vault)


@conforms("C02")
def asset_never_reverts(world: World) -> None:
    for caller in (world.lending.stranger, ZERO_ADDRESS, world.lending.insurance):
        assert world.lending.vault.asset.call(sender=caller) == world.lending.asset.address


@conforms("C03")
def total_assets_includes_what_accrual_would_book(world: World) -> None:
    lending = world.lending
    shown = lending.vault.totalAssets()
    with lending.chain.one_block():
        lending.vault.accrue(sender=lending.stranger)
        assert lending.vault.totalAssets() == shown
    supply, idle, _, debt_shares, index_wad, reserves = lending.figures()
    assert shown == idle + debt_shares * index_wad // 10**18 - reserves


@conforms("C04")
def total_assets_never_reverts(world: World) -> None:
    previous = world.lending.vault.totalAssets()
    for seconds in (1, YEAR_S, 100 * YEAR_S, 1_000 * YEAR_S):
        world.lending.chain.advance(seconds)
        assert world.lending.vault.totalAssets() >= previous


@conforms("C05")
def total_assets_includes_yield(world: World) -> None:
    before = world.lending.vault.totalAssets()
    world.lending.chain.advance(30 * 86_400)
    has_debt = world.lending.vault.total_debt() > 0
    assert (world.lending.vault.totalAssets() > before) == has_debt


# ---- conversions


def _without_fees(
    world: World, name: str, amounts: tuple[int, ...], numerator: int, denominator: int
) -> None:
    convert = world.lending.vault.function(name)
    for amount in amounts:
        assert convert(amount) == amount * numerator // denominator


def _independent_of_caller(world: World, name: str, amounts: tuple[int, ...]) -> None:
    convert = world.lending.vault.function(name)
    callers = (world.lending.lender, world.lending.stranger, ZERO_ADDRESS)
    for amount in amounts:
        assert len({convert.call(amount, sender=caller) for caller in callers}) == 1


def _without_slippage(world: World, name: str, amounts: tuple[int, ...]) -> None:
    convert = world.lending.vault.function(name)
    for amount in amounts:
        # A thousand times the amount is worth a thousand times as much, but for the rounding of the
        # small one.
        assert 0 <= convert(1_000 * amount) - 1_000 * convert(amount) < 1_000


def _rounds_down(
    world: World, name: str, amounts: tuple[int, ...], numerator: int, denominator: int
) -> None:
    convert = world.lending.vault.function(name)
    for amount in amounts:
        result = convert(amount)
        assert result * denominator <= amount * numerator < (result + 1) * denominator


@conforms("C06")
def convert_to_shares_has_no_fee(world: World) -> None:
    _without_fees(world, "convertToShares", world.amounts, *world.price)


@conforms("C07")
def convert_to_shares_is_the_same_for_everyone(world: World) -> None:
    _independent_of_caller(world, "convertToShares", world.amounts)


@conforms("C08")
def convert_to_shares_has_no_slippage(world: World) -> None:
    _without_slippage(world, "convertToShares", world.amounts)


@conforms("C09")
def convert_to_shares_reverts_for_unreasonable_input_only(world: World) -> None:
    vault = world.lending.vault
    assert vault.convertToShares(0) == 0
    assert vault.convertToShares(LARGEST) > vault.convertToShares(2**96) > 0
    with reverts("math: mul_div overflow"):  # a result beyond a word
        vault.convertToShares(UNLIMITED)


@conforms("C10")
def convert_to_shares_rounds_down(world: World) -> None:
    _rounds_down(world, "convertToShares", world.amounts, *world.price)


@conforms("C11")
def convert_to_assets_has_no_fee(world: World) -> None:
    shares, assets = world.price
    _without_fees(world, "convertToAssets", world.share_amounts, assets, shares)


@conforms("C12")
def convert_to_assets_is_the_same_for_everyone(world: World) -> None:
    _independent_of_caller(world, "convertToAssets", world.share_amounts)


@conforms("C13")
def convert_to_assets_has_no_slippage(world: World) -> None:
    _without_slippage(world, "convertToAssets", world.share_amounts)


@conforms("C14")
def convert_to_assets_never_reverts(world: World) -> None:
    vault = world.lending.vault
    assert vault.convertToAssets(0) == 0
    # A share unit is worth less than an asset unit, so no number of shares overflows.
    assert UNLIMITED > vault.convertToAssets(UNLIMITED) > vault.convertToAssets(LARGEST) > 0


@conforms("C15")
def convert_to_assets_rounds_down(world: World) -> None:
    shares, assets = world.price
    _rounds_down(world, "convertToAssets", world.share_amounts, assets, shares)


# ---- entry limits


def _room(world: World) -> int:
    lending = world.lending
    return max(0, int(lending.vault.deposit_cap()) - int(lending.vault.totalAssets()))


def _limit_is_exact(world: World, limit: str, action: str) -> None:
    lending = world.lending
    most = lending.vault.function(limit)(lending.attacker)
    if world.bars_entry:
        assert most == 0
        assert not world.entered(action, lending.unit * VIRTUAL_SHARES)
        return
    assert most > 0
    with lending.chain.isolated():
        assert world.entered(action, most)
    with reverts("vault: deposit cap"):
        lending.vault.function(action)(most + 1, lending.attacker, sender=lending.attacker)


def _limit_ignores_wealth(world: World, limit: str) -> None:
    lending = world.lending
    function = lending.vault.function(limit)
    assert lending.tokens(lending.stranger) == 0 < lending.tokens(lending.lender)
    assert function(lending.stranger) == function(lending.lender)


def _limit_knows_the_receiver(world: World, limit: str) -> None:
    lending = world.lending
    function = lending.vault.function(limit)
    for receiver in (lending.vault.address, ZERO_ADDRESS):
        assert function(receiver) == 0
        with reverts(world.bars_entry if world.state == "busy" else "vault: bad receiver"):
            lending.vault.deposit(lending.unit, receiver, sender=lending.attacker)
    assert (function(lending.attacker) == 0) == bool(world.bars_entry)
    # Closed for a moment is closed.
    lending.set_busy()
    assert function(lending.attacker) == 0


def _limit_never_reverts(world: World, limit: str) -> None:
    lending = world.lending
    function = lending.vault.function(limit)
    for seconds in (0, YEAR_S, 100 * YEAR_S):
        lending.chain.advance(seconds)
        for account in (lending.lender, lending.stranger, lending.vault.address, ZERO_ADDRESS):
            assert 0 <= function(account) < LARGEST


@conforms("C16")
def max_deposit_is_the_largest_accepted(world: World) -> None:
    _limit_is_exact(world, "maxDeposit", "deposit")


@conforms("C17")
def max_deposit_ignores_balances(world: World) -> None:
    _limit_ignores_wealth(world, "maxDeposit")


@conforms("C18")
def max_deposit_knows_all_limits(world: World) -> None:
    _limit_knows_the_receiver(world, "maxDeposit")


@conforms("C19")
def max_deposit_is_the_room_below_the_cap(world: World) -> None:
    """The vault always has a limit, so the answer for a vault without one never applies."""
    vault = world.lending.vault
    vault.set_deposit_cap(2**95, sender=world.lending.governor)
    expected = 0 if world.state == "busy" else 2**95 - vault.totalAssets()
    assert vault.maxDeposit(world.lending.stranger) == expected
    with reverts("vault: deposit cap too high"):
        vault.set_deposit_cap(UNLIMITED, sender=world.lending.governor)


@conforms("C20")
def max_deposit_never_reverts(world: World) -> None:
    _limit_never_reverts(world, "maxDeposit")


@conforms("C21")
def max_mint_is_the_largest_accepted(world: World) -> None:
    _limit_is_exact(world, "maxMint", "mint")


@conforms("C22")
def max_mint_ignores_balances(world: World) -> None:
    _limit_ignores_wealth(world, "maxMint")


@conforms("C23")
def max_mint_knows_all_limits(world: World) -> None:
    _limit_knows_the_receiver(world, "maxMint")


@conforms("C24")
def max_mint_is_what_the_room_below_the_cap_buys(world: World) -> None:
    """As C19: there is always a limit."""
    vault = world.lending.vault
    room = 0 if world.state == "busy" else _room(world)
    shares, assets = world.price
    assert vault.maxMint(world.lending.stranger) == room * shares // assets < UNLIMITED


@conforms("C25")
def max_mint_never_reverts(world: World) -> None:
    _limit_never_reverts(world, "maxMint")


# ---- deposit


@conforms("C26")
def preview_deposit_is_what_deposit_mints(world: World) -> None:
    lending = world.lending
    for amount in world.amounts[1:]:
        with lending.chain.isolated():
            preview = lending.vault.previewDeposit(amount)
            if world.entered("deposit", amount):
                assert lending.shares(lending.attacker) == preview


def _ignores_limits(world: World, preview: str, action: str, amount: int) -> None:
    lending = world.lending
    function = lending.vault.function(preview)
    open_price = function(amount)
    lending.vault.set_deposit_cap(0, sender=lending.governor)
    lending.hold_exits(60)
    lending.set_busy()
    # A caller without tokens, without approval and without shares.
    assert function.call(amount, sender=lending.stranger) == open_price > 0
    args = (
        (amount, lending.stranger)
        if action in ("deposit", "mint")
        else (amount, lending.stranger, lending.stranger)
    )
    with reverts("vault: clearinghouse busy"):
        lending.vault.function(action)(*args, sender=lending.stranger)


@conforms("C27")
def preview_deposit_ignores_limits(world: World) -> None:
    _ignores_limits(world, "previewDeposit", "deposit", world.lending.unit)


@conforms("C28")
def preview_deposit_includes_fees_of_which_there_are_none(world: World) -> None:
    for amount in world.amounts:
        assert world.lending.vault.previewDeposit(amount) == world.lending.vault.convertToShares(
            amount
        )


@conforms("C29")
def preview_deposit_does_not_revert_above_the_cap(world: World) -> None:
    vault = world.lending.vault
    above = vault.deposit_cap() + 1
    assert vault.previewDeposit(above) >= vault.previewDeposit(above - 1) > 0
    assert vault.previewDeposit(LARGEST) > 0


@conforms("C30")
def deposit_emits_deposit(world: World) -> None:
    lending = world.lending
    amount = 12 * lending.unit + 3
    if not world.entered("deposit", amount):
        return
    receipt = lending.vault.deposit(amount, lending.stranger, sender=lending.attacker)
    [event] = lending.vault.events(receipt, "Deposit")
    assert event.args._asdict() == {
        "sender": lending.attacker,
        "owner": lending.stranger,
        "assets": amount,
        "shares": lending.shares(lending.stranger),
    }


def _takes_an_allowance(world: World, action: str, amount: int, cost: int) -> None:
    lending = world.lending
    if not world.entered(action, amount, lending.other_lender):
        return
    newcomer = lending.stranger
    lending.asset.mint(newcomer, cost, sender=newcomer)
    function = lending.vault.function(action)
    with lending.chain.one_block():
        lending.asset.approve(lending.vault.address, cost - 1, sender=newcomer)
        with reverts("mock: allowance too low"):
            function(amount, newcomer, sender=newcomer)
        lending.asset.approve(lending.vault.address, cost, sender=newcomer)
        function(amount, newcomer, sender=newcomer)
    assert lending.asset.allowance(newcomer, lending.vault.address) == 0 == lending.tokens(newcomer)


@conforms("C31")
def deposit_takes_an_allowance(world: World) -> None:
    amount = 5 * world.lending.unit + 1
    _takes_an_allowance(world, "deposit", amount, amount)


@conforms("C32")
def deposit_takes_exactly_the_assets(world: World) -> None:
    lending = world.lending
    for amount in world.amounts[1:]:
        before = (lending.tokens(lending.attacker), lending.tokens(lending.vault))
        if world.entered("deposit", amount):
            after = (lending.tokens(lending.attacker), lending.tokens(lending.vault))
            assert after == (before[0] - amount, before[1] + amount)


@conforms("C33")
def deposit_reverts_unless_all_is_deposited(world: World) -> None:
    lending = world.lending
    lending.asset.mint(lending.stranger, lending.unit, sender=lending.stranger)
    lending.asset.approve(lending.vault.address, UNLIMITED, sender=lending.stranger)
    with reverts(world.bars_entry or "mock: balance too low"):
        lending.vault.deposit(lending.unit + 1, lending.stranger, sender=lending.stranger)
    with reverts(world.bars_entry or "vault: deposit cap"):
        lending.vault.deposit(_room(world) + 1, lending.attacker, sender=lending.attacker)
    assert lending.shares(lending.stranger) == 0


@conforms("C34")
def deposit_returns_the_shares(world: World) -> None:
    lending = world.lending
    for amount in world.amounts[1:]:
        if not world.entered("deposit", amount):
            continue
        before = lending.shares(lending.stranger)
        receipt = lending.vault.deposit(amount, lending.stranger, sender=lending.attacker)
        assert receipt.return_value == lending.shares(lending.stranger) - before > 0


# ---- mint


@conforms("C35")
def preview_mint_is_what_mint_takes(world: World) -> None:
    lending = world.lending
    for amount in world.share_amounts[1:]:
        with lending.chain.isolated():
            preview = lending.vault.previewMint(amount)
            before = lending.tokens(lending.attacker)
            if world.entered("mint", amount):
                assert before - lending.tokens(lending.attacker) == preview


@conforms("C36")
def preview_mint_ignores_limits(world: World) -> None:
    _ignores_limits(world, "previewMint", "mint", world.lending.unit * VIRTUAL_SHARES)


@conforms("C37")
def preview_mint_includes_fees_of_which_there_are_none(world: World) -> None:
    shares, assets = world.price
    for amount in world.share_amounts:
        assert world.lending.vault.previewMint(amount) == -(-amount * assets // shares)


@conforms("C38")
def preview_mint_does_not_revert_above_the_cap(world: World) -> None:
    vault = world.lending.vault
    above = vault.previewDeposit(vault.deposit_cap() + 1) + 1
    assert vault.previewMint(above) > vault.deposit_cap()
    assert vault.previewMint(LARGEST) > 0


@conforms("C39")
def mint_mints_exactly_the_shares(world: World) -> None:
    lending = world.lending
    for amount in world.share_amounts[1:]:
        before = (lending.shares(lending.attacker), lending.vault.totalSupply())
        if world.entered("mint", amount):
            after = (lending.shares(lending.attacker), lending.vault.totalSupply())
            assert after == (before[0] + amount, before[1] + amount)


@conforms("C40")
def mint_emits_deposit(world: World) -> None:
    lending = world.lending
    amount = 12 * lending.unit * VIRTUAL_SHARES + 3
    if not world.entered("mint", amount):
        return
    before = lending.tokens(lending.attacker)
    receipt = lending.vault.mint(amount, lending.stranger, sender=lending.attacker)
    [event] = lending.vault.events(receipt, "Deposit")
    paid = before - lending.tokens(lending.attacker)
    assert receipt.return_value == paid
    assert event.args._asdict() == {
        "sender": lending.attacker,
        "owner": lending.stranger,
        "assets": paid,
        "shares": amount,
    }


@conforms("C41")
def mint_takes_an_allowance(world: World) -> None:
    amount = 5 * world.lending.unit * VIRTUAL_SHARES + 1
    lending = world.lending
    with lending.chain.isolated():
        if not world.entered("mint", amount, lending.other_lender):
            return
        cost = lending.vault.previewMint(amount)
    _takes_an_allowance(world, "mint", amount, cost)


@conforms("C42")
def mint_reverts_unless_all_is_minted(world: World) -> None:
    lending = world.lending
    lending.asset.mint(lending.stranger, lending.unit, sender=lending.stranger)
    lending.asset.approve(lending.vault.address, UNLIMITED, sender=lending.stranger)
    too_many = lending.vault.previewDeposit(lending.unit) + 2 * VIRTUAL_SHARES
    with reverts(world.bars_entry or "mock: balance too low"):
        lending.vault.mint(too_many, lending.stranger, sender=lending.stranger)
    with reverts(world.bars_entry or "vault: deposit cap"):
        lending.vault.mint(
            lending.vault.previewDeposit(_room(world)) + 1,
            lending.attacker,
            sender=lending.attacker,
        )
    assert lending.shares(lending.stranger) == 0


# ---- exit limits


def _spread_liquidity(world: World) -> None:
    """Nearly all is lent, so that liquidity and not the balance limits the larger lender."""
    world.ensure_shares()
    loan = world.lending.vault.max_loan()
    if loan:
        world.lending.lend(loan)


@conforms("C43")
def max_withdraw_is_the_largest_accepted(world: World) -> None:
    lending = world.lending
    world.ensure_shares()
    for is_tight in (False, True):
        if is_tight:
            _spread_liquidity(world)
        for owner in (lending.lender, lending.other_lender):
            most = lending.vault.maxWithdraw(owner)
            if world.bars_exit:
                assert most == 0
                assert not world.left("withdraw", lending.unit, owner)
            elif most:
                with lending.chain.isolated():
                    assert world.left("withdraw", most, owner)
                with pytest.raises(Reverted) as refused:
                    lending.vault.withdraw(most + 1, owner, owner, sender=owner)
                assert refused.value.reason in ("vault: too few shares", "vault: not enough idle")
    assert lending.vault.maxWithdraw(lending.stranger) == 0


@conforms("C44")
def max_withdraw_knows_all_limits(world: World) -> None:
    lending = world.lending
    shares = world.ensure_shares()
    _spread_liquidity(world)
    idle = lending.vault.state().idle
    worth = lending.vault.convertToAssets(shares)
    assert lending.vault.maxWithdraw(lending.lender) == (0 if world.bars_exit else min(worth, idle))
    # Reserves are in no share: all shares together are worth less than idle and debt by at least
    # the reserves.
    reserves = lending.vault.state().reserves
    everything = lending.vault.convertToAssets(lending.vault.totalSupply())
    assert everything <= idle + lending.vault.total_debt() - reserves
    with lending.chain.isolated():
        lending.hold_exits(60)
        assert lending.vault.maxWithdraw(lending.lender) == 0
    lending.set_busy()
    assert lending.vault.maxWithdraw(lending.lender) == 0


@conforms("C45")
def max_withdraw_never_reverts(world: World) -> None:
    _limit_never_reverts(world, "maxWithdraw")


@conforms("C46")
def max_redeem_is_the_largest_accepted(world: World) -> None:
    lending = world.lending
    world.ensure_shares()
    for is_tight in (False, True):
        if is_tight:
            _spread_liquidity(world)
        for owner in (lending.lender, lending.other_lender):
            most = lending.vault.maxRedeem(owner)
            if world.bars_exit:
                assert most == 0
                assert not world.left("redeem", lending.unit * VIRTUAL_SHARES, owner)
            elif most:
                with lending.chain.isolated():
                    assert world.left("redeem", most, owner)
                with pytest.raises(Reverted) as refused:
                    lending.vault.redeem(most + 1, owner, owner, sender=owner)
                assert refused.value.reason in ("vault: too few shares", "vault: not enough idle")
    assert lending.vault.maxRedeem(lending.stranger) == 0


@conforms("C47")
def max_redeem_knows_all_limits(world: World) -> None:
    lending = world.lending
    shares = world.ensure_shares()
    _spread_liquidity(world)
    idle = lending.vault.state().idle
    most = lending.vault.maxRedeem(lending.lender)
    if world.bars_exit:
        assert most == 0
    else:
        assert most == shares or lending.vault.previewRedeem(
            most
        ) <= idle < lending.vault.previewRedeem(most + 1)
    with lending.chain.isolated():
        lending.hold_exits(60)
        assert lending.vault.maxRedeem(lending.lender) == 0
    lending.set_busy()
    assert lending.vault.maxRedeem(lending.lender) == 0


@conforms("C48")
def max_redeem_never_reverts(world: World) -> None:
    _limit_never_reverts(world, "maxRedeem")


# ---- withdraw


def _payable(world: World) -> int:
    """An odd amount that the lender has and the idle balance pays for."""
    world.ensure_shares()
    idle = world.lending.vault.state().idle
    worth = world.lending.vault.convertToAssets(world.lending.shares(world.lending.lender))
    return int(min(idle, worth)) // 3 + 1


@conforms("C49")
def preview_withdraw_is_what_withdraw_burns(world: World) -> None:
    lending = world.lending
    for amount in (1, 2, _payable(world)):
        with lending.chain.isolated():
            preview = lending.vault.previewWithdraw(amount)
            before = lending.shares(lending.lender)
            if world.left("withdraw", amount):
                assert before - lending.shares(lending.lender) == preview


@conforms("C50")
def preview_withdraw_ignores_limits(world: World) -> None:
    _ignores_limits(world, "previewWithdraw", "withdraw", world.lending.unit)


@conforms("C51")
def preview_withdraw_includes_fees_of_which_there_are_none(world: World) -> None:
    shares, assets = world.price
    for amount in world.amounts:
        assert world.lending.vault.previewWithdraw(amount) == -(-amount * shares // assets)


@conforms("C52")
def preview_withdraw_does_not_revert_beyond_liquidity(world: World) -> None:
    vault = world.lending.vault
    beyond = vault.state().idle + vault.total_debt() + 1
    assert vault.previewWithdraw(beyond) > vault.totalSupply()
    assert vault.previewWithdraw(LARGEST) > 0


def _emits_withdraw(world: World, action: str, amount: int) -> None:
    lending = world.lending
    if not world.left(action, amount):
        return
    before = (lending.shares(lending.lender), lending.tokens(lending.stranger))
    receipt = lending.vault.function(action)(
        amount, lending.stranger, lending.lender, sender=lending.lender
    )
    [event] = lending.vault.events(receipt, "Withdraw")
    burnt = before[0] - lending.shares(lending.lender)
    sent = lending.tokens(lending.stranger) - before[1]
    assert receipt.return_value == (burnt if action == "withdraw" else sent)
    assert event.args._asdict() == {
        "sender": lending.lender,
        "receiver": lending.stranger,
        "owner": lending.lender,
        "assets": sent,
        "shares": burnt,
    }


@conforms("C53")
def withdraw_emits_withdraw(world: World) -> None:
    _emits_withdraw(world, "withdraw", _payable(world) // 2 + 1)


@conforms("C54")
def withdraw_works_for_the_owner_without_allowance(world: World) -> None:
    lending = world.lending
    amount = _payable(world)
    assert lending.vault.allowance(lending.lender, lending.lender) == 0
    before = lending.tokens(lending.lender)
    assert world.left("withdraw", amount) == (world.bars_exit is None)
    assert lending.tokens(lending.lender) - before == (0 if world.bars_exit else amount)


def _spends_allowance(world: World, action: str, amount: int) -> None:
    lending = world.lending
    function = lending.vault.function(action)
    owner, spender = lending.lender, lending.stranger
    refusal = world.bars_exit or "erc20: insufficient allowance"
    with lending.chain.one_block():
        cost = lending.vault.previewWithdraw(amount) if action == "withdraw" else amount
        lending.vault.approve(spender, cost - 1, sender=owner)
        with reverts(refusal):
            function(amount, spender, owner, sender=spender)
        lending.vault.approve(spender, cost + 5, sender=owner)
        if world.bars_exit:
            with reverts(refusal):
                function(amount, spender, owner, sender=spender)
            assert lending.vault.allowance(owner, spender) == cost + 5
            return
        function(amount, spender, owner, sender=spender)
        assert lending.vault.allowance(owner, spender) == 5
        lending.vault.approve(spender, UNLIMITED, sender=owner)
        function(amount, spender, owner, sender=spender)
        assert lending.vault.allowance(owner, spender) == UNLIMITED


@conforms("C55")
def withdraw_spends_an_allowance_in_shares(world: World) -> None:
    _spends_allowance(world, "withdraw", _payable(world))


@conforms("C56")
def withdraw_sends_exactly_the_assets(world: World) -> None:
    lending = world.lending
    for amount in (1, 2, _payable(world)):
        before = (lending.tokens(lending.lender), lending.tokens(lending.vault))
        if world.left("withdraw", amount):
            after = (lending.tokens(lending.lender), lending.tokens(lending.vault))
            assert after == (before[0] + amount, before[1] - amount)


@conforms("C57")
def withdraw_reverts_unless_all_is_sent(world: World) -> None:
    lending = world.lending
    amount = _payable(world)
    with reverts(world.bars_exit or "erc20: insufficient allowance"):
        lending.vault.withdraw(amount, lending.attacker, lending.lender, sender=lending.attacker)
    worth = lending.vault.convertToAssets(lending.shares(lending.lender))
    with reverts(world.bars_exit or "vault: too few shares"):
        lending.vault.withdraw(worth + 1, lending.lender, lending.lender, sender=lending.lender)
    with reverts(world.bars_exit or "vault: zero amount"):
        lending.vault.withdraw(0, lending.lender, lending.lender, sender=lending.lender)
    for receiver in (lending.vault.address, ZERO_ADDRESS):
        with reverts(world.bars_exit or "vault: bad receiver"):
            lending.vault.withdraw(amount, receiver, lending.lender, sender=lending.lender)


# ---- redeem


@conforms("C58")
def preview_redeem_is_what_redeem_sends(world: World) -> None:
    lending = world.lending
    shares_all, assets_all = world.price
    for amount in world.share_amounts:
        assert lending.vault.previewRedeem(amount) == amount * assets_all // shares_all
    for amount in (2 * VIRTUAL_SHARES, _payable(world) * VIRTUAL_SHARES // 2 + 2 * VIRTUAL_SHARES):
        with lending.chain.isolated():
            preview = lending.vault.previewRedeem(amount)
            before = lending.tokens(lending.lender)
            if world.left("redeem", amount):
                assert lending.tokens(lending.lender) - before == preview
    _ignores_limits(world, "previewRedeem", "redeem", lending.unit * VIRTUAL_SHARES)
    assert lending.vault.previewRedeem(LARGEST) > lending.vault.state().idle // 10**20


@conforms("C59")
def redeem_burns_exactly_the_shares_or_reverts(world: World) -> None:
    lending = world.lending
    shares = _payable(world) * VIRTUAL_SHARES // 3 + 2 * VIRTUAL_SHARES
    before = (lending.shares(lending.lender), lending.vault.totalSupply())
    if world.left("redeem", shares):
        assert (lending.shares(lending.lender), lending.vault.totalSupply()) == (
            before[0] - shares,
            before[1] - shares,
        )
    _emits_withdraw(world, "redeem", shares // 2)
    with lending.chain.isolated():
        _spends_allowance(world, "redeem", shares // 4)
    with reverts(world.bars_exit or "erc20: insufficient allowance"):
        lending.vault.redeem(shares, lending.attacker, lending.lender, sender=lending.attacker)
    too_many = lending.shares(lending.lender) + 1
    with reverts(world.bars_exit or "vault: too few shares"):
        lending.vault.redeem(too_many, lending.lender, lending.lender, sender=lending.lender)
    for nothing in (0, 1):  # one share unit is worth less than one asset unit
        with reverts(world.bars_exit or "vault: zero amount"):
            lending.vault.redeem(nothing, lending.lender, lending.lender, sender=lending.lender)


# ---- the share token and round trips


@conforms("C60")
def shares_are_an_erc20_with_metadata(world: World) -> None:
    lending = world.lending
    vault = lending.vault
    world.ensure_shares()
    assert (vault.function("name")(), vault.symbol()) == ("Ballast Lent Quote", "blQ")
    assert vault.decimals() == lending.decimals + 6 >= lending.asset.decimals()
    assert vault.totalSupply() == lending.shares(lending.lender) + lending.shares(
        lending.other_lender
    )
    shares = lending.shares(lending.lender)
    receipt = vault.transfer(lending.attacker, shares // 3, sender=lending.lender)
    [event] = vault.events(receipt, "Transfer")
    assert event.args._asdict() == {
        "sender": lending.lender,
        "receiver": lending.attacker,
        "value": shares // 3,
    }
    receipt = vault.approve(lending.stranger, 7, sender=lending.attacker)
    [event] = vault.events(receipt, "Approval")
    assert event.args._asdict() == {
        "owner": lending.attacker,
        "spender": lending.stranger,
        "value": 7,
    }
    vault.transferFrom(lending.attacker, lending.other_lender, 7, sender=lending.stranger)
    with reverts("erc20: insufficient allowance"):
        vault.transferFrom(lending.attacker, lending.other_lender, 1, sender=lending.stranger)
    with reverts("erc20: transfer amount exceeds balance"):
        vault.transfer(lending.lender, 1, sender=lending.stranger)
    holders = (lending.lender, lending.other_lender, lending.attacker, lending.stranger)
    assert vault.totalSupply() == sum(lending.shares(holder) for holder in holders)


@conforms("C61")
def round_trips_never_pay(world: World) -> None:
    lending = world.lending
    vault, who = lending.vault, lending.attacker
    if not world.entered("deposit", 1_000 * lending.unit):
        return
    if world.bars_exit:  # there is no way round
        assert not world.left("withdraw", lending.unit, who)
        assert not world.left("redeem", lending.shares(who), who)
        return
    for assets in (1, 3, lending.unit + 7, 50 * lending.unit + 1):
        shares = assets * VIRTUAL_SHARES - 1 if assets > 1 else 2 * VIRTUAL_SHARES
        with lending.chain.isolated(), lending.chain.one_block():
            minted = vault.deposit(assets, who, sender=who).return_value
            with lending.chain.isolated():
                assert vault.withdraw(assets, who, who, sender=who).return_value >= minted
            if vault.previewRedeem(minted):
                returned = vault.redeem(minted, who, who, sender=who).return_value
                assert returned <= assets
        with lending.chain.isolated(), lending.chain.one_block():
            cost = vault.mint(shares, who, sender=who).return_value
            with lending.chain.isolated():
                assert vault.withdraw(cost, who, who, sender=who).return_value >= shares
            assert vault.redeem(shares, who, who, sender=who).return_value <= cost
        with lending.chain.isolated(), lending.chain.one_block():
            sent = vault.redeem(shares, who, who, sender=who).return_value
            with lending.chain.isolated():
                assert vault.deposit(sent, who, sender=who).return_value <= shares
            assert vault.mint(shares, who, sender=who).return_value >= sent
        with lending.chain.isolated(), lending.chain.one_block():
            burnt = vault.withdraw(assets, who, who, sender=who).return_value
            with lending.chain.isolated():
                assert vault.mint(burnt, who, sender=who).return_value >= assets
            assert vault.deposit(assets, who, sender=who).return_value <= burnt


# ---- beyond the standard


@exceeds
def inflation_costs_more_than_it_takes(world: World) -> None:
    """crytic 033: a first share, a donation, a victim."""
    lending = world.lending
    vault, attacker, victim = lending.vault, lending.attacker, lending.lender
    if world.state != "empty":
        before = (world.price, lending.figures()[1:])
        lending.donate(10**6 * lending.unit)
        assert (world.price, lending.figures()[1:]) == before
        return
    start = lending.tokens(attacker)
    vault.deposit(1, attacker, sender=attacker)
    lending.asset.transfer(vault.address, 10**6 * lending.unit, sender=attacker)
    amount = 1_000 * lending.unit + 1
    minted = lending.deposit(victim, amount)
    assert vault.convertToAssets(minted) >= amount - 1
    vault.redeem(lending.shares(attacker), attacker, attacker, sender=attacker)
    assert lending.tokens(attacker) <= start - 10**6 * lending.unit


@exceeds
def conversions_are_monotone(world: World) -> None:
    vault = world.lending.vault
    for convert, amounts in (
        (vault.convertToShares, world.amounts),
        (vault.convertToAssets, world.share_amounts),
    ):
        results = [convert(amount) for amount in sorted(amounts)]
        assert results == sorted(results)
        assert results[-1] > results[0]


@exceeds
def nothing_converts_to_nothing(world: World) -> None:
    vault = world.lending.vault
    for name in (
        "convertToShares",
        "convertToAssets",
        "previewDeposit",
        "previewMint",
        "previewWithdraw",
        "previewRedeem",
    ):
        assert vault.function(name)(0) == 0


@exceeds
def conversions_are_weakly_additive(world: World) -> None:
    vault = world.lending.vault
    for convert, amounts in (
        (vault.convertToShares, world.amounts),
        (vault.convertToAssets, world.share_amounts),
    ):
        for a in amounts[1::2]:
            for b in amounts[::3]:
                assert convert(a) + convert(b) <= convert(a + b)


@exceeds
def dust_favours_the_vault(world: World) -> None:
    """I06 over many tiny steps: the price of a share never falls, whoever comes and goes."""
    lending = world.lending
    vault, who = lending.vault, lending.attacker
    shares, assets = world.price
    if world.bars_entry:
        assert not world.entered("deposit", 1)
        return
    vault.deposit(10 * lending.unit, who, sender=who)
    for step in range(1, 12):
        vault.deposit(step, who, sender=who)
        vault.mint(step * VIRTUAL_SHARES + step, who, sender=who)
        world.left("withdraw", step, who)
        world.left("redeem", 2 * step * VIRTUAL_SHARES - step, who)
        shares_now, assets_now = world.price
        assert assets_now * shares >= assets * shares_now
        shares, assets = shares_now, assets_now


@exceeds
def minting_nothing_reverts(world: World) -> None:
    lending = world.lending
    for action in ("deposit", "mint"):
        with reverts(
            "vault: clearinghouse busy" if world.state == "busy" else "vault: zero amount"
        ):
            lending.vault.function(action)(0, lending.attacker, sender=lending.attacker)


@exceeds
def a_transfer_to_oneself_changes_nothing(world: World) -> None:
    lending = world.lending
    shares = world.ensure_shares()
    figures = lending.figures()
    lending.vault.transfer(lending.lender, shares, sender=lending.lender)
    assert (lending.shares(lending.lender), lending.figures()) == (shares, figures)


@exceeds
def the_vault_is_no_receiver(world: World) -> None:
    lending = world.lending
    world.ensure_shares()
    me = lending.vault.address
    with reverts(world.bars_entry if world.state == "busy" else "vault: bad receiver"):
        lending.vault.mint(VIRTUAL_SHARES, me, sender=lending.attacker)
    with reverts(world.bars_exit or "vault: bad receiver"):
        lending.vault.redeem(2 * VIRTUAL_SHARES, me, lending.lender, sender=lending.lender)


# ---- the tests


@pytest.mark.parametrize("identifier", sorted(CHECKS))
def test_erc4626__in_every_state__conforms(identifier: str, world: World) -> None:
    """T08, T10: limits and previews among them."""
    CHECKS[identifier](world)


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_erc4626__in_every_state__exceeds(name: str, world: World) -> None:
    BEYOND[name](world)


def test_checks__all_clauses__are_covered() -> None:
    """The suite is C01 to C61, no more and no less, in nine states at three precisions."""
    assert sorted(CHECKS) == [f"C{number:02d}" for number in range(1, 62)]
    assert len(BEYOND) == 8
    assert set(STATES) == {
        *("empty", "seeded", "donated", "indebted", "aged", "capped", "busy"),
        *("with bad debt realised", "exits held"),
    }
    assert DECIMALS == (6, 8, 18)
