"""Calls beside each other."""

from __future__ import annotations

import threading

import pytest

from jobs.threads import side_by_side


def test_the_calls_run_at_the_same_time_and_answer_in_their_order():
    both_are_there = threading.Barrier(2, timeout=30)

    def call(name: str) -> str:
        both_are_there.wait()
        return name

    assert side_by_side(lambda: call("first"), lambda: call("second")) == ["first", "second"]
    assert side_by_side() == []


def test_the_first_error_is_raised_when_all_have_ended():
    failed = threading.Event()
    ended = []

    def fails(message: str) -> None:
        failed.set()
        raise ValueError(message)

    def slow() -> None:
        failed.wait(30)
        ended.append("slow")

    with pytest.raises(ValueError, match="first"):
        side_by_side(lambda: fails("first"), slow, lambda: fails("second"))
    assert ended == ["slow"]
