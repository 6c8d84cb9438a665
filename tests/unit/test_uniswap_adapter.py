"""The Uniswap V3 adapter against real pools, and the mock venue against exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Chain, Contract, Reverted, RevmChain
from ballast.venue import (
    FEE_PPM,
    Arbitrageur,
    Venue,
    VenueError,
    deploy_venue,
    deploy_weth,
    fund,
    uniswap_artifact,
)

ANSWERS = {"ETH": 2_000_00000000, "BTC": 40_000_00000000}
WAD = 10**18
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class World:
    chain: Chain
    venue: Venue
    adapter: Contract
    quoter: Contract
    governor: str
    clearinghouse: str
    receiver: str
    attacker: str
    trader: str

    def token(self, asset: str) -> Contract:
        return self.venue.quote if asset == "USD" else self.venue.pools[asset].token

    def send(self, asset: str, amount: int) -> None:
        """What the clearing house does before a swap."""
        fund(self.token(asset), self.clearinghouse, amount)
        self.token(asset).transfer(self.adapter.address, amount, sender=self.clearinghouse)

    def swap(self, sold: str, bought: str, amount: int, min_out: int = 0) -> int:
        receipt = self.adapter.swap(
            self.token(sold).address,
            self.token(bought).address,
            amount,
            min_out,
            self.receiver,
            sender=self.clearinghouse,
        )
        return receipt.return_value

    def quote(self, sold: str, bought: str, amount: int) -> int:
        return self.quoter.quoteExactInputSingle.call(
            self.token(sold).address, self.token(bought).address, FEE_PPM, amount, 0
        )


@pytest.fixture(scope="module")
def deployed() -> World:
    chain = RevmChain()
    governor, clearinghouse, receiver, attacker, trader = chain.accounts[:5]
    weth = deploy_weth(chain, governor)
    dollar = chain.deploy("MockToken", "Dollar", "USD", 6, sender=governor)
    bitcoin = chain.deploy("MockToken", "Wrapped Bitcoin", "WBTC", 8, sender=governor)
    tokens = {"ETH": weth, "BTC": bitcoin}
    venue = deploy_venue(chain, weth, dollar, tokens, ANSWERS, sender=governor)
    adapter = chain.deploy(
        "UniswapV3Adapter", clearinghouse, venue.factory.address, governor, sender=attacker
    )
    for token in tokens.values():
        adapter.set_fee_tier(token.address, dollar.address, FEE_PPM, sender=governor)
    quoter = chain.deploy(
        uniswap_artifact("Quoter"), venue.factory.address, weth.address, sender=governor
    )
    return World(chain, venue, adapter, quoter, governor, clearinghouse, receiver, attacker, trader)


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.chain.isolated():
        yield deployed


@dataclass(frozen=True)
class Rogue:
    """A pair whose pool is none, in an adapter with ten times the input of a swap lying in it."""

    world: World
    adapter: Contract
    pool: Contract
    token: Contract

    def swap(self) -> None:
        """A sale of a unit, worth nothing."""
        self.adapter.swap(
            self.token.address,
            self.world.venue.quote.address,
            10**8,
            0,
            self.world.receiver,
            sender=self.world.clearinghouse,
        )

    def tries(
        self,
        asked_bps: int = 10_000,
        payments: int = 1,
        accomplice: str = NOBODY,
        greedy: bool = False,
    ) -> None:
        """Sets the pool's habits."""
        self.pool.set_habits(asked_bps, payments, accomplice, greedy, sender=self.world.attacker)

    def loot(self) -> int:
        """What lies with the pool, token units."""
        return self.token.balanceOf.call(self.pool.address)


@pytest.fixture
def rogue(world: World) -> Rogue:
    pool = world.chain.deploy("RoguePool", sender=world.attacker)
    arguments = (world.clearinghouse, pool.address, world.governor)
    adapter = world.chain.deploy("UniswapV3Adapter", *arguments, sender=world.governor)
    token = world.token("BTC")
    adapter.set_fee_tier(token.address, world.venue.quote.address, 500, sender=world.governor)
    token.mint(adapter.address, 10 * 10**8, sender=world.governor)
    return Rogue(world, adapter, pool, token)


# The swap

