// The CUDA execution model for g++: what a .cu file finds here instead of nvcc's built-in names.
//
// A kernel's text is compiled as it is, but for declarations of __shared__ variables, which emulator.py rewrites into
// references to the arena of the block. Types are NVIDIA's own headers in host mode, so that rounding is theirs. The
// run-time (emulator.cpp) runs a block's threads as fibers; everything that waits is a function of it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define CUDA_EMULATOR 1

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#undef __restrict__  // g++ would be right to optimise by it; a kernel that lies about it must give the wrong answer by itself
#define __restrict__

// Functions of the emulator are no part of what is checked.
#define EMU_UNCHECKED __attribute__((noinline, no_sanitize("thread"), no_sanitize("undefined")))
#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace emu {

extern uint3 thread_index, block_index;
extern dim3 block_size, grid_size;

struct Site {
    const char *what, *file;
    int line;
};

enum class Vote { none, count, all, any };

using Combine = void (*)(unsigned mask, void *const *in, void *const *out);

void warp_meet(unsigned mask, const void *in, void *out, Combine combine, bool orders_memory, Site site);
int block_meet(Vote vote, int predicate, Site site);
void *static_shared(const void *key, size_t size, size_t alignment, Site site);
void *dynamic_shared();
void atomic_access(void *address, size_t size, void *caller);
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

template <class T, int number> EMU_UNCHECKED T &shared(EMU_SITE) {
    static char key;
    return *static_cast<T *>(static_shared(&key, sizeof(T), alignof(T), {"__shared__", file, line}));
}

// All lanes of the mask meet; the last one computes the results of all of them from what each has brought.
template <class Out, class In> EMU_UNCHECKED Out meet(unsigned mask, const In &in, Combine combine, Site site) {
    Out out;
    warp_meet(mask, &in, &out, combine, false, site);
    return out;
}

template <class T> struct Shuffle {
    T value;
    int lane;  // of the source, or -1: the caller's own
};

template <class T> EMU_UNCHECKED void combine_shuffle(unsigned mask, void *const *in, void *const *out) {
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        const int source = static_cast<const Shuffle<T> *>(in[lane])->lane;
        if (mask >> source & 1)
            *static_cast<T *>(out[lane]) = static_cast<const Shuffle<T> *>(in[source])->value;
        else
            std::memset(out[lane], 0xFF, sizeof(T));  // undefined in CUDA: NaN, or -1
    }
}

EMU_UNCHECKED inline int lane_of_thread() {
    return (thread_index.x + block_size.x * (thread_index.y + block_size.y * thread_index.z)) & 31;
}

template <class T> EMU_UNCHECKED T shuffle(unsigned mask, T value, int lane, Site site) {
    return meet<T>(mask, Shuffle<T>{value, lane}, combine_shuffle<T>, site);
}

template <class T> EMU_UNCHECKED void combine_match(unsigned mask, void *const *in, void *const *out) {
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        unsigned same = 0;
        for (int other = 0; other < 32; ++other)
            if (mask >> other & 1 && !std::memcmp(in[lane], in[other], sizeof(T))) same |= 1u << other;
        *static_cast<unsigned *>(out[lane]) = same;
    }
}

EMU_UNCHECKED inline void combine_ballot(unsigned mask, void *const *in, void *const *out) {
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1 && *static_cast<const int *>(in[lane])) ballot |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) *static_cast<unsigned *>(out[lane]) = ballot;
}

template <class T, class F> EMU_UNCHECKED void combine_reduce(unsigned mask, void *const *in, void *const *out) {
    T total{};
    bool first = true;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) {
            const T value = *static_cast<const T *>(in[lane]);
            total = first ? value : F::apply(total, value);
            first = false;
        }
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) *static_cast<T *>(out[lane]) = total;
}

// One tensor-core product of a warp, D = A B + C with A (16, k) row by row and B (k, 8) column by column, each lane
// holding the elements that the PTX manual gives it (section "Matrix fragments for mma.m16n8k16" and "...m16n8k8").
// Sums are in float, in the order of k; a GPU's order and its cut-off of low bits are its own.
struct Fragments {
    unsigned a[4], b[2];
    float c[4];
};

