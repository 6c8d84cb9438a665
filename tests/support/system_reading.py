"""Reading a `State`: view calls alone, prepared once, all of them in one message.

A campaign reads some four hundred words per action, most of which are those of the reading before:
the answers to all questions of one kind lie side by side, and are decoded only where a byte of them
is another. A part of a state that is the same object as in the state before is therefore the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ballast.chain import Contract, Reverted
from ballast.model.margin import GWEI, Mark, Terms
from ballast.model.perps import Headroom, Market, MarketTerms
from tests.support.system_state import State, signed
from tests.support.world import QUOTE

if TYPE_CHECKING:
    from tests.support.system_cast import Cast

Question = tuple[Any, str, bytes]
ASKING_GAS = 900_000_000
MOST_CODE = 24_000
POOL_VIEWS = (
    *("totalSupply", "totalAssets", "entry_assets", "exit_assets", "request_room"),
    *("bad_debt_wad", "deposit_cap", "oldest_redemption"),
)
CLAIM_VIEWS = ("maxDeposit", "maxMint", "maxRedeem", "maxWithdraw")
SETTINGS = (
    *("hook", "guard", "announced", "policy", "last_at"),
    *("allocation", "announced_allocation"),
)
# Kinds whose answers are more than one number.
MANY_WORDS = frozenset(
    {
        *("round", "vault_state", "marks", "escrow"),
        *("terms_of", "exposure_of", "headroom_of", "wind_down_of"),
    }
)
# Kinds that may change while time passes and nobody acts.
WITH_TIME = frozenset(
    {
        *("terms", "wallet", "permission", "headroom_of", "house", "pool", "claim", "budget"),
        *("round", "vault", "vault_state", "marks"),
    }
)
WOUND_DOWN_AT = (2**24 - 1) * 256  # where a market says since when it is closed: for good
VAULT_FIELDS = ("supply", "idle", "accrued_at", "debt_shares", "index_wad", "reserves")


def _questions(cast: Cast) -> list[Question]:
    """Every view call of one reading: key, address, call data. The key begins with its kind."""
    world, system = cast.world, cast.world.system
    ch, mandates, rebalancer = world.clearinghouse, world.mandates, world.rebalancer
    perps, pool = system.perps, system.liquidity_vault
    plan: list[Question] = []

    def ask(key: Any, contract: Contract, function: str, *args: Any) -> None:
        plan.append((key, contract.address, contract.function(function).encode(*args)))

    ids = [world.asset(name) for name in cast.names]
    for account in cast.everyone:
        ask(("account", account), ch, "account_word", account)
        ask(("listed", account), ch, "listed_word", account)
        for name in cast.names:
            ask(("position", account, name), ch, "position_word", account, world.asset(name))
        for name in cast.market_names:
            ask(("cost", account, name), ch, "cost_word", account, world.asset(name))
        ask(("terms", account), ch, "assess", account)
    for account in cast.accounts:
        ask(("hook", account), mandates, "hook_of", account)
        ask(("guard", account), mandates, "guard_word", account)
        ask(("announced", account), mandates, "announced_guard", account)
        ask(("allocation", account), mandates, "allocation_words", account)
        ask(("announced_allocation", account), mandates, "announced_allocation", account)
        ask(("policy", account), rebalancer, "policy_of", account)
        ask(("last_at", account), rebalancer, "last_at", account)
        ask(("wallet", account), mandates, "wallet_left", account)
        ask(("flag", account), system.liquidator, "flagged_since", account)
        for role in ("operator", "attacker"):
            ask(
                ("permission", account, role), mandates, "permissions_of", account, cast.roles[role]
            )
    for name in cast.names:
        ask(("supply", name), ch, "supply_word", world.asset(name))
    for name in cast.market_names:
        asset = world.asset(name)
        ask(("market", name), ch, "market_word", asset)
        for view in ("terms_of", "exposure_of", "headroom_of", "closed_at"):
            ask((view, name), perps, view, asset)
        ask(("wind_down_of", name), system.deleverager, "wind_down_of", asset)
    for view in ("free_wad", "skew_charge_wad", "uncertainty_wad", "oldest_round_at"):
        ask(("house", view), perps, view)
    ask(("house", "below_since"), system.deleverager, "below_since")
    for view in POOL_VIEWS:
        ask(("pool", view), pool, view)
    ask(("escrow",), pool, "escrow")
    for provider in cast.providers:
        for view in CLAIM_VIEWS:
            ask(("claim", provider, view), pool, view, cast.roles[provider])
    for role in (*cast.owners, "attacker"):
        ask(("budget", cast.roles[role]), mandates, "budget_left", cast.roles[role])
    for name, token in world.tokens.items():
        ask(("token_supply", name), token, "totalSupply")
        for holder, address in cast.holders.items():
            ask(("balance", name, holder), token, "balanceOf", address)
    for holder, address in cast.holders.items():
        ask(("share", holder), system.vault, "balanceOf", address)
        ask(("pool_share", holder), pool, "balanceOf", address)
    for name, feed in world.feeds.items():
        ask(("round", name), feed, "latestRoundData")
    for view in ("totalSupply", "totalAssets", "utilisation_wad", "borrow_rate_ray"):
        ask(("vault", view), system.vault, view)
    for view in ("deposit_cap", "reserve_factor_bps", "total_debt", "max_loan", "debt_index_ray"):
        ask(("vault", view), system.vault, view)
    ask(("vault_state",), system.vault, "state")
    ask(("marks",), system.oracle, "marks", ids)
    ask(("call_state",), ch, "call_state")
    return plan


class Reader:
    """Reads the states of one cast."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self._keys: dict[str, list[Any]] = {}
        asked: dict[str, bytes] = {}
        for question in _questions(cast):
            kind, *rest = question[0]
            self._keys.setdefault(kind, []).append(rest[0] if len(rest) == 1 else tuple(rest))
            asked[kind] = asked.get(kind, b"") + _encoded(question)
        # What is asked is part of the code that asks it, which spares handing over thirty
        # kilobytes at every reading. What time changes comes first.
        self._askers: list[tuple[str, list[str]]] = []
        self._ask_of([kind for kind in asked if kind in WITH_TIME], asked)
        some: list[str] = []
        for kind in [kind for kind in asked if kind not in WITH_TIME]:
            if sum(len(asked[k]) for k in (*some, kind)) > MOST_CODE:
                self._ask_of(some, asked)
                some = []
            some.append(kind)
        self._ask_of(some, asked)
        self._blocks: dict[str, bytes] = dict.fromkeys(self._keys, b"")
        self._parts: dict[str, Any] = {}
        self._failures: dict[str, tuple[str, ...]] = {}
        self._made: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def read(self, *, is_only_later: bool = False) -> State:
        """Everything, now. A view that reverts is listed in `failures`.

        With `is_only_later` nothing but time has passed since the reading before: what time does
        not change is not asked.
        """
        for asker, kinds in self._askers[: 1 if is_only_later else None]:
            raw = self._answered(asker)
            place = 0
            for kind in kinds:
                block = self._blocks[kind]
                if not block or not raw.startswith(block, place):
                    block = self._decode(kind, raw, place)
                place += len(block)
        return self._state()

    def ask(self, questions: Sequence[Question]) -> dict[Any, bytes]:
        """Answers by key to any other questions, none for a view that reverts."""
        raw = self._answered(self._askers[0][0], b"".join(map(_encoded, questions)))
        return {
            key: answer
            for key, is_answered, answer, _ in _answers([q[0] for q in questions], raw, 0)
            if is_answered
        }

    def _ask_of(self, kinds: Sequence[str], asked: Mapping[str, bytes]) -> None:
        chain = self.cast.world.chain
        code = _asking(b"".join(asked[kind] for kind in kinds))
        created = bytes.fromhex(f"61{len(code):04x}80600a5f395ff3") + code
        address = chain.send_raw(None, created, chain.accounts[9]).contract_address
        assert address is not None
        self._askers.append((address, list(kinds)))

    def _answered(self, asker: str, asked: bytes = b"") -> bytes:
        chain = self.cast.world.chain
        return chain.call_raw(asker, asked, is_view=True, gas=ASKING_GAS)

    def _decode(self, kind: str, raw: bytes, start: int) -> bytes:
        """Remembers the answers to the questions of a kind; the part of the message they are."""
        answers: dict[Any, bytes] = {}
        failures = []
        place = start
        for key, is_answered, answer, end in _answers(self._keys[kind], raw, start):
            if not is_answered:
                failures.append(f"{kind} {key}: {Reverted(answer)}")
            answers[key] = answer if is_answered else bytes(64 * 32)
            place = end
        self._blocks[kind] = raw[start:place]
        self._failures[kind] = tuple(failures)
        self._parts[kind] = _decoded(kind, answers)
        if kind in SETTINGS:
            self._parts[f"raw {kind}"] = answers
        return self._blocks[kind]

    def _from(self, name: str, kinds: Sequence[str], make: Callable[..., Any]) -> Any:
        """A part of the state made of several kinds; the same object while they are the same."""
        parts = tuple(self._parts[kind] for kind in kinds)
        known = self._made.get(name)
        if known is None or any(a is not b for a, b in zip(known[0], parts, strict=True)):
            self._made[name] = known = (parts, make(*parts))
        return known[1]

    def _state(self) -> State:
        cast, parts = self.cast, self._parts
        return State(
            time=cast.world.chain.time,
            house=cast.house,
            ids=cast.world.system.assets,
            quote_unit_wad=cast.unit(QUOTE),
            account_words=parts["account"],
            listed=parts["listed"],
            positions=parts["position"],
            costs=parts["cost"],
            market_words=parts["market"],
            markets=self._markets(),
            sides={name: tuple(words[:2]) for name, words in parts["exposure_of"].items()},
            endings=self._from("endings", ("wind_down_of",), _endings),
            closed=parts["closed_at"],
            house_figures=parts["house"],
            pool=self._from("pool", ("pool", "escrow"), _pool),
            pool_shares=parts["pool_share"],
            claims=parts["claim"],
            settings=self._from("settings", [f"raw {kind}" for kind in SETTINGS], self._settings),
            guards=parts["guard"],
            terms=parts["terms"],
            supplies=parts["supply"],
            balances=parts["balance"],
            token_supplies=parts["token_supply"],
            shares=parts["share"],
            budgets=parts["budget"],
            wallets=parts["wallet"],
            permissions=parts["permission"],
            flags=parts["flag"],
            marks=self._from("marks", ("marks",), self._marks),
            rounds={name: (signed(w[1]), w[3]) for name, w in parts["round"].items()},
            vault=self._from("vault", ("vault", "vault_state"), _vault),
            call_state=parts["call_state"][()],
            failures=sum(self._failures.values(), ()),
        )

    def _settings(self, *kinds: Mapping[int, bytes]) -> Mapping[int, bytes]:
        return {account: b"".join(raw[account] for raw in kinds) for account in self.cast.accounts}

    def _marks(self, answers: Mapping[tuple[()], list[int]]) -> Mapping[str, Mark]:
        words = answers[()][2:]
        return {
            name: Mark.from_words(words[2 * i], words[2 * i + 1])
            for i, name in enumerate(self.cast.names)
        }

    def _markets(self) -> Mapping[str, Market]:
        markets = {name: self._market(name) for name in self.cast.market_names}
        if markets != self._parts.get("markets"):
            self._parts["markets"] = markets
        known: Mapping[str, Market] = self._parts["markets"]
        return known

    def _market(self, name: str) -> Market:
        asset, seen, parts = self.cast.world.asset(name), self.cast.seen, self._parts
        long_wad, short_wad, refreshed_at = parts["headroom_of"][name][:3]
        return Market.from_words(
            MarketTerms(*parts["terms_of"][name][:10]),
            seen.exposures.get(asset, 0),
            Headroom(
                long_wad // GWEI, short_wad // GWEI, refreshed_at, seen.insured.get(asset, 0)
            ).word,
            seen.breakers.get(asset, 0),
            parts["market"][name],
            seen.close_only.get(asset, False),
            parts["closed_at"][name] == WOUND_DOWN_AT,
        )


