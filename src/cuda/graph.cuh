#pragma once
// Combines many small launches into one.

#include "cuda/device.cuh"

namespace rnnfast::cuda {

#ifdef __CUDACC__

// Runs what `body` launches on `stream` as one graph. On the default stream, which cannot be
// captured, and inside a capture by the caller, launches happen one by one.
template <class Body>
void as_graph(cudaStream_t stream, const Body& body) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const bool capturable = stream != nullptr && stream != cudaStreamLegacy;
  if (capturable) check(cudaStreamIsCapturing(stream, &status), "as_graph");
  if (!capturable || status != cudaStreamCaptureStatusNone) return body();
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "as_graph: begin");
  try {
    body();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "as_graph: end");
  cudaGraphExec_t executable = nullptr;
  cudaError_t status_of_run = cudaGraphInstantiate(&executable, graph, 0);
  if (status_of_run == cudaSuccess) status_of_run = cudaGraphLaunch(executable, stream);
  if (executable) cudaGraphExecDestroy(executable);  // takes effect after the run, does not wait
  cudaGraphDestroy(graph);
  check(status_of_run, "as_graph: run");
}

#else

template <class Body>
void as_graph(cudaStream_t, const Body& body) {
  body();
}

#endif

}  // namespace rnnfast::cuda
