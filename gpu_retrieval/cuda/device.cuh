// The few things that the kernels ask of a GPU and C++ has no words for. The tests have a file of the same
// contents that runs on a CPU (tests/gpu_retrieval/cuda_on_cpu/device.cuh): what changes here changes there.
// Needs no header, so that it compiles wherever NVRTC is. NVRTC is called with flush-to-zero: what must not
// lose subnormal numbers is done in float64 or on bits (common.cuh).

// Threads of a block at most, and blocks that a multiprocessor is to have room for at least.
#define KERNEL(...) extern "C" __global__ __launch_bounds__(__VA_ARGS__)
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#define WHOLE_WARP 0xffffffffu

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

// Two float32 as two float16 in a word, the first in the lower half.
__device__ inline u32 pack_halves(float low, float high) {
    u32 packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

__device__ inline float half_to_float(u16 half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}

// c (16, 8) += a (16, 16) * b (16, 8) on the tensor cores: float16 factors, float32 sums; all lanes of a warp.
// Lane l holds, with g = l / 4 and t = 2 * (l % 4):
//   a[0], a[1], a[2], a[3] = a(g, t..t+1), a(g + 8, t..), a(g, t + 8..), a(g + 8, t + 8..)
//   b0, b1 = b(t..t+1, g), b(t + 8.., g)        c = c(g, t), c(g, t + 1), c(g + 8, t), c(g + 8, t + 1)
__device__ inline void multiply_add(float c[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
