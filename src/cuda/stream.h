#pragma once
// CUDA's stream type as CUDA declares it, for headers used without CUDA's own.

struct CUstream_st;
typedef struct CUstream_st* cudaStream_t;
