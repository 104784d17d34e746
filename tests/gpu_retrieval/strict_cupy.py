"""A stand-in for CuPy that computes with NumPy and is as strict as a GPU about where arrays are.

It lets a machine without a GPU find what would fail on one: a host array mixed with a device array, a
function, method or keyword that CuPy does not have. It says nothing of CuPy's own arithmetic.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
from types import SimpleNamespace

import cupy
import numpy as np


def unwrap(value):
    """The NumPy array behind a device array; host arrays are refused."""
    if isinstance(value, DeviceArray):
        return value.held
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("a host array where a device array is needed")
    if isinstance(value, (tuple, list)):
        return type(value)(unwrap(part) for part in value)
    return value


def wrap(value):
    return DeviceArray(value) if isinstance(value, (np.ndarray, np.generic)) else value


class DeviceArray:
    """An array that can be used with its own kind and with scalars only."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, held) -> None:
        self.held = np.asarray(held)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to a host array")

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self):
        raise TypeError("one transfer an element: iterate on the host")

    def __bool__(self) -> bool:
        return bool(self.held)

    def __int__(self) -> int:
        return int(self.held)

    def __float__(self) -> float:
        return float(self.held)

    def __index__(self) -> int:
        return operator.index(self.held[()])

    @property
    def data(self):
        return SimpleNamespace(ptr=self.held.ctypes.data)

    def __getitem__(self, index):
        return wrap(self.held[unwrap(index)])

    def __setitem__(self, index, value) -> None:
        self.held[unwrap(index)] = unwrap(value)

    def __getattr__(self, name):
        if not hasattr(cupy.ndarray, name):
            raise AttributeError(f"cupy.ndarray has no {name!r}")
        found = getattr(self.held, name)
        if not callable(found):
            return wrap(found) if isinstance(found, np.ndarray) else found

        def call(*args, **kwargs):
            # A GPU overflows to infinity without a word.
            with np.errstate(over="ignore"):
                return wrap(found(*unwrap(args), **{key: unwrap(value) for key, value in kwargs.items()}))

        return call


def _operators() -> None:
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
        "matmul",
    ):
        method = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        inplace = getattr(operator, f"i{name}")
        setattr(DeviceArray, f"__{name}__", lambda self, other, f=method: wrap(f(self.held, unwrap(other))))
        setattr(DeviceArray, f"__r{name}__", lambda self, other, f=method: wrap(f(unwrap(other), self.held)))

        def assign(self, other, f=inplace):
            self.held = f(self.held, unwrap(other))
            return self

        setattr(DeviceArray, f"__i{name}__", assign)
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        method = getattr(operator, name)
        setattr(DeviceArray, f"__{name}__", lambda self, other, f=method: wrap(f(self.held, unwrap(other))))
    for name in ("neg", "invert", "abs"):
        method = getattr(operator, name)
        setattr(DeviceArray, f"__{name}__", lambda self, f=method: wrap(f(self.held)))


_operators()


class StrictCupy:
    """The module: NumPy's functions, where CuPy has one of that name and takes these arguments."""

    cuda = SimpleNamespace(
        is_available=lambda: True,
        Device=lambda number: contextlib.nullcontext(),
        runtime=SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 40, 1 << 40)),
    )

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: 0)

    def asarray(self, array):
        return DeviceArray(np.array(array))

    def asnumpy(self, array):
        if not isinstance(array, DeviceArray):
            raise TypeError(f"asnumpy of a {type(array).__name__}")
        return array.held.copy()

    def __getattr__(self, name):
        real, function = getattr(cupy, name), getattr(np, name)
        if isinstance(function, type) or not callable(function):
            return function
        with contextlib.suppress(ValueError, TypeError):
            real = inspect.signature(real)

        def call(*args, **kwargs):
            if isinstance(real, inspect.Signature):
                real.bind(*args, **kwargs)
            if name == "repeat" and isinstance(args[1], DeviceArray):
                raise ValueError("CuPy's repeat takes no array of counts")
            return wrap(function(*unwrap(args), **{key: unwrap(value) for key, value in kwargs.items()}))

        return call
