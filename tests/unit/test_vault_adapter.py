"""The adapter whose venue is the vault: redemption and deposit, exact, with nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.shares_kit import YEAR_S, unit_rate
from tests.support.world import UNLIMITED, WAD, ZERO_ADDRESS

UNKNOWN = "vault adapter: unknown pair"
NOT_OWNER = "ownable: caller is not the owner"
QUIRKY_ANSWERS = {"says true": 0, "says false": 1, "says nothing": 2}
PAIRS = [(6, 0), (8, 0), (18, 0), (6, 6), (8, 10), (2, 4)]  # asset decimals, offset of shares


@dataclass(frozen=True)
class Bench:
    """A vault, the adapter and who calls it in the exchange's place."""

    chain: RevmChain
    asset: Contract
    vault: Any
    adapter: Contract

    @property
    def governor(self) -> str:
        """Owner of the adapter."""
        return self.chain.accounts[0]

    @property
    def exchange(self) -> str:
        """The only caller of `swap`."""
        return self.chain.accounts[1]

    @property
    def receiver(self) -> str:
        """Who gets the proceeds."""
        return self.chain.accounts[2]

    @property
    def stranger(self) -> str:
        """Anybody else; holds shares."""
        return self.chain.accounts[3]

    def send_shares(self, shares: int) -> None:
        """Shares to the adapter, as the clearing house sends them before a swap."""
        self.vault.mint(shares, self.adapter, sender=self.governor)

    def send_assets(self, assets: int) -> None:
        """Units of the asset to the adapter."""
        self.asset.mint(self.adapter, assets, sender=self.governor)

    def sell(self, shares: int, min_out: int = 0) -> int:
        """Shares for the asset."""
        receipt = self.adapter.swap(
            self.vault, self.asset, shares, min_out, self.receiver, sender=self.exchange
        )
        return int(receipt.return_value)

    def buy(self, assets: int, min_out: int = 0) -> int:
        """Shares for units of the asset."""
        receipt = self.adapter.swap(
            self.asset, self.vault, assets, min_out, self.receiver, sender=self.exchange
        )
        return int(receipt.return_value)

    def is_clean(self) -> bool:
        """Nothing of either token is here, and the vault may take nothing."""
        held = [token.balanceOf(self.adapter) for token in (self.asset, self.vault)]
        return held == [0, 0] and self.asset.allowance(self.adapter, self.vault) == 0


def build_bench(asset_decimals: int = 6, offset: int = 0, *, is_rogue: bool = False) -> Bench:
    chain = RevmChain()
    governor, exchange = chain.accounts[:2]
    asset = chain.deploy("MockToken", "Asset", "AST", asset_decimals, sender=governor)
    if is_rogue:
        vault = chain.deploy("RogueVault", asset, asset_decimals, WAD, sender=governor)
        asset.mint(vault, 10**12, sender=governor)
    else:
        vault = chain.deploy("MockYieldVault", asset, "Yield", "YLD", offset, 0, sender=governor)
        asset.mint(governor, 10**40, sender=governor)
        asset.approve(vault, UNLIMITED, sender=governor)
        # A price that is no round number: 1.37 for what was 1.
        vault.deposit(100 * 10**asset_decimals, chain.accounts[3], sender=governor)
        asset.mint(vault, 37 * 10**asset_decimals, sender=governor)
    adapter = chain.deploy("ERC4626Adapter", exchange, governor, sender=chain.accounts[4])
    adapter.set_vault(vault, True, sender=governor)
    return Bench(chain, asset, vault, adapter)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}+{pair[1]}")
def shared(request: pytest.FixtureRequest) -> Bench:
    return build_bench(*request.param)


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    with shared.chain.isolated():
        yield shared


@pytest.fixture
def rogue() -> Bench:
    """A vault of 6 decimals at a rate of one that can be told to misbehave."""
    return build_bench(is_rogue=True)


# ---- the two ways


def test_swap__shares_for_the_asset__is_what_the_vault_pays_a_holder__I26(bench: Bench) -> None:
    shares = 3 * 10 ** int(bench.vault.decimals()) + 1
    quoted = bench.vault.previewRedeem(shares)
    bench.send_shares(shares)
    assert bench.sell(shares, min_out=quoted) == quoted > 0
    assert bench.asset.balanceOf(bench.receiver) == quoted
    assert bench.is_clean()


