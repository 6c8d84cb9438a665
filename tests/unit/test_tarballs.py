"""Files that set-up takes out of npm tarballs are those that were pinned, or none."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from ballast.artifacts import NODE_MODULES, ROOT

PINS = tomllib.loads((ROOT / "npm-tarballs.toml").read_text())
SCRIPT = ROOT / ".ci" / "setup-tarballs"


def test_setup__pinned_files__are_there() -> None:
    for package, terms in PINS.items():
        assert all((NODE_MODULES / package / file).is_file() for file in terms["files"])


def test_setup__another_tarball__is_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    (package, terms), *_ = PINS.items()
    before = {file: (NODE_MODULES / package / file).read_bytes() for file in terms["files"]}
    name = f"{package.removeprefix('@').replace('/', '-')}-{terms['version']}.tgz"
    with tarfile.open(tmp_path / name, "w:gz") as archive:
        for file in terms["files"]:
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"evil"))
    run = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1 and "is not what npm-tarballs.toml pins" in run.stderr
    assert before == {f: (NODE_MODULES / package / f).read_bytes() for f in terms["files"]}
