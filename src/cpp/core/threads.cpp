#include "core/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>

#include "core/cpus.h"
#include "core/env.h"
#include "core/error.h"
#include "core/system.h"

namespace rnnfast {
namespace {

std::atomic<int> configured{0};   // 0: not yet read from the environment
thread_local int limit = 0;       // of a ThreadLimit; 0 for none
std::atomic<bool> busy{false};    // a team of several threads is at work
std::atomic<bool> forked{false};  // this process is a forked child

// The child of a fork has the caller's thread alone, and libgomp would wait for the others forever.
[[maybe_unused]] const bool watches_forks = [] {
  at_fork(nullptr, nullptr, [] {
    forked = true;
    busy = false;
  });
  return true;
}();

int default_num_threads() {
  if (const auto n = env_integer("RNNFAST_NUM_THREADS", 1, kMostSetting)) return int(*n);
  // A list, one number a nesting level. OpenMP's runtime warns of what is none and goes without.
  if (const auto text = env_string("OMP_NUM_THREADS")) {
    const char *begin = text->data(), *end = begin + text->size();
    while (begin < end && *begin == ' ') ++begin;
    int n = 0;
    if (std::from_chars(begin, end, n).ec == std::errc() && n >= 1) return n;
  }
  return usable_cpus();
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Thrown out of a wait for a thread that has failed.
struct Abandoned {};

// Returns when `word` is no longer `now`. Spins, as steps of a time loop meet every few
// microseconds; then lets others have the CPU, among them a thread of the team that waits for this
// very one; then sleeps. With another process on the same cores a wait that only spins is slower by
// orders of magnitude, and one that sleeps soon loses a wake-up (0.1 to 0.5 ms in a virtual
// machine) at every step from the first late one on.
template <class Word>
void wait_while(const std::atomic<Word>& word, Word now, bool spins) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kSpin{50}, kYield{1000};  // from the arrival
  const auto changed = [&] { return word.load(std::memory_order_acquire) != now; };
  if (spins) {
    const auto start = Clock::now();
    do {
      for (int i = 0; i < 32; ++i) {
        if (changed()) return;
        pause();
      }
    } while (Clock::now() < start + kSpin);
    while (Clock::now() < start + kYield) {
      std::this_thread::yield();
      if (changed()) return;
    }
  }
  word.wait(now, std::memory_order_acquire);
}

class Barrier {
 public:
  void wait(int size, bool spins) {
    const uint32_t now = generation_.load(std::memory_order_acquire);
    if (!abandoned_.load(std::memory_order_acquire)) {
      if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        arrived_.store(0, std::memory_order_relaxed);
        open();
      } else {
        wait_while(generation_, now, spins);
      }
    }
    if (abandoned_.load(std::memory_order_acquire)) throw Abandoned{};
  }

  void abandon() {
    abandoned_.store(true, std::memory_order_release);
    open();
  }

 private:
  void open() {
    generation_.fetch_add(1, std::memory_order_acq_rel);
    generation_.notify_all();
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> abandoned_{false};
};

// Keeps the first exception of a team.
class FirstError {
 public:
  void set() {
    if (!taken_.exchange(true)) error_ = std::current_exception();
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> taken_{false};
  std::exception_ptr error_;
};

// What the threads of a team share.
struct Job {
  const TeamFunction function;
  void* const context;
  const bool spins;                // with more threads than CPUs nobody should
  const int home = current_cpu();  // the caller's
  // Of the team, then of its groups of two threads or more.
  std::vector<Barrier> barriers;
  FirstError error;
  std::atomic<int> finished{0};

  Job(int threads, TeamFunction function, void* context)
      : function(function),
        context(context),
        spins(threads <= usable_cpus()),
        barriers(1 + threads / 2) {}

  static void wait(void* job, int number, int size) {
    Job& of = *static_cast<Job*>(job);
    of.barriers[number].wait(size, of.spins);
  }

  void run() {
    const Team team{omp_get_num_threads(), &Job::wait, this};
    const int thread = omp_get_thread_num();
    // A thread that wakes is often put on the CPU of the one that woke it, idle CPUs or not; the
    // two would then take turns for milliseconds, each spinning in vain for the other.
    if (thread > 0) leave_cpu(home);
    try {
      team.barrier();  // the caller starts when all are there
      function(context, team, thread);
    } catch (const Abandoned&) {  // the thread that failed has told why
    } catch (...) {
      error.set();
      for (Barrier& barrier : barriers) barrier.abandon();
    }
    finished.fetch_add(1, std::memory_order_release);
  }
};

// The one team's. Threads find their job here and count themselves out of it, so that who wrote
// before whom follows from atomics alone: ThreadSanitizer knows nothing of the runtime's own means.
std::atomic<Job*> current{nullptr};

void run_on_many(int threads, TeamFunction function, void* context) {
  Job job(threads, function, context);
  current.store(&job, std::memory_order_release);
#pragma omp parallel num_threads(threads)
  current.load(std::memory_order_acquire)->run();
  static_cast<void>(job.finished.load(std::memory_order_acquire));
  job.error.rethrow();
}

}  // namespace

int most_threads() {
  constexpr int kOnSmallMachines = 8;
  static const int most = std::max(usable_cpus(), kOnSmallMachines);
  return most;
}

int num_threads() {
  if (forked) return 1;
  if (limit > 0) return std::min(limit, most_threads());
  if (configured == 0) {
    int unset = 0;  // a concurrent set_num_threads wins
    configured.compare_exchange_strong(unset, std::min(default_num_threads(), most_threads()));
  }
  return configured;
}

int product_threads(Index multiply_adds) {
  constexpr Index kWorth = 1 << 20;  // multiply-adds below which a second thread does not pay
  return int(std::min<Index>(1 + multiply_adds / kWorth, num_threads()));
}

void set_num_threads(Index n) {
  RNNFAST_CHECK(n >= 1 && n <= kMostSetting, "n: expected 1 to ", kMostSetting, ", got ", n);
  configured = std::min(int(n), most_threads());
}

ThreadLimit::ThreadLimit(int n) : before_(limit) {
  if (n > 0) limit = n;
}
ThreadLimit::~ThreadLimit() { limit = before_; }

Progress::Progress(Index pieces, int threads)
    : spins_(threads <= usable_cpus()), counts_(std::size_t(pieces)) {}

void Progress::reach(Index piece, Index count) {
  counts_[piece].done.store(count, std::memory_order_release);
  counts_[piece].done.notify_all();
}

void Progress::await(Index piece, Index count) const {
  const std::atomic<Index>& word = counts_[piece].done;
  Index done;
  while ((done = word.load(std::memory_order_acquire)) < count) wait_while(word, done, spins_);
}

void run_team(int max_threads, TeamFunction function, void* context) {
  const int threads = std::min(max_threads, num_threads());
  if (threads <= 1 || busy.exchange(true)) {
    function(context, Team{1, nullptr, nullptr}, 0);
    return;
  }
  struct Done {
    ~Done() { busy = false; }
  } done;
  run_on_many(threads, function, context);
}

}  // namespace rnnfast
