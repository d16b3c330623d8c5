"""The one thread that ends calls of the AWS store which take too long."""

from __future__ import annotations

import os
import threading

from rotator_aws.watchdog import Watchdog, watchdog

BOUND = 20.0  # seconds; only a test that fails waits so long
FAR = 3600.0


def test_what_takes_too_long_is_ended() -> None:
    """While it is still running."""
    ended = threading.Event()
    with Watchdog().watching(0.01, ended.set):
        assert ended.wait(BOUND)


def test_what_is_over_is_left_alone() -> None:
    """Its end is forgotten, though a later one comes."""
    dog, early, late = Watchdog(), threading.Event(), threading.Event()
    with dog._changed, dog.watching(0.05, early.set):
        pass  # the lock keeps the thread out, should this block take longer
    with dog.watching(0.1, late.set):
        assert late.wait(BOUND)
    assert not early.is_set()


def test_a_nearer_end_wakes_it() -> None:
    """It sleeps until the nearest end, which may be one that is watched later."""
    dog, near = Watchdog(), threading.Event()
    with dog.watching(FAR, threading.Event().set), dog.watching(0.01, near.set):
        assert near.wait(BOUND)


def test_several_end_at_once() -> None:
    """Each is called once."""
    dog, calls = Watchdog(), threading.Semaphore(0)
    with dog.watching(0.01, calls.release), dog.watching(0.01, calls.release):
        assert calls.acquire(timeout=BOUND)
        assert calls.acquire(timeout=BOUND)
    assert not calls.acquire(blocking=False)


def test_one_thread_for_all() -> None:
    """A thread for each call would cost more than the call."""
    dog, before = Watchdog(), set(threading.enumerate())
    for _ in range(5):
        with dog.watching(FAR, threading.Event().set):
            pass
    assert len(set(threading.enumerate()) - before) == 1


def test_a_forked_process_has_its_own() -> None:
    """The thread stays with the parent, and its lock may have been held at that moment."""
    with watchdog().watching(FAR, threading.Event().set), watchdog()._changed:
        child = os.fork()
        if child == 0:
            ended = threading.Event()
            with watchdog().watching(0.01, ended.set):
                os._exit(0 if ended.wait(BOUND) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
