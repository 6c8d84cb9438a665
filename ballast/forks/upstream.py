"""A chain to fork where there is no network: what Ballast needs of mainnet, with a past.

Uniswap V3, Chainlink's aggregators and proxies and WETH9 are the published bytecode; the dollar and
the bitcoin are mock tokens. Their past is the calm opening of the synthetic crash: oracles publish,
people trade, an arbitrageur follows, and on the way one feed gets a new aggregator, so that its
round ids are of two phases.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ballast.chain import Chain, named_address
from ballast.forks.chainlink import deploy_feed, deploy_link, replace_aggregator
from ballast.parameters import QUOTE, check_parameters, load_parameters, network_path
from ballast.prices import ANSWER_SCALE, HOUR_S, synthetic_crash
from ballast.venue import Arbitrageur, deploy_venue, deploy_weth

UPGRADED = "ETH"  # whose feed has two phases
HOURS = 12  # of the past
# Nobody governs a fork: whom the file takes from the environment is played.
_PLAYED = {
    f"BALLAST_{role.upper()}": named_address(role) for role in ("guardian", "steward", "proposer")
}
_SETUP_S = HOUR_S // 2
_SEED = 1
_LARGEST_TRADE = 100_000  # whole quote tokens


def fork_parameters(path: Path | None = None) -> dict[str, Any]:
    """Parameters of a network that is to be forked, mainnet's by default. Raises ParameterError."""
    return load_parameters(path or network_path("mainnet"), _PLAYED)


def parameters_of(text: str) -> dict[str, Any]:
    """The same from the text that :func:`build_upstream` returns. Raises ParameterError."""
    parameters = tomllib.loads(text, parse_float=Decimal)
    return check_parameters(parameters, "upstream", _PLAYED)


def build_upstream(chain: Chain, *, hours: int = HOURS) -> str:
    """Deploy everything and let ``hours`` pass.

    Returns a parameter file: that of mainnet, with the addresses of this chain in it.
    """
    owner = named_address("upstream owner")
    network = fork_parameters()["network"]
    decimals = {name: token["decimals"] for name, token in network["tokens"].items()}
    series = synthetic_crash()
    past = series.between(None, series.start_s + hours * HOUR_S)
    opening = past.opening()

    def mint(name: str, symbol: str) -> Any:
        return chain.deploy("MockToken", symbol, symbol, decimals[name], sender=owner)

    weth = deploy_weth(chain, owner)
    tokens = {QUOTE: mint(QUOTE, "USD"), "ETH": weth, "BTC": mint("BTC", "WBTC")}
    venue = deploy_venue(
        chain,
        weth,
        tokens[QUOTE],
        {name: tokens[name] for name in opening},
        opening,
        sender=owner,
        fee_ppm=network["uniswap"]["fee_ppm"],
    )
    link = deploy_link(chain, owner)
    feeds = {name: deploy_feed(link, name, sender=owner) for name in tokens}
    for name, feed in feeds.items():
        feed.publish(opening.get(name, ANSWER_SCALE))

    people = Arbitrageur(venue, named_address("upstream trader"))
    chance = random.Random(_SEED)
    starts_at_s = chain.time + _SETUP_S
    upgrade_at_s = series.start_s + hours * HOUR_S // 2
    for r in past.rounds[len(opening) :]:
        chain.set_time(max(chain.time, starts_at_s + r.time_s - series.start_s))
        if r.time_s >= upgrade_at_s and feeds[UPGRADED].proxy.phaseId() == 1:
            replace_aggregator(feeds[UPGRADED], link, UPGRADED, sender=owner)
        value = chance.randrange(1, _LARGEST_TRADE)
        people.trade(r.asset, value, is_buying=chance.random() < 0.5)
        feeds[r.asset].publish(r.answer)
        people.align(r.asset, r.answer)
    places = {network["tokens"][name]["address"]: t.address for name, t in tokens.items()}
    places |= {network["feeds"][name]["address"]: f.proxy.address for name, f in feeds.items()}
    places[network["uniswap"]["factory"]] = venue.factory.address
    places[network["uniswap"]["router"]] = venue.router.address
    return _moved(network_path("mainnet").read_text(), places)


def _moved(text: str, places: Mapping[str, str]) -> str:
    """A file with other addresses, and with a first line that says so."""
    for there, here in places.items():
        text = text.replace(there, here)
    return "# A local chain that stands in for Ethereum; written by `make fork`.\n" + text
