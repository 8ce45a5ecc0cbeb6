"""The incident search: random faults over the real client and the real server.

A schedule says what is called and what goes wrong when, all of it drawn from a seed.
It is run in virtual time, over a network in memory; then what must hold after any
incident is looked at. `python -m incidents` runs many, and `--replay SEED` shows one.

`schedule` draws, `world` runs, `invariants` looks, `planted` holds bugs that have to be
found. `loop` and `network` are all that is not real.
"""
