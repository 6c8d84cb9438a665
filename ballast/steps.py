"""Deployment as a list of named steps, each of which can tell from the chain whether it is done.

    plan = Plan(chain, deployer)
    rooms = plan.reserve("RiskOracle", "LendingVault")       # bound where they are going to stand
    plan.create("RiskOracle", rooms["LendingVault"].address, ...)
    plan.create("LendingVault", ...)
    plan.call("list ETH", listings.list_asset, 1, ..., readings=lambda: [...])
    plan.run()

A step is one transaction, so the address of every contract follows from the deployer's first nonce
alone. `Plan.run` sends them all and asks the chain nothing; whoever resumes or verifies a
deployment compares each step's `readings` (`ballast.network`, `ballast.verification`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from eth_utils import keccak

from ballast.artifacts import Artifact, compile_contract
from ballast.chain import Chain, Contract, Function, Receipt, create_address, to_address


class DeployError(Exception):
    """The system cannot be deployed as asked; the message says what to look at, or to do next."""


class Reading(NamedTuple):
    """What is wanted on the chain, and what is there."""

    name: str
    wanted: Any
    found: Any

    @property
    def differs(self) -> bool:
        """Whether the chain does not have what is wanted."""
        return bool(self.wanted != self.found)


Readings = Callable[[], Sequence[Reading]]


@dataclass(frozen=True)
class Step:
    """One transaction of the deployer."""

    name: str
    chapter: str  # of the plan, for tables
    sender: str
    readings: Readings | None  # of what the step leaves behind; None where no view tells

    def send(self) -> Receipt:
        """Sends it and waits until it is mined. Raises Reverted, DeployError."""
        raise NotImplementedError

    @property
    def differences(self) -> list[Reading]:
        """What the chain does not have yet, or has otherwise, as far as views tell."""
        return [reading for reading in (self.readings or tuple)() if reading.differs]


@dataclass(frozen=True)
class Create(Step):
    """A contract; `settings` are what its constructor set and an owner may change later."""

    contract: Contract  # bound where it is going to stand
    arguments: tuple[Any, ...]
    settings: Readings = tuple

    def send(self) -> Receipt:
        chain = self.contract.chain
        deployed = chain.deploy(self.contract.artifact, *self.arguments, sender=self.sender)
        if deployed.address != self.contract.address:
            raise DeployError(
                f"{self.name}: another transaction of {self.sender} came between; deploy again"
            )
        self.contract.receipt = deployed.receipt
        assert deployed.receipt is not None
        return deployed.receipt


@dataclass(frozen=True)
class Call(Step):
    """A transaction to a contract."""

    function: Function
    arguments: tuple[Any, ...]

    def send(self) -> Receipt:
        return self.function.transact(*self.arguments, sender=self.sender)


@dataclass
class Plan:
    """Steps in their order; `first_nonce` is the deployer's before the first of them."""

    chain: Chain
    sender: str
    first_nonce: int = -1
    chapter: str = ""  # what the steps to come belong to
    steps: list[Step] = field(default_factory=list)
    _creations: int = 0

    def __post_init__(self) -> None:
        self.sender = to_address(self.sender)
        if self.first_nonce < 0:
            self.first_nonce = self.chain.nonce(self.sender)

    def reserve(self, *names: str | Artifact) -> dict[str, Contract]:
        """The contracts that the next steps create, in this order, by their names."""
        artifacts = [n if isinstance(n, Artifact) else compile_contract(n) for n in names]
        return {
            artifact.name: Contract(self.chain, self._address(skip), artifact)
            for skip, artifact in enumerate(artifacts)
        }

    def create(
        self,
        contract: str | Artifact | Contract,
        *arguments: Any,
        name: str = "",
        settings: Readings = tuple,
    ) -> Contract:
        """A step that creates a contract, named or reserved. Raises DeployError out of order."""
        if not isinstance(contract, Contract):
            artifact = contract if isinstance(contract, Artifact) else compile_contract(contract)
            contract = Contract(self.chain, self._address(0), artifact)
        if contract.address != self._address(0):
            raise DeployError(f"{contract.name} was reserved for another place in the order")
        bound = contract
        self.steps.append(
            Create(
                f"deploy {name or bound.name}",
                self.chapter,
                self.sender,
                lambda: code_readings(bound),
                bound,
                arguments,
                settings,
            )
        )
        self._creations += 1
        return bound

    def call(
        self, name: str, function: Function, *arguments: Any, readings: Readings | None
    ) -> None:
        """A step that calls a contract; `readings` are of what that changes."""
        self.steps.append(Call(name, self.chapter, self.sender, readings, function, arguments))

    @property
    def creations(self) -> Iterator[Create]:
        """The steps that create contracts."""
        return (step for step in self.steps if isinstance(step, Create))

    def run(self) -> None:
        """Sends every step and asks nothing. Raises Reverted, DeployError."""
        for step in self.steps:
            step.send()

    def _address(self, skip: int) -> str:
        before = len(self.steps) if self.chain.counts_calls else self._creations
        return create_address(self.sender, self.first_nonce + before + skip)


def code_readings(contract: Contract) -> list[Reading]:
    """Whether a contract's code stands at its address, immutables left aside.

    Of a contract that others compiled only that there is one.
    """
    code = contract.chain.code(contract.address)
    if not code:
        return [Reading("code", "some", "none")]
    if not contract.artifact.source.endswith(".vy"):
        return []
    wanted = contract.artifact.runtime
    return [Reading("code", code_hash(wanted), code_hash(code[: len(wanted)]))]


def code_hash(code: bytes) -> str:
    """Keccak-256 of code, as explorers and `extcodehash` tell it."""
    return "0x" + keccak(code).hex()


def view(name: str, function: Function, *arguments: Any, wanted: Any) -> Reading:
    """What a view tells, beside what it is to tell; structs and addresses in comparable form."""
    return Reading(name, plain(wanted), plain(function.call(*arguments)))


def plain(value: Any) -> Any:
    """Contracts as addresses, sequences as lists, bytes as hex, fractions as text: fit for JSON."""
    if isinstance(value, Contract):
        return value.address
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return value
