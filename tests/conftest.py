"""What every test runs under."""

from hypothesis import HealthCheck, settings

# How fast examples are made says how busy the machine is, and nothing of the code.
BUSY = [HealthCheck.too_slow]

settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=BUSY
)
settings.register_profile(
    "thorough", max_examples=1_000, deadline=None, suppress_health_check=BUSY
)
settings.load_profile("quick")
