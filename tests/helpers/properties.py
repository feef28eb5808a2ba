"""Settings of the property tests: 200 examples, or as many as PADDLECNN_EXAMPLES says (`make chaos`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

PROPERTY = settings(
    max_examples=int(os.environ.get("PADDLECNN_EXAMPLES", "200")),
    deadline=None,
    database=None,
    derandomize="PADDLECNN_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