def test_swap__the_asset_for_shares__is_what_the_vault_gives_a_depositor__I26(
    bench: Bench,
) -> None:
    assets = 3 * 10 ** int(bench.asset.decimals()) + 1
    quoted = bench.vault.previewDeposit(assets)
    bench.send_assets(assets)
    assert bench.buy(assets, min_out=quoted) == quoted > 0
    assert bench.vault.balanceOf(bench.receiver) == quoted
    assert bench.is_clean()


@given(assets=st.integers(0, 10**30))
def test_swap__there_and_back__never_gains(shared: Bench, assets: int) -> None:
    """Both roundings are the vault's."""
    with shared.chain.isolated():
        shared.send_assets(assets)
        shares = shared.buy(assets)
        shared.vault.transfer(shared.adapter, shares, sender=shared.receiver)
        back = shared.sell(shares)
        assert back <= assets
        share_unit_value = shared.vault.previewMint(1)
        assert assets - back <= share_unit_value + 1


def test_swap__vault_that_earned__pays_with_the_interest(bench: Bench) -> None:
    shares = 10 ** int(bench.vault.decimals())
    bench.send_shares(shares)
    before = bench.vault.previewRedeem(shares)
    bench.vault.set_growth(WAD // YEAR_S, sender=bench.governor)
    bench.chain.advance(YEAR_S)
    assert before * 199 // 100 <= bench.sell(shares) < (before + 1) * 2


def test_swap__gift_in_the_adapter__neither_blocks_nor_leaves(bench: Bench) -> None:
    gift = 7
    bench.send_shares(gift)
    bench.send_assets(gift)
    shares = 10 ** int(bench.vault.decimals())
    bench.send_shares(shares)
    bench.sell(shares)
    bench.send_assets(10**6)
    bench.buy(10**6)
    assert bench.vault.balanceOf(bench.adapter) == gift
    assert bench.asset.balanceOf(bench.adapter) == gift


def test_swap__least_proceeds__are_enforced_to_the_unit__T54(bench: Bench) -> None:
    shares = 10 ** int(bench.vault.decimals())
    bench.send_shares(shares)
    with reverts("vault adapter: too little out"):
        bench.sell(shares, min_out=bench.vault.previewRedeem(shares) + 1)
    assets = 10 ** int(bench.asset.decimals())
    bench.send_assets(assets)
    with reverts("vault adapter: too little out"):
        bench.buy(assets, min_out=bench.vault.previewDeposit(assets) + 1)


def test_swap__input_never_sent__reverts(bench: Bench) -> None:
    with reverts("vault adapter: redemption limit"):
        bench.sell(1)
    with reverts("mock: balance too low"):
        bench.buy(1)


# ---- who and what


def test_swap__anyone_but_the_exchange__is_refused(bench: Bench) -> None:
    bench.send_shares(10**6)
    for who in (bench.governor, bench.receiver, bench.stranger):
        with reverts("vault adapter: only exchange"):
            bench.adapter.swap(bench.vault, bench.asset, 1, 0, who, sender=who)


def test_swap__not_a_listed_vault_and_its_asset__is_refused(bench: Bench) -> None:
    other = bench.chain.deploy("MockToken", "Other", "OTH", 6, sender=bench.governor)
    pairs = [
        (bench.vault, other),
        (other, bench.vault),
        (bench.vault, bench.vault),
        (bench.asset, bench.asset),
        (bench.vault, ZERO_ADDRESS),
        (ZERO_ADDRESS, bench.vault),
        (other, ZERO_ADDRESS),
        (ZERO_ADDRESS, other),
        (ZERO_ADDRESS, ZERO_ADDRESS),
    ]
    for sold, bought in pairs:
        # The exchange knows no token without an address; where one is, it has no balance to read.
        with reverts("" if sold == ZERO_ADDRESS else UNKNOWN):
            bench.adapter.swap(sold, bought, 0, 0, bench.receiver, sender=bench.exchange)
        with reverts(UNKNOWN):
            bench.adapter.cost_ppm(sold, bought)


def test_cost_ppm__listed_pair__is_nothing_either_way(bench: Bench) -> None:
    assert bench.adapter.cost_ppm(bench.vault, bench.asset) == 0
    assert bench.adapter.cost_ppm(bench.asset, bench.vault) == 0


def test_set_vault__delisted__stops_swaps_and_says_so(bench: Bench) -> None:
    assert bench.adapter.asset_of(bench.vault) == bench.asset.address
    receipt = bench.adapter.set_vault(bench.vault, False, sender=bench.governor)
    told = args_of(bench.adapter, receipt, "VaultSet")
    assert tuple(told) == (bench.vault.address, bench.asset.address, False)
    assert bench.adapter.asset_of(bench.vault) == ZERO_ADDRESS
    bench.send_shares(10**6)
    with reverts(UNKNOWN):
        bench.sell(10**6)
    receipt = bench.adapter.set_vault(bench.vault, True, sender=bench.governor)
    assert args_of(bench.adapter, receipt, "VaultSet").is_listed
    assert bench.sell(10**6) >= 0


def test_set_vault__anyone_but_the_governor__is_refused(bench: Bench) -> None:
    for who in (bench.exchange, bench.receiver, bench.stranger):
        with reverts(NOT_OWNER):
            bench.adapter.set_vault(bench.vault, False, sender=who)


def test_set_vault__no_vault__is_refused(rogue: Bench) -> None:
    nothing = rogue.chain.deploy("RogueVault", ZERO_ADDRESS, 6, WAD, sender=rogue.governor)
    with reverts("vault adapter: zero address"):
        rogue.adapter.set_vault(nothing, True, sender=rogue.governor)
    with reverts(""):
        rogue.adapter.set_vault(rogue.asset, True, sender=rogue.governor)


@pytest.mark.parametrize("zero", range(2))
def test_deploy__zero_address__is_refused(rogue: Bench, zero: int) -> None:
    arguments = [rogue.exchange, rogue.governor]
    arguments[zero] = ZERO_ADDRESS
    with reverts("vault adapter: zero address"):
        rogue.chain.deploy("ERC4626Adapter", *arguments, sender=rogue.governor)


def test_transfer_ownership__two_steps__moves_the_list(rogue: Bench) -> None:
    rogue.adapter.transfer_ownership(rogue.stranger, sender=rogue.governor)
    assert rogue.adapter.owner() == rogue.governor
    rogue.adapter.accept_ownership(sender=rogue.stranger)
    rogue.adapter.set_vault(rogue.vault, False, sender=rogue.stranger)
    assert rogue.adapter.asset_of(rogue.vault) == ZERO_ADDRESS


# ---- what goes on to another adapter


@dataclass(frozen=True)
class Onward:
    """The bench with a venue behind its adapter that sells the vault's asset for dollars."""

    bench: Bench
    dollar: Contract
    venue: Contract

    def sell(self, token: Any, amount: int, min_out: int = 0) -> int:
        """For dollars to the receiver."""
        bench = self.bench
        receipt = bench.adapter.swap(
            token, self.dollar, amount, min_out, bench.receiver, sender=bench.exchange
        )
        return int(receipt.return_value)


@pytest.fixture
def onward(bench: Bench) -> Onward:
    """Two dollars and a half for a whole asset, less 30 bp."""
    dollar = bench.chain.deploy("MockToken", "Dollar", "USD", 6, sender=bench.governor)
    venue = bench.chain.deploy("MockVenue", sender=bench.governor)
    dollar.mint(venue, 10**15, sender=bench.governor)
    venue.set_price(bench.asset, dollar, WAD * 5 // 2, 3_000, sender=bench.governor)
    venue.set_price(dollar, bench.asset, WAD * 2 // 5, 3_000, sender=bench.governor)
    receipt = bench.adapter.set_onward(venue, sender=bench.governor)
    told = args_of(bench.adapter, receipt, "OnwardSet")
    assert tuple(told) == (ZERO_ADDRESS, venue.address)
    return Onward(bench, dollar, venue)


def test_swap__shares_for_a_third_token__are_redeemed_and_sold_on__I26(onward: Onward) -> None:
    bench = onward.bench
    shares = 3 * 10 ** int(bench.vault.decimals()) + 1
    assets = bench.vault.previewRedeem(shares)
    quoted = onward.venue.quote(bench.asset, onward.dollar, assets)
    bench.send_shares(shares)
    assert onward.sell(bench.vault, shares, quoted) == quoted > 0
    assert onward.dollar.balanceOf(bench.receiver) == quoted
    assert bench.asset.balanceOf(onward.venue) == assets
    assert bench.is_clean()


def test_swap__other_token__is_sold_on_as_it_is__I26(onward: Onward) -> None:
    bench = onward.bench
    assets = 10 ** int(bench.asset.decimals())
    quoted = onward.venue.quote(bench.asset, onward.dollar, assets)
    bench.send_assets(assets)
    assert onward.sell(bench.asset, assets, quoted) == quoted > 0
    assert bench.is_clean()
    with reverts("vault adapter: sending failed"):
        token = bench.chain.deploy("QuirkyToken", sender=bench.governor)
        token.mint(bench.adapter, 10**4, sender=bench.governor)
        token.set_answers(QUIRKY_ANSWERS["says false"], sender=bench.governor)
        onward.sell(token, 10**4)


def test_swap__other_token_that_answers_nothing__is_sold_on(onward: Onward) -> None:
    """T13: no answer counts as true."""
    bench = onward.bench
    token = bench.chain.deploy("QuirkyToken", sender=bench.governor)
    onward.venue.set_price(token, onward.dollar, WAD * 5 // 2, 3_000, sender=bench.governor)
    token.mint(bench.adapter, WAD, sender=bench.governor)
    token.set_answers(QUIRKY_ANSWERS["says nothing"], sender=bench.governor)
    quoted = onward.venue.quote(token, onward.dollar, WAD)
    assert onward.sell(token, WAD, quoted) == quoted > 0
    assert token.balanceOf(onward.venue) == WAD and token.balanceOf(bench.adapter) == 0


def test_swap__pair_of_the_vault__does_not_go_on(onward: Onward) -> None:
    bench = onward.bench
    bench.send_shares(10**6)
    assert bench.sell(10**6) == bench.asset.balanceOf(bench.receiver)
    assert bench.asset.balanceOf(onward.venue) == 0


def test_swap__onward__keeps_the_least_and_the_limits(onward: Onward) -> None:
    bench = onward.bench
    shares = 10 ** int(bench.vault.decimals())
    bench.send_shares(shares)
    assets = bench.vault.previewRedeem(shares)
    quoted = onward.venue.quote(bench.asset, onward.dollar, assets)
    with reverts("venue: too little out"):
        onward.sell(bench.vault, shares, quoted + 1)
    with reverts("vault adapter: redemption limit"):
        onward.sell(bench.vault, shares + 1)


def test_swap__onward_says_less_than_the_least__reverts(onward: Onward) -> None:
    """The other adapter is not trusted with the bound."""
    bench = onward.bench
    rogue = bench.chain.deploy("RogueVault", bench.asset, 6, WAD, sender=bench.governor)
    bench.adapter.set_onward(rogue, sender=bench.governor)
    bench.send_assets(100)
    with reverts("vault adapter: too little out"):
        onward.sell(bench.asset, 100, 1)


def test_swap__purchase_of_shares_with_a_third_token__is_refused(onward: Onward) -> None:
    bench = onward.bench
    onward.dollar.mint(bench.adapter, 100, sender=bench.governor)
    with reverts("venue: unknown pair"):
        bench.adapter.swap(
            onward.dollar, bench.vault, 100, 0, bench.receiver, sender=bench.exchange
        )


def test_cost_ppm__onward__is_the_venues(onward: Onward) -> None:
    bench, dollar = onward.bench, onward.dollar
    for token in (bench.vault, bench.asset):
        assert bench.adapter.cost_ppm(token, dollar) == 3_000
        assert bench.adapter.cost_ppm(dollar, token) == 3_000
    assert bench.adapter.cost_ppm(bench.vault, bench.asset) == 0
    with reverts("venue: unknown pair"):
        bench.adapter.cost_ppm(dollar, dollar)


def test_set_onward__anyone_but_the_governor__is_refused(onward: Onward) -> None:
    bench = onward.bench
    for who in (bench.exchange, bench.receiver, bench.stranger):
        with reverts(NOT_OWNER):
            bench.adapter.set_onward(ZERO_ADDRESS, sender=who)
    assert bench.adapter.onward() == onward.venue.address
    receipt = bench.adapter.set_onward(ZERO_ADDRESS, sender=bench.governor)
    told = args_of(bench.adapter, receipt, "OnwardSet")
    assert tuple(told) == (onward.venue.address, ZERO_ADDRESS)
    with reverts(UNKNOWN):
        onward.sell(bench.asset, 100)


# ---- vaults that misbehave


def rogue_sale(bench: Bench, shares: int = 1_000) -> int:
    bench.vault.mint_shares(bench.adapter, shares, sender=bench.governor)
    return bench.sell(shares)


def rogue_purchase(bench: Bench, assets: int = 1_000) -> int:
    bench.send_assets(assets)
    return bench.buy(assets)


@pytest.mark.parametrize("swap", [rogue_sale, rogue_purchase])
def test_swap__vault_pays_less_than_it_says__reverts(rogue: Bench, swap: Any) -> None:
    """By a unit or by all of it."""
    assert swap(rogue) == 1_000
    for paid_bps in (9_990, 0):
        rogue.vault.set_habits(10_000, paid_bps, UNLIMITED, sender=rogue.governor)
        with reverts("vault adapter: paid too little"):
            swap(rogue)


def test_swap__vault_pays_more_than_it_says__passes_it_on(rogue: Bench) -> None:
    rogue.vault.set_habits(10_000, 20_000, UNLIMITED, sender=rogue.governor)
    assert rogue_sale(rogue) == 1_000
    assert rogue.asset.balanceOf(rogue.receiver) == 2_000


def test_swap__vault_takes_less_than_it_was_given__reverts(rogue: Bench) -> None:
    rogue.vault.set_habits(9_990, 10_000, UNLIMITED, sender=rogue.governor)
    with reverts("vault adapter: input left over"):
        rogue_sale(rogue)
    with reverts("vault adapter: approval left"):
        rogue_purchase(rogue)


def test_swap__beyond_a_limit_of_the_vault__reverts(rogue: Bench) -> None:
    rogue.vault.set_habits(10_000, 10_000, 999, sender=rogue.governor)
    with reverts("vault adapter: redemption limit"):
        rogue_sale(rogue, 1_000)
    with reverts("vault adapter: deposit limit"):
        rogue_purchase(rogue, 1_000)
    assert rogue_sale(rogue, 999) == rogue_purchase(rogue, 999) == 999


def test_swap__rate_moved_after_the_input_was_sent__is_bounded_by_the_least(rogue: Bench) -> None:
    rogue.vault.mint_shares(rogue.adapter, 1_000, sender=rogue.governor)
    rogue.vault.set_unit_rate(
        unit_rate(rogue.asset, rogue.vault, WAD * 99 // 100), sender=rogue.governor
    )
    with reverts("vault adapter: too little out"):
        rogue.sell(1_000, min_out=1_000)
    assert rogue.sell(1_000, min_out=990) == 990


@pytest.mark.parametrize("answer", QUIRKY_ANSWERS)
def test_swap__token_with_odd_answers__is_asserted(rogue: Bench, answer: str) -> None:
    """T13, T14: an approval that is refused stops the swap, one without an answer does not."""
    token = rogue.chain.deploy("QuirkyToken", sender=rogue.governor)
    decimals = int(token.decimals())
    vault = rogue.chain.deploy("MockYieldVault", token, "Q", "Q", 0, 0, sender=rogue.governor)
    rogue.adapter.set_vault(vault, True, sender=rogue.governor)
    token.mint(rogue.adapter, 10 * 10**decimals, sender=rogue.governor)
    token.set_answers(QUIRKY_ANSWERS[answer], sender=rogue.governor)

    def swap() -> int:
        receipt = rogue.adapter.swap(
            token, vault, 10**decimals, 0, rogue.receiver, sender=rogue.exchange
        )
        return int(receipt.return_value)

    if answer == "says false":
        with reverts("vault adapter: approve failed"):
            swap()
    else:
        # twice, because such tokens refuse an approval on top of one that was left over
        assert swap() + swap() == vault.balanceOf(rogue.receiver)
