// Optimizer steps for a list of tensors in one launch: blocks take chunks, a table says of which tensor each is.
#include "prelude.cuh"

constexpr index_t chunk_size = 4096;

// tensors: four pointers each (parameters, gradients, first and second moments); starts: the first chunk of each tensor,
// and behind the last the number of chunks.
template <class T> struct Part {
    T *parameter;
    const T *gradient;
    compute_t<T> *first, *second;
    index_t begin, end;
};

template <class T>
__device__ __forceinline__ Part<T> part_of(const unsigned long long *tensors, const index_t *sizes, const index_t *starts, int count) {
    int low = 0, high = count;  // starts[low] <= blockIdx.x < starts[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (starts[middle] <= index_t(blockIdx.x)) low = middle;
        else high = middle;
    }
    const unsigned long long *t = tensors + 4 * low;
    const index_t begin = (blockIdx.x - starts[low]) * chunk_size;
    return {reinterpret_cast<T *>(t[0]), reinterpret_cast<const T *>(t[1]), reinterpret_cast<compute_t<T> *>(t[2]),
            reinterpret_cast<compute_t<T> *>(t[3]), begin, min(sizes[low], begin + chunk_size)};
}

// D. Kingma, J. Ba 2015, algorithm 1, with decoupled weight decay (I. Loshchilov, F. Hutter 2019, algorithm 2).
// correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
template <class T>
__global__ void adam(
    const unsigned long long *tensors, const index_t *sizes, const index_t *starts, int count, compute_t<T> rate,
    compute_t<T> beta1, compute_t<T> beta2, compute_t<T> epsilon, compute_t<T> decay, compute_t<T> correction1,
    compute_t<T> correction2
) {
    using C = compute_t<T>;
    const Part<T> part = part_of<T>(tensors, sizes, starts, count);
    for (index_t i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
        const C g = load(part.gradient[i]), p = load(part.parameter[i]);
        const C m = beta1 * part.first[i] + (1 - beta1) * g, v = beta2 * part.second[i] + (1 - beta2) * g * g;
        part.first[i] = m, part.second[i] = v;
        part.parameter[i] = store<T>(p - rate * (m / correction1 / (sqrt_of(v / correction2) + epsilon) + decay * p));
    }
}

// v <- momentum v + g; p <- p - rate v, or with Nesterov's look-ahead p - rate (g + momentum v).
template <class T, bool nesterov>
__global__ void sgd(
    const unsigned long long *tensors, const index_t *sizes, const index_t *starts, int count, compute_t<T> rate,
    compute_t<T> momentum
) {
    using C = compute_t<T>;
    const Part<T> part = part_of<T>(tensors, sizes, starts, count);
    for (index_t i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
        const C g = load(part.gradient[i]), v = momentum * part.first[i] + g;
        part.first[i] = v;
        part.parameter[i] = store<T>(load(part.parameter[i]) - rate * (nesterov ? g + momentum * v : v));
    }
}
