"""Several Spark actions at once, on one session."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def side_by_side(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns, in the order given; each runs in a thread of its own on the running session.

    While the driver plans one small table's query, the cores have another's to work on. Those that share nothing
    but the session belong here. All have ended on return; of several errors, that of the first in order is raised.

    >>> side_by_side(lambda: 1, lambda: 2)
    [1, 2]
    """
    from pyspark import inheritable_thread_target
    from pyspark.sql import SparkSession

    if not calls:
        return []
    session = SparkSession.getActiveSession()
    inherits = inheritable_thread_target(session) if session else lambda call: call
    with ThreadPoolExecutor(len(calls)) as threads:
        started = [threads.submit(inherits(call)) for call in calls]
    return [call.result() for call in started]
