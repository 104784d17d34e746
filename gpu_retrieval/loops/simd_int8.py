"""Products of int8 for loops compiled by Numba, by the processor's own instructions where it has them.

`dot4` and `dot_rows` are of registers, by the best of `PRODUCTS` that it has, or LLVM's plain ones without any. Tiles
(AMX) are sixteen rows of 64 bytes each; a thread configures its tiles before it uses them and releases them after.
Their numbers are fixed when a loop is compiled: here are the few operations that `score_rows` needs.
`simd_types.HAS_TILES` says whether they can be used.
"""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from gpu_retrieval.loops.simd_types import (
    BYTE,
    CPU_FEATURES,
    CPU_NAME,
    FEATURES,
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
# What multiplies, the best first, and how many lanes of 32 bits it fills: the first two and the last four bytes a lane,
# the others two int16.
PRODUCTS = {"avx512vnni": 16, "avxvnni": 8, "avx512bw": 16, "avx2": 8, "dotprod": 4}
# Whether LLVM finds the instruction for this, at which it would give up, by name, on a processor that has none.
FOUR_PRODUCTS = """
    declare <4 x i32> @llvm.vector.partial.reduce.add.v4i32.v16i32(<4 x i32>, <16 x i32>)
    define <4 x i32> @dot(<4 x i32> %total, <16 x i8> %left, <16 x i8> %right) {
        %wide_left = sext <16 x i8> %left to <16 x i32>
        %wide_right = sext <16 x i8> %right to <16 x i32>
        %products = mul <16 x i32> %wide_left, %wide_right
        %sums = call <4 x i32> @llvm.vector.partial.reduce.add.v4i32.v16i32(<4 x i32> %total, <16 x i32> %products)
        ret <4 x i32> %sums
    }
"""


def _has_dotprod() -> bool:
    """Whether an ARM processor has dot products (sdot), which its list of features leaves out."""
    if platform.machine() not in ("aarch64", "arm64") or FEATURES.get("neon") is False:
        return False
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=CPU_NAME, features=CPU_FEATURES)
    return "sdot" in machine.emit_assembly(llvm.parse_assembly(FOUR_PRODUCTS))


def _products() -> str:
    """The best of `PRODUCTS` that the processor has; empty without any."""
    has = {**FEATURES, "dotprod": _has_dotprod()}
    return next((name for name in PRODUCTS if has.get(name)), "")


BY = _products()
# Rows whose sums, and what makes them, fit the processor's registers: 32 of sixteen lanes, 16 of eight, 32 of four.
ROWS_AT_ONCE = 8 if FEATURES.get("avx512f") else 4
# What `dot_rows` reads: int16 where those are what is multiplied, so that codes are widened once and not at each use.
# Its bytes, and how many fill a lane's word of four.
CODE: Any = np.int16 if BY in ("avx512bw", "avx2") else np.int8
CODE_BYTES = CODE().itemsize
A_WORD = 4 // CODE_BYTES
# How far rows' codes, stored as code + 128, are above what `dot4` and `dot_rows` take them for.
ABOVE = 0 if BY == "dotprod" else 128


def configuration() -> np.ndarray:
    """(64,) uint8 for `configure`: eight tiles of full size (Intel's manual of instructions, LDTILECFG)."""
    setting = np.zeros(64, dtype=np.uint8)
    setting[0] = 1
    setting[16:32].view(np.uint16)[:] = TILE_BYTES
    setting[48:56] = TILE_ROWS
    return setting


