"""The liquidity vault over a house whose figures are set.

ERC-7540 with the clauses C01 to C61 of ERC-4626 that it keeps, each guard and event, the order of
what is called, and the attacks A6, A16, T01, T02, T05, T07, T10 and T16. The exact arithmetic is
that of `ballast.model.liquidity`, see the differential tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import reduce

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from ballast.artifacts import SITE_PACKAGES, compile_contract
from ballast.chain import Reverted, RevmChain
from tests.conftest import has_few_examples, reverts
from tests.liquidity_kit import (
    CAP_TOKENS,
    DEPOSIT_DELAY_S,
    DEPOSIT_EPOCH_S,
    PERPETUAL,
    REDEEM_DELAY_S,
    REDEEM_EPOCH_S,
    UNLIMITED,
    WAD,
    ZERO_ADDRESS,
    Liquidity,
    deploy_liquidity,
    deploy_vault,
)

VIRTUAL_SHARES = 10**6
DECIMALS = (6, 8, 18)
MAX_CODE_SIZE = 24_000


@pytest.fixture(scope="module", params=DECIMALS, ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Liquidity:
    return deploy_liquidity(RevmChain(), request.param)


@pytest.fixture
def new(deployed: Liquidity) -> Iterator[Liquidity]:
    """Nobody has deposited."""
    with deployed.chain.isolated():
        yield deployed


@pytest.fixture
def liquidity(deployed: Liquidity) -> Iterator[Liquidity]:
    """The provider has put in 1,000 tokens and holds all shares."""
    with deployed.chain.isolated():
        deployed.enter(deployed.provider, 1_000 * deployed.unit)
        yield deployed


@pytest.fixture(scope="module")
def six() -> Liquidity:
    """One deployment of six decimals for properties, which isolate each example."""
    return deploy_liquidity(RevmChain(), 6)


# ---- the interface


def _selector(signature: str) -> int:
    return int.from_bytes(keccak(text=signature)[:4], "big")


def _interface(*signatures: str) -> bytes:
    return reduce(lambda x, y: x ^ y, map(_selector, signatures)).to_bytes(4, "big")


VAULT_PARTS = {
    "vault": (
        "asset()",
        "share()",
        "convertToAssets(uint256)",
        "convertToShares(uint256)",
        "totalAssets()",
    ),
    "deposit": ("deposit(uint256,address)", "previewDeposit(uint256)", "maxDeposit(address)"),
    "mint": ("mint(uint256,address)", "previewMint(uint256)", "maxMint(address)"),
    "redeem": ("redeem(uint256,address,address)", "previewRedeem(uint256)", "maxRedeem(address)"),
    "withdraw": (
        "withdraw(uint256,address,address)",
        "previewWithdraw(uint256)",
        "maxWithdraw(address)",
    ),
}
ASYNCHRONOUS_PARTS = {
    "erc165": ("supportsInterface(bytes4)",),
    "operator": ("setOperator(address,bool)", "isOperator(address,address)"),
    "asynchronous deposit": (
        "requestDeposit(uint256,address,address)",
        "pendingDepositRequest(uint256,address)",
        "claimableDepositRequest(uint256,address)",
        "deposit(uint256,address,address)",
        "mint(uint256,address,address)",
    ),
    "asynchronous redemption": (
        "requestRedeem(uint256,address,address)",
        "pendingRedeemRequest(uint256,address)",
        "claimableRedeemRequest(uint256,address)",
    ),
}
EVERYTHING = {**VAULT_PARTS, **ASYNCHRONOUS_PARTS}


def test_supports_interface__ids_of_the_standards__are_those_of_the_selectors(
    new: Liquidity,
) -> None:
    """ERC-165, ERC-7540 and ERC-7575: computed from the functions, and these are there."""
    known = {name: _interface(*signatures) for name, signatures in EVERYTHING.items()}
    known["erc7575"] = _interface(*[s for part in VAULT_PARTS.values() for s in part])
    assert {name: known[name].hex() for name in (*ASYNCHRONOUS_PARTS, "erc7575")} == {
        "erc165": "01ffc9a7",
        "operator": "e3bc4e65",
        "asynchronous deposit": "ce3bbe50",
        "asynchronous redemption": "620ee8e4",
        "erc7575": "2f0a18c5",
    }
    for name, identifier in known.items():
        assert new.vault.supportsInterface(identifier) is True, name
    for unknown in ("ffffffff", "00000000", "36372b07", "87dfe5a0"):
        assert new.vault.supportsInterface(bytes.fromhex(unknown)) is False
    selectors = compile_contract("LiquidityVault").method_identifiers
    for signatures in EVERYTHING.values():
        assert set(signatures) <= set(selectors)


def test_abi__erc4626__is_there_whole(new: Liquidity) -> None:
    """What the compiler cannot check, since two functions take a third argument that may be left
    out: every function and event of vyper's own ERC-4626, with the same types."""
    source = (SITE_PACKAGES / "vyper/builtins/interfaces/IERC4626.vyi").read_text()
    abi = compile_contract("LiquidityVault").abi
    functions = {
        f"{e['name']}({','.join(i['type'] for i in e['inputs'])})": e
        for e in abi
        if e["type"] == "function"
    }
    wanted = [s for part in VAULT_PARTS.values() for s in part if s != "share()"]
    assert source.count("\ndef ") == len(wanted)
    for signature in wanted:
        assert f"def {signature.split('(')[0]}(" in source
        entry = functions[signature]
        is_view = signature.split("(")[0] not in ("deposit", "mint", "redeem", "withdraw")
        assert (entry["stateMutability"] in ("view", "pure")) == is_view
        assert [o["type"] for o in entry["outputs"]] == [
            "address" if signature == "asset()" else "uint256"
        ]
    topics = {
        "Deposit": "Deposit(address,address,uint256,uint256)",
        "Withdraw": "Withdraw(address,address,address,uint256,uint256)",
        "DepositRequest": "DepositRequest(address,address,uint256,address,uint256)",
        "RedeemRequest": "RedeemRequest(address,address,uint256,address,uint256)",
        "OperatorSet": "OperatorSet(address,address,bool)",
    }
    for name, signature in topics.items():
        assert new.vault.topic(name) == keccak(text=signature)
    indexed = {
        e["name"]: [i["name"] for i in e["inputs"] if i["indexed"]]
        for e in abi
        if e["type"] == "event" and e["name"] in topics
    }
    assert indexed == {
        "Deposit": ["sender", "owner"],
        "Withdraw": ["sender", "receiver", "owner"],
        "DepositRequest": ["controller", "owner", "requestId"],
        "RedeemRequest": ["controller", "owner", "requestId"],
        "OperatorSet": ["controller", "operator"],
    }
    assert json.dumps(abi).count('"renounce') == 0


def test_constants__of_a_deployment__are_told(new: Liquidity) -> None:
    """C01, C02, C60 and ERC-7575."""
    vault = new.vault
    for caller in (new.stranger, ZERO_ADDRESS):
        assert vault.asset.call(sender=caller) == new.asset.address
        assert vault.share.call(sender=caller) == vault.address
    assert vault.decimals() == new.decimals + 6
    assert (vault.function("name")(), vault.symbol()) == ("Ballast House", "blH")
    assert vault.HOUSE() == int(vault.address, 16) << 8 == new.account
    assert vault.CLEARINGHOUSE() == vault.PERPS() == new.house.address
    assert (vault.DEPOSIT_EPOCH_S(), vault.REDEEM_EPOCH_S()) == (DEPOSIT_EPOCH_S, REDEEM_EPOCH_S)
    assert (vault.DEPOSIT_DELAY_S(), vault.REDEEM_DELAY_S()) == (DEPOSIT_DELAY_S, REDEEM_DELAY_S)
    assert vault.deposit_cap() == CAP_TOKENS * new.unit
    assert 10_000 < new.chain.code_size(vault) <= MAX_CODE_SIZE


def test_preview__any_caller_and_input__reverts(liquidity: Liquidity) -> None:
    """ERC-7540: there is no price yet when asking, and none any more when claiming."""
    for name in ("previewDeposit", "previewMint", "previewWithdraw", "previewRedeem"):
        for amount in (0, 1, UNLIMITED):
            for caller in (liquidity.provider, ZERO_ADDRESS):
                with reverts("liquidity: no preview"):
                    liquidity.vault.function(name).call(amount, sender=caller)


@pytest.mark.parametrize("decimals", [0, 1, 19])
def test_deploy__token_of_odd_precision__reverts(decimals: int) -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", "Odd", "ODD", decimals, sender=chain.accounts[0])
    with reverts("liquidity: unsupported decimals"):
        deploy_vault(chain, token, chain.accounts[1], cap=0)


def test_deploy__without_a_ledger_or_markets__reverts(new: Liquidity) -> None:
    house = new.house.address
    for clearinghouse, perps in ((ZERO_ADDRESS, house), (house, ZERO_ADDRESS)):
        with reverts("liquidity: bad receiver"):
            deploy_vault(new.chain, new.asset, clearinghouse, perps=perps)
    with reverts("liquidity: bad receiver"):
        deploy_vault(
            new.chain, new.asset, new.chain.next_address(new.chain.accounts[6]), perps=house
        )
    with reverts("liquidity: cap too high"):
        deploy_vault(new.chain, new.asset, house, cap=2**95 + 1)


