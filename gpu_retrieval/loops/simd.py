"""Vector instructions for loops compiled by Numba: registers of sixteen lanes of 32 bits, or eight of 64.

Numba has no vectors of its own, and LLVM does not find these by itself. Each operation is an instruction or
two of LLVM's, which lowers them to what the machine has; `store_packed` and those of `simd_int8` alone name some of the
processor's, and take a longer way to the same where they are missing. Places in arrays are not checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from gpu_retrieval.loops.simd_types import (
    BYTE,
    DOUBLES,
    FEATURES,
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LONG,
    LONGS,
    OF_ARRAY,
    SHORTS,
    bits_of,
    call_to,
    lanes_of,
    operation,
    places,
    pointer_to,
    spread_value,
)


@operation
def load(typing: Any, array: Any, at: Any) -> Any:
    """The register that begins at `array[at]`: INTS, FLOATS, DOUBLES or LONGS after the array's dtype."""
    kind = OF_ARRAY[array.dtype]

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], kind.ir)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return kind(array, types.intp), code


@operation
def load_wide(typing: Any, array: Any, at: Any) -> Any:
    """DOUBLES from eight float32, or float64."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if array.dtype is types.float64:
            return builder.load(pointer_to(context, builder, array, values[0], values[1], DOUBLES.ir), align=8)
        pointer = pointer_to(context, builder, array, values[0], values[1], ir.VectorType(FLOAT, LANES // 2))
        return builder.fpext(builder.load(pointer, align=4), DOUBLES.ir)

    return DOUBLES(array, types.intp), code


@operation
def load_bits(typing: Any, array: Any, at: Any) -> Any:
    """The uint64 that begins at `array[at]`, whatever the array's numbers are."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], LONG)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return types.uint64(array, types.intp), code


@operation
def store_shorts(typing: Any, array: Any, at: Any, register: Any) -> Any:
    """Writes FLOATS as sixteen int16 from `array[at]` on: towards zero, and what is beyond them as the nearest."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], SHORTS)
        low, high = (ir.Constant(FLOATS.ir, [end] * LANES) for end in (-32767.0, 32767.0))
        value = builder.select(builder.fcmp_ordered(">", values[2], low), values[2], low)
        value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
        builder.store(builder.trunc(builder.fptosi(value, INTS.ir), SHORTS), pointer, align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, FLOATS), code


@operation
def shorts_from(typing: Any, array: Any, at: Any, least: Any) -> Any:
    """uint64 with a bit for each of the 32 int16 from `array[at]` on that is `least` or more."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.VectorType(ir.IntType(16), 2 * LANES)
        pointer = pointer_to(context, builder, array, values[0], values[1], kind)
        lanes = builder.icmp_signed(">=", builder.load(pointer, align=2), spread_value(builder, values[2], kind))
        return builder.zext(builder.bitcast(lanes, ir.IntType(2 * LANES)), LONG)

    return types.uint64(array, types.intp, types.int16), code


