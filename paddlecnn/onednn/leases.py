"""Plans and buffers, lent to one forward pass and its backward pass at a time, and kept for the next."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque

import numpy as np

from paddlecnn.onednn.plan import Plan, PlanKey

IDLE_PLANS = 8  # kept for reuse: training, evaluation, and the smaller last batch of each, with room to spare
IDLE_BUFFERS = 2


class Pool:
    """Idle plans, the least recently used dropped first, and idle buffers, the smallest dropped first.

    Plans share buffers, so that training and evaluation need the memory of the larger one. Safe to use from several
    threads; a forked child starts with the parent's idle plans and a lock of its own.
    """

    def __init__(self) -> None:
        self.plans: OrderedDict[tuple[PlanKey, int], Plan] = OrderedDict()
        self.buffers: list[np.ndarray] = []
        self.returned: deque[tuple[PlanKey, Plan, np.ndarray]] = deque()  # not yet among the idle ones
        self.renew_lock()
        pools.add(self)

    def renew_lock(self) -> None:
        self.lock = threading.Lock()

    def lend(self, key: PlanKey) -> tuple[Plan, np.ndarray]:
        """An idle plan for this key, or a new one, and a buffer for its activations. `give_back` returns both."""
        with self.lock:
            self.take_back()
            found = next((entry for entry in self.plans if entry[0] == key), None)
            plan = self.plans.pop(found) if found else None
        plan = plan or Plan(key)
        with self.lock:
            fitting = [buffer for buffer in self.buffers if buffer.nbytes >= plan.buffer_bytes]
            buffer = min(fitting, key=lambda buffer: buffer.nbytes, default=None)
            if buffer is None:
                if self.buffers:
                    self.buffers.pop()  # too small for this plan: make room for a larger one
                buffer = np.empty(plan.buffer_bytes, np.uint8)
            else:
                self.buffers = [other for other in self.buffers if other is not buffer]
        return plan, buffer

    def give_back(self, key: PlanKey, plan: Plan, buffer: np.ndarray) -> None:
        """End a lease. Waits for no lock: garbage collection may end one at any point, inside `lend` too."""
        self.returned.append((key, plan, buffer))
        if self.lock.acquire(blocking=False):  # otherwise the next `lend` takes it back
            try:
                self.take_back()
            finally:
                self.lock.release()

    def take_back(self) -> None:
        """Make what was returned idle. Called with the lock held."""
        while self.returned:
            key, plan, buffer = self.returned.popleft()
            self.plans[key, id(plan)] = plan
            self.buffers.append(buffer)
        while len(self.plans) > IDLE_PLANS:
            self.plans.popitem(last=False)
        self.buffers.sort(key=lambda buffer: -buffer.nbytes)
        del self.buffers[IDLE_BUFFERS:]


def renew_locks() -> None:
    for pool in pools:
        pool.renew_lock()


pools: weakref.WeakSet[Pool] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_locks)
