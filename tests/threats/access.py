"""Who may call what: every state-changing entry of every deployed contract, in one table.

A new entry that is not here fails the tests, and so does one that is here and gone. `arguments` are
such that only the caller decides: whoever is not allowed gets `refusal`, whoever is allowed does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ballast.chain import Contract, Reverted
from ballast.chain.abi import tuple_codec
from ballast.governance import Decision
from tests.governance_kit import Council
from tests.support.world import QUOTE, ZERO_ADDRESS, World

# People.
DEPLOYER, OWNER, OPERATOR, LENDER, KEEPER, STRANGER = (
    "deployer",  # has handed everything over
    "owner",
    "operator",  # of one account of the owner, with every permission
    "lender",
    "keeper",
    "stranger",
)
GUARDIAN, STEWARD, PROPOSER = "guardian", "steward", "proposer"
# Contracts that decide; what they do is scheduled and executed, without a delay in the scene.
TIMELOCK, GOVERNANCE = "timelock", "governance"
# Contracts as callers. Only people can send, so these are addresses without code before contracts
# that were told to trust them.
CLEARINGHOUSE, MANDATES, LISTINGS = "clearinghouse", "mandates", "listings"
PERPS, EXCHANGE, LIQUIDATOR, DELEVERAGER = "perps", "exchange", "liquidator", "deleverager"
HOOK = "hook"  # of the account, outside of its mandate

PEOPLE = (DEPLOYER, OWNER, OPERATOR, LENDER, KEEPER, STRANGER, GUARDIAN, STEWARD, PROPOSER)
DECIDING = (TIMELOCK, GOVERNANCE)
TRUSTED = (CLEARINGHOUSE, MANDATES, LISTINGS, PERPS, EXCHANGE, LIQUIDATOR, DELEVERAGER)
TRUSTED_ADDRESSES = {role: f"0x{0xC0DE00 + n:040x}" for n, role in enumerate(TRUSTED)}
ROLES = (*PEOPLE, *DECIDING, *TRUSTED, HOOK)
ANYONE = frozenset(ROLES)
NOBODY: frozenset[str] = frozenset()  # outside of the one moment that the refusal names

GUARD = (13_000, 300, 100, 0, 0, 0)
BUDGET = (10**18, 86_400, 10**18)
PARAMETERS = (3_000, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600, 10**12)
RATE = (100, 400, 6_000, 8_000)
NO_PICTURE = (0, 0, 0, 0, 0, [])
TERMS = (10**15, 10**13, 10**12, 10**12, 10**7, 500, 10_000, 1_200, 10**6, 1_000)
SIDE = (0, 0, 0)
LIQUIDATION = (11_500, 900, 2_000, 30, 200, 10**19, 10**19, 10**22, 10**23)
ANY_STATE = bytes(32)
ALL_PERMISSIONS = 63

NOT_PERMITTED = "operators: not permitted"
NOT_GOVERNOR = "ownable: caller is not the owner"
NOT_GUARDIAN = "governance: only the guardian"
NOT_STEWARD = "governance: only the steward"
NOT_EITHER = "governance: guardian or steward"
NOT_IN_ROLE = "access_control: account is missing role"
NOT_ITSELF = "governance: not itself"  # governance is no target of its own
NOT_HEIR = "ownable_2step: caller is not the new owner"
NOT_BORROWER = "vault: not the clearinghouse"
NOT_YOURS = "clearinghouse: not yours to call"
NOT_AT_WORK = "mandates: only the hook at work"
NO_BOUNDS = (0, 0, 0, 0, False, 0, 0, 0, 0, 0, 0, 0)
NO_ALLOCATION = (0, 0, 0, 0, 0, 0, 0, 0, False, [])
NOT_LIQUIDATOR = "perps: only the liquidator"
NO_ALLOWANCE = "erc20: insufficient allowance"
NOT_ACTING = "liquidity: not an operator"
NOT_WATCHER = "keepers: only the owner"

_upkeep = tuple_codec([{"type": "uint256[]"}, {"type": "uint256"}])


@dataclass(frozen=True)
class Scene:
    """The world of the table: an indebted account with a hook and a perpetual, one of somebody else
    below maintenance, an adapter of the real venue, and an owner of shares of both vaults with an
    operator there, too."""

    council: Council
    account: int
    victim: int
    contracts: Mapping[str, Contract]
    wired: Mapping[str, Contract]  # contracts that trust people instead of contracts
    hook: Contract
    deposits: int  # epochs of the liquidity vault that can be fulfilled
    redemptions: int
    ready: Decision  # waits no longer at the timelock
    batch: tuple[Any, ...]  # and so does this, several at once
    offered: Contract  # its ownership, to governance
    free: int  # owes nothing
    hooked: int  # left to the default hook, and triggered
    taker: int  # has cash to liquidate with
    sequencer: Contract  # uptime feed, up

    @property
    def world(self) -> World:
        """What the scene is played in."""
        return self.council.world

    @property
    def price_word(self) -> int:
        """Of asset 1."""
        return int(self.world.system.oracle.marks([1])[0])

    @property
    def who(self) -> dict[str, str]:
        """Address of each role."""
        world = self.world
        return {
            DEPLOYER: world.governor,
            OWNER: world.owner,
            OPERATOR: world.attacker,
            LENDER: world.lender,
            KEEPER: world.keeper,
            STRANGER: world.stranger,
            GUARDIAN: self.council.guardian,
            STEWARD: self.council.steward,
            PROPOSER: self.council.proposer,
            TIMELOCK: self.council.timelock.address,
            GOVERNANCE: self.council.governance.address,
            HOOK: self.hook.address,
            **TRUSTED_ADDRESSES,
        }

    def outcome(self, contract: str, name: str, role: str) -> str | None:
        """The reason of the refusal, None for a success. Nothing of it lasts."""
        caller = self.who[role]
        entry = TABLE[contract][name]
        arguments = entry.arguments(self, caller)
        is_wired = role in TRUSTED and not entry.allowed.isdisjoint(TRUSTED)
        source = self.wired if is_wired and entry.allowed != ANYONE else self.contracts
        function = source[contract].function(name.split("(")[0])
        with self.world.isolated():
            try:
                if role == HOOK:
                    payload = function.encode(*arguments)
                    self.hook.execute(source[contract], payload, sender=self.world.stranger)
                elif role in DECIDING:
                    target, payload = source[contract], function.encode(*arguments)
                    self._decide(role, target, payload)
                else:
                    function.transact(*arguments, sender=caller)
            except Reverted as error:
                return error.reason
        return None

    def _decide(self, role: str, target: Contract, payload: bytes) -> None:
        timelock, governance = self.council.timelock, self.council.governance
        decision = Decision(target.address, payload, salt=b"\1" * 32)
        if role == GOVERNANCE:
            decision = Decision.of(governance, "execute", target, payload, salt=1)
        decision.schedule(timelock, sender=self.council.proposer)
        decision.execute(timelock, sender=self.world.keeper)


@dataclass(frozen=True)
class Entry:
    """One row. `arguments` are made from the scene and the caller's address."""

    allowed: frozenset[str]
    refusal: str  # "" where everyone is allowed
    arguments: Callable[[Scene, str], tuple[Any, ...]]


