// C = A B, through tiles in shared memory: the kernel to learn from, and an oracle for faster ones.
#include "prelude.cuh"

// A (m, k), B (k, n), C (m, n); a batch of them each blockIdx.z. Blocks of (32, 8): a thread has four elements of C, which
// are eight rows apart, so that each element of B that is read from shared memory is used four times.
template <class T>
__global__ void matmul(T *__restrict__ c, const T *__restrict__ a, const T *__restrict__ b, int m, int n, int k) {
    using C = compute_t<T>;
    __shared__ C tile_a[32][33];
    __shared__ C tile_b[32][33];
    a += index_t(blockIdx.z) * m * k, b += index_t(blockIdx.z) * k * n, c += index_t(blockIdx.z) * m * n;
    const int column = 32 * blockIdx.x + threadIdx.x, row0 = 32 * blockIdx.y;
    C sum[4] = {0, 0, 0, 0};
    for (int start = 0; start < k; start += 32) {
        const int inner = start + threadIdx.x;
        for (int r = threadIdx.y; r < 32; r += 8) {
            const int row = row0 + r, deep = start + r;
            tile_a[r][threadIdx.x] = row < m && inner < k ? C(load(a[index_t(row) * k + inner])) : C(0);
            tile_b[r][threadIdx.x] = deep < k && column < n ? C(load(b[index_t(deep) * n + column])) : C(0);
        }
        __syncthreads();
        for (int i = 0; i < 32; ++i) {
            const C right = tile_b[i][threadIdx.x];
#pragma unroll
            for (int s = 0; s < 4; ++s) sum[s] += tile_a[threadIdx.y + 8 * s][i] * right;
        }
        __syncthreads();
    }
#pragma unroll
    for (int s = 0; s < 4; ++s) {
        const int row = row0 + threadIdx.y + 8 * s;
        if (row < m && column < n) c[index_t(row) * n + column] = store<T>(sum[s]);
    }
}
