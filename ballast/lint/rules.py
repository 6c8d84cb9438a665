"""The rules: for each a name, a function that reports what breaks it, and a test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vyper import ast as vy
from vyper.exceptions import VyperException
from vyper.semantics.types import IntegerT
from vyper.semantics.types.function import ContractFunctionT, MemberFunctionT
from vyper.semantics.types.subscriptable import TupleT

from ballast.lint.sources import Finding, Source, annotate, message_of, read_sources

RULES = {
    "bytes": "printable ASCII and line feeds only: others shift the compiler's positions",
    "pragma": "exact version, nonreentrancy on; optimize and evm-version where deployed",
    "venom": "no experimental code generator, in pragmas or in configuration",
    "compile": "every deployed contract compiles, without warnings",
    "unreached": "every module is part of a deployed contract",
    "one-effect": "at most one call with side effects per statement",
    "order": "no read, beside a call with side effects, of what that call changes",
    "ternary": "over scalars only; no subscript, bitwise or, msg.value or msg.data in a branch",
    "token-call": "ERC-20 calls asserted, with default_return_value, in the files meant for them",
    "raw-call": "only in the files meant for it, with its success bound and used",
    "unsafe": "unsafe arithmetic only in the mathematical modules",
    "signed-division": "// and % on signed integers only in helpers that name their rounding",
    "forbidden": "no selfdestruct, delegatecall or creation; tx.origin where it is meant to be",
    "range-bound": "loops over a run-time length carry bound=",
    "revert-string": "`prefix: reason`, lower case, at most 32 characters, written once",
    "guard": "revert strings stand in functions called _check_* or _require_*",
    "bare-assert": "assert and raise have a string or a `# dev:` comment",
    "reentrant": "what may be re-entered says why on the line above",
}


@dataclass(frozen=True)
class Config:
    """What certain files may do. An entry ending in `/` means the whole directory."""

    raw_call: tuple[str, ...] = (
        "contracts/adapters/",
        "contracts/mocks/",
        "contracts/modules/feeds.vy",  # other people's price feeds, which may revert
        "contracts/Mandates.vy",  # hooks, which may do anything
        "contracts/Liquidator.vy",  # a hook must not veto a liquidation, whatever it does
        "contracts/Deleverager.vy",  # a hook that fails must not keep a hedge from being closed
        "contracts/Governance.vy",  # what the timelock decided, whichever room it concerns
        "contracts/Keepers.vy",  # feeds of owners' choice, and a push that may come too late
        "contracts/modules/executions.vy",  # a refused sale must not take the plan with it
        "contracts/modules/keeper_pay.vy",  # pay that fails is no reason to undo what helped
        "contracts/modules/attempts.vy",  # one account must not take another's turn with it
    )
    # Whom fees are credited to, and for nothing else.
    origin: tuple[str, ...] = ("contracts/Keepers.vy",)
    token_call: tuple[str, ...] = (
        "contracts/adapters/",
        "contracts/mocks/",
        "contracts/modules/safe_token.vy",
    )
    unsafe: tuple[str, ...] = (
        "contracts/modules/kinked_rate.vy",
        "contracts/modules/margin.vy",
        "contracts/modules/fixed_point.vy",
        "contracts/modules/pictures.vy",  # the margin equation's terms, summed up
        "contracts/modules/volatility.vy",
        "contracts/modules/margin_rates.vy",
        # On the way of every margin check; each place says what bounds it.
        "contracts/modules/packing.vy",
        "contracts/modules/asset_list.vy",
        "contracts/modules/feeds.vy",
        "contracts/modules/price_marks.vy",
        "contracts/modules/health.vy",
        "contracts/modules/pictures.vy",
        "contracts/Lens.vy",
        "contracts/modules/calls.vy",
        "contracts/modules/markets.vy",
        "contracts/modules/discounts.vy",
        "contracts/modules/perpetuals.vy",
        "contracts/modules/outflows.vy",
        "contracts/modules/lending_state.vy",
    )
    signed_division: tuple[str, ...] = ("contracts/modules/fixed_point.vy",)
    configuration: tuple[str, ...] = ("pyproject.toml", "ape-config.yaml", "Makefile", ".ci/run")


DEFAULT_CONFIG = Config()

VERSION_PRAGMA = "# pragma version 0.4.3"
NONREENTRANCY_PRAGMA = "# pragma nonreentrancy on"
DEPLOYED_PRAGMAS = (
    re.compile(r"^# pragma optimize (gas|codesize)$"),
    re.compile(r"^# pragma evm-version cancun$"),
)
MAX_REASON = 32
REASON = re.compile(r"^[a-z][a-z0-9 _-]*: [a-z0-9][a-z0-9 ,'/%_-]*$")
# A module and its function that raises the string it is given, which is smaller than raising it in
# place.
RAISER = ("reasons", "_fail")
GUARD = re.compile(r"^_?(check|require)_")
TOKEN_CALLS = frozenset({"transfer", "transferFrom", "approve"})
CREATION = frozenset(
    {
        "create_minimal_proxy_to",
        "create_copy_of",
        "create_from_blueprint",
        "raw_create",
        "create_forwarder_to",
    }
)
# Built-in functions that act on the world; sqrt, convert and the like do not.
ACTING_BUILTINS = frozenset({"raw_call", "send", "raw_log", "selfdestruct"}) | CREATION
VENOM = re.compile(
    r"experimental-codegen|venom-experimental|experimental_codegen|--venom|\bvenom\s*[:=]",
    re.IGNORECASE,
)


def check(root: Path, config: Config = DEFAULT_CONFIG) -> tuple[list[Finding], int]:
    """All findings below `root`, in order of file and line, and the number of Vyper files read."""
    sources = read_sources(root)
    for source in sources:
        _check_bytes(source)
        _check_pragmas(source)
    annotate(sources)
    checked = [s for s in sources if not s.is_test]
    for source in checked:
        try:
            tree = source.tree
        except VyperException as error:
            source.report(1, "compile", message_of(error))
            continue
        if source.is_interface:
            continue
        for rule in _SYNTAX_RULES:
            rule(source, tree, config)
        if source.typed is not None:
            for rule in _TYPE_RULES:
                rule(source, source.typed, config)
    _check_unique_reasons(checked)
    findings = [f for source in sources for f in source.findings]
    findings += _configuration_findings(root, config)
    return sorted(set(findings)), len(sources)


def _is_listed(path: str, entries: Iterable[str]) -> bool:
    return any(path.startswith(e) if e.endswith("/") else path == e for e in entries)


# ---------------------------------------------------------------- text


def _check_bytes(source: Source) -> None:
    for number, line in enumerate(source.raw.split(b"\n"), 1):
        bad = next((b for b in line if not 0x20 <= b <= 0x7E), None)
        if bad is not None:
            source.report(number, "bytes", f"byte 0x{bad:02x}")


def _check_pragmas(source: Source) -> None:
    lines = source.lines
    if lines[0] != VERSION_PRAGMA:
        source.report(1, "pragma", f"the first line is not `{VERSION_PRAGMA}`")
    for number, line in enumerate(lines, 1):
        if line.startswith(("#pragma", "# pragma", "# @version", "#@version")) and VENOM.search(
            line
        ):
            source.report(number, "venom", line.strip())
    if source.is_interface or source.is_test:
        return
    if NONREENTRANCY_PRAGMA not in lines:
        source.report(1, "pragma", f"`{NONREENTRANCY_PRAGMA}` is missing")
    for wanted in DEPLOYED_PRAGMAS:
        if source.is_deployed and not any(wanted.match(line) for line in lines):
            source.report(1, "pragma", f"no line matches `{wanted.pattern}`")


def _configuration_findings(root: Path, config: Config) -> Iterator[Finding]:
    for name in config.configuration:
        path = root / name
        if path.is_file():
            for number, line in enumerate(path.read_text().split("\n"), 1):
                if VENOM.search(line):
                    yield Finding(name, number, "venom", line.strip())


# ---------------------------------------------------------------- syntax


def _check_token_calls(source: Source, tree: Any, config: Config) -> None:
    for call in tree.get_descendants(vy.ExtCall):
        target = call.value.func
        if not isinstance(target, vy.Attribute) or target.attr not in TOKEN_CALLS:
            continue
        if not _is_listed(source.path, config.token_call):
            source.report(
                call.lineno,
                "token-call",
                f"{target.attr} outside the token module and the adapters",
            )
        if not isinstance(call.get_ancestor(), vy.Assert) and not _fails_unless(call):
            source.report(call.lineno, "token-call", f"the result of {target.attr} is not asserted")
        elif not _keyword_is_true(call.value, "default_return_value"):
            source.report(
                call.lineno, "token-call", f"{target.attr} without default_return_value=True"
            )


def _fails_unless(call: Any) -> bool:
    """Whether it stands in `if not <call>:` and what follows there is the raiser."""
    negation = call.get_ancestor()
    branch = negation.get_ancestor()
    if not isinstance(negation, vy.UnaryOp) or not isinstance(branch, vy.If):
        return False
    is_test = isinstance(negation.op, vy.Not) and branch.test is negation
    body = branch.body[0]
    return (
        is_test
        and isinstance(body, vy.Expr)
        and isinstance(body.value, vy.Call)
        and _is_raiser(body.value.func)
    )


def _is_raiser(function: Any) -> bool:
    return (
        isinstance(function, vy.Attribute)
        and isinstance(function.value, vy.Name)
        and (function.value.id, function.attr) == RAISER
    )


def _keyword(call: Any, name: str) -> Any:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _keyword_is_true(call: Any, name: str) -> bool:
    value = _keyword(call, name)
    return isinstance(value, vy.NameConstant) and value.value is True


def _calls_of(tree: Any, *names: str) -> Iterator[Any]:
    for call in tree.get_descendants(vy.Call):
        if isinstance(call.func, vy.Name) and call.func.id in names:
            yield call


def _check_raw_calls(source: Source, tree: Any, config: Config) -> None:
    for call in _calls_of(tree, "raw_call"):
        if not _is_listed(source.path, config.raw_call):
            source.report(call.lineno, "raw-call", "raw_call outside the files meant for it")
        revert = _keyword(call, "revert_on_failure")
        if revert is None or (isinstance(revert, vy.NameConstant) and revert.value is True):
            continue
        success = _bound_success(call)
        if success is None:
            source.report(
                call.lineno, "raw-call", "the success of raw_call is not bound to a variable"
            )
        elif not _is_used_after(call, success):
            source.report(
                call.lineno, "raw-call", f"the success of raw_call, `{success}`, is not used"
            )


def _bound_success(call: Any) -> str | None:
    parent = call.get_ancestor()
    if not isinstance(parent, vy.Assign | vy.AnnAssign):
        return None
    target = parent.target
    if isinstance(target, vy.Tuple):
        target = target.elements[0]
    return str(target.id) if isinstance(target, vy.Name) else None


def _is_used_after(call: Any, name: str) -> bool:
    function = call.get_ancestor(vy.FunctionDef)
    uses = function.get_descendants(vy.Name, {"id": name}) if function is not None else []
    end = call.get_ancestor().end_lineno
    # In a loop the use may stand above the call.
    loop = call.get_ancestor(vy.For)
    return any(
        u.lineno > end or (loop is not None and u.lineno < call.get_ancestor().lineno) for u in uses
    )


def _check_unsafe(source: Source, tree: Any, config: Config) -> None:
    if _is_listed(source.path, config.unsafe):
        return
    for call in tree.get_descendants(vy.Call):
        name = call.func.id if isinstance(call.func, vy.Name) else ""
        if name.startswith("unsafe_") or name == "pow_mod256":
            source.report(call.lineno, "unsafe", name)


def _check_forbidden(source: Source, tree: Any, config: Config) -> None:
    for attribute in tree.get_descendants(vy.Attribute, {"attr": "origin"}):
        if _is_listed(source.path, config.origin):
            break
        if isinstance(attribute.value, vy.Name) and attribute.value.id == "tx":
            source.report(attribute.lineno, "forbidden", "tx.origin")
    for call in _calls_of(tree, "selfdestruct", *CREATION):
        source.report(call.lineno, "forbidden", call.func.id)
    for call in _calls_of(tree, "raw_call"):
        delegate = _keyword(call, "is_delegate_call")
        if delegate is not None and not (
            isinstance(delegate, vy.NameConstant) and delegate.value is False
        ):
            source.report(call.lineno, "forbidden", "delegatecall")


def _check_range_bounds(source: Source, tree: Any, config: Config) -> None:
    constants = {
        d.target.id: d.value
        for d in tree.get_children(vy.VariableDecl)
        if getattr(d, "is_constant", False)
    }

    def is_fixed(node: Any) -> bool:
        if isinstance(node, vy.Int):
            return True
        if isinstance(node, vy.Name):
            return node.id in constants
        # A constant of a module, by the house's spelling.
        return isinstance(node, vy.Attribute) and node.attr.isupper()

    for loop in tree.get_descendants(vy.For):
        head = loop.iter
        if not (
            isinstance(head, vy.Call) and isinstance(head.func, vy.Name) and head.func.id == "range"
        ):
            continue
        if _keyword(head, "bound") is None and not all(map(is_fixed, head.args)):
            source.report(loop.lineno, "range-bound", "range over a run-time length without bound=")


def _reasons(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each assert, raise and call of the raiser, with its message node or None."""
    for node in tree.get_descendants(vy.Assert):
        yield node, node.msg
    for node in tree.get_descendants(vy.Raise):
        yield node, node.exc
    for call in tree.get_descendants(vy.Call):
        if _is_raiser(call.func):
            yield call, call.args[0]


