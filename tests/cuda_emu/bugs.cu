// Kernels with a bug each, and their fixed twins: what the emulation must find, and must not find.
#include "prelude.cuh"

template <bool fixed> __global__ void missing_barrier(float *y, const float *x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    if (fixed) __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];
}

template <bool fixed> __global__ void missing_barrier_in_loop(float *y, const float *x) {
    __shared__ float tile[64];
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
        tile[threadIdx.x] = x[threadIdx.x] + i;
        __syncthreads();
        sum += tile[threadIdx.x ^ 33];
        if (fixed) __syncthreads();
    }
    y[threadIdx.x] = sum;
}

template <bool fixed> __global__ void missing_syncwarp(float *y, const float *x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    if (fixed) __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

template <bool fixed> __global__ void half_warp_synchronised(float *y, const float *x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    const unsigned half = threadIdx.x & 16 ? 0xFFFF0000u : 0x0000FFFFu;
    __syncwarp(fixed ? ~0u : half);
    y[threadIdx.x] = tile[threadIdx.x ^ 16];
}

template <bool fixed> __global__ void ordered_by_shuffle(float *y, const float *x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    const float other = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
    if (fixed) __syncwarp();
    y[threadIdx.x] = other + tile[threadIdx.x ^ 1];
}

template <bool fixed> __global__ void barrier_in_branch(float *y, const float *x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    if (fixed || threadIdx.x < 40) __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];
}

template <bool fixed> __global__ void two_barriers(float *y, const float *x) {
    y[threadIdx.x] = x[threadIdx.x];
    if (fixed || threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

template <bool fixed> __global__ void return_before_barrier(float *y, const float *x) {
    if (!fixed && threadIdx.x == 63) {
        y[threadIdx.x] = 0;
        return;
    }
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}

template <bool fixed> __global__ void mask_without_caller(float *y, const float *x) {
    y[threadIdx.x] = __shfl_sync(fixed ? ~0u : 0xFFFEu, x[threadIdx.x], 1);
}

template <bool fixed> __global__ void mask_names_ended_lane(float *y, const float *x) {
    y[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x % 32 == 5) return;
    y[threadIdx.x] += __shfl_sync(fixed ? ~(1u << 5) : ~0u, x[threadIdx.x], 1);
}

template <bool fixed> __global__ void lanes_disagree(float *y, const float *x) {
    const unsigned mask = fixed || threadIdx.x & 1 ? ~0u : 0x55555555u;
    y[threadIdx.x] = __shfl_sync(mask, x[threadIdx.x], 0);
}

template <bool fixed> __global__ void read_from_absent_lane(float *y, const float *x) {
    y[threadIdx.x] = 0;
    if (threadIdx.x & 1) y[threadIdx.x] = __shfl_sync(0xAAAAAAAAu, x[threadIdx.x], fixed ? 1 : 2);
}

template <bool fixed> __global__ void one_too_far(float *y, const float *x) {
    for (int i = threadIdx.x; fixed ? i < 64 : i <= 64; i += 64) y[i] = x[i < 64 ? i : 63];
}

template <bool fixed> __global__ void read_far_away(float *y, const float *x) {
    y[threadIdx.x] = x[fixed || threadIdx.x != 7 ? threadIdx.x : 100000000];
}

template <bool fixed> __global__ void negative_index(float *y, const float *x) {
    const int i = threadIdx.x;
    y[i] = x[fixed && i == 0 ? 0 : i - 1];
}

template <bool fixed> __global__ void shared_too_far(float *y, const float *x) {
    __shared__ float tile[64];
    float *end = tile + (fixed ? 63 : 64);
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) *end = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];
}

template <bool fixed> __global__ void misaligned_vector(float *y, const float *x) {
    if (threadIdx.x >= 15) return;
    const float4 v = *reinterpret_cast<const float4 *>(x + 4 * threadIdx.x + (fixed ? 0 : 1));
    *reinterpret_cast<float4 *>(y + 4 * threadIdx.x) = v;
    if (threadIdx.x == 0) *reinterpret_cast<float4 *>(y + 60) = v;
}

template <bool fixed> __global__ void uninitialised_shared(float *y, const float *x) {
    __shared__ float tile[64];
    if (fixed || threadIdx.x != 9) tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

template <bool fixed> __global__ void uninitialised_global(float *y, const float *x) {
    if (fixed) y[threadIdx.x] = 0;
    y[threadIdx.x] += x[threadIdx.x];
}

template <bool fixed> __global__ void race_between_blocks(float *y, const float *x) {
    y[threadIdx.x] = x[threadIdx.x];
    if (!fixed && blockIdx.x == 1) y[threadIdx.x ^ 1] = 0;
}

template <bool fixed> __global__ void output_not_written(float *y, const float *x) {
    if (fixed || threadIdx.x < 60) y[threadIdx.x] = x[threadIdx.x];
}

template <bool fixed> __global__ void atomic_and_plain(float *y, const float *x) {
    y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (fixed || threadIdx.x != 8)
        atomicAdd(y, 1.0f);
    else
        y[0] += 1.0f;
}

template <bool fixed> __global__ void shift_too_far(float *y, const float *x) {
    const unsigned lane = threadIdx.x;
    y[lane] = x[lane] + float(1u << (fixed ? lane & 31 : lane));
}

template <bool fixed> __global__ void index_overflows(float *y, const float *x) {
    const int stride = 1 << 26, i = threadIdx.x;
    const long long offset = fixed ? (long long)stride * i : stride * i;
    y[i] = x[i] + float(offset & 1);
}

template <bool fixed> __global__ void local_array_too_short(float *y, const float *x) {
    float kept[4];
    for (int i = 0; i < 4; ++i) kept[i] = x[i];
    y[threadIdx.x] = kept[fixed ? threadIdx.x & 3 : threadIdx.x % 5];
}

template <bool fixed> __global__ void division_by_zero(float *y, const float *x) {
    const int n = threadIdx.x;
    y[n] = x[n] + float(100 / (fixed ? n + 1 : n));
}

template <bool fixed> __global__ void too_much_shared(float *y, const float *x) {
    __shared__ float tile[fixed ? 12288 : 12289];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[threadIdx.x];
}

template <bool fixed> __global__ void order_of_threads(float *y, const float *x) {
    __shared__ int next;
    if (threadIdx.x == 0) next = 0;
    __syncthreads();
    const int place = fixed ? threadIdx.x : atomicAdd(&next, 1);
    y[place] = x[threadIdx.x];
}

// The transpose of a 32 x 32 tile: right both ways, but without the padding 32 lanes meet in one bank.
template <bool fixed> __global__ void unpadded_transpose(float *y, const float *x) {
    __shared__ float tile[32][fixed ? 33 : 32];
    tile[threadIdx.y][threadIdx.x] = x[32 * threadIdx.y + threadIdx.x];
    __syncthreads();
    y[32 * threadIdx.y + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}

// A copy of a matrix of 32 x 32: right both ways, but by columns each lane asks for a sector of its own.
template <bool fixed> __global__ void column_by_column(float *y, const float *x) {
    const int i = fixed ? 32 * threadIdx.y + threadIdx.x : 32 * threadIdx.x + threadIdx.y;
    y[i] = x[i];
}