template <class Element, int depth> EMU_UNCHECKED void combine_mma(unsigned, void *const *in, void *const *out) {
    constexpr int in_word = 4 / sizeof(Element), half = depth / 2;
    auto lane_input = [&](int lane) { return static_cast<const Fragments *>(in[lane]); };
    auto element = [](const unsigned *words, int index) {
        Element e;
        std::memcpy(&e, reinterpret_cast<const char *>(words) + index * sizeof(Element), sizeof(Element));
        return e.value();
    };
    float a[16][depth], b[depth][8];
    for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, member = lane & 3;
        for (int r = 0; r < 2; ++r)
            for (int h = 0; h < 2; ++h)
                for (int e = 0; e < in_word; ++e)
                    a[group + 8 * r][h * half + member * in_word + e] =
                        element(lane_input(lane)->a, (r + 2 * h) * in_word + e);
        for (int h = 0; h < 2; ++h)
            for (int e = 0; e < in_word; ++e)
                b[h * half + member * in_word + e][group] = element(lane_input(lane)->b, h * in_word + e);
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
            const int row = (lane >> 2) + 8 * (i >> 1), column = 2 * (lane & 3) + (i & 1);
            float sum = lane_input(lane)->c[i];
            for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
            static_cast<float *>(out[lane])[i] = sum;
        }
}

struct Half {
    __half bits;
    float value() const { return __half2float(bits); }
};
struct Bfloat16 {
    __nv_bfloat16 bits;
    float value() const { return __bfloat162float(bits); }
};
struct Tf32 {  // the tensor core reads the upper 19 bits
    unsigned bits;
    float value() const {
        const unsigned kept = bits & 0xFFFFE000u;
        float x;
        std::memcpy(&x, &kept, 4);
        return x;
    }
};

template <class Element, int depth>
EMU_UNCHECKED void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], EMU_SITE) {
    Fragments in;
    std::memcpy(in.a, a, sizeof a), std::memcpy(in.b, b, sizeof b), std::memcpy(in.c, d, sizeof d);
    struct Result { float d[4]; };
    const Result r = meet<Result>(~0u, in, combine_mma<Element, depth>, {"mma.sync", file, line});
    std::memcpy(d, r.d, sizeof d);
}

// How a kernel is called: by its parameters' addresses, as cuLaunchKernel does it.
struct Parameter {
    char kind;  // p: pointer, i: integer, f: float, s: struct; 0 ends the list
    int size, pointee;
};
template <class A> constexpr Parameter parameter() {
    if constexpr (std::is_pointer_v<A>) {
        using P = std::remove_pointer_t<A>;
        if constexpr (std::is_void_v<P>) return {'p', 8, 0};
        else return {'p', 8, int(sizeof(P))};
    } else
        return {std::is_integral_v<A> ? 'i' : std::is_floating_point_v<A> ? 'f' : 's', int(sizeof(A)), 0};
}
template <auto kernel> struct Entry;
template <class... A, void (*kernel)(A...)> struct Entry<kernel> {
    static constexpr Parameter signature[] = {parameter<A>()..., {0, 0, 0}};
    template <size_t... I> EMU_UNCHECKED static void expand(void **args, std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_const_t<A> *>(args[I])...);
    }
    EMU_UNCHECKED static void call(void **args) { expand(args, std::index_sequence_for<A...>{}); }
};

}  // namespace emu

#define EMU_KERNEL(number, ...)                                                                                  \
    extern "C" __attribute__((visibility("default"))) void emu_call_##number(void **args) {                       \
        emu::Entry<__VA_ARGS__>::call(args);                                                                       \
    }                                                                                                              \
    extern "C" __attribute__((visibility("default"))) const emu::Parameter *emu_signature_##number() {            \
        return emu::Entry<__VA_ARGS__>::signature;                                                                 \
    }

#define threadIdx (::emu::thread_index)
#define blockIdx (::emu::block_index)
#define blockDim (::emu::block_size)
#define gridDim (::emu::grid_size)
constexpr int warpSize = 32;

