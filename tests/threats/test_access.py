"""Every entry against every caller, from the table in `access.py` (T37, I25, I37)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from ballast.artifacts import ROOT, compile_contract, contract_paths
from ballast.chain import Contract
from ballast.chain.abi import FunctionAbi
from ballast.governance import Decision
from tests.conftest import is_profile, reverts
from tests.governance_kit import govern_world, watch_sequencer
from tests.support.hooks import deploy_hook
from tests.support.world import QUOTE, UNLIMITED, World, build_world
from tests.threats.access import (
    ALL_PERMISSIONS,
    ANYONE,
    CLEARINGHOUSE,
    DELEVERAGER,
    EXCHANGE,
    GOVERNANCE,
    GUARDIAN,
    LIQUIDATOR,
    LISTINGS,
    MANDATES,
    NOT_ITSELF,
    OWNER,
    PERPS,
    PROPOSER,
    RATE,
    ROLES,
    STEWARD,
    TABLE,
    TIMELOCK,
    TRUSTED,
    TRUSTED_ADDRESSES,
    Scene,
)
from tests.threats.access_states import (
    ALWAYS_OPEN,
    CLOSED,
    LIQUIDATIONS,
    LIVE,
    OPEN_AT_A_LIVE_PRICE,
    OUTAGES,
    STATES,
)
from tests.threats.access_views import VIEWS
from tests.threats.kit import (
    ask_in,
    ask_out,
    claim_shares,
    deploy_adapters,
    pay_out,
    ready_epochs,
    renew,
    take_in,
    trade,
)

ROWS = [(contract, name) for contract, rows in TABLE.items() for name in rows]
REFUSALS = {entry.refusal for rows in TABLE.values() for entry in rows.values()} - {""}
CONTRACTS = ROOT / "contracts"
# What an allowed caller gets, where the scene has nothing to do for it.
IDLE_HANDS = {
    ("Deleverager", "adl"): "deleverager: house not short",
    ("Insurance", "withdraw"): "insurance: nothing to withdraw",
    ("Deleverager", "start_wind_down"): "deleverager: not close-only",
    ("Deleverager", "wind_down"): "deleverager: not announced",
    ("Keepers", "claim"): "watches: nothing to claim",
    ("Keepers", "push_and_rebalance"): "keepers: feed not allowed",
    ("Keepers", "unwatch"): "watches: not watched",
    ("Listings", "list_asset"): "listings: bad asset id or token",
    ("Perps", "list_market"): "oracle: unknown asset",
    ("Mandates", "apply_allocation"): "mandates: nothing to apply yet",
    ("Mandates", "apply_guard"): "mandates: nothing to apply yet",
    ("Rebalancer", "apply_policy"): "rebalancer: nothing to apply yet",
    ("Perps", "settle"): "perpetuals: no gain",
}
# What stops a contract that is believed to be one: no mandate is open, nothing is lent or listed,
# and an address without code answers nothing ("").
STOPPED = {
    ("Clearinghouse", "trade"): "",
    **{
        ("Clearinghouse", name): "clearinghouse: busy"
        for name in TABLE["Clearinghouse"]
        if name == "latch" or name == "close_mandate" or name.startswith("mandate_")
    },
    ("Exchange", "swap"): "exchange: adapter not allowed",
    ("LendingVault", "lend"): "vault: loan too large",
    ("LendingVault", "repay"): "vault: unknown loan shares",
    ("LendingVault", "write_off"): "vault: unknown loan shares",
    ("Clearinghouse", "take"): "ledger: balance too low",
    ("Clearinghouse", "move_debt"): "ledger: balance too low",
    ("Mandates", "rescue"): "mandates: account has no hook",
    ("Perps", "settle_in_mandate"): "",
    ("Perps", "deleverage"): "",
    ("Perps", "latch"): "",
    ("Perps", "offset"): "",  # nothing is open
    ("Perps", "fill"): "perps: headroom stale",
    ("Rebalancer", "on_mandate"): "rebalancer: no policy",
    ("UniswapV3Adapter", "swap"): "adapter: unknown pair",
    ("ERC4626Adapter", "swap"): "vault adapter: unknown pair",
}


def _provide(world: World) -> tuple[int, int]:
    """Claims of the owner in the liquidity vault, and two epochs that anyone may fulfil."""
    owner, other = world.owner, world.other_owner
    epoch = ask_in(world, owner, 100_000)
    assert ask_in(world, other, 100_000) == epoch
    take_in(world, epoch)
    claim_shares(world, owner, 2)
    claim_shares(world, other)
    pay_out(world, ask_out(world, owner, int(world.system.liquidity_vault.balanceOf(owner)) // 2))
    return ready_epochs(world, other)


@lru_cache(maxsize=1)
def _shared_scene() -> Scene:
    """An indebted account with a hostile hook, one below maintenance, operators with every
    permission, adapters, and all of it in the hands of a timelock that does not wait."""
    world = build_world()
    sequencer = watch_sequencer(world)
    deposits, redemptions = _provide(world)
    victim = world.open_account(3, {"BTC": 1}, sub=9, owner=world.other_owner, equity=100)
    world.set_price("BTC", 21_400)
    world.system.liquidity_vault.setOperator(world.attacker, True, sender=world.owner)
    renew(world)
    hook = deploy_hook(world)
    account = world.open_account(leverage=2)
    trade(world, account, "0.1")
    world.enrol(account, hook=hook)
    world.mandates.set_operator(account, world.attacker, ALL_PERMISSIONS, 2**39, sender=world.owner)
    for who in (world.owner, world.attacker, world.keeper):
        world.fund(who, "BTC", 10**8)
        world.fund(who, QUOTE, 10**12)
        system = world.system
        spenders = (system.clearinghouse, system.vault, system.token_liquidator, system.keepers)
        for spender in spenders:
            world.quote.approve(spender, UNLIMITED, sender=who)
    world.system.keepers.set_pull_feed(world.feeds["BTC"], True, sender=world.governor)
    adapters = deploy_adapters(world, world.system.exchange.address)
    owned = [adapters[name] for name in ("UniswapV3Adapter", "ERC4626Adapter")]
    council = govern_world(world, owned, delay_s=0)
    offered = deploy_adapters(world, world.system.exchange.address)["ERC4626Adapter"]
    offered.transfer_ownership(council.governance, sender=world.governor)
    ready = Decision.of(world.system.vault, "accrue")
    ready.schedule(council.timelock, sender=council.proposer)
    batch = ([ready.target] * 2, [0, 0], [ready.payload] * 2, bytes(32), bytes(32))
    council.timelock.schedule_batch(*batch, 0, sender=council.proposer)
    contracts = {
        **world.system.contracts,
        **adapters,
        "Governance": council.governance,
        "Timelock": council.timelock,
    }
    free = world.open_account(leverage=1, sub=2)
    hooked = world.open_account(leverage=2, sub=3)
    world.enrol(hooked, trigger_bps=40_000, target_bps=50_000)
    taker = world.account(4)
    world.deposit(taker, QUOTE, 10**9)
    wired = _wired(world)
    renew(world)
    world.chain.mine()
    return Scene(
        *(council, account, victim, contracts, wired, hook, deposits, redemptions),
        *(ready, batch, offered, free, hooked, taker, sequencer),
    )


@pytest.fixture
def scene() -> Iterator[Scene]:
    """The scene of the table; what a test does to it does not last."""
    shared = _shared_scene()
    with shared.world.isolated():
        yield shared


def _wired(world: World) -> dict[str, Contract]:
    """Contracts that take people for the contracts they trust."""
    system, who = world.system, TRUSTED_ADDRESSES
    house_owner = system.liquidity_vault

    def put(name: str, *arguments: object) -> Contract:
        return world.chain.deploy(name, *arguments, sender=world.governor)

    house = put(
        *("Clearinghouse", world.quote, system.oracle, system.vault, who[MANDATES], who[LISTINGS]),
        *(who[PERPS], who[EXCHANGE], who[LIQUIDATOR], house_owner),
    )
    vault = put(
        *("LendingVault", world.quote, "Vault", "V", who[CLEARINGHOUSE], who[LIQUIDATOR]),
        *(world.governor, world.governor, RATE, 0, 10**15, 0),
    )
    mandates = put(
        *(
            "Mandates",
            world.clearinghouse,
            system.perps,
            who[LIQUIDATOR],
            system.oracle,
            system.vault,
        ),
        *(10**12, house_owner),
    )
    perps = put(
        *("Perps", who[CLEARINGHOUSE], system.oracle, who[MANDATES], who[LIQUIDATOR]),
        *(who[DELEVERAGER], house_owner),
    )
    perps.list_market(1, tuple(system.perps.terms_of(1)), sender=world.governor)
    return {
        "Clearinghouse": house,
        "Exchange": put("Exchange", who[CLEARINGHOUSE], who[LISTINGS]),
        "LendingVault": vault,
        "Listings": put("Listings", who[CLEARINGHOUSE], system.oracle, who[EXCHANGE]),
        "Mandates": mandates,
        "Perps": perps,
        "Rebalancer": put(
            *("Rebalancer", world.clearinghouse, who[MANDATES], system.planner, system.allocator),
            *(system.liquidator, system.oracle, 1),
        ),
        **deploy_adapters(world, who[EXCHANGE]),
    }


# A mistake that lets somebody in does so in any state: enough where each costs a run of all this.
@pytest.mark.parametrize("state", ["normal"] if is_profile("mutants") else STATES)
@pytest.mark.parametrize(("contract", "name"), ROWS)
def test_call__every_role_in_every_state__only_the_allowed_pass(
    scene: Scene, contract: str, name: str, state: str
) -> None:
    """I37, T37, T67: who may call does not depend on the state of market and system."""
    entry = TABLE[contract][name]
    assert (entry.refusal == "") == (entry.allowed == ANYONE)
    STATES[state](scene)
    for role in ROLES:
        reason = scene.outcome(contract, name, role)
        if role == GOVERNANCE and contract == "Governance":
            assert reason == NOT_ITSELF
        elif role not in entry.allowed:
            assert reason == entry.refusal, f"{role} got {reason!r}"
        else:
            assert reason is None or reason not in REFUSALS, f"{role} was refused: {reason}"


@pytest.mark.parametrize(
    ("contract", "name", "role"),
    [
        (contract, name, role)
        for contract, name in ROWS
        for role in (OWNER, GUARDIAN, STEWARD, PROPOSER, TIMELOCK, GOVERNANCE)
        if role in TABLE[contract][name].allowed
        and (role == OWNER or TABLE[contract][name].allowed != ANYONE)
    ],
)
def test_call__allowed_role__arguments_of_the_table_are_good(
    scene: Scene, contract: str, name: str, role: str
) -> None:
    """A row whose arguments fail for another reason would show nothing about its caller."""
    assert scene.outcome(contract, name, role) == IDLE_HANDS.get((contract, name))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", ALWAYS_OPEN)
def test_act__every_state__always_open(scene: Scene, act: str, state: str) -> None:
    """T67, I23: no pause, cap, mode, stale feed or outage keeps anyone from paying in, leaving
    without debt or holding a hook back."""
    STATES[state](scene)
    ALWAYS_OPEN[act](scene)


@pytest.mark.parametrize("state", sorted(STATES.keys() - OUTAGES))
@pytest.mark.parametrize("act", LIQUIDATIONS)
def test_act__no_outage__liquidation_stays_open(scene: Scene, act: str, state: str) -> None:
    """T67, I48: no pause, cap, mode or stale feed keeps what is below maintenance from being
    liquidated."""
    STATES[state](scene)
    LIQUIDATIONS[act](scene)


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("act", OPEN_AT_A_LIVE_PRICE)
def test_act__live_prices__lower_risk_stays_open(scene: Scene, act: str, state: str) -> None:
    """T67: neither a pause nor a cap traps a position."""
    STATES[state](scene)
    OPEN_AT_A_LIVE_PRICE[act](scene)


@pytest.mark.parametrize("state", STATES)
def test_state__what_it_is_for__is_refused_in_it_alone(scene: Scene, state: str) -> None:
    """The states above are states: each refuses what the normal one lets through."""
    assert (state == "normal") == (CLOSED[state] == ())
    for act, _ in CLOSED[state]:
        with scene.world.isolated():
            act(scene)
    STATES[state](scene)
    for act, reason in CLOSED[state]:
        with scene.world.isolated(), reverts(reason):
            act(scene)


@pytest.mark.parametrize(
    ("contract", "name", "role"),
    [(c, n, r) for c, n in ROWS for r in TRUSTED if r in TABLE[c][n].allowed != ANYONE],
)
def test_call__trusted_contract__gets_further_than_its_name(
    scene: Scene, contract: str, name: str, role: str
) -> None:
    """The rows of contracts among themselves: what stops the call is known, too."""
    assert scene.outcome(contract, name, role) == STOPPED.get((contract, name))


def test_table__deployed_contracts__names_every_entry() -> None:
    """T37: an entry that nobody thought about fails here, a forgotten row as well."""
    deployed = {
        name
        for name, path in contract_paths().items()
        if path.is_relative_to(CONTRACTS) and "mocks" not in path.parts
    }
    assert set(TABLE) == deployed == set(VIEWS)
    for contract, rows in TABLE.items():
        entries = [e for e in compile_contract(contract).abi if e["type"] == "function"]
        counts = Counter(entry["name"] for entry in entries)
        names: dict[bool, list[str]] = {True: [], False: []}
        for entry in entries:
            is_view = entry["stateMutability"] in ("view", "pure")
            is_plain = counts[entry["name"]] == 1
            names[is_view].append(entry["name"] if is_plain else FunctionAbi(entry).signature)
        assert sorted(names[False]) == sorted(rows), contract
        assert sorted(names[True]) == sorted(VIEWS[contract]), contract


def test_abi__every_entry__takes_no_ether_and_has_no_fallback() -> None:
    """T40: nothing is payable, so ether can only be forced in, and nothing reads it. What the
    timelock carries out may carry ether, for whoever brought it in that call."""
    payable = set()
    for contract in TABLE:
        for entry in compile_contract(contract).abi:
            assert entry["type"] not in ("fallback", "receive"), contract
            if entry["type"] == "function" and entry["stateMutability"] == "payable":
                payable.add((contract, entry["name"]))
    assert payable == {("Timelock", "execute"), ("Timelock", "execute_batch")}


def test_abi__renounce_ownership__is_nowhere() -> None:
    """Parameters always have an owner; ownership moves in two steps. A role of the timelock may be
    given up."""
    renouncing = {
        (name, entry["name"])
        for name in TABLE
        for entry in compile_contract(name).abi
        if "renounce" in entry.get("name", "")
    }
    assert renouncing == {("Timelock", "renounceRole")}


def test_deposit__stranger__cash_and_known_assets_only(scene: Scene) -> None:
    """T49: the one row whose answer depends on the asset."""
    world = scene.world
    for name in (QUOTE, "ETH", "BTC"):
        world.fund(world.other_owner, name, 10**18)
    house = world.clearinghouse
    for asset in (0, 1):
        house.deposit(scene.account, asset, 1, sender=world.other_owner)
    with reverts("operators: not permitted"):
        house.deposit(scene.account, 2, 1, sender=world.other_owner)


def test_sources__every_raw_call__stands_in_a_known_place() -> None:
    """T38: calls without an interface are few; their targets are fixed or chosen by an owner."""
    expected = {
        Path("Deleverager.vy"),  # the mandates contract
        Path("Governance.vy"),  # what the timelock decided, no token
        Path("Keepers.vy"),  # feeds, the governor's and those that owners watch
        Path("Liquidator.vy"),  # itself, and the owner's hook
        Path("Mandates.vy"),  # the owner's hook
        Path("modules/attempts.vy"),  # the mandates contract, and the owner's hook
        Path("modules/executions.vy"),  # the mandates contract, and the hook itself
        Path("modules/feeds.vy"),  # the governor's feeds
        Path("modules/keeper_pay.vy"),  # the mandates contract
        Path("mocks/MockFeed.vy"),
    }
    found = {
        path.relative_to(CONTRACTS)
        for path in CONTRACTS.rglob("*.vy")
        if any("raw_call(" in line for line in path.read_text().splitlines())
    }
    assert found == expected


def test_page__table_of_powers__is_what_the_table_of_entries_says() -> None:
    """I37: docs/governance.md names every entry of governance and who may call it."""
    page = (ROOT / "docs" / "governance.md").read_text()
    columns = (OWNER, TIMELOCK, GUARDIAN, STEWARD)  # the owner stands for anyone
    told = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0].strip("`") in TABLE["Governance"]:
            told[cells[0].strip("`")] = {
                role for role, cell in zip(columns, cells[1:5], strict=True) if cell
            }
    assert told == {
        name: {role for role in columns if role in entry.allowed}
        for name, entry in TABLE["Governance"].items()
    }