SALES = [("ETH", 3 * WAD), ("BTC", 10**8), ("BTC", 1), ("ETH", 5_000 * WAD), ("ETH", 10**9)]


@pytest.mark.parametrize(("asset", "amount"), SALES)
def test_swap__collateral_for_cash__pays_the_quoted_amount_and_leaves_nothing__I26(
    world, asset, amount
):
    quoted = world.quote(asset, "USD", amount)
    world.send(asset, amount)
    sold = world.swap(asset, "USD", amount)
    assert sold == quoted == world.venue.quote.balanceOf.call(world.receiver)
    for token in (world.token(asset), world.venue.quote):
        assert token.balanceOf.call(world.adapter.address) == 0
        pool = world.venue.pools[asset].contract
        for spender in (pool.address, world.venue.router.address):
            assert token.allowance.call(world.adapter.address, spender) == 0


def test_swap__cash_for_collateral__goes_the_other_way(world):
    quoted = world.quote("USD", "BTC", 50_000_000_000)
    world.send("USD", 50_000_000_000)
    assert world.swap("USD", "BTC", 50_000_000_000) == quoted
    assert world.token("BTC").balanceOf.call(world.receiver) == quoted


def test_swap__100k_dollars__has_the_documented_impact(world):
    amount = 50 * WAD
    impact_bps = 10_000 * (1 - world.quote("ETH", "USD", amount) / 100_000e6) - FEE_PPM / 100
    assert 12.5 < impact_bps < 14


@pytest.mark.parametrize("surplus", [0, 1])
def test_swap__min_out__is_enforced_to_the_unit__T54(world, surplus):
    world.send("ETH", WAD)
    quoted = world.quote("ETH", "USD", WAD)
    if surplus:
        with pytest.raises(Reverted, match="^adapter: too little out$"):
            world.swap("ETH", "USD", WAD, quoted + surplus)
        assert world.token("ETH").balanceOf.call(world.adapter.address) == WAD
    else:
        assert world.swap("ETH", "USD", WAD, quoted) == quoted


def test_swap__gift_in_the_adapter__neither_blocks_nor_leaves(world):
    fund(world.token("ETH"), world.attacker, 7)
    world.token("ETH").transfer(world.adapter.address, 7, sender=world.attacker)
    world.send("ETH", WAD)
    assert world.swap("ETH", "USD", WAD) == world.venue.quote.balanceOf.call(world.receiver)
    assert world.token("ETH").balanceOf.call(world.adapter.address) == 7


@pytest.mark.parametrize("role", ["attacker", "governor", "receiver"])
def test_swap__anyone_but_the_clearing_house__reverts(world, role):
    world.send("ETH", WAD)
    with pytest.raises(Reverted, match="^adapter: only exchange$"):
        world.adapter.swap(
            world.token("ETH").address,
            world.venue.quote.address,
            WAD,
            0,
            world.attacker,
            sender=getattr(world, role),
        )


def test_swap__pair_not_listed__reverts(world):
    world.send("ETH", WAD)
    with pytest.raises(Reverted, match="^adapter: unknown pair$"):
        world.swap("ETH", "BTC", WAD)
    with pytest.raises(Reverted, match="^adapter: unknown pair$"):
        world.swap("ETH", "ETH", WAD)


@pytest.mark.parametrize("asked_bps", [0, 9_999, 10_001, 100_000])
def test_swap__pool_asks_for_more_or_less_than_the_sale__reverts__T38(rogue, asked_bps):
    rogue.tries(asked_bps)
    with pytest.raises(Reverted, match="^adapter: not the whole input$"):
        rogue.swap()
    assert rogue.loot() == 0


def test_swap__pool_asks_twice__reverts__T38(rogue):
    rogue.tries(payments=2)
    with pytest.raises(Reverted, match="^adapter: not the pool under way$"):
        rogue.swap()
    rogue.tries()
    rogue.swap()
    assert rogue.loot() == 10**8, "what the swap was sent, and none of the rest"


def test_swap__pool_never_asks__reverts__I26(rogue):
    """A pool that pays out and takes nothing would leave the input here."""
    rogue.tries(payments=0)
    with pytest.raises(Reverted, match="^adapter: input left over$"):
        rogue.swap()


