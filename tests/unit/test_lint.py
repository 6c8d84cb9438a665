"""The contract lint: each rule catches a bad snippet and passes a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ballast.artifacts import ROOT
from ballast.lint import RULES, check

HEAD = """\
# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun

from ethereum.ercs import IERC20

struct Point:
    x: uint256
    y: uint256

CONSTANT_SIZE: constant(uint256) = 3
TOKEN: immutable(IERC20)
value: uint256
other: uint256
points: HashMap[uint256, Point]
items: DynArray[uint256, 4]


@deploy
def __init__(token: IERC20):
    TOKEN = token


@internal
def _bump() -> uint256:
    self.value += 1
    return self.value


@internal
@view
def _peek() -> uint256:
    return self.value

"""

MODULE_HEAD = "# pragma version 0.4.3\n# pragma nonreentrancy on\n"


def external(*body: str, decorators: str = "", arguments: str = "", result: str = "") -> str:
    """A function `run` with this body."""
    lines = "\n".join("    " + line for line in body)
    return f"\n@external\n{decorators}def run({arguments}){result}:\n{lines}\n"


def lint(tmp_path: Path, files: dict[str, str] | str) -> list[str]:
    """Findings as `path:line rule`. A string is the code of one contract below HEAD."""
    if isinstance(files, str):
        files = {"contracts/Sample.vy": HEAD + files}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    findings, _ = check(tmp_path)
    return [f"{f.path}:{f.line} {f.rule}" for f in findings]


def rules(tmp_path: Path, files: dict[str, str] | str) -> set[str]:
    """The names of the broken rules alone."""
    return {f.split()[1] for f in lint(tmp_path, files)}


GUARDED = (
    '\n@internal\n@pure\ndef _require_small(x: uint256):\n    assert x < 3, "sample: too big"\n'
)

# rule, bad code, good code; code stands below HEAD
CASES: list[tuple[str, str, str, str]] = [
    (
        "bytes",
        "form feed in a comment",
        "# a\x0cb\n",
        "# a b\n",
    ),
    ("bytes", "letter outside ASCII", "# \u00e9\n", "# e\n"),
    ("bytes", "carriage return", "# a\r\n", "# a\n"),
    ("bytes", "tabulator", "# a\tb\n", "# a b\n"),
    (
        "compile",
        "unknown name",
        external("self.nowhere = 1"),
        external("self.value = 1"),
    ),
    (
        "compile",
        "warning",
        "\nevent E:\n    a: uint256\n" + external("log E(1)"),
        "\nevent E:\n    a: uint256\n" + external("log E(a=1)"),
    ),
    (
        "one-effect",
        "two internal calls",
        external("x: uint256 = self._bump() + self._bump()"),
        external("x: uint256 = self._bump() + self._peek()").replace("+ self._peek()", "+ 1"),
    ),
    (
        "one-effect",
        "index and value",
        external("self.points[self._bump()].x = self._bump()"),
        external("i: uint256 = self._bump()", "self.points[i].x = self._bump()"),
    ),
    (
        "one-effect",
        "condition of a branch",
        external("if self._bump() == 1 and self._bump() == 2:", "    pass"),
        external("if self._bump() == 1:", "    self._bump()"),
    ),
    (
        "one-effect",
        "call to another contract as an argument",
        external("self._take(extcall TOKEN.transferFrom(self, self, self._bump()))")
        + "\n@internal\ndef _take(ok: bool):\n    self.other = 1\n",
        external("self._take(self.value == 1)")
        + "\n@internal\ndef _take(ok: bool):\n    self.other = 1\n",
    ),
    (
        "one-effect",
        "pop twice",
        external("x: uint256 = self.items.pop() + self.items.pop()"),
        external("x: uint256 = self.items.pop()"),
    ),
    (
        "order",
        "read beside an internal call that writes it",
        external("x: bool = self.value < self._bump()"),
        external("x: bool = self.other < self._bump()"),
    ),
    (
        "order",
        "augmented assignment to what the call changes",
        external("self.value += self._bump()"),
        external("self.other += self._bump()"),
    ),
    (
        "order",
        "view that reads it",
        external("x: uint256 = self._peek() + self._bump()"),
        external("old: uint256 = self._peek()", "x: uint256 = old + self._bump()"),
    ),
    (
        "ternary",
        "over structs",
        external(
            "p: Point = self.points[0]",
            "q: Point = Point(x=1, y=2)",
            "r: Point = p if p.x == 1 else q",
        ),
        external("p: Point = self.points[0]", "r: uint256 = p.x if p.x == 1 else p.y"),
    ),
    (
        "ternary",
        "bitwise or",
        external("a: uint256 = self.value", "r: uint256 = (a | 256) if a == 1 else 0"),
        external("a: uint256 = self.value", "r: uint256 = (a & 256) if a == 1 else 0"),
    ),
    (
        "ternary",
        "msg.value",
        external("r: uint256 = msg.value if self.value == 1 else 0", decorators="@payable\n"),
        external(
            "v: uint256 = msg.value",
            "r: uint256 = v if self.value == 1 else 0",
            decorators="@payable\n",
        ),
    ),
    (
        "ternary",
        "subscript",
        external("r: uint256 = self.points[1].x if self.value == 1 else 0"),
        external("x: uint256 = self.points[1].x", "r: uint256 = x if self.value == 1 else 0"),
    ),
    (
        "unsafe",
        "unsafe_add",
        external("self.value = unsafe_add(self.other, 1)"),
        external("self.value = self.other + 1"),
    ),
    (
        "signed-division",
        "floor division",
        external("x: int256 = convert(self.value, int256)", "y: int256 = x // 3"),
        external("x: uint256 = self.value", "y: uint256 = x // 3"),
    ),
    (
        "signed-division",
        "remainder in place",
        external("x: int256 = convert(self.value, int256)", "x %= 3"),
        external("x: uint256 = self.value", "x %= 3"),
    ),
    (
        "forbidden",
        "tx.origin",
        external("a: address = tx.origin"),
        external("a: address = msg.sender"),
    ),
    (
        "forbidden",
        "creation",
        external("a: address = create_minimal_proxy_to(self)"),
        external("a: address = self"),
    ),
    (
        "forbidden",
        "delegatecall",
        external('raw_call(self, b"", is_delegate_call=True)'),
        external('raw_call(self, b"", is_delegate_call=False)'),
    ),
    (
        "raw-call",
        "outside its files",
        external('raw_call(self, b"")'),
        external("self.value = 1"),
    ),
    (
        "range-bound",
        "run-time length",
        external("for i: uint256 in range(self.value):", "    pass"),
        external("for i: uint256 in range(self.value, bound=4):", "    pass")
        + external("for i: uint256 in range(CONSTANT_SIZE):", "    pass").replace("run", "run_too"),
    ),
    (
        "revert-string",
        "too long",
        GUARDED.replace("too big", "x" * 25),
        GUARDED.replace("too big", "x" * 24),
    ),
    ("revert-string", "capital letter", GUARDED.replace("too big", "Too big"), GUARDED),
    ("revert-string", "no prefix", GUARDED.replace("sample: ", ""), GUARDED),
    ("revert-string", "full stop", GUARDED.replace("too big", "too big."), GUARDED),
    (
        "revert-string",
        "written twice",
        GUARDED + GUARDED.replace("_small", "_tiny"),
        GUARDED + GUARDED.replace("_small", "_tiny").replace("big", "large"),
    ),
    (
        "revert-string",
        "held by a constant",
        GUARDED.replace('"sample: too big"', "REASON")
        + '\nREASON: constant(String[9]) = "sample: x"\n',
        GUARDED,
    ),
    (
        "guard",
        "string in an external",
        external('assert self.value == 1, "sample: not one"'),
        GUARDED,
    ),
    (
        "guard",
        "raise in an external",
        external('raise "sample: never"'),
        external("raise UNREACHABLE"),
    ),
    (
        "bare-assert",
        "assert",
        external("assert self.value == 1"),
        external("assert self.value == 1  # dev: kept by the constructor"),
    ),
    ("bare-assert", "raise", external("raise"), external("raise  # dev: not reached")),
    (
        "reentrant",
        "function",
        external("self.value = 1", decorators="@reentrant\n"),
        external("self.value = 1", decorators="@reentrant\n").replace(
            "@external", "# Reads nothing that a callback can change.\n@external"
        ),
    ),
    (
        "reentrant",
        "getter",
        "\nname: public(reentrant(uint256))\n",
        "\n# Metadata.\nname: public(reentrant(uint256))\n",
    ),
]


@pytest.mark.parametrize(
    ("rule", "bad", "good"), [pytest.param(r, b, g, id=f"{r}-{n}") for r, n, b, g in CASES]
)
def test_rule__bad_snippet__is_caught_and_good_one_passes(
    tmp_path: Path, rule: str, bad: str, good: str
) -> None:
    assert rule in rules(tmp_path / "bad", bad)
    assert rule not in rules(tmp_path / "good", good)


TOKEN = HEAD + "\n@internal\ndef _require_paid(amount: uint256):\n    {}\n"


@pytest.mark.parametrize(
    ("path", "line", "is_caught"),
    [
        (
            "adapters/A",
            "assert extcall TOKEN.transfer(self, 1, default_return_value=True), 'a: b'",
            False,
        ),
        ("adapters/A", "assert extcall TOKEN.transfer(self, 1), 'a: b'", True),
        ("adapters/A", "extcall TOKEN.approve(self, 1, default_return_value=True)", True),
        ("adapters/A", "extcall TOKEN.transferFrom(self, self, 1)", True),
        ("A", "assert extcall TOKEN.transfer(self, 1, default_return_value=True), 'a: b'", True),
        (
            "adapters/A",
            "if not extcall TOKEN.transfer(self, 1, default_return_value=True):\n"
            "        reasons._fail('a: b')",
            False,
        ),
        (
            "adapters/A",
            "if extcall TOKEN.transfer(self, 1, default_return_value=True):\n"
            "        reasons._fail('a: b')",
            True,
        ),
        (
            "adapters/A",
            "if not extcall TOKEN.transfer(self, 1, default_return_value=True):\n        pass",
            True,
        ),
        (
            "adapters/A",
            "if not extcall TOKEN.transfer(self, 1):\n        reasons._fail('a: b')",
            True,
        ),
    ],
)
def test_token_call__each_form__only_asserted_ones_in_their_place_pass(
    tmp_path: Path, path: str, line: str, is_caught: bool
) -> None:
    """T13: an unchecked transfer is refused before it is ever deployed."""
    found = rules(tmp_path, {f"contracts/{path}.vy": TOKEN.format(line)})
    assert ("token-call" in found) is is_caught


@pytest.mark.parametrize(
    ("body", "is_caught"),
    [
        (['raw_call(self, b"")'], False),
        (['raw_call(self, b"", revert_on_failure=False)'], True),
        (['ok: bool = raw_call(self, b"", revert_on_failure=False)'], True),
        (
            [
                'ok: bool = raw_call(self, b"", revert_on_failure=False)',
                "if not ok:",
                "    self.value = 1",
            ],
            False,
        ),
        (
            [
                "ok: bool = False",
                'data: Bytes[32] = b""',
                'ok, data = raw_call(self, b"", max_outsize=32, revert_on_failure=False)',
                "self.value = len(data)",
            ],
            True,
        ),
    ],
)
def test_raw_call__success_dropped_or_unused__is_caught(
    tmp_path: Path, body: list[str], is_caught: bool
) -> None:
    found = rules(tmp_path, {"contracts/adapters/A.vy": HEAD + external(*body)})
    assert ("raw-call" in found) is is_caught


@pytest.mark.parametrize("dropped", range(4))
def test_pragma__one_is_missing__is_caught(tmp_path: Path, dropped: int) -> None:
    lines = HEAD.split("\n")
    assert lint(tmp_path / "good", "") == []
    del lines[dropped]
    assert rules(tmp_path / "bad", {"contracts/Sample.vy": "\n".join(lines)}) == {"pragma"}


@pytest.mark.parametrize(
    "version", ["# pragma version ^0.4.3", "# pragma version >=0.4.0", "# @version 0.4.3"]
)
def test_pragma__version_not_exact__is_caught(tmp_path: Path, version: str) -> None:
    text = HEAD.replace("# pragma version 0.4.3", version)
    assert "pragma" in rules(tmp_path, {"contracts/Sample.vy": text})


def test_pragma__module_and_interface__need_no_settings(tmp_path: Path) -> None:
    files = {
        "contracts/modules/helper.vy": MODULE_HEAD
        + "\n@internal\n@pure\ndef _one() -> uint256:\n    return 1\n",
        "contracts/interfaces/IThing.vyi": "# pragma version 0.4.3\n\n@external\ndef go(): ...\n",
        "contracts/Sample.vy": HEAD
        + "from contracts.modules import helper\n"
        + external("self.value = helper._one()"),
    }
    assert lint(tmp_path, files) == []
    files["contracts/interfaces/IThing.vyi"] = "\n" + files["contracts/interfaces/IThing.vyi"]
    assert lint(tmp_path, files) == ["contracts/interfaces/IThing.vyi:1 pragma"]


def test_venom__in_a_pragma_or_configuration__is_caught(tmp_path: Path) -> None:
    text = HEAD.replace(
        "# pragma optimize gas", "# pragma optimize gas\n# pragma experimental-codegen"
    )
    assert "venom" in rules(tmp_path / "pragma", {"contracts/Sample.vy": text})
    files = {
        "contracts/Sample.vy": HEAD,
        "ape-config.yaml": "vyper:\n  experimental_codegen: true\n",
    }
    assert lint(tmp_path / "config", files) == ["ape-config.yaml:2 venom"]
    files["ape-config.yaml"] = "name: x\n"
    assert lint(tmp_path / "config", files) == []


def test_module__hazard_in_it__is_caught_through_the_contract(tmp_path: Path) -> None:
    module = MODULE_HEAD + (
        "\ncount: uint256\n\n@internal\ndef _next() -> uint256:\n"
        "    self.count += 1\n    return self.count\n"
        "\n@internal\ndef _pair() -> uint256:\n    return self._next() * self._next()\n"
    )
    files = {"contracts/modules/counter.vy": module, "contracts/Sample.vy": HEAD}
    assert lint(tmp_path, files) == ["contracts/modules/counter.vy:1 unreached"]
    files["contracts/Sample.vy"] = (
        HEAD + "from contracts.modules import counter\ninitializes: counter\n"
    )
    assert set(lint(tmp_path, files)) == {
        "contracts/modules/counter.vy:13 one-effect",
        "contracts/modules/counter.vy:13 order",
    }


def test_reason__passed_to_the_raiser__is_held_to_the_same_rules(tmp_path: Path) -> None:
    raiser = MODULE_HEAD + "\n@internal\n@pure\ndef _fail(reason: String[32]):\n    raise reason\n"
    guard = (
        "from contracts.modules import reasons\n\n@internal\n@view\ndef _check_one():\n"
        '    if self.value != 1:\n        reasons._fail("{}")\n'
    )
    files = {
        "contracts/modules/reasons.vy": raiser,
        "contracts/Sample.vy": HEAD + guard.format("a: not one"),
    }
    assert lint(tmp_path, files) == []
    files["contracts/Other.vy"] = files["contracts/Sample.vy"]
    assert rules(tmp_path, files) == {"revert-string"}
    files["contracts/Other.vy"] = (
        files["contracts/Other.vy"].replace("_check_one", "_one").replace("not", "is")
    )
    assert rules(tmp_path, files) == {"guard"}
    files["contracts/Other.vy"] = HEAD + guard.format("No prefix")
    assert rules(tmp_path, files) == {"revert-string"}


def test_mocks__same_reason_as_another_mock__passes(tmp_path: Path) -> None:
    files = {"contracts/mocks/A.vy": HEAD + GUARDED, "contracts/mocks/B.vy": HEAD + GUARDED}
    assert lint(tmp_path, files) == []
    files["contracts/zone/C.vy"] = HEAD + GUARDED
    assert [f.split()[1] for f in lint(tmp_path, files)] == ["revert-string"]


def test_test_contracts__may_misbehave__but_not_in_bytes_or_version(tmp_path: Path) -> None:
    code = HEAD.replace("nonreentrancy on", "nonreentrancy off") + external(
        "a: address = tx.origin", "assert True"
    )
    assert lint(tmp_path, {"tests/contracts/Attacker.vy": code}) == []
    assert rules(tmp_path, {"tests/contracts/Attacker.vy": "#\n" + code + "# \u2028"}) == {
        "bytes",
        "pragma",
    }


def test_origin__file_meant_for_it_and_its_neighbour__only_one_passes(tmp_path: Path) -> None:
    code = HEAD + external("a: address = tx.origin")
    files = {"contracts/Keepers.vy": code, "contracts/Other.vy": code}
    assert [f.split()[1] for f in lint(tmp_path, files)] == ["forbidden"]


def test_rules__every_one__has_a_case() -> None:
    tested = {rule for rule, *_ in CASES} | {
        "token-call",
        "raw-call",
        "pragma",
        "venom",
        "unreached",
    }
    assert tested == set(RULES)


def test_repository__all_contracts__have_no_findings() -> None:
    findings, files = check(ROOT)
    assert files > 10
    assert [str(f) for f in findings] == []
