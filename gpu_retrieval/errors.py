"""The package's own exceptions; everything else is a ValueError or a TypeError."""

from __future__ import annotations


class IndexFileError(Exception):
    """A saved index that cannot be trusted: a file is missing, cut short, altered or of another format."""


class IndexNotSaved(OSError):
    """An index could not be written, on a full disk say; the folder holds what it held before."""


class FingerprintMismatch(ValueError):
    """Queries and index were made by different models."""


class DeviceUnavailable(RuntimeError):
    """The device asked for is not there."""
