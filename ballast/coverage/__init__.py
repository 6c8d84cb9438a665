"""Which lines and branches of the contracts the tests run.

titanoboa brings a plugin for coverage.py, and it cannot be used here: it listens to its own
environment, which counts the program counters of py-evm, while our tests run on pyrevm. So
`tracing` takes the program counters from pyrevm, `sources` maps them to lines and branches by the
compiler's source map, and `reporting` writes figures and data of coverage.py, whose reports read
them. The map of a jump to an outcome is finer than that plugin's: it counts what was jumped and not
which line came next, so both outcomes of an `and` in the middle of a line are told apart.

`python -m ballast.coverage` runs the tests and tells the figures.
"""
