"""An account of the ledger in exact integers: cash, loan shares and collateral, and how they move.

An account never holds a token unit of cash and a debt at once: what comes in repays first, what
goes out is borrowed only where cash ends. Debts round up, loan shares are minted up and burnt down.
Quote amounts named `units` are token units, everything else is WAD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ballast.model.margin import WAD, Leg, Mark, Position, Terms, assess, div_up


@dataclass(frozen=True)
class Loans:
    """Terms of loans at one moment: units owed per share (WAD), and the WAD of a token unit."""

    index_wad: int = WAD
    unit_wad: int = 1

    def debt_up(self, shares: int) -> int:
        """Units that `shares` owe."""
        return div_up(shares * self.index_wad, WAD)

    def minted_up(self, units: int) -> int:
        """Shares of a new loan."""
        return div_up(units * WAD, self.index_wad)

    def burnt_down(self, units: int, shares: int) -> int:
        """Shares that a payment clears; all of them when it is the whole debt."""
        return shares if units == self.debt_up(shares) else units * WAD // self.index_wad

    @property
    def repayment_loss_wad(self) -> int:
        """An upper bound of what one repayment loses to rounding: the debt it leaves is larger than
        the old one less the payment by the fraction of a share that did not burn, rounded up."""
        return (div_up(self.index_wad, WAD)) * self.unit_wad


@dataclass(frozen=True)
class Account:
    """What one account holds. `positions` are in the order of its asset list."""

    cash_wad: int = 0
    debt_shares: int = 0
    positions: Mapping[int, Position] = field(default_factory=dict)

    # ---- reading

    def net_wad(self, loans: Loans) -> int:
        """Cash less debt."""
        return self.cash_wad - loans.debt_up(self.debt_shares) * loans.unit_wad

    def legs(self, marks: Mapping[int, Mark]) -> list[Leg]:
        """The positions at their marks, in list order."""
        return [Leg(asset, held, marks[asset]) for asset, held in self.positions.items()]

    def assess(self, marks: Mapping[int, Mark], loans: Loans) -> Terms:
        """The four figures."""
        return assess(self.net_wad(loans), self.legs(marks))

    def position(self, asset: int) -> Position:
        """What is held of an asset, an empty position if it is not listed."""
        return self.positions.get(asset, Position())

    @property
    def word(self) -> int:
        """The packed account word."""
        return self.cash_wad | self.debt_shares << 128

    # ---- moving

    def credited(self, units: int, loans: Loans) -> Account:
        """Cash comes in: the debt is paid first."""
        paid = min(units, loans.debt_up(self.debt_shares))
        shares = self.debt_shares - loans.burnt_down(paid, self.debt_shares)
        cash_wad = self.cash_wad + (units - paid) * loans.unit_wad
        return replace(self, cash_wad=cash_wad, debt_shares=shares)

    def debited(self, units: int, loans: Loans) -> Account:
        """Cash goes out: what is not there is borrowed."""
        from_cash = min(units, self.cash_wad // loans.unit_wad)
        shares = self.debt_shares + loans.minted_up(units - from_cash)
        cash_wad = self.cash_wad - from_cash * loans.unit_wad
        return replace(self, cash_wad=cash_wad, debt_shares=shares)

    def with_collateral(self, asset: int, change_wad: int) -> Account:
        """Collateral comes in or goes out. Raises ValueError for more than there is.

        A position that becomes empty leaves the list, and the last one takes its place.
        """
        old = self.position(asset)
        new = replace(old, collateral_wad=old.collateral_wad + change_wad)
        if new.collateral_wad < 0:
            raise ValueError(f"{-change_wad} of asset {asset} are not there")
        if new != Position() or asset not in self.positions:
            return replace(self, positions={**self.positions, asset: new})
        order = list(self.positions)
        last = order.pop()
        if last != asset:
            order[order.index(asset)] = last
        return replace(self, positions={key: self.positions[key] for key in order})
