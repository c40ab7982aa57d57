// Recurrent networks as nn.rnn and nn.lstm: the pointwise part of an LSTM cell, and whole loops over time in one launch.
//
// The rows of a batch do not meet, so a block runs all time steps of one row, with W in shared memory where it fits
// (Diamos et al., "Persistent RNNs", ICML 2016). u = x Wx + b is one product before, and dW = sum h^T du one after.
// Arrays over time are (time, batch, ...); gates stand in the order i, f, g, o along the last axis.
#include "prelude.cuh"

__device__ __forceinline__ float tanh_of(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_of(double x) { return tanh(x); }
template <class C> __device__ __forceinline__ C sigmoid(C x) { return 1 / (1 + exp_of(-x)); }

struct Tanh {
    static constexpr int gates = 1;
    template <class C> static __device__ C apply(C x) { return tanh_of(x); }
    template <class C> static __device__ C slope(C y) { return 1 - y * y; }
};
struct Relu {
    static constexpr int gates = 1;
    template <class C> static __device__ C apply(C x) { return x > 0 || x != x ? x : C(0); }
    template <class C> static __device__ C slope(C y) { return C(y > 0); }
};
struct Lstm { static constexpr int gates = 4; };

// gate: before and after its activation; c: the cell before and after. Gives h.
template <class C> __device__ __forceinline__ C lstm_step(C (&gate)[4], C &c) {
    gate[0] = sigmoid(gate[0]), gate[1] = sigmoid(gate[1]), gate[2] = tanh_of(gate[2]), gate[3] = sigmoid(gate[3]);
    c = gate[1] * c + gate[0] * gate[2];
    return gate[3] * tanh_of(c);
}

// gate: activated, then the cotangent of what was activated; dc: the cotangent of the cell after, then of that before.
template <class C> __device__ __forceinline__ void lstm_step_transposed(C (&gate)[4], C before, C after, C dh, C &dc) {
    const C i = gate[0], f = gate[1], g = gate[2], o = gate[3], y = tanh_of(after);
    dc += dh * o * (1 - y * y);
    gate[0] = dc * g * i * (1 - i), gate[1] = dc * before * f * (1 - f);
    gate[2] = dc * i * (1 - g * g), gate[3] = dh * y * o * (1 - o);
    dc *= f;
}

// h, c' and the activated gates of z (batch, 4 hidden) and c (batch, hidden).
template <class T>
__global__ void lstm_cell(T *__restrict__ h, T *__restrict__ c_new, T *__restrict__ gates, const T *__restrict__ z, const T *__restrict__ c, int hidden, index_t count) {
    FOR_ELEMENTS(i, count) {
        const index_t at = i / hidden * 4 * hidden + i % hidden;
        compute_t<T> gate[4], cell = load(c[i]);
#pragma unroll
        for (int k = 0; k < 4; ++k) gate[k] = load(z[at + k * hidden]);
        h[i] = store<T>(lstm_step(gate, cell)), c_new[i] = store<T>(cell);
#pragma unroll
        for (int k = 0; k < 4; ++k) gates[at + k * hidden] = store<T>(gate[k]);
    }
}

template <class T>
__global__ void lstm_cell_transposed(
    T *__restrict__ dz, T *__restrict__ dc, const T *__restrict__ dh, const T *__restrict__ dc_new,
    const T *__restrict__ gates, const T *__restrict__ c, const T *__restrict__ c_new, int hidden, index_t count
) {
    using C = compute_t<T>;
    FOR_ELEMENTS(i, count) {
        const index_t at = i / hidden * 4 * hidden + i % hidden;
        C gate[4], cell = load(dc_new[i]);
#pragma unroll
        for (int k = 0; k < 4; ++k) gate[k] = load(gates[at + k * hidden]);
        lstm_step_transposed<C>(gate, load(c[i]), load(c_new[i]), load(dh[i]), cell);
        dc[i] = store<T>(cell);
#pragma unroll
        for (int k = 0; k < 4; ++k) dz[at + k * hidden] = store<T>(gate[k]);
    }
}

// The weights, copied into shared memory where they are to be resident. The caller synchronises.
template <class T> __device__ __forceinline__ const T *settle(void *room, const T *weight, int count, bool resident) {
    if (!resident) return weight;
    T *copy = static_cast<T *>(room);
    FOR_COLUMNS(j, count) copy[j] = weight[j];
    return copy;
}

// h' = act(u + h W), for all times: ys, and with an LSTM the cells cs and the activated gates.
template <class T, class Cell>
__global__ void recurrence(
    T *__restrict__ ys, T *__restrict__ cs, T *__restrict__ gates, const T *__restrict__ u, const T *__restrict__ weight,
    const T *__restrict__ h0, const T *__restrict__ c0, int time, int batch, int hidden, int resident
) {
    using C = compute_t<T>;
    extern __shared__ __align__(16) unsigned char memory[];
    const int columns = Cell::gates * hidden;
    C *h = reinterpret_cast<C *>(memory), *c = h + hidden, *z = c + hidden;
    const T *w = settle(z + columns, weight, hidden * columns, resident);
    FOR_COLUMNS(j, hidden) {
        h[j] = load(h0[index_t(blockIdx.x) * hidden + j]);
        if constexpr (Cell::gates == 4) c[j] = load(c0[index_t(blockIdx.x) * hidden + j]);
    }
    __syncthreads();
    for (int t = 0; t < time; ++t) {
        const index_t row = index_t(t) * batch + blockIdx.x;
        FOR_COLUMNS(j, columns) {
            C sum = load(u[row * columns + j]);
            for (int i = 0; i < hidden; ++i) sum += h[i] * load(w[index_t(i) * columns + j]);
            z[j] = sum;
        }
        __syncthreads();
        FOR_COLUMNS(j, hidden) {
            if constexpr (Cell::gates == 4) {
                C gate[4] = {z[j], z[j + hidden], z[j + 2 * hidden], z[j + 3 * hidden]};
                h[j] = lstm_step(gate, c[j]);
                cs[row * hidden + j] = store<T>(c[j]);
#pragma unroll
                for (int k = 0; k < 4; ++k) gates[row * columns + k * hidden + j] = store<T>(gate[k]);
            } else {
                h[j] = Cell::apply(z[j]);
            }
            ys[row * hidden + j] = store<T>(h[j]);
        }
        __syncthreads();
    }
}

// Backwards through the times: du, and the cotangents of the first state, from those of ys and of the last state.
template <class T, class Cell>
__global__ void recurrence_transposed(
    T *__restrict__ du, T *__restrict__ dh0, T *__restrict__ dc0, const T *__restrict__ dys, const T *__restrict__ dh_last,
    const T *__restrict__ dc_last, const T *__restrict__ ys, const T *__restrict__ cs, const T *__restrict__ gates,
    const T *__restrict__ weight, const T *__restrict__ c0, int time, int batch, int hidden, int resident
) {
    using C = compute_t<T>;
    extern __shared__ __align__(16) unsigned char memory[];
    const int columns = Cell::gates * hidden, lane = threadIdx.x & 31;
    const index_t first = index_t(blockIdx.x) * hidden;
    C *dh = reinterpret_cast<C *>(memory), *dc = dh + hidden, *dz = dc + hidden;
    const T *w = settle(dz + columns, weight, hidden * columns, resident);
    FOR_COLUMNS(j, hidden) {
        dh[j] = load(dh_last[first + j]);
        if constexpr (Cell::gates == 4) dc[j] = load(dc_last[first + j]);
    }
    __syncthreads();
    for (int t = time - 1; t >= 0; --t) {
        const index_t row = index_t(t) * batch + blockIdx.x;
        FOR_COLUMNS(j, hidden) {
            const C ct = dh[j] + load(dys[row * hidden + j]);
            if constexpr (Cell::gates == 4) {
                C gate[4];
#pragma unroll
                for (int k = 0; k < 4; ++k) gate[k] = load(gates[row * columns + k * hidden + j]);
                const C before = load(t ? cs[(row - batch) * hidden + j] : c0[first + j]);
                lstm_step_transposed<C>(gate, before, load(cs[row * hidden + j]), ct, dc[j]);
#pragma unroll
                for (int k = 0; k < 4; ++k) dz[k * hidden + j] = gate[k];
            } else {
                dz[j] = ct * Cell::slope(C(load(ys[row * hidden + j])));
            }
        }
        __syncthreads();
        FOR_COLUMNS(j, columns) du[row * columns + j] = store<T>(dz[j]);
        // dh = dz W^T, a warp a row of W.
        for (int i = threadIdx.x >> 5; i < hidden; i += blockDim.x >> 5) {
            C sum = 0;
            for (int j = lane; j < columns; j += 32) sum += dz[j] * load(w[index_t(i) * columns + j]);
            sum = warp_reduce<Sum>(sum);
            if (lane == 0) dh[i] = sum;
        }
        __syncthreads();
    }
    FOR_COLUMNS(j, hidden) {
        dh0[first + j] = store<T>(dh[j]);
        if constexpr (Cell::gates == 4) dc0[first + j] = store<T>(dc[j]);
    }
}
