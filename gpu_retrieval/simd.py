"""Vector instructions for loops compiled by Numba: registers of sixteen lanes of 32 bits, or eight of 64.

Numba has no vectors of its own, and LLVM does not find these by itself. Each operation is an instruction or
two of LLVM's, which lowers them to what the machine has; `dot4` alone names one of the processor's (AVX-512
VNNI), and takes a longer way to the same sums where it is missing. Places in arrays are not checked.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
# Numba calls what it decorates with the values alone, which its own annotations do not say.
_operation: Any = intrinsic
HAS_VNNI = bool(llvm.get_host_cpu_features().get("avx512vnni"))
_BYTE, _INT, _LONG, _FLOAT, _DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()


class Vector(types.Type):
    """A register."""

    def __init__(self, name: str, lane: ir.Type, lanes: int) -> None:
        self.ir = ir.VectorType(lane, lanes)
        super().__init__(name)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.ir)


INTS = Vector("int32x16", _INT, LANES)
FLOATS = Vector("float32x16", _FLOAT, LANES)
DOUBLES = Vector("float64x8", _DOUBLE, LANES // 2)
LONGS = Vector("uint64x8", _LONG, LANES // 2)
OF_ARRAY = {types.int32: INTS, types.float32: FLOATS, types.float64: DOUBLES, types.uint64: LONGS}


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, target: ir.Type) -> Any:
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), target.as_pointer())


def _spread(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT(0))
    zeros = ir.Constant(ir.VectorType(_INT, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _call(builder: Any, name: str, result: ir.Type, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@_operation
def load(typing: Any, array: Any, at: Any) -> Any:
    """The register that begins at `array[at]`: INTS, FLOATS, DOUBLES or LONGS after the array's dtype."""
    kind = OF_ARRAY[array.dtype]

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], kind.ir)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return kind(array, types.intp), code


@_operation
def load_wide(typing: Any, array: Any, at: Any) -> Any:
    """DOUBLES from eight float32."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], ir.VectorType(_FLOAT, LANES // 2))
        return builder.fpext(builder.load(pointer, align=4), DOUBLES.ir)

    return DOUBLES(array, types.intp), code


@_operation
def store(typing: Any, array: Any, at: Any, register: Any) -> Any:
    """Writes the register from `array[at]` on."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], register.ir)
        builder.store(values[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, register), code


@_operation
def store_some(typing: Any, array: Any, at: Any, register: Any, lanes: Any) -> Any:
    """Writes the lanes whose bits are set, side by side, from `array[at]` on, and nothing beyond them."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], register.ir.element)
        mask = builder.bitcast(builder.trunc(values[3], ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))
        suffix = "i32" if register is INTS else "f32"
        _call(builder, f"llvm.masked.compressstore.v{LANES}{suffix}", ir.VoidType(), values[2], pointer, mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, register, types.uint64), code


@_operation
def spread(typing: Any, value: Any) -> Any:
    """A number in every lane: INTS of an int32, FLOATS of a float32, LONGS of a uint64."""
    kind = OF_ARRAY[value]
    return kind(value), lambda context, builder, signature, values: _spread(builder, values[0], kind.ir)


@_operation
def spread_at(typing: Any, array: Any, at: Any) -> Any:
    """`array[at]` in every lane."""
    kind = OF_ARRAY[array.dtype]

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], kind.ir.element)
        return _spread(builder, builder.load(pointer), kind.ir)

    return kind(array, types.intp), code


@_operation
def dot4(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`total` plus, in each lane, four products of an unsigned byte of `left` and a signed one of `right`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bytes_ = ir.VectorType(_BYTE, 4 * LANES)
        if HAS_VNNI:
            pair = [builder.bitcast(value, bytes_) for value in values[1:]]
            return _call(builder, "llvm.x86.avx512.vpdpbusd.512", INTS.ir, values[0], *pair)
        return _dot4(builder, *values)

    return INTS(INTS, INTS, INTS), code


@_operation
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


@_operation
def as_floats(typing: Any, register: Any) -> Any:
    """INTS as FLOATS."""
    return FLOATS(INTS), lambda context, builder, signature, values: builder.sitofp(values[0], FLOATS.ir)


@_operation
def times(typing: Any, left: Any, right: Any) -> Any:
    """Products, lane by lane, of FLOATS or DOUBLES."""
    return left(left, right), lambda context, builder, signature, values: builder.fmul(*values)


@_operation
def plus(typing: Any, left: Any, right: Any) -> Any:
    """Sums, lane by lane, of FLOATS or DOUBLES."""
    return left(left, right), lambda context, builder, signature, values: builder.fadd(*values)


@_operation
def times_plus(typing: Any, left: Any, right: Any, addend: Any) -> Any:
    """left · right + addend in FLOATS, rounded once or twice."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS.ir, *values)

    return FLOATS(FLOATS, FLOATS, FLOATS), code


def _bits(builder: Any, lanes: Any) -> Any:
    return builder.zext(builder.bitcast(lanes, ir.IntType(LANES)), _LONG)


@_operation
def not_below(typing: Any, left: Any, right: Any) -> Any:
    """uint64 with a bit a lane: FLOATS of `left` that are not below those of `right`; a NaN is not."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _bits(builder, builder.fcmp_unordered(">=", *values))

    return types.uint64(FLOATS, FLOATS), code


@_operation
def below(typing: Any, left: Any, right: Any) -> Any:
    """uint64 with a bit a lane: LONGS of `left` that are below those of `right`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = builder.bitcast(builder.icmp_unsigned("<", *values), ir.IntType(LANES // 2))
        return builder.zext(lanes, _LONG)

    return types.uint64(LONGS, LONGS), code


@_operation
def fold(typing: Any, register: Any) -> Any:
    """The sum of DOUBLES, the upper half added to the lower until one is left."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        total, width = values[0], LANES // 2
        while width > 1:
            width //= 2
            halves = [
                builder.shuffle_vector(total, ir.Constant(total.type, ir.Undefined), _places(first, width))
                for first in (0, width)
            ]
            total = builder.fadd(*halves)
        return builder.extract_element(total, _INT(0))

    return types.float64(DOUBLES), code


def _places(first: int, count: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT, count), list(range(first, first + count)))


@_operation
def between(typing: Any, register: Any, low: Any, high: Any) -> Any:
    """uint64 with a bit a lane: INTS in [low, high]."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        above = builder.icmp_signed(">=", values[0], values[1])
        return _bits(builder, builder.and_(above, builder.icmp_signed("<=", values[0], values[2])))

    return types.uint64(INTS, INTS, INTS), code


@_operation
def count_in(typing: Any, counts: Any, lanes: Any) -> Any:
    """INTS with one more in each lane whose bit is set."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        mask = builder.bitcast(builder.trunc(values[1], ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))
        return builder.add(values[0], builder.zext(mask, INTS.ir))

    return INTS(INTS, types.uint64), code


@_operation
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Place of the lowest bit of a uint64, which has one."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, "llvm.cttz.i64", _LONG, values[0], ir.IntType(1)(1))

    return types.int64(types.uint64), code


@_operation
def count_bits(typing: Any, bits: Any) -> Any:
    """How many bits of a uint64 are set."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, "llvm.ctpop.i64", _LONG, values[0])

    return types.int64(types.uint64), code


@_operation
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Asks for the cache line of `array[at]`, which is read soon."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[0], values[1], _BYTE)
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _INT(0), _INT(3), _INT(1))
        return context.get_dummy_value()

    return types.void(array, types.intp), code
