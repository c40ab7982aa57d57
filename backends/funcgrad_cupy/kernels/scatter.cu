// Reading and writing at computed places: gather, and scatter that is the same in every run.
#include "faults.cuh"

// Index arrays of one shape, one for each of the leading axes of a table.
struct Indices {
    const index_t *at[8];
    index_t sizes[8];
    index_t rank;
};

// y[i] = the row of the table that the indices name; -1 where one is out of range. Negative ones count from the end.
template <class T> __global__ void flat_places(T *__restrict__ y, Indices indices, Faults faults, index_t count) {
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
        if (!valid) atomicMin(faults.first, i);
    }
}

// Notes the index that flat_places, an earlier launch, has found to be wrong.
__device__ inline void note_wrong_index(const Faults &faults, const Indices &indices) {
    if (blockIdx.x || threadIdx.x || *faults.first == NO_FAULT || faults.record[0]) return;
    for (int axis = 0; axis < int(indices.rank); ++axis) {
        const index_t k = indices.at[axis][*faults.first], size = indices.sizes[axis];
        if (k < -size || k >= size) return note(faults, axis, k);
    }
}

// y[i, j] = table[places[i], j]; all bits set, which is NaN in floating point, where there is no such place.
template <class T>
__global__ void gather_elements(
    T *__restrict__ y, const T *__restrict__ table, const index_t *__restrict__ places, index_t columns, Indices indices,
    Faults faults, index_t count
) {
    note_wrong_index(faults, indices);
    FOR_ELEMENTS(e, count) {
        const index_t place = places[e / columns];
        y[e] = place < 0 ? T(~T(0)) : table[place * columns + e % columns];
    }
}

// y[i] = x[order[i]].
template <class T>
__global__ void in_order(T *__restrict__ y, const T *__restrict__ x, const index_t *__restrict__ order, index_t count) {
    FOR_ELEMENTS(i, count) y[i] = x[order[i]];
}

// The order within rows of ``width`` becomes that of the whole, and the keys in it.
template <class T>
__global__ void begin_runs(
    T *__restrict__ sorted, T *__restrict__ order, const T *__restrict__ keys, const T *__restrict__ within, index_t width,
    index_t count
) {
    FOR_ELEMENTS(i, count) {
        const T from = i / width * width + within[i];
        order[i] = from;
        sorted[i] = keys[from];
    }
}

// Sorted runs of ``width`` are merged by twos, stably: behind an element lie those of its own run, and of the other one
// those that are less, or equal and to its left.
template <class T>
__global__ void merge_runs(
    T *__restrict__ sorted, T *__restrict__ order, const T *__restrict__ keys, const T *__restrict__ places, index_t width,
    index_t count
) {
    FOR_ELEMENTS(i, count) {
        const index_t run = i / width, start = run / 2 * 2 * width;
        const bool is_right = run % 2;
        const T key = keys[i];
        const index_t other = is_right ? start : start + width, end = other + width < count ? other + width : count;
        index_t low = other, high = end < other ? other : end;
        while (low < high) {
            const index_t middle = (low + high) / 2;
            if (is_right ? keys[middle] <= key : keys[middle] < key) low = middle + 1;
            else high = middle;
        }
        const index_t to = start + i % width + low - other;
        sorted[to] = key;
        order[to] = places[i];
    }
}

struct Last {
    template <class C> static __device__ C apply(C, C b) { return b; }
};

// y[row, j] = y[row, j] op x[order[k], j] op ..., for the segment of k with ordered[k] == row: one thread a segment and
// column, in the order of the updates. order sorts the rows, stably. Updates of a place that is not there are left out.
template <class T, class Op>
__global__ void scatter_segments(
    T *__restrict__ y, const T *__restrict__ x, const index_t *__restrict__ ordered, const index_t *__restrict__ order,
    index_t columns, index_t segments, Indices indices, Faults faults, index_t count
) {
    note_wrong_index(faults, indices);
    FOR_ELEMENTS(e, count) {
        const index_t first = e / columns, j = e % columns, row = ordered[first];
        if (row < 0 || (first && ordered[first - 1] == row)) continue;
        auto value = load(y[row * columns + j]);
        for (index_t k = first; k < segments && ordered[k] == row; ++k) value = Op::apply(value, load(x[order[k] * columns + j]));
        y[row * columns + j] = store<T>(value);
    }
}
