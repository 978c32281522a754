"""Threads at work while the network is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def meanwhile(
    work: Callable[..., T], arguments: Iterable[tuple[Any, ...]], *, threads: int, waiting: int
) -> Iterator[tuple[tuple[Any, ...], T]]:
    """The arguments with what ``work`` makes of them, in order; it runs in threads while the next
    arguments are made and what comes out is used.

    Args:
        work: what is done, in any order.
        arguments: of each call.
        threads: how many calls run at a time.
        waiting: how many may be under way or done ahead, which all take memory.
    """
    with ThreadPoolExecutor(threads) as pool:
        started: deque[tuple[tuple[Any, ...], Future[T]]] = deque()
        for given in arguments:
            started.append((given, pool.submit(work, *given)))
            if len(started) > waiting:
                done, future = started.popleft()
                yield done, future.result()
        for done, future in started:
            yield done, future.result()
