// Reading and writing at computed places: gather, and scatter that is the same in every run.
#include "prelude.cuh"

// Index arrays of one shape, one for each of the leading axes of a table.
struct Indices {
    const index_t *at[8];
    index_t sizes[8];
    index_t rank;
};

// y[i] = the row of the table that the indices name; -1 where one is out of range. Negative ones count from the end.
template <class T> __global__ void flat_places(T *__restrict__ y, Indices indices, index_t count) {
    FOR_ELEMENTS(i, count) {
        T place = 0;
        bool valid = true;
        for (int axis = 0; axis < int(indices.rank); ++axis) {
            T k = indices.at[axis][i];
            const T size = indices.sizes[axis];
            if (k < 0) k += size;
            valid = valid && k >= 0 && k < size;
            place = valid ? place * size + k : -1;
        }
        y[i] = place;
    }
}

// y[i, j] = table[places[i], j]. Places are in range.
template <class T>
__global__ void gather_elements(
    T *__restrict__ y, const T *__restrict__ table, const index_t *__restrict__ places, index_t columns, index_t count
) {
    FOR_ELEMENTS(e, count) y[e] = table[places[e / columns] * columns + e % columns];
}

struct Last {
    template <class C> static __device__ C apply(C, C b) { return b; }
};

// y[row, j] = y[row, j] op x[order[k], j] op ..., for the segment of k with ordered[k] == row: one thread a segment and
// column, in the order of the updates. order sorts the rows, stably.
template <class T, class Op>
__global__ void scatter_segments(
    T *__restrict__ y, const T *__restrict__ x, const index_t *__restrict__ ordered, const index_t *__restrict__ order,
    index_t columns, index_t segments, index_t count
) {
    FOR_ELEMENTS(e, count) {
        const index_t first = e / columns, j = e % columns, row = ordered[first];
        if (first && ordered[first - 1] == row) continue;
        auto value = load(y[row * columns + j]);
        for (index_t k = first; k < segments && ordered[k] == row; ++k) value = Op::apply(value, load(x[order[k] * columns + j]));
        y[row * columns + j] = store<T>(value);
    }
}
