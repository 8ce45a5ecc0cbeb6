"""The decisions, and nothing else.

Nothing in this folder reads a clock, draws from a global random source, sleeps, locks,
logs or speaks HTTP: `now` and `rng` are handed in, and what should happen next is
handed out.
"""
