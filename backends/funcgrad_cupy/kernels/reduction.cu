// Reductions of rows and of columns, arguments of extrema, cumulative sums. No atomics: results do not depend on timing.
#include "prelude.cuh"

// One block a row: y[i] = op over j of x[i, j]. Out may be wider than In, for results that are reduced again.
template <class In, class Out, class Op>
__global__ void reduce_rows(Out *__restrict__ y, const In *__restrict__ x, index_t columns) {
    using C = compute_t<Out>;
    const In *row = x + blockIdx.x * columns;
    C value = Op::template identity<C>();
    for (index_t j = threadIdx.x; j < columns; j += blockDim.x) value = Op::apply(value, C(load(row[j])));
    value = block_reduce<Op>(value);
    if (threadIdx.x == 0) y[blockIdx.x] = store<Out>(value);
}

// Rows in chunks: y[c, j] = op over the rows i of chunk c of x[i, j]. A thread a column, a chunk each blockIdx.y.
template <class In, class Out, class Op>
__global__ void reduce_columns(Out *__restrict__ y, const In *__restrict__ x, index_t rows, index_t columns, index_t chunk) {
    using C = compute_t<Out>;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= columns) return;
    C value = Op::template identity<C>();
    const index_t end = min(rows, (blockIdx.y + 1) * chunk);
    for (index_t i = blockIdx.y * chunk; i < end; ++i) value = Op::apply(value, C(load(x[i * columns + j])));
    y[blockIdx.y * columns + j] = store<Out>(value);
}

// The first place of the extremum, or of the first NaN, as NumPy's argmax and argmin. Rows must not be empty.
template <class C, bool largest> __device__ __forceinline__ bool goes_first(C a, index_t i, C b, index_t j) {
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
    return a == b ? i < j : largest ? a > b : a < b;
}

template <class T, bool largest> __global__ void arg_extremum(index_t *y, const T *x, index_t columns) {
    using C = compute_t<T>;
    __shared__ C values[32];
    __shared__ index_t places[32];
    const T *row = x + blockIdx.x * columns;
    C best = load(row[0]);
    index_t place = 0;
    for (index_t j = threadIdx.x; j < columns; j += blockDim.x) {
        const C value = load(row[j]);
        if (goes_first<C, largest>(value, j, best, place)) best = value, place = j;
    }
    const int lane = threadIdx.x & 31, warps = blockDim.x / 32;
    for (int round = 0; round < 2; ++round) {
        for (int distance = 16; distance; distance >>= 1) {
            const C value = __shfl_xor_sync(~0u, best, distance);
            const index_t other = __shfl_xor_sync(~0u, place, distance);
            if (goes_first<C, largest>(value, other, best, place)) best = value, place = other;
        }
        if (round == 1) break;
        if (lane == 0) values[threadIdx.x / 32] = best, places[threadIdx.x / 32] = place;
        __syncthreads();
        best = values[lane < warps ? lane : 0], place = places[lane < warps ? lane : 0];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = place;
}

// y[i, j] = x[i, 0] + ... + x[i, j]. One block a row, blockDim.x elements at a time, the total so far carried on.
template <class T> __global__ void cumulative_sum(T *y, const T *x, index_t columns) {
    using C = compute_t<T>;
    __shared__ C totals[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x / 32;
    const index_t base = blockIdx.x * columns;
    C carry = 0;
    for (index_t start = 0; start < columns; start += blockDim.x) {
        const index_t j = start + threadIdx.x;
        C value = j < columns ? C(load(x[base + j])) : C(0);
        for (int distance = 1; distance < 32; distance <<= 1) {
            const C before = __shfl_up_sync(~0u, value, distance);
            if (lane >= distance) value += before;
        }
        if (lane == 31) totals[warp] = value;
        __syncthreads();
        C offset = carry;
        for (int w = 0; w < warps; ++w) {
            if (w < warp) offset += totals[w];
            carry += totals[w];
        }
        if (j < columns) y[base + j] = store<T>(offset + value);
        __syncthreads();
    }
}