@operation
def dot4(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`total` plus, in each lane, four products of a row's byte of `left` and a signed one of `right`.

    A row's is unsigned, less 128 - ABOVE.
    """
    return INTS(INTS, INTS, INTS), lambda context, builder, signature, values: _dot4(builder, *values)


@operation
def dot_rows(
    typing: Any, rows: Any, at: Any, stride: Any, codes: Any, first: Any, words: Any, start: Any, sums: Any, into: Any
) -> Any:
    """ROWS_AT_ONCE rows of `words` words, `stride` apart from `rows[at]` on, each with a word of `codes` in each lane.

    Words are four bytes of CODE. Those of the codes lie word after word from `codes[first]` on; `start` plus a row's
    products is written from `sums[into]` on.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        dot = _dot4 if CODE_BYTES == 1 else _dot2
        at, stride, first, words, start, into = (values[place] for place in (1, 2, 4, 5, 6, 8))
        totals = [cgutils.alloca_once_value(builder, start) for _ in range(ROWS_AT_ONCE)]
        with cgutils.for_range(builder, words) as loop:
            of_word = builder.add(first, builder.mul(loop.index, LONG(LANES)))
            lanes = builder.load(pointer_to(context, builder, codes, values[3], of_word, INTS.ir), align=4)
            place = builder.add(at, loop.index)
            for total in totals:
                word = builder.load(pointer_to(context, builder, rows, values[0], place, INT))
                row = spread_value(builder, word, INTS.ir)
                builder.store(dot(builder, builder.load(total), row, lanes), total)
                place = builder.add(place, stride)
        for number, total in enumerate(totals):
            to = builder.add(into, LONG(number * LANES))
            builder.store(builder.load(total), pointer_to(context, builder, sums, values[7], to, INTS.ir), align=4)
        return context.get_dummy_value()

    long = types.intp
    return types.void(rows, long, long, codes, long, long, INTS, sums, long), code


def _taken(count: int) -> Any:
    @operation
    def take(typing: Any, to: Any, into: Any, rows: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = ir.VectorType(BYTE, 4 * count)
            codes = builder.load(pointer_to(context, builder, rows, values[2], values[3], kind), align=4)
            if CODE_BYTES == 2:
                kind = ir.VectorType(ir.IntType(16), 4 * count)
                codes = builder.zext(codes, kind)
            builder.store(codes, pointer_to(context, builder, to, values[0], values[1], kind), align=4)
            return context.get_dummy_value()

        return types.void(to, types.intp, rows, types.intp), code

    return take


# Copy a word of four stored codes of a row, or sixteen, from `rows[at]` to `to[into]` as `dot_rows` reads them.
take_word, take_words = _taken(1), _taken(LANES)


def _dot4(builder: Any, total: Any, left: Any, right: Any) -> Any:
    if BY in ("avx512vnni", "avxvnni"):
        return _in_parts(builder, f"llvm.x86.avx512.vpdpbusd.{32 * PRODUCTS[BY]}", BYTE, total, left, right)
    if BY == "dotprod":
        signed = builder.xor(left, ir.Constant(INTS.ir, [-0x7F7F7F80] * LANES))
        return _in_parts(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", BYTE, total, signed, right)
    # Bytes 0 and 2 of each lane as int16, then bytes 1 and 3.
    shorts = ir.VectorType(ir.IntType(16), 2 * LANES)
    left, right = builder.bitcast(left, shorts), builder.bitcast(right, shorts)
    eight, byte = (ir.Constant(shorts, [value] * shorts.count) for value in (8, 255))
    total = _dot2(builder, total, builder.and_(left, byte), builder.ashr(builder.shl(right, eight), eight))
    return _dot2(builder, total, builder.lshr(left, eight), builder.ashr(right, eight))


def _dot2(builder: Any, total: Any, left: Any, right: Any) -> Any:
    """`total` plus, in each lane, two products of int16."""
    if BY in ("avx512bw", "avx2"):
        name = {"avx512bw": "llvm.x86.avx512.pmaddw.d.512", "avx2": "llvm.x86.avx2.pmadd.wd"}[BY]
        return builder.add(total, _in_parts(builder, name, ir.IntType(16), None, left, right))
    shorts, wide = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(INT, 2 * LANES)
    products = builder.mul(*(builder.sext(builder.bitcast(value, shorts), wide) for value in (left, right)))
    for first in (0, 1):
        of_pair = ir.Constant(INTS.ir, list(range(first, 2 * LANES, 2)))
        total = builder.add(total, builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), of_pair))
    return total


def _in_parts(builder: Any, name: str, of: ir.Type, total: Any, left: Any, right: Any) -> Any:
    """INTS of LLVM's function of this name, which takes as many lanes as `BY` fills, left and right as numbers `of`."""
    lanes = PRODUCTS[BY]
    numbers = ir.VectorType(of, lanes * 32 // of.width)

    def part(value: Any, first: int) -> Any:
        ints = builder.bitcast(value, INTS.ir)
        return builder.shuffle_vector(ints, ir.Constant(INTS.ir, ir.Undefined), places(first, lanes))

    parts = []
    for first in range(0, LANES, lanes):
        own = [builder.bitcast(part(value, first), numbers) for value in (left, right)]
        own = own if total is None else [part(total, first), *own]
        parts.append(call_to(builder, name, ir.VectorType(INT, lanes), *own))
    while len(parts) > 1:
        lanes *= 2
        parts = [builder.shuffle_vector(*parts[i : i + 2], places(0, lanes)) for i in range(0, len(parts), 2)]
    return parts[0]


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