def _only(*roles: str) -> frozenset[str]:
    return frozenset(roles)


def _fixed(*arguments: Any) -> Callable[[Scene, str], tuple[Any, ...]]:
    return lambda scene, caller: arguments


def _account(*rest: Any) -> Callable[[Scene, str], tuple[Any, ...]]:
    return lambda scene, caller: (scene.account, *rest)


def _batch(scene: Scene, caller: str) -> tuple[Any, ...]:
    action = (2, scene.account, 0, 1, 0, 1, 0, scene.world.owner)
    return ([action],)


def _order(scene: Scene) -> tuple[Any, ...]:
    """A purchase at any price."""
    return (scene.account, 1, 10**18, 2**255, 2**256 - 1, 2**40, False)


def _claim(scene: Scene, caller: str) -> tuple[Any, ...]:
    return (1, caller, scene.world.owner)


_OWNED = {
    "transfer_ownership": Entry(
        _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (scene.world.stranger,)
    ),
    "accept_ownership": Entry(NOBODY, NOT_HEIR, _fixed()),
}

_DECIDED = {
    "transfer_ownership": Entry(
        _only(TIMELOCK), NOT_GOVERNOR, lambda scene, caller: (scene.world.stranger,)
    ),
    "accept_ownership": Entry(NOBODY, NOT_HEIR, _fixed()),
}


def _role(scene: Scene, caller: str) -> tuple[Any, ...]:
    return (scene.council.timelock.CANCELLER_ROLE(), scene.world.stranger)


