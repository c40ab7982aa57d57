// Conversions, and copies between arrays of any strides: compact, broadcast, setitem, slices.
#include "faults.cuh"

template <class From, class To> __global__ void cast(To *__restrict__ y, const From *__restrict__ x, index_t count) {
    FOR_ELEMENTS(i, count) y[i] = store<To>(load(x[i]));
}

// 16 bytes at a time. Both pointers must be multiples of 16 bytes; the rest is copied one by one.
template <class T> __global__ void copy(T *__restrict__ y, const T *__restrict__ x, index_t count) {
    const index_t whole = count / Vector<T>::size;
    FOR_ELEMENTS(i, whole) reinterpret_cast<Vector<T> *>(y)[i] = reinterpret_cast<const Vector<T> *>(x)[i];
    const index_t rest = whole * Vector<T>::size + threadIdx.x;
    if (blockIdx.x == 0 && rest < count) y[rest] = x[rest];
}

template <class T> __global__ void fill(T *y, T value, index_t count) {
    FOR_ELEMENTS(i, count) y[i] = value;
}

// Strides are in elements, may be negative or 0, and count from the element that the pointers point to.
struct Layout {
    index_t shape[8], to[8], from[8];
    index_t rank;
};

template <class T> __device__ void copy_at(T *y, const T *x, const Layout &layout, index_t i) {
    index_t to = 0, from = 0;
    for (int axis = int(layout.rank) - 1; axis >= 0; --axis) {
        const index_t k = i % layout.shape[axis];
        i /= layout.shape[axis];
        to += k * layout.to[axis];
        from += k * layout.from[axis];
    }
    y[to] = x[from];
}

template <class T> __global__ void strided_copy(T *y, const T *x, Layout layout, index_t count) {
    FOR_ELEMENTS(i, count) copy_at(y, x, layout, i);
}

// Where a window of an array begins, an address for each axis; it may begin at 0 to most.
struct Window {
    const index_t *at[8];
    index_t most[8], strides[8];
    index_t rank;
};

// As strided_copy, from or into a window, the layout's strides counting from where it begins. A window that does not fit is
// noted: nothing is written into it, and what is read has all bits set.
template <class T, bool into>
__global__ void copy_window(T *y, const T *x, Layout layout, Window window, Faults faults, index_t count) {
    index_t start = 0;
    bool fits = true;
    for (int axis = 0; axis < int(window.rank); ++axis) {
        const index_t k = *window.at[axis];
        const bool wrong = k < 0 || k > window.most[axis];
        if (wrong && fits && blockIdx.x == 0 && threadIdx.x == 0) note(faults, axis, k);
        fits = fits && !wrong;
        start += k * window.strides[axis];
    }
    FOR_ELEMENTS(i, count) {
        if (fits) copy_at(into ? y + start : y, into ? x : x + start, layout, i);
        else if (!into) y[i] = T(~T(0));
    }
}

// y[b, j, i] = x[b, i, j], through tiles whose rows are one element longer than the number of banks. Blocks of (32, 8).
template <class T> __global__ void transpose(T *__restrict__ y, const T *__restrict__ x, int rows, int columns) {
    __shared__ T tile[32][33];
    const index_t base = index_t(blockIdx.z) * rows * columns;
    const int row0 = 32 * blockIdx.y, column0 = 32 * blockIdx.x;
    for (int r = threadIdx.y; r < 32; r += 8)
        if (row0 + r < rows && column0 + int(threadIdx.x) < columns)
            tile[r][threadIdx.x] = x[base + index_t(row0 + r) * columns + column0 + threadIdx.x];
    __syncthreads();
    for (int c = threadIdx.y; c < 32; c += 8)
        if (column0 + c < columns && row0 + int(threadIdx.x) < rows)
            y[base + index_t(column0 + c) * rows + row0 + threadIdx.x] = tile[threadIdx.x][c];
}
