"""Compiled contracts: Vyper sources of this repository and published npm artifacts.

`compile_contract("Clearinghouse")` finds `contracts/**/Clearinghouse.vy` (or `tests/contracts/**`),
compiles it with the installed compiler and remembers the result in `.build/`, together with the
hash of every file it was made from. A cached result is used only while all those hashes and the
compiler version still hold.

`npm_artifact("@uniswap/v3-core", "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json")`
reads the ABI and the creation code that a Solidity project published.
"""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD_DIR = ROOT / ".build"
NODE_MODULES = ROOT / "node_modules"
SITE_PACKAGES = Path(sysconfig.get_paths()["purelib"])

# Modules and interfaces are compiled into the contracts that import them, never alone.
SOURCE_DIRS = ("contracts", "tests/contracts")
NOT_DEPLOYED_DIRS = frozenset({"modules", "interfaces"})

_CACHE_FORMAT = 1


class ArtifactError(Exception):
    """A contract or artifact is missing, ambiguous or unusable; the message names the next step."""


@dataclass(frozen=True)
class Artifact:
    """What is needed to deploy a contract and to talk to it."""

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes  # creation code, without constructor arguments
    source: str  # repository-relative path, or package/path of an npm artifact
    selectors: tuple[tuple[str, str], ...] = ()  # (signature, 0x-selector); empty for npm artifacts

    @property
    def runtime(self) -> bytes:
        """Deployed code of a Vyper contract without its immutables, which follow it on the chain.

        Raises ArtifactError for creation code without the compiler's description of itself.
        """
        return _runtime(self)

    @property
    def method_identifiers(self) -> dict[str, str]:
        """Signature to selector, e.g. `{"deposit(uint256)": "0xb6b55f25"}`."""
        return dict(self.selectors)

    def __repr__(self) -> str:
        return f"Artifact({self.name}, {len(self.bytecode)} bytes of creation code)"


def _runtime(artifact: Artifact) -> bytes:
    # Creation code ends in CBOR that tells the lengths of what it deploys, and in its own length.
    from cbor2 import CBORDecodeError, loads

    code = artifact.bytecode
    start = len(code) - int.from_bytes(code[-2:], "big")
    try:
        _, length, _, _, compiler = loads(code[start:-2])
        assert "vyper" in compiler
    except (AssertionError, CBORDecodeError, TypeError, ValueError) as error:
        raise ArtifactError(f"{artifact.name} was not compiled by Vyper: {error}") from error
    return code[start - length : start]


def contract_paths() -> dict[str, Path]:
    """Every deployable contract by name. Raises ArtifactError when two files share a name."""
    found: dict[str, Path] = {}
    for directory in SOURCE_DIRS:
        for path in sorted((ROOT / directory).rglob("*.vy")):
            if NOT_DEPLOYED_DIRS & set(path.relative_to(ROOT).parts):
                continue
            if path.stem in found:
                first, second = (p.relative_to(ROOT) for p in (found[path.stem], path))
                raise ArtifactError(f"two contracts are called {path.stem}: {first} and {second}")
            found[path.stem] = path
    return found


def compile_contract(name: str | Path) -> Artifact:
    """Compile a contract, named (`"Clearinghouse"`) or by path, or take it from the cache.

    Raises ArtifactError when there is no such contract, and the compiler's own exception when it
    does not compile.
    """
    return _compile(_found_path(ROOT, name))


def npm_artifact(package: str, path: str) -> Artifact:
    """Load a JSON artifact of Hardhat, Truffle or 0x from `node_modules/<package>/<path>`."""
    file = NODE_MODULES / package / path
    if not file.is_file():
        hint = "run `make setup`" if not (NODE_MODULES / package).is_dir() else "check the path"
        raise ArtifactError(f"{package}/{path} is not in node_modules: {hint}")
    data = json.loads(file.read_text())
    name = data.get("contractName") or file.stem
    if "compilerOutput" in data:
        data = data["compilerOutput"] | data["compilerOutput"]["evm"]
    code = data.get("bytecode", "")
    if isinstance(code, dict):  # Foundry and solc standard JSON nest it
        code = code["object"]
    code = code.removeprefix("0x")
    if not code:
        raise ArtifactError(
            f"{package}/{path} has no creation code (an interface?): pick another artifact"
        )
    if "__" in code:
        raise ArtifactError(
            f"{package}/{path} needs linked libraries: pick another artifact or link it first"
        )
    return Artifact(name, tuple(data["abi"]), bytes.fromhex(code), f"{package}/{path}")


