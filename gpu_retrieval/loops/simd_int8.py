"""Products of int8 for loops compiled by Numba, by the processor's own instructions where it has them.

`dot4` is of registers (AVX-512 VNNI), and takes a longer way to the same sums where that is missing. Tiles (AMX) are
sixteen rows of 64 bytes each; a thread configures its tiles before it uses them and releases them after. Their numbers
are fixed when a loop is compiled: here are the few operations that `score_rows` needs. `simd_types.HAS_TILES` says
whether they can be used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from gpu_retrieval.loops.simd_types import BYTE, HAS_VNNI, INTS, LANES, LONG, call_to, operation, pointer_to

# Four tiles of sums, one of queries' codes, three of rows' codes.
SUMS, QUERIES, ROWS = (0, 1, 2, 3), 4, (5, 6, 7)
TILE_ROWS, TILE_BYTES = 16, 64


def configuration() -> np.ndarray:
    """(64,) uint8 for `configure`: eight tiles of full size (Intel's manual of instructions, LDTILECFG)."""
    setting = np.zeros(64, dtype=np.uint8)
    setting[0] = 1
    setting[16:32].view(np.uint16)[:] = TILE_BYTES
    setting[48:56] = TILE_ROWS
    return setting


@operation
def dot4(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`total` plus, in each lane, four products of an unsigned byte of `left` and a signed one of `right`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bytes_ = ir.VectorType(BYTE, 4 * LANES)
        if HAS_VNNI:
            pair = [builder.bitcast(value, bytes_) for value in values[1:]]
            return call_to(builder, "llvm.x86.avx512.vpdpbusd.512", INTS.ir, values[0], *pair)
        return _dot4(builder, *values)

    return INTS(INTS, INTS, INTS), code


@operation
def dot4_plain(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`dot4` as it is where the instruction is missing."""
    return INTS(INTS, INTS, INTS), lambda context, builder, signature, values: _dot4(builder, *values)


def _dot4(builder: Any, total: Any, left: Any, right: Any) -> Any:
    def every(value: int) -> Any:
        return ir.Constant(INTS.ir, [value] * LANES)

    for byte in range(4):
        unsigned = builder.and_(builder.lshr(left, every(8 * byte)), every(255))
        signed = builder.ashr(builder.shl(right, every(24 - 8 * byte)), every(24))
        total = builder.add(total, builder.mul(unsigned, signed))
    return total


@operation
def configure(typing: Any, setting: Any) -> Any:
    """Sets the calling thread's tiles up."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, setting, values[0], LONG(0), BYTE)
        call_to(builder, "llvm.x86.ldtilecfg", ir.VoidType(), pointer)
        return context.get_dummy_value()

    return types.void(setting), code


@operation
def release(typing: Any) -> Any:
    """Gives the calling thread's tiles back."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        call_to(builder, "llvm.x86.tilerelease", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), code


def _moved(name: str, tile: int) -> Any:
    @operation
    def move(typing: Any, array: Any, at: Any, stride: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = pointer_to(context, builder, array, values[0], values[1], BYTE)
            call_to(builder, name, ir.VoidType(), BYTE(tile), pointer, values[2])
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp), code

    return move


def _dotted(sums: int, rows: int) -> Any:
    @operation
    def dot(typing: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            call_to(builder, "llvm.x86.tdpbusd", ir.VoidType(), BYTE(sums), BYTE(rows), BYTE(QUERIES))
            return context.get_dummy_value()

        return types.void(), code

    return dot


# Each takes an array, the place where the tile begins and the bytes from one of its rows to the next.
load_sums0, load_sums1, load_sums2, load_sums3 = (_moved("llvm.x86.tileloadd64", tile) for tile in SUMS)
store_sums0, store_sums1, store_sums2, store_sums3 = (_moved("llvm.x86.tilestored64", tile) for tile in SUMS)
load_queries = _moved("llvm.x86.tileloadd64", QUERIES)
load_rows0, load_rows1, load_rows2 = (_moved("llvm.x86.tileloadd64", tile) for tile in ROWS)
# Adds to sums the products of rows, unsigned bytes, and queries, signed ones, four a lane as `simd.dot4` does.
dot0, dot1, dot2, dot3 = (_dotted(tile, ROWS[tile % len(ROWS)]) for tile in SUMS)
