// The tensor cores' product of a warp, D += A B in float: on a GPU one instruction, in the emulation its definition.
// Which elements a lane holds: PTX ISA, "Matrix fragments for mma.m16n8k16". The k16 products need sm_80.
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

#if defined(CUDA_EMULATOR)
template <> inline void mma_16x8x16<__half>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Half, 16>(d, a, b); }
template <> inline void mma_16x8x16<__nv_bfloat16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Bfloat16, 16>(d, a, b); }
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::mma<emu::Tf32, 8>(d, a, b); }
#else
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
#endif
