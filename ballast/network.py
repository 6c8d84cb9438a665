"""Deployment to a network: planned from a parameter file, interrupted at will, read back.

    chain = SigningChain(url, KeySigner.of(key))
    parameters = load_parameters("ballast/parameters/sepolia.toml", os.environ)
    deployment = Deployment.open(chain, parameters, manifest_path(chain), source="sepolia.toml")
    deployment.estimate()            # rehearses every step in this process: gas, refusals
    deployment.run(on_step=print)    # sends what is not done yet
    deployment.finish()              # waits, reads everything back, closes the manifest

The steps follow from the parameters, the deployer's address, his nonce before the first of them,
and the prices at that time; the manifest keeps the last two. Contracts come first, in one unbroken
run of nonces, for their addresses are computed from these. Each step is looked up on the chain
before it is sent, so a deployment that was stopped anywhere goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from ballast.chain import ChainError, Contract, Reverted, RevmChain, RpcChain, SigningChain
from ballast.deploy import WAD, Market, System, plan_listings, plan_system
from ballast.governance import ANYONE, plan_governance, plan_handover
from ballast.manifest import FORMAT, Manifest, sources
from ballast.parameters import DEPLOYER, FEED_TOLERANCE_BPS, QUOTE
from ballast.steps import Create, DeployError, Plan, Reading, Step, code_hash, plain, view
from ballast.venue import Pool, full_range, uniswap_artifact, weth_artifact

ANSWER_DECIMALS = 8
_DEADLINE = 2**40  # of what adds liquidity: never
_BPS = 10_000

OnStep = Callable[[int, Step, "Outcome"], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a step: sent now, or found done; gas where a receipt is known."""

    is_new: bool
    gas_used: int | None


@dataclass(frozen=True)
class Target:
    """Everything that stands on a network once its plan has run."""

    system: System
    tokens: Mapping[str, Contract]  # by the names of assets, and `quote`
    feeds: Mapping[str, Contract]
    adapter: Contract | None
    timelock: Contract
    governance: Contract


