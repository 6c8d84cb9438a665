"""A real Uniswap V3, deployed from its published bytecode, and its arbitrageur.

Each asset gets one pool against the quote token, with a full-range position. A full-range position
of depth ``Y`` (quote tokens in the pool at its opening price) gives a swap of value ``v`` an
average price impact of about ``v / Y``, so the default depth of 75 million dollars costs a swap of
100,000 dollars some 13 bp on top of the pool's fee. The depth follows the square root of the price:
after a fall by half the same swap costs some 19 bp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isqrt
from typing import Any, Protocol

from ballast.artifacts import Artifact, npm_artifact
from ballast.chain import Chain, Contract, Receipt, RpcChain
from ballast.prices import ANSWER_SCALE

FEE_PPM = 3_000
DEPTH = 75_000_000  # whole quote tokens on the quote side of each pool
_Q192 = 1 << 192
_MAX_TICK = 887_272
_TICK_SPACING = {500: 10, 3_000: 60, 10_000: 200}
# What the arbitrageur owns, as a multiple of what lies in a pool: enough for a price to fall to a
# hundredth or rise a hundredfold, fees included.
_ARBITRAGE_FUNDS = 20
_MAX_UINT = 2**256 - 1
_GAS_MONEY = 10**18  # wei, besides what is wrapped

_CORE = "@uniswap/v3-core"
_PERIPHERY = "@uniswap/v3-periphery"


class VenueError(ValueError):
    """The venue cannot be built or used as asked; the message says why."""


class Fund(Protocol):
    """Gives ``amount`` units of ``token`` to ``account``."""

    def __call__(self, token: Contract, account: str, amount: int) -> None: ...


@cache
def uniswap_artifact(name: str) -> Artifact:
    """Published artifact of ``UniswapV3Factory``, ``UniswapV3Pool``, ``SwapRouter``,
    ``NonfungiblePositionManager`` or ``Quoter``.

    Raises ArtifactError when the npm packages are not installed.
    """
    package = _CORE if name.startswith("UniswapV3") else _PERIPHERY
    folder = "lens/" if name == "Quoter" else ""
    return npm_artifact(package, f"artifacts/contracts/{folder}{name}.sol/{name}.json")


@cache
def erc20_artifact() -> Artifact:
    """Published artifact of a plain ERC20, for tokens of any make that are there already.

    Raises ArtifactError when the npm package is not installed.
    """
    return npm_artifact("@openzeppelin/contracts", "build/contracts/ERC20.json")


@cache
def weth_artifact() -> Artifact:
    """Published artifact of WETH9. Raises ArtifactError when the npm package is not installed."""
    return npm_artifact("canonical-weth", "build/contracts/WETH9.json")


def deploy_weth(chain: Chain, sender: Any) -> Contract:
    """The canonical wrapped ether."""
    return chain.deploy(weth_artifact(), sender=sender)


def fund(token: Contract, account: str, amount: int) -> None:
    """Give ``account`` ``amount`` units of a token out of nothing; only test chains can do this.

    Ether for WETH9 is added to the account's balance first, a mock token is minted, and of any
    other token a node that can sets the balance.
    """
    chain = token.chain
    if token.name == "WETH9":
        chain.set_balance(account, chain.balance(account) + amount + _GAS_MONEY)
        token.deposit(sender=account, value=amount)
    elif token.artifact == erc20_artifact() and isinstance(chain, RpcChain):
        chain.deal(token, account, token.balanceOf.call(account) + amount)
    else:
        token.mint(account, amount, sender=account)


@dataclass(frozen=True)
class Pool:
    """One pool of an asset against the quote token."""

    asset: str
    contract: Contract
    token: Contract
    token_decimals: int
    quote: Contract
    quote_decimals: int
    fee_ppm: int

    @property
    def is_token_first(self) -> bool:
        """Whether the asset is the pool's ``token0``, so that its price is quote per asset."""
        return _number(self.token) < _number(self.quote)

    def sqrt_price_x96(self, answer: int) -> int:
        """The pool's square-root price, Q64.96, at a feed answer (dollars, 8 decimals), floored.

        Raises VenueError when the answer is not positive.
        """
        if answer <= 0:
            raise VenueError(f"{self.asset}: a price of {answer} has no square root in a pool")
        quote_units = answer * _unit(self.quote_decimals)
        token_units = ANSWER_SCALE * _unit(self.token_decimals)
        if self.is_token_first:
            return isqrt(quote_units * _Q192 // token_units)
        return isqrt(token_units * _Q192 // quote_units)

    def answer(self) -> int:
        """The pool's present price as a feed would say it: dollars with 8 decimals, floored."""
        square = self.present_x96() ** 2
        token_units = ANSWER_SCALE * _unit(self.token_decimals)
        quote_units = _unit(self.quote_decimals)
        if self.is_token_first:
            return square * token_units // (_Q192 * quote_units)
        return _Q192 * token_units // (square * quote_units)

    def present_x96(self) -> int:
        """The pool's present square-root price, Q64.96."""
        return int(self.contract.slot0.call()[0])


@dataclass(frozen=True)
class Venue:
    """A deployed Uniswap V3 with one pool per asset."""

    chain: Chain
    factory: Contract
    router: Contract
    quote: Contract
    pools: Mapping[str, Pool]


def venue_at(
    chain: Chain,
    router: str,
    quote: Contract,
    tokens: Mapping[str, Contract],
    fee_ppm: int,
) -> Venue:
    """A Uniswap V3 that is there already, by the address of its ``SwapRouter``.

    The pool of each asset of ``tokens`` is that of the tier ``fee_ppm``. Raises VenueError where
    there is none.
    """
    contract = chain.at(router, uniswap_artifact("SwapRouter"))
    factory = chain.at(contract.factory(), uniswap_artifact("UniswapV3Factory"))
    pools = {}
    for asset, token in tokens.items():
        address = factory.getPool.call(token.address, quote.address, fee_ppm)
        if int(address, 16) == 0:
            raise VenueError(f"{asset}: there is no pool against the quote token at {fee_ppm} ppm")
        pools[asset] = Pool(
            asset,
            chain.at(address, uniswap_artifact("UniswapV3Pool")),
            token,
            token.decimals.call(),
            quote,
            quote.decimals.call(),
            fee_ppm,
        )
    return Venue(chain, factory, contract, quote, pools)


def deploy_venue(
    chain: Chain,
    weth: Contract,
    quote: Contract,
    tokens: Mapping[str, Contract],
    answers: Mapping[str, int],
    *,
    sender: str,
    fee_ppm: int = FEE_PPM,
    depth: int = DEPTH,
) -> Venue:
    """Deploy the factory, the router and a full-range pool for each asset.

    ``tokens`` are the assets' tokens and ``answers`` their opening prices (dollars, 8 decimals);
    ``depth`` is in whole quote tokens per pool, ``fee_ppm`` a tier of Uniswap in parts per million.
    The liquidity belongs to ``sender`` and is made out of nothing by :func:`fund`. Raises
    VenueError for an unknown tier or an asset without a price.
    """
    if fee_ppm not in _TICK_SPACING:
        tiers = ", ".join(str(tier) for tier in _TICK_SPACING)
        raise VenueError(f"Uniswap V3 has no fee tier of {fee_ppm}: choose one of {tiers}")
    factory = chain.deploy(uniswap_artifact("UniswapV3Factory"), sender=sender)
    router = chain.deploy(
        uniswap_artifact("SwapRouter"), factory.address, weth.address, sender=sender
    )
    # The last argument draws pictures of positions; nobody looks at them here.
    manager = chain.deploy(
        uniswap_artifact("NonfungiblePositionManager"),
        factory.address,
        weth.address,
        weth.address,
        sender=sender,
    )
    quote.approve(manager.address, _MAX_UINT, sender=sender)
    pools = {}
    for asset, token in tokens.items():
        if asset not in answers:
            raise VenueError(f"{asset}: no opening price for its pool")
        token.approve(manager.address, _MAX_UINT, sender=sender)
        pools[asset] = _create_pool(
            factory, manager, quote, asset, token, answers[asset], fee_ppm, depth, sender
        )
    return Venue(chain, factory, router, quote, pools)


def _create_pool(
    factory: Contract,
    manager: Contract,
    quote: Contract,
    asset: str,
    token: Contract,
    answer: int,
    fee_ppm: int,
    depth: int,
    sender: str,
) -> Pool:
    chain = factory.chain
    low, high = sorted((token, quote), key=_number)
    quote_decimals, token_decimals = quote.decimals.call(), token.decimals.call()
    pool = Pool(asset, factory, token, token_decimals, quote, quote_decimals, fee_ppm)
    manager.createAndInitializePoolIfNecessary(
        low.address, high.address, fee_ppm, pool.sqrt_price_x96(answer), sender=sender
    )
    address = factory.getPool.call(low.address, high.address, fee_ppm)
    contract = chain.at(address, uniswap_artifact("UniswapV3Pool"))

    quote_amount = depth * _unit(quote_decimals)
    token_amount = depth * _unit(token_decimals) * ANSWER_SCALE // answer
    fund(quote, sender, quote_amount)
    fund(token, sender, token_amount)
    amounts = {token.address: token_amount, quote.address: quote_amount}
    manager.mint(
        (
            low.address,
            high.address,
            fee_ppm,
            *full_range(fee_ppm),
            amounts[low.address],
            amounts[high.address],
            0,
            0,
            sender,
            chain.time + 10**9,
        ),
        sender=sender,
    )
    return Pool(asset, contract, token, token_decimals, quote, quote_decimals, fee_ppm)


def full_range(fee_ppm: int) -> tuple[int, int]:
    """Ticks of the widest position in a pool of this fee tier."""
    tick = _MAX_TICK - _MAX_TICK % _TICK_SPACING[fee_ppm]
    return -tick, tick


def _unit(decimals: int) -> int:
    return int(10**decimals)


def _number(contract: Contract) -> int:
    return int(contract.address, 16)


@dataclass
class Arbitrageur:
    """Swaps each pool back to the market, one transaction per pool and round."""

    venue: Venue
    account: str
    swaps: int = field(default=0, init=False)  # transactions sent so far

    def __post_init__(self) -> None:
        venue = self.venue
        tokens = [pool.token for pool in venue.pools.values()] + [venue.quote]
        for token in tokens:
            held = max(token.balanceOf.call(p.contract.address) for p in venue.pools.values())
            fund(token, self.account, _ARBITRAGE_FUNDS * held)
            token.approve(venue.router.address, _MAX_UINT, sender=self.account)

    def align(self, asset: str, answer: int) -> Receipt | None:
        """Bring the pool of ``asset`` to ``answer`` (dollars, 8 decimals); ``None`` if it is there.

        A swap of more than is needed stops at the price limit, so the pool ends exactly at
        :meth:`Pool.sqrt_price_x96` of the answer. Raises Reverted when the funds run out.
        """
        pool = self.venue.pools[asset]
        target = pool.sqrt_price_x96(answer)
        present = pool.present_x96()
        if present == target:
            return None
        low, high = sorted((pool.token, pool.quote), key=_number)
        sold, bought = (low, high) if target < present else (high, low)
        return self._swap(pool, sold, bought, target)

    def buy_back(self, asset: str, answer: int) -> Receipt:
        """Bring the pool of ``asset`` up to ``answer`` right behind a sale in the same block.

        Nothing is read, so the sale need not be mined yet. The transaction fails when the pool is
        not below the answer.
        """
        pool = self.venue.pools[asset]
        return self._swap(pool, pool.quote, pool.token, pool.sqrt_price_x96(answer))

    def trade(self, asset: str, value: int, *, is_buying: bool) -> Receipt:
        """Buy or sell some ``asset`` for about ``value`` whole quote tokens."""
        pool = self.venue.pools[asset]
        units = value * _unit(pool.quote_decimals)
        if is_buying:
            return self._swap(pool, pool.quote, pool.token, 0, units)
        units = value * _unit(pool.token_decimals) * ANSWER_SCALE // pool.answer()
        return self._swap(pool, pool.token, pool.quote, 0, units)

    def _swap(
        self, pool: Pool, sold: Contract, bought: Contract, target: int, units: int = 2**254
    ) -> Receipt:
        self.swaps += 1
        receipt: Receipt = self.venue.router.exactInputSingle(
            (
                sold.address,
                bought.address,
                pool.fee_ppm,
                self.account,
                self.venue.chain.time + 10**9,
                units,
                0,
                target,
            ),
            sender=self.account,
        )
        return receipt
