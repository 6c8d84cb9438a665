"""Two chains with one surface: `RevmChain`, an EVM in this process, and `RpcChain`, a node.

    from ballast.chain import Anvil, Reverted, RevmChain

    chain = RevmChain()                             # or: with Anvil() as node: chain = node.chain()
    governor, trader = chain.accounts[:2]           # ten funded addresses, the same on both
    token = chain.deploy("MockToken", "Dollar", "USD", 6, sender=governor)   # by file name
    receipt = token.mint(trader, 10**6, sender=governor)   # a transaction; raises Reverted
    token.balanceOf(trader)                         # a view, so a call
    token.transfer.call(governor, 1, sender=trader)  # simulate anything: its result, no change
    receipt.gas_used, receipt.block, receipt.time, receipt.return_value, receipt.logs
    token.events(receipt, "Transfer")[0].args       # decoded
    chain.events(token, "Transfer", from_block=5)   # of all blocks, or of some
    token.mint.encode(trader, 1), token.address, token.receipt.gas_used

**Deploying.** A name is looked up in contracts/ and tests/contracts/; an `Artifact`
(`npm_artifact`) is taken as it is. Any address may send.

**Calls.** `contract.f(...)` calls a view and sends anything else; `contract.f.call(...)` and
`contract.f.transact(...)` say which. Both take `sender=`, `value=` (wei) and `gas=`. Addresses go
in as strings of any case, contracts or integers, and come out checksummed. Structs go in as tuples,
namedtuples or dicts and come out as namedtuples with the names of the ABI; several results are a
(named) tuple. Where a function's name is taken by an attribute (`address`, `chain`, `name`,
`events`, `receipt`, `artifact`, `topic`, `function`), write `contract.function("name")(...)`.

**Reverts.** `Reverted.reason` is the exact string (`""` for none), `.data` the raw bytes, `.halt`
is `"out of gas"` or `"invalid opcode"` where it was no ordinary revert. In tests: `from
tests.conftest import reverts`, then `with reverts("module: reason"):`.

**Blocks and time.** A transaction is a block of its own. `chain.block` and `chain.time` are those
of the newest block, and a call sees them. Time stands still unless told: by `block_interval_s=` of
the constructor, `chain.set_time(timestamp)`, `chain.advance(seconds)` or `chain.mine(blocks,
interval_s)`, each of which opens empty blocks. Two rounds of a feed in one block: `with
chain.one_block(): ...`; on RpcChain its receipts are filled, and a revert is raised, when the block
is closed.

**Addresses before deployment.** `chain.next_address(sender, skip)` predicts a run of deployments by
one sender: `vault = chain.next_address(governor, 1)` is where the contract after the next will
stand. On RpcChain other transactions of that sender count too, so put nothing between.

**Undo.** `mark = chain.snapshot(); chain.revert(mark)`, or `with chain.isolated(): ...`. A mark
works once.

**Speed and gas.** RevmChain takes about 0.02 ms per transaction and 0.01 ms per call, but never
lets a slot grow cold again, so its `gas_used` is too low; `RevmChain(is_cold=True)` gives the
figures of a real chain at some 10 ms per transaction. RpcChain takes 3 ms per transaction, 0.4 ms
inside `one_block()`, 0.2 ms per call, 0.1 ms per read in `chain.call_many([Call(f, args), ...])`.

**State.** `balance`, `set_balance`, `code`, `code_size` (what EIP-170 limits), `set_code`,
`storage`, `nonce`, `logs`. `set_code` voids the marks of a RevmChain.

**Hardhat.** `with Hardhat() as node: chain = node.chain()` is the same surface on another node, for
`make hardhat`; `ballast.chain.hardhat` says what it cannot do.

**Keys.** RpcChain sends through a `Signer`; the default lets Anvil sign for any address.
`SigningChain(url, KeySigner.of(account))` is for live networks: it signs here, estimates gas, minds
fees and waits.
"""

from __future__ import annotations

from ballast.artifacts import Artifact, ArtifactError, compile_contract, npm_artifact
from ballast.chain.abi import AbiError, Event, to_address
from ballast.chain.anvil import Anvil, find_anvil
from ballast.chain.base import (
    BLOCK_INTERVAL_S,
    DEV_ACCOUNTS,
    Chain,
    ChainError,
    Contract,
    Function,
    Log,
    Receipt,
    Reverted,
    create_address,
    named_address,
)
from ballast.chain.hardhat import Hardhat, HardhatChain
from ballast.chain.revm import RevmChain
from ballast.chain.rpc import Call, Rpc, RpcChain, RpcError, Signer, UnlockedSigner
from ballast.chain.signing import KeySigner, SigningChain

__all__ = [
    "BLOCK_INTERVAL_S",
    "DEV_ACCOUNTS",
    "AbiError",
    "Anvil",
    "Artifact",
    "ArtifactError",
    "Call",
    "Chain",
    "ChainError",
    "Contract",
    "Event",
    "Function",
    "Hardhat",
    "HardhatChain",
    "KeySigner",
    "Log",
    "Receipt",
    "Reverted",
    "RevmChain",
    "Rpc",
    "RpcChain",
    "RpcError",
    "Signer",
    "SigningChain",
    "UnlockedSigner",
    "compile_contract",
    "create_address",
    "find_anvil",
    "named_address",
    "npm_artifact",
    "to_address",
]
