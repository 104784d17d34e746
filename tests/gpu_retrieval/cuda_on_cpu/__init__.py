"""The kernels' own source compiled by g++ and launched as CuPy would launch it.

`RawModule` has what the package uses of CuPy's, and is stricter: each argument must be of the type that the
kernel's source declares, in its order.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np

from gpu_retrieval.cuda import lanes, launch
from tests.gpu_retrieval.strict_cupy import StrictCupy

COMPILER = shutil.which("g++")
HERE = Path(__file__).parent
# Without -ffast-math: float32 stays as rounded as a GPU's.
OPTIONS = ("-std=c++20", "-O1", "-x", "c++", "-shared", "-fPIC", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-w")
KERNEL = r"KERNEL\((?:\d+)(?:, \d+)?\) void (\w+)"
TYPES = {
    "int": "int32",
    "i64": "int64",
    "u8": "uint8",
    "i8": "int8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "float": "float32",
    "double": "float64",
}
# What a kernel reads as bits may come as the number that they are; a table of records as rows of int64.
SAME_BITS = {
    "uint32": {"uint32", "float32"},
    "uint16": {"uint16", "float16"},
    "uint8": {"uint8", "bool"},
    "Tile": {"int64"},
    "Span": {"int64"},
    "Node": {"int64"},
}


def compiled(folder: Path) -> ctypes.CDLL:
    """The kernels as a library of that folder."""
    source = launch.source().replace(launch.read("device.cuh"), '#include "device.cuh"\n')
    names = list(parameters(source))
    launchers = "".join(
        f'extern "C" void launch_{name}(u32 x, u32 y, u32 block, void** with) '
        f"{{ emulated::launch<{name}>({name}, x, y, block, with); }}\n"
        for name in names
    )
    digest = hashlib.sha256((source + launchers + (HERE / "device.cuh").read_text()).encode()).hexdigest()[:16]
    library = folder / f"kernels_{digest}.so"
    if not library.exists():
        path = folder / "kernels.cpp"
        path.write_text(source + launchers)
        command = [COMPILER, *OPTIONS, f"-I{HERE}", "-o", str(library), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-8000:]
    return ctypes.CDLL(str(library))


def parameters(source: str) -> dict[str, list[tuple[str, bool]]]:
    """Type and whether it is a pointer, of each parameter of each kernel. Macros are expanded for their two types."""
    for code, name in re.findall(r"^FOR_CODES\((\w+), (\w+)\)", source, re.MULTILINE):
        macro = source[source.index("#define FOR_CODES") :].split("FOR_CODES(u16")[0]
        body = macro.partition("\n")[2].replace("\\\n", "\n")
        source += body.replace("##name", name).replace("Code*", f"{code}*")
    found = {}
    for name, listed in re.findall(KERNEL + r"\(([^)]*)\)", source):
        if "##" not in name:
            found[name] = [parameter(text) for text in listed.split(",")]
    return found


def parameter(text: str) -> tuple[str, bool]:
    kind = text.replace("const", "").replace("*", " ").split()[0]
    return TYPES.get(kind, kind), "*" in text


LOCK = Lock()
# What numbers lie at an address that was handed out as a number: name of their dtype, bytes.
DECLARED: dict[int, tuple[str, int]] = {}


def declare(monkeypatch) -> None:
    """Has lanes and blocks say what lies at the addresses that they hand out, so that launches are checked for it."""
    add, take = lanes.Lane.add, lanes.Block.take

    def declaring_add(lane, array):
        assert array.flags.c_contiguous
        address = add(lane, array)
        DECLARED.pop(int(address), None)
        DECLARED[int(address)] = array.dtype.name, array.nbytes
        return address

    def declaring_take(block, dtype, count):
        address = take(block, dtype, count)
        n_bytes = count * np.dtype(dtype).itemsize
        # A GPU does not clear what it hands out.
        ctypes.memset(int(address), 0xA5, n_bytes)
        DECLARED.pop(int(address), None)
        DECLARED[int(address)] = np.dtype(dtype).name, n_bytes
        return address

    monkeypatch.setattr(lanes.Lane, "add", declaring_add)
    monkeypatch.setattr(lanes.Block, "take", declaring_take)


def declared(address: int) -> str | None:
    """Name of the dtype of what was last said to lie there."""
    if address in DECLARED:
        return DECLARED[address][0]
    parts = reversed(list(DECLARED.items()))
    return next((name for start, (name, n_bytes) in parts if start <= address < start + n_bytes), None)


class Stream:
    """`cupy.cuda.Stream`. What is launched is over before the next line runs."""

    ptr = 0

    def __init__(self, *, non_blocking: bool = False) -> None:
        assert non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def record(self):
        return SimpleNamespace(synchronize=lambda: None)


def memcpy(target: int, source: int, n_bytes: int, kind: int, stream: int) -> None:
    assert kind in (1, 2) and type(target) is type(source) is type(n_bytes) is int
    ctypes.memmove(target, source, n_bytes)


def memset(address: int, byte: int, n_bytes: int, stream: int) -> None:
    assert type(address) is type(n_bytes) is int and 0 <= byte < 256
    ctypes.memset(address, byte, n_bytes)


class EmulatedCupy(StrictCupy):
    """`StrictCupy` with streams, memory and kernels."""

    cuda = SimpleNamespace(
        is_available=lambda: True,
        Device=StrictCupy.cuda.Device,
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 40, 1 << 40), memcpyAsync=memcpy, memsetAsync=memset
        ),
        Stream=Stream,
        alloc_pinned_memory=bytearray,
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    )

    @property
    def RawModule(self):
        return RawModule


def most_threads(source: str) -> dict[str, int]:
    """Threads that a block of each kernel may have; of a macro's kernels under the name that it begins with."""
    return {name: int(threads) for threads, name in re.findall(KERNEL.replace("?:", "", 1), source)}


