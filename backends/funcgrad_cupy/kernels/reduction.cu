// Reductions of rows and of columns, arguments of extrema, cumulative operations. No atomics: results do not depend on
// timing. What is too long for one block is cut in parts, blockIdx.y, whose results a second launch combines.
#include "prelude.cuh"

// A block a row, or a part of one: y[row, part] = op over the j of the part of x[row, j]. 16 bytes at a time where rows hold
// whole vectors; a thread has the same elements wherever in memory the array begins.
template <class In, class Out, class Op>
__global__ void reduce_rows(Out *y, const In *__restrict__ x, index_t columns, index_t chunk) {
    using C = compute_t<Out>;
    constexpr int size = Vector<In>::size;
    const In *row = x + blockIdx.x * columns;
    const index_t begin = blockIdx.y * chunk, end = min(columns, begin + chunk);
    C value = Op::template identity<C>();
    if (columns % size) {
        for (index_t j = begin + threadIdx.x; j < end; j += blockDim.x) value = Op::apply(value, C(load(row[j])));
    } else {
        const bool aligned = reinterpret_cast<unsigned long long>(x) % sizeof(Vector<In>) == 0;
        for (index_t j = begin + threadIdx.x * size; j < end; j += blockDim.x * size) {
            Vector<In> part;
            if (aligned)
                part = *reinterpret_cast<const Vector<In> *>(row + j);
            else
                for (int e = 0; e < size; ++e) part.item[e] = row[j + e];
            for (int e = 0; e < size; ++e) value = Op::apply(value, C(load(part.item[e])));
        }
    }
    value = block_reduce<Op>(value);
    if (threadIdx.x == 0) y[blockIdx.x * index_t(gridDim.y) + blockIdx.y] = store<Out>(value);
}

// y[outer, part, j] = op over the rows i of the part of x[outer, i, j]. blockDim.x columns of one matrix a block, so that
// neighbouring threads read neighbouring elements; threadIdx.y goes along the rows.
template <class In, class Out, class Op>
__global__ void reduce_columns(Out *y, const In *__restrict__ x, index_t rows, index_t columns, index_t chunk) {
    using C = compute_t<Out>;
    const index_t tiles = (columns + blockDim.x - 1) / blockDim.x, outer = blockIdx.x / tiles;
    const index_t j = blockIdx.x % tiles * blockDim.x + threadIdx.x;
    const index_t end = j < columns ? min(rows, (blockIdx.y + 1) * chunk) : 0;
    C value = Op::template identity<C>();
    for (index_t i = blockIdx.y * chunk + threadIdx.y; i < end; i += blockDim.y)
        value = Op::apply(value, C(load(x[(outer * rows + i) * columns + j])));
    value = column_reduce<Op>(value);
    if (j < columns && threadIdx.y == 0) y[(outer * gridDim.y + blockIdx.y) * columns + j] = store<Out>(value);
}

// The first place of the extremum, or of the first NaN, as NumPy's argmax and argmin. Rows must not be empty.
template <class C, bool largest> __device__ __forceinline__ bool goes_first(C a, index_t i, C b, index_t j) {
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
    return a == b ? i < j : largest ? a > b : a < b;
}

// Of a row, or of a part of one. Where there are several parts, their extrema go to `extrema`; they and their places are
// the x and the `places` of a second launch.
template <class T, bool largest>
__global__ void arg_extremum(index_t *y, compute_t<T> *extrema, const T *x, const index_t *places, index_t columns, index_t chunk) {
    using C = compute_t<T>;
    __shared__ C values[32];
    __shared__ index_t found[32];
    const index_t base = blockIdx.x * columns, begin = blockIdx.y * chunk, end = min(columns, begin + chunk);
    C best = load(x[base + begin]);
    index_t place = places ? places[base + begin] : begin;
    for (index_t j = begin + threadIdx.x; j < end; j += blockDim.x) {
        const C value = load(x[base + j]);
        const index_t at = places ? places[base + j] : j;
        if (goes_first<C, largest>(value, at, best, place)) best = value, place = at;
    }
    const int lane = threadIdx.x & 31, warps = blockDim.x / 32;
    for (int round = 0; round < 2; ++round) {
        for (int distance = 16; distance; distance >>= 1) {
            const C value = __shfl_xor_sync(~0u, best, distance);
            const index_t other = __shfl_xor_sync(~0u, place, distance);
            if (goes_first<C, largest>(value, other, best, place)) best = value, place = other;
        }
        if (round == 1) break;
        if (lane == 0) values[threadIdx.x / 32] = best, found[threadIdx.x / 32] = place;
        __syncthreads();
        best = values[lane < warps ? lane : 0], place = found[lane < warps ? lane : 0];
    }
    if (threadIdx.x == 0) {
        const index_t out = blockIdx.x * index_t(gridDim.y) + blockIdx.y;
        y[out] = place;
        if (extrema) extrema[out] = best;
    }
}

// y[i, j] = x[i, 0] op ... op x[i, j]: a block a row, or a part of one, blockDim.x elements at a time, the total so far
// carried on. `totals` has the running totals of the parts; without it there is one part.
template <class T, class Op>
__global__ void cumulative(T *y, const T *x, const compute_t<T> *totals, index_t columns, index_t chunk) {
    using C = compute_t<T>;
    __shared__ C warp_totals[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x / 32;
    const index_t base = blockIdx.x * columns, begin = blockIdx.y * chunk, end = min(columns, begin + chunk);
    C carry = totals && blockIdx.y ? totals[blockIdx.x * index_t(gridDim.y) + blockIdx.y - 1] : Op::template identity<C>();
    for (index_t start = begin; start < end; start += blockDim.x) {
        const index_t j = start + threadIdx.x;
        C value = j < end ? C(load(x[base + j])) : Op::template identity<C>();
        for (int distance = 1; distance < 32; distance <<= 1) {
            const C before = __shfl_up_sync(~0u, value, distance);
            if (lane >= distance) value = Op::apply(before, value);
        }
        if (lane == 31) warp_totals[warp] = value;
        __syncthreads();
        C offset = carry;
        for (int w = 0; w < warps; ++w) {
            if (w < warp) offset = Op::apply(offset, warp_totals[w]);
            carry = Op::apply(carry, warp_totals[w]);
        }
        if (j < end) y[base + j] = store<T>(Op::apply(offset, value));
        __syncthreads();
    }
}
