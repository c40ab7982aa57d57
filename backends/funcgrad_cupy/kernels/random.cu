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

// Coins: true with the probability *p.
template <class T> __global__ void random_bernoulli(bool *y, const unsigned *key, const T *p, index_t count) {
    const compute_t<T> bound = load(*p);
    FOR_ELEMENTS(i, count) y[i] = Fraction<T>::draw(key, i) < bound;
}

// Products and sums that no compiler contracts to one rounding: NumPy rounds each, and the numbers are to be the same.
__device__ __forceinline__ float times(float x, float y) { return __fmul_rn(x, y); }
__device__ __forceinline__ double times(double x, double y) { return __dmul_rn(x, y); }
__device__ __forceinline__ float plus(float x, float y) { return __fadd_rn(x, y); }
__device__ __forceinline__ double plus(double x, double y) { return __dadd_rn(x, y); }

template <class C> __device__ __forceinline__ C polynomial(const C (&c)[8], C r) {
    C value = times(c[0], r);
#pragma unroll
    for (int i = 1; i < 7; ++i) value = times(plus(value, c[i]), r);
    return plus(value, c[7]);
}

// The standard normal z with erf(z / sqrt(2)) = u, -1 < u < 1: the rational approximations of M. Wichura, AS 241 (Applied
// Statistics 37, 1988), as in funcgrad/random/_normal.py. The same bits as NumPy's where |u| <= 0.85; farther out the
// logarithm is CUDA's.
template <class C> __device__ __forceinline__ C normal_quantile(C u) {
    const C size = u < 0 ? -u : u;
    if (size <= C(0.85)) {
        const C p[8] = {C(2.5090809287301226727e3), C(3.3430575583588128105e4), C(6.7265770927008700853e4), C(4.5921953931549871457e4),
                        C(1.3731693765509461125e4), C(1.9715909503065514427e3), C(1.3314166789178437745e2), C(3.3871328727963666080e0)};
        const C q[8] = {C(5.2264952788528545610e3), C(2.8729085735721942674e4), C(3.9307895800092710610e4), C(2.1213794301586595867e4),
                        C(5.3941960214247511077e3), C(6.8718700749205790830e2), C(4.2313330701600911252e1), C(1)};
        const C half = u * C(0.5), r = plus(C(0.180625), -times(half, half));
        return times(half, polynomial(p, r) / polynomial(q, r));
    }
    C r = sqrt_of(-log_of(plus(C(1), -size) * C(0.5))), z;
    if (r <= C(5)) {
        const C p[8] = {C(7.74545014278341407640e-4), C(2.27238449892691845833e-2), C(2.41780725177450611770e-1), C(1.27045825245236838258e0),
                        C(3.64784832476320460504e0), C(5.76949722146069140550e0), C(4.63033784615654529590e0), C(1.42343711074968357734e0)};
        const C q[8] = {C(1.05075007164441684324e-9), C(5.47593808499534494600e-4), C(1.51986665636164571966e-2), C(1.48103976427480074590e-1),
                        C(6.89767334985100004550e-1), C(1.67638483018380384940e0), C(2.05319162663775882187e0), C(1)};
        r = plus(r, C(-1.6)), z = polynomial(p, r) / polynomial(q, r);
    } else {
        const C p[8] = {C(2.01033439929228813265e-7), C(2.71155556874348757815e-5), C(1.24266094738807843860e-3), C(2.65321895265761230930e-2),
                        C(2.96560571828504891230e-1), C(1.78482653991729133580e0), C(5.46378491116411436990e0), C(6.65790464350110377720e0)};
        const C q[8] = {C(2.04426310338993978564e-15), C(1.42151175831644588870e-7), C(1.84631831751005468180e-5), C(7.86869131145613259100e-4),
                        C(1.48753612908506148525e-2), C(1.36929880922735805310e-1), C(5.99832206555887937690e-1), C(1)};
        r = plus(r, C(-5)), z = polynomial(p, r) / polynomial(q, r);
    }
    return u < 0 ? -z : z;
}

// From the fraction f in [0, 1) by u = 2 f + low in (-1, 1), low the number next to -1: in float16 rounded to it.
template <class T> __global__ void random_normal(T *y, const unsigned *key, compute_t<T> low, index_t count) {
    FOR_ELEMENTS(i, count) {
        const T u = store<T>(plus(Fraction<T>::draw(key, i) * 2, low));
        y[i] = store<T>(normal_quantile(load(u)));
    }
}

// Keeps an element with the probability keep, divided by it; the same bits as bernoulli(key, keep), so that the way back
// draws the mask again and nothing is stored.
template <class T> __global__ void dropout(T *y, const T *x, const unsigned *key, float keep, index_t count) {
    FOR_ELEMENTS(i, count) {
        const bool kept = Fraction<float>::draw(key, i) < keep;
        y[i] = store<T>(kept ? load(x[i]) / compute_t<T>(keep) : compute_t<T>(0));
    }
}
