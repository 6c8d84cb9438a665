"""Exact models: what the contracts compute, in Python integers, to the wei.

`margin` is the margin equation and the test of an increase, `ledger` an account and its loan,
`sizing` and `plan` the default hook, `mandate` the tests after it, `vault` and `oracle` those
contracts. `vectorised` is the margin equation for many accounts in float64; it needs NumPy and is
imported by those who use it.
"""

from __future__ import annotations

from ballast.model.ledger import Account, Loans
from ballast.model.mandate import judgement, least_proceeds_up, loss_wad
from ballast.model.margin import (
    Leg,
    Mark,
    Position,
    Terms,
    assess,
    increase_refusal,
    is_no_riskier,
    terms_of,
)
from ballast.model.oracle import Price, Risk
from ballast.model.plan import (
    Bounds,
    Code,
    Kind,
    Plan,
    Policy,
    Sale,
    Scene,
    Step,
    Wallet,
    carry_out,
    make_plan,
)

__all__ = [
    "Account",
    "Code",
    "Kind",
    "Leg",
    "Loans",
    "Mark",
    "Plan",
    "Bounds",
    "Policy",
    "Position",
    "Price",
    "Risk",
    "Sale",
    "Scene",
    "Step",
    "Terms",
    "Wallet",
    "assess",
    "carry_out",
    "increase_refusal",
    "is_no_riskier",
    "judgement",
    "least_proceeds_up",
    "loss_wad",
    "make_plan",
    "terms_of",
]
