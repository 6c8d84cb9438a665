"""From functions of Vyper to terms of the solver.

    machine = Machine(Integers())
    x, d = machine.unsigned("x"), machine.unsigned("d")
    quotient = machine.call("contracts/modules/fixed_point.vy", "_div_up", x, d)

`quotient.value` is what the function returns, `quotient.returns` when it does, that is without a
failed `assert` and without an overflow of checked arithmetic, and `quotient.exact` when no
unchecked operation leaves its type: in whole numbers the value is the contract's only where that is
so, and a claim proves it first.

What is read from storage, from immutables, from the block or from other contracts is an unknown of
its type. A text without local names is the same unknown within one machine, so a claim may name it
by `machine.known`; any other is a new one each time. What is not in the subset raises
Untranslatable: nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import z3
from vyper import ast as vy

from ballast.proofs.domains import (
    Domain,
    Integers,
    Untranslatable,
    conjunction,
    constant_of,
)
from ballast.proofs.source import functions_of, load_module

UINT_MAX = 2**256 - 1
INT_MIN, INT_MAX = -(2**255), 2**255 - 1

Value = Any  # a term; a tuple of values; a dict of them for a struct
Substitute = Callable[..., Value]


@dataclass(frozen=True)
class Outcome:
    """What a call comes to."""

    value: Value
    returns: Any  # it does not revert
    exact: Any  # no unchecked operation leaves its type
    names: dict[str, Value]  # the locals of the function where it ended, for hints


@dataclass
class _Frame:
    """A function that is being walked."""

    module: Any
    names: dict[str, Value]


class _Nothing:
    """There was no `return`."""


_NOTHING = _Nothing()
_CHECKED = {vy.Add: "add", vy.Sub: "sub", vy.Mult: "mul"}
_UNSAFE = {"unsafe_add": "add", "unsafe_sub": "sub", "unsafe_mul": "mul"}


def bounds_of(kind: Any) -> tuple[int, int]:
    """The least and the greatest number of a type of Vyper."""
    if hasattr(kind, "ast_bounds"):
        low, high = kind.ast_bounds
        return int(low), int(high)
    name = str(kind)
    if name == "address" or type(kind).__name__ == "InterfaceT":
        return 0, 2**160 - 1
    if name.startswith("bytes"):
        return 0, 2 ** (8 * int(name.removeprefix("bytes"))) - 1
    if hasattr(kind, "_enum_members") or type(kind).__name__ == "FlagT":
        return 0, UINT_MAX
    raise Untranslatable(f"a value of type {kind}")


class Machine:
    """One setting: symbols, what is known of them, and the calls made in it."""

    def __init__(
        self,
        domain: Domain,
        substitutes: Mapping[str, Substitute] | None = None,
        edits: Mapping[str, str] | None = None,
    ) -> None:
        self.domain = domain
        self.substitutes: dict[str, Substitute] = {"_mul_div": self._library_mul_div}
        self.substitutes |= substitutes or {}
        self.edits = edits
        self.known: dict[str, Value] = {}  # by its text: storage, immutables, the block
        self._checks: list[Any] = []
        self._wraps: list[Any] = []
        self._initial: dict[str, Value] = {}
        self._volatile: set[str] = set()  # variables of which some entry was written
        self._unknowns = 0

    # ---- inputs

    def unsigned(self, name: str, high: int = UINT_MAX, low: int = 0) -> Any:
        """An unknown number from `low` to `high`, both included."""
        return self.domain.symbol(name, low, high)

    def signed(self, name: str, low: int = INT_MIN, high: int = INT_MAX) -> Any:
        """An unknown number that may be negative."""
        return self.domain.symbol(name, low, high)

    @property
    def facts(self) -> list[Any]:
        """What holds for every execution."""
        return self.domain.facts

    # ---- calls

    def call(self, path: str, name: str, *arguments: Value) -> Outcome:
        """What a function of a file makes of these arguments."""
        module = load_module(path, self.edits)
        function = functions_of(module)[name]
        outer = self._checks, self._wraps
        self._checks, self._wraps = [], []
        try:
            frame = self._frame(module, function, arguments)
            value = self._body(frame, function, z3.BoolVal(True))
            checks, wraps = conjunction(self._checks), conjunction(self._wraps)
            return Outcome(value, checks, wraps, frame.names)
        finally:
            self._checks, self._wraps = outer

    def expression(self, path: str, name: str, text: str) -> Outcome:
        """An expression in a function, its locals and arguments unknown; `names` has them.

        Raises Untranslatable where the function has no expression of this text.
        """
        module = load_module(path, self.edits)
        function = functions_of(module)[name]
        for node in function.get_descendants(vy.ExprNode):
            if " ".join(node.node_source_code.split()) == text:
                break
        else:
            raise Untranslatable(f"{name} has no {text}")
        frame = _Frame(module, {})
        for inner in node.get_descendants(vy.Name, include_self=True):
            if inner.id not in frame.names and _is_local(function, inner.id):
                self._unknowns += 1
                name_of = f"{inner.id}!{self._unknowns}"
                frame.names[inner.id] = self._free(name_of, inner._metadata["type"])
        outer = self._checks, self._wraps
        self._checks, self._wraps = [], []
        try:
            value = self._value(frame, node, z3.BoolVal(True))
            checks, wraps = conjunction(self._checks), conjunction(self._wraps)
            return Outcome(value, checks, wraps, frame.names)
        finally:
            self._checks, self._wraps = outer

    def _free(self, name: str, kind: Any) -> Value:
        members = getattr(kind, "member_types", None)
        if members and type(kind).__name__ == "StructT":
            return {part: self._free(f"{name}.{part}", k) for part, k in members.items()}
        if str(kind) == "bool":
            return z3.Bool(name)
        try:
            return self.domain.symbol(name, *bounds_of(kind))
        except Untranslatable:
            return None  # an array: nothing that is proved here reads it

    def _frame(self, module: Any, node: Any, arguments: Sequence[Value]) -> _Frame:
        names = [a.arg for a in node.args.args]
        if len(names) != len(arguments):
            raise Untranslatable(f"{node.name} with {len(arguments)} arguments")
        literal = [self._term(value) for value in arguments]
        return _Frame(module, dict(zip(names, literal, strict=True)))

    def _body(self, frame: _Frame, node: Any, path: Any) -> Value:
        value = self._block(frame, node.body, path)
        return None if value is _NOTHING else value

    def _term(self, value: Value) -> Value:
        if isinstance(value, bool):
            return z3.BoolVal(value)
        return self.domain.literal(value) if isinstance(value, int) else value

    def _check(self, path: Any, condition: Any) -> None:
        self._checks.append(z3.Implies(path, condition))

    def _wrap(self, path: Any, condition: Any) -> None:
        self._wraps.append(z3.Implies(path, condition))

    # ---- statements

    def _block(self, frame: _Frame, statements: Sequence[Any], path: Any) -> Value:
        for place, node in enumerate(statements):
            if isinstance(node, vy.If):
                rest = statements[place + 1 :]
                if _may_return(node):
                    return self._split(frame, node, rest, path)
                self._join(frame, node, path)
                continue
            if isinstance(node, vy.Return):
                return None if node.value is None else self._value(frame, node.value, path)
            self._statement(frame, node, path)
        return _NOTHING

    def _split(self, frame: _Frame, node: Any, rest: Sequence[Any], path: Any) -> Value:
        condition = self._value(frame, node.test, path)
        other = _Frame(frame.module, dict(frame.names))
        state = dict(self.known)
        yes = self._block(other, [*node.body, *rest], z3.And(path, condition))
        self.known, after = dict(state), self.known
        no = self._block(frame, [*node.orelse, *rest], z3.And(path, z3.Not(condition)))
        self._join_state(condition, after)
        return _NOTHING if yes is _NOTHING else _either(condition, yes, no)

    def _join_state(self, condition: Any, after: dict[str, Value]) -> None:
        # What only one branch read or wrote is in the other what it was before.
        names = self.known.keys() | after.keys()
        gone = tuple(self._volatile)
        before = self._initial
        self.known = {
            n: _either(condition, after.get(n, before[n]), self.known.get(n, before[n]))
            for n in names
            if not n.startswith(gone)
        }

    def _join(self, frame: _Frame, node: Any, path: Any) -> None:
        condition = self._value(frame, node.test, path)
        other = _Frame(frame.module, dict(frame.names))
        state = dict(self.known)
        self._block(frame, node.body, z3.And(path, condition))
        self.known, after = dict(state), self.known
        self._block(other, node.orelse, z3.And(path, z3.Not(condition)))
        self._join_state(condition, after)
        for name, value in other.names.items():
            if name in frame.names:
                frame.names[name] = _either(condition, frame.names[name], value)

    def _statement(self, frame: _Frame, node: Any, path: Any) -> None:
        if isinstance(node, vy.AnnAssign):
            frame.names[node.target.id] = self._value(frame, node.value, path)
        elif isinstance(node, vy.Assign):
            value = self._value(frame, node.value, path)
            if isinstance(node.target, vy.Tuple):
                for target, part in zip(node.target.elements, value, strict=True):
                    self._assign(frame, target, part)
            else:
                self._assign(frame, node.target, value)
        elif isinstance(node, vy.AugAssign):
            old = self._value(frame, node.target, path)
            change = self._value(frame, node.value, path)
            kind = node.target._metadata["type"]
            self._assign(frame, node.target, self._operation(node.op, old, change, kind, path))
        elif isinstance(node, vy.Assert):
            self._check(path, self._value(frame, node.test, path))
        elif isinstance(node, vy.Raise):
            self._check(path, z3.BoolVal(False))
        elif isinstance(node, vy.Expr):
            if not isinstance(node.value, vy.Str):
                self._value(frame, node.value, path)
        elif isinstance(node, vy.For):
            self._loop(frame, node, path)
        elif not isinstance(node, vy.Log | vy.Pass):
            raise Untranslatable(f"{type(node).__name__}: {node.node_source_code}")

    def _assign(self, frame: _Frame, target: Any, value: Value) -> None:
        if isinstance(target, vy.Name):
            frame.names[target.id] = value
        elif isinstance(target, vy.Attribute) and _root(target) in frame.names:
            inner = target.value
            if not isinstance(inner, vy.Name):
                raise Untranslatable(f"an assignment to {target.node_source_code}")
            frame.names[inner.id] = frame.names[inner.id] | {target.attr: value}
        else:
            self._write(frame, target, value)

    def _write(self, frame: _Frame, target: Any, value: Value) -> None:
        root = target
        while isinstance(root, vy.Subscript | vy.Attribute) and root.node_source_code != "self":
            if isinstance(root.value, vy.Name):
                break
            root = root.value
        text = root.node_source_code
        if root is target:
            if text not in self.known:
                self._initial[text] = self._free(f"{text}!old", target._metadata["type"])
            self.known[text] = value
            return
        # Which entry was written is not followed, so nothing of the variable is known any more.
        self._volatile.add(text)
        self.known = {k: v for k, v in self.known.items() if not k.startswith(text)}

    def _loop(self, frame: _Frame, node: Any, path: Any) -> None:
        arguments: list[Any] = getattr(node.iter, "args", [])
        count = constant_of(self._value(frame, arguments[0], path)) if arguments else None
        if count is None or len(arguments) != 1 or _may_return(node):
            raise Untranslatable(f"a loop over {node.iter.node_source_code}")
        for i in range(count):
            frame.names[node.target.target.id] = self.domain.literal(i)
            self._block(frame, node.body, path)

    # ---- expressions

    def _value(self, frame: _Frame, node: Any, path: Any) -> Value:
        if node.has_folded_value:
            node = node.get_folded_value()
        if isinstance(node, vy.Int):
            return self.domain.literal(node.value)
        if isinstance(node, vy.Str):
            return None  # a reason
        if isinstance(node, vy.Hex):
            return self.domain.literal(int(node.value, 16))
        if isinstance(node, vy.NameConstant):
            return z3.BoolVal(bool(node.value))
        if isinstance(node, vy.Name):
            return self._name(frame, node)
        if isinstance(node, vy.Attribute):
            if _root(node) in frame.names:
                return self._value(frame, node.value, path)[node.attr]
            return self._unknown(frame, node)
        if isinstance(node, vy.BinOp):
            left = self._value(frame, node.left, path)
            right = self._value(frame, node.right, path)
            return self._operation(node.op, left, right, node._metadata["type"], path)
        if isinstance(node, vy.UnaryOp):
            return self._unary(frame, node, path)
        if isinstance(node, vy.BoolOp):
            return self._junction(frame, node, path)
        if isinstance(node, vy.Compare):
            return self._comparison(frame, node, path)
        if isinstance(node, vy.IfExp):
            condition = self._value(frame, node.test, path)
            yes = self._value(frame, node.body, z3.And(path, condition))
            no = self._value(frame, node.orelse, z3.And(path, z3.Not(condition)))
            return _either(condition, yes, no)
        if isinstance(node, vy.Tuple):
            return tuple(self._value(frame, part, path) for part in node.elements)
        if isinstance(node, vy.Call):
            return self._call(frame, node, path)
        if isinstance(node, vy.Subscript | vy.StaticCall | vy.ExtCall):
            return self._unknown(frame, node)
        raise Untranslatable(f"{type(node).__name__}: {node.node_source_code}")

    def _name(self, frame: _Frame, node: Any) -> Value:
        return frame.names[node.id] if node.id in frame.names else self._unknown(frame, node)

    def _unknown(self, frame: _Frame, node: Any) -> Value:
        text = node.node_source_code
        inside = node.get_descendants(vy.Name, include_self=True)
        is_new = isinstance(node, vy.ExtCall) or any(n.id in frame.names for n in inside)
        is_new = is_new or text.startswith(tuple(self._volatile))
        if not is_new and text in self.known:
            return self.known[text]
        self._unknowns += 1
        value = self._free(f"{text}!{self._unknowns}", node._metadata["type"])
        if value is None:
            raise Untranslatable(f"an array: {text}")
        if not is_new:
            self.known[text] = self._initial[text] = value
        return value

    def _operation(self, op: Any, a: Value, b: Value, kind: Any, path: Any) -> Value:
        low, high = bounds_of(kind)
        signed = low < 0
        if type(op) in _CHECKED:
            name = _CHECKED[type(op)]
            term = getattr(self.domain, name)(a, b)
            self._check(path, self.domain.fits(name, a, b, term, low, high))
            return term
        if isinstance(op, vy.FloorDiv | vy.Mod):
            self._check(path, b != self.domain.literal(0))
            if isinstance(op, vy.Mod):
                return self.domain.mod(a, b, signed)
            term = self.domain.div(a, b, signed)
            if signed:
                self._check(path, self.domain.within(term, low, high))
            return term
        if isinstance(op, vy.Pow):
            base, power = constant_of(a), constant_of(b)
            if base is None or power is None:
                raise Untranslatable("a power of a variable")
            return self.domain.literal(base**power)
        if isinstance(op, vy.LShift):
            term = self.domain.shift_left(a, b)
            if isinstance(self.domain, Integers):
                self._wrap(path, self.domain.within(term, low, high))
            return term
        if isinstance(op, vy.RShift):
            return self.domain.shift_right(a, b, signed)
        bits = {vy.BitAnd: "bit_and", vy.BitOr: "bit_or", vy.BitXor: "bit_xor"}
        return getattr(self.domain, bits[type(op)])(a, b)

    def _unary(self, frame: _Frame, node: Any, path: Any) -> Value:
        value = self._value(frame, node.operand, path)
        if isinstance(node.op, vy.Not):
            return z3.Not(value)
        if isinstance(node.op, vy.Invert):
            return self.domain.bit_not(value)
        zero = self.domain.literal(0)
        term = self.domain.sub(zero, value)
        low, high = bounds_of(node._metadata["type"])
        self._check(path, self.domain.fits("sub", zero, value, term, low, high))
        return term

    def _junction(self, frame: _Frame, node: Any, path: Any) -> Any:
        is_and = isinstance(node.op, vy.And)
        terms = []
        for part in node.values:
            terms.append(self._value(frame, part, path))
            path = z3.And(path, terms[-1] if is_and else z3.Not(terms[-1]))
        return z3.And(*terms) if is_and else z3.Or(*terms)

    def _comparison(self, frame: _Frame, node: Any, path: Any) -> Any:
        left = self._value(frame, node.left, path)
        right = self._value(frame, node.right, path)
        kind = node.left._metadata["type"]
        if isinstance(node.op, vy.Eq | vy.NotEq):
            return left == right if isinstance(node.op, vy.Eq) else left != right
        signed = bounds_of(kind)[0] < 0
        if isinstance(node.op, vy.Lt):
            return self.domain.less(left, right, signed)
        if isinstance(node.op, vy.Gt):
            return self.domain.less(right, left, signed)
        if isinstance(node.op, vy.LtE):
            return z3.Not(self.domain.less(right, left, signed))
        if isinstance(node.op, vy.GtE):
            return z3.Not(self.domain.less(left, right, signed))
        raise Untranslatable(node.node_source_code)

    # ---- calls inside

    def _call(self, frame: _Frame, node: Any, path: Any) -> Value:
        kind = node.func._metadata["type"]
        if type(kind).__name__ == "ContractFunctionT":
            return self._internal(frame, node, kind, path)
        if node.keywords:  # a struct
            parts = {k.arg: self._value(frame, k.value, path) for k in node.keywords}
            return parts
        name = node.func.id if isinstance(node.func, vy.Name) else ""
        if name in ("convert", "empty", "max_value", "min_value"):
            return self._typed(frame, node, name, path)
        values = [self._value(frame, a, path) for a in node.args]
        low, high = bounds_of(node._metadata["type"])
        if name in ("min", "max"):
            a, b = values
            first = self.domain.less(a, b, low < 0)
            return z3.If(first, a, b) if name == "min" else z3.If(first, b, a)
        if name == "abs":
            zero = self.domain.literal(0)
            self._check(path, values[0] != self.domain.literal(INT_MIN))
            return z3.If(values[0] < zero, self.domain.sub(zero, values[0]), values[0])
        if name in _UNSAFE:
            a, b = values
            term = getattr(self.domain, _UNSAFE[name])(a, b)
            self._wrap(path, self.domain.fits(_UNSAFE[name], a, b, term, low, high))
            return term
        if name == "unsafe_div":
            a, b = values
            self._wrap(path, b != self.domain.literal(0))
            return self.domain.div(a, b, low < 0)
        if name == "isqrt":
            return self._root_of(values[0])
        raise Untranslatable(f"a call: {node.node_source_code}")

    def _root_of(self, x: Any) -> Any:
        self._unknowns += 1
        root = self.domain.symbol(f"isqrt!{self._unknowns}", 0, 2**128 - 1)
        one = self.domain.add(root, self.domain.literal(1))
        self.facts.extend([root * root <= x, x < one * one])
        return root

    def _internal(self, frame: _Frame, node: Any, kind: Any, path: Any) -> Value:
        values = [self._value(frame, a, path) for a in node.args]
        function = kind.decl_node
        if function.name in self.substitutes:
            return self.substitutes[function.name](*values, path=path)
        defaults = function.args.defaults
        if len(values) < len(function.args.args):
            missing = len(function.args.args) - len(values)
            values += [self._value(frame, d, path) for d in defaults[len(defaults) - missing :]]
        return self._body(self._frame(function.module_node, function, values), function, path)

    def _typed(self, frame: _Frame, node: Any, name: str, path: Any) -> Value:
        kind = node._metadata["type"]
        if name == "empty":
            return self._empty(kind)
        if name != "convert":
            return self.domain.literal(bounds_of(kind)[name == "max_value"])
        value = self._value(frame, node.args[0], path)
        source = node.args[0]._metadata["type"]
        if str(source) == "bool":
            return z3.If(value, self.domain.literal(1), self.domain.literal(0))
        from_low, from_high = bounds_of(source)
        low, high = bounds_of(kind)
        if "bytes" in str(kind) or "bytes" in str(source):
            return self.domain.reinterpret(value, low < 0)
        if low <= from_low and from_high <= high:
            return value
        if low == 0 and from_low < 0:
            inside = z3.Not(self.domain.less(value, self.domain.literal(0), True))
            if high < from_high:
                inside = z3.And(inside, self.domain.within(value, 0, high))
        elif from_low == 0 and low < 0:
            inside = self.domain.within(value, 0, high)
        else:
            inside = self.domain.within(value, low, high)
        self._check(path, inside)
        return value

    def _empty(self, kind: Any) -> Value:
        if str(kind) == "bool":
            return z3.BoolVal(False)
        members = getattr(kind, "member_types", None)
        if members and type(kind).__name__ == "StructT":
            return {name: self._empty(member) for name, member in members.items()}
        bounds_of(kind)
        return self.domain.literal(0)

    def _library_mul_div(self, x: Any, y: Any, d: Any, up: Any, *, path: Any) -> Any:
        """x y / d of snekmate, in 512 bits: taken by its description, not from its text.

        It reverts for d = 0 and for a result beyond a word, and is exact otherwise.
        """
        product = self.domain.mul(x, y)
        self._check(path, d != self.domain.literal(0))
        down = self.domain.div(product, d, False)
        rest = self.domain.mod(product, d, False)
        value = z3.If(z3.And(up, rest != self.domain.literal(0)), down + 1, down)
        value = z3.simplify(value) if z3.is_false(z3.simplify(up)) else value
        self._check(path, self.domain.within(value, 0, UINT_MAX))
        return value


def _root(node: Any) -> str:
    while isinstance(node, vy.Attribute):
        node = node.value
    return node.id if isinstance(node, vy.Name) else ""


def _is_local(function: Any, name: str) -> bool:
    arguments = {a.arg for a in function.args.args}
    targets = {n.target.id for n in function.get_descendants(vy.AnnAssign)}
    return name in arguments | targets


def _may_return(node: Any) -> bool:
    leaving = (vy.Return, vy.Break, vy.Continue)
    return any(node.get_descendants(leaving))


def _either(condition: Any, yes: Value, no: Value) -> Value:
    if yes is no:
        return yes
    if isinstance(yes, dict):
        return {name: _either(condition, yes[name], no[name]) for name in yes}
    if isinstance(yes, tuple):
        return tuple(_either(condition, a, b) for a, b in zip(yes, no, strict=True))
    if yes is None or yes is _NOTHING or no is None or no is _NOTHING:
        return yes
    return z3.If(condition, yes, no)
