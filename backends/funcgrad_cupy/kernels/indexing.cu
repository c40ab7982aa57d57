// Rows of a table by their numbers, and their transposes: embeddings, gather, scatter-add.
//
// An index out of range reads nothing and writes nothing; the first such position is noted in *wrong, which starts as
// the number of indices and which the caller must look at. Negative indices are the caller's to resolve.
#include "prelude.cuh"

// y[i, :] = table[indices[i], :]. One block an index.
template <class T>
__global__ void gather_rows(
    T *__restrict__ y, int *wrong, const T *__restrict__ table, const index_t *__restrict__ indices, index_t rows, int columns
) {
    const index_t row = indices[blockIdx.x];
    const bool valid = row >= 0 && row < rows;
    if (!valid && threadIdx.x == 0) atomicMin(wrong, int(blockIdx.x));
    FOR_COLUMNS(j, columns) y[blockIdx.x * index_t(columns) + j] = valid ? table[row * columns + j] : store<T>(compute_t<T>(0));
}

// starts[r] = the number of sorted indices below r, for r = 0 ... rows: where the segment of r starts.
template <class T> __global__ void segment_starts(T *starts, const T *__restrict__ sorted, T count, T rows) {
    FOR_ELEMENTS(r, rows + 1) {
        T low = 0, high = count;
        while (low < high) {
            const T middle = (low + high) / 2;
            if (sorted[middle] < r) low = middle + 1;
            else high = middle;
        }
        starts[r] = low;
    }
}

// y[r, :] = sum of x[order[k], :] over the segment of r, in the order of the segment: the same in every run. One block a
// row; order sorts the indices, stably.
template <class T>
__global__ void segment_sum(
    T *__restrict__ y, const T *__restrict__ x, const index_t *__restrict__ order, const index_t *__restrict__ starts, int columns
) {
    using C = compute_t<T>;
    const index_t begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    FOR_COLUMNS(j, columns) {
        C sum = 0;
        for (index_t k = begin; k < end; ++k) sum += load(x[order[k] * columns + j]);
        y[blockIdx.x * index_t(columns) + j] = store<T>(sum);
    }
}
