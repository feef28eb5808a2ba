"""The clock of a measurement in its own process. Imports no framework."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable

BLOCK = 0.25  # seconds; the median over blocks leaves out those that other processes disturbed


def measure(step: Callable[[], object], images: int, seconds: float) -> dict[str, float]:
    """Images per second of a step, the median over blocks, and the peak memory of the process in MiB.

    Images per second of CPU time, all threads together, show what a busy machine hides; waiting threads count too.
    """
    for _ in range(2):
        step()
    rates: list[float] = []
    per_cpu: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        count, begin, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begin < BLOCK:
            step()
            count += 1
        rates.append(count * images / (time.perf_counter() - begin))
        per_cpu.append(count * images / (time.process_time() - cpu))
    return {
        "images_per_second": round(statistics.median(rates), 2),
        "best": round(max(rates), 2),
        "images_per_cpu_second": round(statistics.median(per_cpu), 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
