// The machine's vector: its width and its type, in the vector extension that gcc and clang share.
#pragma once
#include <cstdint>
#include <cstring>

#define INLINE __attribute__((always_inline)) inline

namespace rnndsl {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class T> constexpr int WIDTH = BYTES / int(sizeof(T));

template <class T> struct VectorOf;
template <> struct VectorOf<float> { typedef float type __attribute__((vector_size(BYTES))); };
template <> struct VectorOf<double> { typedef double type __attribute__((vector_size(BYTES))); };
template <> struct VectorOf<int32_t> { typedef int32_t type __attribute__((vector_size(BYTES))); };
template <> struct VectorOf<int64_t> { typedef int64_t type __attribute__((vector_size(BYTES))); };
template <> struct VectorOf<uint32_t> { typedef uint32_t type __attribute__((vector_size(BYTES))); };
template <> struct VectorOf<uint64_t> { typedef uint64_t type __attribute__((vector_size(BYTES))); };
template <class T> using Vec = typename VectorOf<T>::type;

// The same anywhere in memory. Where a vector is written by memcpy, the compiler reads all pointers and sizes that lie in memory anew behind it, since the
// bytes may be theirs.
template <class T> struct LooseOf;
template <> struct LooseOf<float> { typedef float type __attribute__((vector_size(BYTES), aligned(sizeof(float)))); };
template <> struct LooseOf<double> { typedef double type __attribute__((vector_size(BYTES), aligned(sizeof(double)))); };

template <class T> INLINE Vec<T> whole(const T* from) { return *reinterpret_cast<const typename LooseOf<T>::type*>(from); }
template <class T> INLINE void put(T* to, Vec<T> vector) { *reinterpret_cast<typename LooseOf<T>::type*>(to) = vector; }

}  // namespace rnndsl
