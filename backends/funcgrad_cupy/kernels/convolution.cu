// Convolution as a product of matrices that are never stored: Y (rows, features) = X (rows, depth) W^T (depth, features).
//
// A row is an element of the batch and a place of the result, a step of the depth a channel and a tap of the filter; what is
// read for both is found in x (N, groups C, H, W) when it is read. Gradients of convolutions are convolutions, of the input
// with an input dilation, of the filter with filters as large as an image: this is the kernel of all three.
//
// An input dilation leaves no zeros to multiply: places of the result that are apart by `place_step` meet the same taps, those
// that are apart by `tap_step`, so a dilated convolution is several that are not, one for each place to start from: its phases.
#include "mma.cuh"

struct Axis { int size, taps, places, stride, dilation, low, spread, place_step, tap_step; };
struct Convolution {
    int count, groups, channels, features;  // of the batch; of x; of a group of x, and of y
    Axis axis[2];
    int row_tiles, splits;  // of the largest phase; parts of the depth, each summed by another block
};

// One phase along one axis: place first_place + place_step j meets, with tap first_tap + tap_step i, x[origin + stride j + dilation i].
struct Phase { int first_place, places, first_tap, taps, origin, stride, dilation; };

__device__ __forceinline__ Phase phase_of(const Axis &axis, int place) {
    int tap = 0, at = place * axis.stride - axis.low;
    while (tap < axis.tap_step && at % axis.spread) ++tap, at += axis.dilation;
    const bool meets = tap < axis.tap_step && tap < axis.taps;
    return {place,
            place < axis.places ? (axis.places - place - 1) / axis.place_step + 1 : 0,
            tap,
            meets ? (axis.taps - tap - 1) / axis.tap_step + 1 : 0,
            at / axis.spread,
            axis.place_step * axis.stride / axis.spread,
            axis.tap_step * axis.dilation / axis.spread};
}

// Where x is read: the sum of one of a row and one of a step of the depth. Padding, and what is behind the last row or step,
// is outside of the image.
struct Place { index_t offset; int y, x; };
constexpr int outside = -(1 << 30);

constexpr int threads = 128, side = 64, words = 16;  // a block has a tile of 64 x 64 of Y; a row of a tile of X or W has 16 words

// A tile of 64 rows: word `word` of a row is at the place at(row, word), so that neither the threads that write it nor those
// that read it meet a bank of shared memory twice.
template <class T> struct Tiling {
    using Word = T;
    static constexpr int elements = 1, width = side + 2, size = words * width;
    static __device__ __forceinline__ int at(int row, int word) { return word * width + row; }
    static __device__ __forceinline__ Word word_of(const T (&item)[1]) { return item[0]; }
};
struct TileOfFragments {
    using Word = unsigned;
    static constexpr int size = words * side;
    static __device__ __forceinline__ int at(int row, int word) { return row * words + (word ^ ((row >> 1 & 3) << 2 | (row >> 3 & 3))); }
};
template <class T> struct TileOfPairs : TileOfFragments {
    static constexpr int elements = 2;
    static __device__ __forceinline__ unsigned word_of(const T (&item)[2]) { return packed(item[0], item[1]); }
};
template <> struct Tiling<__half> : TileOfPairs<__half> {};
template <> struct Tiling<__nv_bfloat16> : TileOfPairs<__nv_bfloat16> {};
struct Tf32 {};  // float, rounded before it is multiplied
template <> struct Tiling<Tf32> : TileOfFragments {
    static constexpr int elements = 1;
    static __device__ __forceinline__ unsigned word_of(const float (&item)[1]) { return rounded_to_tf32(item[0]); }
};