def _asking(asked: bytes) -> bytes:
    """Code that asks many views in one message, which takes a third of the time.

    What it asks is its input or, where that is empty, the end of its code: for each view address
    (20 bytes), length of the call data (2), call data. It answers, for each, success (32), length
    (32) and what was returned.
    """
    # Questions lie in memory from 0 to `end`, answers behind them.
    fill = "3660145762{0:06x}61{1:04x}5f3962{0:06x}601a56"  # from the code
    fill += "5b365f5f37365b"  # or from the input; end is on the stack
    loop = (
        "80"
        "5f"  # out = end, in = 0
        "5b"
        "82"
        "81"
        "10"
        "602a"
        "57"  # while in < end:
        "50"
        "81"
        "90"
        "03"
        "90"
        "f3"  # (behind the loop: return from end to out)
        "5b"
        "80"
        "51"
        "80"
        "6050"
        "1c"
        "61ffff"
        "16"
        "90"
        "6060"
        "1c"  # length, address at in
        "5f"
        "5f"
        "83"
        "85"
        "6016"
        "01"
        "84"
        "5a"
        "fa"  # static call with what follows them
        "84"
        "52"
        "3d"
        "84"
        "6020"
        "01"
        "52"  # success and length at out
        "3d"
        "5f"
        "85"
        "6040"
        "01"
        "3e"  # what was returned behind them
        "50"
        "6016"
        "01"
        "01"
        "90"
        "3d"
        "01"
        "6040"
        "01"
        "90"
        "601d"
        "56"  # advance both
    )
    size = len(bytes.fromhex(fill.format(0, 0) + loop))
    return bytes.fromhex(fill.format(len(asked), size) + loop) + asked


