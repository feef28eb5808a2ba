"""Batches prepared by threads while the previous training step runs.

Threads rather than processes: decoding, resizing and NumPy's copies release the interpreter lock, so that threads share
the work as well as processes do; and processes started with `fork` deadlock now and then, because a lock that one of
Paddle's threads holds at that moment is never released in the child.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # items that each thread may be ahead of the caller
END = object()


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result, None, None]:
    """`function` of each item, in order, computed by `threads` threads at most `AHEAD * threads` items ahead.

    With 0 threads each item is computed in the caller's thread when it is requested. An exception of the function is
    raised in place of its result. The threads end with the iterator.
    """
    if not threads:
        yield from map(function, items)
        return
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads, "paddlecnn-read")
    try:
        pending: deque[Future[Result]] = deque(pool.submit(function, i) for i in islice(remaining, AHEAD * threads))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, i) for i in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items of a generator, each computed in a thread while the caller uses the one before it.

    The generator is closed with this iterator.
    """
    with ThreadPoolExecutor(1, "paddlecnn-prefetch") as pool:
        try:
            following = pool.submit(next, items, END)
            while (item := following.result()) is not END:
                following = pool.submit(next, items, END)
                yield item  # type: ignore[misc]
        finally:
            pool.submit(items.close).result()
