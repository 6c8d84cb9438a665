"""A lending vault, its token, a stand-in for the clearing house, and the states of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ballast.chain import Chain, Contract

UNLIMITED = 2**256 - 1
ZERO_ADDRESS = "0x" + "00" * 20
YEAR_S = 365 * 86_400
CAP_TOKENS = 10**9  # deposit cap at the start, whole tokens
RATE = (100, 400, 6_000, 8_000)  # 1% idle, 5% at the kink of 80%, 65% when all is lent
RESERVE_FACTOR_BPS = 1_000
BUSY = 2


@dataclass(frozen=True)
class Lending:
    """One deployment. Token amounts in its methods are in units of the asset."""

    chain: Chain
    asset: Contract
    borrower: Contract
    vault: Contract
    decimals: int

    @property
    def governor(self) -> str:
        """Owner of the vault."""
        return self.chain.accounts[0]

    @property
    def lender(self) -> str:
        """Holds shares in every state but the empty one."""
        return self.chain.accounts[1]

    @property
    def other_lender(self) -> str:
        """Holds shares too."""
        return self.chain.accounts[2]

    @property
    def insurance(self) -> str:
        """Gets reserves and donations."""
        return self.chain.accounts[3]

    @property
    def trader(self) -> str:
        """Gets the loans and repays them."""
        return self.chain.accounts[4]

    @property
    def attacker(self) -> str:
        """Has tokens and approvals, and no shares."""
        return self.chain.accounts[5]

    @property
    def stranger(self) -> str:
        """Has nothing."""
        return self.chain.accounts[6]

    @property
    def liquidator(self) -> str:
        """Holds exits; in its place in the system a contract stands."""
        return self.chain.accounts[7]

    @property
    def unit(self) -> int:
        """One whole token."""
        return int(10**self.decimals)

    def fund(self, account: str, amount: int) -> None:
        """Mints tokens to an account, which approves vault and borrower without limit."""
        self.asset.mint(account, amount, sender=account)
        for spender in (self.vault, self.borrower):
            self.asset.approve(spender.address, UNLIMITED, sender=account)

    def deposit(self, account: str, assets: int) -> int:
        """Returns shares."""
        receipt = self.vault.deposit(assets, account, sender=account)
        return int(receipt.return_value)

    def lend(self, assets: int) -> int:
        """Returns loan shares; the trader has the tokens."""
        receipt = self.borrower.lend(self.vault.address, assets, self.trader, sender=self.trader)
        return int(receipt.return_value)

    def repay(self, assets: int, shares_held: int) -> int:
        """Returns loan shares burnt; the trader pays."""
        receipt = self.borrower.repay(self.vault.address, assets, shares_held, sender=self.trader)
        return int(receipt.return_value)

    def write_off(self, shares: int) -> int:
        """Returns the assets lost; the loan shares are nobody's any more."""
        receipt = self.vault.write_off(shares, sender=self.liquidator)
        return int(receipt.return_value)

    def hold_exits(self, seconds: int) -> int:
        """Returns the second until which exits are held from now on."""
        until = self.chain.time + seconds
        self.vault.hold_exits(until, sender=self.liquidator)
        return until

    def donate(self, assets: int) -> None:
        """A plain transfer to the vault."""
        self.asset.mint(self.vault.address, assets, sender=self.attacker)

    def set_busy(self, call_state: int = BUSY) -> None:
        """What the clearing house answers from now on."""
        self.borrower.set_call_state(call_state, sender=self.governor)

    def tokens(self, account: Any) -> int:
        """Token balance."""
        return int(self.asset.balanceOf(getattr(account, "address", account)))

    def shares(self, account: str) -> int:
        """Share balance."""
        return int(self.vault.balanceOf(account))

    def figures(self) -> tuple[int, ...]:
        """The six figures of `state()`."""
        return tuple(self.vault.state())


def deploy_vault(
    chain: Chain,
    asset: Contract,
    borrower: Contract,
    *,
    rate: tuple[int, int, int, int] = RATE,
    reserve_factor_bps: int = RESERVE_FACTOR_BPS,
    deposit_cap: int | None = None,
    min_debt: int = 0,
) -> Contract:
    """A vault owned by the first account; the fourth insures it, the eighth may hold exits.

    The one who deploys it is none of them.
    """
    cap = CAP_TOKENS * 10 ** int(asset.decimals()) if deposit_cap is None else deposit_cap
    return chain.deploy(
        "LendingVault",
        asset.address,
        "Ballast Lent Quote",
        "blQ",
        borrower.address,
        chain.accounts[7],
        chain.accounts[3],
        chain.accounts[0],
        rate,
        reserve_factor_bps,
        cap,
        min_debt,
        sender=chain.accounts[6],
    )


def deploy_lending(chain: Chain, decimals: int = 6, **terms: Any) -> Lending:
    """Token, borrower and vault; lenders, trader and attacker hold 500 billion tokens each."""
    governor = chain.accounts[0]
    asset = chain.deploy("MockToken", "Quote", "QUOTE", decimals, sender=governor)
    borrower = chain.deploy("VaultBorrower", sender=governor)
    vault = deploy_vault(chain, asset, borrower, **terms)
    lending = Lending(chain, asset, borrower, vault, decimals)
    for account in (lending.lender, lending.other_lender, lending.trader, lending.attacker):
        lending.fund(account, 5 * 10**11 * lending.unit)
    return lending


def _seeded(lending: Lending) -> None:
    lending.deposit(lending.lender, 1_000 * lending.unit)
    lending.deposit(lending.other_lender, 2_345 * lending.unit + 67)


def _donated(lending: Lending) -> None:
    _seeded(lending)
    lending.donate(777 * lending.unit + 3)


def _indebted(lending: Lending) -> None:
    _seeded(lending)
    lending.lend(2_900 * lending.unit + 11)
    lending.chain.advance(12)


def _aged(lending: Lending) -> None:
    _indebted(lending)
    lending.chain.advance(YEAR_S)


def _capped(lending: Lending) -> None:
    _indebted(lending)
    lending.vault.set_deposit_cap(lending.vault.totalAssets(), sender=lending.governor)


def _busy(lending: Lending) -> None:
    _aged(lending)
    lending.set_busy()


def _lost(lending: Lending) -> None:
    _aged(lending)
    lending.write_off(lending.vault.state().debt_shares // 3 + 1)


def _held(lending: Lending) -> None:
    _aged(lending)
    lending.hold_exits(3_600)


STATES: dict[str, Callable[[Lending], None]] = {
    "empty": lambda lending: None,
    "seeded": _seeded,
    "donated": _donated,
    "indebted": _indebted,
    "aged": _aged,
    "capped": _capped,
    "busy": _busy,
    "with bad debt realised": _lost,
    "exits held": _held,
}