// What a thread has of the tile of Y: elements 16 rows apart of 8 columns.
template <class T> struct Sums {
    T sum[4][8] = {};

    __device__ __forceinline__ void add(const T *left, const T *right) {
        const int row = threadIdx.x & 15, column = threadIdx.x >> 4 << 3;
#pragma unroll
        for (int word = 0; word < words; ++word) {
            T a[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = left[Tiling<T>::at(row + 16 * i, word)];
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                const Pair<T> b = *reinterpret_cast<const Pair<T> *>(&right[Tiling<T>::at(column + j, word)]);
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[i][j] += a[i] * b.first, sum[i][j + 1] += a[i] * b.second;
            }
        }
    }

    template <class F> __device__ __forceinline__ void each(F visit) const {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) visit((threadIdx.x & 15) + 16 * i, (threadIdx.x >> 4 << 3) + j, sum[i][j]);
    }
};

// The same by tensor cores: a warp has 32 x 32 of the tile.
template <class T> struct TensorSums {
    float sum[2][4][4] = {};

    static __device__ __forceinline__ int row() { return (threadIdx.x >> 6 << 5) + ((threadIdx.x & 31) >> 2); }
    static __device__ __forceinline__ int column() { return threadIdx.x >> 5 & 1 ? 32 : 0; }

    __device__ __forceinline__ void add(const unsigned *left, const unsigned *right) {
        const int group = (threadIdx.x & 31) >> 2, member = threadIdx.x & 3;
#pragma unroll
        for (int word = member; word < words; word += 8) {
            unsigned a[2][4], b[4][2];
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
                for (int i = 0; i < 4; ++i) a[s][i] = left[Tiling<T>::at(row() + 16 * s + 8 * (i & 1), word + 4 * (i >> 1))];
#pragma unroll
            for (int t = 0; t < 4; ++t)
#pragma unroll
                for (int i = 0; i < 2; ++i) b[t][i] = right[Tiling<T>::at(column() + 8 * t + group, word + 4 * i)];
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
                for (int t = 0; t < 4; ++t)
                    if constexpr (Tiling<T>::elements == 1) mma_16x8x8_tf32(sum[s][t], a[s], b[t]);
                    else mma_16x8x16<T>(sum[s][t], a[s], b[t]);
        }
    }

    template <class F> __device__ __forceinline__ void each(F visit) const {
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
            for (int t = 0; t < 4; ++t)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    visit(row() + 16 * s + 8 * (i >> 1), column() + 8 * t + 2 * (threadIdx.x & 3) + (i & 1), sum[s][t][i]);
    }
};
template <> struct Sums<__half> : TensorSums<__half> {};
template <> struct Sums<__nv_bfloat16> : TensorSums<__nv_bfloat16> {};
template <> struct Sums<Tf32> : TensorSums<Tf32> {};

