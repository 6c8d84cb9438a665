"""What an integer of Vyper is to the solver: a whole number, or a word of 256 bits.

A machine word is a whole number with bounds. Arithmetic on whole numbers is exact, so a claim about
a quotient is one about multiplication and order; that a result fits its type is a condition of its
own. Words are for shifts and masks, where every bit counts and no product of unknowns occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import z3

WORD_BITS = 256


class Untranslatable(Exception):
    """A construct outside the subset that the translator speaks; the message names it."""


def conjunction(terms: list[Any]) -> Any:
    """All of them, True of none."""
    return z3.And(*terms) if terms else z3.BoolVal(True)


def constant_of(term: Any) -> int | None:
    """The number that a term is, None if it depends on anything."""
    if isinstance(term, int):
        return term
    simple = z3.simplify(term)
    if z3.is_int_value(simple):
        return int(simple.as_long())
    if z3.is_bv_value(simple):
        return int(simple.as_long())
    return None


def _is_arithmetic(term: Any) -> bool:
    return any(is_kind(term) for is_kind in (z3.is_add, z3.is_sub, z3.is_mul))


@dataclass
class Integers:
    """Whole numbers.

    `facts` defines the symbols that were introduced: bounds of inputs and fields, quotients by
    `a = q d + r, 0 <= r < |d|`. They hold for every execution, so a claim may assume them.
    """

    facts: list[Any] = field(default_factory=list)
    _fields: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    _quotients: dict[tuple[int, int], tuple[Any, Any]] = field(default_factory=dict)
    _parts: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # of a word made by `|`
    _kept: list[Any] = field(default_factory=list)  # an id names a term only while that lives
    _count: int = 0

    def fresh(self, name: str) -> Any:
        """A symbol of its own."""
        self._count += 1
        return z3.Int(f"{name}!{self._count}")

    def symbol(self, name: str, low: int, high: int) -> Any:
        """An input between two bounds, both included."""
        term = z3.Int(name)
        self.facts += [term >= low, term <= high]
        return term

    def literal(self, value: int) -> Any:
        """A constant."""
        return z3.IntVal(value)

    def within(self, term: Any, low: int, high: int) -> Any:
        """Whether a result fits."""
        return z3.And(term >= low, term <= high)

    def fits(self, op: str, a: Any, b: Any, term: Any, low: int, high: int) -> Any:
        """Whether a sum, difference or product fits its type."""
        return self.within(term, low, high)

    def add(self, a: Any, b: Any) -> Any:
        """a + b, without an end."""
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        """a - b"""
        return a - b

    def mul(self, a: Any, b: Any) -> Any:
        """a b"""
        return a * b

    def _split(self, a: Any, d: Any) -> tuple[Any, Any]:
        # Floor and remainder for a positive divisor.
        key = (a.get_id(), d.get_id())
        if key not in self._quotients:
            q, r = self.fresh("q"), self.fresh("r")
            self.facts.append(z3.Implies(d > 0, z3.And(a == q * d + r, r >= 0, r < d)))
            # What follows of it, said for the solver: it does not multiply inequalities itself.
            self.facts.append(z3.Implies(z3.And(d > 0, a >= 0), z3.And(q >= 0, q <= a)))
            self._quotients[key] = (q, r)
            self._kept += [a, d]
        return self._quotients[key]

    def div(self, a: Any, d: Any, signed: bool) -> Any:
        """The quotient toward zero, as the machine divides."""
        if not signed:
            return self._split(a, d)[0]
        magnitude = self._split(z3.If(a < 0, -a, a), z3.If(d < 0, -d, d))[0]
        return z3.If((a < 0) == (d < 0), magnitude, -magnitude)

    def mod(self, a: Any, d: Any, signed: bool) -> Any:
        """What a division leaves, with the sign of the dividend."""
        if not signed:
            return self._split(a, d)[1]
        rest = self._split(z3.If(a < 0, -a, a), z3.If(d < 0, -d, d))[1]
        return z3.If(a < 0, -rest, rest)

    def less(self, a: Any, b: Any, signed: bool) -> Any:
        """a < b"""
        return a < b

    def bit_and(self, a: Any, b: Any) -> Any:
        """A field of a word: some number of its width, the same for the same field.

        Nothing else about the word is known, so what is proved holds for all words.
        """
        mask = constant_of(b)
        if mask is None:
            a, mask = b, constant_of(a)
        if mask is None or mask & (mask + 1):
            return self._some_word()
        base, shift = self._unshifted(a)
        return self._field(base, shift, mask.bit_length())

    def _unshifted(self, term: Any) -> tuple[Any, int]:
        for (base, shift, width), known in self._fields.items():
            if shift + width == WORD_BITS and known.eq(term):
                return next(t for t in self._kept if t.get_id() == base), shift
        return term, 0

    def _field(self, base: Any, shift: int, width: int) -> Any:
        key = (base.get_id(), shift, width)
        if key not in self._fields:
            self._kept.append(base)
            self._fields[key] = self.fresh(f"field{shift}_{width}")
            self.facts.append(self.within(self._fields[key], 0, 2**width - 1))
        return self._fields[key]

    def shift_left(self, a: Any, bits: Any) -> Any:
        """a 2**bits, without an end."""
        amount = constant_of(bits)
        if amount is None:
            raise Untranslatable("a shift by a variable")
        return a * z3.IntVal(2**amount)

    def shift_right(self, a: Any, bits: Any, signed: bool) -> Any:
        """The upper field of a word, or a sum, difference or product over a power of two."""
        amount = constant_of(bits)
        if amount is None:
            raise Untranslatable("a shift by a variable")
        if amount == 0:
            return a
        if not signed and _is_arithmetic(a):
            return self._split(a, z3.IntVal(2**amount))[0]
        whole = self._field(a, amount, WORD_BITS - amount)
        if not signed:
            if a.get_id() in self._parts:
                small = [part < 2**amount for part in self._parts[a.get_id()]]
                self.facts.append((whole == 0) == z3.And(*small))
            return whole
        half = 2 ** (WORD_BITS - amount - 1)
        return z3.If(whole < half, whole, whole - 2 * half)

    def bit_or(self, a: Any, b: Any) -> Any:
        """Some word; its upper bits are zero where those of both are."""
        word = self._some_word()
        self._parts[word.get_id()] = (a, b)
        self._kept += [word, a, b]
        return word

    def bit_xor(self, a: Any, b: Any) -> Any:
        """Some word."""
        return self._some_word()

    def bit_not(self, a: Any) -> Any:
        """Some word."""
        return self._some_word()

    def _some_word(self) -> Any:
        # Nothing is known of what bits make together; `Words` knows.
        term = self.fresh("word")
        self.facts.append(self.within(term, 0, 2**WORD_BITS - 1))
        return term

    def reinterpret(self, a: Any, signed: bool) -> Any:
        """The same bits, read with or without a sign; only a shift may follow."""
        return a


@dataclass
class Words:
    """Words of 256 bits."""

    facts: list[Any] = field(default_factory=list)

    def symbol(self, name: str, low: int, high: int) -> Any:
        """An input between two bounds, both included."""
        term = z3.BitVec(name, WORD_BITS)
        if low < 0:
            self.facts += [term >= low, term <= high]
        else:
            self.facts += [z3.UGE(term, low), z3.ULE(term, high)]
        return term

    def literal(self, value: int) -> Any:
        """A constant."""
        return z3.BitVecVal(value % 2**WORD_BITS, WORD_BITS)

    def within(self, term: Any, low: int, high: int) -> Any:
        """Whether a result fits a type of at most 256 bits."""
        if low < 0:
            return z3.And(term >= self.literal(low), term <= self.literal(high))
        return z3.And(z3.UGE(term, self.literal(low)), z3.ULE(term, self.literal(high)))

    def fits(self, op: str, a: Any, b: Any, term: Any, low: int, high: int) -> Any:
        """Whether a sum, difference or product fits its type, before it is cut to a word."""
        signed = low < 0
        if op == "add":
            inside = z3.And(z3.BVAddNoOverflow(a, b, signed), z3.BVAddNoUnderflow(a, b))
            if not signed:
                inside = z3.BVAddNoOverflow(a, b, False)
        elif op == "sub":
            inside = z3.And(z3.BVSubNoOverflow(a, b), z3.BVSubNoUnderflow(a, b, signed))
            if not signed:
                inside = z3.BVSubNoUnderflow(a, b, False)
        else:
            inside = z3.BVMulNoOverflow(a, b, signed)
            if signed:
                inside = z3.And(inside, z3.BVMulNoUnderflow(a, b))
        return z3.And(inside, self.within(term, low, high))

    def add(self, a: Any, b: Any) -> Any:
        """a + b, around the end of a word."""
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        """a - b, around the end of a word."""
        return a - b

    def mul(self, a: Any, b: Any) -> Any:
        """a b, around the end of a word."""
        return a * b

    def div(self, a: Any, d: Any, signed: bool) -> Any:
        """The quotient toward zero."""
        return a / d if signed else z3.UDiv(a, d)

    def mod(self, a: Any, d: Any, signed: bool) -> Any:
        """What a division leaves."""
        return z3.SRem(a, d) if signed else z3.URem(a, d)

    def less(self, a: Any, b: Any, signed: bool) -> Any:
        """a < b"""
        return a < b if signed else z3.ULT(a, b)

    def bit_and(self, a: Any, b: Any) -> Any:
        """Bits of both."""
        return a & b

    def bit_or(self, a: Any, b: Any) -> Any:
        """Bits of either."""
        return a | b

    def bit_xor(self, a: Any, b: Any) -> Any:
        """Bits of one."""
        return a ^ b

    def bit_not(self, a: Any) -> Any:
        """The other bits."""
        return ~a

    def shift_left(self, a: Any, bits: Any) -> Any:
        """Bits that leave the word are lost."""
        return a << bits

    def shift_right(self, a: Any, bits: Any, signed: bool) -> Any:
        """With the sign, or with zeros."""
        return a >> bits if signed else z3.LShR(a, bits)

    def reinterpret(self, a: Any, signed: bool) -> Any:
        """The same bits."""
        return a


Domain = Integers | Words