def _encoded(question: Question) -> bytes:
    _, address, data = question
    return bytes.fromhex(address[2:]) + len(data).to_bytes(2, "big") + data


def _answers(keys: Iterable[Any], raw: bytes, place: int) -> Iterator[tuple[Any, bool, bytes, int]]:
    """Key, success, what was returned, and where it ends."""
    for key in keys:
        end = place + 64 + int.from_bytes(raw[place + 32 : place + 64], "big")
        yield key, raw[place + 31] == 1, raw[place + 64 : end], end
        place = end


def _decoded(kind: str, answers: Mapping[Any, bytes]) -> Mapping[Any, Any]:
    if kind == "terms":
        words = {account: _words(raw) for account, raw in answers.items()}
        return {a: Terms(signed(w[0]), w[1], signed(w[2]), w[3]) for a, w in words.items()}
    if kind in MANY_WORDS:
        return {key: _words(raw) for key, raw in answers.items()}
    return {key: int.from_bytes(raw[:32], "big") for key, raw in answers.items()}


def _words(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]


def _vault(views: Mapping[str, int], state: Mapping[tuple[()], list[int]]) -> Mapping[str, int]:
    return {**views, **dict(zip(VAULT_FIELDS, state[()], strict=False))}


def _endings(answers: Mapping[str, list[int]]) -> Mapping[str, tuple[int, int]]:
    return {name: (words[0], words[1]) for name, words in answers.items()}


def _pool(views: Mapping[str, int], escrow: Mapping[tuple[()], list[int]]) -> Mapping[str, int]:
    waiting, set_aside = escrow[()][:2]
    return {**views, "waiting": waiting, "set_aside": set_aside}