// Barriers. A warp's shuffles and votes order no memory accesses in CUDA, and do not here.
inline void __syncthreads(EMU_SITE) { emu::block_meet(emu::Vote::none, 0, {"__syncthreads", file, line}); }
inline int __syncthreads_count(int p, EMU_SITE) { return emu::block_meet(emu::Vote::count, p, {"__syncthreads_count", file, line}); }
inline int __syncthreads_and(int p, EMU_SITE) { return emu::block_meet(emu::Vote::all, p, {"__syncthreads_and", file, line}); }
inline int __syncthreads_or(int p, EMU_SITE) { return emu::block_meet(emu::Vote::any, p, {"__syncthreads_or", file, line}); }
inline void __syncwarp(unsigned mask = ~0u, EMU_SITE) {
    emu::warp_meet(mask, nullptr, nullptr, nullptr, true, {"__syncwarp", file, line});
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, EMU_SITE) {
    const int lane = emu::lane_of_thread(), first = lane & ~(width - 1);
    return emu::shuffle(mask, v, first + (source & (width - 1)), {"__shfl_sync", file, line});
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, EMU_SITE) {
    const int lane = emu::lane_of_thread(), source = lane ^ bits;
    return emu::shuffle(mask, v, source < (lane & ~(width - 1)) + width ? source : lane, {"__shfl_xor_sync", file, line});
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE) {
    const int lane = emu::lane_of_thread(), source = lane - int(delta);
    return emu::shuffle(mask, v, source >= (lane & ~(width - 1)) ? source : lane, {"__shfl_up_sync", file, line});
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE) {
    const int lane = emu::lane_of_thread(), source = lane + int(delta);
    return emu::shuffle(mask, v, source < (lane & ~(width - 1)) + width ? source : lane, {"__shfl_down_sync", file, line});
}
inline unsigned __ballot_sync(unsigned mask, int p, EMU_SITE) {
    return emu::meet<unsigned>(mask, p, emu::combine_ballot, {"__ballot_sync", file, line});
}
inline int __any_sync(unsigned mask, int p, EMU_SITE) {
    return emu::meet<unsigned>(mask, p, emu::combine_ballot, {"__any_sync", file, line}) != 0;
}
inline int __all_sync(unsigned mask, int p, EMU_SITE) {
    return emu::meet<unsigned>(mask, p, emu::combine_ballot, {"__all_sync", file, line}) == mask;
}
template <class T> unsigned __match_any_sync(unsigned mask, T v, EMU_SITE) {
    return emu::meet<unsigned>(mask, v, emu::combine_match<T>, {"__match_any_sync", file, line});
}
#define EMU_REDUCE(name, expression)                                                                               \
    template <class T> T name(unsigned mask, T v, EMU_SITE) {                                                      \
        static_assert(sizeof(T) == 4 && std::is_integral_v<T>, #name " takes int and unsigned");                   \
        struct F { static T apply(T a, T b) { return T(expression); } };                                           \
        return emu::meet<T>(mask, v, emu::combine_reduce<T, F>, {#name, file, line});                              \
    }
EMU_REDUCE(__reduce_add_sync, unsigned(a) + unsigned(b))
EMU_REDUCE(__reduce_min_sync, a < b ? a : b)
EMU_REDUCE(__reduce_max_sync, a > b ? a : b)
EMU_REDUCE(__reduce_and_sync, a & b)
EMU_REDUCE(__reduce_or_sync, a | b)
EMU_REDUCE(__reduce_xor_sync, a ^ b)

// Atomics: threads do not interleave inside one, and the checker knows them.
#define EMU_ATOMIC(name, expression)                                                                               \
    template <class T> EMU_UNCHECKED T name(T *address, std::common_type_t<T> value) {                             \
        emu::atomic_access(address, sizeof(T), __builtin_return_address(0));                                       \
        const T old = *address;                                                                                    \
        *address = expression;                                                                                     \
        return old;                                                                                                \
    }
EMU_ATOMIC(atomicAdd, T(old + value))
EMU_ATOMIC(atomicMax, old > value ? old : value)
EMU_ATOMIC(atomicMin, old < value ? old : value)
EMU_ATOMIC(atomicOr, T(old | value))
EMU_ATOMIC(atomicAnd, T(old & value))
EMU_ATOMIC(atomicExch, value)
template <class T> EMU_UNCHECKED T atomicCAS(T *address, std::common_type_t<T> compare, std::common_type_t<T> value) {
    emu::atomic_access(address, sizeof(T), __builtin_return_address(0));
    const T old = *address;
    if (old == compare) *address = value;
    return old;
}

// Arithmetic that nvcc knows without a header. libm stands in for CUDA's own functions, also for the fast ones.
template <class A, class B> constexpr auto min(A a, B b) { using T = std::common_type_t<A, B>; return T(a) < T(b) ? T(a) : T(b); }
template <class A, class B> constexpr auto max(A a, B b) { using T = std::common_type_t<A, B>; return T(a) > T(b) ? T(a) : T(b); }
#define __expf(x) std::exp(float(x))
#define __logf(x) std::log(float(x))
#define __fdividef(x, y) (float(x) / float(y))
// Rounded each, never contracted; g++ for x86-64 contracts nothing.
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
template <class To, class From> To emu_bits(From x) { static_assert(sizeof(To) == sizeof(From)); To y; std::memcpy(&y, &x, sizeof y); return y; }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
template <class T> T __ldg(const T *p) { return *p; }
