"""What a stage raises when it refuses to go on; `jobs.stage` prints each as one line and exits 1."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ShortlistError(Exception):
    """Base of the errors that are for the person who runs a job, not for its developer."""


class SettingsError(ShortlistError):
    """A settings file that does not hold what it should."""


class MappingError(ShortlistError):
    """A mapping file that does not hold what it should."""


class LakeError(ShortlistError):
    """A table that is missing, or rows that do not fit it."""


class RunError(ShortlistError):
    """An attempt that is not open, or a model that is not there for it."""


class StageError(ShortlistError):
    """A stage that cannot do its work on what it was given."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or all of them where none is near.

    >>> nearest("gap_minute", ["gap_minutes", "max_actions"])
    "did you mean 'gap_minutes'?"
    >>> nearest("zebra", ["gap_minutes", "max_actions"])
    'expected one of gap_minutes, max_actions'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}"
