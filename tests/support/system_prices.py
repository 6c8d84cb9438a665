"""Random rounds of feeds, prices of the venue, and feeds that cannot be believed."""

from __future__ import annotations

from tests.support.system_cast import ASSETS, WEALTH
from tests.support.system_state import WAD, State
from tests.support.system_steps import Call, Draws
from tests.support.world import FEED_DECIMALS, QUOTE, VENUE_FEE_PPM, to_wad

MOST_MOVE = 0.15
ANSWER_UNIT = 10**FEED_DECIMALS
POURER = "governor"  # has in the meantime what a dry venue had


class PriceDraws(Draws):
    """Draws of what the world outside does."""

    def _poke(self, state: State) -> tuple[Call, ...]:
        ids = [self._id(name) for name in self.cast.names if self.rng.random() < 0.8]
        return (Call("RiskOracle", "poke", (ids,), "keeper"),)

    def _poke_all(self) -> Call:
        return Call("RiskOracle", "poke", ([self._id(n) for n in self.cast.names],), "keeper")

    def _answer(self, name: str) -> int:
        return to_wad(1 if name == QUOTE else ASSETS[name].price) // 10 ** (18 - FEED_DECIMALS)

    def _sound_answer(self, state: State, name: str) -> int:
        """The newest answer, or the usual one in place of one that cannot be believed."""
        answer, usual = state.rounds[name][0], self._answer(name)
        spread = 1.02 if name == QUOTE else 5
        return answer if usual / spread < answer < usual * spread else usual

    def _refresh(self, state: State) -> tuple[Call, ...]:
        rounds = tuple(
            Call(f"feed {name}", "set_answer", (self._sound_answer(state, name),), "governor")
            for name in state.rounds
        )
        venue: list[Call] = []
        if self.rng.random() < 0.6:
            for name in self.cast.names:
                venue += self._venue_prices(name, state.marks[name].price_wad)
        return (*rounds, *venue, self._poke_all())

    def _price(self, state: State) -> tuple[Call, ...]:
        rng, cast = self.rng, self.cast
        name = rng.choice(cast.names)
        usual, answer = self._answer(name), self._sound_answer(state, name)
        move = (
            rng.uniform(-MOST_MOVE, MOST_MOVE) if rng.random() < 0.5 else rng.uniform(-0.03, 0.03)
        )
        # Falls and rises stay within a factor of three, so that a long campaign keeps its shape.
        if answer > 3 * usual:
            move = -abs(move)
        if answer < usual // 3:
            move = abs(move)
        return self._round(state, name, max(int(answer * (1 + move)), 1))

    def _round(self, state: State, name: str, answer: int) -> tuple[Call, ...]:
        """A round of a feed, mostly with the venue and the oracle's sampling in its wake."""
        rng = self.rng
        calls = [Call(f"feed {name}", "set_answer", (answer,), "governor")]
        quote_wad = self._sound_answer(state, QUOTE) * WAD // ANSWER_UNIT
        price = answer * WAD // ANSWER_UNIT * WAD // quote_wad
        if rng.random() < 0.9:
            calls += self._venue_prices(name, price)
        if rng.random() < 0.75:
            calls.append(Call("RiskOracle", "poke", ([self._id(name)],), "keeper"))
        return tuple(calls)

    def _venue_prices(self, name: str, price_wad: int) -> list[Call]:
        """Both directions near a price, sometimes far off it."""
        rng, cast = self.rng, self.cast
        off = rng.uniform(-0.05, 0.05) if rng.random() < 0.12 else rng.uniform(-0.003, 0.003)
        fee = rng.choice((0, 500, VENUE_FEE_PPM))
        price = max(int(price_wad * (1 + off)), 1)
        if cast.pools is not None:
            order = cast.pools.aligning_order(name, price)
            swap = Call("SwapRouter", "exactInputSingle", (order,), "arbitrageur")
            return [swap] if order else []
        token, quote = cast.world.tokens[name].address, cast.world.quote.address
        calls = [
            Call("MockVenue", "set_price", (token, quote, price, fee), "governor"),
            Call("MockVenue", "set_price", (quote, token, WAD * WAD // price, fee), "governor"),
        ]
        for other in cast.names:
            if other != name:
                there = cast.world.tokens[other].address
                rate = max(price * WAD // max(cast.world.price_wad(other), 1), 1)
                for pair, value in (((token, there), rate), ((there, token), WAD * WAD // rate)):
                    calls.append(Call("MockVenue", "set_price", (*pair, value, fee), "governor"))
        return calls

    # ---- a venue that runs dry

    def _dry(self, state: State, name: str, wanted_wad: int) -> tuple[Call, ...]:
        """A pool is left where a small sale finds the oracle's price and a large one does not; a
        mock is left with a part of the cash that is wanted of it, or with all but nothing."""
        cast, rng = self.cast, self.rng
        if cast.pools is not None:
            off = rng.uniform(0.004, 0.0075) if rng.random() < 0.8 else rng.uniform(0.1, 0.9)
            price = max(int(state.marks[name].price_wad * (1 - off)), 1)
            order = cast.pools.aligning_order(name, price)
            swap = Call("SwapRouter", "exactInputSingle", (order,), "arbitrageur")
            return (swap,) if order else ()
        left = int(wanted_wad * rng.choice((0, 0.5, 1, 2, 3))) // cast.unit(QUOTE)
        drained = state.balances[QUOTE, "MockVenue"] - left
        if drained <= 0:
            return ()
        token, quote = cast.world.tokens[name].address, cast.world.quote.address
        # The mock believes that it was paid; at a price of one its decimals alone count.
        paid = drained * cast.unit(QUOTE) // cast.unit(name)
        price_wad = cast.world.venue.price_wad(token, quote)
        fee_ppm = cast.world.venue.fee_ppm(token, quote)
        return (
            Call("MockVenue", "set_price", (token, quote, WAD, 0), "governor"),
            Call("MockVenue", "swap", (token, quote, paid, 0, cast.roles[POURER]), POURER),
            Call("MockVenue", "set_price", (token, quote, price_wad, fee_ppm), "governor"),
        )

    def _rain(self, state: State, name: str) -> tuple[Call, ...]:
        """The venue is as it was."""
        cast = self.cast
        if cast.pools is not None:
            return tuple(self._venue_prices(name, state.marks[name].price_wad))
        units = state.balances[QUOTE, POURER] - WEALTH * WAD // cast.unit(QUOTE)
        address = cast.world.venue.address
        return (Call(f"token {QUOTE}", "transfer", (address, units), POURER),) if units > 0 else ()

    def _quote_price(self, state: State) -> tuple[Call, ...]:
        """The quote token off its peg, now and then beyond what is tolerated."""
        answer = int(ANSWER_UNIT * self.rng.choice((1, 1, 0.995, 1.01, 0.96, 1.04)))
        return (Call(f"feed {QUOTE}", "set_answer", (answer,), "governor"), self._poke_all())

    def _feed_dies(self, state: State) -> tuple[Call, ...]:
        """A round that cannot be believed, until the next good one."""
        name = self.rng.choice((*self.cast.names, QUOTE))
        answer = self.rng.choice((0, -1, 1, 2**120))
        return (Call(f"feed {name}", "set_answer", (answer,), "governor"),)

    def _nothing(self, state: State) -> tuple[Call, ...]:
        return ()