// Where `parts` is given, each part of the depth has an array like y there, to be added up by sum_parts. `deep`: neighbouring
// threads read neighbouring steps of the depth in x, and not neighbouring rows. `Factor`: what is multiplied.
template <class T, bool deep, class Factor = T>
__global__ void __launch_bounds__(threads, 2) convolution(
    T *__restrict__ y, compute_t<T> *__restrict__ parts, const T *__restrict__ x, const T *__restrict__ w, Convolution shape
) {
    using Tile = Tiling<Factor>;
    using Word = typename Tile::Word;
    constexpr int step = words * Tile::elements;
    __shared__ alignas(16) Word tile_x[Tile::size];
    __shared__ alignas(16) Word tile_w[Tile::size];
    __shared__ Place row_places[side];
    __shared__ index_t results[side];  // where in y, or -1
    __shared__ Place step_places[step];
    __shared__ index_t weights[step];  // where in a filter, or -1
    const Axis &down = shape.axis[0], &across = shape.axis[1];

    unsigned tile = blockIdx.x;
    const unsigned column_tiles = (shape.features + side - 1) / side;
    const int column0 = side * (tile % column_tiles);
    const index_t row0 = side * index_t((tile /= column_tiles) % shape.row_tiles);
    const int group = (tile /= shape.row_tiles) % shape.groups, split = blockIdx.y;
    tile /= shape.groups;
    const Phase v = phase_of(down, tile / across.place_step), h = phase_of(across, tile % across.place_step);
    const index_t rows = index_t(shape.count) * v.places * h.places, depth = index_t(shape.channels) * v.taps * h.taps;
    if (row0 >= rows) return;

    const index_t image = index_t(down.places) * across.places, filter = index_t(shape.channels) * down.taps * across.taps;
    w += (index_t(group) * shape.features + column0) * filter;
    if (threadIdx.x < side) {
        const index_t row = row0 + threadIdx.x, line = row / h.places, set = line / v.places * shape.groups + group;
        const int up = line % v.places, left = row % h.places, at_y = v.origin + up * v.stride, at_x = h.origin + left * h.stride;
        row_places[threadIdx.x] = {(set * shape.channels * down.size + at_y) * across.size + at_x, row < rows ? at_y : outside, at_x};
        const int to_y = v.first_place + up * down.place_step, to_x = h.first_place + left * across.place_step;
        results[threadIdx.x] = row < rows ? set * shape.features * image + index_t(to_y) * across.places + to_x : -1;
    }

    // This thread's step of the depth, in digits, and how they advance.
    const index_t steps = (depth + step - 1) / step, share = (steps + shape.splits - 1) / shape.splits;
    const index_t first = split * share, last = min(first + share, steps);
    const int across_taps = max(h.taps, 1), down_taps = max(v.taps, 1);
    const index_t from = first * step + threadIdx.x;
    int tap_x = from % across_taps, tap_y = from / across_taps % down_taps;
    index_t channel = from / across_taps / down_taps;
    const auto next_steps = [&] {
        if (threadIdx.x >= step) return;
        const bool inside = channel < shape.channels && depth;
        const int at_y = tap_y * v.dilation, at_x = tap_x * h.dilation;
        step_places[threadIdx.x] = {(channel * down.size + at_y) * across.size + at_x, inside ? at_y : outside, at_x};
        const int from_y = v.first_tap + tap_y * down.tap_step, from_x = h.first_tap + tap_x * across.tap_step;
        weights[threadIdx.x] = inside ? (channel * down.taps + from_y) * across.taps + from_x : -1;
        tap_x += step % across_taps, tap_y += step / across_taps % down_taps, channel += step / across_taps / down_taps;
        if (tap_x >= across_taps) tap_x -= across_taps, ++tap_y;
        if (tap_y >= down_taps) tap_y -= down_taps, ++channel;
    };

    // The steps of a word are `words` apart, so that neighbouring threads read neighbouring ones. Of what a thread reads, either
    // its row or its steps are the same for all j.
    const auto row_of = [](int j) { return int(deep ? threadIdx.x / words + 8 * j : threadIdx.x % side); };
    const auto word_of = [](int j) { return int(deep ? threadIdx.x % words : threadIdx.x / side + 2 * j); };
    const int column = threadIdx.x / words, weight = threadIdx.x % words;
    Word next_x[side / 8], next_w[side / 8];
    const auto fetch = [&] {
        Place of_row, of_step[Tile::elements];
        index_t of_weight[Tile::elements];
        const T *from_w = w + column * filter;
#pragma unroll
        for (int j = 0; j < side / 8; ++j, from_w += 8 * filter) {
            if (deep || j == 0) of_row = row_places[row_of(j)];
            T found_x[Tile::elements], found_w[Tile::elements];
#pragma unroll
            for (int e = 0; e < Tile::elements; ++e) {
                if (!deep || j == 0) of_step[e] = step_places[word_of(j) + words * e];
                const bool inside = unsigned(of_row.y + of_step[e].y) < unsigned(down.size) &&
                                    unsigned(of_row.x + of_step[e].x) < unsigned(across.size);
                found_x[e] = inside ? x[of_row.offset + of_step[e].offset] : store<T>(0.0f);
                if (j == 0) of_weight[e] = weights[weight + words * e];
                found_w[e] = of_weight[e] >= 0 && column0 + column + 8 * j < shape.features ? from_w[of_weight[e]] : store<T>(0.0f);
            }
            next_x[j] = Tile::word_of(found_x), next_w[j] = Tile::word_of(found_w);
        }
    };

    // While a step is multiplied, the next one is on its way from memory.
    Sums<Factor> sums;
    next_steps();
    __syncthreads();
    if (first < last) fetch();
    for (index_t s = first; s < last; ++s) {
        __syncthreads();
#pragma unroll
        for (int j = 0; j < side / 8; ++j) {
            tile_x[Tile::at(row_of(j), word_of(j))] = next_x[j];
            tile_w[Tile::at(column + 8 * j, weight)] = next_w[j];
        }
        next_steps();
        __syncthreads();
        if (s + 1 < last) fetch();
        sums.add(tile_x, tile_w);
    }
    if (parts) parts += split * (index_t(shape.count) * shape.groups * shape.features * image);
    sums.each([&](int row, int column, compute_t<T> value) {
        if (results[row] < 0 || column0 + column >= shape.features) return;
        const index_t at = results[row] + (column0 + column) * image;
        if (parts) parts[at] = value;
        else y[at] = store<T>(value);
    });
}

