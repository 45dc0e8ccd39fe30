#pragma once
// XLA's interface for functions of other libraries: the part that handlers of plain arrays need, as
// a C ABI. XLA promises that minor versions of the interface only add fields at the end of structs,
// so these fields have their place in every version 0.x. They are declared here because jaxlib,
// whose wheel has the header, would otherwise be a dependency of the build; tests/test_jax_abi.py
// compares the two. Source: openxla.org/xla/custom_call.

#include <cstddef>
#include <cstdint>

namespace rnnfast::xla {

constexpr int kMajorVersion = 0;

// The values of XLA's enumerations that occur here: a kind of Extension, error codes and types.
constexpr int kMetadata = 1;
constexpr int kInvalidArgument = 3, kResourceExhausted = 8, kInternal = 13;
enum class Type { boolean = 1, s32 = 4, s64 = 5, u8 = 6, f32 = 11, f64 = 12 };

struct Error;

struct Extension {
  std::size_t struct_size;
  int kind;
  Extension* next;
};

struct Version {
  std::size_t struct_size;
  Extension* extensions;
  int major, minor;
};

struct ErrorToCreate {
  std::size_t struct_size;
  Extension* extensions;
  const char* message;
  int code;
};

struct Api {
  std::size_t struct_size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorToCreate*);
};

struct Buffer {
  std::size_t struct_size;
  Extension* extensions;
  Type type;
  void* data;
  std::int64_t rank;
  std::int64_t* dims;
};

// The arguments or results of a call, which are all of type Buffer.
struct Buffers {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t count;
  const int* kinds;
  Buffer** items;
};

struct Bytes {
  const char* data;
  std::size_t size;
};

struct Scalar {
  Type type;
  const void* value;
};

// The attributes of a call: a string is a Bytes, a number a Scalar.
struct Attributes {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t count;
  const int* kinds;
  Bytes** names;
  void** items;
};
constexpr int kScalar = 3, kString = 4;  // kinds of attributes

struct CallFrame {
  std::size_t struct_size;
  Extension* extensions;
  const Api* api;
  void* context;
  int stage;
  Buffers arguments, results;
  Attributes attributes;
};

struct Metadata {
  std::size_t struct_size;
  Version version;  // of the interface that the handler uses
  std::uint32_t traits;
};

struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

}  // namespace rnnfast::xla
