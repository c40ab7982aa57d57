// What all kernels share: types of computation, vector access, reductions of a warp and of a block.
//
// Half-precision numbers are computed with in float. Blocks are whole warps, and rows of threads: blockDim.y = 1 unless a
// kernel says otherwise. Offsets into arrays are 64 bits wide. Sums are taken in an order that depends on shapes only.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#if defined(__CUDACC_RTC__) && !defined(INFINITY)
#define INFINITY __int_as_float(0x7f800000)
#endif

using index_t = long long;

template <class T> struct Computation { using type = T; };
template <> struct Computation<__half> { using type = float; };
template <> struct Computation<__nv_bfloat16> { using type = float; };
template <class T> using compute_t = typename Computation<T>::type;

template <class T> __device__ __forceinline__ compute_t<T> load(T x) { return x; }
template <> __device__ __forceinline__ float load(__half x) { return __half2float(x); }
template <> __device__ __forceinline__ float load(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T, class C> __device__ __forceinline__ T store(C x) { return T(x); }
template <> __device__ __forceinline__ __half store<__half>(float x) { return __float2half(x); }
template <> __device__ __forceinline__ __half store<__half>(double x) { return __double2half(x); }
template <> __device__ __forceinline__ __nv_bfloat16 store<__nv_bfloat16>(float x) { return __float2bfloat16(x); }
template <> __device__ __forceinline__ __nv_bfloat16 store<__nv_bfloat16>(double x) { return __double2bfloat16(x); }

// As many elements as one instruction moves: 16 bytes.
template <class T> struct alignas(16) Vector {
    static constexpr int size = 16 / sizeof(T);
    T item[size];
};

__device__ __forceinline__ float exp_of(float x) { return expf(x); }
__device__ __forceinline__ double exp_of(double x) { return exp(x); }
__device__ __forceinline__ float log_of(float x) { return logf(x); }
__device__ __forceinline__ double log_of(double x) { return log(x); }
__device__ __forceinline__ float sqrt_of(float x) { return sqrtf(x); }
__device__ __forceinline__ double sqrt_of(double x) { return sqrt(x); }

// Binary operations of reductions. Max and Min hand NaN on, as NumPy's do.
struct Sum {
    template <class C> static __device__ C identity() { return C(0); }
    template <class C> static __device__ C apply(C a, C b) { return a + b; }
};
struct Product {
    template <class C> static __device__ C identity() { return C(1); }
    template <class C> static __device__ C apply(C a, C b) { return a * b; }
};
template <class C> __device__ __forceinline__ C lowest() { return C(1) << (8 * sizeof(C) - 1); }
template <> __device__ __forceinline__ unsigned lowest<unsigned>() { return 0; }
template <> __device__ __forceinline__ unsigned long long lowest<unsigned long long>() { return 0; }
template <> __device__ __forceinline__ int lowest<int>() { return -2147483647 - 1; }
template <> __device__ __forceinline__ long long lowest<long long>() { return -9223372036854775807LL - 1; }
template <> __device__ __forceinline__ float lowest<float>() { return -INFINITY; }
template <> __device__ __forceinline__ double lowest<double>() { return -double(INFINITY); }
struct Max {
    template <class C> static __device__ C identity() { return lowest<C>(); }
    template <class C> static __device__ C apply(C a, C b) { return b > a || b != b ? b : a; }
};
template <class C> __device__ __forceinline__ C highest() { return ~lowest<C>(); }
template <> __device__ __forceinline__ float highest<float>() { return INFINITY; }
template <> __device__ __forceinline__ double highest<double>() { return double(INFINITY); }
struct Min {
    template <class C> static __device__ C identity() { return highest<C>(); }
    template <class C> static __device__ C apply(C a, C b) { return b < a || b != b ? b : a; }
};

template <class Op, class C> __device__ __forceinline__ C warp_reduce(C value) {
    for (int distance = 16; distance; distance >>= 1) value = Op::apply(value, __shfl_xor_sync(~0u, value, distance));
    return value;
}

// The reduction of all threads' values, given to all threads. All threads of the block must call it.
template <class Op, class C> __device__ __forceinline__ C block_reduce(C value) {
    __shared__ C partial[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    value = warp_reduce<Op>(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    value = lane < blockDim.x / 32 ? partial[lane] : Op::template identity<C>();
    value = warp_reduce<Op>(value);
    __syncthreads();
    return value;
}

// The reduction of the values of the threads of one threadIdx.x, given to all of them. All threads of the block must call
// it; there are 256 at most.
template <class Op, class C> __device__ __forceinline__ C column_reduce(C value) {
    __shared__ C partial[256];
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    partial[place] = value;
    __syncthreads();
    for (int left = blockDim.y; left > 1;) {
        const int half = (left + 1) / 2;
        if (int(threadIdx.y) < left - half) partial[place] = Op::apply(partial[place], partial[place + half * blockDim.x]);
        __syncthreads();
        left = half;
    }
    value = partial[threadIdx.x];
    __syncthreads();
    return value;
}

// The elements of a row that belong to this thread: threadIdx.x, threadIdx.x + blockDim.x, ...
#define FOR_COLUMNS(j, columns) for (int j = threadIdx.x; j < (columns); j += blockDim.x)
// The elements of a flat array that belong to this thread of the grid.
#define FOR_ELEMENTS(i, count) \
    for (index_t i = index_t(blockIdx.x) * blockDim.x + threadIdx.x; i < (count); i += index_t(gridDim.x) * blockDim.x)
