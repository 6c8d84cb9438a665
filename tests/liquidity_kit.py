"""A liquidity vault, its token, and a stand-in for clearing house and markets."""

from __future__ import annotations

from dataclasses import dataclass

from ballast.chain import Chain, Contract

UNLIMITED = 2**256 - 1
ZERO_ADDRESS = "0x" + "00" * 20
CAP_TOKENS = 10**9  # deposit cap at the start, whole tokens
BUSY = 2
WAD = 10**18
PERPETUAL = 1 << 136  # a list word with one perpetual, in the first slot

DEPOSIT_EPOCH_S, REDEEM_EPOCH_S = 600, 3_600
DEPOSIT_DELAY_S, REDEEM_DELAY_S = 3_600, 86_400


@dataclass(frozen=True)
class Liquidity:
    """One deployment. Token amounts in its methods are in units of the asset."""

    chain: Chain
    asset: Contract
    house: Contract  # stands for clearing house and markets
    vault: Contract
    decimals: int

    @property
    def governor(self) -> str:
        """Owner of the vault."""
        return self.chain.accounts[0]

    @property
    def provider(self) -> str:
        """Has tokens, and shares where a test says so."""
        return self.chain.accounts[1]

    @property
    def other_provider(self) -> str:
        """As above."""
        return self.chain.accounts[2]

    @property
    def operator(self) -> str:
        """Acts for others where they allow it."""
        return self.chain.accounts[3]

    @property
    def keeper(self) -> str:
        """Fulfils."""
        return self.chain.accounts[4]

    @property
    def attacker(self) -> str:
        """Has tokens too."""
        return self.chain.accounts[5]

    @property
    def stranger(self) -> str:
        """Has nothing."""
        return self.chain.accounts[6]

    @property
    def unit(self) -> int:
        """One whole token."""
        return int(10**self.decimals)

    @property
    def unit_wad(self) -> int:
        """WAD value of one unit of the asset."""
        return int(10 ** (18 - self.decimals))

    @property
    def account(self) -> int:
        """The house account."""
        return int(self.vault.address, 16) << 8

    # ---- the house

    def set_result(self, wad: int) -> None:
        """What the positions of the house are worth beyond its cash."""
        self.house.set_result(self.account, wad, sender=self.governor)

    def set_markets(self, skew_charge: int = 0, uncertainty: int = 0) -> None:
        """Premiums owed and width of the truth, WAD."""
        self.house.set_markets(skew_charge, uncertainty, sender=self.governor)

    def set_free(self, wad: int) -> None:
        """What backs nothing, WAD."""
        self.house.set_free(wad, sender=self.governor)

    def set_busy(self, call_state: int = BUSY) -> None:
        """What the clearing house answers from now on."""
        self.house.set_call_state(call_state, sender=self.governor)

    def new_round(self) -> None:
        """Every market has a round of this second."""
        self.house.set_round(self.chain.time, sender=self.governor)

    def house_cash(self) -> int:
        """WAD."""
        return int(self.house.cash_of(self.account))

    # ---- people

    def fund(self, who: str, amount: int) -> None:
        """Mints tokens to an account, which approves the vault and the house without limit."""
        self.asset.mint(who, amount, sender=who)
        for spender in (self.vault, self.house):
            self.asset.approve(spender.address, UNLIMITED, sender=who)

    def tokens(self, who: str | Contract) -> int:
        """Token balance."""
        return int(self.asset.balanceOf(who if isinstance(who, str) else who.address))

    def shares(self, who: str | Contract) -> int:
        """Share balance."""
        return int(self.vault.balanceOf(who if isinstance(who, str) else who.address))

    def ask_in(self, who: str, assets: int) -> int:
        """Requests a deposit; returns its id."""
        return int(self.vault.requestDeposit(assets, who, who, sender=who).return_value)

    def ask_out(self, who: str, shares: int) -> int:
        """Requests a redemption; returns its id."""
        return int(self.vault.requestRedeem(shares, who, who, sender=who).return_value)

    def pass_deposit_delay(self, epoch: int) -> None:
        """Waits until an epoch may be fulfilled, and makes a round."""
        self._wait_until((epoch + 1) * DEPOSIT_EPOCH_S + DEPOSIT_DELAY_S)

    def pass_redeem_delay(self, epoch: int) -> None:
        """Waits until an epoch may be fulfilled, and makes a round."""
        self._wait_until((epoch + 1) * REDEEM_EPOCH_S + REDEEM_DELAY_S)

    def _wait_until(self, time: int) -> None:
        if self.chain.time < time:
            self.chain.set_time(time)
        self.new_round()

    def fulfil_in(self, epoch: int) -> int:
        """Waits and fulfils deposits; returns shares."""
        self.pass_deposit_delay(epoch)
        return int(self.vault.fulfil_deposits(epoch, sender=self.keeper).return_value)

    def fulfil_out(self, epoch: int) -> int:
        """Waits and fulfils redemptions; returns assets."""
        self.pass_redeem_delay(epoch)
        return int(self.vault.fulfil_redemptions(epoch, sender=self.keeper).return_value)

    def enter(self, who: str, assets: int) -> int:
        """All three steps; returns shares."""
        self.fulfil_in(self.ask_in(who, assets))
        amount = self.vault.maxDeposit(who)
        return int(self.vault.deposit(amount, who, sender=who).return_value)

    def leave(self, who: str, shares: int) -> int:
        """All three steps; returns assets."""
        self.fulfil_out(self.ask_out(who, shares))
        amount = self.vault.maxRedeem(who)
        return int(self.vault.redeem(amount, who, who, sender=who).return_value)

    def donate(self, assets: int) -> None:
        """A plain transfer to the vault."""
        self.asset.mint(self.vault.address, assets, sender=self.attacker)


def deploy_vault(
    chain: Chain, asset: Contract, house: str, *, perps: str | None = None, cap: int | None = None
) -> Contract:
    """A vault owned by the first account, deployed by another one."""
    return chain.deploy(
        "LiquidityVault",
        asset.address,
        "Ballast House",
        "blH",
        house,
        house if perps is None else perps,
        chain.accounts[0],
        CAP_TOKENS * 10 ** int(asset.decimals()) if cap is None else cap,
        sender=chain.accounts[6],
    )


def deploy_liquidity(
    chain: Chain, decimals: int = 6, *, cap: int | None = None, token: str = "MockToken"
) -> Liquidity:
    """Token, house and vault; providers and the attacker hold 500 billion tokens each.

    Time begins at the start of an epoch of both kinds.
    """
    governor = chain.accounts[0]
    args = ("Quote", "QUOTE", decimals) if token == "MockToken" else ()
    asset = chain.deploy(token, *args, sender=governor)
    house = chain.deploy("HouseStub", asset.address, sender=governor)
    vault = deploy_vault(chain, asset, house.address, cap=cap)
    liquidity = Liquidity(chain, asset, house, vault, decimals)
    for who in (liquidity.provider, liquidity.other_provider, liquidity.attacker):
        liquidity.fund(who, 5 * 10**11 * liquidity.unit)
    liquidity.set_free(10**40)
    house.observe(liquidity.account, sender=governor)
    chain.set_time((chain.time // REDEEM_EPOCH_S + 1) * REDEEM_EPOCH_S)
    liquidity.new_round()
    return liquidity
