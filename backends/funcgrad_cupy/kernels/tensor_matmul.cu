// C = A B by tensor cores, for half-precision numbers: a block of four warps has a tile of 64 x 64 of C, a warp 32 x 32 of it.
#include "mma.cuh"

// Rows of 40 elements are 20 words: eight rows of a fragment, four lanes each, meet no bank twice.
template <class T> __global__ void tensor_matmul(T *__restrict__ c, const T *__restrict__ a, const T *__restrict__ b, int m, int n, int k) {
    __shared__ alignas(16) T tile_a[64][40];
    __shared__ alignas(16) T tile_b[64][40];  // transposed: a row is a column of B
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = lane >> 2, member = lane & 3;
    const int row0 = 64 * blockIdx.y, column0 = 64 * blockIdx.x;
    const int warp_row = 32 * (warp >> 1), warp_column = 32 * (warp & 1);
    const T zero = store<T>(0.0f);
    float d[2][4][4] = {};
    for (int start = 0; start < k; start += 32) {
        for (int i = threadIdx.x; i < 64 * 32; i += blockDim.x) {
            const int r = i >> 5, inner = start + (i & 31);
            tile_a[r][i & 31] = row0 + r < m && inner < k ? a[index_t(row0 + r) * k + inner] : zero;
            const int deep = start + (i >> 6), column = column0 + (i & 63);
            tile_b[i & 63][i >> 6] = deep < k && column < n ? b[index_t(deep) * n + column] : zero;
        }
        __syncthreads();
#pragma unroll
        for (int step = 0; step < 32; step += 16) {
            unsigned left[2][4], right[4][2];
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    left[s][i] = *reinterpret_cast<const unsigned *>(
                        &tile_a[warp_row + 16 * s + group + 8 * (i & 1)][step + 2 * member + 8 * (i >> 1)]);
#pragma unroll
            for (int t = 0; t < 4; ++t)
#pragma unroll
                for (int i = 0; i < 2; ++i)
                    right[t][i] = *reinterpret_cast<const unsigned *>(&tile_b[warp_column + 8 * t + group][step + 2 * member + 8 * i]);
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
                for (int t = 0; t < 4; ++t) mma_16x8x16<T>(d[s][t], left[s], right[t]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int t = 0; t < 4; ++t)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = row0 + warp_row + 16 * s + group + 8 * (i >> 1);
                const int column = column0 + warp_column + 8 * t + 2 * member + (i & 1);
                if (row < m && column < n) c[index_t(row) * n + column] = store<T>(d[s][t][i]);
            }
}
