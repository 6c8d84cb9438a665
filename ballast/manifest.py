"""What was deployed where: one JSON file per chain, whole at any moment.

    manifest = Manifest.load(manifest_path(chain))
    system = manifest.system(chain)                 # the contracts, bound
    manifest.address("UniswapV3Adapter"), manifest.tokens["ETH"], manifest.first_block

The file is written aside and renamed after every step of a deployment, so whoever reads it sees a
finished step or none, and an interrupted deployment goes on from it. Its keys:

    format          1
    network         name, chain_id, and the hash of block 0 that tells chains of one id apart
    deployer, first_nonce
    commit, compiler, contracts_hash, parameters_file
    parameters      of the file, variables filled in
    answers         price of each token in dollars when it was begun, 8 decimals
    quote, tokens, feeds, assets
                    addresses by name, and the ids of assets; `quote` is the quote token's
    roles           who owns and may what after the hand-over
    contracts       by name: contract, source, address, arguments, encoded_arguments, code_hash
    steps           by name, in order: hashes (sent for it), hash, block, gas, fee_wei
    is_complete     whether all of it was read back from the chain
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ballast.artifacts import ROOT, compile_contract, compiler_version
from ballast.chain import Chain, Contract, RpcChain
from ballast.deploy import ROOMS, System
from ballast.steps import DeployError, code_hash

DIRECTORY = ROOT / "deployments"
FORMAT = 1
BESIDES = (
    "UniswapV3Adapter",
    "Timelock",
    "Governance",
    "MockToken",
    "MockFeed",
)  # what is deployed beside the rooms
# What a node says it is when its chain is its own.
_LOCAL_CLIENTS = ("anvil/", "hardhat", "ethereumjs", "ganache")


def manifest_path(chain: RpcChain) -> Path:
    """Where the manifest of a chain is kept: apart, and not in git, for a node of one's own."""
    client = str(chain.rpc.request("web3_clientVersion")).lower()
    folder = DIRECTORY / "local" if client.startswith(_LOCAL_CLIENTS) else DIRECTORY
    path = folder / f"{chain.chain_id}.json"
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@dataclass
class Manifest:
    """The file and what stands in it."""

    path: Path
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> Manifest:
        """Reads a manifest. Raises DeployError when there is none, or none that can be used."""
        path = Path(path)
        try:
            data = json.loads(path.read_text())
        except FileNotFoundError:
            raise DeployError(f"nothing is deployed yet: there is no {path}") from None
        except (OSError, ValueError) as error:
            raise DeployError(f"{path} cannot be read: {error}") from error
        if data.get("format") != FORMAT:
            raise DeployError(f"{path} has format {data.get('format')}, not {FORMAT}")
        return cls(path, data)

    def save(self) -> None:
        """Writes the file aside and puts it in place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=self.path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w") as out:
                json.dump(self.data, out, indent=1)
                out.write("\n")
                out.flush()
                os.fsync(out.fileno())
            os.chmod(aside, 0o644)
            os.replace(aside, self.path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def set_aside(self) -> Path:
        """Renames the file so that a new deployment may begin; returns where it went."""
        number = 1
        while (old := self.path.with_suffix(f".old-{number}.json")).exists():
            number += 1
        self.path.rename(old)
        return old

    # ---- what stands in it

    @property
    def chain_id(self) -> int:
        """Id of the chain."""
        return int(self.data["network"]["chain_id"])

    @property
    def is_complete(self) -> bool:
        """Whether everything was deployed and read back."""
        return bool(self.data["is_complete"])

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """What is known of each step, by its name."""
        steps: dict[str, dict[str, Any]] = self.data["steps"]
        return steps

    @property
    def first_block(self) -> int:
        """The block of the first step: where a reader of events begins."""
        return min(int(s["block"]) for s in self.steps.values() if s.get("block") is not None)

    @property
    def tokens(self) -> Mapping[str, str]:
        """Addresses of tokens by the names of their assets, and `quote`."""
        tokens: Mapping[str, str] = self.data["tokens"]
        return tokens

    @property
    def feeds(self) -> Mapping[str, str]:
        """Addresses of feeds by the names of their assets, and `quote`."""
        feeds: Mapping[str, str] = self.data["feeds"]
        return feeds

    def address(self, name: str) -> str:
        """Address of a deployed contract. Raises DeployError for one that is not there."""
        entry = self.data["contracts"].get(name)
        if entry is None:
            raise DeployError(f"{self.path} has no contract {name}")
        return str(entry["address"])

    def contract(self, chain: Chain, name: str) -> Contract:
        """A deployed contract of this repository, bound to a chain."""
        return chain.at(self.address(name), self.data["contracts"][name]["contract"])

    def system(self, chain: Chain) -> System:
        """The contracts of the system, bound. Raises DeployError before all are deployed."""
        if not self.is_complete:
            raise DeployError(f"{self.path} is of a deployment that is not finished: go on with it")
        return System(
            chain=chain,
            governor=self.data["roles"]["owner"],
            quote=chain.at(self.tokens["quote"], "MockToken"),  # for its ERC-20 functions
            assets=dict(self.data["assets"]),
            **{name: self.contract(chain, room) for room, name in ROOMS.items()},
        )


def sources() -> dict[str, str]:
    """Commit of the sources, marked when files were changed since, compiler, hash of all code."""
    codes = b"".join(compile_contract(name).bytecode for name in (*ROOMS, *BESIDES))
    return {
        "commit": _commit(),
        "compiler": f"vyper {compiler_version()}",
        "contracts_hash": code_hash(codes),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "contracts")
        return git("rev-parse", "HEAD") + (" and changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
