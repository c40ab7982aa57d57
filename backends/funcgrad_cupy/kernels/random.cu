// Random bits by Threefry-2x32 (J. Salmon et al., SC 2011), the ones of funcgrad.random: element i is the encrypted
// counter (0, i) under the key, whose words are xored for 32 bits and put side by side for 64.
#include "prelude.cuh"

__device__ __forceinline__ unsigned rotate(unsigned x, int distance) { return x << distance | x >> (32 - distance); }

__device__ __forceinline__ uint2 threefry(uint2 key, unsigned x, unsigned y) {
    const unsigned words[3] = {key.x, key.y, key.x ^ key.y ^ 0x1BD11BDAu};
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    x += words[0], y += words[1];
#pragma unroll
    for (int group = 0; group < 5; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            x += y;
            y = rotate(y, rotations[group % 2][i]) ^ x;
        }
        x += words[(group + 1) % 3];
        y += words[(group + 2) % 3] + group + 1;
    }
    return {x, y};
}

template <class Word> __device__ __forceinline__ Word random_word(const unsigned *key, index_t i) {
    const uint2 pair = threefry({key[0], key[1]}, 0u, unsigned(i));
    if constexpr (sizeof(Word) == 8)
        return Word(pair.x) << 32 | pair.y;
    else
        return Word(pair.x ^ pair.y);
}

template <class Word> __global__ void random_bits(Word *y, const unsigned *key, index_t count) {
    FOR_ELEMENTS(i, count) y[i] = random_word<Word>(key, i);
}

// Multiples of 2^-m in [0, 1), m the number of stored bits of the mantissa: exact, so the same on every device.
template <class T> struct Fraction;
template <> struct Fraction<__half> {
    static __device__ float draw(const unsigned *key, index_t i) { return float((random_word<unsigned>(key, i) & 0xFFFF) >> 6) * 0x1p-10f; }
};
template <> struct Fraction<float> {
    static __device__ float draw(const unsigned *key, index_t i) { return float(random_word<unsigned>(key, i) >> 9) * 0x1p-23f; }
};
template <> struct Fraction<double> {
    static __device__ double draw(const unsigned *key, index_t i) {
        return double(random_word<unsigned long long>(key, i) >> 12) * 0x1p-52;
    }
};

template <class T> __global__ void random_uniform(T *y, const unsigned *key, index_t count) {
    FOR_ELEMENTS(i, count) y[i] = store<T>(Fraction<T>::draw(key, i));
}

// Keeps an element with the probability keep, divided by it; the same bits as bernoulli(key, keep), so that the way back
// draws the mask again and nothing is stored.
template <class T> __global__ void dropout(T *y, const T *x, const unsigned *key, float keep, index_t count) {
    FOR_ELEMENTS(i, count) {
        const bool kept = Fraction<float>::draw(key, i) < keep;
        y[i] = store<T>(kept ? load(x[i]) / compute_t<T>(keep) : compute_t<T>(0));
    }
}
