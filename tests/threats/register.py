"""The register of threats: what each id stands for, what holds it off and a file that tries.

    python tests/threats/register.py    # writes docs/threats.md

`test_register.py` compares it with the ids that tests really name, and with the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "threats.md"
ID = re.compile(r"\b(?:T\d{2}|A[1-9]\d?)\b")


class Row(NamedTuple):
    """One threat that this code can meet."""

    threat: str
    defence: str  # what holds it off
    where: str  # the contract or module that does, below contracts/
    test: str  # a file of tests that names the id, below tests/


VAULT, LEDGER, MANDATES = "LendingVault.vy", "Clearinghouse.vy", "Mandates.vy"
BOOK = "modules/lending_book.vy"
ORACLE, MARKS, FEEDS = "RiskOracle.vy", "modules/price_marks.vy", "modules/feeds.vy"
SWAPS, CALLS, HEALTH = "Exchange.vy", "modules/calls.vy", "modules/health.vy"
TOKEN, BUDGETS, GUARDS = "modules/safe_token.vy", "modules/budgets.vy", "modules/guards.vy"
JUDGEMENT = "modules/judgement.vy"
PERPS, BOOKS, HOUSE = "Perps.vy", "modules/perpetuals.vy", "LiquidityVault.vy"
WORTH = "modules/house_worth.vy"
LENDING = "unit/test_lending_vault_"
CONFORMANCE = "unit/test_erc4626_conformance.py"
MEASURED = "unit/test_risk_oracle"
TRADED = "threats/test_perps.py"
LIQUIDATOR, LIQUIDATED = "Liquidator.vy", "threats/test_liquidation.py"

THREATS: dict[str, Row] = {
    # ---- lenders' shares
    "T01": Row(
        "First depositor inflates the share price",
        "virtual shares; the price comes from booked totals",
        "modules/share_math.vy",
        LENDING + "attacks.py",
    ),
    "T02": Row(
        "Donation moves price, health or utilisation",
        "no balance is ever read for a price",
        BOOK,
        LENDING + "attacks.py",
    ),
    "T03": Row(
        "Utilisation above one",
        "clamped utilisation and rate",
        "modules/kinked_rate.vy",
        LENDING + "attacks.py",
    ),
    "T04": Row(
        "A price or share rounds to nothing",
        "an action worth nothing reverts",
        VAULT,
        LENDING + "attacks.py",
    ),
    "T05": Row(
        "Rounding drained by many small actions",
        "every rounding is against the actor",
        "modules/fixed_point.vy",
        "threats/test_accounts.py",
    ),
    "T06": Row(
        "Fees minted on a stale total", "accrual before each use", BOOK, LENDING + "attacks.py"
    ),
    "T07": Row(
        "A lump of fees taken by who came a moment ago",
        "interest accrues by the second",
        BOOK,
        LENDING + "attacks.py",
    ),
    "T08": Row("Previews differ from what is done", "both from one function", VAULT, CONFORMANCE),
    "T09": Row(
        "Out before a loss is shared",
        "exits wait for a flagged loss; it is realised in the liquidation, for every share alike",
        "modules/breaches.vy",
        LIQUIDATED,
    ),
    "T10": Row("Limits and previews lie", "checks of the standard", VAULT, CONFORMANCE),
    "T11": Row(
        "Foreign tokens counted as assets", "booked totals only", BOOK, LENDING + "attacks.py"
    ),
    # ---- tokens
    "T12": Row(
        "Fee on transfer, partial transfer",
        "what is credited is what arrived",
        TOKEN,
        "threats/test_token_zoo.py",
    ),
    "T13": Row(
        "False or missing answer of a token",
        "asserted, none counts as true, an address without code as false",
        TOKEN,
        "threats/test_token_zoo.py",
    ),
    "T14": Row(
        "Approvals that race or must not be zero",
        "nothing is approved by the ledger, nor by the adapter: its callback pays the pool",
        "adapters/UniswapV3Adapter.vy",
        "threats/test_token_zoo.py",
    ),
    "T15": Row(
        "A blocked address or paused token stops others",
        "a refused sale is left out; liquidation moves no token of the account",
        "modules/executions.vy",
        LIQUIDATED,
    ),
    "T16": Row(
        "A token calls back", "locks, and one state of the call", CALLS, "threats/test_reentry.py"
    ),
    "T17": Row(
        "Sweep of a listed asset", "no sweep in the ledger", LEDGER, "threats/test_token_zoo.py"
    ),
    "T18": Row(
        "Decimals",
        "2 to 18, all amounts in WAD inside, a first price near the stated one",
        "Listings.vy",
        "threats/test_token_zoo.py",
    ),
    # ---- prices
    "T19": Row(
        "Stale price",
        "a heartbeat per feed; backs no increase, bounds no swap",
        MARKS,
        "threats/test_prices.py",
    ),
    "T20": Row("Unsound round", "each field checked, never cast", FEEDS, MEASURED + ".py"),
    "T21": Row("Feed at the end of its range", "a band per asset", FEEDS, MEASURED + ".py"),
    "T22": Row(
        "Outage of the chain or of all feeds",
        "stale until a new round, after an outage of a sequencer for an hour; paying in stays "
        "open, and what can wait is not liquidated",
        MARKS,
        "regression/test_sequencer_grace.py",
    ),
    "T23": Row(
        "A feed that reverts bricks others", "captured calls", FEEDS, "threats/test_prices.py"
    ),
    "T24": Row(
        "Too little gas forces a fallback",
        "gas is checked around each captured call",
        FEEDS,
        "threats/test_keepers.py",
    ),
    "T25": Row(
        "A feed in wrong units",
        "a new feed is within 1% of the old one, and there is one a day",
        ORACLE,
        MEASURED + "_owner.py",
    ),
    "T26": Row(
        "A gift to the vault whose shares are collateral",
        "assets per share grow by a set part a second at most; a fall counts at once",
        "adapters/VaultFeed.vy",
        "threats/test_vault_shares.py",
    ),
    "T27": Row(
        "A venue's price as oracle",
        "venues are never asked for a price",
        HEALTH,
        "threats/test_prices.py",
    ),
    "T28": Row(
        "A price pumped to borrow or to trade on",
        "caps per asset and market; a breaker stops increases; the worse of two prices",
        PERPS,
        TRADED,
    ),
    "T29": Row(
        "Volatility made by an attacker",
        "fixed grid, clipped samples, slow maintenance",
        "modules/volatility.vy",
        MEASURED + "_volatility.py",
    ),
    "T30": Row(
        "Two prices in one block",
        "an increase is tested and filled at the worse of both; two fees exceed a round",
        PERPS,
        TRADED,
    ),
    "T31": Row(
        "Gap between the margins too small for a jump",
        "initial margin covers a jump and the discount; checked when parameters are set",
        "modules/margin_rates.vy",
        LIQUIDATED,
    ),
    "T32": Row(
        "A mark pushed by one's own trades, a last price chosen by who is closed",
        "results count at the index; a premium is owed to whoever closes; one price ends a market",
        PERPS,
        TRADED,
    ),
    # ---- calls
    "T33": Row(
        "Re-entry into the same contract", "locked by default", LEDGER, "threats/test_reentry.py"
    ),
    "T34": Row(
        "Re-entry through another contract",
        "vault and oracle ask for the state of the call",
        CALLS,
        "threats/test_reentry.py",
    ),
    "T35": Row(
        "Views read half-way", "locked views; limits are zero", LEDGER, "threats/test_reentry.py"
    ),
    "T36": Row(
        "Views of a venue read half-way",
        "no figure of a venue is used",
        SWAPS,
        "threats/test_prices.py",
    ),
    "T37": Row(
        "An entry without its guard",
        "a table of every entry and role",
        LEDGER,
        "threats/test_access.py",
    ),
    "T38": Row(
        "Calls to addresses of the caller's choice",
        "allowed adapters, call data made on chain",
        SWAPS,
        "threats/test_tokens.py",
    ),
    "T39": Row(
        "A false contract as argument", "ids of a register", "Listings.vy", "threats/test_tokens.py"
    ),
    "T40": Row("Forced ether", "never read, never accepted", LEDGER, "threats/test_tokens.py"),
    # ---- accounts
    "T41": Row(
        "An action that forgets the margin test",
        "one test behind every entry; a mandate is judged by the same",
        HEALTH,
        "threats/test_accounts.py",
    ),
    "T42": Row(
        "Bad debt by a swap with oneself",
        "proceeds bounded by the oracle whatever is accepted",
        SWAPS,
        "threats/test_accounts.py",
    ),
    "T43": Row(
        "Debt not accrued",
        "views and entries accrue to the second",
        BOOK,
        "threats/test_prices.py",
    ),
    "T44": Row(
        "Wrong margin arithmetic",
        "an exact model, equal to the wei",
        "modules/margin.vy",
        "threats/test_accounts.py",
    ),
    "T45": Row(
        "One trader's loss eats another's margin",
        "sizes and costs sum to zero; what is not paid stays the loser's",
        BOOKS,
        TRADED,
    ),
    "T46": Row(
        "Interest or funding lost in rounding",
        "index in 1e27; one figure of funding for both sides",
        PERPS,
        TRADED,
    ),
    "T47": Row(
        "Too large after a long time",
        "funding is linear, interest saturates; a reduction has no bound",
        PERPS,
        TRADED,
    ),
    "T48": Row(
        "Too many positions",
        "sixteen assets, eight donors; gas of the largest measured",
        "modules/asset_list.vy",
        LIQUIDATED,
    ),
    "T49": Row(
        "Gifts that block an account",
        "a stranger adds to what is there, opens nothing, unbalances nothing",
        LEDGER,
        "threats/test_accounts.py",
    ),
    "T50": Row(
        "Operators and sub-accounts confused",
        "a mask per account and operator, pays the owner only; ids of 168 bits",
        "modules/operators.vy",
        "threats/test_accounts.py",
    ),
    "T51": Row(
        "Liquidating oneself for the discount",
        "siblings refused; what one account gains the other loses, and insurance takes its part",
        LIQUIDATOR,
        LIQUIDATED,
    ),
    "T52": Row("Signature replay", "permits of vault shares only", VAULT, LENDING + "tokens.py"),
    # ---- rebalances
    "T54": Row(
        "Sandwich of a rebalance",
        "proceeds within the guard's slippage of the oracle",
        SWAPS,
        "threats/test_sandwich.py",
    ),
    "T55": Row(
        "The caller shapes the rebalance",
        "no argument but the account",
        "Rebalancer.vy",
        "threats/test_keepers.py",
    ),
    "T56": Row(
        "Calls for the reward alone",
        "a part of the gap closed, a cap, least gap per pay; nothing is left to close right after",
        "modules/keeper_pay.vy",
        "threats/test_keeper_pay.py",
    ),
    "T57": Row(
        "A keeper opens the gap that he is paid for",
        "triggers follow rounds and time alone; the pay comes out of the owner's own accounts",
        MANDATES,
        "threats/test_keeper_pay.py",
    ),
    "T58": Row(
        "A reward drains the account",
        "a loss within the budget; a rescue pays out of what is beyond initial margin",
        MANDATES,
        "threats/test_keeper_pay.py",
    ),
    "T59": Row(
        "Accounts too small to be worth it",
        "least debts and positions; less than dust is taken whole; the discount has a floor",
        "modules/discounts.vy",
        "unit/test_min_debt.py",
    ),
    "T60": Row(
        "A hook burns gas or answers too much",
        "bounded gas, 128 bytes of answer",
        MANDATES,
        "threats/test_hooks.py",
    ),
    "T61": Row(
        "Siblings pass one amount around",
        "floors of donors; nothing to gain",
        JUDGEMENT,
        "threats/test_keepers.py",
    ),
    "T62": Row(
        "The wallet's approval used for something else",
        "cap per period, shortfall, own account only",
        BUDGETS,
        "threats/test_hooks.py",
    ),
    "T63": Row(
        "A guard changed around a rebalance",
        "looser waits an hour, tighter is immediate",
        GUARDS,
        "threats/test_keepers.py",
    ),
    "T64": Row(
        "Liquidations that make more of them",
        "holdings change hands in place; health rises while it can",
        "modules/slices.vy",
        LIQUIDATED,
    ),
    "T65": Row(
        "Liquidation blocked by caps, dust or a repayment",
        "no cap, no mode and no loan is asked; amounts are computed, not given",
        "modules/takings.vy",
        LIQUIDATED,
    ),
    "T66": Row(
        "Windows that close while blocks are stuffed",
        "nothing ends; the discount stays at its most",
        "modules/discounts.vy",
        LIQUIDATED,
    ),
    "T67": Row(
        "Parameters that make accounts liquidatable at once; power that traps or takes",
        "rates move over the notice period; a timelock, a guardian who can only lower, steps; "
        "a pause stops increases alone and ends",
        "Governance.vy",
        "threats/test_governance.py",
    ),
    # ---- attacks on this design
    "A1": Row(
        "Hedges that the house cannot pay",
        "each side is backed in gross, as if the other had closed; headroom bounds increases",
        "modules/backing.vy",
        TRADED,
    ),
    "A2": Row(
        "A gain cashed, or a gift made, with lenders' money",
        "a gain counts for initial margin when paid, by the house's cash; gifts from own cash",
        BOOKS,
        TRADED,
    ),
    "A3": Row(
        "An account emptied inside a batch",
        "still checked at the end; no liquidation of a sibling, nor while a call is under way",
        CALLS,
        "threats/test_accounts.py",
    ),
    "A4": Row(
        "Own hook, loose guard, own pool",
        "the tests of the protocol know no guard",
        JUDGEMENT,
        "threats/test_hooks.py",
    ),
    "A5": Row(
        "Money pulled in to hide a loss",
        "siblings and wallet are counted out again",
        JUDGEMENT,
        "threats/test_hooks.py",
    ),
    "A6": Row(
        "Shares sold behind a skew of one's own",
        "the premium that is owed back is no value of shares",
        WORTH,
        TRADED,
    ),
    "A7": Row(
        "A hook levers the account up", "no exposure grows", JUDGEMENT, "threats/test_hooks.py"
    ),
    "A8": Row("A budget per sibling", "one budget per owner", BUDGETS, "threats/test_hooks.py"),
    "A9": Row(
        "A hook that vetoes or taxes a liquidation",
        "fixed gas, counts only at initial margin, once in ten minutes",
        LIQUIDATOR,
        LIQUIDATED,
    ),
    "A10": Row(
        "A hedged pair without a buffer",
        "a rate on gross beside the one on net exposure",
        "modules/margin.vy",
        TRADED,
    ),
    "A11": Row(
        "A discount that never pays for a thin account",
        "a part of the requirement, at least twice the charge on gross, insurance behind it",
        "modules/discounts.vy",
        LIQUIDATED,
    ),
    "A12": Row(
        "A lagging feed sniped through a fee that vanishes after a round",
        "half of the band and of the lag in every fee, whatever the age of the round",
        "modules/markets.vy",
        "unit/test_snipers.py",
    ),
    "A13": Row(
        "An old price pinned early in a block",
        "nothing is pinned; increases are tested and filled at the worse of two",
        MARKS,
        TRADED,
    ),
    "A14": Row(
        "A vault lent out bricks exits",
        "repayment, sales, mandates and liquidation need no loan",
        "modules/takings.vy",
        LIQUIDATED,
    ),
    "A15": Row(
        "A quota punishes a rise or a gift",
        "quotas in units; what is above costs nothing",
        "modules/margin.vy",
        "threats/test_prices.py",
    ),
    "A16": Row(
        "In before a known gain, out before a known loss",
        "asked first, priced an hour or a day and a round later, less a spread",
        HOUSE,
        TRADED,
    ),
    "A17": Row(
        "Volatility shaped by who pokes",
        "samples come from the rounds",
        "modules/volatility.vy",
        MEASURED + "_volatility.py",
    ),
    "A18": Row(
        "Truncation toward zero pays a unit",
        "named roundings",
        "modules/fixed_point.vy",
        TRADED,
    ),
    "A19": Row(
        "Two accounts of one owner over a gap",
        "positions open at the initial margin; what a loser cannot pay is not lent to it",
        HEALTH,
        TRADED,
    ),
    "A20": Row(
        "Losses of others made into debts",
        "an open loss is collected for a winner that the house cannot pay, and only what it lacks",
        PERPS,
        TRADED,
    ),
}

NOT_MET: dict[str, str] = {
    "T53": "no entry takes a permit",
}


def named() -> dict[str, set[str]]:
    """Ids that names or docstrings of tests cite, with the files below tests/ that do."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for text in _texts(ast.parse(path.read_text())):
            for known in ID.findall(text):
                found.setdefault(known, set()).add(path.relative_to(TESTS).as_posix())
    return found


def _texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name.replace("_", " ") + " " + (ast.get_docstring(node) or "")


def order(known: str) -> tuple[str, int]:
    """T before A, then by number."""
    return {"T": "0", "A": "1"}[known[0]], int(known[1:])


def render() -> str:
    """The page."""
    lines = [
        "# Threats",
        "",
        "What the contracts must withstand, what holds it off, and where it is tried. Ids are",
        "stable; tests cite them. `T` are known ways in which protocols of this kind were robbed",
        "or stopped, `A` attacks on this design. `python tests/threats/register.py` writes the",
        "page and a test checks it: an id stands in the first table if and only if a test names",
        "it.",
        "",
        "| id | threat | defence | in `contracts/` | tried in `tests/` |",
        "|---|---|---|---|---|",
    ]
    for known in sorted(THREATS, key=order):
        row = THREATS[known]
        lines.append(f"| {known} | {row.threat} | {row.defence} | `{row.where}` | `{row.test}` |")
    lines += [
        "",
        "## Not met by this code",
        "",
        "| id | why |",
        "|---|---|",
        *(f"| {known} | {NOT_MET[known]} |" for known in sorted(NOT_MET, key=order)),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render())