class RawModule:
    """`cupy.RawModule`, as far as the package uses it."""

    folder: tempfile.TemporaryDirectory[str] | None = None
    library: ctypes.CDLL | None = None
    # (kernel, grid, block) of every launch.
    launches: list[tuple[str, tuple[int, ...], int]] = []

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        assert code == launch.source()
        assert all(option.startswith("-") for option in options)
        if RawModule.library is None:
            RawModule.folder = tempfile.TemporaryDirectory(prefix="kernels_on_cpu_")
            RawModule.library = compiled(Path(RawModule.folder.name))
        self.parameters, self.most_threads = parameters(code), most_threads(code)

    def get_function(self, name: str):
        expected = self.parameters[name]
        most = next(threads for begins, threads in self.most_threads.items() if name.startswith(begins))

        def launch(grid, block, args, *, shared_mem: int = 0) -> None:
            assert all(type(side) is int and side > 0 for side in (*grid, *block)), (name, grid, block)
            assert shared_mem <= 48 << 10 and block[0] <= most, (name, block, shared_mem)
            assert len(args) == len(expected), (name, len(args), len(expected))
            values = [held(name, i, arg, *expected[i]) for i, arg in enumerate(args)]
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
            x, y = (*grid, 1)[:2]
            RawModule.launches.append((name, tuple(grid), block[0]))
            # Devices of one process have threads of their own; here they are one.
            with LOCK:
                getattr(RawModule.library, f"launch_{name}")(x, y, block[0], pointers)

        return launch


def held(kernel: str, place: int, arg, kind: str, is_pointer: bool):
    """The argument as C has it."""
    where = f"{kernel}, argument {place}"
    if not is_pointer:
        assert isinstance(arg, np.generic) and arg.dtype.name == kind, f"{where}: expected {kind}, got {arg!r}"
        return np.ctypeslib.as_ctypes_type(arg.dtype)(arg.item())
    if isinstance(arg, np.generic):
        assert arg.dtype.name == "uint64", f"{where}: expected an address, got {arg!r}"
        if arg != 0:
            name = declared(int(arg))
            assert name in SAME_BITS.get(kind, {kind}), f"{where}: expected {kind}, got {name}"
        return ctypes.c_void_p(int(arg))
    array = arg.held
    assert array.flags.c_contiguous, where
    assert array.dtype.name in SAME_BITS.get(kind, {kind}), f"{where}: expected {kind}, got {array.dtype}"
    return ctypes.c_void_p(array.ctypes.data)
