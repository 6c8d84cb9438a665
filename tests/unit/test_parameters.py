"""Parameter files: what is read, and that every refusal names its field."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.deploy import GWEI, WAD
from ballast.parameters import (
    DIRECTORY,
    RATES,
    ParameterError,
    check_parameters,
    load_parameters,
    network_path,
    path_for_chain,
)
from tests.support.fixtures import shared_world

Change = Callable[[dict[str, Any]], Any]
SOMEBODY = "0x" + "ab" * 20
COUNCIL = {f"BALLAST_{role}": SOMEBODY for role in ("GUARDIAN", "STEWARD", "PROPOSER")}
UNLISTED = 9


def sepolia() -> dict[str, Any]:
    """The bundled file as TOML reads it."""
    return tomllib.loads(network_path("sepolia").read_text(), parse_float=Decimal)


def real_tokens(parameters: dict[str, Any]) -> None:
    parameters["network"]["tokens"]["ETH"] = {"address": SOMEBODY, "decimals": 18}


def test_load_parameters__bundled_files__are_all_sound() -> None:
    names = sorted(path.stem for path in DIRECTORY.glob("*.toml"))
    assert {"local", "mainnet", "sepolia"} <= set(names)
    for name in names:
        parameters = load_parameters(network_path(name), COUNCIL)
        assert parameters["assets"]["ETH"]["perpetual"]["min_size"] == Decimal("0.01")
        assert ("network" in parameters) == (name != "local")


def test_load_parameters__no_file_or_no_toml__is_told(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot read parameters from .*none.toml"):
        load_parameters(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("version = ")
    with pytest.raises(ParameterError, match="cannot read parameters from .*bad.toml"):
        load_parameters(tmp_path / "bad.toml")
    with pytest.raises(ParameterError, match="no parameter file atlantis.toml .*sepolia"):
        network_path("atlantis")
    assert path_for_chain(11_155_111) == network_path("sepolia")
    with pytest.raises(ParameterError, match="no bundled file is for chain 2,021"):
        path_for_chain(2_021)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p.update(version=2), "version is 2; this release reads version 1"),
        (lambda p: p.pop("version"), "version is None"),
        (lambda p: p.update(hose={}), "hose is not a parameter"),
        (lambda p: p["vault"].update(kink=1), "vault.kink is not a parameter"),
        (lambda p: p.pop("keepers"), r"\[keepers\] is missing"),
        (lambda p: p["vault"].pop("kink_bps"), "vault.kink_bps is missing"),
        (lambda p: p["vault"].update(kink_bps=0), "vault.kink_bps is 0: it is to be 1 to 9,999"),
        (lambda p: p["vault"].update(kink_bps="1"), "vault.kink_bps is '1', which is not a whole"),
        (lambda p: p["vault"].update(kink_bps=True), "vault.kink_bps is True, which is not"),
        (lambda p: p["vault"].update(kink_bps=Decimal("1.5")), "vault.kink_bps is .* not a whole"),
        (lambda p: p["vault"].update(name=""), "vault.name is to be text of 1 to 25"),
        (
            lambda p: p["vault"].update(steep_slope_bps=99_999),
            "vault.steep_slope_bps makes 100,449",
        ),
        (lambda p: p["vault"].update(deposit_cap=10**15), "vault.deposit_cap .* with 18 decimals"),
        (
            lambda p: p["keepers"].update(fee=Decimal("0.0000000001")),
            "keepers.fee is 1E-10: more than 9 digits",
        ),
        (lambda p: p["keepers"].update(fee=2), "keepers.fee is 2: it is to be 0 to 1"),
        (lambda p: p["assets"].pop("BTC"), "network.tokens.BTC is not a parameter"),
        (lambda p: p.update(assets={}), r"\[assets\] is missing"),
        (lambda p: p["assets"]["BTC"].update(id=1), "assets.BTC.id is 1, as is that of ETH"),
        (
            lambda p: p["assets"]["BTC"]["perpetual"].update(weight_bps=6_000),
            "assets.BTC.perpetual.weight_bps makes 11,000 over all markets",
        ),
        (
            lambda p: p["assets"]["ETH"].update(band_low_log2=77),
            "assets.ETH.band_low_log2 is to be below band_high_log2",
        ),
        (
            lambda p: p["assets"]["ETH"]["perpetual"].update(open_interest_cap=500_001),
            "assets.ETH.perpetual.open_interest_cap is more than half of depth",
        ),
        (
            lambda p: p["assets"]["ETH"]["perpetual"].update(skew_cap=10_001),
            "assets.ETH.perpetual.skew_cap is more than depth x floor_l_bps / 20,000",
        ),
        (
            lambda p: p["assets"]["ETH"].update(swap_limit_bps=200),
            "assets.ETH.swap_limit_bps is to be below the rate on gross, 200 bps",
        ),
        (
            lambda p: p["assets"]["ETH"].update(floor_init_bps=1_199),
            r"assets.ETH.floor_init_bps is less than 1.5 times floor_maint_bps \(I40\)",
        ),
        (
            lambda p: p["assets"]["ETH"].update(floor_init_bps=1_151, floor_maint_bps=600),
            r"assets.ETH.floor_init_bps and floor_l_bps are less than 1,352 .*\(T31\)",
        ),
        (
            lambda p: p["shares"].update(z_init_bps=1_000),
            r"shares.z_init_bps is less than 1.5 times z_maint_bps \(I40\)",
        ),
        (lambda p: p.pop("governance"), r"\[governance\] is missing"),
        (lambda p: p.pop("network"), r"\[network\] is missing"),
        (lambda p: p["network"].pop("chain_id"), "network.chain_id is missing"),
        (lambda p: p["network"]["tokens"].pop("BTC"), r"\[network.tokens.BTC\] is missing"),
        (lambda p: p["network"]["feeds"].pop("quote"), r"\[network.feeds.quote\] is missing"),
        (
            lambda p: p["network"]["tokens"]["BTC"].update(mock=False),
            "network.tokens.BTC.mock is to be true, or left out",
        ),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(mock=True, price_usd=1),
            "network.feeds.ETH.address is not a parameter",
        ),
        (real_tokens, "network.uniswap.mock needs tokens .* network.tokens.ETH is a real one"),
        (
            lambda p: p["network"]["uniswap"].update(fee_ppm=501),
            "network.uniswap.fee_ppm is no tier",
        ),
        (
            lambda p: p["governance"].update(guardian="0x12"),
            "governance.guardian is '0x12', which is not an address",
        ),
        (
            lambda p: p["governance"].update(proposers=[]),
            "governance.proposers is to be a list of 1 to 10 addresses",
        ),
        (
            lambda p: p["governance"].update(steward="${NOBODY_SET_THIS}"),
            r"governance.steward is taken from \$NOBODY_SET_THIS, which is not set",
        ),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(
                address="0x694AA1769357215DE4FAC081bf1f309aDC325305"
            ),
            "network.feeds.ETH.address is .*: its checksum is wrong",
        ),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(address="0x" + "0" * 40),
            "network.feeds.ETH.address is the zero address",
        ),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(address="deployer"),
            "network.feeds.ETH.address is 'deployer', which is not an address",
        ),
    ],
)
def test_check_parameters__something_wrong__is_told_by_file_and_field(
    change: Change, told: str
) -> None:
    parameters = sepolia()
    if "18 decimals" in told:
        parameters["network"]["tokens"]["quote"]["decimals"] = 18
    check_parameters(parameters)
    change(parameters)
    with pytest.raises(ParameterError, match=f"^sepolia.toml: ({told})"):
        check_parameters(parameters, "sepolia.toml")


def test_check_parameters__one_token_twice__is_told() -> None:
    parameters = sepolia()
    parameters["network"].pop("uniswap")
    for name in ("ETH", "quote"):
        parameters["network"]["tokens"][name] = {"address": SOMEBODY, "decimals": 18}
    with pytest.raises(ParameterError, match="network.tokens.ETH.address is that of quote, too"):
        check_parameters(parameters)


def test_check_parameters__variables__are_filled_in_from_the_environment() -> None:
    parameters = sepolia()
    assert check_parameters(parameters)["governance"]["guardian"] == "deployer"
    checked = check_parameters(parameters, environment={"BALLAST_GUARDIAN": SOMEBODY})
    assert checked["governance"]["guardian"].lower() == SOMEBODY
    assert checked["governance"]["steward"] == "deployer"
    with pytest.raises(ParameterError, match=r"mainnet.toml: governance.guardian .*\$BALLAST_GUA"):
        load_parameters(network_path("mainnet"), {})


def test_check_parameters__result__leaves_what_was_given_alone() -> None:
    parameters = sepolia()
    before = deepcopy(parameters)
    check_parameters(parameters, environment=COUNCIL)
    assert parameters == before


rates = st.fixed_dictionaries(
    {
        "z_init_bps": st.sampled_from([0, 2_999, 3_000]),
        "floor_init_bps": st.one_of(st.integers(1_140, 1_260), st.just(1_500)),
        "cap_init_bps": st.sampled_from([1_200, 5_999, 6_000, 8_000, 9_400, 9_401]),
        "z_maint_bps": st.sampled_from([1_999, 2_000, 2_001]),
        "floor_maint_bps": st.sampled_from([500, 766, 767, 800, 801]),
        "cap_maint_bps": st.sampled_from([700, 3_999, 4_000, 4_001]),
        "z_l_bps": st.just(250),
        "floor_l_bps": st.integers(100, 202),
        "cap_l_bps": st.sampled_from([150, 199, 600]),
    }
)


@given(changed=rates)
def test_check_parameters__any_rates__are_refused_just_where_the_oracle_refuses(
    changed: dict[str, int],
) -> None:
    """T31, I40: the file is refused before anything is paid for, and no sound one is."""
    world = shared_world()
    parameters = load_parameters()
    terms = parameters["assets"]["ETH"]
    del terms["perpetual"]
    terms.update(changed, swap_limit_bps=0)
    arguments = (
        *(UNLISTED, world.feeds["ETH"], terms["heartbeat_s"]),
        *(terms["band_low_log2"], terms["band_high_log2"], 2_000 * WAD, terms["prior_sigma_e6"]),
        (*(terms[field] for field in RATES), terms["quota"] * GWEI),
    )
    with world.isolated():
        try:
            world.system.oracle.list_asset(*arguments, sender=world.governor)
            is_taken = True
        except Reverted as error:
            assert error.reason in ("oracle: bad parameters", "oracle: jump not covered")
            is_taken = False
    try:
        check_parameters(parameters)
        is_sound = True
    except ParameterError:
        is_sound = False
    assert is_sound == is_taken