def test_deploy__before_ledger_and_markets__views_tell_an_empty_vault(new: Liquidity) -> None:
    """C04, C20, C45: predicted addresses. Nothing reverts, nothing enters, and then it works."""
    chain = new.chain
    later = chain.next_address(new.governor)
    vault = deploy_vault(chain, new.asset, later)
    who = new.provider
    new.asset.approve(vault.address, UNLIMITED, sender=who)
    for name in ("totalAssets", "entry_assets", "exit_assets", "request_room"):
        assert vault.function(name)() == 0
    for name in ("maxDeposit", "maxMint", "maxWithdraw", "maxRedeem"):
        assert vault.function(name)(who) == 0
    assert vault.convertToShares(new.unit) == new.unit * VIRTUAL_SHARES
    with reverts(""):
        vault.requestDeposit(new.unit, who, who, sender=who)
    house = chain.deploy("HouseStub", new.asset.address, sender=new.governor)
    assert house.address == later
    assert vault.request_room() == CAP_TOKENS * new.unit
    assert vault.requestDeposit(new.unit, who, who, sender=who).return_value != 0


@pytest.mark.parametrize("there", ["ledger", "markets"])
def test_deploy__one_of_ledger_and_markets_is_there__views_tell_an_empty_vault(
    new: Liquidity, there: str
) -> None:
    """C04: a house needs both before it is worth anything."""
    house, later = new.house.address, new.chain.next_address(new.governor)
    clearinghouse, perps = (house, later) if there == "ledger" else (later, house)
    vault = deploy_vault(new.chain, new.asset, clearinghouse, perps=perps)
    assert vault.totalAssets() == vault.convertToAssets(10**5) == 0
    assert vault.convertToShares(new.unit) == new.unit * VIRTUAL_SHARES
    if there == "ledger":
        assert vault.entry_assets() == vault.exit_assets() == 0
        assert vault.request_room() == CAP_TOKENS * new.unit


# ---- asking to enter


def test_request_deposit__by_the_owner__takes_the_assets_and_waits(new: Liquidity) -> None:
    """ERC-7540, C30 to C32: exactly the assets move, the event tells it, nothing is minted."""
    vault, who = new.vault, new.provider
    before = new.tokens(who)
    amount = 7 * new.unit + 1
    receipt = vault.requestDeposit(amount, who, who, sender=who)
    epoch = receipt.time // DEPOSIT_EPOCH_S
    assert receipt.return_value == epoch == vault.deposit_request_id(who)
    [event] = vault.events(receipt, "DepositRequest")
    assert event.args._asdict() == {
        "controller": who,
        "owner": who,
        "requestId": epoch,
        "sender": who,
        "assets": amount,
    }
    assert (before - new.tokens(who), new.tokens(vault)) == (amount, amount)
    assert tuple(vault.escrow()) == (amount, 0)
    assert vault.pendingDepositRequest(epoch, who) == amount
    assert vault.claimableDepositRequest(epoch, who) == vault.maxDeposit(who) == 0
    ready_at = (epoch + 1) * DEPOSIT_EPOCH_S + DEPOSIT_DELAY_S
    assert tuple(vault.deposit_epoch(epoch)) == (amount, 0, ready_at)
    assert vault.totalSupply() == vault.totalAssets() == 0


def test_request_deposit__again_in_one_epoch__adds_up(new: Liquidity) -> None:
    vault, who, other = new.vault, new.provider, new.other_provider
    epoch = new.ask_in(who, 3 * new.unit)
    new.ask_in(other, new.unit)
    new.chain.advance(DEPOSIT_EPOCH_S - 60)
    assert new.ask_in(who, 4 * new.unit) == epoch
    assert vault.pendingDepositRequest(epoch, who) == 7 * new.unit
    assert vault.pendingDepositRequest(epoch, other) == new.unit
    assert vault.deposit_epoch(epoch).assets == 8 * new.unit
    assert vault.pendingDepositRequest(epoch - 1, who) == 0
    assert vault.pendingDepositRequest(epoch + 1, who) == 0
    assert vault.pendingDepositRequest(UNLIMITED, who) == vault.pendingDepositRequest(0, who) == 0


def test_epochs__in_which_nobody_asked__are_empty(new: Liquidity) -> None:
    """Neither amount nor result, nor a time at which anything would be ready."""
    vault = new.vault
    epoch = new.ask_in(new.provider, new.unit)
    for absent in (0, epoch - 1, epoch + 1, UNLIMITED):
        assert tuple(vault.deposit_epoch(absent)) == (0, 0, 0)
    for absent in (0, epoch, UNLIMITED):
        assert tuple(vault.redeem_epoch(absent)) == (0, 0, 0, 0)


def test_request_deposit__while_an_older_one_waits__reverts(new: Liquidity) -> None:
    """One unfinished request a side; once it is fulfilled it makes room by itself."""
    vault, who = new.vault, new.provider
    epoch = new.ask_in(who, 3 * new.unit)
    new.chain.advance(DEPOSIT_EPOCH_S)
    with reverts("liquidity: older request waits"):
        new.ask_in(who, 1)
    new.ask_in(new.other_provider, 1)  # everyone has his own
    shares = new.fulfil_in(epoch)
    later = new.ask_in(who, 5 * new.unit)
    assert later > epoch
    assert vault.claimableDepositRequest(epoch, who) == vault.maxDeposit(who) == 3 * new.unit
    assert vault.maxMint(who) == shares
    assert vault.pendingDepositRequest(later, who) == 5 * new.unit


def test_request_deposit__for_another__only_by_leave(new: Liquidity) -> None:
    """ERC-7540: the owner is the caller or approved him. Nobody keeps a controller busy unasked."""
    vault, owner, operator = new.vault, new.provider, new.operator
    with reverts("liquidity: not an operator"):
        vault.requestDeposit(new.unit, operator, owner, sender=operator)
    vault.setOperator(operator, True, sender=owner)
    before = new.tokens(owner)
    receipt = vault.requestDeposit(new.unit, operator, owner, sender=operator)
    [event] = vault.events(receipt, "DepositRequest")
    assert (event.args.controller, event.args.owner, event.args.sender) == (
        operator,
        owner,
        operator,
    )
    vault.requestDeposit(2 * new.unit, owner, owner, sender=operator)
    assert before - new.tokens(owner) == 3 * new.unit
    assert vault.pendingDepositRequest(receipt.return_value, owner) == 2 * new.unit
    with reverts("liquidity: controller not yours"):
        vault.requestDeposit(1, new.other_provider, owner, sender=owner)
    vault.setOperator(owner, True, sender=new.other_provider)
    vault.requestDeposit(1, new.other_provider, owner, sender=owner)
    assert vault.pendingDepositRequest(receipt.return_value, new.other_provider) == 1
    vault.setOperator(operator, False, sender=owner)
    with reverts("liquidity: not an operator"):
        vault.requestDeposit(1, operator, owner, sender=operator)


def test_request_deposit__bad_input__reverts_and_moves_nothing(new: Liquidity) -> None:
    vault, who = new.vault, new.provider
    before = new.tokens(who)
    with reverts("liquidity: zero amount"):
        new.ask_in(who, 0)
    for nobody in (ZERO_ADDRESS, vault.address):
        with reverts("liquidity: bad controller"):
            vault.requestDeposit(1, nobody, who, sender=who)
    with reverts("liquidity: deposit cap"):
        new.ask_in(who, UNLIMITED)
    new.asset.approve(vault.address, 5, sender=who)
    with reverts("mock: allowance too low"):
        new.ask_in(who, 6)
    new.set_busy()
    with reverts("liquidity: clearinghouse busy"):
        new.ask_in(who, 1)
    assert (new.tokens(who), tuple(vault.escrow())) == (before, (0, 0))


@pytest.mark.parametrize("token", ["FeeToken", "QuirkyToken"])
def test_request_deposit__token_that_delivers_less__reverts(token: str) -> None:
    """T12, T13: what is asked with is what arrived."""
    odd = deploy_liquidity(RevmChain(), 18, token=token)
    if token == "QuirkyToken":
        odd.asset.set_answers(1, sender=odd.governor)
    with reverts("token: short transfer" if token == "FeeToken" else "token: pull failed"):
        odd.ask_in(odd.provider, 10**20)


def test_request_deposit__at_the_cap__takes_exactly_the_room(liquidity: Liquidity) -> None:
    """C16, C18, T10: the cap counts what is in and what waits; `request_room` tells the truth."""
    vault, who = liquidity.vault, liquidity.other_provider
    vault.set_deposit_cap(1_500 * liquidity.unit, sender=liquidity.governor)
    assert vault.request_room() == 500 * liquidity.unit
    liquidity.ask_in(who, 200 * liquidity.unit)
    room = vault.request_room()
    assert room == 300 * liquidity.unit
    with reverts("liquidity: deposit cap"):
        liquidity.ask_in(who, room + 1)
    epoch = liquidity.ask_in(who, room)
    assert vault.request_room() == 0
    with reverts("liquidity: deposit cap"):
        liquidity.ask_in(liquidity.provider, 1)
    # What was asked below the cap is fulfilled, whatever the cap is by then.
    vault.set_deposit_cap(0, sender=liquidity.governor)
    assert liquidity.fulfil_in(epoch) > 0
    assert vault.totalAssets() == 1_500 * liquidity.unit
    assert vault.request_room() == 0


def _with_equity(liquidity: Liquidity, wad: int) -> None:
    liquidity.set_result(wad - liquidity.house_cash())


