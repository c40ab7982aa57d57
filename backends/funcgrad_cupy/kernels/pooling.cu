// Pooling of (planes, height, width) by windows, and the ways back, which gather: no two threads write one element.
#include "prelude.cuh"

struct Window {
    int height, width;            // of the input
    int out_height, out_width;
    int rows, columns;            // of a window
    int row_stride, column_stride;
    int row_padding, column_padding;
};

// The largest element of each window and its place in the plane; the first one of equals, or the first NaN.
template <class T> __global__ void max_pool(T *__restrict__ y, int *__restrict__ places, const T *__restrict__ x, Window w, index_t count) {
    using C = compute_t<T>;
    FOR_ELEMENTS(i, count) {
        const int ox = int(i % w.out_width), oy = int(i / w.out_width % w.out_height);
        const T *plane = x + i / (index_t(w.out_width) * w.out_height) * w.height * w.width;
        C best = -C(INFINITY);
        int place = -1;
        for (int r = 0; r < w.rows; ++r)
            for (int c = 0; c < w.columns; ++c) {
                const int iy = oy * w.row_stride - w.row_padding + r, ix = ox * w.column_stride - w.column_padding + c;
                if (iy < 0 || iy >= w.height || ix < 0 || ix >= w.width) continue;
                const C value = load(plane[iy * w.width + ix]);
                if (place < 0 || value > best || (value != value && best == best)) best = value, place = iy * w.width + ix;
            }
        y[i] = store<T>(best), places[i] = place;
    }
}

// For each element of the input: the windows that it is in.
template <class T, bool largest>
__global__ void pool_transposed(T *__restrict__ dx, const T *__restrict__ ct, const int *__restrict__ places, Window w, index_t count) {
    using C = compute_t<T>;
    FOR_ELEMENTS(i, count) {
        const int ix = int(i % w.width), iy = int(i / w.width % w.height);
        const index_t plane = i / (index_t(w.width) * w.height) * w.out_height * w.out_width;
        C sum = 0;
        for (int r = (iy + w.row_padding) % w.row_stride; r < w.rows; r += w.row_stride) {
            const int oy = (iy + w.row_padding - r) / w.row_stride;
            if (iy + w.row_padding < r || oy >= w.out_height) continue;
            for (int c = (ix + w.column_padding) % w.column_stride; c < w.columns; c += w.column_stride) {
                const int ox = (ix + w.column_padding - c) / w.column_stride;
                if (ix + w.column_padding < c || ox >= w.out_width) continue;
                const index_t o = plane + index_t(oy) * w.out_width + ox;
                if (!largest || places[o] == iy * w.width + ix) sum += load(ct[o]);
            }
        }
        dx[i] = store<T>(largest ? sum : sum / C(w.rows * w.columns));
    }
}

// The mean of each window, padding counted as zeros.
template <class T> __global__ void mean_pool(T *__restrict__ y, const T *__restrict__ x, Window w, index_t count) {
    using C = compute_t<T>;
    FOR_ELEMENTS(i, count) {
        const int ox = int(i % w.out_width), oy = int(i / w.out_width % w.out_height);
        const T *plane = x + i / (index_t(w.out_width) * w.out_height) * w.height * w.width;
        C sum = 0;
        for (int r = 0; r < w.rows; ++r)
            for (int c = 0; c < w.columns; ++c) {
                const int iy = oy * w.row_stride - w.row_padding + r, ix = ox * w.column_stride - w.column_padding + c;
                if (iy >= 0 && iy < w.height && ix >= 0 && ix < w.width) sum += load(plane[iy * w.width + ix]);
            }
        y[i] = store<T>(sum / C(w.rows * w.columns));
    }
}
