"""Registers as types of Numba, and the pieces of LLVM's code that operations on them are put together from."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic, models, register_model

LANES = 16
# Numba calls what it decorates with the values alone, which its own annotations do not say.
operation: Any = intrinsic
# Linux on x86-64: the system call that lets a process use tiles of data, and its arguments.
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18
BYTE, INT, LONG, FLOAT, DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()


def _target() -> tuple[str, str]:
    """Name and features of the processor that Numba compiles for: this one, unless its environment says otherwise."""
    numba: Any = config
    name = llvm.get_host_cpu_name() if numba.CPU_NAME is None else numba.CPU_NAME
    return name, codegen.get_host_cpu_features() if numba.CPU_FEATURES is None else numba.CPU_FEATURES


CPU_NAME, CPU_FEATURES = _target()
FEATURES = {name[1:]: name[0] == "+" for name in CPU_FEATURES.split(",") if name}


def _may_use_tiles() -> bool:
    """Whether the processor has int8 tiles (AMX) and the system lets this process and those it forks use them."""
    if not (FEATURES.get("amx-int8") and platform.system() == "Linux" and platform.machine() == "x86_64"):
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0)


HAS_TILES = _may_use_tiles()


class Vector(types.Type):
    """A register."""

    def __init__(self, name: str, lane: ir.Type, lanes: int) -> None:
        self.ir = ir.VectorType(lane, lanes)
        super().__init__(name)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.ir)


INTS = Vector("int32x16", INT, LANES)
SHORTS = ir.VectorType(ir.IntType(16), LANES)
FLOATS = Vector("float32x16", FLOAT, LANES)
DOUBLES = Vector("float64x8", DOUBLE, LANES // 2)
LONGS = Vector("uint64x8", LONG, LANES // 2)
OF_ARRAY = {types.int32: INTS, types.float32: FLOATS, types.float64: DOUBLES, types.uint64: LONGS}


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, at: Any, target: ir.Type) -> Any:
    """To `array[at]`, as one to `target`."""
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), target.as_pointer())


def spread_value(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """A register with the value in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT(0))
    zeros = ir.Constant(ir.VectorType(INT, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def call_to(builder: Any, name: str, result: ir.Type, *arguments: Any) -> Any:
    """What LLVM's own function of this name makes of the arguments."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def lanes_of(builder: Any, bits: Any) -> Any:
    """The lowest bits of a uint64 as a mask of a register."""
    return builder.bitcast(builder.trunc(bits, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))


def bits_of(builder: Any, lanes: Any) -> Any:
    """A mask of a register as a uint64."""
    return builder.zext(builder.bitcast(lanes, ir.IntType(LANES)), LONG)


def places(first: int, count: int) -> ir.Constant:
    """Lanes [first, first + count), for a shuffle."""
    return ir.Constant(ir.VectorType(INT, count), list(range(first, first + count)))