def plan_network(plan: Plan, parameters: Mapping[str, Any], answers: Mapping[str, int]) -> Target:
    """Adds every step of a network's deployment.

    `answers` are the dollar prices of `quote` and of each asset at the beginning, 8 decimals: mock
    feeds open with them, pools of an own exchange too, and listings state them.
    """
    network = parameters["network"]
    names = [QUOTE, *parameters["assets"]]
    plan.chapter = "tokens and feeds"
    tokens = {name: _plan_token(plan, name, network["tokens"][name]) for name in names}
    feeds = {name: _plan_feed(plan, name, network["feeds"][name], answers[name]) for name in names}
    markets = {
        name: Market(tokens[name], feeds[name], answers[name] * WAD // answers[QUOTE])
        for name in parameters["assets"]
    }
    plan.chapter = "rooms"
    system = plan_system(
        plan,
        parameters,
        quote=tokens[QUOTE],
        quote_decimals=network["tokens"][QUOTE]["decimals"],
        markets=markets,
        quote_feed=feeds[QUOTE],
        sequencer_feed=network.get("sequencer_feed", "0x" + "00" * 20),
    )
    venue = network.get("uniswap")
    adapter, exchange = None, None
    plan.chapter = "exchange"
    if venue is not None:
        exchange = _plan_uniswap(plan) if "mock" in venue else None
        factory = venue["factory"] if exchange is None else exchange.factory
        adapter = plan.create("UniswapV3Adapter", system.exchange, factory, plan.sender)
    plan.chapter = "governance"
    terms = {key: _resolved(value, plan.sender) for key, value in parameters["governance"].items()}
    timelock, governance = plan_governance(
        plan,
        system,
        delay_s=terms["timelock_delay_s"],
        proposers=terms["proposers"],
        executors=terms["executors"] or [ANYONE],
        guardian=terms["guardian"],
        steward=terms["steward"],
    )
    # From here on nothing is created: these steps may come in any order and at any nonce.
    plan.chapter = "pools"
    if exchange is not None:
        _plan_pools(plan, exchange, network, tokens, answers)
    plan.chapter = "listings"
    plan_listings(
        plan,
        system,
        parameters,
        markets,
        quote_decimals=network["tokens"][QUOTE]["decimals"],
    )
    if adapter is not None:
        _plan_adapter(plan, system, adapter, tokens, venue["fee_ppm"])
    plan.chapter = "hand-over"
    adapters = [] if adapter is None else [adapter]
    plan_handover(plan, system, timelock, governance, guardian=terms["guardian"], adapters=adapters)
    return Target(system, tokens, feeds, adapter, timelock, governance)


def _resolved(value: Any, deployer: str) -> Any:
    if isinstance(value, list):
        return [_resolved(entry, deployer) for entry in value]
    return deployer if value == DEPLOYER else value


def _plan_token(plan: Plan, name: str, terms: Mapping[str, Any]) -> Contract:
    if "mock" not in terms:
        return plan.chain.at(terms["address"], "MockToken")  # for its ERC-20 functions
    return plan.create(
        *("MockToken", terms["name"], terms["symbol"], terms["decimals"]), name=f"token {name}"
    )


def _plan_feed(plan: Plan, name: str, terms: Mapping[str, Any], answer: int) -> Contract:
    if "mock" not in terms:
        return plan.chain.at(terms["address"], "MockFeed")  # for its AggregatorV3 functions
    feed = plan.create("MockFeed", ANSWER_DECIMALS, f"{name} / USD", name=f"feed {name}")
    plan.call(
        f"publish the first round of {name}",
        *(feed.set_answer, answer),
        # Anybody may publish a later one.
        readings=lambda: [Reading("has a round", True, feed.latestRoundData()[0] > 0)],
    )
    return feed


# ---- an own exchange


@dataclass(frozen=True)
class _Exchange:
    factory: Contract
    router: Contract
    manager: Contract


def _plan_uniswap(plan: Plan) -> _Exchange:
    weth = plan.create(weth_artifact())
    factory = plan.create(uniswap_artifact("UniswapV3Factory"))
    router = plan.create(uniswap_artifact("SwapRouter"), factory, weth)
    # The last argument draws pictures of positions; nobody looks at them here.
    manager = plan.create(uniswap_artifact("NonfungiblePositionManager"), factory, weth, weth)
    return _Exchange(factory, router, manager)


def _plan_pools(
    plan: Plan,
    exchange: _Exchange,
    network: Mapping[str, Any],
    tokens: Mapping[str, Contract],
    answers: Mapping[str, int],
) -> None:
    """A full-range pool of each asset, opened at the prices of the feeds and filled by minting."""
    venue, terms = network["uniswap"], network["tokens"]
    quote, fee_ppm, depth = tokens[QUOTE], venue["fee_ppm"], venue["pool_depth"]
    assets = [name for name in tokens if name != QUOTE]
    pools = {
        name: Pool(
            asset=name,
            contract=exchange.factory,  # which knows where the pool is, once there is one
            token=tokens[name],
            token_decimals=terms[name]["decimals"],
            quote=quote,
            quote_decimals=terms[QUOTE]["decimals"],
            fee_ppm=fee_ppm,
        )
        for name in assets
    }
    # In quote tokens, of which a pool is made; a feed tells dollars.
    prices = {name: answers[name] * 10**ANSWER_DECIMALS // answers[QUOTE] for name in assets}
    quote_units = depth * 10 ** terms[QUOTE]["decimals"]
    amounts = {
        name: depth * 10 ** (terms[name]["decimals"] + ANSWER_DECIMALS) // prices[name]
        for name in assets
    }

    def pool_address(name: str) -> int:
        return int(exchange.factory.getPool(tokens[name], quote, fee_ppm), 16)

    def is_filled(name: str) -> bool:
        address = pool_address(name)
        pool = plan.chain.at(address, uniswap_artifact("UniswapV3Pool"))
        return address != 0 and pool.liquidity() > 0

    def held(name: str, units: int, uses: Sequence[str]) -> list[Reading]:
        is_there = tokens[name].balanceOf(plan.sender) >= units
        return [Reading("are there, or used", True, is_there or all(map(is_filled, uses)))]

    def allowed(name: str, units: int, uses: Sequence[str]) -> list[Reading]:
        is_allowed = tokens[name].allowance(plan.sender, exchange.manager) >= units
        return [Reading("may be taken, or are", True, is_allowed or all(map(is_filled, uses)))]

    def opened(name: str) -> list[Reading]:
        return [Reading("exists", True, pool_address(name) != 0)]

    def filled(name: str) -> list[Reading]:
        return [Reading("has liquidity", True, is_filled(name))]

    for name, units in {QUOTE: quote_units * len(assets), **amounts}.items():
        uses = assets if name == QUOTE else [name]
        plan.call(
            f"mint {name} for the pools",
            *(tokens[name].mint, plan.sender, units),
            readings=partial(held, name, units, uses),
        )
        plan.call(
            f"let the pools have {name}",
            *(tokens[name].approve, exchange.manager, units),
            readings=partial(allowed, name, units, uses),
        )
    for name, pool in pools.items():
        low, high = sorted((pool.token.address, quote.address), key=lambda a: int(a, 16))
        plan.call(
            f"open the pool of {name}",
            exchange.manager.createAndInitializePoolIfNecessary,
            *(low, high, fee_ppm, pool.sqrt_price_x96(prices[name])),
            readings=partial(opened, name),
        )
        sides = {quote.address: quote_units, pool.token.address: amounts[name]}
        position = (
            *(low, high, fee_ppm, *full_range(fee_ppm), sides[low], sides[high]),
            *(0, 0, plan.sender, _DEADLINE),
        )
        plan.call(
            f"fill the pool of {name}",
            *(exchange.manager.mint, position),
            readings=partial(filled, name),
        )


def _plan_adapter(
    plan: Plan, system: System, adapter: Contract, tokens: Mapping[str, Contract], fee_ppm: int
) -> None:
    quote = tokens[QUOTE]

    def listed(name: str) -> list[Reading]:
        return [view("fee_ppm", adapter.fee_tier, tokens[name], quote, wanted=fee_ppm)]

    for name in system.assets:
        plan.call(
            f"list the pool of {name} at the adapter",
            *(adapter.set_fee_tier, tokens[name], quote, fee_ppm),
            readings=partial(listed, name),
        )
    plan.call(
        "allow swaps through the adapter",
        *(system.listings.set_adapter, adapter, True),
        readings=lambda: [view("is allowed", system.exchange.is_adapter, adapter, wanted=True)],
    )


# ---- what is on the chain already


def read_answers(chain: SigningChain, parameters: Mapping[str, Any]) -> dict[str, int]:
    """Dollar prices now, 8 decimals: of feeds as they tell them, of mocks as the file does.

    Raises DeployError for a feed that is not there, tells nothing, or is far from the file.
    """
    answers = {}
    for name, terms in parameters["network"]["feeds"].items():
        stated = terms.get("price_usd")
        if "mock" in terms:
            answers[name] = int(stated * 10**ANSWER_DECIMALS)
            continue
        place = f"network.feeds.{name}"
        feed = chain.at(terms["address"], "MockFeed")
        _require_code(chain, place, terms["address"])
        try:
            answer = int(feed.latestRoundData()[1]) * 10**ANSWER_DECIMALS // 10 ** feed.decimals()
        except Exception as error:
            raise DeployError(f"{place}: {terms['address']} is no feed: {error}") from error
        if answer <= 0:
            raise DeployError(f"{place}: the feed tells a price of {answer}")
        if stated is not None:
            gap = abs(answer - int(stated * 10**ANSWER_DECIMALS)) * _BPS
            if gap > FEED_TOLERANCE_BPS * int(stated * 10**ANSWER_DECIMALS):
                raise DeployError(
                    f"{place}.price_usd is {stated}, and the feed tells "
                    f"{answer / 10**ANSWER_DECIMALS:,.8g}: more than 20% apart. Correct the file "
                    "if the feed is right"
                )
        answers[name] = answer
    return answers


def check_surroundings(chain: SigningChain, parameters: Mapping[str, Any]) -> None:
    """What a file says is on the chain must be there. Raises DeployError with the field."""
    network = parameters["network"]
    for name, terms in network["tokens"].items():
        if "mock" not in terms:
            place = f"network.tokens.{name}"
            _require_code(chain, place, terms["address"])
            decimals = chain.at(terms["address"], "MockToken").decimals()
            if decimals != terms["decimals"]:
                raise DeployError(f"{place}.decimals: the token has {decimals}")
    venue = network.get("uniswap")
    if venue is not None and "mock" not in venue:
        _require_code(chain, "network.uniswap.router", venue["router"])
        _require_code(chain, "network.uniswap.factory", venue["factory"])
        router = chain.at(venue["router"], uniswap_artifact("SwapRouter"))
        if router.factory() != venue["factory"]:
            raise DeployError(f"network.uniswap.factory: the router's is {router.factory()}")
        factory = chain.at(venue["factory"], uniswap_artifact("UniswapV3Factory"))
        quote = network["tokens"][QUOTE]["address"]
        for name in parameters["assets"]:
            token = network["tokens"][name]["address"]
            if int(factory.getPool(token, quote, venue["fee_ppm"]), 16) == 0:
                raise DeployError(
                    f"network.uniswap.fee_ppm: there is no pool of {name} at this tier"
                )


def _require_code(chain: SigningChain, place: str, address: str) -> None:
    if not chain.code(address):
        raise DeployError(f"{place}: there is no contract at {address} on this chain")


# ---- the deployment


@dataclass(frozen=True)
class Estimate:
    """What a deployment is going to take."""

    gas: Mapping[str, int]  # by the name of the step
    gas_price_wei: int
    balance_wei: int

    @property
    def total_gas(self) -> int:
        """Gas of all steps."""
        return sum(self.gas.values())


@dataclass
class Deployment:
    """One deployment and its manifest; `open` begins or resumes it."""

    chain: SigningChain
    parameters: Mapping[str, Any]
    manifest: Manifest
    plan: Plan
    target: Target
    is_begun: bool = field(default=False)  # whether the manifest is on disk

    # ---- beginning

    @classmethod
    def open(
        cls,
        chain: SigningChain,
        parameters: Mapping[str, Any],
        path: Path,
        *,
        source: str = "",
    ) -> Deployment:
        """Resumes the deployment whose manifest is at `path`, or plans a new one.

        Nothing is written or sent. Raises DeployError when the chain, the manifest or the
        parameters do not go together, with what to do.
        """
        network = parameters.get("network")
        if network is None:
            raise DeployError(f"{source or 'the parameters'} have no [network] section")
        chain_id = chain.chain_id
        if chain_id != network["chain_id"]:
            raise DeployError(
                f"the node is of chain {chain_id:,} and {source or 'the file'} is for chain "
                f"{network['chain_id']:,}: choose another --network or --parameters"
            )
        deployer, genesis = chain.key.address, genesis_hash(chain)
        try:
            manifest = Manifest.load(path)
        except DeployError:
            if path.exists():
                raise
            manifest = Manifest(path, {})
        if manifest.data:
            _check_same(manifest, parameters, deployer, chain_id, genesis)
        else:
            manifest.data = _beginning(chain, parameters, deployer, genesis, source)
        plan = Plan(chain, deployer, manifest.data["first_nonce"])
        target = plan_network(plan, parameters, manifest.data["answers"])
        deployment = cls(chain, parameters, manifest, plan, target, path.exists())
        deployment._describe()
        return deployment

    def _describe(self) -> None:
        """What follows from the plan alone: addresses, before anything stands there."""
        data, target = self.manifest.data, self.target
        data["quote"] = target.tokens[QUOTE].address
        data["tokens"] = {name: token.address for name, token in target.tokens.items()}
        data["feeds"] = {name: feed.address for name, feed in target.feeds.items()}
        data["assets"] = dict(target.system.assets)
        terms = self.parameters["governance"]
        data["roles"] = {
            "owner": target.governance.address,
            "timelock": target.timelock.address,
            "timelock_delay_s": terms["timelock_delay_s"],
            **{
                key: _resolved(terms[key], self.plan.sender)
                for key in ("guardian", "steward", "proposers", "executors")
            },
        }

    # ---- what it takes

    def estimate(self) -> Estimate:
        """Rehearses every step on a chain in this process.

        What the file only names is stood in for by mocks. Raises DeployError for a step that a
        contract refuses.
        """
        gas = rehearse(self.parameters, self.manifest.data["answers"])
        return Estimate(
            {step.name: gas[step.name] for step in self.steps},
            self.chain.key.likely_price(self.chain.rpc),
            self.chain.balance(self.plan.sender),
        )

    @property
    def steps(self) -> list[Step]:
        """All steps in order."""
        return self.plan.steps

    @property
    def roles(self) -> dict[str, str]:
        """Who will be what, for people to read."""
        known, deployer = self.manifest.data["roles"], self.plan.sender

        def named(addresses: Sequence[str]) -> str:
            return ", ".join(
                f"{address} (the deployer)" if address == deployer else address
                for address in addresses
            )

        return {
            "deployer, who keeps no other role": deployer,
            "owner of every room": f"{known['owner']} (Governance)",
            f"its owner, delay {known['timelock_delay_s']:,} s": f"{known['timelock']} (Timelock)",
            "proposers": named(known["proposers"]),
            "executors": named(known["executors"]) or "anyone",
            "guardian": named([known["guardian"]]),
            "steward": named([known["steward"]]),
        }

    @property
    def left(self) -> list[Step]:
        """The steps that the manifest does not know as done."""
        known = self.manifest.data["steps"]
        return [step for step in self.steps if "block" not in known.get(step.name, {})]

    # ---- running

    def run(self, on_step: OnStep | None = None) -> None:
        """Sends what is not done yet, step by step; the manifest is written around each.

        Raises DeployError when another transaction of the deployer is in the way, Reverted and
        ChainError as they come: run it again to go on.
        """
        self.manifest.save()
        self.is_begun = True
        self._forget_what_vanished()
        created_last = max(i for i, step in enumerate(self.steps) if isinstance(step, Create))
        for number, step in enumerate(self.steps):
            if "block" in self.manifest.steps.get(step.name, {}):
                continue
            if self._is_done(number, step, number <= created_last):
                outcome = Outcome(False, self.manifest.steps[step.name].get("gas"))
            else:
                outcome = self._send(step)
            if on_step is not None:
                on_step(number, step, outcome)

    def _is_done(self, number: int, step: Step, has_fixed_nonce: bool) -> bool:
        """Whether the chain has this step already; then the manifest is told."""
        raw = self._mined(step)
        if raw is not None:
            if int(raw["status"], 16) == 0:
                return self._reverted_before(step, has_fixed_nonce)
            self._record(step, raw)
            return True
        if has_fixed_nonce:
            slot = self.plan.first_nonce + number
            nonce = self.chain.mined_nonce(self.plan.sender)
            if nonce < slot:
                raise DeployError(
                    f"{step.name} needs nonce {slot} of {self.plan.sender} and the node is at "
                    f"{nonce}: it has not caught up, or lost blocks. Run again when it has"
                )
            if nonce == slot:
                return False
            if step.readings is None or step.differences:
                raise self._in_the_way(step, slot)
        elif step.readings is None or step.differences:
            return False
        self._record(step, None)
        return True

    def _reverted_before(self, step: Step, has_fixed_nonce: bool) -> bool:
        if has_fixed_nonce:
            raise DeployError(
                f"{step.name} was mined and reverted, so its nonce is used up. {self._again}"
            )
        self.manifest.steps.pop(step.name)
        return False

    def _in_the_way(self, step: Step, slot: int) -> DeployError:
        return DeployError(
            f"another transaction of {self.plan.sender} has nonce {slot}, which {step.name} needs: "
            f"contracts name each other by addresses computed from these nonces. {self._again}"
        )

    @property
    def _again(self) -> str:
        return (
            "What is deployed so far cannot be used. Begin anew with --restart (the manifest is "
            "kept under another name), and leave the account alone until it is done"
        )

    def _mined(self, step: Step) -> dict[str, Any] | None:
        """The receipt of a transaction that an earlier run sent for this step, waited for."""
        for tx_hash in reversed(self.manifest.steps.get(step.name, {}).get("hashes", [])):
            raw = self.chain.raw_receipt(tx_hash)
            if raw is not None:
                return raw
            if self.chain.rpc.request("eth_getTransactionByHash", tx_hash) is not None:
                return self.chain.await_receipt(tx_hash)
        return None

    def _send(self, step: Step) -> Outcome:
        entry = self.manifest.steps.setdefault(step.name, {"hashes": []})

        def note(nonce: int, tx_hash: str) -> None:
            entry["hashes"].append(tx_hash)
            self.manifest.save()

        self.chain.key.on_signed = note
        try:
            receipt = step.send()
        except Reverted as error:
            raise DeployError(f"{step.name}: reverted: {error}") from error
        except ChainError as error:
            if "insufficient funds" in str(error).lower():
                balance = self.chain.balance(self.plan.sender) / WAD
                raise DeployError(
                    f"{step.name}: {self.plan.sender} has {balance:.6f} ether left, which does not "
                    "pay for it. Send some more there and run again: it goes on from here"
                ) from error
            raise
        assert receipt.tx_hash is not None
        raw = self.chain.raw_receipt(receipt.tx_hash)
        if raw is None:
            raise ChainError(f"{step.name}: the node forgot {receipt.tx_hash}; run again")
        self._record(step, raw)
        return Outcome(True, receipt.gas_used)

    def _record(self, step: Step, raw: Mapping[str, Any] | None) -> None:
        """What a receipt tells, or that the chain was found to have it without one."""
        entry = self.manifest.steps.setdefault(step.name, {"hashes": []})
        if raw is None:
            entry.update(hash=None, block=None, gas=None, fee_wei=None)
        else:
            gas = int(raw["gasUsed"], 16)
            price = int(raw.get("effectiveGasPrice", "0x0"), 16)
            entry.update(
                hash=str(raw["transactionHash"]),
                block=int(raw["blockNumber"], 16),
                gas=gas,
                fee_wei=gas * price,
            )
        if isinstance(step, Create):
            contract = step.contract
            encoded = contract.encode_constructor(*step.arguments)
            self.manifest.data["contracts"][step.name.removeprefix("deploy ")] = {
                "contract": contract.name,
                "source": contract.artifact.source,
                "address": contract.address,
                "arguments": plain(step.arguments),
                "encoded_arguments": "0x" + encoded.hex(),
                "code_hash": code_hash(self.chain.code(contract.address)),
            }
        self.manifest.save()

    def _forget_what_vanished(self) -> None:
        """Steps whose receipts a reorganisation took away are looked at again."""
        known = [(n, s["hash"]) for n, s in self.manifest.steps.items() if s.get("hash")]
        answers = self.chain.rpc.batch([("eth_getTransactionReceipt", [h]) for _, h in known])
        for (name, _), answer in zip(known, answers, strict=True):
            if answer is None:
                for key in ("hash", "block", "gas", "fee_wei"):
                    self.manifest.steps[name].pop(key, None)

    # ---- closing

    def finish(self) -> list[str]:
        """Waits for confirmations, reads everything back and closes the manifest.

        Returns what differs from the plan, which is nothing unless somebody changed it meanwhile.
        Raises DeployError when a reorganisation took steps away: run again.
        """
        self._require_all_mined()
        last = max(s["block"] for s in self.manifest.steps.values() if s["block"] is not None)
        self.chain.wait_for_block(last + self.parameters["network"]["confirmations"])
        self._require_all_mined()
        found = [
            f"{step.name}: {d.name} is {d.found}, not {d.wanted}"
            for step in self.steps
            for d in [*step.differences, *_settings(step)]
        ]
        self.manifest.data["is_complete"] = not found
        self.manifest.save()
        return found

    def _require_all_mined(self) -> None:
        self._forget_what_vanished()
        self.manifest.save()
        if self.left:
            raise DeployError(f"{self.left[0].name} is not in the chain any more: run again")


def _settings(step: Step) -> list[Reading]:
    return [r for r in step.settings() if r.differs] if isinstance(step, Create) else []


def rehearse(parameters: Mapping[str, Any], answers: Mapping[str, int]) -> dict[str, int]:
    """Runs a network's whole plan on a chain in this process: gas by the name of each step.

    Tokens, feeds and exchange that the file only names are stood in for by mocks, so there are more
    steps than there will be. Raises DeployError for the first one that is refused.
    """
    chain = RevmChain(is_cold=True, block_interval_s=12)
    plan = Plan(chain, chain.accounts[0])
    plan_network(plan, with_mocks(parameters, answers), answers)
    gas: dict[str, int] = {}
    for step in plan.steps:
        try:
            gas[step.name] = step.send().gas_used
        except Reverted as error:
            raise DeployError(f"{step.name}: refused in the rehearsal: {error}") from error
    return gas


def with_mocks(parameters: Mapping[str, Any], answers: Mapping[str, int]) -> dict[str, Any]:
    """The parameters with a mock of everything that only other networks have."""
    network = dict(parameters["network"])
    network["tokens"] = {
        name: {"mock": True, "name": name, "symbol": name, "decimals": terms["decimals"]}
        for name, terms in network["tokens"].items()
    }
    network["feeds"] = {
        name: {"mock": True, "price_usd": Decimal(answers[name]).scaleb(-ANSWER_DECIMALS)}
        for name in network["feeds"]
    }
    if "uniswap" in network:
        fee_ppm = network["uniswap"]["fee_ppm"]
        network["uniswap"] = {"mock": True, "fee_ppm": fee_ppm, "pool_depth": 10**6}
    network.pop("sequencer_feed", None)
    return {**parameters, "network": network}


# ---- what a manifest is begun with, and must still agree with


def _beginning(
    chain: SigningChain,
    parameters: Mapping[str, Any],
    deployer: str,
    genesis: str,
    source: str,
) -> dict[str, Any]:
    check_surroundings(chain, parameters)
    answers = read_answers(chain, parameters)
    nonce, waiting = chain.mined_nonce(deployer), chain.nonce(deployer)
    if waiting > nonce:
        raise DeployError(
            f"{deployer} has {waiting - nonce} transactions that are not mined yet: wait for them"
        )
    network = parameters["network"]
    return {
        "format": FORMAT,
        "network": {"name": network["name"], "chain_id": network["chain_id"], "genesis": genesis},
        "deployer": deployer,
        "first_nonce": nonce,
        **sources(),
        "parameters_file": source,
        "parameters": plain(parameters),
        "answers": answers,
        "is_complete": False,
        "contracts": {},
        "steps": {},
    }


def _check_same(
    manifest: Manifest,
    parameters: Mapping[str, Any],
    deployer: str,
    chain_id: int,
    genesis: str,
) -> None:
    data, path = manifest.data, manifest.path
    if (data["network"]["chain_id"], data["network"]["genesis"]) != (chain_id, genesis):
        raise DeployError(
            f"{path} is of another chain (block 0 is {data['network']['genesis'][:10]}, here "
            f"{genesis[:10]}). Keep it under another name with --restart, or choose its --network"
        )
    if data["deployer"] != deployer:
        raise DeployError(
            f"{path} was begun by {data['deployer']}, and the key at hand is that of {deployer}: "
            "go on with that account, or begin anew with --restart"
        )
    for name, known, given in differing_fields(manifest, parameters):
        raise DeployError(
            f"{name} is {given} in the file, and {path} was begun with {known}. Put it back, or "
            "begin anew with --restart"
        )
    if not manifest.is_complete and data["contracts_hash"] != sources()["contracts_hash"]:
        raise DeployError(
            f"the contracts have changed since {path} was begun at commit {data['commit']}: check "
            "that commit out to go on, or begin anew with --restart"
        )


def differing_fields(
    manifest: Manifest, parameters: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Fields that differ between a manifest and a file: name, in the manifest, in the file."""
    known, given = _flat(manifest.data["parameters"]), _flat(plain(parameters))
    return [
        (name, known.get(name), given.get(name))
        for name in sorted({**known, **given})
        if known.get(name) != given.get(name)
    ]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def genesis_hash(chain: RpcChain) -> str:
    """Hash of block 0, which tells chains of one id apart."""
    return str(chain.rpc.request("eth_getBlockByNumber", "0x0", False)["hash"])
