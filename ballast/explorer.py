"""What a block explorer needs to show the sources of a deployed contract.

    write_inputs(manifest, Path("out/explorer/11155111"))

For each contract compiled here there is a standard-JSON input of the Vyper compiler, the same for
every checkout, and one list of constructor arguments. Compiling an input gives the very bytes that
were deployed (`compiled`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ballast.artifacts import ROOT, SITE_PACKAGES, contract_paths
from ballast.manifest import Manifest

ARGUMENTS = "constructor-arguments.json"


def standard_json(name: str) -> dict[str, Any]:
    """The compiler input of a contract of this repository, with every source it imports."""
    # Imported here: whoever deploys from a warm cache must not pay for loading the compiler.
    from vyper.compiler import CompilerData
    from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
    from vyper.compiler.output import build_solc_json
    from vyper.compiler.settings import Settings, anchor_settings

    path = contract_paths()[name]
    bundle = FilesystemInputBundle([SITE_PACKAGES, ROOT])
    source = bundle.load_file(path)
    assert isinstance(source, FileInput)
    data = CompilerData(source, input_bundle=bundle, settings=Settings())
    with anchor_settings(data.settings):
        described: dict[str, Any] = dict(build_solc_json(data))
    # Installed packages lie elsewhere on every machine; here they lie beside the contracts.
    sources = {
        where.partition("site-packages/")[2] or where: content
        for where, content in described["sources"].items()
    }
    label = path.relative_to(ROOT).as_posix()
    return {
        "language": described["language"],
        "sources": dict(sorted(sources.items())),
        "settings": {
            "outputSelection": {label: ["evm.bytecode", "evm.deployedBytecode", "abi"]},
            "search_paths": ["."],
        },
        "compiler_version": described["compiler_version"],
        "integrity": described["integrity"],
    }


def compiled(described: dict[str, Any]) -> bytes:
    """Creation code that the compiler makes of a standard-JSON input."""
    from vyper.cli.vyper_json import compile_json

    (outputs,) = compile_json(described)["contracts"].values()
    (output,) = outputs.values()
    return bytes.fromhex(output["evm"]["bytecode"]["object"].removeprefix("0x"))


def write_inputs(manifest: Manifest, folder: Path) -> list[Path]:
    """Writes the inputs of a deployment's contracts and the list of their arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    contracts = manifest.data["contracts"]
    written = []
    for name in sorted({e["contract"] for e in contracts.values() if _is_ours(e)}):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(standard_json(name), indent=1) + "\n")
        written.append(path)
    arguments = folder / ARGUMENTS
    listed = {
        name: {key: entry[key] for key in ("contract", "address", "encoded_arguments")}
        for name, entry in contracts.items()
        if _is_ours(entry)
    }
    arguments.write_text(json.dumps(listed, indent=1) + "\n")
    return [*written, arguments]


def _is_ours(entry: dict[str, Any]) -> bool:
    return str(entry["source"]).endswith(".vy")