def _check_reasons(source: Source, tree: Any, config: Config) -> None:
    for node, message in _reasons(tree):
        if message is None:
            first, last = node.lineno, max(node.lineno, node.end_lineno)
            if not any("# dev:" in line for line in source.lines[first - 1 : last]):
                source.report(node.lineno, "bare-assert", "neither a string nor a `# dev:` comment")
            continue
        if isinstance(message, vy.Name) and message.id == "UNREACHABLE":
            continue
        function = node.get_ancestor(vy.FunctionDef)
        if not isinstance(message, vy.Str):
            if (Path(source.path).stem, getattr(function, "name", "")) != RAISER:
                source.report(node.lineno, "revert-string", "the reason is not a literal string")
            continue
        text = message.value
        if len(text) > MAX_REASON:
            source.report(node.lineno, "revert-string", f'"{text}" has {len(text)} characters')
        if not REASON.match(text):
            source.report(
                node.lineno, "revert-string", f'"{text}" is not "prefix: reason" in lower case'
            )
        if function is None or not GUARD.match(function.name):
            where = function.name if function is not None else "the module"
            source.report(node.lineno, "guard", f'"{text}" stands in {where}, not in a guard')


def _check_unique_reasons(sources: list[Source]) -> None:
    seen: dict[str, str] = {}
    for source in sources:
        if source.is_interface:
            continue
        try:
            pairs = sorted(_reasons(source.tree), key=lambda p: p[0].lineno)
        except VyperException:
            continue  # reported already
        own: set[str] = set()
        for node, message in pairs:
            if not isinstance(message, vy.Str):
                continue
            text = message.value
            # Mocks may share a reason with each other, but not within one file.
            first = seen.get(text)
            if text in own or (first is not None and not source.is_mock):
                source.report(
                    node.lineno, "revert-string", f'"{text}" is written already at {first}'
                )
            own.add(text)
            seen.setdefault(text, f"{source.path}:{node.lineno}")


