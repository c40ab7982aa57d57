// The tensor cores' product of a warp, D += A B in float: on a GPU one instruction, in the emulation its definition.
// Which elements a lane holds: PTX ISA, "Matrix fragments for mma.m16n8k16". Before sm_80 they are half as deep, and do not
// know bfloat16 and tf32, whose products are by shuffles there: right, but slow.
#pragma once

#include "prelude.cuh"

template <class T> struct alignas(2 * sizeof(T)) Pair { T first, second; };

// Two numbers of half precision as a register of a fragment.
template <class T> __device__ __forceinline__ unsigned packed(T first, T second) {
    unsigned bits;
    *reinterpret_cast<Pair<T> *>(&bits) = {first, second};
    return bits;
}

template <class T> __device__ __forceinline__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// To the ten bits that tf32 has behind the point; what lies halfway goes away from zero.
__device__ __forceinline__ unsigned rounded_to_tf32(float x) { return x == x ? (__float_as_uint(x) + 0x1000u) & 0xFFFFE000u : 0x7FFFFFFFu; }

// Of bfloat16, two numbers a word, or of tf32, one.
template <int numbers>
__device__ __forceinline__ void mma_by_shuffles(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    const int lane = threadIdx.x & 31, row = lane & 28, column = (lane & 3) << 3;  // the first lanes of this row and column
#pragma unroll 1  // many products would make a kernel very long
    for (int k = 0; k < 8 * numbers; ++k) {
        const int member = k / numbers & 3, low = k < 4 * numbers;
        const auto number = [&](unsigned word) { return __uint_as_float(numbers == 1 ? word : k & 1 ? word & 0xFFFF0000u : word << 16); };
        const float upper = number(__shfl_sync(~0u, low ? a[0] : a[2], row + member));
        const float lower = number(__shfl_sync(~0u, low ? a[1] : a[3], row + member));
        const unsigned word = low ? b[0] : b[1];
        const float left = number(__shfl_sync(~0u, word, column + member)), right = number(__shfl_sync(~0u, word, column + 4 + member));
        d[0] += upper * left, d[1] += upper * right, d[2] += lower * left, d[3] += lower * right;
    }
}

#if defined(CUDA_EMULATOR)
template <> inline void mma_16x8x16<__half>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Half, 16>(d, a, b); }
template <> inline void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Bfloat16, 16>(d, a, b); }
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Tf32, 8>(d, a, b); }
#else
#if __CUDA_ARCH__ >= 800
#define MMA_SYNC(shape_and_types)                                                                                      \
    asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"            \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <> __device__ __forceinline__ void mma_16x8x16<__half>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC("m16n8k16.row.col.f32.f16.f16.f32");
}
template <> __device__ __forceinline__ void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC("m16n8k16.row.col.f32.bf16.bf16.f32");
}
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC("m16n8k8.row.col.f32.tf32.tf32.f32");
}
#else
template <> __device__ __forceinline__ void mma_16x8x16<__half>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
}
template <> __device__ __forceinline__ void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_by_shuffles<2>(d, a, b);
}
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_by_shuffles<1>(d, a, b); }
#endif
#endif
