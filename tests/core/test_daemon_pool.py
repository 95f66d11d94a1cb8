"""Threads that may be left behind: calls in their order, faults to whoever asked."""

import threading

import pytest

from robot_agent.core.daemon_pool import DaemonPool


def test_one_thread_runs_calls_in_the_order_given():
    done = []
    with DaemonPool(1, "test") as pool:
        futures = [pool.submit(done.append, number) for number in range(20)]
        for future in futures:
            future.result(timeout=5)
    assert done == list(range(20))


def test_a_fault_reaches_whoever_asked_and_the_thread_goes_on():
    def fails():
        raise ValueError("no verdict")

    with DaemonPool(1, "test") as pool:
        wrong, right = pool.submit(fails), pool.submit(lambda: 7)
        with pytest.raises(ValueError, match="no verdict"):
            wrong.result(timeout=5)
        assert right.result(timeout=5) == 7


def test_leaving_waits_for_nobody_and_begins_nothing_more():
    begun, may_end, second = threading.Event(), threading.Event(), threading.Event()

    def hangs():
        begun.set()
        may_end.wait(30)

    with DaemonPool(1, "test") as pool:
        pool.submit(hangs)
        pool.submit(second.set)
        assert begun.wait(5)
    assert not may_end.is_set(), "the block was left while the call hangs"
    assert all(thread.daemon for thread in threading.enumerate() if "test" in thread.name)
    may_end.set()
    assert not second.wait(0.05)
    assert pool.submit(second.set).cancelled()