def _announced(scene: Scene, caller: str) -> tuple[Any, ...]:
    call = Decision.of(scene.world.system.vault, "accrue", salt=7)
    return (call.target, 0, call.payload, call.predecessor, call.salt, 0)


def _announced_batch(scene: Scene, caller: str) -> tuple[Any, ...]:
    return (*scene.batch[:-1], b"\7" * 32, 0)


def _lower_caps(scene: Scene, caller: str) -> tuple[Any, ...]:
    terms = scene.world.system.perps.terms_of(1)
    return (1, terms.open_interest_cap_gwei, terms.skew_cap_gwei - 1, terms.round_cap_gwei)


def _raised(scene: Scene, caller: str) -> tuple[Any, ...]:
    final = scene.world.system.oracle.parameters(1)[1]
    return (1, final._replace(cap_init_bps=final.cap_init_bps + 1))


TABLE: Mapping[str, Mapping[str, Entry]] = {
    "Clearinghouse": {
        # A new asset; cash and what is there already may come from anyone.
        "deposit": Entry(_only(OWNER, OPERATOR), NOT_PERMITTED, _account(2, 1)),
        "withdraw": Entry(
            _only(OWNER, OPERATOR),
            NOT_PERMITTED,
            lambda scene, caller: (scene.account, 1, 1, scene.world.owner),
        ),
        "repay": Entry(ANYONE, "", _account(1)),
        "transfer": Entry(
            _only(OWNER, OPERATOR),
            NOT_PERMITTED,
            lambda scene, caller: (scene.account, scene.account + 1, 1, 1),
        ),
        "swap": Entry(
            _only(OWNER, OPERATOR),
            NOT_PERMITTED,
            lambda scene, caller: (scene.account, scene.world.venue, 1, 0, 10**15, 0),
        ),
        "batch": Entry(_only(OWNER, OPERATOR), NOT_PERMITTED, _batch),
        # Perps says who acts; a deleveraging needs no permission.
        "trade": Entry(
            _only(PERPS),
            NOT_YOURS,
            lambda scene, caller: (scene.world.owner, _order(scene), False),
        ),
        "settle": Entry(_only(PERPS), NOT_YOURS, _account(1, 1, 1, True)),
        "set_market": Entry(_only(PERPS), NOT_YOURS, _fixed(1, 1)),
        "open_mandate": Entry(_only(MANDATES), NOT_YOURS, _account()),
        "latch": Entry(_only(MANDATES), NOT_YOURS, _account()),
        "mandate_transfer": Entry(
            _only(MANDATES),
            NOT_YOURS,
            lambda scene, caller: (scene.account, scene.account + 1, 1, 1),
        ),
        "mandate_swap": Entry(
            _only(MANDATES),
            NOT_YOURS,
            lambda scene, caller: (scene.account, scene.world.venue, 1, 0, 10**15, 0, 100),
        ),
        "mandate_trade": Entry(_only(MANDATES), NOT_YOURS, lambda scene, caller: (_order(scene),)),
        "mandate_pull": Entry(_only(MANDATES), NOT_YOURS, _account(1)),
        "close_mandate": Entry(_only(MANDATES), NOT_YOURS, _fixed()),
        "set_asset": Entry(_only(LISTINGS), NOT_YOURS, _fixed(9, 1, 1)),
        "take": Entry(
            _only(LIQUIDATOR),
            NOT_YOURS,
            lambda scene, caller: (scene.account, scene.victim, [(1, 10**15, 0, 0, 0, 0)]),
        ),
        "pay": Entry(
            _only(LIQUIDATOR), NOT_YOURS, lambda scene, caller: (scene.account, scene.victim, 0)
        ),
        "move_debt": Entry(
            _only(LIQUIDATOR), NOT_YOURS, lambda scene, caller: (scene.account, scene.victim, 1)
        ),
        # It only says whether it would be passed.
        "check_initial": Entry(ANYONE, "", _account()),
    },
    "Exchange": {
        "swap": Entry(
            _only(CLEARINGHOUSE),
            "exchange: not the clearinghouse",
            lambda scene, caller: (
                *((scene.world.venue, 1, 0, 0, scene.world.owner, 0), SIDE, SIDE),
            ),
        ),
        "set_adapter": Entry(
            _only(LISTINGS),
            "exchange: only listings",
            lambda scene, caller: (scene.world.venue, True),
        ),
    },
    "LendingVault": {
        **_OWNED,
        "transfer": Entry(ANYONE, "", lambda scene, caller: (scene.world.owner, 0)),
        "transferFrom": Entry(
            NOBODY, NO_ALLOWANCE, lambda scene, caller: (scene.world.lender, caller, 1)
        ),
        "approve": Entry(ANYONE, "", lambda scene, caller: (scene.world.owner, 1)),
        # By signature, whoever brings it; this one is nobody's.
        "permit": Entry(
            NOBODY,
            "ecdsa: invalid signature",
            lambda scene, caller: (scene.world.lender, caller, 1, 2**40, 27, 1, 1),
        ),
        "deposit": Entry(ANYONE, "", lambda scene, caller: (1, caller)),
        "mint": Entry(ANYONE, "", lambda scene, caller: (1, caller)),
        "withdraw": Entry(
            _only(LENDER),
            NO_ALLOWANCE,
            lambda scene, caller: (10**6, caller, scene.world.lender),
        ),
        "redeem": Entry(
            _only(LENDER),
            NO_ALLOWANCE,
            lambda scene, caller: (10**12, caller, scene.world.lender),
        ),
        "lend": Entry(_only(CLEARINGHOUSE), NOT_BORROWER, lambda scene, caller: (1, caller, 0)),
        "repay": Entry(_only(CLEARINGHOUSE), NOT_BORROWER, _fixed(1, 1)),
        "write_off": Entry(_only(LIQUIDATOR), "vault: not the liquidator", _fixed(1)),
        "hold_exits": Entry(_only(LIQUIDATOR), "vault: not the liquidator", _fixed(1)),
        "accrue": Entry(ANYONE, "", _fixed()),
        # To the insurance receiver, whoever asks.
        "sweep_reserves": Entry(ANYONE, "", _fixed()),
        "skim": Entry(ANYONE, "", _fixed()),
        "set_rate": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(RATE)),
        "set_reserve_factor": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
        "set_deposit_cap": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
        "set_min_debt": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
        "set_outflow_limit": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, 30)),
        "set_insurance_receiver": Entry(
            _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (scene.world.owner,)
        ),
    },
    "Deleverager": {
        **_OWNED,
        # These act by what the ledger says; the house is sound here, and no market ends.
        "flag_house": Entry(ANYONE, "", _fixed()),
        "adl": Entry(ANYONE, "", _account(1, 10**18)),
        "wind_down": Entry(ANYONE, "", lambda scene, caller: (1, [scene.account])),
        "start_wind_down": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
    },
    "Liquidator": {
        **_OWNED,
        # Anybody's account, into one that is the caller's or lets him liquidate.
        "liquidate": Entry(
            _only(OWNER, OPERATOR),
            NOT_PERMITTED,
            lambda scene, caller: (scene.victim, scene.account, ANY_STATE),
        ),
        "flag": Entry(ANYONE, "", lambda scene, caller: (scene.victim,)),
        "rescue": Entry(NOBODY, "liquidator: only itself", _account()),
        "learn_unit": Entry(ANYONE, "", _fixed(1)),
        # Into the fund, whoever asks.
        "collect_fees": Entry(ANYONE, "", _fixed()),
        "set_terms": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(LIQUIDATION)),
    },
    "Insurance": {
        **_OWNED,
        # Into the fund, whoever asks.
        "collect": Entry(ANYONE, "", _fixed()),
        "announce_withdrawal": Entry(
            _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (1, scene.world.governor)
        ),
        "withdraw": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed()),
    },
    "TokenLiquidator": {
        # The caller's tokens for the account's collateral.
        "liquidate": Entry(
            ANYONE, "", lambda scene, caller: (scene.victim, 10**9, caller, ANY_STATE)
        ),
    },
    "LiquidityVault": {
        **_OWNED,
        "transfer": Entry(ANYONE, "", lambda scene, caller: (scene.world.lender, 0)),
        "transferFrom": Entry(
            NOBODY, NO_ALLOWANCE, lambda scene, caller: (scene.world.owner, caller, 1)
        ),
        "approve": Entry(ANYONE, "", lambda scene, caller: (scene.world.lender, 1)),
        # By signature, whoever brings it; this one is nobody's.
        "permit": Entry(
            NOBODY,
            "ecdsa: invalid signature",
            lambda scene, caller: (scene.world.owner, caller, 1, 2**40, 27, 1, 1),
        ),
        "requestDeposit": Entry(
            _only(OWNER, OPERATOR),
            NOT_ACTING,
            lambda scene, caller: (10**6, scene.world.owner, scene.world.owner),
        ),
        "requestRedeem": Entry(
            _only(OWNER, OPERATOR),
            NO_ALLOWANCE,
            lambda scene, caller: (10**6, scene.world.owner, scene.world.owner),
        ),
        # The caller's own operators.
        "setOperator": Entry(ANYONE, "", lambda scene, caller: (scene.world.stranger, True)),
        # What the caller may claim; the others act for a controller.
        "deposit(uint256,address)": Entry(ANYONE, "", lambda scene, caller: (1, caller)),
        "deposit(uint256,address,address)": Entry(_only(OWNER, OPERATOR), NOT_ACTING, _claim),
        "mint(uint256,address)": Entry(ANYONE, "", lambda scene, caller: (1, caller)),
        "mint(uint256,address,address)": Entry(_only(OWNER, OPERATOR), NOT_ACTING, _claim),
        "withdraw": Entry(_only(OWNER, OPERATOR), NOT_ACTING, _claim),
        "redeem": Entry(_only(OWNER, OPERATOR), NOT_ACTING, _claim),
        # A whole epoch, whoever asks.
        "fulfil_deposits": Entry(ANYONE, "", lambda scene, caller: (scene.deposits,)),
        "fulfil_redemptions": Entry(ANYONE, "", lambda scene, caller: (scene.redemptions,)),
        "flag_bad_debt": Entry(ANYONE, "", _account()),
        "set_deposit_cap": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
    },
    "Listings": {
        **_OWNED,
        "list_asset": Entry(
            _only(GOVERNANCE),
            NOT_GOVERNOR,
            lambda scene, caller: (9, scene.world.tokens["ETH"], 1, 1),
        ),
        "set_asset_limits": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, 1, 1)),
        "set_outflow_limit": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, 1, 60)),
        "count_out": Entry(
            _only(CLEARINGHOUSE), "listings: not the clearinghouse", _fixed(1, 1, 1)
        ),
        "set_adapter": Entry(
            _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (scene.world.venue, False)
        ),
    },
    "Mandates": {
        "set_guard": Entry(
            _only(OWNER),
            "mandates: only the owner",
            lambda scene, caller: (scene.account, scene.world.rebalancer, GUARD),
        ),
        # What the owner announced, once its hour has passed.
        "apply_guard": Entry(ANYONE, "", _account()),
        "set_allocation": Entry(_only(OWNER), "mandates: only the owner", _account(NO_ALLOCATION)),
        "apply_allocation": Entry(ANYONE, "", _account()),
        "revoke": Entry(_only(OWNER), "mandates: only the owner", _account()),
        "set_operator": Entry(
            _only(OWNER),
            "operators: only the owner",
            lambda scene, caller: (scene.account, scene.world.stranger, ALL_PERMISSIONS, 2**39),
        ),
        # The caller's own budget.
        "arm_budget": Entry(ANYONE, "", _fixed(BUDGET)),
        "rebalance": Entry(ANYONE, "", _account()),
        "rebalance_for": Entry(ANYONE, "", _account(7 << 8)),
        "rescue": Entry(_only(LIQUIDATOR), "mandates: only the liquidator", _account()),
        "move": Entry(NOBODY, NOT_AT_WORK, _account(1, 1)),
        "swap": Entry(
            NOBODY, NOT_AT_WORK, lambda scene, caller: (scene.world.venue, 1, 0, 10**15, 0)
        ),
        "trade": Entry(NOBODY, NOT_AT_WORK, _fixed(1, 10**18)),
        "settle": Entry(NOBODY, NOT_AT_WORK, _fixed(1)),
        "pull": Entry(NOBODY, NOT_AT_WORK, _fixed(1)),
        "pay": Entry(NOBODY, NOT_AT_WORK, _account(1)),
    },
    "Perps": {
        **_OWNED,
        "trade": Entry(
            _only(OWNER, OPERATOR), NOT_PERMITTED, _account(1, 10**17, 2**255, 2**40, False)
        ),
        # A gain, to the account that made it.
        "settle": Entry(ANYONE, "", _account(1, [])),
        "refresh": Entry(ANYONE, "", _fixed()),
        "accrue": Entry(ANYONE, "", _fixed(1)),
        "settle_in_mandate": Entry(_only(MANDATES), "perps: only mandates", _account(1)),
        "deleverage": Entry(
            _only(DELEVERAGER), "perps: only the deleverager", _account(1, -(10**16), 10**18)
        ),
        "latch": Entry(_only(DELEVERAGER), "perps: only the deleverager", _fixed(1)),
        "offset": Entry(_only(LIQUIDATOR), NOT_LIQUIDATOR, _fixed(1, 10**9)),
        "take_insurance_fees": Entry(_only(LIQUIDATOR), NOT_LIQUIDATOR, _fixed(1)),
        "fill": Entry(
            _only(CLEARINGHOUSE),
            "perps: not the clearinghouse",
            lambda scene, caller: (_order(scene), (0, 0, 0, scene.price_word, 0)),
        ),
        "list_market": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(9, TERMS)),
        "set_terms": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, TERMS)),
        "set_close_only": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, True)),
    },
    "Planner": {},
    "Allocator": {},
    "Mixer": {},
    "Rebalancer": {
        "set_policy": Entry(
            _only(OWNER),
            "rebalancer: only the owner",
            _account((10_500, 0, 0, False, [], [], ZERO_ADDRESS, 0, 0)),
        ),
        "set_bounds": Entry(_only(OWNER), "rebalancer: only the owner", _account(NO_BOUNDS)),
        # What the owner announced, once its hour has passed.
        "apply_policy": Entry(ANYONE, "", _account()),
        "clear_policy": Entry(_only(OWNER), "rebalancer: only the owner", _account()),
        "on_mandate": Entry(_only(MANDATES), "rebalancer: only mandates", _account(0, NO_PICTURE)),
        "unwind": Entry(
            NOBODY,
            "rebalancer: only itself",
            lambda scene, caller: (scene.world.venue, 1, 10**18, 10**18),
        ),
    },
    "RiskOracle": {
        **_OWNED,
        "poke": Entry(ANYONE, "", _fixed([1, 2])),
        "list_asset": Entry(
            _only(GOVERNANCE),
            NOT_GOVERNOR,
            lambda scene, caller: (
                *(9, scene.world.feeds["ETH"], 3_900, 60, 80),
                *(2_000 * 10**18, 800_000, PARAMETERS),
            ),
        ),
        "set_feed": Entry(
            _only(GOVERNANCE),
            NOT_GOVERNOR,
            lambda scene, caller: (1, scene.world.feeds["ETH"], 3_900, 60, 80, 2_000 * 10**18),
        ),
        "set_parameters": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, PARAMETERS)),
        "set_pause": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1, 0)),
    },
    "Keepers": {
        **_OWNED,
        # Attempts, whoever asks; what they do is the hook's.
        "rebalance_many": Entry(ANYONE, "", lambda scene, caller: ([scene.account], 0)),
        "performUpkeep": Entry(
            ANYONE, "", lambda scene, caller: (_upkeep.encode(([scene.account], 0)),)
        ),
        # Through a feed that is allowed, and none is.
        "push_and_rebalance": Entry(
            ANYONE, "", lambda scene, caller: (scene.world.feeds["ETH"], b"", [], 0)
        ),
        "on_price": Entry(ANYONE, "", lambda scene, caller: (scene.world.feeds["ETH"], 1)),
        "learn_feed": Entry(ANYONE, "", _fixed(1)),
        # What is the caller's.
        "claim": Entry(ANYONE, "", lambda scene, caller: (scene.world.owner,)),
        "watch": Entry(
            _only(OWNER),
            NOT_WATCHER,
            lambda scene, caller: (scene.account, scene.world.feeds["ETH"], 10**8),
        ),
        "unwatch": Entry(
            _only(OWNER),
            NOT_WATCHER,
            lambda scene, caller: (scene.account, scene.world.feeds["ETH"], scene.world.owner),
        ),
        "set_fee": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(1)),
        "set_pull_feed": Entry(
            _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (scene.world.feeds["ETH"], True)
        ),
    },
    "UniswapV3Adapter": {
        **_OWNED,
        "uniswapV3SwapCallback": Entry(
            NOBODY, "adapter: not the pool under way", _fixed(1, -1, b"")
        ),
        "swap": Entry(
            _only(EXCHANGE),
            "adapter: only exchange",
            lambda scene, caller: (
                *(scene.world.tokens["ETH"], scene.world.tokens[QUOTE], 1, 0, caller),
            ),
        ),
        "set_fee_tier": Entry(
            _only(GOVERNANCE),
            NOT_GOVERNOR,
            lambda scene, caller: (scene.world.tokens["ETH"], scene.world.tokens[QUOTE], 0),
        ),
    },
    "ERC4626Adapter": {
        **_OWNED,
        "swap": Entry(
            _only(EXCHANGE),
            "vault adapter: only exchange",
            lambda scene, caller: (
                *(scene.world.tokens["ETH"], scene.world.tokens[QUOTE], 1, 0, caller),
            ),
        ),
        "set_vault": Entry(
            _only(GOVERNANCE), NOT_GOVERNOR, lambda scene, caller: (scene.world.system.vault, True)
        ),
        "set_onward": Entry(_only(GOVERNANCE), NOT_GOVERNOR, _fixed(ZERO_ADDRESS)),
    },
    "VaultFeed": {"checkpoint": Entry(ANYONE, "", _fixed())},
    "Governance": {
        **_DECIDED,
        # What was offered, whoever says so.
        "accept": Entry(ANYONE, "", lambda scene, caller: (scene.offered,)),
        "execute": Entry(
            _only(TIMELOCK),
            NOT_GOVERNOR,
            lambda scene, caller: (
                scene.world.system.vault,
                scene.world.system.vault.set_reserve_factor.encode(1),
            ),
        ),
        "set_guardian": Entry(
            _only(TIMELOCK), NOT_GOVERNOR, lambda scene, caller: (scene.world.stranger,)
        ),
        "set_steward": Entry(
            _only(TIMELOCK), NOT_GOVERNOR, lambda scene, caller: (scene.world.stranger,)
        ),
        "lift_pause": Entry(_only(TIMELOCK), NOT_GOVERNOR, _fixed([1])),
        "pause": Entry(_only(GUARDIAN), NOT_GUARDIAN, _fixed([1])),
        "close_market": Entry(_only(GUARDIAN), NOT_GUARDIAN, _fixed(1)),
        "forbid_adapter": Entry(
            _only(GUARDIAN), NOT_GUARDIAN, lambda scene, caller: (scene.world.venue,)
        ),
        "forbid_pull_feed": Entry(
            _only(GUARDIAN), NOT_GUARDIAN, lambda scene, caller: (scene.world.feeds["BTC"],)
        ),
        # Down; up is the steward's alone (unit/test_governance.py).
        "set_supply_cap": Entry(_only(GUARDIAN, STEWARD), NOT_EITHER, _fixed(1, 0)),
        "set_market_caps": Entry(_only(GUARDIAN, STEWARD), NOT_EITHER, _lower_caps),
        "set_deposit_cap": Entry(
            _only(GUARDIAN, STEWARD),
            NOT_EITHER,
            lambda scene, caller: (scene.world.system.vault, 0),
        ),
        "set_rate": Entry(
            _only(STEWARD),
            NOT_STEWARD,
            lambda scene, caller: (scene.world.system.vault.rate_parameters(),),
        ),
        "set_fee": Entry(
            _only(STEWARD), NOT_STEWARD, lambda scene, caller: (scene.world.keepers.fee(),)
        ),
        "raise_margin": Entry(_only(STEWARD), NOT_STEWARD, _raised),
    },
    "Timelock": {
        "grantRole": Entry(_only(TIMELOCK), NOT_IN_ROLE, _role),
        "revokeRole": Entry(_only(TIMELOCK), NOT_IN_ROLE, _role),
        "set_role_admin": Entry(_only(TIMELOCK), NOT_IN_ROLE, _fixed(b"\1" * 32, bytes(32))),
        # One's own role.
        "renounceRole": Entry(ANYONE, "", lambda scene, caller: (b"\1" * 32, caller)),
        "schedule": Entry(_only(PROPOSER), NOT_IN_ROLE, _announced),
        "schedule_batch": Entry(_only(PROPOSER), NOT_IN_ROLE, _announced_batch),
        "cancel": Entry(
            _only(PROPOSER, GUARDIAN),
            NOT_IN_ROLE,
            lambda scene, caller: (scene.ready.id(scene.council.timelock),),
        ),
        # What has waited, whoever asks.
        "execute": Entry(ANYONE, "", lambda scene, caller: scene.ready.call),
        "execute_batch": Entry(ANYONE, "", lambda scene, caller: scene.batch),
        "update_delay": Entry(
            _only(TIMELOCK), "timelock_controller: caller must be timelock", _fixed(1)
        ),
    },
    "Lens": {},
}
