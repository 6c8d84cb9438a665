"""The whole deployed system as one value: every word, balance and figure, read at one moment.

`State.book` is the state as the exact model knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ballast.model.ledger import Account, Book, Lender, Loans
from ballast.model.margin import Mark, Position, Terms
from ballast.model.perps import Market

LOW_128 = 2**128 - 1
WAD = 10**18
SLOTS = 16  # places of an asset list
PERPETUALS_SHIFT = 136


def signed(word: int, bits: int = 256) -> int:
    return word - (word >> bits - 1 << bits)


@dataclass(frozen=True)
class State:
    """What the system holds at one moment. Keys: account ids, asset names, holder names.

    Insurance and house are among the accounts of words, positions and terms, the house last of
    them.
    """

    time: int
    house: int
    ids: Mapping[str, int]  # asset ids by name
    quote_unit_wad: int
    account_words: Mapping[int, int]
    listed: Mapping[int, int]
    positions: Mapping[tuple[int, str], int]
    costs: Mapping[tuple[int, str], int]  # of markets
    market_words: Mapping[str, int]
    markets: Mapping[str, Market]  # as the model knows them
    sides: Mapping[str, tuple[int, int]]  # traders' longs and shorts as the markets count them
    # When a market is due to end, 0 if it is not, and the price at which it did, 0 until then.
    endings: Mapping[str, tuple[int, int]]
    closed: Mapping[str, int]  # since when a market is close-only, 0 while it is not
    house_figures: Mapping[str, int]
    pool: Mapping[str, int]  # the liquidity vault
    pool_shares: Mapping[str, int]
    claims: Mapping[tuple[str, str], int]  # provider, limit
    settings: Mapping[int, bytes]  # all that SETTINGS names, as one string
    guards: Mapping[int, int]
    terms: Mapping[int, Terms]
    supplies: Mapping[str, int]
    balances: Mapping[tuple[str, str], int]  # token, holder
    token_supplies: Mapping[str, int]
    shares: Mapping[str, int]
    budgets: Mapping[str, int]  # owner address
    wallets: Mapping[int, int]  # wallet_left
    permissions: Mapping[tuple[int, str], int]  # account, holder name
    flags: Mapping[int, int]  # since when an account is flagged below maintenance
    marks: Mapping[str, Mark]
    rounds: Mapping[str, tuple[int, int]]  # answer and time of the newest round
    vault: Mapping[str, int]
    call_state: int
    failures: tuple[str, ...]  # views that reverted

    def cash_wad(self, account: int) -> int:
        """Stored cash of an account."""
        return self.account_words[account] & LOW_128

    def debt_shares(self, account: int) -> int:
        """Stored loan shares of an account."""
        return self.account_words[account] >> 128

    def debt_units(self, account: int) -> int:
        """Token units an account owes now, rounded up."""
        return -(-self.debt_shares(account) * self.vault["index_wad"] // WAD)

    def collateral_wad(self, account: int, name: str) -> int:
        """Collateral of one asset."""
        return self.positions[account, name] & LOW_128

    def size_wad(self, account: int, name: str) -> int:
        """Perpetual of one asset."""
        return signed(self.positions[account, name] >> 128, 128)

    def words(self, account: int) -> tuple[int, ...]:
        """Everything stored in the ledger about an account."""
        return self._words[account]

    @cached_property
    def _words(self) -> Mapping[int, tuple[int, ...]]:
        found = {a: [word, self.listed[a]] for a, word in self.account_words.items()}
        for words in (self.positions, self.costs):
            for (account, _), word in words.items():
                found[account].append(word)
        return {account: tuple(words) for account, words in found.items()}

    def held(self, account: int, name: str) -> Position:
        """A position as the margin model knows it."""
        cost_word = self.costs.get((account, name), 0)
        return Position.from_word(self.positions[account, name], cost_word)

    def has_perpetual(self, account: int) -> bool:
        """Whether the list says that an asset carries a perpetual or an unpaid result."""
        return self.listed[account] >> PERPETUALS_SHIFT != 0

    @cached_property
    def book(self) -> Book:
        """All of it as the exact model knows it."""
        name_of = {asset: name for name, asset in self.ids.items()}
        accounts = {}
        for account, word in self.account_words.items():
            listed = self.listed[account]
            ids = [listed >> 8 * i & 255 for i in range(min(listed >> 128 & 255, SLOTS))]
            held = {asset: self.held(account, name_of[asset]) for asset in ids if asset in name_of}
            accounts[account] = Account(word & LOW_128, word >> 128, held)
        return Book(
            house=self.house,
            markets={self.ids[name]: market for name, market in self.markets.items()},
            prices={self.ids[name]: mark for name, mark in self.marks.items()},
            accounts=accounts,
            loans=Loans(self.vault["index_wad"], self.quote_unit_wad),
            lender=Lender(self.vault["idle"], self.vault["debt_shares"]),
            now=self.time,
        )

    @cached_property
    def is_any_price_bad(self) -> bool:
        """Whether some asset has no live price."""
        return any(not mark.is_live for mark in self.marks.values())

    @cached_property
    def is_any_price_unusable(self) -> bool:
        """Whether some price may not bound a swap or back an increase."""
        return any(mark.price.flags for mark in self.marks.values())
