# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Coming rates
@license MIT
@author  Ballast contributors
@notice  An account as it would stand were every change of parameters under way complete: a requirement that is going to
         rise counts in full from the first second of its notice.
@dev     Initial margin only, and never less than now. Who acts on it acts before anybody has to.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IRiskOracle
from contracts.modules import margin
from contracts.modules import packing


@internal
@view
def _raised(picture_: IMandates.Snapshot, oracle: address) -> IMandates.Snapshot:
    picture: IMandates.Snapshot = picture_
    for i: uint256 in range(len(picture.legs), bound=16):
        leg: IMandates.Leg = picture.legs[i]
        price: uint256 = packing._newest_wad(leg.price_word)
        now: margin.Terms = margin._terms(leg.position, leg.cost, leg.funding, price, leg.risk_word)
        coming: uint256 = staticcall IRiskOracle(oracle).pending_risk(leg.asset)
        picture.legs[i].risk_word = packing._with_worse_init(leg.risk_word, coming)
        then: margin.Terms = margin._terms(
            leg.position, leg.cost, leg.funding, price, picture.legs[i].risk_word
        )
        picture.equity_init += then.equity_init - now.equity_init
        picture.required_init = picture.required_init + then.required_init - now.required_init
    return picture
