"""Proofs of what the contracts compute, from their own source text.

`source` has the compiler read a file, `translate` walks the functions that it finds and makes terms
of an SMT solver of them, in one of two `domains`: whole numbers, where division and overflow are
said exactly, or words of 256 bits, where packing is. `claims` asks the solver. What is claimed is
in `tests/proofs`, and in words in `docs/proofs.md`.
"""