def _load_every_second(first: int) -> Any:
    @operation
    def every_second(typing: Any, array: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pair = ir.VectorType(FLOAT, 2 * LANES)
            pointer = pointer_to(context, builder, array, values[0], values[1], pair)
            both = builder.load(pointer, align=4)
            chosen = ir.Constant(INTS.ir, [2 * lane + first for lane in range(LANES)])
            return builder.shuffle_vector(both, ir.Constant(pair, ir.Undefined), chosen)

        return FLOATS(array, types.intp), code

    return every_second


# FLOATS from sixteen pairs of float32 that begin at `array[at]`: the first of each, the second of each.
load_firsts, load_seconds = _load_every_second(0), _load_every_second(1)


@operation
def store(typing: Any, array: Any, at: Any, register: Any) -> Any:
    """Writes the register from `array[at]` on."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], register.ir)
        builder.store(values[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, register), code


@operation
def store_packed(typing: Any, array: Any, at: Any, register: Any, lanes: Any) -> Any:
    """Writes those lanes of INTS or FLOATS whose bits are set side by side from `array[at]` on.

    What lies after them there, up to sixteen numbers in all, is undefined. To write those lanes alone is one
    instruction of AVX-512, of some eighty cycles on AMD Zen 4; AVX2 has none, and eight lanes are put in order by a
    table.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = register.ir
        if FEATURES.get("avx512f") or not FEATURES.get("avx2"):
            mask, rest = lanes_of(builder, values[3]), ir.Constant(kind, ir.Undefined)
            suffix = "i32" if register is INTS else "f32"
            name = f"llvm.experimental.vector.compress.v{LANES}{suffix}"
            packed = call_to(builder, name, kind, values[2], mask, rest)
            builder.store(packed, pointer_to(context, builder, array, values[0], values[1], kind), align=4)
            return context.get_dummy_value()
        half, at = ir.VectorType(INT, LANES // 2), values[1]
        table = cgutils.global_constant(builder, "lanes_in_order", _lanes_in_order())
        ints = builder.bitcast(values[2], INTS.ir)
        for first in (0, LANES // 2):
            bits = builder.and_(builder.lshr(values[3], LONG(first)), LONG(255))
            order = builder.zext(builder.load(builder.gep(table, [LONG(0), bits])), half)
            own = builder.shuffle_vector(ints, ir.Constant(INTS.ir, ir.Undefined), places(first, LANES // 2))
            packed = call_to(builder, "llvm.x86.avx2.permd", half, own, order)
            builder.store(packed, pointer_to(context, builder, array, values[0], at, half), align=4)
            at = builder.add(at, call_to(builder, "llvm.ctpop.i64", LONG, bits))
        return context.get_dummy_value()

    return types.void(array, types.intp, register, types.uint64), code


def _lanes_in_order() -> ir.Constant:
    """For each eight bits the lanes whose bits are set, then any."""
    eight = ir.VectorType(BYTE, LANES // 2)
    orders = []
    for bits in range(256):
        lanes = [lane for lane in range(LANES // 2) if bits >> lane & 1]
        orders.append(ir.Constant(eight, lanes + [0] * (LANES // 2 - len(lanes))))
    return ir.Constant(ir.ArrayType(eight, 256), orders)


@operation
def numbered_from(typing: Any, first: Any) -> Any:
    """INTS that count from `first` on, a lane each."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.add(spread_value(builder, values[0], INTS.ir), places(0, LANES))

    return INTS(types.int32), code


@operation
def spread(typing: Any, value: Any) -> Any:
    """A number in every lane: INTS of an int32, FLOATS of a float32, LONGS of a uint64."""
    kind = OF_ARRAY[value]
    return kind(value), lambda context, builder, signature, values: spread_value(builder, values[0], kind.ir)


@operation
def spread_at(typing: Any, array: Any, at: Any) -> Any:
    """`array[at]` in every lane."""
    kind = OF_ARRAY[array.dtype]

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], kind.ir.element)
        return spread_value(builder, builder.load(pointer), kind.ir)

    return kind(array, types.intp), code


@operation
def as_floats(typing: Any, register: Any) -> Any:
    """INTS as FLOATS."""
    return FLOATS(INTS), lambda context, builder, signature, values: builder.sitofp(values[0], FLOATS.ir)


@operation
def times(typing: Any, left: Any, right: Any) -> Any:
    """Products, lane by lane, of FLOATS or DOUBLES."""
    return left(left, right), lambda context, builder, signature, values: builder.fmul(*values)


@operation
def plus(typing: Any, left: Any, right: Any) -> Any:
    """Sums, lane by lane, of FLOATS or DOUBLES."""
    return left(left, right), lambda context, builder, signature, values: builder.fadd(*values)


@operation
def times_plus(typing: Any, left: Any, right: Any, addend: Any) -> Any:
    """left · right + addend in FLOATS, rounded once or twice."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_to(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS.ir, *values)

    return FLOATS(FLOATS, FLOATS, FLOATS), code


@operation
def not_below(typing: Any, left: Any, right: Any) -> Any:
    """uint64 with a bit a lane: FLOATS of `left` that are not below those of `right`; a NaN is not."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return bits_of(builder, builder.fcmp_unordered(">=", *values))

    return types.uint64(FLOATS, FLOATS), code


@operation
def below(typing: Any, left: Any, right: Any) -> Any:
    """uint64 with a bit a lane: LONGS of `left` that are below those of `right`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = builder.bitcast(builder.icmp_unsigned("<", *values), ir.IntType(LANES // 2))
        return builder.zext(lanes, LONG)

    return types.uint64(LONGS, LONGS), code


@operation
def larger(typing: Any, left: Any, right: Any) -> Any:
    """The larger of each lane of FLOATS."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return FLOATS(FLOATS, FLOATS), code


@operation
def choose(typing: Any, lanes: Any, left: Any, right: Any) -> Any:
    """FLOATS of `left` in the lanes whose bits are set, of `right` in the others."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(lanes_of(builder, values[0]), *values[1:])

    return FLOATS(types.uint64, FLOATS, FLOATS), code


@operation
def below_unsigned(typing: Any, left: Any, right: Any) -> Any:
    """uint64 with a bit a lane: INTS of `left`, read as uint32, that are below those of `right`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return bits_of(builder, builder.icmp_unsigned("<", *values))

    return types.uint64(INTS, INTS), code


@operation
def fold(typing: Any, register: Any) -> Any:
    """The sum of DOUBLES, the upper half added to the lower until one is left."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        total, width = values[0], LANES // 2
        while width > 1:
            width //= 2
            halves = [
                builder.shuffle_vector(total, ir.Constant(total.type, ir.Undefined), places(first, width))
                for first in (0, width)
            ]
            total = builder.fadd(*halves)
        return builder.extract_element(total, INT(0))

    return types.float64(DOUBLES), code


@operation
def total(typing: Any, register: Any) -> Any:
    """The sum of INTS, as int32."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_to(builder, f"llvm.vector.reduce.add.v{LANES}i32", INT, values[0])

    return types.int32(INTS), code


@operation
def between(typing: Any, register: Any, low: Any, high: Any) -> Any:
    """uint64 with a bit a lane: INTS in [low, high]."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        above = builder.icmp_signed(">=", values[0], values[1])
        return bits_of(builder, builder.and_(above, builder.icmp_signed("<=", values[0], values[2])))

    return types.uint64(INTS, INTS, INTS), code


@operation
def count_in(typing: Any, counts: Any, lanes: Any) -> Any:
    """INTS with one more in each lane whose bit is set."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.add(values[0], builder.zext(lanes_of(builder, values[1]), INTS.ir))

    return INTS(INTS, types.uint64), code


@operation
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Place of the lowest bit of a uint64, which has one."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_to(builder, "llvm.cttz.i64", LONG, values[0], ir.IntType(1)(1))

    return types.int64(types.uint64), code


@operation
def count_bits(typing: Any, bits: Any) -> Any:
    """How many bits of a uint64 are set."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_to(builder, "llvm.ctpop.i64", LONG, values[0])

    return types.int64(types.uint64), code


@operation
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Asks for the cache line of `array[at]`, which is read soon."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = pointer_to(context, builder, array, values[0], values[1], BYTE)
        call_to(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, INT(0), INT(3), INT(1))
        return context.get_dummy_value()

    return types.void(array, types.intp), code
