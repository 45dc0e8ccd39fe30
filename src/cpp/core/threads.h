#pragma once
// Threads: one OpenMP parallel region a call, on the OpenMP runtime that the process already has (a
// second pool beside PyTorch's would fight with it for the same cores).

#include <atomic>
#include <type_traits>
#include <vector>

#include "core/index.h"
#include "core/team.h"

namespace rnnfast {

// The most threads a call uses. Set by set_num_threads, else by RNNFAST_NUM_THREADS, else by
// OMP_NUM_THREADS, else the number of usable CPUs. Never more than most_threads(); always 1 in a
// forked child.
int num_threads();
void set_num_threads(Index n);  // 1 to kMostSetting, else Error

inline constexpr Index kMostSetting = 1024;  // whoever asks for more did not mean threads

// More threads than CPUs only take turns, and an OpenMP runtime that cannot have a thread ends the
// process: so a call gets as many as there are usable CPUs. Small machines may go up to 8, to try
// what many threads do.
int most_threads();

// Threads that a product of so many multiply-adds is worth.
int product_threads(Index multiply_adds);

// While it lives, num_threads() is n for calls from this thread, within the same bounds; with n = 0
// nothing changes.
class ThreadLimit {
 public:
  explicit ThreadLimit(int n);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

// How far some pieces of work have come, each done by one thread of a team and awaited by others.
class Progress {
 public:
  // `threads`: that may wait at the same time.
  Progress(Index pieces, int threads);
  // Says that `count` steps of a piece are done; what the thread wrote before is then visible to
  // those who wait for them.
  void reach(Index piece, Index count);
  // Returns when `count` steps of a piece are done.
  void await(Index piece, Index count) const;

 private:
  struct alignas(64) Count {
    std::atomic<Index> done{0};
  };
  const bool spins_;
  std::vector<Count> counts_;
};

using TeamFunction = void (*)(void* context, const Team& team, int thread);
void run_team(int max_threads, TeamFunction function, void* context);

// Calls fn(team, thread) once on every thread of a team of at most min(max_threads, num_threads())
// and returns when all are done. The team is one thread, the caller, while another thread of the
// process is inside a call, and in a forked child, where the OpenMP runtime's workers do not exist.
// The first exception out of fn is thrown again here; the others of the team then leave their next
// barrier by an exception, too.
template <class F>
void parallel(int max_threads, F&& fn) {
  using Function = std::remove_reference_t<F>;
  run_team(
      max_threads,
      [](void* context, const Team& team, int thread) {
        (*static_cast<Function*>(context))(team, thread);
      },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace rnnfast
