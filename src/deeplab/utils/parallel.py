"""Work on many files in several processes, and waiting for several at once in threads."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from deeplab.utils.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 16
"""Items sent at once: few enough for Ctrl-C and an error to end the work soon."""

GRACE = 1.0
"""Seconds for threads to end after another one has failed."""

AHEAD = 4
"""Chunks for each process that wait, are in work, or are done and not yet asked for."""


def each(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    num_workers: int,
    desc: str,
    progress: bool = True,
) -> Iterator[R]:
    """The results of ``work`` for all items, in their order, as they are asked for.

    An exception of ``work`` comes out as itself and ends the rest.

    Args:
        work: a function that other processes can import, or a ``functools.partial`` of one.
        items: they and the results travel between the processes, those ahead of the caller only.
        num_workers: processes; with fewer than two the work is done in this one.
        desc: what the progress bar says.
        progress: whether there is a bar.

    Raises:
        UserError: a process was killed.
    """
    results = map(work, items) if num_workers < 2 else _pooled(work, items, num_workers)
    yield from tqdm(results, desc, total=len(items), disable=not progress)


def _pooled(work: Callable[[T], R], items: Sequence[T], num_workers: int) -> Iterator[R]:
    # spawn, since a fork would inherit the locks of threads (OpenCV's, torch's) but not the threads
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_end_with_parent)
    pending: deque[Future[list[R]]] = deque()
    try:
        for start in range(0, len(items), CHUNK):
            with _ctrl_c_later():
                pending.append(pool.submit(_work_on, work, items[start : start + CHUNK]))
            if len(pending) >= AHEAD * num_workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            f"One of the {num_workers} worker processes was killed, probably because memory ran out. "
            "Run it again with fewer workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _work_on(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back for a moment. Processes that start meanwhile inherit this and never see it:
    a terminal sends it to all, and each would print its own traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """In a worker: end when the parent was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_in_threads(calls: Sequence[Callable[[threading.Event], R]]) -> list[R]:
    """The results of calls that mostly wait, made at the same time; the first exception is raised.

    Each is given an event, which is set when the others need not go on. They are waited for a
    moment then; the threads are daemons, so that none keeps the program from ending.
    """
    done: queue.Queue[tuple[int, R | None, BaseException | None]] = queue.Queue()
    stop = threading.Event()

    def run(number: int, call: Callable[[threading.Event], R]) -> None:
        try:
            done.put((number, call(stop), None))
        except BaseException as error:
            done.put((number, None, error))

    threads = [
        threading.Thread(target=run, args=(number, call), daemon=True)
        for number, call in enumerate(calls)
    ]
    results: dict[int, Any] = {}
    try:
        for thread in threads:
            thread.start()
        for _ in calls:
            number, result, error = done.get()
            if error is not None:
                raise error
            results[number] = result
    finally:
        stop.set()
        end = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    return [results[number] for number in range(len(calls))]


def prefetch(
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


def cpu_count() -> int:
    """The cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found or 1
