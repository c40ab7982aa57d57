// Attention that never stores its weights, forward and backward: softmax(scale Q K^T + bias) V of tiles, with the running
// maximum and sum of each row (Dao et al., arXiv:2205.14135; two backward passes, arXiv:2307.08691, without atomics).
//
// Q, O and their cotangents are (batch, queries, heads, D), K and V (batch, keys, shared_heads, D), where shared_heads
// divides heads; log_sum and delta are (batch, heads, queries). A warp owns 16 rows of a product; lane 4 group + member
// has of it the elements of the rows group and group + 8, columns 2 member and 2 member + 1 of every eight: what the
// tensor cores of half-precision numbers ask for, and how float does the same by ordinary products.
#include "mma.cuh"

struct Attention {
    int queries, keys, heads, shared_heads;
    float scale;
    int causal;
    index_t bias[4];  // strides: batch, head, query, key
};

template <class T, int D> struct Tiling {
    static constexpr int warps = sizeof(T) == 2 ? 4 : D == 128 ? 1 : 2;
    static constexpr int rows = 16 * warps;           // that a block owns
    static constexpr int step = D == 128 ? 16 : 32;   // rows of the other side that it meets at a time
    static constexpr int width = D + Vector<T>::size; // eight rows of a fragment meet no bank twice
};

__device__ __forceinline__ int warp_row() { return 16 * (threadIdx.x >> 5); }
__device__ __forceinline__ int group() { return (threadIdx.x & 31) >> 2; }
__device__ __forceinline__ int member() { return threadIdx.x & 3; }

// tile = x[start : start + rows], zeros after the last row; 16 bytes at a time.
template <int D, class T, int rows, int width>
__device__ __forceinline__ void load_rows(T (&tile)[rows][width], const T *x, int start, int count, index_t stride) {
    constexpr int size = Vector<T>::size, row = D / size;
    for (int i = threadIdx.x; i < rows * row; i += blockDim.x) {
        const int r = i / row, column = i % row * size;
        Vector<T> found;
#pragma unroll
        for (int j = 0; j < size; ++j) found.item[j] = store<T>(0.0f);
        if (start + r < count) found = *reinterpret_cast<const Vector<T> *>(x + (start + r) * stride + column);
        *reinterpret_cast<Vector<T> *>(&tile[r][column]) = found;
    }
}

// x[start : start + rows] = out * factor, where out is a fragment and factor that of its two rows.
template <int D, class T>
__device__ __forceinline__ void store_rows(T *x, const float (&out)[D / 8][4], const float (&factor)[2], int start, int count, index_t stride) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = start + warp_row() + group() + 8 * half;
        if (row >= count) continue;
#pragma unroll
        for (int t = 0; t < D / 8; ++t)
            *reinterpret_cast<Pair<T> *>(x + row * stride + 8 * t + 2 * member()) = {
                store<T>(out[t][2 * half] * factor[half]), store<T>(out[t][2 * half + 1] * factor[half])};
    }
}

template <class T> __device__ __forceinline__ unsigned both(const T *at) { return *reinterpret_cast<const unsigned *>(at); }

// s = A B^T, of the warp's 16 rows of A and all rows of B.
template <int D, class T, int rows, int step, int width>
__device__ __forceinline__ void rows_times_rows(float (&s)[step / 8][4], const T (&a)[rows][width], const T (&b)[step][width]) {
    const int row = warp_row() + group();
#pragma unroll
    for (int t = 0; t < step / 8; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) s[t][i] = 0;
    if constexpr (sizeof(T) == 2) {
#pragma unroll
        for (int d = 2 * member(); d < D; d += 16) {
            const unsigned left[4] = {both(&a[row][d]), both(&a[row + 8][d]), both(&a[row][d + 8]), both(&a[row + 8][d + 8])};
#pragma unroll
            for (int t = 0; t < step / 8; ++t) {
                const unsigned right[2] = {both(&b[8 * t + group()][d]), both(&b[8 * t + group()][d + 8])};
                mma_16x8x16<T>(s[t], left, right);
            }
        }
    } else {
        for (int d = 0; d < D; ++d)
#pragma unroll
            for (int t = 0; t < step / 8; ++t)
#pragma unroll
                for (int i = 0; i < 4; ++i) s[t][i] += a[row + 8 * (i >> 1)][d] * b[8 * t + 2 * member() + (i & 1)][d];
    }
}

