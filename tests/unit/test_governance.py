"""Governance: who owns what after the handover, and what timelock, guardian and steward may do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ballast.artifacts import ROOT
from ballast.chain import Reverted
from ballast.governance import DAY_S, NO_ADMIN, owned
from ballast.sandbox import VaultSpec
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.governance_kit import (
    DELAY_S,
    NOT_EITHER,
    NOT_GUARDIAN,
    NOT_OWNER,
    NOT_STEWARD,
    PAUSE_S,
    TOO_LARGE,
    TOO_SOON,
    Council,
    govern_world,
)
from tests.support.world import ZERO_ADDRESS, AssetSpec, build_world

ETH, BTC = 1, 2
STEP_S = 256  # in which the oracle counts pauses
NO_INCREASE = 2
NOTICE_S = 3 * DAY_S
SUPPLY_CAP, OPEN_INTEREST_CAP, SKEW_CAP, DEPOSIT_CAP, RATE, FEE = range(1, 7)


def _supply_cap(council: Council, asset: int = ETH) -> int:
    return int(council.world.clearinghouse.supply_word(asset)) >> 128


def _caps(council: Council, asset: int = ETH) -> tuple[int, int, int]:
    terms = council.world.system.perps.terms_of(asset)
    return terms.open_interest_cap_gwei, terms.skew_cap_gwei, terms.round_cap_gwei


def _parameters(council: Council, asset: int = ETH) -> list[int]:
    return list(council.world.system.oracle.parameters(asset)[1])


# ---- the handover


def test_govern__every_room__belongs_to_governance_and_that_to_the_timelock(
    council: Council,
) -> None:
    rooms = owned(council.world.system)
    assert len(rooms) == 9
    for room in rooms:
        assert room.owner() == council.governance.address, room.name
        assert room.pending_owner() == ZERO_ADDRESS
    assert council.governance.owner() == council.timelock.address
    assert council.governance.pending_owner() == ZERO_ADDRESS


def test_govern__deployer__is_left_with_no_right(council: Council) -> None:
    """I37"""
    timelock, deployer = council.timelock, council.world.governor
    roles = (
        NO_ADMIN,
        timelock.PROPOSER_ROLE(),
        timelock.EXECUTOR_ROLE(),
        timelock.CANCELLER_ROLE(),
    )
    for role in roles:
        assert not timelock.hasRole(role, deployer)
        with reverts("access_control: account is missing role"):
            timelock.grantRole(role, deployer, sender=deployer)
    for room in [*owned(council.world.system), council.governance]:
        with reverts(NOT_OWNER):
            room.transfer_ownership(deployer, sender=deployer)


def test_govern__roles_of_the_timelock__as_named(council: Council) -> None:
    timelock = council.timelock
    proposer, executor, canceller = (
        timelock.PROPOSER_ROLE(),
        timelock.EXECUTOR_ROLE(),
        timelock.CANCELLER_ROLE(),
    )
    assert timelock.hasRole(proposer, council.proposer)
    assert timelock.hasRole(canceller, council.proposer)
    assert timelock.hasRole(canceller, council.guardian)
    assert timelock.hasRole(executor, ZERO_ADDRESS)
    assert timelock.hasRole(NO_ADMIN, timelock.address)
    assert not timelock.hasRole(proposer, council.guardian)
    assert not timelock.hasRole(proposer, council.steward)
    assert int(timelock.get_minimum_delay()) == DELAY_S


def test_accept__nothing_offered__reverts(council: Council) -> None:
    with reverts("ownable_2step: caller is not the new owner"):
        council.governance.accept(council.world.system.oracle, sender=council.world.stranger)
    with reverts("governance: not itself"):
        council.governance.accept(council.governance, sender=council.world.stranger)


def test_accept__offered__anyone_takes_it(council: Council) -> None:
    world = council.world
    adapter = world.chain.deploy(
        "ERC4626Adapter", world.system.exchange, world.governor, sender=world.governor
    )
    adapter.transfer_ownership(council.governance, sender=world.governor)
    council.governance.accept(adapter, sender=world.stranger)
    assert adapter.owner() == council.governance.address
    council.decide(adapter, "set_vault", world.system.vault, True)
    assert world.system.vault.address != ZERO_ADDRESS


# ---- the timelock


def test_execute__a_rooms_setter__is_carried_out(council: Council) -> None:
    council.decide(council.world.system.vault, "set_reserve_factor", 77)
    assert council.world.system.vault.reserve_factor_bps() == 77


def test_execute__a_room_refuses__its_reason_comes_up(council: Council) -> None:
    with reverts("vault: reserve factor too high"):
        council.decide(council.world.system.vault, "set_reserve_factor", 10_001)


def test_execute__bad_targets__revert(council: Council) -> None:
    """No money moves: a token is never called, whosever it is."""
    world = council.world
    for target in (world.stranger, world.quote, world.tokens["ETH"]):
        payload = world.quote.function("transfer").encode(world.stranger, 0)
        with reverts("governance: bad target"):
            council.decide(council.governance, "execute", target, payload)
    with reverts("governance: not itself"):
        council.decide(
            council.governance,
            *("execute", council.governance, council.governance.accept.encode(world.stranger)),
        )


def test_execute__lending_vault_whose_shares_are_listed__is_still_a_room() -> None:
    world = build_world(
        {"ETH": AssetSpec(18, 2_000)},
        lent=10**6,
        vaults={"blUSD": VaultSpec(is_lending_vault=True)},
    )
    council = govern_world(world, [world.share_adapter] if world.share_adapter else [])
    assert world.system.listings.asset_of(world.system.vault) == 100
    council.decide(world.system.vault, "set_reserve_factor", 77)
    assert world.system.vault.reserve_factor_bps() == 77
    assert world.share_adapter is not None
    assert world.share_adapter.owner() == council.governance.address


def test_execute__rates_below_what_carries_a_skew_cap__reverts(council: Council) -> None:
    """I40: the premium stays below half of the least rate on gross, whichever of both moves."""
    world = council.world
    lower = _parameters(council)
    lower[7] -= 1
    with reverts("governance: skew cap too high"):
        council.decide(world.system.oracle, "set_parameters", ETH, tuple(lower))
    perps, oracle = world.system.perps, world.system.oracle
    terms = perps.terms_of(ETH)
    most_gwei = terms.depth_gwei * lower[7] // 20_000
    council.decide(perps, "set_terms", ETH, tuple(terms._replace(skew_cap_gwei=most_gwei + 1)))
    with reverts("governance: skew cap too high"):
        council.decide(oracle, "set_parameters", ETH, tuple(lower), salt=1)
    council.decide(perps, "set_terms", ETH, tuple(terms._replace(skew_cap_gwei=most_gwei)))
    council.decide(oracle, "set_parameters", ETH, tuple(lower), salt=2)
    assert _parameters(council) == lower


def test_execute__calls_of_the_oracle_that_replace_no_feed__need_no_day_between(
    council: Council,
) -> None:
    oracle, same = council.world.system.oracle, tuple(_parameters(council))
    feed, _, *terms = oracle.feed_of(ETH)
    council.decide(oracle, "set_feed", ETH, feed, *terms, 0)
    decisions = [council.decision(oracle, "set_parameters", ETH, same, salt=n) for n in (1, 2)]
    for decision in decisions:
        decision.schedule(council.timelock, sender=council.proposer)
    council.wait(DELAY_S)
    for decision in decisions:
        decision.execute(council.timelock, sender=council.world.keeper)
    assert tuple(_parameters(council)) == same


def test_owner_entries__anyone_else__revert(council: Council) -> None:
    governance = council.governance
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("execute", (council.world.system.vault, b"")),
        ("set_guardian", (ZERO_ADDRESS,)),
        ("set_steward", (ZERO_ADDRESS,)),
        ("lift_pause", ([ETH],)),
        ("transfer_ownership", (ZERO_ADDRESS,)),
    ]
    for name, arguments in calls:
        for sender in (council.guardian, council.steward, council.proposer, council.world.governor):
            with reverts(NOT_OWNER):
                governance.function(name)(*arguments, sender=sender)


@pytest.mark.parametrize("role", ["guardian", "steward"])
def test_set_role__by_the_timelock__moves_it(council: Council, role: str) -> None:
    governance, new = council.governance, council.world.stranger
    old = getattr(council, role)
    receipt = council.decide(governance, f"set_{role}", new)
    assert tuple(args_of(governance, receipt, f"{role.capitalize()}Changed")) == (old, new)
    assert governance.function(role)() == new
    if role == "guardian":
        governance.pause([ETH], sender=new)
        with reverts(NOT_GUARDIAN):
            governance.pause([BTC], sender=old)
    else:
        fee = int(council.world.keepers.fee())
        governance.set_fee(fee, sender=new)
        with reverts(NOT_STEWARD):
            governance.set_fee(fee, sender=old)


# ---- pauses


def test_pause__guardian__three_days_and_no_more(council: Council) -> None:
    """T67, I39"""
    oracle, now = council.world.system.oracle, council.world.chain.time
    council.governance.pause([ETH, BTC], sender=council.guardian)
    sent_at = council.world.chain.time
    assert sent_at - now <= 12
    for asset in (ETH, BTC):
        until = oracle.paused_until(asset)
        assert sent_at + PAUSE_S - STEP_S < until <= sent_at + PAUSE_S
        assert oracle.marks([asset])[0] >> 192 & 255 == NO_INCREASE
    council.wait(PAUSE_S)
    for asset in (ETH, BTC):
        assert oracle.marks([asset])[0] >> 192 & 255 == 0


def test_pause__renewed__not_until_a_day_after_its_end(council: Council) -> None:
    """T67"""
    governance, chain = council.governance, council.world.chain
    governance.pause([ETH], sender=council.guardian)
    first_at = chain.time
    again_at = first_at + PAUSE_S + DAY_S
    assert governance.next_pause_at(ETH) == again_at
    for at in (first_at + 60, first_at + PAUSE_S, again_at - 24):
        chain.set_time(at)
        with reverts("governance: paused too recently"):
            governance.pause([ETH], sender=council.guardian)
    chain.set_time(again_at)
    governance.pause([ETH], sender=council.guardian)
    with reverts("governance: paused too recently"):
        governance.pause([BTC, BTC], sender=council.guardian)


def test_lift_pause__by_the_timelock__ends_it_and_a_day_stays_free(council: Council) -> None:
    governance, oracle = council.governance, council.world.system.oracle
    lift = council.decision(governance, "lift_pause", [ETH, BTC])
    lift.schedule(council.timelock, sender=council.proposer)
    council.wait(DELAY_S)
    governance.pause([ETH], sender=council.guardian)
    lift.execute(council.timelock, sender=council.world.keeper)
    lifted_at = council.world.chain.time
    assert oracle.paused_until(ETH) == 0
    assert governance.next_pause_at(ETH) == lifted_at + DAY_S
    assert governance.next_pause_at(BTC) == 0  # it was not paused
    with reverts("governance: paused too recently"):
        governance.pause([ETH], sender=council.guardian)


def test_pause__timelock_paused_for_longer__is_not_cut_short(council: Council) -> None:
    world = council.world
    until = (world.chain.time + 20 * DAY_S) // STEP_S * STEP_S
    council.decide(world.system.oracle, "set_pause", ETH, until)
    with reverts("governance: already paused"):
        council.governance.pause([ETH], sender=council.guardian)
    assert world.system.oracle.paused_until(ETH) == until


def test_pause__not_the_guardian__reverts(council: Council) -> None:
    for sender in (council.steward, council.proposer, council.world.governor):
        with reverts(NOT_GUARDIAN):
            council.governance.pause([ETH], sender=sender)


# ---- what the guardian takes away


def test_close_market__guardian__increases_stop(council: Council) -> None:
    perps = council.world.system.perps
    council.governance.close_market(ETH, sender=council.guardian)
    assert perps.is_increase_stopped(ETH) and not perps.is_increase_stopped(BTC)
    with reverts(NOT_GUARDIAN):
        council.governance.close_market(BTC, sender=council.steward)


def test_forbid_adapter__guardian__no_more_swaps_through_it(council: Council) -> None:
    world = council.world
    assert world.system.exchange.is_adapter(world.venue)
    with reverts(NOT_GUARDIAN):
        council.governance.forbid_adapter(world.venue, sender=council.steward)
    council.governance.forbid_adapter(world.venue, sender=council.guardian)
    assert not world.system.exchange.is_adapter(world.venue)
    with reverts("governance: not allowed anyway"):
        council.governance.forbid_adapter(world.venue, sender=council.guardian)


def test_forbid_pull_feed__guardian__no_more_pushes(council: Council) -> None:
    world, feed = council.world, council.world.feeds["ETH"]
    with reverts("governance: not allowed anyway"):
        council.governance.forbid_pull_feed(feed, sender=council.guardian)
    council.decide(world.keepers, "set_pull_feed", feed, True)
    with reverts(NOT_GUARDIAN):
        council.governance.forbid_pull_feed(feed, sender=council.steward)
    council.governance.forbid_pull_feed(feed, sender=council.guardian)
    assert not world.keepers.is_pull_feed(feed)


# ---- caps


def test_set_supply_cap__down__guardian_or_steward_at_once(council: Council) -> None:
    cap, word = _supply_cap(council), council.world.clearinghouse.asset_word(ETH)
    council.governance.set_supply_cap(ETH, cap - 1, sender=council.guardian)
    council.governance.set_supply_cap(ETH, 0, sender=council.steward)
    assert _supply_cap(council) == 0
    assert council.world.clearinghouse.asset_word(ETH) == word  # the swap limit stays
    with reverts(NOT_EITHER):
        council.governance.set_supply_cap(BTC, 0, sender=council.proposer)


def test_set_supply_cap__not_lower__no_guardian_may(council: Council) -> None:
    """I39"""
    cap = _supply_cap(council)
    for new in (cap, cap + 1, 2**119):
        with reverts(NOT_STEWARD):
            council.governance.set_supply_cap(ETH, new, sender=council.guardian)
    assert _supply_cap(council) == cap


def test_set_supply_cap__up__a_tenth_a_day_of_each_asset(council: Council) -> None:
    governance, cap, other = council.governance, _supply_cap(council), _supply_cap(council, BTC)
    with reverts(TOO_LARGE):
        governance.set_supply_cap(ETH, cap + cap // 10 + 1, sender=council.steward)
    governance.set_supply_cap(ETH, cap + cap // 10, sender=council.steward)
    stepped_at = council.world.chain.time
    assert _supply_cap(council) == cap + cap // 10
    assert governance.next_step_at(SUPPLY_CAP, ETH) == stepped_at + DAY_S
    with reverts(TOO_SOON):
        governance.set_supply_cap(ETH, cap + cap // 10 + 1, sender=council.steward)
    governance.set_supply_cap(BTC, other + other // 10, sender=council.steward)
    council.world.chain.set_time(stepped_at + DAY_S - 13)
    with reverts(TOO_SOON):
        governance.set_supply_cap(ETH, cap + cap // 10 + 1, sender=council.steward)
    council.world.chain.set_time(stepped_at + DAY_S)
    governance.set_supply_cap(ETH, cap + cap // 10 + 1, sender=council.steward)


def test_set_supply_cap__down_and_up_again__counts_from_what_it_is_now(council: Council) -> None:
    """A steward who lowered a cap does not get it back at once."""
    governance, cap = council.governance, _supply_cap(council)
    governance.set_supply_cap(ETH, cap // 2, sender=council.steward)
    with reverts(TOO_LARGE):
        governance.set_supply_cap(ETH, cap, sender=council.steward)


def test_set_supply_cap__unknown_asset__reverts(council: Council) -> None:
    with reverts("listings: unknown asset"):
        council.governance.set_supply_cap(9, 0, sender=council.steward)


def test_set_market_caps__down__guardian_or_steward_at_once(council: Council) -> None:
    governance, (interest, skew, round_cap) = council.governance, _caps(council)
    rest = council.world.system.perps.terms_of(ETH)
    governance.set_market_caps(ETH, interest - 1, skew, round_cap, sender=council.guardian)
    governance.set_market_caps(ETH, 0, skew // 2, 0, sender=council.steward)
    assert _caps(council) == (0, skew // 2, 0)
    assert council.world.system.perps.terms_of(ETH) == rest._replace(
        open_interest_cap_gwei=0, skew_cap_gwei=skew // 2, round_cap_gwei=0
    )
    with reverts(NOT_EITHER):
        governance.set_market_caps(BTC, 0, skew, round_cap, sender=council.proposer)


def test_set_market_caps__anything_up__no_guardian_may(council: Council) -> None:
    """I39"""
    governance, (interest, skew, round_cap) = council.governance, _caps(council)
    with reverts(NOT_STEWARD):
        governance.set_market_caps(ETH, interest + 1, skew, 0, sender=council.guardian)
    for more in ((interest, skew + 1, 0), (0, skew, round_cap + 1), (interest, skew, round_cap)):
        with reverts("governance: not lower"):
            governance.set_market_caps(ETH, *more, sender=council.guardian)


def test_set_market_caps__skew_cap__by_half_a_day_at_most(council: Council) -> None:
    """Funding doubles where the cap is halved: those who are in already are to have a day."""
    governance, (interest, skew, round_cap) = council.governance, _caps(council)
    with reverts(TOO_LARGE):
        governance.set_market_caps(ETH, interest, skew // 2 - 1, round_cap, sender=council.guardian)
    governance.set_market_caps(ETH, interest, skew // 2, round_cap, sender=council.guardian)
    assert governance.next_step_at(SKEW_CAP, ETH) == council.world.chain.time + DAY_S
    with reverts(TOO_SOON):
        governance.set_market_caps(ETH, interest, skew // 2 - 1, round_cap, sender=council.guardian)
    council.world.chain.advance(DAY_S)
    governance.set_market_caps(ETH, interest, skew // 4, round_cap, sender=council.guardian)


def test_set_market_caps__open_interest_up__a_tenth_a_day(council: Council) -> None:
    governance, (interest, skew, round_cap) = council.governance, _caps(council)
    more = interest + interest // 10
    with reverts(TOO_LARGE):
        governance.set_market_caps(ETH, more + 1, skew, round_cap, sender=council.steward)
    governance.set_market_caps(ETH, more, skew, round_cap, sender=council.steward)
    assert _caps(council) == (more, skew, round_cap)
    assert governance.next_step_at(OPEN_INTEREST_CAP, ETH) == council.world.chain.time + DAY_S
    with reverts(TOO_SOON):
        governance.set_market_caps(ETH, more + 1, skew, round_cap, sender=council.steward)


def test_set_market_caps__unknown_market__reverts(council: Council) -> None:
    with reverts("governance: not lower"):
        council.governance.set_market_caps(9, 0, 0, 0, sender=council.guardian)


@pytest.mark.parametrize("name", ["vault", "liquidity_vault"])
def test_set_deposit_cap__down_at_once_up_by_steps__of_each_vault(
    council: Council, name: str
) -> None:
    """I39"""
    governance, vault = council.governance, getattr(council.world.system, name)
    cap = int(vault.deposit_cap())
    with reverts(NOT_STEWARD):
        governance.set_deposit_cap(vault, cap, sender=council.guardian)
    with reverts(TOO_LARGE):
        governance.set_deposit_cap(vault, cap + cap // 10 + 1, sender=council.steward)
    governance.set_deposit_cap(vault, cap + cap // 10, sender=council.steward)
    assert governance.next_step_at(DEPOSIT_CAP, int(vault.address, 16)) > council.world.chain.time
    with reverts(TOO_SOON):
        governance.set_deposit_cap(vault, cap + cap // 10 + 1, sender=council.steward)
    with reverts(NOT_EITHER):
        governance.set_deposit_cap(vault, 0, sender=council.proposer)
    governance.set_deposit_cap(vault, 0, sender=council.guardian)
    assert vault.deposit_cap() == 0


def test_set_deposit_cap__not_a_vault__reverts(council: Council) -> None:
    with reverts("governance: not a vault"):
        council.governance.set_deposit_cap(council.world.system.oracle, 0, sender=council.guardian)


# ---- the steward's steps


def test_set_rate__each_number_by_a_tenth__either_way_once_a_day(council: Council) -> None:
    governance, vault = council.governance, council.world.system.vault
    old = tuple(vault.rate_parameters())
    up = tuple(value + value // 10 for value in old)
    for index, value in enumerate(up):
        for wrong in (value + 1, old[index] - old[index] // 10 - 1):
            if wrong >= 0:
                with reverts(TOO_LARGE):
                    governance.set_rate(
                        (*old[:index], wrong, *old[index + 1 :]), sender=council.steward
                    )
    governance.set_rate(up, sender=council.steward)
    assert tuple(vault.rate_parameters()) == up
    assert governance.next_step_at(RATE, 0) == council.world.chain.time + DAY_S
    with reverts(TOO_SOON):
        governance.set_rate(up, sender=council.steward)
    council.world.chain.advance(DAY_S)
    governance.set_rate(tuple(value - value // 10 for value in up), sender=council.steward)
    with reverts(NOT_STEWARD):
        governance.set_rate(up, sender=council.guardian)


def test_set_fee__by_a_tenth__either_way_once_a_day(council: Council) -> None:
    governance, keepers = council.governance, council.world.keepers
    fee = int(keepers.fee())
    for wrong in (fee + fee // 10 + 1, fee - fee // 10 - 1, 0):
        with reverts(TOO_LARGE):
            governance.set_fee(wrong, sender=council.steward)
    governance.set_fee(fee - fee // 10, sender=council.steward)
    assert keepers.fee() == fee - fee // 10
    assert governance.next_step_at(FEE, 0) == council.world.chain.time + DAY_S
    with reverts(TOO_SOON):
        governance.set_fee(fee - fee // 10, sender=council.steward)
    with reverts(NOT_STEWARD):
        governance.set_fee(fee, sender=council.guardian)


def test_raise_margin__each_field__up_by_a_fifth_at_most(council: Council) -> None:
    """T67: and no field may lower a requirement; fewer units that count are a higher one."""
    governance, old = council.governance, _parameters(council)
    for index, value in enumerate(old):
        is_quota = index == len(old) - 1
        most = value - value // 5 if is_quota else value + value // 5
        beyond, lower = (most - 1, value + 1) if is_quota else (most + 1, value - 1)
        for wrong in (beyond, lower):
            with reverts(TOO_LARGE):
                governance.raise_margin(
                    ETH, (*old[:index], wrong, *old[index + 1 :]), sender=council.steward
                )
    top = [*(value + value // 5 for value in old[:-1]), old[-1] - old[-1] // 5]
    top[2], top[8] = old[2], old[8]  # the caps of both together end at the whole value
    governance.raise_margin(ETH, tuple(top), sender=council.steward)
    in_force, final, at = council.world.system.oracle.parameters(ETH)
    assert list(in_force) == old and list(final) == top
    assert at == council.world.chain.time + NOTICE_S


def test_raise_margin__change_under_way__waits_for_its_end(council: Council) -> None:
    governance, old = council.governance, _parameters(council)
    more = (*old[:2], old[2] + 1, *old[3:])
    governance.raise_margin(ETH, more, sender=council.steward)
    ends_at = council.world.chain.time + NOTICE_S
    council.world.chain.set_time(ends_at - 13)
    with reverts("governance: change under way"):
        governance.raise_margin(ETH, more, sender=council.steward)
    council.world.chain.set_time(ends_at)
    council.world.refresh()
    governance.raise_margin(ETH, more, sender=council.steward)


def test_raise_margin__against_the_oracles_rules__reverts(council: Council) -> None:
    """I40: both caps together beyond the value itself."""
    top = _parameters(council)
    top[2] += top[2] // 5
    top[8] += top[8] // 5
    with reverts("oracle: bad parameters"):
        council.governance.raise_margin(ETH, tuple(top), sender=council.steward)


def test_raise_margin__not_the_steward__reverts(council: Council) -> None:
    parameters = tuple(_parameters(council))
    for sender in (council.guardian, council.proposer, council.world.governor):
        with reverts(NOT_STEWARD):
            council.governance.raise_margin(ETH, parameters, sender=sender)


def test_set_steward__another__raises_margins_and_the_old_one_no_more(council: Council) -> None:
    new = council.world.keeper
    receipt = council.decide(council.governance, "set_steward", new)
    told = args_of(council.governance, receipt, "StewardChanged")
    assert (told.old, told.new) == (council.steward, new)
    parameters = _parameters(council)
    parameters[0] += parameters[0] // 100
    with reverts(NOT_STEWARD):
        council.governance.raise_margin(ETH, tuple(parameters), sender=council.steward)
    council.governance.raise_margin(ETH, tuple(parameters), sender=new)


def test_governance__roles_unset__nobody_acts(council: Council) -> None:
    council.decide(council.governance, "set_guardian", ZERO_ADDRESS)
    council.decide(council.governance, "set_steward", ZERO_ADDRESS)
    for sender in council.world.chain.accounts:
        for name, arguments in (("pause", ([ETH],)), ("set_fee", (0,))):
            with pytest.raises(Reverted):
                council.governance.function(name)(*arguments, sender=sender)


def test_operating_page__programs__stop_all_that_grows(council: Council) -> None:
    """Those of docs/operating.md, by the guardian and by anybody."""
    world, system = council.world, council.world.system
    session = {
        "system": system,
        "me": world.keeper,
        "governance": council.governance,
        "guardian": council.guardian,
    }
    page = (ROOT / "docs" / "operating.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(program, session)  # noqa: S102
    assert system.vault.deposit_cap() == system.liquidity_vault.deposit_cap() == 0
    for asset in system.assets.values():
        assert system.oracle.paused_until(asset) > world.chain.time
        assert system.clearinghouse.supply_word(asset) >> 128 == 0
    for asset in system.perps.market_ids():
        assert system.perps.is_increase_stopped(asset)