def test_swap__another_contract_asks_for_the_pool__reverts__T38(rogue):
    """Not even while the swap of the true pool is under way."""
    accomplice = rogue.world.chain.deploy("RoguePool", sender=rogue.world.attacker)
    rogue.tries(accomplice=accomplice.address)
    with pytest.raises(Reverted, match="^adapter: not the pool under way$"):
        rogue.swap()


def test_swap__pool_asks_for_another_swap__reverts__T16(rogue):
    """The lock holds even where the exchange itself would come back: a pool that is both."""
    rogue.tries(greedy=True)
    world, token, dollar = rogue.world, rogue.token, rogue.world.venue.quote
    both = world.chain.deploy(
        "UniswapV3Adapter",
        rogue.pool.address,
        rogue.pool.address,
        world.governor,
        sender=world.governor,
    )
    both.set_fee_tier(token.address, dollar.address, 500, sender=world.governor)
    token.mint(both.address, 2 * 10**8, sender=world.governor)
    sale = (both.address, token.address, dollar.address, 10**8)
    with pytest.raises(Reverted) as caught:
        rogue.pool.sell(*sale, sender=world.attacker)
    assert caught.value.reason == "", "the lock says nothing"
    rogue.tries()
    rogue.pool.sell(*sale, sender=world.attacker)
    assert rogue.loot() == 10**8, "it was the other swap that was refused"


def test_swap__token_for_itself__reverts(rogue):
    """No true factory has such a pool; this one's word on what it paid is not believed."""
    rogue.tries()
    world, token = rogue.world, rogue.token.address
    rogue.adapter.set_fee_tier(token, token, 500, sender=world.governor)
    with pytest.raises(Reverted) as caught:
        rogue.adapter.swap(token, token, 10**8, 0, world.receiver, sender=world.clearinghouse)
    assert caught.value.reason == "", "what it took is no proceeds"
    assert rogue.loot() == 0


def test_callback__no_swap_under_way__reverts__T38(rogue):
    """What lies in the adapter is nobody's, not even the pool's, before and after a swap."""
    world = rogue.world

    def ask() -> None:
        asking = [
            partial(rogue.adapter.uniswapV3SwapCallback, 7, -7, b"", sender=sender)
            for sender in (world.attacker, world.clearinghouse, world.governor)
        ]
        asking.append(partial(rogue.pool.ask, rogue.adapter.address, 7, sender=world.attacker))
        for act in asking:
            with pytest.raises(Reverted, match="^adapter: not the pool under way$"):
                act()

    ask()
    rogue.tries()
    rogue.swap()
    ask()
    assert rogue.loot() == 10**8


def test_swap__input_never_sent__reverts(world):
    with pytest.raises(Reverted):
        world.swap("ETH", "USD", WAD)


QUIRKY_ANSWERS = {"says true": 0, "says false": 1, "says nothing": 2}


@pytest.mark.parametrize("answer", QUIRKY_ANSWERS)
def test_swap__token_with_odd_return_values__T13_T14(world, answer):
    token = world.chain.deploy("QuirkyToken", sender=world.governor)
    venue = deploy_venue(
        world.chain,
        world.token("ETH"),
        world.venue.quote,
        {"ODD": token},
        {"ODD": 100_00000000},
        sender=world.governor,
    )
    adapter = world.chain.deploy(
        "UniswapV3Adapter",
        world.clearinghouse,
        venue.factory.address,
        world.governor,
        sender=world.governor,
    )
    adapter.set_fee_tier(token.address, venue.quote.address, FEE_PPM, sender=world.governor)
    token.mint(adapter.address, 2 * WAD, sender=world.governor)
    token.set_answers(QUIRKY_ANSWERS[answer], sender=world.governor)

    def swap() -> int:
        return adapter.swap(
            token.address,
            venue.quote.address,
            WAD,
            0,
            world.receiver,
            sender=world.clearinghouse,
        ).return_value

    if answer == "says false":
        with pytest.raises(Reverted, match="^adapter: transfer failed$"):
            swap()
    else:
        # twice, because nothing of the first may be in the way of the second
        assert swap() + swap() == venue.quote.balanceOf.call(world.receiver)


# Fee tiers


