"""Hardhat's node: every test of a chain, the story, and what is peculiar to it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from ballast.artifacts import Artifact
from ballast.chain import (
    BLOCK_INTERVAL_S,
    Chain,
    ChainError,
    Hardhat,
    HardhatChain,
    Reverted,
    RevmChain,
)
from ballast.forks import Chapter, Story, build_upstream, parameters_of, set_stage
from tests.conftest import reverts
from tests.unit import test_chain

SIZE_LIMIT = 24_576


@pytest.fixture(scope="session")
def node() -> Iterator[Hardhat]:
    """One node for all."""
    with Hardhat() as node:
        yield node


@pytest.fixture
def any_chain(node: Hardhat) -> Iterator[HardhatChain]:
    """Undone after each test."""
    chain = node.chain()
    with chain.isolated():
        yield chain
    chain.close()


# ---- what holds for every chain holds here

sender, tiny = test_chain.sender, test_chain.tiny
globals().update(
    {
        name: test
        for name, test in vars(test_chain).items()
        if name.startswith("test_")
        and {"any_chain", "tiny"} & set(inspect.signature(test).parameters)
    }
)


def _tell(chain: Chain) -> list[Chapter]:
    stage = set_stage(chain, parameters_of(build_upstream(chain)), token="MockToken")
    return list(Story(stage).tell())


def test_tell__on_hardhat_and_in_this_process__is_the_same_story(node: Hardhat) -> None:
    """Every figure but gas, which RevmChain counts too low."""
    chain = HardhatChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
    here = RevmChain(time=chain.time, block_interval_s=BLOCK_INTERVAL_S)
    with chain.isolated():
        told, expected = (
            [[re.sub(r"gas [\d,]+", "", line) for line in chapter.lines] for chapter in _tell(one)]
            for one in (chain, here)
        )
    assert told == expected
    chain.close()


# ---- what is peculiar


@pytest.mark.parametrize("excess", [0, 1])
def test_deploy__contract_above_the_limit__is_refused(any_chain: HardhatChain, excess: int) -> None:
    """EIP-170 is in force: no node setting hides a contract that mainnet would not take."""
    size = SIZE_LIMIT + excess
    code = bytes.fromhex(f"62{size:06x}80600b6000396000f3") + bytes(size)
    artifact = Artifact("Large", (), code, "here")
    if excess:
        with pytest.raises(Reverted):
            any_chain.deploy(artifact, sender=any_chain.accounts[0])
    else:
        contract = any_chain.deploy(artifact, sender=any_chain.accounts[0])
        assert any_chain.code_size(contract) == SIZE_LIMIT


def test_send__by_a_contract__is_impersonated(any_chain: HardhatChain) -> None:
    token = any_chain.deploy("MockToken", "Dollar", "USD", 6, sender=any_chain.accounts[0])
    token.mint(token, 5, sender=token.address)
    token.transfer(any_chain.accounts[1], 5, sender=token.address)
    assert token.balanceOf(any_chain.accounts[1]) == 5


def test_send__that_reverts__is_mined_and_tells_why(any_chain: HardhatChain) -> None:
    owner = any_chain.accounts[0]
    token = any_chain.deploy("MockToken", "Dollar", "USD", 6, sender=owner)
    block = any_chain.block
    with reverts("mock: allowance too low"):
        token.transferFrom.transact(owner, owner, 5, sender=owner)
    assert any_chain.block == block + 1


def test_deal__any_token__cannot_be_done(any_chain: HardhatChain) -> None:
    token = any_chain.deploy("MockToken", "Dollar", "USD", 6, sender=any_chain.accounts[0])
    with pytest.raises(ChainError, match="use tokens that can be minted"):
        any_chain.deal(token, any_chain.accounts[1], 5)


def test_stop__the_node__is_gone() -> None:
    with Hardhat() as node:
        chain = node.chain()
        assert chain.block == 0
        chain.close()
    with pytest.raises(ChainError):
        chain.rpc.request("eth_blockNumber")