def test_entry__house_without_value__is_closed(liquidity: Liquidity) -> None:
    """E_h <= 0 closes entry, and so does a house whose premiums and bad debt leave nothing."""
    vault, who, unit_wad = liquidity.vault, liquidity.other_provider, liquidity.unit_wad
    epoch = liquidity.ask_in(who, 1)
    liquidity.pass_deposit_delay(epoch)

    def is_open() -> bool:
        if vault.request_room() > 0:
            with liquidity.chain.isolated():
                vault.fulfil_deposits(epoch, sender=liquidity.keeper)
                liquidity.ask_in(liquidity.attacker, 1)
            return True
        with reverts("liquidity: entry is closed"):
            vault.fulfil_deposits(epoch, sender=liquidity.keeper)
        with reverts("liquidity: entry is closed"):
            liquidity.ask_in(liquidity.attacker, 1)
        return False

    assert is_open()
    for equity in (0, -1, -(10**30)):
        _with_equity(liquidity, equity)
        assert not is_open()
    _with_equity(liquidity, 1)
    assert is_open()
    _with_equity(liquidity, 50 * unit_wad)
    liquidity.set_markets(skew_charge=50 * unit_wad, uncertainty=9 * unit_wad)
    assert not is_open()  # although the entry price would not be zero
    liquidity.set_markets(skew_charge=50 * unit_wad - 1)
    assert is_open()
    _flag(liquidity, 9 << 8, -1)
    assert not is_open()


def test_entry__house_without_shares__is_open_unless_it_owes(new: Liquidity) -> None:
    vault, who = new.vault, new.provider
    assert vault.request_room() == CAP_TOKENS * new.unit
    new.set_result(-1)
    assert vault.request_room() == 0
    with reverts("liquidity: entry is closed"):
        new.ask_in(who, new.unit)
    new.set_result(5)
    new.set_markets(skew_charge=6)
    with reverts("liquidity: entry is closed"):
        new.ask_in(who, new.unit)
    new.set_markets(skew_charge=5)
    assert new.ask_in(who, new.unit) != 0


# ---- fulfilling deposits


def test_fulfil_deposits__a_second_early__reverts(new: Liquidity) -> None:
    """At least an hour after the end of the epoch, so from 60 to 70 minutes after asking."""
    vault = new.vault
    epoch = new.ask_in(new.provider, new.unit)
    ready_at = (epoch + 1) * DEPOSIT_EPOCH_S + DEPOSIT_DELAY_S
    assert 3_600 < ready_at - new.chain.time <= 4_200
    new.chain.set_time(ready_at - 1)
    new.new_round()
    with reverts("liquidity: too early"):
        vault.fulfil_deposits.call(epoch, sender=new.keeper)
    new.chain.set_time(ready_at)
    assert vault.fulfil_deposits(epoch, sender=new.stranger).return_value > 0


@pytest.mark.parametrize("side", ["deposits", "redemptions"])
def test_fulfil__no_round_since_the_epoch__reverts(liquidity: Liquidity, side: str) -> None:
    """A16: a price that was known when asking is no price to fulfil at, and neither is a stale
    one."""
    vault = liquidity.vault
    if side == "deposits":
        epoch = liquidity.ask_in(liquidity.other_provider, liquidity.unit)
        liquidity.pass_deposit_delay(epoch)
        end = (epoch + 1) * DEPOSIT_EPOCH_S
    else:
        epoch = liquidity.ask_out(liquidity.provider, 10**12)
        liquidity.pass_redeem_delay(epoch)
        end = (epoch + 1) * REDEEM_EPOCH_S
    fulfil = vault.function(f"fulfil_{side}")
    for at in (0, end - 10**6, end - 1, end):
        liquidity.house.set_round(at, sender=liquidity.governor)
        with reverts("liquidity: no later round"):
            fulfil.transact(epoch, sender=liquidity.keeper)
    liquidity.house.set_round(end + 1, sender=liquidity.governor)
    assert fulfil.transact(epoch, sender=liquidity.keeper).return_value > 0


