// Runs the kernels' own source on a CPU, in place of gpu_retrieval/cuda/device.cuh. Blocks run one after another;
// the threads of a block are fibers, switched only where they wait for one another. What this shows: indices, shapes,
// arithmetic, the order in which lanes hold the parts of a matrix (from PTX's description), and that all threads of a
// block or warp come to each meeting. What it cannot: two threads that race, a GPU's own rounding in its tensor cores,
// its memory model, its speed. A warp runs as far as it comes before the next one does, lanes and warps forwards and
// backwards in turn, so that most code that forgets to wait gives another answer.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define KERNEL(...) extern "C" __global__
#define DYNAMIC_SHARED(type, name) type* name = (type*)emulated::dynamic_shared
#define WHOLE_WARP 0xffffffffu

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct dim3 { u32 x, y, z; };
static dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulated {

enum Wait { RUNS, AT_BLOCK, AT_WARP, OVER };
struct Fiber { ucontext_t context; jmp_buf place; std::vector<char> stack; bool started; Wait wait; };
static std::vector<Fiber> fibers(1024);
static jmp_buf scheduler;
static u32 current;
static std::vector<u64> exchanged(1024);  // a slot a thread, for what lanes hand to one another
alignas(16) static char dynamic_shared[48 << 10];
static void (*body)(void*);
static void* arguments;

// A context is switched to once a fiber; after that a jump, which makes no system call.
__attribute__((noinline)) static void wait(Wait kind) {
    fibers[current].wait = kind;
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

__attribute__((noinline)) static void resume() {
    Fiber& fiber = fibers[current];
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}

inline void start() {
    body(arguments);
    wait(OVER);
}

// Lets those go on whose block or warp has come together; ends the process where some wait for one that never comes.
inline bool release(u32 first, u32 last, Wait kind) {
    u32 n_waiting = 0;
    for (u32 i = first; i < last; i++) n_waiting += fibers[i].wait == kind;
    if (n_waiting < last - first) return false;
    for (u32 i = first; i < last; i++) fibers[i].wait = RUNS;
    return true;
}

// A warp as far as it comes without the others.
inline bool run_warp(u32 first, u32 last, bool forwards) {
    bool moved = false;
    for (bool goes_on = true; goes_on; forwards = !forwards) {
        for (u32 i = first; i < last; i++) {
            current = forwards ? i : first + last - 1 - i;
            if (fibers[current].wait != RUNS) continue;
            threadIdx = {current, 0, 0};
            moved = true;
            resume();
        }
        goes_on = release(first, last, AT_WARP);
    }
    return moved;
}

inline void run_block() {
    u32 n = blockDim.x;
    for (u32 i = 0; i < n; i++) {
        Fiber& fiber = fibers[i];
        fiber.stack.resize(64 << 10);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, start, 0);
        fiber.started = false, fiber.wait = RUNS;
    }
    bool forwards = true;
    for (u32 n_over = 0; n_over < n; forwards = !forwards) {
        bool moved = false;
        for (u32 first = 0; first < n; first += 32) {
            u32 warp = forwards ? first : (n - 1) / 32 * 32 - first;
            moved |= run_warp(warp, warp + 32 < n ? warp + 32 : n, forwards);
        }
        n_over = 0;
        for (u32 i = 0; i < n; i++) n_over += fibers[i].wait == OVER;
        bool freed = release(0, n, AT_BLOCK);
        if (!moved && !freed && n_over < n) {
            std::fprintf(stderr, "block %u: threads wait for others that do not come\n", blockIdx.x);
            std::abort();
        }
    }
}

// Shows `value` to the warp's other lanes and works out from all of theirs what this one gets.
template <class T, class F>
inline T exchange(T value, F result) {
    std::memcpy(&exchanged[current], &value, sizeof value);
    wait(AT_WARP);
    T got = result([](u32 lane) { T theirs; std::memcpy(&theirs, &exchanged[current / 32 * 32 + lane % 32], sizeof theirs); return theirs; });
    wait(AT_WARP);
    return got;
}
template <class T>
inline T hand_over(T value, u32 from) { return exchange(value, [=](auto of) { return of(from); }); }

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*(P*)arguments[I]...);
}

