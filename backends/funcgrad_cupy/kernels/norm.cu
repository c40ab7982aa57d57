// Layer and RMS normalisation over the last axis, one block a row: y = (x - mean) / deviation * gamma + beta, where RMS
// has no mean and no beta. J. Ba, J. Kiros, G. Hinton 2016, section 3; B. Zhang, R. Sennrich 2019, section 4.
#include "prelude.cuh"

// Forward. Keeps mean (centred only) and 1 / deviation of each row for the way back.
template <class T, bool centred>
__global__ void normalise(
    T *__restrict__ y, compute_t<T> *__restrict__ means, compute_t<T> *__restrict__ scales, const T *__restrict__ x,
    const T *__restrict__ gamma, const T *__restrict__ beta, int columns, compute_t<T> epsilon
) {
    using C = compute_t<T>;
    const index_t base = index_t(blockIdx.x) * columns;
    C mean = 0, variance = 0;
    if constexpr (centred) {
        FOR_COLUMNS(j, columns) mean += load(x[base + j]);
        mean = block_reduce<Sum>(mean) / columns;
    }
    FOR_COLUMNS(j, columns) {
        const C d = load(x[base + j]) - mean;
        variance += d * d;
    }
    const C scale = 1 / sqrt_of(block_reduce<Sum>(variance) / columns + epsilon);
    FOR_COLUMNS(j, columns) {
        C value = (load(x[base + j]) - mean) * scale * load(gamma[j]);
        if constexpr (centred) value += load(beta[j]);
        y[base + j] = store<T>(value);
    }
    if (threadIdx.x == 0) {
        if constexpr (centred) means[blockIdx.x] = mean;
        scales[blockIdx.x] = scale;
    }
}

// With n = (x - mean) scale and g = ct gamma: dx = scale (g - mean(g) - n mean(g n)), without mean(g) for RMS.
template <class T, bool centred>
__global__ void normalise_transposed(
    T *__restrict__ dx, const T *__restrict__ ct, const T *__restrict__ x, const compute_t<T> *__restrict__ means,
    const compute_t<T> *__restrict__ scales, const T *__restrict__ gamma, int columns
) {
    using C = compute_t<T>;
    const index_t base = index_t(blockIdx.x) * columns;
    const C mean = centred ? means[blockIdx.x] : C(0), scale = scales[blockIdx.x];
    C sum = 0, inner = 0;
    FOR_COLUMNS(j, columns) {
        const C g = load(ct[base + j]) * load(gamma[j]);
        sum += g;
        inner += g * (load(x[base + j]) - mean) * scale;
    }
    sum = centred ? block_reduce<Sum>(sum) / columns : C(0);
    inner = block_reduce<Sum>(inner) / columns;
    FOR_COLUMNS(j, columns) {
        const C n = (load(x[base + j]) - mean) * scale;
        dx[base + j] = store<T>(scale * (load(ct[base + j]) * load(gamma[j]) - sum - n * inner));
    }
}

// The sums over the rows of a chunk of ct n, which is that of gamma, and of ct, which is that of beta: a thread a column,
// a chunk each blockIdx.y. reduce_columns adds the chunks up.
template <class T, bool centred>
__global__ void normalise_parameters(
    compute_t<T> *__restrict__ dgamma, compute_t<T> *__restrict__ dbeta, const T *__restrict__ ct, const T *__restrict__ x,
    const compute_t<T> *__restrict__ means, const compute_t<T> *__restrict__ scales, index_t rows, int columns, index_t chunk
) {
    using C = compute_t<T>;
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= columns) return;
    C gamma = 0, beta = 0;
    const index_t end = min(rows, (blockIdx.y + 1) * chunk);
    for (index_t i = blockIdx.y * chunk; i < end; ++i) {
        const C g = load(ct[i * columns + j]);
        gamma += g * (load(x[i * columns + j]) - (centred ? means[i] : C(0))) * scales[i];
        beta += g;
    }
    dgamma[blockIdx.y * index_t(columns) + j] = gamma;
    if constexpr (centred) dbeta[blockIdx.y * index_t(columns) + j] = beta;
}
