"""Products of int8 for loops compiled by Numba, by the processor's own instructions where it has them.

`dot4` is of registers: one instruction of AVX-512 VNNI, products of int16 with AVX2, LLVM's plain ones elsewhere. Tiles
(AMX) are sixteen rows of 64 bytes each; a thread configures its tiles before it uses them and releases them after.
Their numbers are fixed when a loop is compiled: here are the few operations that `score_rows` needs.
`simd_types.HAS_TILES` says whether they can be used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from gpu_retrieval.loops.simd_types import (
    BYTE,
    FEATURES,
    HAS_VNNI,
    INT,
    INTS,
    LANES,
    LONG,
    call_to,
    operation,
    places,
    pointer_to,
    spread_value,
)

# Four tiles of sums, one of queries' codes, three of rows' codes.
SUMS, QUERIES, ROWS = (0, 1, 2, 3), 4, (5, 6, 7)
TILE_ROWS, TILE_BYTES = 16, 64
# Rows whose sums, and what makes them, fit the processor's registers: 32 of sixteen lanes, or 16 of eight.
ROWS_AT_ONCE = 8 if FEATURES.get("avx512f") else 4


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
    return INTS(INTS, INTS, INTS), lambda context, builder, signature, values: _dot4(builder, *values)


@operation
def dot_rows(
    typing: Any, rows: Any, at: Any, stride: Any, codes: Any, first: Any, words: Any, start: Any, sums: Any, into: Any
) -> Any:
    """ROWS_AT_ONCE rows of `words` words, `stride` apart from `rows[at]` on, each with a word of `codes` in each lane.

    The codes lie word after word from `codes[first]` on; `start` plus a row's products is written from `sums[into]` on.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at, stride, first, words, start, into = (values[place] for place in (1, 2, 4, 5, 6, 8))
        totals = [cgutils.alloca_once_value(builder, start) for _ in range(ROWS_AT_ONCE)]
        with cgutils.for_range(builder, words) as loop:
            of_word = builder.add(first, builder.mul(loop.index, LONG(LANES)))
            lanes = builder.load(pointer_to(context, builder, codes, values[3], of_word, INTS.ir), align=4)
            place = builder.add(at, loop.index)
            for total in totals:
                word = builder.load(pointer_to(context, builder, rows, values[0], place, INT))
                row = spread_value(builder, word, INTS.ir)
                builder.store(_dot4(builder, builder.load(total), row, lanes), total)
                place = builder.add(place, stride)
        for number, total in enumerate(totals):
            to = builder.add(into, LONG(number * LANES))
            builder.store(builder.load(total), pointer_to(context, builder, sums, values[7], to, INTS.ir), align=4)
        return context.get_dummy_value()

    long = types.intp
    return types.void(rows, long, long, codes, long, long, INTS, sums, long), code


def _dot4(builder: Any, total: Any, left: Any, right: Any) -> Any:
    if HAS_VNNI:
        pair = [builder.bitcast(value, ir.VectorType(BYTE, 4 * LANES)) for value in (left, right)]
        return call_to(builder, "llvm.x86.avx512.vpdpbusd.512", INTS.ir, total, *pair)
    # Bytes 0 and 2 of each lane as int16, then bytes 1 and 3.
    shorts = ir.VectorType(ir.IntType(16), 2 * LANES)
    left, right = builder.bitcast(left, shorts), builder.bitcast(right, shorts)
    eight, byte = (ir.Constant(shorts, [value] * shorts.count) for value in (8, 255))
    even = _paired(builder, builder.and_(left, byte), builder.ashr(builder.shl(right, eight), eight))
    odd = _paired(builder, builder.lshr(left, eight), builder.ashr(right, eight))
    return builder.add(builder.add(total, even), odd)


def _paired(builder: Any, left: Any, right: Any) -> Any:
    """INTS of products of int16, those of neighbours added: an instruction of AVX2 and AVX-512."""
    if not FEATURES.get("avx2"):
        wide = ir.VectorType(INT, 2 * LANES)
        products = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        of_pair = [ir.Constant(INTS.ir, list(range(first, 2 * LANES, 2))) for first in (0, 1)]
        return builder.add(*(builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), p) for p in of_pair))
    if FEATURES.get("avx512bw"):
        return call_to(builder, "llvm.x86.avx512.pmaddw.d.512", INTS.ir, left, right)
    halves, nothing = [], ir.Constant(left.type, ir.Undefined)
    for first in (0, LANES):
        own = [builder.shuffle_vector(values, nothing, places(first, LANES)) for values in (left, right)]
        halves.append(call_to(builder, "llvm.x86.avx2.pmadd.wd", ir.VectorType(INT, LANES // 2), *own))
    return builder.shuffle_vector(*halves, places(0, LANES))


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