// out += P B, where P is a fragment; in half precision, P is rounded to it.
template <int D, class T, int step, int width>
__device__ __forceinline__ void add_times_rows(float (&out)[D / 8][4], const float (&p)[step / 8][4], const T (&b)[step][width]) {
    if constexpr (sizeof(T) == 2) {
#pragma unroll
        for (int j = 0; j < step / 16; ++j) {
            unsigned left[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float(&from)[4] = p[2 * j + (i >> 1)];
                left[i] = packed(store<T>(from[2 * (i & 1)]), store<T>(from[2 * (i & 1) + 1]));
            }
            const int deep = 16 * j + 2 * member();
#pragma unroll
            for (int t = 0; t < D / 8; ++t) {
                const int column = 8 * t + group();
                const unsigned right[2] = {
                    packed(b[deep][column], b[deep + 1][column]), packed(b[deep + 8][column], b[deep + 9][column])};
                mma_16x8x16<T>(out[t], left, right);
            }
        }
    } else {
#pragma unroll
        for (int k = 0; k < step; ++k) {
            // Element k of a row is with one of the four lanes that share the row.
            const int lane = (threadIdx.x & 28) | (k & 7) >> 1;
            const float upper = __shfl_sync(~0u, p[k / 8][k & 1], lane), lower = __shfl_sync(~0u, p[k / 8][2 + (k & 1)], lane);
#pragma unroll
            for (int t = 0; t < D / 8; ++t)
#pragma unroll
                for (int i = 0; i < 4; ++i) out[t][i] += (i < 2 ? upper : lower) * b[k][8 * t + 2 * member() + (i & 1)];
        }
    }
}

// The logarithm of a weight before it is normalised; -infinity where the query may not look.
__device__ __forceinline__ float score(float product, int query, int key, const float *bias, const Attention &shape) {
    if (query >= shape.queries || key >= shape.keys || (shape.causal && key > query)) return -INFINITY;
    return product * shape.scale + (bias ? bias[query * shape.bias[2] + key * shape.bias[3]] : 0.0f);
}

__device__ __forceinline__ float weight(float score, float log_sum) { return score == -INFINITY ? 0.0f : expf(score - log_sum); }

// The one past the last key that a block of queries meets.
__device__ __forceinline__ int last_key(int row0, int rows, const Attention &shape) {
    return shape.causal && row0 + rows < shape.keys ? row0 + rows : shape.keys;
}

