// Softmax and its kin, one block a row; what a row needs more than once comes from the cache the second time.
#include "prelude.cuh"

template <class T> struct RowOf {
    compute_t<T> largest, total;  // total: the sum of exp(x - largest)
};

template <class T> __device__ __forceinline__ RowOf<T> survey(const T *x, int columns) {
    using C = compute_t<T>;
    C largest = Max::identity<C>(), total = 0;
    FOR_COLUMNS(j, columns) largest = Max::apply(largest, load(x[j]));
    largest = block_reduce<Max>(largest);
    FOR_COLUMNS(j, columns) total += exp_of(load(x[j]) - largest);
    return {largest, block_reduce<Sum>(total)};
}

template <class T> __global__ void softmax(T *__restrict__ y, const T *__restrict__ x, int columns) {
    const index_t base = index_t(blockIdx.x) * columns;
    const RowOf<T> row = survey(x + base, columns);
    const compute_t<T> scale = 1 / row.total;
    FOR_COLUMNS(j, columns) y[base + j] = store<T>(exp_of(load(x[base + j]) - row.largest) * scale);
}

template <class T> __global__ void log_softmax(T *__restrict__ y, const T *__restrict__ x, int columns) {
    const index_t base = index_t(blockIdx.x) * columns;
    const RowOf<T> row = survey(x + base, columns);
    const compute_t<T> log_total = log_of(row.total);
    FOR_COLUMNS(j, columns) y[base + j] = store<T>(load(x[base + j]) - row.largest - log_total);
}

// dx = y (ct - sum(ct y)), with y = softmax(x).
template <class T> __global__ void softmax_transposed(T *dx, const T *__restrict__ ct, const T *__restrict__ y, int columns) {
    using C = compute_t<T>;
    const index_t base = index_t(blockIdx.x) * columns;
    C inner = 0;
    FOR_COLUMNS(j, columns) inner += load(ct[base + j]) * load(y[base + j]);
    inner = block_reduce<Sum>(inner);
    FOR_COLUMNS(j, columns) dx[base + j] = store<T>(load(y[base + j]) * (load(ct[base + j]) - inner));
}

// dx = ct - exp(y) sum(ct), with y = log_softmax(x).
template <class T>
__global__ void log_softmax_transposed(T *dx, const T *__restrict__ ct, const T *__restrict__ y, int columns) {
    using C = compute_t<T>;
    const index_t base = index_t(blockIdx.x) * columns;
    C sum = 0;
    FOR_COLUMNS(j, columns) sum += load(ct[base + j]);
    sum = block_reduce<Sum>(sum);
    FOR_COLUMNS(j, columns) dx[base + j] = store<T>(load(ct[base + j]) - exp_of(load(y[base + j])) * sum);
}

// loss = log(sum(exp(x))) - x[label] and its gradient softmax(x) - onehot(label), in one pass over the row. A label out
// of range makes its loss NaN, and the first such row is noted in *wrong, which the caller must look at.
template <class T>
__global__ void cross_entropy(
    T *__restrict__ loss, T *__restrict__ dx, int *wrong, const T *__restrict__ x, const index_t *__restrict__ labels, int columns
) {
    using C = compute_t<T>;
    const index_t base = index_t(blockIdx.x) * columns, label = labels[blockIdx.x];
    const RowOf<T> row = survey(x + base, columns);
    FOR_COLUMNS(j, columns)
        dx[base + j] = store<T>(exp_of(load(x[base + j]) - row.largest) / row.total - C(j == label));
    if (threadIdx.x == 0) {
        const bool valid = label >= 0 && label < columns;
        if (!valid) atomicMin(wrong, int(blockIdx.x));
        const C chosen = valid ? C(load(x[base + label])) : C(INFINITY) - C(INFINITY);
        loss[blockIdx.x] = store<T>(log_of(row.total) + row.largest - chosen);
    }
}
