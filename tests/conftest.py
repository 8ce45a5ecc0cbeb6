"""What every test runs under."""

from hypothesis import HealthCheck, Phase, settings

# How fast examples are made says how busy the machine is, and nothing of the code.
BUSY = [HealthCheck.too_slow]

# The same examples at each run: who changes a line is judged by that line. The search
# for what nobody has thought of is `make search`'s, with new examples at each run.
settings.register_profile(
    "quick",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=BUSY,
)
settings.register_profile(
    "thorough",
    max_examples=1_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=BUSY,
)
settings.register_profile(
    "search", max_examples=5_000, deadline=None, suppress_health_check=BUSY
)
settings.register_profile(  # a failure is enough: nobody reads the smallest one
    "mutants",
    max_examples=25,
    deadline=None,
    suppress_health_check=BUSY,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("quick")
