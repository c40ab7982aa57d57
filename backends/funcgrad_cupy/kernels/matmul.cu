// C = A B, through tiles in shared memory: the kernel to learn from, and an oracle for faster ones.
#include "prelude.cuh"

// A (m, k), B (k, n), C (m, n); a batch of them each blockIdx.z. Blocks of (32, 8): a thread has four elements of C, which
// are eight rows apart, so that each element of B that is read from shared memory is used four times. A transposed operand
// is stored as (k, m) or (n, k); neighbouring threads read neighbours in memory of either kind.
template <class T, bool a_transposed, bool b_transposed>
__global__ void matmul(T *__restrict__ c, const T *__restrict__ a, const T *__restrict__ b, int m, int n, int k) {
    using C = compute_t<T>;
    __shared__ C tile_a[32][33];
    __shared__ C tile_b[32][33];
    a += index_t(blockIdx.z) * m * k, b += index_t(blockIdx.z) * k * n, c += index_t(blockIdx.z) * m * n;
    const int column0 = 32 * blockIdx.x, column = column0 + threadIdx.x, row0 = 32 * blockIdx.y;
    C sum[4] = {0, 0, 0, 0};
    for (int start = 0; start < k; start += 32) {
        const int x = threadIdx.x;
        for (int r = threadIdx.y; r < 32; r += 8) {
            const int row = row0 + (a_transposed ? x : r), inner = start + (a_transposed ? r : x);
            const index_t from = a_transposed ? index_t(inner) * m + row : index_t(row) * k + inner;
            (a_transposed ? tile_a[x][r] : tile_a[r][x]) = row < m && inner < k ? C(load(a[from])) : C(0);
            const int deep = start + (b_transposed ? x : r), right = column0 + (b_transposed ? r : x);
            const index_t at = b_transposed ? index_t(right) * k + deep : index_t(deep) * n + right;
            (b_transposed ? tile_b[x][r] : tile_b[r][x]) = deep < k && right < n ? C(load(b[at])) : C(0);
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