template <class T, int D>
__global__ void attention(
    T *__restrict__ o, float *__restrict__ log_sum, const T *__restrict__ q, const T *__restrict__ k,
    const T *__restrict__ v, const float *__restrict__ bias, Attention shape
) {
    using Tile = Tiling<T, D>;
    __shared__ alignas(16) T queries[Tile::rows][Tile::width];
    __shared__ alignas(16) T keys[Tile::step][Tile::width];
    __shared__ alignas(16) T values[Tile::step][Tile::width];
    const int row0 = Tile::rows * blockIdx.x, head = blockIdx.y, shared_head = head / (shape.heads / shape.shared_heads);
    const index_t batch = blockIdx.z, stride = index_t(shape.heads) * D, shared_stride = index_t(shape.shared_heads) * D;
    q += batch * shape.queries * stride + head * D, o += batch * shape.queries * stride + head * D;
    k += batch * shape.keys * shared_stride + shared_head * D, v += batch * shape.keys * shared_stride + shared_head * D;
    if (bias) bias += batch * shape.bias[0] + head * shape.bias[1];
    log_sum += (batch * shape.heads + head) * shape.queries;

    load_rows<D>(queries, q, row0, shape.queries, stride);
    float out[D / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    const int end = last_key(row0, Tile::rows, shape);
    for (int start = 0; start < end; start += Tile::step) {
        __syncthreads();
        load_rows<D>(keys, k, start, shape.keys, shared_stride);
        load_rows<D>(values, v, start, shape.keys, shared_stride);
        __syncthreads();
        float s[Tile::step / 8][4];
        rows_times_rows<D>(s, queries, keys);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int query = row0 + warp_row() + group() + 8 * half;
            float found = largest[half];
#pragma unroll
            for (int t = 0; t < Tile::step / 8; ++t)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    s[t][i] = score(s[t][i], query, start + 8 * t + 2 * member() + (i & 1), bias, shape);
                    found = fmaxf(found, s[t][i]);
                }
            found = fmaxf(found, __shfl_xor_sync(~0u, found, 1));
            found = fmaxf(found, __shfl_xor_sync(~0u, found, 2));
            const float base = found == -INFINITY ? 0.0f : found, factor = expf(largest[half] - base);
            largest[half] = found, total[half] *= factor;
#pragma unroll
            for (int t = 0; t < Tile::step / 8; ++t)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) total[half] += s[t][i] = expf(s[t][i] - base);
#pragma unroll
            for (int t = 0; t < D / 8; ++t) out[t][2 * half] *= factor, out[t][2 * half + 1] *= factor;
        }
        add_times_rows<D>(out, s, values);
    }
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        total[half] += __shfl_xor_sync(~0u, total[half], 1);
        total[half] += __shfl_xor_sync(~0u, total[half], 2);
        // A query that may look nowhere gets zeros.
        inverse[half] = total[half] == 0 ? 0.0f : 1 / total[half];
        const int query = row0 + warp_row() + group() + 8 * half;
        if (member() == 0 && query < shape.queries) log_sum[query] = total[half] == 0 ? -INFINITY : largest[half] + logf(total[half]);
    }
    store_rows<D>(o, out, inverse, row0, shape.queries, stride);
}

// delta = sum(ct o) of each row, a warp a row.
template <class T, int D>
__global__ void attention_delta(float *__restrict__ delta, const T *__restrict__ ct, const T *__restrict__ o, int queries, int heads, index_t rows) {
    const index_t row = index_t(blockIdx.x) * (blockDim.x / 32) + (threadIdx.x >> 5);
    if (row >= rows) return;
    float sum = 0;
#pragma unroll
    for (int d = threadIdx.x & 31; d < D; d += 32) sum += load(ct[row * D + d]) * load(o[row * D + d]);
    sum = warp_reduce<Sum>(sum);
    const index_t head = row % heads, query = row / heads % queries, batch = row / heads / queries;
    if ((threadIdx.x & 31) == 0) delta[(batch * heads + head) * queries + query] = sum;
}

// dQ = scale dS K, dS = P (ct V^T - delta): a block has a tile of queries, as forward.
template <class T, int D>
__global__ void attention_queries_transposed(
    T *__restrict__ dq, const T *__restrict__ ct, const T *__restrict__ q, const T *__restrict__ k, const T *__restrict__ v,
    const float *__restrict__ bias, const float *__restrict__ log_sum, const float *__restrict__ delta, Attention shape
) {
    using Tile = Tiling<T, D>;
    __shared__ alignas(16) T queries[Tile::rows][Tile::width];
    __shared__ alignas(16) T cts[Tile::rows][Tile::width];
    __shared__ alignas(16) T keys[Tile::step][Tile::width];
    __shared__ alignas(16) T values[Tile::step][Tile::width];
    const int row0 = Tile::rows * blockIdx.x, head = blockIdx.y, shared_head = head / (shape.heads / shape.shared_heads);
    const index_t batch = blockIdx.z, stride = index_t(shape.heads) * D, shared_stride = index_t(shape.shared_heads) * D;
    const index_t first = batch * shape.queries * stride + head * D, rows = (batch * shape.heads + head) * shape.queries;
    k += batch * shape.keys * shared_stride + shared_head * D, v += batch * shape.keys * shared_stride + shared_head * D;
    if (bias) bias += batch * shape.bias[0] + head * shape.bias[1];

    load_rows<D>(queries, q + first, row0, shape.queries, stride);
    load_rows<D>(cts, ct + first, row0, shape.queries, stride);
    float out[D / 8][4] = {}, log_sums[2] = {0, 0}, deltas[2] = {0, 0};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int query = row0 + warp_row() + group() + 8 * half;
        if (query < shape.queries) log_sums[half] = log_sum[rows + query], deltas[half] = delta[rows + query];
    }
    const int end = last_key(row0, Tile::rows, shape);
    for (int start = 0; start < end; start += Tile::step) {
        __syncthreads();
        load_rows<D>(keys, k, start, shape.keys, shared_stride);
        load_rows<D>(values, v, start, shape.keys, shared_stride);
        __syncthreads();
        float s[Tile::step / 8][4], ds[Tile::step / 8][4];
        rows_times_rows<D>(s, queries, keys);
        rows_times_rows<D>(ds, cts, values);
#pragma unroll
        for (int t = 0; t < Tile::step / 8; ++t)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int query = row0 + warp_row() + group() + 8 * (i >> 1), key = start + 8 * t + 2 * member() + (i & 1);
                ds[t][i] = weight(score(s[t][i], query, key, bias, shape), log_sums[i >> 1]) * (ds[t][i] - deltas[i >> 1]);
            }
        add_times_rows<D>(out, ds, keys);
    }
    store_rows<D>(dq + first, out, {shape.scale, shape.scale}, row0, shape.queries, stride);
}