template <auto KERNEL, class... P>
void launch(void (*)(P...), u32 grid_x, u32 grid_y, u32 block, void** with) {
    gridDim = {grid_x, grid_y, 1}, blockDim = {block, 1, 1}, arguments = with;
    body = [](void* held) { call(KERNEL, (void**)held, std::index_sequence_for<P...>()); };
    for (u32 y = 0; y < grid_y; y++)
        for (u32 x = 0; x < grid_x; x++) {
            blockIdx = {x, y, 0};
            std::memset(dynamic_shared, 0x7f, sizeof dynamic_shared);
            run_block();
        }
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::AT_BLOCK); }
inline void __syncwarp() { emulated::wait(emulated::AT_WARP); }
template <class T> T __shfl_sync(u32, T value, int from) { return emulated::hand_over(value, from); }
template <class T> T __shfl_xor_sync(u32, T value, int apart) { return emulated::hand_over(value, threadIdx.x ^ apart); }
template <class T> T __shfl_up_sync(u32, T value, int apart) {
    int lane = threadIdx.x % 32;
    return emulated::hand_over(value, lane < apart ? lane : lane - apart);
}
inline u32 __reduce_or_sync(u32, u32 value) {
    return emulated::exchange(value, [](auto of) {
        u32 any = 0;
        for (int lane = 0; lane < 32; lane++) any |= of(lane);
        return any;
    });
}
inline u32 __ballot_sync(u32, bool holds) { return __reduce_or_sync(WHOLE_WARP, (u32)holds << threadIdx.x % 32); }
inline int __popc(u32 word) { return __builtin_popcount(word); }
inline int __ffs(u32 word) { return __builtin_ffs((int)word); }
inline u32 atomicAdd(u32* at, u32 more) { u32 before = *at; *at += more; return before; }
inline u32 atomicOr(u32* at, u32 bits) { u32 before = *at; *at |= bits; return before; }
inline i64 min(i64 a, i64 b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
template <class To, class From> To same_bits(From from) { To to; std::memcpy(&to, &from, sizeof to); return to; }
inline u32 __float_as_uint(float value) { return same_bits<u32>(value); }
inline float __uint_as_float(u32 bits) { return same_bits<float>(bits); }
inline double __longlong_as_double(i64 bits) { return same_bits<double>(bits); }
// With flush-to-zero, as the kernels are compiled.
inline float flushed(float value) { return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; }
inline float __double2float_rn(double value) { return flushed((float)value); }
inline float __double2float_rd(double value) {
    float near = (float)value;
    return flushed(near > value ? std::nextafterf(near, -INFINITY) : near);
}

inline float half_to_float(u16 half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) return mantissa ? NAN : half >> 15 ? -INFINITY : INFINITY;
    float magnitude = exponent ? std::ldexp(1024.0f + mantissa, exponent - 25) : std::ldexp((float)mantissa, -24);
    return half >> 15 ? -magnitude : magnitude;
}

// Exact for the small whole numbers that the kernels pack.
inline u16 float_to_half(float value) {
    u16 sign = value < 0 ? 0x8000 : 0;
    float magnitude = std::fabs(value);
    if (magnitude == 0) return sign;
    int exponent = std::ilogb(magnitude);
    float mantissa = std::ldexp(magnitude, 10 - exponent);
    if (exponent < -14 || exponent > 15 || mantissa != std::rint(mantissa)) std::abort();
    return sign | (u16)((exponent + 15) << 10 | ((int)mantissa - 1024));
}
inline u32 pack_halves(float low, float high) { return float_to_half(low) | (u32)float_to_half(high) << 16; }

// Each lane shows its parts of a and b, then adds the products that its own parts of c are made of.
inline void multiply_add(float c[4], const u32 a[4], u32 b0, u32 b1) {
    static u32 shown[1024][6];
    u32 self = threadIdx.x, warp = self / 32 * 32, g = self % 32 / 4, t = 2 * (self % 4);
    for (int i = 0; i < 4; i++) shown[self][i] = a[i];
    shown[self][4] = b0, shown[self][5] = b1;
    emulated::wait(emulated::AT_WARP);
    auto a_at = [&](u32 row, u32 k) {
        u32 word = shown[warp + row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
        return half_to_float(k % 2 ? word >> 16 : word & 0xffff);
    };
    auto b_at = [&](u32 k, u32 column) {
        u32 word = shown[warp + column * 4 + k % 8 / 2][4 + k / 8];
        return half_to_float(k % 2 ? word >> 16 : word & 0xffff);
    };
    for (u32 i = 0; i < 4; i++)
        for (u32 k = 0; k < 16; k++) c[i] += a_at(g + i / 2 * 8, k) * b_at(k, t + i % 2);
    emulated::wait(emulated::AT_WARP);
}