@cache
def _found_path(root: Path, name: str | Path) -> Path:
    # Looking through the directories takes as long as deploying a contract in this process.
    return _source_path(name)


def _source_path(name: str | Path) -> Path:
    text = str(name)
    if text.endswith(".vy"):
        path = (ROOT / text).resolve()
        if not path.is_file():
            raise ArtifactError(f"no contract at {text}")
        return path
    paths = contract_paths()
    if text not in paths:
        known = ", ".join(sorted(paths)) or "none yet"
        raise ArtifactError(f"no contract called {text}; known: {known}")
    return paths[text]


@cache
def _compile(path: Path) -> Artifact:
    cached = _load(path)
    return cached if cached is not None else _store(path)


def _cache_file(path: Path) -> Path:
    # Contracts may also be compiled from outside the usual directories, so the name carries the
    # path's hash.
    return BUILD_DIR / f"{path.stem}-{hashlib.sha256(_label(path).encode()).hexdigest()[:8]}.json"


def _label(path: Path) -> str:
    """A name for a source file that is the same in every checkout."""
    for base, prefix in ((SITE_PACKAGES, "site:"), (ROOT, "")):
        if path.is_relative_to(base):
            return prefix + path.relative_to(base).as_posix()
    return path.as_posix()


def _unlabel(label: str) -> Path:
    if label.startswith("site:"):
        return SITE_PACKAGES / label.removeprefix("site:")
    return ROOT / label


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _load(path: Path) -> Artifact | None:
    try:
        data = json.loads(_cache_file(path).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if data["format"] != _CACHE_FORMAT or data["compiler"] != compiler_version():
        return None
    if any(_digest(_unlabel(label)) != digest for label, digest in data["sources"].items()):
        return None
    return _from_json(data)


def _from_json(data: dict[str, Any]) -> Artifact:
    return Artifact(
        name=data["name"],
        abi=tuple(data["abi"]),
        bytecode=bytes.fromhex(data["bytecode"]),
        source=data["source"],
        selectors=tuple((signature, selector) for signature, selector in data["selectors"]),
    )


def _store(path: Path) -> Artifact:
    data = _run_compiler(path)
    BUILD_DIR.mkdir(exist_ok=True)
    # Written aside and renamed, so that parallel test workers see either no file or a whole one.
    handle, temporary = tempfile.mkstemp(dir=BUILD_DIR, suffix=".tmp")
    with os.fdopen(handle, "w") as out:
        json.dump(data, out)
    os.replace(temporary, _cache_file(path))
    return _from_json(data)


@cache
def compiler_version() -> str:
    """Version of the installed Vyper."""
    from importlib.metadata import version

    return version("vyper")


def _run_compiler(path: Path) -> dict[str, Any]:
    # Imported here: a warm cache must not pay for loading the compiler.
    from vyper.compiler import CompilerData
    from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
    from vyper.compiler.output import build_abi_output, build_method_identifiers_output
    from vyper.compiler.settings import Settings, anchor_settings

    # Later search paths win, so the repository shadows installed packages.
    bundle = FilesystemInputBundle([SITE_PACKAGES, ROOT])
    source = bundle.load_file(path)
    assert isinstance(source, FileInput)
    compiled = CompilerData(source, input_bundle=bundle, settings=Settings())
    with anchor_settings(compiled.settings):
        bytecode = compiled.bytecode
        abi = build_abi_output(compiled)
        selectors = build_method_identifiers_output(compiled)
    # Hashes of what the compiler read, not of what lies on disk by now: someone may be editing.
    inputs = [source, *(i for i in compiled.resolved_imports.compiler_inputs if _is_on_disk(i))]
    sources = {
        _label(Path(i.resolved_path)): hashlib.sha256(i.contents.encode()).hexdigest()
        for i in inputs
    }
    return {
        "format": _CACHE_FORMAT,
        "compiler": compiler_version(),
        "name": path.stem,
        "source": _label(path),
        "sources": sources,
        "abi": abi,
        "bytecode": bytecode.hex(),
        "selectors": sorted(selectors.items()),
    }


def _is_on_disk(compiler_input: Any) -> bool:
    # The interfaces built into the compiler change only with its version, which is part of the key.
    return Path(compiler_input.resolved_path).is_file()