// The same for groups of so few features that a tile of them would be mostly empty, as in depthwise convolutions: a thread
// has an element of y, or a warp, where `deep`. Parts share out the channels.
template <class T, bool deep>
__global__ void convolution_direct(
    T *__restrict__ y, compute_t<T> *__restrict__ parts, const T *__restrict__ x, const T *__restrict__ w, Convolution shape
) {
    constexpr int lanes = deep ? 32 : 1;
    const Axis &down = shape.axis[0], &across = shape.axis[1];
    const index_t size = index_t(shape.count) * shape.groups * shape.features * down.places * across.places;
    const index_t at = (index_t(blockIdx.x) * blockDim.x + threadIdx.x) / lanes;
    if (at >= size) return;
    const index_t line = at / across.places, plane = line / down.places, set = plane / shape.features;
    const Phase v = phase_of(down, line % down.places), h = phase_of(across, at % across.places);
    const index_t image = index_t(down.size) * across.size, filter = index_t(down.taps) * across.taps;
    x += set * shape.channels * image;
    w += (set % shape.groups * shape.features + plane % shape.features) * shape.channels * filter;
    compute_t<T> sum = 0;
    for (int channel = blockIdx.y; h.taps && channel < shape.channels; channel += shape.splits)
        for (int tap_x = threadIdx.x % lanes, tap_y = 0;; tap_x += lanes) {
            while (tap_x >= h.taps) tap_x -= h.taps, ++tap_y;
            if (tap_y >= v.taps) break;
            const int at_y = v.origin + tap_y * v.dilation, at_x = h.origin + tap_x * h.dilation;
            if (unsigned(at_y) >= unsigned(down.size) || unsigned(at_x) >= unsigned(across.size)) continue;
            const int from_y = v.first_tap + tap_y * down.tap_step, from_x = h.first_tap + tap_x * across.tap_step;
            sum += load(x[channel * image + index_t(at_y) * across.size + at_x]) *
                   load(w[channel * filter + index_t(from_y) * across.taps + from_x]);
        }
    if (deep) sum = warp_reduce<Sum>(sum);
    if (threadIdx.x % lanes) return;
    if (parts) parts[blockIdx.y * size + at] = sum;
    else y[at] = store<T>(sum);
}

// y = the sum of `count` arrays like it, one behind the other.
template <class T> __global__ void sum_parts(T *__restrict__ y, const compute_t<T> *__restrict__ parts, int count, index_t size) {
    FOR_ELEMENTS(i, size) {
        compute_t<T> sum = 0;
        for (int part = 0; part < count; ++part) sum += parts[part * size + i];
        y[i] = store<T>(sum);
    }
}
