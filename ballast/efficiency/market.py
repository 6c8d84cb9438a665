"""A market without a chain: price rounds, and the margin rates that the oracle makes of them.

The exact model of the oracle sees the same rounds in the same blocks as the contract does in
:mod:`ballast.replay`: a round stands in the first block at or after its time, and is taken into the
rates by a poke in the block after it, or in its own if the keeper has no delay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal, NamedTuple

import numpy as np

from ballast.chain import BLOCK_INTERVAL_S
from ballast.deploy import GWEI, load_parameters
from ballast.model.margin import RATE, WAD, Mark
from ballast.model.oracle import FeedModel, OracleModel, Parameters, RawRound
from ballast.model.vectorised import Rates
from ballast.prices import ANSWER_DECIMALS, PriceSeries
from ballast.replay.player import slots
from ballast.replay.world import SETUP_S

Array = Any  # numpy.ndarray of float64
Marks = Mapping[int, Mark]  # by asset id
_RATES = [f.name for f in fields(Parameters) if f.name != "quota_gwei"]


class Moment(NamedTuple):
    """A block: what a transaction at its head meets, the poke done, and what holds at its end."""

    time_s: int
    acting: Marks
    ending: Marks

    @property
    def is_quiet(self) -> bool:
        """Whether no round came."""
        return self.acting is self.ending


def asset_ids(series: PriceSeries) -> dict[str, int]:
    """The ids that the bundled parameters give the assets of a series."""
    sections = load_parameters()["assets"]
    return {name: int(sections[name]["id"]) for name in series.assets}


def market(series: PriceSeries, delay_blocks: Literal[0, 1] = 1) -> Iterator[Moment]:
    """Every block in which a round or a poke changes something, in order.

    The newest block before the one asked for stays in force: what comes between is quiet.
    """
    ids, sections = asset_ids(series), load_parameters()["assets"]
    listed_s = series.start_s - SETUP_S
    feeds = {name: _feed(sections[name]) for name in ids}
    numbers = dict.fromkeys(ids, 0)

    def publish(name: str, answer: int, time_s: int) -> None:
        numbers[name] += 1
        feeds[name].publish(RawRound(numbers[name], answer, time_s))

    oracle = OracleModel(now=listed_s)
    for name, answer in series.opening().items():
        publish(name, answer, listed_s)
        section = sections[name]
        rates = {field: section[field] for field in _RATES}
        parameters = Parameters(**rates, quota_gwei=int(section["quota"] * GWEI))
        oracle.list_asset(ids[name], feeds[name], section["prior_sigma_e6"], parameters, listed_s)

    def marks(now: int) -> Marks:
        return {i: Mark(oracle.price(i, now), oracle.assets[i].risk) for i in ids.values()}

    unpoked: list[int] = []
    poke_s = 0
    for slot_s, rounds in slots(series):
        if unpoked and poke_s < slot_s:
            oracle.poke(unpoked, poke_s)
            unpoked, at_poke = [], marks(poke_s)
            yield Moment(poke_s, at_poke, at_poke)
        if unpoked:
            oracle.poke(unpoked, slot_s)
        acting = marks(slot_s)
        for r in rounds:
            publish(r.asset, r.answer, slot_s)
        unpoked, poke_s = sorted({ids[r.asset] for r in rounds}), slot_s + BLOCK_INTERVAL_S
        if delay_blocks == 0:
            oracle.poke(unpoked, slot_s)
            unpoked = []
        yield Moment(slot_s, acting, marks(slot_s))
    if unpoked:
        oracle.poke(unpoked, poke_s)
        at_poke = marks(poke_s)
        yield Moment(poke_s, at_poke, at_poke)


def _feed(section: Mapping[str, Any]) -> FeedModel:
    bands = section["band_low_log2"], section["band_high_log2"]
    return FeedModel(ANSWER_DECIMALS, int(section["heartbeat_s"]), *bands)


def seen(marks: Marks) -> tuple[Array, Rates]:
    """Prices and rates for the vectorised model, in the order of the marks."""
    prices = np.array([mark.price_wad / WAD for mark in marks.values()])
    rates = (
        np.array([getattr(mark.risk, name) / RATE for mark in marks.values()])
        for name in ("r_init_e6", "l_init_e6", "r_maint_e6", "l_maint_e6")
    )
    return prices, Rates(*rates)
