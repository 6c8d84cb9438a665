"""A chain to fork where there is no network: what Ballast needs of mainnet, with a past.

Uniswap V3, Chainlink's aggregators and proxies and WETH9 are the published bytecode; the dollar and
the bitcoin are mock tokens. Their past is the calm opening of the synthetic crash: oracles publish,
people trade, an arbitrageur follows, and on the way one feed gets a new aggregator, so that its
round ids are of two phases.
"""

from __future__ import annotations

import random

from ballast.chain import Chain, named_address
from ballast.forks.addresses import Addresses
from ballast.forks.chainlink import deploy_feed, deploy_link, replace_aggregator
from ballast.prices import ANSWER_SCALE, HOUR_S, synthetic_crash
from ballast.venue import FEE_PPM, Arbitrageur, deploy_venue, deploy_weth

CHAIN_ID = 1  # what it stands in for
QUOTE = "USD"
DECIMALS = {QUOTE: 6, "ETH": 18, "BTC": 8}
UPGRADED = "ETH"  # whose feed has two phases
HOURS = 12  # of the past
_SETUP_S = HOUR_S // 2
_SEED = 1
_LARGEST_TRADE = 100_000  # whole quote tokens


def build_upstream(chain: Chain, *, hours: int = HOURS) -> Addresses:
    """Deploy everything and let ``hours`` pass. Returns where things are."""
    owner = named_address("upstream owner")
    series = synthetic_crash()
    past = series.between(None, series.start_s + hours * HOUR_S)
    opening = past.opening()
    quote = chain.deploy("MockToken", "Dollar", QUOTE, DECIMALS[QUOTE], sender=owner)
    weth = deploy_weth(chain, owner)
    bitcoin = chain.deploy("MockToken", "Wrapped BTC", "WBTC", DECIMALS["BTC"], sender=owner)
    tokens = {"ETH": weth, "BTC": bitcoin}
    venue = deploy_venue(chain, weth, quote, tokens, opening, sender=owner)
    link = deploy_link(chain, owner)
    feeds = {name: deploy_feed(link, name, sender=owner) for name in DECIMALS}
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
    return Addresses(
        chain_id=CHAIN_ID,
        quote=QUOTE,
        router=venue.router.address,
        tokens={QUOTE: quote.address} | {name: token.address for name, token in tokens.items()},
        feeds={name: feed.proxy.address for name, feed in feeds.items()},
        fees_ppm=dict.fromkeys(tokens, FEE_PPM),
    )
