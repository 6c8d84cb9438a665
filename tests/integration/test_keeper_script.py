"""`ape run keeper` as an operator runs it: a plain node, a key file, a passphrase."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account

from ballast.artifacts import ROOT
from ballast.deploy import account_id
from tests.keeper_kit import Stage, staged

SEPOLIA = 11_155_111
ALIAS, PASSPHRASE = "watchman", "let me in"


@dataclass
class Shell:
    """A home of its own for ape, and the command."""

    stage: Stage
    home: Path
    address: str

    def start(self, *options: str, passphrase: str = PASSPHRASE) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VVM_BINARY_PATH": str(self.home),
            "APE_NODE_ETHEREUM": json.dumps({"sepolia": {"uri": self.stage.node.url}}),
            f"APE_ACCOUNTS_{ALIAS}_PASSPHRASE": passphrase,
        }
        command = ["ape", "run", "keeper", "--network", "ethereum:sepolia:node"]
        command += ["--manifest", str(self.home / "manifest.json")]
        if "--dry-run" not in options:
            command += ["--account", ALIAS, "--db", str(self.home / "keeper.sqlite3")]
        return subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str, **more: str) -> tuple[int, str]:
        """Exit code and what it said."""
        process = self.start(*options, **more)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A system on a node with the chain id of Sepolia, with its record."""
    home = tmp_path_factory.mktemp("home")
    key = Account.from_key(b"\x21" * 32)
    keys = home / ".ape" / "accounts"
    keys.mkdir(parents=True)
    encrypted = Account.encrypt(key.key, PASSPHRASE, kdf="pbkdf2", iterations=1_000)
    (keys / f"{ALIAS}.json").write_text(json.dumps(encrypted))
    with staged(home, chain_id=SEPOLIA, timestamp=None) as stage:
        stage.world.chain.set_balance(key.address, 10**18)
        contracts = stage.world.system.contracts
        manifest = {
            "format": 1,
            "network": {"chain_id": SEPOLIA},
            "contracts": {
                name: {"address": c.address, "contract": name} for name, c in contracts.items()
            },
            "steps": {"RiskOracle": {"block": 0}},
            "is_complete": True,
        }
        (home / "manifest.json").write_text(json.dumps(manifest))
        yield Shell(stage, home, key.address)


def test_ape_run_keeper__from_a_dry_run_to_a_stop__does_what_it_says(shell: Shell) -> None:
    """Nothing is sent in a dry run; one round does it once; a run ends by a signal with a summary,
    and a second one with the same key is refused meanwhile."""
    stage = shell.stage
    (account,) = stage.fleet(1)
    stage.fall()
    height = stage.world.chain.block
    code, said = shell.run("--dry-run")
    assert code == 0 and "1 rebalance" in said, said
    assert stage.world.chain.block == height
    code, said = shell.run("--once")
    assert code == 0 and "rebalance done" in said, said
    assert stage.rebalances(account) == 1 and stage.is_cured(account)
    paid = stage.world.clearinghouse.account_word(account_id(shell.address))
    assert paid % 2**128 > 0
    code, said = shell.run("--once")
    assert code == 0 and "rebalance done" not in said, said
    running = shell.start("--min-profit", "0.01", "--all-lines")
    assert running.stdout is not None
    for line in running.stdout:
        if "wait" in line:  # it has had its first round
            break
    code, said = shell.run("--once")
    assert code == 1 and "uses this key" in said, said
    stage.fall(1_600)
    for line in running.stdout:
        if "rebalance" in line and "done" in line:
            break
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "This run" in said, said
    assert stage.rebalances(account) == 2


def test_ape_run_keeper__wrong_passphrase_or_chain__one_line_says_what_to_do(shell: Shell) -> None:
    """No traceback, and nothing sent."""
    code, said = shell.run("--once", passphrase="guess")
    assert code == 1 and "Traceback" not in said and "PASSPHRASE" in said, said
    path = shell.home / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"network": {"chain_id": 1}}))
    try:
        code, said = shell.run("--dry-run")
    finally:
        path.write_text(json.dumps(manifest))
    assert code == 1 and "of chain 1" in said and "Traceback" not in said, said
