// Batch normalisation of the columns of a matrix, the channels: y = (x - mean) / deviation * gamma + beta with the statistics
// of the column. S. Ioffe, C. Szegedy 2015, algorithm 1. blockDim.x columns a block, so that neighbouring threads read
// neighbouring elements; threadIdx.y goes along the rows of a part, blockIdx.y. gamma and beta may be null: 1 and 0.
#include "prelude.cuh"

// How many values there are, their mean, and the sum of their squared distances from it.
template <class C> struct Moments { C count, mean, square; };

// T. Chan, G. Golub, R. LeVeque 1983, equation 2.1: nothing large cancels, wherever the mean is.
template <class C> __device__ __forceinline__ Moments<C> joined(Moments<C> a, Moments<C> b) {
    const C count = a.count + b.count;
    if (count == 0) return a;
    const C step = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + step * share, a.square + b.square + step * step * a.count * share};
}

// Of the threads of one threadIdx.x, given to threadIdx.y = 0. All threads of the block must call it.
template <class C> __device__ __forceinline__ Moments<C> column_joined(Moments<C> own) {
    __shared__ C counts[256];
    __shared__ C means[256];
    __shared__ C squares[256];
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (int left = blockDim.y;;) {
        counts[place] = own.count, means[place] = own.mean, squares[place] = own.square;
        if (left == 1) return own;
        __syncthreads();
        const int half = (left + 1) / 2, other = place + half * blockDim.x;
        if (int(threadIdx.y) < left - half) own = joined(own, {counts[other], means[other], squares[other]});
        __syncthreads();
        left = half;
    }
}

// The moments of the parts of columns, in an array (3, parts, columns), of the values less that of the first row, so that
// means are small numbers too. Sums over a run are of distances from its first value: the sum of squares is then at most the
// run's length too large, and that is what the difference can lose.
template <class T> __global__ void batch_moments(compute_t<T> *parts, const T *__restrict__ x, index_t rows, index_t columns, index_t chunk) {
    using C = compute_t<T>;
    constexpr int run = 32;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const index_t end = j < columns ? min(rows, (blockIdx.y + 1) * chunk) : 0;
    const C first = end ? C(load(x[j])) : C(0);
    Moments<C> all = {0, 0, 0};
    for (index_t i = blockIdx.y * chunk + threadIdx.y; i < end;) {
        const C origin = load(x[i * columns + j]);
        C count = 0, sum = 0, squares = 0;
        for (; i < end && count < run; i += blockDim.y, count += 1) {
            const C d = load(x[i * columns + j]) - origin;
            sum += d;
            squares += d * d;
        }
        all = joined(all, {count, origin - first + sum / count, squares - sum * (sum / count)});
    }
    all = column_joined(all);
    if (j < columns && threadIdx.y == 0) {
        const index_t place = blockIdx.y * columns + j, size = gridDim.y * columns;
        parts[place] = all.count, parts[size + place] = all.mean, parts[2 * size + place] = all.square;
    }
}

// Mean, biased variance and 1 / deviation of columns from the moments of their parts.
template <class T>
__global__ void batch_statistics(
    compute_t<T> *mean, compute_t<T> *variance, compute_t<T> *scale, const compute_t<T> *__restrict__ parts, const T *__restrict__ x,
    int count, index_t columns, compute_t<T> epsilon
) {
    using C = compute_t<T>;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x, size = count * columns;
    Moments<C> all = {0, 0, 0};
    for (int p = threadIdx.y; j < columns && p < count; p += blockDim.y) {
        const index_t place = p * columns + j;
        all = joined(all, {parts[place], parts[size + place], parts[2 * size + place]});
    }
    all = column_joined(all);
    if (j < columns && threadIdx.y == 0) {
        const C found = all.square / all.count;
        mean[j] = load(x[j]) + all.mean, variance[j] = found, scale[j] = 1 / sqrt_of(found + epsilon);
    }
}

template <class T>
__global__ void batch_normalise(
    T *__restrict__ y, const T *__restrict__ x, const compute_t<T> *__restrict__ mean, const compute_t<T> *__restrict__ scale,
    const T *__restrict__ gamma, const T *__restrict__ beta, index_t rows, index_t columns, index_t chunk
) {
    using C = compute_t<T>;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x, end = min(rows, (blockIdx.y + 1) * chunk);
    if (j >= columns) return;
    const C m = mean[j], s = scale[j] * (gamma ? C(load(gamma[j])) : C(1)), b = beta ? C(load(beta[j])) : C(0);
    for (index_t i = blockIdx.y * chunk + threadIdx.y; i < end; i += blockDim.y)
        y[i * columns + j] = store<T>((load(x[i * columns + j]) - m) * s + b);
}

// With n = (x - mean) scale: the sums over parts of columns of ct n, which is that of gamma, and of ct, which is that of beta,
// in an array (2, parts, columns).
template <class T>
__global__ void batch_parameters(
    compute_t<T> *parts, const T *__restrict__ ct, const T *__restrict__ x, const compute_t<T> *__restrict__ mean,
    const compute_t<T> *__restrict__ scale, index_t rows, index_t columns, index_t chunk
) {
    using C = compute_t<T>;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const index_t end = j < columns ? min(rows, (blockIdx.y + 1) * chunk) : 0;
    const C m = j < columns ? mean[j] : C(0);
    C gamma = 0, beta = 0;
    for (index_t i = blockIdx.y * chunk + threadIdx.y; i < end; i += blockDim.y) {
        const C g = load(ct[i * columns + j]);
        gamma += g * (load(x[i * columns + j]) - m);
        beta += g;
    }
    gamma = column_reduce<Sum>(gamma), beta = column_reduce<Sum>(beta);
    if (j < columns && threadIdx.y == 0) {
        const index_t place = blockIdx.y * columns + j;
        parts[place] = gamma * scale[j], parts[gridDim.y * columns + place] = beta;
    }
}

// dx = gamma scale (ct - mean(ct) - n mean(ct n)), given the sums (2, columns).
template <class T>
__global__ void batch_normalise_transposed(
    T *__restrict__ dx, const T *__restrict__ ct, const T *__restrict__ x, const compute_t<T> *__restrict__ mean,
    const compute_t<T> *__restrict__ scale, const T *__restrict__ gamma, const compute_t<T> *__restrict__ sums, index_t rows,
    index_t columns, index_t chunk
) {
    using C = compute_t<T>;
    const index_t j = index_t(blockIdx.x) * blockDim.x + threadIdx.x, end = min(rows, (blockIdx.y + 1) * chunk);
    if (j >= columns) return;
    const C m = mean[j], s = scale[j], factor = s * (gamma ? C(load(gamma[j])) : C(1));
    const C inner = sums[j] / C(rows) * s, sum = sums[columns + j] / C(rows);
    for (index_t i = blockIdx.y * chunk + threadIdx.y; i < end; i += blockDim.y) {
        const index_t at = i * columns + j;
        dx[at] = store<T>(factor * (load(ct[at]) - sum - (load(x[at]) - m) * inner));
    }
}