def test_fulfil_deposits__at_the_entry_price__mints_rounded_down(liquidity: Liquidity) -> None:
    """Entry pays the spread and for debts that may still be paid: equity - charge + uncertainty."""
    vault, who, unit_wad = liquidity.vault, liquidity.other_provider, liquidity.unit_wad
    amount = 333 * liquidity.unit + 1
    epoch = liquidity.ask_in(who, amount)
    liquidity.pass_deposit_delay(epoch)
    liquidity.set_result(77 * WAD + 3)
    liquidity.set_markets(skew_charge=11 * WAD + 1, uncertainty=5 * WAD + 2)
    _flag(liquidity, 9 << 8, -20 * WAD)
    value = 1_000 * WAD + 77 * WAD + 3 - 11 * WAD - 1
    assert vault.totalAssets() == (value - 20 * WAD) // unit_wad
    total = -(-(value + 5 * WAD + 2) // unit_wad)
    assert vault.entry_assets() == total
    supply = vault.totalSupply()
    receipt = vault.fulfil_deposits(epoch, sender=liquidity.keeper)
    shares = amount * (supply + VIRTUAL_SHARES) // (total + 1)
    assert receipt.return_value == shares == vault.totalSupply() - supply
    [event] = vault.events(receipt, "DepositsFulfilled")
    assert event.args._asdict() == {
        "epoch": epoch,
        "assets": amount,
        "shares": shares,
        "total_assets": total,
    }
    assert vault.deposit_epoch(epoch).shares == shares
    assert vault.pendingDepositRequest(epoch, who) == 0
    assert vault.claimableDepositRequest(epoch, who) == vault.maxDeposit(who) == amount
    assert vault.maxMint(who) == shares
    assert vault.balanceOf(who) == 0  # pulled, never pushed


def test_fulfil_deposits__the_assets__go_to_the_house_before_the_refresh(
    liquidity: Liquidity,
) -> None:
    """I26: the house has the cash, the vault has approved nobody, and headroom is computed from
    the new cash."""
    vault, house = liquidity.vault, liquidity.house
    amount = 50 * liquidity.unit
    epoch = liquidity.ask_in(liquidity.other_provider, amount)
    liquidity.pass_deposit_delay(epoch)
    before = liquidity.house_cash()
    house.observe(liquidity.account, sender=liquidity.keeper)
    vault.fulfil_deposits(epoch, sender=liquidity.keeper)
    after = before + amount * liquidity.unit_wad
    assert house.cash_at_refreshes() == [after]
    assert liquidity.house_cash() == after
    assert liquidity.asset.allowance(vault.address, house.address) == 0
    assert (liquidity.tokens(vault), tuple(vault.escrow())) == (0, (0, 0))


def test_fulfil_deposits__token_with_a_strict_approve__works() -> None:
    """T13, T14: a token that answers nothing and refuses to change an allowance that is not 0."""
    odd = deploy_liquidity(RevmChain(), 18, token="QuirkyToken")
    odd.asset.set_answers(2, sender=odd.governor)
    for _ in range(2):
        assert odd.enter(odd.provider, 10**20) > 0
    epoch = odd.ask_in(odd.provider, 1)
    odd.pass_deposit_delay(epoch)
    odd.asset.set_answers(1, sender=odd.governor)
    with reverts("token: approve failed"):
        odd.vault.fulfil_deposits(epoch, sender=odd.keeper)


def test_fulfil_deposits__nothing_asked_or_done_already__reverts(liquidity: Liquidity) -> None:
    vault = liquidity.vault
    epoch = liquidity.ask_in(liquidity.provider, liquidity.unit)
    liquidity.fulfil_in(epoch)
    for number in (epoch, epoch + 1, 0, UNLIMITED):
        with reverts("liquidity: nothing waits"):
            vault.fulfil_deposits(number, sender=liquidity.keeper)


def test_fulfil__clearing_house_busy__reverts(liquidity: Liquidity) -> None:
    vault = liquidity.vault
    entry = liquidity.ask_in(liquidity.other_provider, liquidity.unit)
    epoch = liquidity.ask_out(liquidity.provider, 10**12)
    liquidity.pass_redeem_delay(epoch)
    for state in (1, 2, 3):
        liquidity.set_busy(state)
        with reverts("liquidity: clearinghouse busy"):
            vault.fulfil_deposits(entry, sender=liquidity.keeper)
        with reverts("liquidity: clearinghouse busy"):
            vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
        with reverts("liquidity: clearinghouse busy"):
            vault.flag_bad_debt(5 << 8, sender=liquidity.keeper)


def test_fulfil_deposits__worth_no_share__waits_for_a_better_price(new: Liquidity) -> None:
    """Nobody gives for nothing: dust after a large gift waits until shares are cheaper."""
    vault = new.vault
    vault.set_deposit_cap(2**95, sender=new.governor)
    new.enter(new.provider, 1)
    new.house.deposit(new.account, 0, 10**16, sender=new.attacker)
    epoch = new.ask_in(new.other_provider, 1)
    with reverts("liquidity: worth no share"):
        new.fulfil_in(epoch)
    _with_equity(new, 1_000 * new.unit_wad)
    assert new.fulfil_in(epoch) > 0


def test_fulfil_deposits__assets_set_aside_for_others__stay_set_aside(
    liquidity: Liquidity,
) -> None:
    """I10: what a redemption was paid and nobody claimed yet is as much as before."""
    vault, who = liquidity.vault, liquidity.provider
    waiting = 40 * liquidity.unit
    epoch = liquidity.ask_in(liquidity.other_provider, waiting)
    paid = liquidity.fulfil_out(liquidity.ask_out(who, liquidity.shares(who) // 3))
    assert tuple(vault.escrow()) == (waiting, paid)
    assert paid > 0
    liquidity.fulfil_in(epoch)
    assert tuple(vault.escrow()) == (0, paid)
    assert vault.withdraw(paid, who, who, sender=who).return_value > 0
    assert (tuple(vault.escrow()), liquidity.tokens(vault)) == ((0, 0), 0)


def test_fulfil_deposits__shares_beyond_their_half_of_a_word__are_refused() -> None:
    """I10: however little the house is worth, there are never 2**128 shares; the last one fits."""
    poor = deploy_liquidity(RevmChain(), 18)
    vault, governor = poor.vault, poor.governor
    vault.set_deposit_cap(2**95, sender=governor)
    # Figures at which the price divides so that the last share of all can be bought.
    first, value, assets = 65_425_270, 2_321, 12_076_918_351_479_493_484_435_940_457
    poor.enter(poor.provider, first)
    supply = vault.totalSupply()
    assert supply + assets * (supply + VIRTUAL_SHARES) // (value + 1) == 2**128 - 1
    _with_equity(poor, value)
    with poor.chain.isolated():
        poor.fulfil_in(poor.ask_in(poor.other_provider, assets))
        assert vault.totalSupply() == 2**128 - 1
    epoch = poor.ask_in(poor.other_provider, assets + 1)
    with reverts("liquidity: too many shares"):
        poor.fulfil_in(epoch)
    # They wait for a better price.
    _with_equity(poor, 2 * value)
    assert poor.fulfil_in(epoch) < 2**128 - 1 - supply


# ---- asking to leave


def test_request_redeem__by_the_owner__locks_the_shares(liquidity: Liquidity) -> None:
    """ERC-7540: the shares leave the owner at once and are burnt when they are paid."""
    vault, who = liquidity.vault, liquidity.provider
    balance, supply = liquidity.shares(who), vault.totalSupply()
    amount = balance // 3
    receipt = vault.requestRedeem(amount, who, who, sender=who)
    epoch = receipt.time // REDEEM_EPOCH_S
    assert receipt.return_value == epoch == vault.redeem_request_id(who)
    [event] = vault.events(receipt, "RedeemRequest")
    assert event.args._asdict() == {
        "controller": who,
        "owner": who,
        "requestId": epoch,
        "sender": who,
        "shares": amount,
    }
    assert liquidity.shares(who) == balance - amount
    assert vault.totalSupply() == supply
    assert vault.pendingRedeemRequest(epoch, who) == amount
    assert vault.claimableRedeemRequest(epoch, who) == vault.maxRedeem(who) == 0
    ready_at = (epoch + 1) * REDEEM_EPOCH_S + REDEEM_DELAY_S
    assert tuple(vault.redeem_epoch(epoch)) == (amount, 0, 0, ready_at)
    assert vault.oldest_redemption() == epoch
    # Again in the same epoch: it adds up; in another one: not while this one waits.
    vault.requestRedeem(1, who, who, sender=who)
    assert vault.pendingRedeemRequest(epoch, who) == amount + 1
    liquidity.chain.advance(REDEEM_EPOCH_S)
    with reverts("liquidity: older request waits"):
        vault.requestRedeem(1, who, who, sender=who)


def test_request_redeem__by_a_spender__uses_up_the_allowance(liquidity: Liquidity) -> None:
    """ERC-7540, C55: an allowance in shares, exactly used up; an unlimited one and an operator's
    leave cost nothing."""
    vault, owner, spender = liquidity.vault, liquidity.provider, liquidity.operator
    amount = 10**6
    with reverts("erc20: insufficient allowance"):
        vault.requestRedeem(1, spender, owner, sender=spender)
    vault.approve(spender, amount + 5, sender=owner)
    with reverts("erc20: insufficient allowance"):
        vault.requestRedeem(amount + 6, spender, owner, sender=spender)
    receipt = vault.requestRedeem(amount, spender, owner, sender=spender)
    [event] = vault.events(receipt, "RedeemRequest")
    told = event.args
    assert (told.controller, told.owner, told.sender) == (spender, owner, spender)
    assert vault.allowance(owner, spender) == 5
    vault.requestRedeem(5, owner, owner, sender=spender)
    assert vault.pendingRedeemRequest(receipt.return_value, owner) == 5
    assert vault.allowance(owner, spender) == 0
    vault.approve(spender, UNLIMITED, sender=owner)
    vault.requestRedeem(7, spender, owner, sender=spender)
    assert vault.allowance(owner, spender) == UNLIMITED
    vault.approve(spender, 3, sender=owner)
    vault.setOperator(spender, True, sender=owner)
    vault.requestRedeem(100, spender, owner, sender=spender)
    assert vault.allowance(owner, spender) == 3
    with reverts("liquidity: controller not yours"):
        vault.requestRedeem(1, liquidity.stranger, owner, sender=owner)
    assert vault.pendingRedeemRequest(receipt.return_value, spender) == amount + 107


def test_request_redeem__bad_input__reverts_and_moves_nothing(liquidity: Liquidity) -> None:
    vault, who = liquidity.vault, liquidity.provider
    balance = liquidity.shares(who)
    with reverts("liquidity: zero amount"):
        liquidity.ask_out(who, 0)
    with reverts("erc20: transfer amount exceeds balance"):
        liquidity.ask_out(who, balance + 1)
    for nobody in (ZERO_ADDRESS, vault.address):
        with reverts("liquidity: bad controller"):
            vault.requestRedeem(1, nobody, who, sender=who)
    liquidity.set_busy()
    with reverts("liquidity: clearinghouse busy"):
        liquidity.ask_out(who, 1)
    assert (liquidity.shares(who), vault.oldest_redemption()) == (balance, 0)


def test_request_redeem__shares_beyond_their_half_of_a_word__are_refused(
    liquidity: Liquidity,
) -> None:
    """What is asked would run over into what was filled; up to there only the balance counts."""
    for shares in (2**128, 2**255, UNLIMITED):
        with reverts("liquidity: amount too large"):
            liquidity.ask_out(liquidity.provider, shares)
    with reverts("erc20: transfer amount exceeds balance"):
        liquidity.ask_out(liquidity.provider, 2**128 - 1)


# ---- fulfilling redemptions


def test_fulfil_redemptions__a_second_early__reverts(liquidity: Liquidity) -> None:
    """At least a day after the end of the epoch."""
    vault = liquidity.vault
    epoch = liquidity.ask_out(liquidity.provider, 10**12)
    ready_at = (epoch + 1) * REDEEM_EPOCH_S + REDEEM_DELAY_S
    assert 86_400 < ready_at - liquidity.chain.time <= 90_000
    liquidity.chain.set_time(ready_at - 1)
    liquidity.new_round()
    with reverts("liquidity: too early"):
        vault.fulfil_redemptions.call(epoch, sender=liquidity.keeper)
    liquidity.chain.set_time(ready_at)
    assert vault.fulfil_redemptions(epoch, sender=liquidity.stranger).return_value > 0


def test_fulfil_redemptions__at_the_exit_price__pays_rounded_down(liquidity: Liquidity) -> None:
    """Exit leaves the spread and the flagged bad debt to those who stay."""
    vault, who, unit_wad = liquidity.vault, liquidity.provider, liquidity.unit_wad
    amount = liquidity.shares(who) // 3 + 1
    epoch = liquidity.ask_out(who, amount)
    liquidity.pass_redeem_delay(epoch)
    liquidity.set_result(-77 * WAD - 3)
    liquidity.set_markets(skew_charge=11 * WAD + 1, uncertainty=5 * WAD + 2)
    _flag(liquidity, 9 << 8, -20 * WAD)
    total = (1_000 * WAD - 77 * WAD - 3 - 11 * WAD - 1 - 20 * WAD - 5 * WAD - 2) // unit_wad
    assert vault.exit_assets() == total
    supply, cash = vault.totalSupply(), liquidity.house_cash()
    liquidity.house.observe(liquidity.account, sender=liquidity.keeper)
    receipt = vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    assets = amount * (total + 1) // (supply + VIRTUAL_SHARES)
    assert receipt.return_value == assets == liquidity.tokens(vault)
    [event] = vault.events(receipt, "RedemptionsFulfilled")
    assert event.args._asdict() == {
        "epoch": epoch,
        "shares": amount,
        "assets": assets,
        "total_assets": total,
        "waiting": 0,
    }
    assert vault.totalSupply() == supply - amount
    assert tuple(vault.escrow()) == (0, assets)
    assert tuple(vault.redeem_epoch(epoch))[:3] == (amount, amount, assets)
    assert (vault.maxRedeem(who), vault.maxWithdraw(who)) == (amount, assets)
    assert vault.claimableRedeemRequest(epoch, who) == amount
    assert vault.pendingRedeemRequest(epoch, who) == 0
    # Headroom is computed afresh before the cash goes and after.
    after = cash - assets * unit_wad
    assert liquidity.house.cash_at_refreshes() == [cash, after]
    assert liquidity.house_cash() == after


@pytest.mark.parametrize("limit", ["cash", "free"])
def test_fulfil_redemptions__too_little_cash__pays_all_the_same_part(
    liquidity: Liquidity, limit: str
) -> None:
    """What the house cannot pay waits; one epoch has one price and one part, and stays first."""
    vault, unit_wad = liquidity.vault, liquidity.unit_wad
    big, small = liquidity.provider, liquidity.other_provider
    vault.transfer(small, liquidity.shares(big) // 4, sender=big)
    asked = {who: liquidity.shares(who) for who in (big, small)}
    for who in (big, small):
        epoch = liquidity.ask_out(who, asked[who])
    liquidity.pass_redeem_delay(epoch)
    have = 400 * liquidity.unit
    if limit == "cash":
        # Worth 2,000, of which only 1,000 are cash, of which 400 are free.
        liquidity.set_result(1_000 * WAD)
        liquidity.set_free(have * unit_wad + unit_wad - 1)
    else:
        liquidity.set_result(1_000 * WAD)
        liquidity.set_free(have * unit_wad)
    supply, total = vault.totalSupply(), vault.exit_assets()
    receipt = vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    burnt = -(-have * (supply + VIRTUAL_SHARES) // (total + 1))
    assert receipt.return_value == have
    [event] = vault.events(receipt, "RedemptionsFulfilled")
    assert (event.args.shares, event.args.waiting) == (burnt, supply - burnt)
    assert vault.oldest_redemption() == epoch
    for who in (big, small):
        part = asked[who] * burnt // supply
        assert vault.maxRedeem(who) == vault.claimableRedeemRequest(epoch, who) == part
        assert vault.maxWithdraw(who) == asked[who] * have // supply
        assert vault.pendingRedeemRequest(epoch, who) == asked[who] - part
    assert abs(vault.maxWithdraw(big) - 3 * vault.maxWithdraw(small)) <= 3
    # The rest, after one of them has claimed in between; there is nothing to choose in that.
    got = vault.redeem(vault.maxRedeem(small), small, small, sender=small).return_value
    liquidity.set_free(10**40)
    liquidity.set_result(0)
    assert vault.fulfil_redemptions(epoch, sender=liquidity.keeper).return_value > 0
    assert vault.oldest_redemption() == 0
    got += vault.redeem(vault.maxRedeem(small), small, small, sender=small).return_value
    assert abs(vault.maxWithdraw(big) - 3 * got) <= 6
    with reverts("liquidity: nothing waits"):
        vault.fulfil_redemptions(epoch, sender=liquidity.keeper)


def test_fulfil_redemptions__cash_elsewhere__is_limited_to_the_cash(liquidity: Liquidity) -> None:
    """A house whose gains are not settled pays what it has and never borrows."""
    vault, who = liquidity.vault, liquidity.provider
    epoch = liquidity.ask_out(who, liquidity.shares(who))
    liquidity.pass_redeem_delay(epoch)
    liquidity.set_result(9_000 * WAD)
    assert vault.fulfil_redemptions(epoch, sender=liquidity.keeper).return_value == (
        1_000 * liquidity.unit
    )
    assert liquidity.house_cash() == 0
    with reverts("liquidity: no free cash"):
        vault.fulfil_redemptions(epoch, sender=liquidity.keeper)


def test_fulfil_redemptions__nothing_free_or_no_price__waits(liquidity: Liquidity) -> None:
    vault, who, unit_wad = liquidity.vault, liquidity.provider, liquidity.unit_wad
    epoch = liquidity.ask_out(who, liquidity.shares(who))
    liquidity.pass_redeem_delay(epoch)
    liquidity.set_free(unit_wad - 1)
    with reverts("liquidity: no free cash"):
        vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    for equity in (-(10**30), 0, unit_wad - 1):
        _with_equity(liquidity, equity)
        with reverts("liquidity: no exit price"):
            vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    _with_equity(liquidity, 10 * unit_wad)
    liquidity.set_markets(uncertainty=10 * unit_wad)
    with reverts("liquidity: no exit price"):
        vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    assert vault.pendingRedeemRequest(epoch, who) == liquidity.shares(vault)


def test_fulfil_redemptions__younger_epoch__waits_for_the_older(liquidity: Liquidity) -> None:
    """First come, first paid: three epochs, in order, with a gap between them."""
    vault, chain = liquidity.vault, liquidity.chain
    people = (liquidity.provider, liquidity.other_provider, liquidity.attacker)
    for who in people[1:]:
        vault.transfer(who, 10**12, sender=people[0])
    epochs = []
    for who in people:
        epochs.append(liquidity.ask_out(who, 10**12))
        chain.advance(5 * REDEEM_EPOCH_S)
    liquidity.pass_redeem_delay(epochs[-1])
    for step, epoch in enumerate(epochs):
        assert vault.oldest_redemption() == epoch
        for later in epochs[step + 1 :]:
            with reverts("liquidity: older epoch first"):
                vault.fulfil_redemptions(later, sender=liquidity.keeper)
        assert vault.fulfil_redemptions(epoch, sender=liquidity.keeper).return_value > 0
    assert vault.oldest_redemption() == 0
    # The queue starts anew.
    epoch = liquidity.ask_out(people[0], 10**12)
    assert vault.oldest_redemption() == epoch
    assert liquidity.fulfil_out(epoch) > 0
    for number in (epoch, epochs[0], 0, 7, UNLIMITED):
        with reverts("liquidity: nothing waits"):
            vault.fulfil_redemptions(number, sender=liquidity.keeper)


def test_fulfil_redemptions__worth_less_than_a_unit__does_not_hold_up_the_queue(
    liquidity: Liquidity,
) -> None:
    """One share unit in an epoch of its own must not stop everyone behind it."""
    vault, who, other = liquidity.vault, liquidity.provider, liquidity.other_provider
    vault.transfer(other, 1, sender=who)
    dust = liquidity.ask_out(other, 1)
    liquidity.chain.advance(REDEEM_EPOCH_S)
    epoch = liquidity.ask_out(who, 10**12)
    liquidity.pass_redeem_delay(epoch)
    liquidity.set_free(0)
    assert vault.fulfil_redemptions(dust, sender=liquidity.keeper).return_value == 0
    assert (vault.maxRedeem(other), vault.maxWithdraw(other)) == (1, 0)
    assert vault.redeem(1, other, other, sender=other).return_value == 0
    liquidity.set_free(10**40)
    assert vault.fulfil_redemptions(epoch, sender=liquidity.keeper).return_value > 0


def test_fulfil_redemptions__payment_that_does_not_arrive__reverts(liquidity: Liquidity) -> None:
    """I01: what is set aside is here."""
    vault, who = liquidity.vault, liquidity.provider
    liquidity.ask_in(liquidity.other_provider, 5 * liquidity.unit)
    epoch = liquidity.ask_out(who, 10**12)
    liquidity.pass_redeem_delay(epoch)
    liquidity.house.set_shortfall(1, sender=liquidity.governor)
    with reverts("liquidity: payment missing"):
        vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    liquidity.house.set_shortfall(0, sender=liquidity.governor)
    assert vault.fulfil_redemptions(epoch, sender=liquidity.keeper).return_value > 0


# ---- claims


@pytest.fixture
def entered(liquidity: Liquidity) -> Liquidity:
    """The other provider can claim the shares of 300 tokens and 7 units."""
    liquidity.set_result(123 * WAD)
    liquidity.fulfil_in(liquidity.ask_in(liquidity.other_provider, 300 * liquidity.unit + 7))
    return liquidity


@pytest.fixture
def left(liquidity: Liquidity) -> Liquidity:
    """The provider can claim the assets of a third of his shares."""
    who = liquidity.provider
    liquidity.set_result(123 * WAD)
    liquidity.fulfil_out(liquidity.ask_out(who, liquidity.shares(who) // 3))
    return liquidity


@pytest.mark.parametrize("arguments", [2, 3])
def test_deposit__claimable__sends_shares_rounded_down(entered: Liquidity, arguments: int) -> None:
    """ERC-7540: the controller claims; the first address of the event is the controller, the
    second the receiver. C30, C32, C34."""
    vault, who, to = entered.vault, entered.other_provider, entered.stranger
    given, due = vault.maxDeposit(who), vault.maxMint(who)
    amount = given // 3
    tokens = entered.tokens(who)
    receipt = vault.deposit(*(amount, to, who)[:arguments], sender=who)
    shares = due * amount // given
    assert receipt.return_value == shares == entered.shares(to)
    [event] = vault.events(receipt, "Deposit")
    assert event.args._asdict() == {
        "sender": who,
        "owner": to,
        "assets": amount,
        "shares": shares,
    }
    assert entered.tokens(who) == tokens  # they were given when asking
    assert (vault.maxDeposit(who), vault.maxMint(who)) == (given - amount, due - shares)
    assert vault.claimableDepositRequest(vault.deposit_request_id(who), who) == given - amount
    assert vault.deposit(given - amount, to, sender=who).return_value == due - shares
    assert (vault.maxDeposit(who), vault.maxMint(who)) == (0, 0)
    assert entered.shares(to) == due


@pytest.mark.parametrize("arguments", [2, 3])
def test_mint__claimable__uses_up_assets_rounded_up(entered: Liquidity, arguments: int) -> None:
    """C39, C40: exactly the shares."""
    vault, who, to = entered.vault, entered.other_provider, entered.stranger
    given, due = vault.maxDeposit(who), vault.maxMint(who)
    amount = due // 3 + 1
    receipt = vault.mint(*(amount, to, who)[:arguments], sender=who)
    assets = -(-given * amount // due)
    assert receipt.return_value == assets
    [event] = vault.events(receipt, "Deposit")
    assert event.args._asdict() == {
        "sender": who,
        "owner": to,
        "assets": assets,
        "shares": amount,
    }
    assert vault.mint(due - amount, to, who, sender=who).return_value == given - assets
    assert entered.shares(to) == due


def test_redeem__claimable__sends_assets_rounded_down(left: Liquidity) -> None:
    """C53, C56, C59: the shares are burnt already."""
    vault, who, to = left.vault, left.provider, left.stranger
    given, due = vault.maxRedeem(who), vault.maxWithdraw(who)
    supply, amount = vault.totalSupply(), given // 3
    receipt = vault.redeem(amount, to, who, sender=who)
    assets = due * amount // given
    assert receipt.return_value == assets == left.tokens(to)
    [event] = vault.events(receipt, "Withdraw")
    assert event.args._asdict() == {
        "sender": who,
        "receiver": to,
        "owner": who,
        "assets": assets,
        "shares": amount,
    }
    assert vault.totalSupply() == supply
    assert (vault.maxRedeem(who), vault.maxWithdraw(who)) == (given - amount, due - assets)
    assert vault.escrow()[1] == due - assets
    vault.redeem(given - amount, to, who, sender=who)
    assert (left.tokens(to), vault.escrow()[1]) == (due, 0)


def test_withdraw__claimable__uses_up_shares_rounded_up(left: Liquidity) -> None:
    vault, who, to = left.vault, left.provider, left.stranger
    given, due = vault.maxRedeem(who), vault.maxWithdraw(who)
    amount = due // 3 + 1
    receipt = vault.withdraw(amount, to, who, sender=who)
    shares = -(-given * amount // due)
    assert receipt.return_value == shares
    [event] = vault.events(receipt, "Withdraw")
    assert (event.args.assets, event.args.shares) == (amount, shares)
    assert left.tokens(to) == amount
    assert vault.withdraw(due - amount, to, who, sender=who).return_value == given - shares
    assert vault.maxRedeem(who) == vault.maxWithdraw(who) == 0


@pytest.mark.parametrize("claim", ["deposit", "mint", "redeem", "withdraw"])
def test_claim__by_an_operator_or_a_stranger__only_by_leave(
    liquidity: Liquidity, claim: str
) -> None:
    """ERC-7540: an operator of the controller, not of the owner, and no allowance helps."""
    vault, who, operator = liquidity.vault, liquidity.provider, liquidity.operator
    entry = liquidity.ask_in(who, liquidity.unit)
    liquidity.fulfil_out(liquidity.ask_out(who, 10**12))
    liquidity.fulfil_in(entry)
    vault.approve(operator, UNLIMITED, sender=who)
    function, amount = vault.function(claim), 1_000
    with reverts("liquidity: not an operator"):
        function.transact(amount, operator, who, sender=operator)
    receipt = vault.setOperator(operator, True, sender=who)
    assert receipt.return_value is True
    [event] = vault.events(receipt, "OperatorSet")
    assert event.args._asdict() == {"controller": who, "operator": operator, "approved": True}
    assert vault.isOperator(who, operator) is True
    assert vault.isOperator(operator, who) is False
    receipt = function.transact(amount, operator, who, sender=operator)
    [event] = vault.events(receipt, "Deposit" if claim in ("deposit", "mint") else "Withdraw")
    if claim in ("deposit", "mint"):
        assert (event.args.sender, event.args.owner) == (who, operator)
    else:
        assert (event.args.sender, event.args.receiver, event.args.owner) == (
            operator,
            operator,
            who,
        )
    vault.setOperator(operator, False, sender=who)
    assert vault.isOperator(who, operator) is False
    with reverts("liquidity: not an operator"):
        function.transact(amount, operator, who, sender=operator)
    # Whoever claims without naming a controller claims his own, of which there is nothing.
    if claim in ("deposit", "mint"):
        with reverts("liquidity: more than claimable"):
            function.transact(1, operator, sender=operator)


@pytest.mark.parametrize("claim", ["deposit", "mint", "redeem", "withdraw"])
def test_claim__bad_input__reverts_and_moves_nothing(liquidity: Liquidity, claim: str) -> None:
    """C33, C42, C57: nothing, too much, nobody, and while the clearing house is busy."""
    vault, who = liquidity.vault, liquidity.provider
    entry = liquidity.ask_in(who, liquidity.unit)
    liquidity.fulfil_out(liquidity.ask_out(who, 10**12))
    liquidity.fulfil_in(entry)
    limit = vault.function("max" + claim.capitalize())
    function, most = vault.function(claim), limit(who)
    with reverts("liquidity: zero amount"):
        function.transact(0, who, who, sender=who)
    for amount in (most + 1, UNLIMITED):
        with reverts("liquidity: more than claimable"):
            function.transact(amount, who, who, sender=who)
    for nobody in (ZERO_ADDRESS, vault.address):
        with reverts("liquidity: bad receiver"):
            function.transact(1, nobody, who, sender=who)
    liquidity.set_busy()
    assert limit(who) == 0
    with reverts("liquidity: clearinghouse busy"):
        function.transact(1, who, who, sender=who)
    liquidity.set_busy(0)
    assert limit(who) == most > 0
    function.transact(most, who, who, sender=who)
    assert limit(who) == 0


def test_claim__several_epochs__are_one_amount_under_the_newest_id(new: Liquidity) -> None:
    """What is fulfilled is merged; the ids tell every asset once."""
    vault, who = new.vault, new.provider
    first = new.ask_in(who, 100 * new.unit)
    shares = new.fulfil_in(first)
    new.set_result(100 * WAD)  # shares are dearer from here on
    second = new.ask_in(who, 50 * new.unit)
    told = vault.claimableDepositRequest
    assert (told(first, who), told(second, who)) == (100 * new.unit, 0)
    later = new.fulfil_in(second)
    assert 0 < later < shares // 2
    assert (told(first, who), told(second, who)) == (0, 150 * new.unit)
    assert (vault.maxDeposit(who), vault.maxMint(who)) == (150 * new.unit, shares + later)
    third = new.ask_in(who, 1)
    assert (told(second, who), told(third, who)) == (150 * new.unit, 0)
    vault.deposit(vault.maxDeposit(who), who, sender=who)
    assert new.shares(who) == shares + later
    assert vault.pendingDepositRequest(third, who) == 1


def test_claim__many_of_one_epoch__never_exceed_what_it_got(new: Liquidity) -> None:
    """Parts are rounded down, so they never add up to more than was minted or set aside."""
    vault = new.vault
    people = (new.provider, new.other_provider, new.attacker)
    for who, amount in zip(people, (1, 3, 7), strict=True):
        entry = new.ask_in(who, amount)
    new.set_result(2 * new.unit_wad)
    shares = new.fulfil_in(entry)
    assert shares == 11 * VIRTUAL_SHARES // 3
    claims = [vault.maxMint(who) for who in people]
    assert claims == [shares * part // 11 for part in (1, 3, 7)]
    assert 0 < shares - sum(claims) < 3
    for who in people:
        vault.mint(vault.maxMint(who), who, sender=who)
    assert new.shares(vault) == shares - sum(claims)


# ---- bad debt


def _flag(liquidity: Liquidity, account: int, equity: int) -> None:
    liquidity.house.set_result(account, equity, sender=liquidity.governor)
    liquidity.house.set_listed(account, PERPETUAL, sender=liquidity.governor)
    liquidity.vault.flag_bad_debt(account, sender=liquidity.stranger)


def test_flag_bad_debt__account_below_zero__lowers_every_price_but_entry(
    liquidity: Liquidity,
) -> None:
    """T09: known losses are everybody's before they are realised; the record is replaced, never
    added to."""
    vault, house, account = liquidity.vault, liquidity.house, (9 << 8) | 3
    whole = 1_000 * liquidity.unit
    steps = ((-40 * WAD, 40), (-90 * WAD, 90), (-90 * WAD, 90), (-1 * WAD, 1), (5 * WAD, 0))
    old = 0
    for equity, loss in steps:
        house.set_result(account, equity, sender=liquidity.governor)
        house.set_listed(account, PERPETUAL << 15 | 9, sender=liquidity.governor)
        receipt = vault.flag_bad_debt(account, sender=liquidity.stranger)
        assert receipt.return_value == loss * WAD == vault.bad_debt_of(account)
        [event] = vault.events(receipt, "BadDebtFlagged")
        assert event.args._asdict() == {
            "account": account,
            "old_wad": old,
            "new_wad": loss * WAD,
            "total_wad": loss * WAD,
        }
        assert vault.totalAssets() == whole - loss * liquidity.unit
        assert vault.exit_assets() == vault.totalAssets()
        assert vault.entry_assets() == whole
        old = loss * WAD
    _flag(liquidity, account, -2 * WAD)
    _flag(liquidity, 8 << 8, -3 * WAD)
    assert vault.bad_debt_wad() == 5 * WAD


def test_flag_bad_debt__account_without_perpetual__only_to_clear_a_record(
    liquidity: Liquidity,
) -> None:
    """What a lender lost is not the house's loss, and a record can always be corrected."""
    vault, house, account = liquidity.vault, liquidity.house, 9 << 8
    house.set_result(account, -7 * WAD, sender=liquidity.governor)
    house.set_listed(account, PERPETUAL - 1, sender=liquidity.governor)  # sixteen collaterals
    with reverts("liquidity: no perpetual"):
        vault.flag_bad_debt(account, sender=liquidity.stranger)
    _flag(liquidity, account, -7 * WAD)
    house.set_listed(account, 0, sender=liquidity.governor)
    house.set_result(account, 0, sender=liquidity.governor)
    assert vault.flag_bad_debt(account, sender=liquidity.stranger).return_value == 0
    assert vault.bad_debt_wad() == 0
    with reverts("liquidity: no perpetual"):
        vault.flag_bad_debt(account, sender=liquidity.stranger)


def test_flag_bad_debt__id_beyond_all_accounts__reverts(liquidity: Liquidity) -> None:
    """A number with more bits may mean positions that are flagged already under their own name."""
    for account in (2**168, 1 << 248 | 9 << 8, UNLIMITED):
        with reverts("liquidity: no perpetual"):
            _flag(liquidity, account, -WAD)
    _flag(liquidity, 2**168 - 1, -WAD)
    assert liquidity.vault.bad_debt_wad() == WAD


def test_flag_bad_debt__the_house_itself__reverts(liquidity: Liquidity) -> None:
    """Its equity counts already; to count it twice would make exits cheap."""
    liquidity.house.set_listed(liquidity.account, PERPETUAL, sender=liquidity.governor)
    _with_equity(liquidity, -1)
    with reverts("liquidity: house is not flagged"):
        liquidity.vault.flag_bad_debt(liquidity.account, sender=liquidity.stranger)


# ---- views


def test_convert__any_amount__is_at_total_assets_rounded_down(liquidity: Liquidity) -> None:
    """C06 to C15: no spread, no caller, rounded down; and nothing converts to nothing."""
    vault = liquidity.vault
    liquidity.set_result(77 * WAD + 5)
    liquidity.set_markets(skew_charge=3 * WAD, uncertainty=9 * WAD)
    shares, assets = vault.totalSupply() + VIRTUAL_SHARES, vault.totalAssets() + 1
    for amount in (0, 1, 7, liquidity.unit, 10**30 + 1):
        told = {vault.convertToShares.call(amount, sender=s) for s in (liquidity.provider, None)}
        assert told == {amount * shares // assets}
        told = {vault.convertToAssets.call(amount, sender=s) for s in (liquidity.provider, None)}
        assert told == {amount * assets // shares}
    with reverts("math: mul_div overflow"):
        vault.convertToShares(UNLIMITED)


def test_total_assets__any_house__never_reverts_and_counts_no_escrow(
    liquidity: Liquidity,
) -> None:
    """C03, C04, T11: what waits to enter and what is set aside belongs to no share."""
    vault = liquidity.vault
    for equity in (-(2**200), -1, 0, 1, 2**200):
        _with_equity(liquidity, equity)
        for charge, uncertainty in ((0, 0), (2**201, 0), (0, 2**201)):
            liquidity.set_markets(charge, uncertainty)
            value = max(0, equity - charge)
            assert vault.totalAssets() == value // liquidity.unit_wad
            assert vault.exit_assets() <= vault.totalAssets() <= vault.entry_assets()
    liquidity.set_markets()
    liquidity.set_result(0)
    liquidity.ask_in(liquidity.other_provider, 5 * liquidity.unit)
    assert vault.totalAssets() == 1_000 * liquidity.unit
    liquidity.fulfil_out(liquidity.ask_out(liquidity.provider, 400 * liquidity.unit * 10**6))
    assert vault.totalAssets() == 600 * liquidity.unit
    assert tuple(vault.escrow()) == (5 * liquidity.unit, 400 * liquidity.unit)


def test_views__in_the_middle_of_a_call__limits_are_nothing_and_prices_are_locked(
    liquidity: Liquidity,
) -> None:
    """C18, C44: max* are 0 while a call is under way. What would read a half written ledger does
    not answer: read-only reentrancy."""
    vault, house, who = liquidity.vault, liquidity.house, liquidity.provider
    liquidity.fulfil_out(liquidity.ask_out(who, 10**12))
    assert vault.maxRedeem(who) == 10**12

    def told(name: str, *args: str) -> int:
        receipt = house.relay(
            vault.address, vault.function(name).encode(*args), sender=liquidity.stranger
        )
        return int.from_bytes(receipt.return_value, "big")

    for name in ("maxDeposit", "maxMint", "maxRedeem", "maxWithdraw"):
        assert told(name, who) == 0
    assert told("request_room") == 0
    assert told("totalSupply") == vault.totalSupply()
    for name in ("totalAssets", "entry_assets", "exit_assets"):
        with reverts():
            told(name)


# ---- the owner


def test_set_deposit_cap__by_the_owner__is_told(new: Liquidity) -> None:
    vault = new.vault
    receipt = vault.set_deposit_cap(2**95, sender=new.governor)
    [event] = vault.events(receipt, "DepositCapChanged")
    assert event.args._asdict() == {"old": CAP_TOKENS * new.unit, "new": 2**95}
    assert vault.deposit_cap() == 2**95
    with reverts("liquidity: cap too high"):
        vault.set_deposit_cap(2**95 + 1, sender=new.governor)
    with reverts("ownable: caller is not the owner"):
        vault.set_deposit_cap(0, sender=new.stranger)


def test_ownership__handed_over__in_two_steps(new: Liquidity) -> None:
    vault, heir = new.vault, new.stranger
    assert vault.owner() == new.governor
    vault.transfer_ownership(heir, sender=new.governor)
    assert (vault.owner(), vault.pending_owner()) == (new.governor, heir)
    with reverts("ownable_2step: caller is not the new owner"):
        vault.accept_ownership(sender=new.attacker)
    vault.accept_ownership(sender=heir)
    assert vault.owner() == heir
    vault.set_deposit_cap(1, sender=heir)
    with reverts("ownable: caller is not the owner"):
        vault.set_deposit_cap(2, sender=new.governor)


def test_shares__transferred__are_a_plain_erc20(liquidity: Liquidity) -> None:
    """C60, I03: also while they are asked back by nobody."""
    vault, who, other = liquidity.vault, liquidity.provider, liquidity.other_provider
    shares = liquidity.shares(who)
    liquidity.ask_out(who, shares // 2)
    vault.transfer(other, shares // 4, sender=who)
    vault.approve(liquidity.operator, 5, sender=other)
    vault.transferFrom(other, liquidity.operator, 5, sender=liquidity.operator)
    with reverts("erc20: insufficient allowance"):
        vault.transferFrom(other, liquidity.operator, 1, sender=liquidity.operator)
    holders = (who, other, liquidity.operator, vault)
    assert vault.totalSupply() == shares == sum(map(liquidity.shares, holders))
    vault.transfer(who, liquidity.shares(who), sender=who)
    assert liquidity.shares(who) == shares - shares // 2 - shares // 4


# ---- attacks


class Market:
    """One perpetual market as the design prices it, without fees; the house is the other side."""

    def __init__(self, liquidity: Liquidity, price: int, depth: int) -> None:
        self.liquidity, self.price, self.depth = liquidity, price, depth
        self.skew = self.paid = 0

    def trade(self, size: int) -> int:
        """Buys (> 0) or sells whole units; returns what it costs, WAD."""
        cost = size * self.price * WAD
        cost += self.price * WAD * size * (2 * self.skew + size) // (2 * self.depth)
        self.skew, self.paid = self.skew + size, self.paid + cost
        self._tell(self.charge)
        return cost

    def move(self, price: int) -> None:
        """A round at another price."""
        self.price = price
        self._tell(self.charge)

    @property
    def charge(self) -> int:
        """p skew^2 / (2 depth)."""
        return self.price * WAD * self.skew**2 // (2 * self.depth)

    @property
    def result(self) -> int:
        """Of the house: what was paid for its size, less what that is worth."""
        return self.paid - self.skew * self.price * WAD

    def _tell(self, charge: int) -> None:
        self.liquidity.set_result(self.result)
        self.liquidity.set_markets(skew_charge=charge)


def _skew_and_leave(liquidity: Liquidity, market: Market) -> int:
    """A6: the attacker owns half of a vault of 10 million, opens a skew, redeems, closes."""
    attacker = liquidity.attacker
    liquidity.enter(liquidity.provider, 5_000_000 * liquidity.unit)
    shares = liquidity.enter(attacker, 5_000_000 * liquidity.unit)
    epoch = liquidity.ask_out(attacker, shares)
    liquidity.pass_redeem_delay(epoch)
    opened = market.trade(40_000)
    assert market.charge == market.result > 0
    liquidity.vault.fulfil_redemptions(epoch, sender=attacker)
    got = liquidity.vault.redeem(shares, attacker, attacker, sender=attacker).return_value
    closed = market.trade(-40_000)
    return int((got - 5_000_000 * liquidity.unit) * liquidity.unit_wad - opened - closed)


def test_leave__behind_a_skew_of_ones_own__gains_nothing(new: Liquidity) -> None:
    """A6: a premium that is owed back to whoever closes is no gain of the house."""
    assert -(10**6) * new.unit_wad <= _skew_and_leave(new, Market(new, 2_000, 1_000_000)) <= 0


def test_leave__behind_a_skew_with_a_naive_value__would_have_gained(new: Liquidity) -> None:
    """A6: the same attack where the premium counts, which shows that the test above can fail."""

    class Naive(Market):
        def _tell(self, charge: int) -> None:
            super()._tell(0)

    assert _skew_and_leave(new, Naive(new, 2_000, 1_000_000)) > 700_000 * WAD


def test_enter__before_a_round_that_one_knows__gets_the_price_after_it(
    liquidity: Liquidity,
) -> None:
    """A16: the house is about to win 250; who asks before is priced after."""
    vault, attacker, amount = liquidity.vault, liquidity.attacker, 1_000 * liquidity.unit
    market = Market(liquidity, 1_000, 10**6)
    market.trade(1)
    liquidity.chain.advance(DEPOSIT_EPOCH_S - 1)  # the last moment of an epoch
    epoch = liquidity.ask_in(attacker, amount)
    naive = vault.convertToShares(amount)
    # The round is in the very block: no later one, and yet the delay must pass.
    liquidity.new_round()
    market.move(750)
    liquidity.chain.advance(1)
    with reverts("liquidity: too early"):
        vault.fulfil_deposits(epoch, sender=attacker)
    liquidity.chain.advance(DEPOSIT_DELAY_S)
    with reverts("liquidity: no later round"):
        vault.fulfil_deposits(epoch, sender=attacker)
    liquidity.new_round()
    vault.fulfil_deposits(epoch, sender=attacker)
    assert vault.convertToAssets(vault.maxMint(attacker)) <= amount
    assert vault.convertToAssets(naive) > amount + 100 * liquidity.unit


def test_leave__before_a_loss_that_one_knows__bears_it(liquidity: Liquidity) -> None:
    """A16: the house is about to lose 250; who asks out before bears his part."""
    vault, attacker = liquidity.vault, liquidity.attacker
    shares = liquidity.enter(attacker, 1_000 * liquidity.unit)
    market = Market(liquidity, 1_000, 10**6)
    market.trade(1)
    epoch = liquidity.ask_out(attacker, shares)
    naive = vault.convertToAssets(shares)
    market.move(1_250)
    paid = liquidity.fulfil_out(epoch)
    fair = 875 * liquidity.unit  # less half of the premium, which is owed
    assert fair - liquidity.unit // 100 <= paid <= fair
    assert naive > paid + 100 * liquidity.unit


manoeuvres = st.lists(
    st.tuples(
        st.sampled_from(("ask in", "fulfil in", "claim", "gift", "donate", "ask out", "pay")),
        st.one_of(st.integers(1, 20), st.integers(1, 10**6), st.integers(1, 10**14)),
    ),
    max_size=8,
)


def _manoeuvre(liquidity: Liquidity, name: str, amount: int) -> None:
    vault, attacker = liquidity.vault, liquidity.attacker
    shares = liquidity.shares(attacker)
    acts: dict[str, Callable[[], object]] = {
        "ask in": lambda: liquidity.ask_in(attacker, amount),
        "fulfil in": lambda: liquidity.fulfil_in(vault.deposit_request_id(attacker)),
        "claim": lambda: vault.deposit(vault.maxDeposit(attacker), attacker, sender=attacker),
        "gift": lambda: liquidity.house.deposit(liquidity.account, 0, amount, sender=attacker),
        "donate": lambda: liquidity.asset.transfer(vault.address, amount, sender=attacker),
        "ask out": lambda: liquidity.ask_out(attacker, min(amount, shares)),
        "pay": lambda: liquidity.fulfil_out(vault.oldest_redemption()),
    }
    try:
        acts[name]()
    except Reverted as error:
        assert error.reason in (
            "liquidity: zero amount",
            "liquidity: nothing waits",
            "liquidity: older request waits",
            "liquidity: worth no share",
        ), error


def _leave_all(liquidity: Liquidity, who: str) -> None:
    """Whatever somebody has in the vault, out."""
    vault = liquidity.vault
    request = vault.deposit_request_id(who)
    if vault.pendingDepositRequest(request, who):
        liquidity.fulfil_in(request)
    for _ in range(2):
        if vault.maxDeposit(who):
            vault.deposit(vault.maxDeposit(who), who, sender=who)
        while vault.oldest_redemption():
            liquidity.fulfil_out(vault.oldest_redemption())
        if vault.maxRedeem(who):
            vault.redeem(vault.maxRedeem(who), who, who, sender=who)
        if liquidity.shares(who):
            liquidity.ask_out(who, liquidity.shares(who))


@given(before=manoeuvres, after=manoeuvres, amount=st.integers(1, 10**12))
def test_inflate__any_manoeuvre_around_a_first_deposit__does_not_pay(
    six: Liquidity, before: list[tuple[str, int]], after: list[tuple[str, int]], amount: int
) -> None:
    """T01, I10: the attacker never gains; a victim loses at most three share units and three units
    in all, for every one of which the attacker paid a hundred thousand."""
    with six.chain.isolated():
        vault, attacker, victim = six.vault, six.attacker, six.provider
        vault.set_deposit_cap(2**95, sender=six.governor)
        start = (six.tokens(attacker), six.tokens(victim))
        for step in before:
            _manoeuvre(six, *step)
        request = six.ask_in(victim, amount)
        for step in after:
            _manoeuvre(six, *step)
        try:
            if vault.pendingDepositRequest(request, victim):
                six.fulfil_in(request)
        except Reverted as error:
            # It waits, and nothing is lost: what is worth no share is less than one share unit.
            assert error.reason == "liquidity: worth no share"
            assert vault.escrow()[0] >= amount
            assert amount * (vault.totalSupply() + VIRTUAL_SHARES) < vault.entry_assets() + 1
            return
        share = -(-(vault.totalAssets() + 1) // (vault.totalSupply() + VIRTUAL_SHARES))
        assert vault.convertToAssets(vault.maxMint(victim)) >= amount - 2 * share - 1
        for who in (victim, attacker):
            try:
                _leave_all(six, who)
            except Reverted as error:
                assert error.reason == "liquidity: worth no share"
        # What is left of the attacker's deposits waits for him, and he has it no more.
        assert six.tokens(attacker) <= start[0]
        lost = start[1] - six.tokens(victim)
        assert lost <= 3 * share + 3
        assert (lost - 6) * 10**5 <= start[0] - six.tokens(attacker)


def test_round_trip__at_unmoved_figures__never_profits(six: Liquidity) -> None:
    """C61, I10, T07: in and out while nothing changes costs the spread and never less than
    nothing, whatever the house is worth; and those who stay do not lose by it."""
    ended: list[int] = []
    thousandths = st.integers(0, 300)

    @given(
        stake=st.integers(1, 10**13),
        mine=st.integers(1, 10**13),
        result=st.integers(-500, 5_000),
        markets=st.tuples(thousandths, thousandths, thousandths),
    )
    def round_trip(stake: int, mine: int, result: int, markets: tuple[int, int, int]) -> None:
        with six.chain.isolated():
            vault, who = six.vault, six.attacker
            six.enter(six.provider, stake)
            part = six.house_cash() // 1_000
            charge, uncertainty, flagged = (each * part for each in markets)
            six.set_result(result * part)
            six.set_markets(charge, uncertainty)
            _flag(six, 9 << 8, -flagged)
            start, value = six.tokens(who), vault.convertToAssets(six.shares(six.provider))
            if mine > vault.request_room():
                return
            try:
                shares = six.enter(who, mine)
                six.leave(who, shares)
                ended.append(mine + six.tokens(who) - start)
            except Reverted as error:
                assert error.reason in ("liquidity: worth no share", "liquidity: no exit price")
            assert six.tokens(who) <= start
            assert vault.convertToAssets(six.shares(six.provider)) >= value

    round_trip()
    # Most of them get something back.
    assert sum(got > 0 for got in ended) > 100 or has_few_examples()


def test_enter__many_small_against_one_large__gets_no_more(six: Liquidity) -> None:
    """T05: splitting a deposit over controllers and epochs never gets a share unit more."""
    with six.chain.isolated():
        six.enter(six.provider, 1_000_003)
        six.set_result(777 * six.unit_wad)
        with six.chain.isolated():
            whole = six.enter(six.other_provider, 70)
        split = sum(six.enter(six.other_provider, 7) for _ in range(10))
        assert split <= whole


def test_donate__any_amount__changes_no_price_and_no_limit(liquidity: Liquidity) -> None:
    """T02: tokens sent to the vault are in no figure."""
    vault, who = liquidity.vault, liquidity.provider
    liquidity.ask_in(liquidity.other_provider, 7)
    liquidity.fulfil_out(liquidity.ask_out(who, 10**15))

    def figures() -> list[object]:
        told: list[object] = [
            vault.function(name)()
            for name in (
                "totalAssets",
                "entry_assets",
                "exit_assets",
                "request_room",
                "totalSupply",
            )
        ]
        limits = ("maxDeposit", "maxMint", "maxRedeem", "maxWithdraw")
        return [*told, tuple(vault.escrow()), *[vault.function(name)(who) for name in limits]]

    before = figures()
    liquidity.donate(10**6 * liquidity.unit)
    assert figures() == before
    vault.withdraw(vault.maxWithdraw(who), who, who, sender=who)
    assert liquidity.tokens(vault) == 10**6 * liquidity.unit + 7 + vault.escrow()[1]


def test_gift_to_an_abandoned_house__first_depositor__is_not_paid_by_it(new: Liquidity) -> None:
    """Leftovers without shares belong to the virtual ones: who comes next gets a fair price."""
    vault, who = new.vault, new.provider
    new.house.deposit(new.account, 0, 50 * new.unit, sender=new.attacker)
    assert (vault.totalSupply(), vault.totalAssets()) == (0, 50 * new.unit)
    before = new.tokens(who)
    shares = new.enter(who, 1_000 * new.unit)
    assert new.leave(who, shares) <= 1_000 * new.unit
    lost = before - new.tokens(who)
    # A share unit of a million, each worth 50 tokens over a million.
    assert lost <= 50 * new.unit // 10**6 + 2


def test_token__that_calls_back__finds_everything_locked() -> None:
    """T16, T33: whatever moves, the vault is locked, price views included; only the plain share
    token answers, and what it moves was the caller's own."""
    odd = deploy_liquidity(RevmChain(), 18, token="CallbackToken")
    vault, who = odd.vault, odd.provider
    odd.enter(who, 10**20)
    odd.fulfil_out(odd.ask_out(who, 10**20))
    redeem = vault.redeem.encode(10**6, who, who)
    waiting = odd.ask_in(who, 10**18)
    odd.pass_deposit_delay(waiting)
    for moves in (
        lambda: vault.requestDeposit(1, odd.attacker, odd.attacker, sender=odd.attacker),
        lambda: vault.redeem(10**6, who, who, sender=who),
        lambda: vault.fulfil_deposits(waiting, sender=odd.keeper),
    ):
        for payload in (
            redeem,
            vault.requestDeposit.encode(1, who, who),
            vault.fulfil_deposits.encode(waiting),
            vault.totalAssets.encode(),
            vault.convertToAssets.encode(1),
            vault.maxRedeem.encode(who),
            vault.flag_bad_debt.encode(1 << 8),
            vault.setOperator.encode(odd.attacker, True),
        ):
            with odd.chain.isolated():
                odd.asset.arm(vault.address, payload, sender=odd.attacker)
                moves()
                assert odd.asset.calls() > 0
                assert odd.asset.has_succeeded() is False