// dV = P^T ct and dK = scale dS^T Q: a block has a tile of keys, and meets the queries of all heads that share them.
template <class T, int D>
__global__ void attention_keys_transposed(
    T *__restrict__ dk, T *__restrict__ dv, const T *__restrict__ ct, const T *__restrict__ q, const T *__restrict__ k,
    const T *__restrict__ v, const float *__restrict__ bias, const float *__restrict__ log_sum,
    const float *__restrict__ delta, Attention shape
) {
    using Tile = Tiling<T, D>;
    __shared__ alignas(16) T keys[Tile::rows][Tile::width];
    __shared__ alignas(16) T values[Tile::rows][Tile::width];
    __shared__ alignas(16) T queries[Tile::step][Tile::width];
    __shared__ alignas(16) T cts[Tile::step][Tile::width];
    const int row0 = Tile::rows * blockIdx.x, group_size = shape.heads / shape.shared_heads;
    const index_t batch = blockIdx.z, stride = index_t(shape.heads) * D, shared_stride = index_t(shape.shared_heads) * D;
    const index_t first = batch * shape.keys * shared_stride + blockIdx.y * D;

    load_rows<D>(keys, k + first, row0, shape.keys, shared_stride);
    load_rows<D>(values, v + first, row0, shape.keys, shared_stride);
    float key_out[D / 8][4] = {}, value_out[D / 8][4] = {};
    for (int head = blockIdx.y * group_size; head < int(blockIdx.y + 1) * group_size; ++head) {
        const index_t offset = batch * shape.queries * stride + head * D, rows = (batch * shape.heads + head) * shape.queries;
        const float *head_bias = bias ? bias + batch * shape.bias[0] + head * shape.bias[1] : bias;
        for (int start = shape.causal ? row0 : 0; start < shape.queries; start += Tile::step) {
            __syncthreads();
            load_rows<D>(queries, q + offset, start, shape.queries, stride);
            load_rows<D>(cts, ct + offset, start, shape.queries, stride);
            __syncthreads();
            float p[Tile::step / 8][4], ds[Tile::step / 8][4];
            rows_times_rows<D>(p, keys, queries);
            rows_times_rows<D>(ds, values, cts);
#pragma unroll
            for (int t = 0; t < Tile::step / 8; ++t)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int key = row0 + warp_row() + group() + 8 * (i >> 1), query = start + 8 * t + 2 * member() + (i & 1);
                    const bool inside = query < shape.queries;
                    p[t][i] = weight(score(p[t][i], query, key, head_bias, shape), inside ? log_sum[rows + query] : 0.0f);
                    ds[t][i] = p[t][i] * (ds[t][i] - (inside ? delta[rows + query] : 0.0f));
                }
            add_times_rows<D>(value_out, p, cts);
            add_times_rows<D>(key_out, ds, queries);
        }
    }
    store_rows<D>(dk + first, key_out, {shape.scale, shape.scale}, row0, shape.keys, shared_stride);
    store_rows<D>(dv + first, value_out, {1.0f, 1.0f}, row0, shape.keys, shared_stride);
}
