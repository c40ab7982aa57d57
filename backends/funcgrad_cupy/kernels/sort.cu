// Sorting of short rows in shared memory: K. Batcher's bitonic network (1968), stable because equal elements are compared
// by their places. blockDim.y rows a block, and blockDim.x threads a row.
#include "prelude.cuh"

// An unsigned number in whose order the elements stand: NaN behind all others, 0 and -0 the same.
template <class U> __device__ __forceinline__ U sign_bit() { return U(U(1) << (8 * sizeof(U) - 1)); }
template <class T, class U> struct Rank {
    static __device__ U of(T x) { return T(-1) < T(0) ? U(U(x) ^ sign_bit<U>()) : U(x); }
};
template <class C, class U> __device__ __forceinline__ U rank_of_float(C x, U bits) {
    if (x != x) return U(~U(0));
    if (x == C(0)) return sign_bit<U>();
    return bits & sign_bit<U>() ? U(~bits) : U(bits | sign_bit<U>());
}
template <class U> struct Rank<float, U> {
    static __device__ U of(float x) { return rank_of_float<float, U>(x, __float_as_uint(x)); }
};
template <class U> struct Rank<double, U> {
    static __device__ U of(double x) { return rank_of_float<double, U>(x, U(__double_as_longlong(x))); }
};
template <class U> struct Rank<__half, U> {
    static __device__ U of(__half x) { return rank_of_float<float, U>(load(x), __half_as_ushort(x)); }
};
template <class U> struct Rank<__nv_bfloat16, U> {
    static __device__ U of(__nv_bfloat16 x) { return rank_of_float<float, U>(load(x), __bfloat16_as_ushort(x)); }
};

// The sorted rows in y, the places that they come from in order; either may be null. width: a power of two, not below
// columns. What a row lacks are the largest numbers, whose places are behind those of all elements.
template <class T, class U>
__global__ void sort_rows(T *y, index_t *order, const T *__restrict__ x, index_t rows, int columns, int width) {
    extern __shared__ __align__(16) unsigned char memory[];
    U *ranks = reinterpret_cast<U *>(memory) + threadIdx.y * width;
    unsigned short *places = reinterpret_cast<unsigned short *>(memory + blockDim.y * width * sizeof(U)) + threadIdx.y * width;
    const index_t row = index_t(blockIdx.x) * blockDim.y + threadIdx.y, base = row * columns;
    const int count = row < rows ? columns : 0;
    for (int j = threadIdx.x; j < width; j += blockDim.x) {
        ranks[j] = j < count ? Rank<T, U>::of(x[base + j]) : U(~U(0));
        places[j] = j;
    }
    for (int run = 2; run <= width; run <<= 1)
        for (int distance = run >> 1; distance; distance >>= 1) {
            __syncthreads();
            for (int i = threadIdx.x; i < width / 2; i += blockDim.x) {
                const int low = 2 * i - (i & (distance - 1)), high = low + distance;
                const U a = ranks[low], b = ranks[high];
                const unsigned short p = places[low], q = places[high];
                const bool behind = a > b || (a == b && p > q), ascending = !(low & run);
                if (behind == ascending) ranks[low] = b, ranks[high] = a, places[low] = q, places[high] = p;
            }
        }
    __syncthreads();
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        if (y) y[base + j] = x[base + places[j]];
        if (order) order[base + j] = places[j];
    }
}