def test_cost_ppm__listed_pair__is_the_pool_fee_in_either_order(world):
    eth, dollar = world.token("ETH").address, world.venue.quote.address
    assert world.adapter.cost_ppm.call(eth, dollar) == 3_000
    assert world.adapter.cost_ppm.call(dollar, eth) == 3_000
    assert world.adapter.fee_tier.call(dollar, eth) == 3_000
    pool = world.venue.pools["ETH"].contract.address
    assert (
        world.adapter.pool_of.call(dollar, eth) == world.adapter.pool_of.call(eth, dollar) == pool
    )


def test_cost_ppm__pair_not_listed__reverts(world):
    eth, bitcoin = world.token("ETH").address, world.token("BTC").address
    assert world.adapter.fee_tier.call(eth, bitcoin) == 0
    with pytest.raises(Reverted, match="^adapter: unknown pair$"):
        world.adapter.cost_ppm.call(eth, bitcoin)


@pytest.mark.parametrize("fee_ppm", [1, 501, 2**24 - 1])
def test_set_fee_tier__any_tier__is_kept_to_the_bit_beside_its_pool(rogue, fee_ppm):
    """Odd ones too, of which the lowest bit lies next to the address."""
    pair = rogue.token.address, rogue.world.venue.quote.address
    rogue.adapter.set_fee_tier(*pair, fee_ppm, sender=rogue.world.governor)
    assert rogue.adapter.fee_tier.call(*pair) == rogue.adapter.cost_ppm.call(*pair) == fee_ppm
    assert rogue.adapter.pool_of.call(*pair) == rogue.pool.address


def test_set_fee_tier__delisted__stops_swaps_and_says_so(world):
    eth, dollar = world.token("ETH").address, world.venue.quote.address
    receipt = world.adapter.set_fee_tier(eth, dollar, 0, sender=world.governor)
    (event,) = world.adapter.events(receipt, "FeeTierSet")
    low, high = sorted((eth, dollar), key=str.lower)
    assert tuple(event.args) == (low, high, 3_000, 0)
    world.send("ETH", WAD)
    with pytest.raises(Reverted, match="^adapter: unknown pair$"):
        world.swap("ETH", "USD", WAD)


def test_set_fee_tier__no_such_pool__reverts(world):
    eth, dollar = world.token("ETH").address, world.venue.quote.address
    with pytest.raises(Reverted, match="^adapter: no pool at this fee$"):
        world.adapter.set_fee_tier(eth, dollar, 500, sender=world.governor)
    with pytest.raises(Reverted):
        world.adapter.set_fee_tier(eth, dollar, 2**24, sender=world.governor)
    assert world.adapter.fee_tier.call(eth, dollar) == 3_000


def test_set_fee_tier__anyone_but_the_governor__reverts(world):
    eth, dollar = world.token("ETH").address, world.venue.quote.address
    for stranger in (world.attacker, world.clearinghouse):
        with pytest.raises(Reverted, match="caller is not the owner"):
            world.adapter.set_fee_tier(eth, dollar, 0, sender=stranger)


def test_transfer_ownership__two_steps__moves_the_governor(world):
    eth, dollar = world.token("ETH").address, world.venue.quote.address
    assert world.adapter.owner.call() == world.governor
    world.adapter.transfer_ownership(world.trader, sender=world.governor)
    assert world.adapter.owner.call() == world.governor
    world.adapter.accept_ownership(sender=world.trader)
    world.adapter.set_fee_tier(eth, dollar, 0, sender=world.trader)
    assert world.adapter.fee_tier.call(eth, dollar) == 0


@pytest.mark.parametrize("zero", range(3))
def test_deploy__zero_address__reverts(world, zero):
    arguments = [world.clearinghouse, world.venue.factory.address, world.governor]
    arguments[zero] = NOBODY
    with pytest.raises(Reverted, match="^adapter: zero address$"):
        world.chain.deploy("UniswapV3Adapter", *arguments, sender=world.governor)


# The venue and its arbitrageur


