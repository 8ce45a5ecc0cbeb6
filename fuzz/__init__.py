"""Fuzzing of all that reads what others have sent: `make fuzz`.

`targets/` holds a module for each parser, which knows nothing of the fuzzer: `run`
takes bytes, and raises where a promise is broken. So any Python replays a crash, and
`make test` the corpus. `__main__.py` alone imports atheris.
"""
