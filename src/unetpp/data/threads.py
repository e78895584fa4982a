"""Work that is done in threads, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def parallel(function, items) -> list:
    """`map` on a few threads: decoders release Python's lock."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))


def ahead(function: Callable[[Item], T], items: Iterable[Item], threads: int = 2) -> Iterator[T]:
    """Map a function in threads while the next items are made; in order, and holding few items at a time."""
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