@pytest.mark.parametrize("asset", ["ETH", "BTC"])
def test_align__any_price__lands_on_it_exactly(world, asset):
    arbitrageur = Arbitrageur(world.venue, world.trader)
    pool = world.venue.pools[asset]
    for percent in (99, 101, 40, 41, 250):
        answer = ANSWERS[asset] * percent // 100
        assert arbitrageur.align(asset, answer) is not None
        assert pool.present_x96() == pool.sqrt_price_x96(answer)
        assert abs(pool.answer() - answer) <= 1
        assert arbitrageur.align(asset, answer) is None
    assert arbitrageur.swaps == 5


@given(answer=st.integers(10**6, 10**14), is_first=st.booleans())
def test_sqrt_price__any_answer__is_the_floored_root(deployed, answer, is_first):
    pool = deployed.venue.pools["BTC"]
    expected = isqrt((answer * 10**6 << 192) // (10**8 * 10**8))
    inverse = isqrt((10**8 * 10**8 << 192) // (answer * 10**6))
    assert pool.sqrt_price_x96(answer) == (expected if pool.is_token_first else inverse)


def test_deploy_venue__bad_arguments__name_the_choice(world):
    chain, dollar, weth = world.chain, world.venue.quote, world.token("ETH")
    with pytest.raises(VenueError, match="500, 3000, 10000"):
        deploy_venue(chain, weth, dollar, {}, {}, sender=world.governor, fee_ppm=100)
    with pytest.raises(VenueError, match="ETH: no opening price"):
        deploy_venue(chain, weth, dollar, {"ETH": weth}, {}, sender=world.governor)
    with pytest.raises(VenueError, match="no square root"):
        world.venue.pools["ETH"].sqrt_price_x96(0)


# The mock venue


@pytest.fixture(scope="module")
def mock(deployed: World) -> tuple[Contract, list[Contract]]:
    chain, governor = deployed.chain, deployed.governor
    tokens = [chain.deploy("MockToken", f"T{d}", f"T{d}", d, sender=governor) for d in (6, 8, 18)]
    return chain.deploy("MockVenue", sender=governor), tokens


@given(
    pair=st.sampled_from([(i, j) for i in range(3) for j in range(3) if i != j]),
    amount=st.integers(0, 10**27),
    price_wad=st.integers(1, 10**24),
    fee_ppm=st.integers(0, 999_999),
)
def test_mock_venue__any_swap__pays_the_exact_floor(
    deployed, mock, pair, amount, price_wad, fee_ppm
):
    venue, tokens = mock
    sold, bought = (tokens[i] for i in pair)
    unit_in, unit_out = (10 ** (6, 8, 18)[i] for i in pair)
    governor, receiver = deployed.governor, deployed.receiver
    numerator = amount * price_wad * (10**6 - fee_ppm) * unit_out
    if numerator >= 2**256:
        return
    expected = numerator // (unit_in * WAD * 10**6)
    with deployed.chain.isolated():
        venue.set_price(sold.address, bought.address, price_wad, fee_ppm, sender=governor)
        bought.mint(venue.address, expected, sender=governor)
        assert venue.quote.call(sold.address, bought.address, amount) == expected
        receipt = venue.swap(
            sold.address, bought.address, amount, expected, receiver, sender=governor
        )
        assert receipt.return_value == expected == bought.balanceOf.call(receiver)
        assert venue.cost_ppm.call(sold.address, bought.address) == fee_ppm


def test_mock_venue__bad_input__reverts_with_its_own_reason(world, mock):
    venue, (six, _, eighteen) = mock
    a, b, governor = six.address, eighteen.address, world.governor
    with pytest.raises(Reverted, match="^venue: unknown pair$"):
        venue.swap(a, b, 1, 0, world.receiver, sender=governor)
    with pytest.raises(Reverted, match="^venue: unknown pair$"):
        venue.cost_ppm.call(a, b)
    with pytest.raises(Reverted, match="^venue: fee too high$"):
        venue.set_price(a, b, WAD, 10**6, sender=governor)
    venue.set_price(a, b, WAD, 0, sender=governor)
    with pytest.raises(Reverted, match="^venue: too little out$"):
        venue.swap(a, b, 10**6, WAD + 1, world.receiver, sender=governor)
    with pytest.raises(Reverted, match="^mock: balance too low$"):
        venue.swap(a, b, 10**6, WAD, world.receiver, sender=governor)