def _check_reentrant(source: Source, tree: Any, config: Config) -> None:
    lines = [f.lineno for f in tree.get_children(vy.FunctionDef) if _has_decorator(f, "reentrant")]
    lines += [c.lineno for c in _calls_of(tree, "reentrant")]
    lines += [
        d.lineno
        for d in tree.get_children(vy.VariableDecl)
        if getattr(d, "is_reentrant", False) and d.lineno
    ]
    for line in sorted(set(lines)):
        first = line
        # Decorators may stand above the one that matters.
        while first > 1 and source.lines[first - 2].lstrip().startswith("@"):
            first -= 1
        if first < 2 or not source.lines[first - 2].lstrip().startswith("#"):
            source.report(line, "reentrant", "no comment on the line above says why")


def _has_decorator(function: Any, name: str) -> bool:
    return any(isinstance(d, vy.Name) and d.id == name for d in function.decorator_list)


# ---------------------------------------------------------------- types


def _statements(tree: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each statement of each function, with its expressions but not its nested statements."""
    for function in tree.get_children(vy.FunctionDef):
        pending = list(function.body)
        while pending:
            node = pending.pop()
            if isinstance(node, vy.If):
                yield node, [node.test]
                pending += [*node.body, *node.orelse]
            elif isinstance(node, vy.For):
                yield node, [node.iter]
                pending += node.body
            else:
                yield node, [node]


def _effects(expression: Any) -> list[Any]:
    """Calls in an expression that change state: the nodes of type Call, or ExtCall around one."""
    found = [e for e in expression.get_descendants(vy.ExtCall, include_self=True)]
    for call in expression.get_descendants(vy.Call, include_self=True):
        if isinstance(call.get_ancestor(), vy.ExtCall | vy.StaticCall | vy.Log):
            continue
        if isinstance(call.func, vy.Name) and call.func.id in ACTING_BUILTINS:
            found.append(call)
            continue
        kind = call.func._metadata.get("type")
        is_mutable = isinstance(kind, ContractFunctionT) and kind.is_mutable
        is_modifying = isinstance(kind, MemberFunctionT) and kind.is_modifying
        if is_mutable or is_modifying:
            found.append(call)
    return found


def _check_one_effect(source: Source, tree: Any, config: Config) -> None:
    for statement, expressions in _statements(tree):
        effects = [e for expression in expressions for e in _effects(expression)]
        if len(effects) > 1:
            names = ", ".join(_name_of(e) for e in effects)
            source.report(
                statement.lineno, "one-effect", f"{len(effects)} calls with side effects: {names}"
            )


def _name_of(effect: Any) -> str:
    call = effect.value if isinstance(effect, vy.ExtCall) else effect
    return str(call.func.attr if isinstance(call.func, vy.Attribute) else call.func.id)


def _check_order(source: Source, tree: Any, config: Config) -> None:
    for statement, expressions in _statements(tree):
        for effect in [e for expression in expressions for e in _effects(expression)]:
            clash = next(iter(sorted(_written_by(effect) & _read_beside(effect, statement))), None)
            if clash is not None:
                source.report(
                    statement.lineno,
                    "order",
                    f"{_name_of(effect)} changes {clash}, which is read beside it",
                )


def _written_by(effect: Any) -> set[str]:
    if isinstance(effect, vy.ExtCall):
        return {"other contracts"}
    kind = effect.func._metadata.get("type")
    if isinstance(kind, ContractFunctionT):
        return {_variable(access.variable) for access in kind.get_variable_writes()}
    if isinstance(kind, MemberFunctionT):
        return {_variable_of(effect.func.value)} - {""}
    return {"other contracts"}


def _read_beside(effect: Any, statement: Any) -> set[str]:
    """What the statement's other operands read; the call's own arguments come before it."""
    reads: set[str] = set()
    node = effect
    while node is not statement:
        parent = node.get_ancestor()
        if isinstance(parent, vy.AugAssign) or not isinstance(
            parent, vy.Assign | vy.AnnAssign | vy.If | vy.For
        ):
            for sibling in parent.get_children():
                if sibling is not node:
                    reads |= _reads(sibling)
        elif isinstance(parent, vy.Assign) and isinstance(parent.target, vy.Subscript):
            reads |= _reads(parent.target.slice)
        if parent is statement:
            break
        node = parent
    return reads


def _reads(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_reads, node))
    reads: set[str] = set()
    for attribute in node.get_descendants(vy.Attribute, include_self=True):
        reads.add(_variable_of(attribute))
    for call in node.get_descendants(vy.Call, include_self=True):
        kind = call.func._metadata.get("type")
        if isinstance(call.get_ancestor(), vy.StaticCall | vy.ExtCall):
            reads.add("other contracts")
        elif isinstance(kind, ContractFunctionT):
            reads |= {_variable(access.variable) for access in kind.get_variable_reads()}
    return reads - {""}


def _variable_of(node: Any) -> str:
    """Name of the state variable that an expression starts from, or an empty string."""
    while isinstance(node, vy.Subscript):
        node = node.value
    info = getattr(node, "_expr_info", None)
    variable = getattr(info, "var_info", None)
    return _variable(variable) if variable is not None and variable.is_state_variable() else ""


def _variable(variable: Any) -> str:
    node = variable.decl_node
    module = Path(node.module_node.path).stem if node is not None else ""
    return f"{module}.{node.target.id}" if node is not None else repr(variable)


def _check_ternaries(source: Source, tree: Any, config: Config) -> None:
    for ternary in tree.get_descendants(vy.IfExp):
        kind = ternary._metadata.get("type")
        if kind is not None and (not kind._is_prim_word or isinstance(kind, TupleT)):
            source.report(ternary.lineno, "ternary", f"over a {kind}")
        for branch in (ternary.body, ternary.orelse):
            for message in _branch_faults(branch):
                source.report(ternary.lineno, "ternary", message)


def _branch_faults(branch: Any) -> Iterator[str]:
    if branch.get_descendants(vy.Subscript, include_self=True):
        yield "with a subscript in a branch"
    if any(isinstance(b.op, vy.BitOr) for b in branch.get_descendants(vy.BinOp, include_self=True)):
        yield "with a bitwise or in a branch"
    for attribute in branch.get_descendants(
        vy.Attribute, {"attr": {"value", "data"}}, include_self=True
    ):
        if isinstance(attribute.value, vy.Name) and attribute.value.id == "msg":
            yield f"over msg.{attribute.attr}"


def _check_signed_division(source: Source, tree: Any, config: Config) -> None:
    if _is_listed(source.path, config.signed_division):
        return
    for node in tree.get_descendants((vy.BinOp, vy.AugAssign)):
        if not isinstance(node.op, vy.FloorDiv | vy.Mod):
            continue
        operand = node.target if isinstance(node, vy.AugAssign) else node
        kind = operand._metadata.get("type")
        if isinstance(kind, IntegerT) and kind.is_signed and not _is_constant_expression(node):
            source.report(
                node.lineno,
                "signed-division",
                "truncates toward zero: use the helper that names its rounding",
            )


def _is_constant_expression(node: Any) -> bool:
    return isinstance(node, vy.BinOp) and node.has_folded_value


_Rule = Callable[[Source, Any, Config], None]
_SYNTAX_RULES: tuple[_Rule, ...] = (
    _check_token_calls,
    _check_raw_calls,
    _check_unsafe,
    _check_forbidden,
    _check_range_bounds,
    _check_reasons,
    _check_reentrant,
)
_TYPE_RULES: tuple[_Rule, ...] = (
    _check_one_effect,
    _check_order,
    _check_ternaries,
    _check_signed_division,
)
