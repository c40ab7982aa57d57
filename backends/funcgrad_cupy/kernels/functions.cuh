// Elementwise functions that are more than an operator or a function of CUDA's library: NumPy's meaning of each.
#pragma once

#include "prelude.cuh"

// Arithmetic of signed integers wraps, which it does only in unsigned types.
template <class T> struct Wide { using type = unsigned; };
template <> struct Wide<long long> { using type = unsigned long long; };
template <> struct Wide<unsigned long long> { using type = unsigned long long; };
template <class T> using wide_t = typename Wide<T>::type;

template <class T> __device__ __forceinline__ T larger(T a, T b) { return a != a || a > b ? a : b; }
template <class T> __device__ __forceinline__ T smaller(T a, T b) { return a != a || a < b ? a : b; }
template <class T> __device__ __forceinline__ T sign_of(T x) { return x != x ? x : T(x > T(0)) - T(x < T(0)); }

__device__ __forceinline__ float logistic_of(float x) {
    const float z = expf(-fabsf(x));
    return (x < 0 ? z : 1.0f) / (1.0f + z);
}
__device__ __forceinline__ double logistic_of(double x) {
    const double z = exp(-fabs(x));
    return (x < 0 ? z : 1.0) / (1.0 + z);
}

__device__ __forceinline__ float fmod_of(float x, float y) { return fmodf(x, y); }
__device__ __forceinline__ double fmod_of(double x, double y) { return fmod(x, y); }
__device__ __forceinline__ float floor_of(float x) { return floorf(x); }
__device__ __forceinline__ double floor_of(double x) { return floor(x); }
__device__ __forceinline__ float with_sign(float x, float y) { return copysignf(x, y); }
__device__ __forceinline__ double with_sign(double x, double y) { return copysign(x, y); }

// Quotients and rests that are rounded down, as in Python.
template <class C> __device__ __forceinline__ C float_remainder(C x, C y) {
    if (y == C(0)) return fmod_of(x, y);
    const C rest = fmod_of(x, y);
    if (rest == C(0)) return with_sign(C(0), y);
    return (y < C(0)) != (rest < C(0)) ? rest + y : rest;
}
template <class C> __device__ __forceinline__ C float_floor_divide(C x, C y) {
    if (y == C(0)) return x / y;
    const C rest = fmod_of(x, y);
    C quotient = (x - rest) / y;
    if (rest != C(0) && (y < C(0)) != (rest < C(0))) quotient -= C(1);
    if (quotient == C(0)) return with_sign(C(0), x / y);
    const C whole = floor_of(quotient);
    return quotient - whole > C(0.5) ? whole + C(1) : whole;
}
template <class T> __device__ __forceinline__ bool is_minus_one(T y) { return T(-1) < T(0) && y == T(-1); }
// A division by zero gives 0. The smallest integer divided by -1 is itself.
template <class T> __device__ __forceinline__ T integer_fmod(T x, T y) { return y == T(0) || is_minus_one(y) ? T(0) : T(x % y); }
template <class T> __device__ __forceinline__ T integer_remainder(T x, T y) {
    const T rest = integer_fmod(x, y);
    return rest != T(0) && (rest < T(0)) != (y < T(0)) ? T(rest + y) : rest;
}
template <class T> __device__ __forceinline__ T integer_floor_divide(T x, T y) {
    if (y == T(0)) return T(0);
    if (is_minus_one(y)) return T(wide_t<T>(0) - wide_t<T>(x));
    const T quotient = T(x / y), rest = T(x % y);
    return rest != T(0) && (rest < T(0)) != (y < T(0)) ? T(quotient - T(1)) : quotient;
}

// By the width or more, or by less than 0, all bits go: what is left are zeros, or the sign.
template <class T> __device__ __forceinline__ T shifted_left(T x, T y) {
    return y >= T(0) && y < T(8 * sizeof(T)) ? T(wide_t<T>(x) << y) : T(0);
}
template <class T> __device__ __forceinline__ T shifted_right(T x, T y) {
    if (y >= T(0) && y < T(8 * sizeof(T))) return T(x >> y);
    return x < T(0) ? T(-1) : T(0);
}
template <class T> __device__ __forceinline__ T bits_set(T x) {
    T count = 0;
    for (int bit = 0; bit < int(8 * sizeof(T)); ++bit) count = T(count + T(wide_t<T>(x) >> bit & 1));
    return count;
}

// x**n for a known n >= 0 by repeated squaring, in NumPy's back end's order.
template <int n, class T> __device__ __forceinline__ T power_of(T x) {
    T result = T(1);
    bool begun = false;
    for (int rest = n; rest; rest >>= 1) {
        if (rest & 1) result = begun ? T(result * x) : x, begun = true;
        if (rest > 1) x = T(x * x);
    }
    return result;
}
template <class T> __device__ __forceinline__ T integer_power(T x, T y) {
    wide_t<T> base = wide_t<T>(x), result = 1;
    for (; y > T(0); y = T(y >> 1), base *= base)
        if (y & T(1)) result *= base;
    return T(result);
}

// Neighbouring elements of an array: one instruction moves them, of up to 16 bytes, where they are aligned.
template <class T, int size> struct alignas(sizeof(T) * size) Pack { T item[size]; };
template <int size, bool aligned, class T> __device__ __forceinline__ Pack<T, size> pack_at(const T *x) {
    if constexpr (aligned) {
        return *reinterpret_cast<const Pack<T, size> *>(x);
    } else {
        Pack<T, size> found;
        for (int e = 0; e < size; ++e) found.item[e] = x[e];
        return found;
    }
}
template <bool aligned, class T, int size> __device__ __forceinline__ void put(T *y, const Pack<T, size> &pack) {
    if constexpr (aligned)
        *reinterpret_cast<Pack<T, size> *>(y) = pack;
    else
        for (int e = 0; e < size; ++e) y[e] = pack.item[e];
}
