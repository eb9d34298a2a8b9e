"""How the tests with Hypothesis's examples are run: the same examples every time, or, with
SQZ_EXAMPLES=10000, so many others."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("SQZ_EXAMPLES", "0"))
plainly = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,  # the machine may be busy
    suppress_health_check=list(HealthCheck),
)
