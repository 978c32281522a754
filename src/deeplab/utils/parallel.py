"""Parallel map over processes, concurrent calls in threads, and prefetching.

``concurrent.futures`` does the work; the limit on results that nobody has consumed yet, which
``Executor.map`` has from Python 3.14 on, is added here. tqdm's ``process_map`` and joblib 1.6 have
none, and joblib's workers outlive a killed parent and print tracebacks if Ctrl-C hits their start.
"""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import WORKER_KILLED, UserError
from deeplab.utils.interrupts import signals_deferred
from deeplab.utils.progress import show_progress

T = TypeVar("T")
R = TypeVar("R")

CHUNK_SIZE = 16
"""Items sent to a process at once: few enough for Ctrl-C and errors to end the work soon."""

JOIN_TIMEOUT = 1.0
"""Seconds that threads get to end after another one has failed."""

CHUNKS_PER_WORKER = 4
"""Limit of chunks per process that are queued, running, or done but not yet consumed."""

POLL_INTERVAL = 0.002
"""Seconds between two checks for a result."""


def parallel_map(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    num_workers: int,
    desc: str,
    progress: bool = True,
) -> Iterator[R]:
    """Yield the results of ``function`` for all items, in the order of the items.

    An exception of ``function`` is raised unchanged and cancels the remaining items.

    Args:
        function: a function that other processes can import, or a ``functools.partial`` of one.
        items: they and the results are sent between the processes, only a few chunks ahead of the
            caller.
        num_workers: number of processes; with fewer than two the current process does the work.
        desc: label of the progress bar.
        progress: True to show a progress bar.

    Raises:
        UserError: a process was killed.
    """
    results = (
        map(function, items) if num_workers < 2 else _map_in_processes(function, items, num_workers)
    )
    yield from show_progress(results, desc, len(items), "file", show=progress)


def _map_in_processes(
    function: Callable[[T], R], items: Sequence[T], num_workers: int
) -> Iterator[R]:
    # spawn, since a fork would inherit the locks of threads (OpenCV's, torch's) but not the threads
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_exit_with_parent)

    def submit(chunk: Sequence[T]) -> Future[list[R]]:
        with _signals_blocked():
            return pool.submit(_map_chunk, function, chunk)

    chunks = (submit(items[i : i + CHUNK_SIZE]) for i in range(0, len(items), CHUNK_SIZE))
    try:
        for results in _in_order(pool, chunks, CHUNKS_PER_WORKER * num_workers):
            yield from results
    except BrokenProcessPool:
        raise UserError(WORKER_KILLED) from None


def _in_order(pool: Executor, futures: Iterable[Future[R]], max_pending: int) -> Iterator[R]:
    """Yield the results of futures in order, and submit by iterating only so many ahead.

    The pool is shut down at the end, or on an error.
    """
    pending: deque[Future[R]] = deque()
    try:
        for future in futures:
            pending.append(future)
            if len(pending) > max_pending:
                yield _wait_for(pending.popleft())
        while pending:
            yield _wait_for(pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _wait_for(future: Future[R]) -> R:
    """Return the result of a future, checking for it at short intervals.

    Ctrl-C during ``Future.result`` may interrupt ``Condition.wait`` while its lock is released,
    which then ends in a RuntimeError instead of a KeyboardInterrupt (CPython 3.11). Between taking
    the lock and entering its block it would even leave the lock taken, and the pool waiting for it.
    """
    while True:
        with signals_deferred():
            if future.done():
                return future.result()
        time.sleep(POLL_INTERVAL)


def _map_chunk(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items]


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals of terminals, so that processes that start in the block never get them.

    A terminal sends Ctrl-C to all processes, and each would print its own traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_with_parent() -> None:
    """Exit this worker when its parent was killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_in_threads(calls: Sequence[Callable[[threading.Event], R]]) -> list[R]:
    """Return the results of calls that mostly wait, run concurrently; raise the first exception.

    Each call receives an event that is set as soon as its result is no longer needed. The threads
    then get a short time to end; they are daemons (those of a pool are not), so that a call that
    waits for a silent server does not keep the program alive.
    """
    # SimpleQueue waits in C, where Ctrl-C cannot leave a lock in between (see _wait_for)
    done: queue.SimpleQueue[tuple[int, R | None, BaseException | None]] = queue.SimpleQueue()
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
        end = time.monotonic() + JOIN_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    return [results[number] for number in range(len(calls))]


def prefetch(
    function: Callable[..., T],
    arguments: Iterable[tuple[Any, ...]],
    *,
    num_threads: int,
    max_pending: int,
) -> Iterator[tuple[tuple[Any, ...], T]]:
    """Yield the arguments of each call with its result, in order, computed ahead in threads.

    Args:
        function: the function to call; calls may run in any order.
        arguments: the arguments of each call.
        num_threads: number of calls that run at a time.
        max_pending: limit of calls that are running, or done but not yet consumed; all of them take
            memory.
    """

    def call(call_arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], T]:
        return call_arguments, function(*call_arguments)

    pool = ThreadPoolExecutor(num_threads)
    yield from _in_order(pool, (pool.submit(call, a) for a in arguments), max_pending)


def map_in_threads(
    function: Callable[[T], R], items: Iterable[T], *, num_threads: int | None = None
) -> Iterator[R]:
    """Yield the results of ``function`` for all items, in their order, computed ahead in threads.

    Args:
        function: the function to call.
        items: its arguments.
        num_threads: number of calls that run at a time; None: a few more than there are cores, for
            functions that read files.
    """
    num_threads = num_threads or cpu_count() + 4
    calls = ((item,) for item in items)
    for _, result in prefetch(
        function, calls, num_threads=num_threads, max_pending=4 * num_threads
    ):
        yield result


def is_first_process() -> bool:
    """Return True unless this is a further process of a run, by what its launcher has set."""
    names = ["LOCAL_RANK", "SLURM_PROCID"]
    if os.environ.get("WORLD_SIZE", "1") != "1":  # else another job has left RANK
        names.append("RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)
