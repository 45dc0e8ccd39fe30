#include "core/cpus.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace rnnfast {
namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

// The first two words of a file as numbers; nothing where it is missing, or a word is no number,
// such as "max".
std::optional<double> ratio(std::istream&& file) {
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// CPUs that the control group in `folder` may use, by itself.
std::optional<double> limit_of_version_2(const std::string& folder) {
  return ratio(std::ifstream(folder + "/cpu.max"));
}
std::optional<double> limit_of_version_1(const std::string& folder) {
  std::stringstream both;
  for (const char* name : {"/cpu.cfs_quota_us", "/cpu.cfs_period_us"}) {
    std::string word;
    std::ifstream(folder + name) >> word;
    both << word << ' ';
  }
  return ratio(std::move(both));
}

// The least limit of a group and all above it. In a container the path is often the host's and is
// missing below the mount, of which the upper part, that is the mount itself, is then the group's.
template <class Limit>
double least_limit(const std::string& mount, std::string group, const Limit& limit_of) {
  double least = std::numeric_limits<double>::infinity();
  for (;;) {
    if (const auto limit = limit_of(mount + group)) least = std::min(least, *limit);
    const std::size_t end = group.rfind('/');
    if (end == std::string::npos) return least;
    group.erase(end);
  }
}

bool has_controller(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

}  // namespace

int cpu_quota(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  double least = std::numeric_limits<double>::infinity();
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string list = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (list.empty())
      least = std::min(least, least_limit(mounts, group, limit_of_version_2));
    else if (has_controller(list, "cpu"))
      least = std::min(least, least_limit(mounts + "/cpu", group, limit_of_version_1));
  }
  return std::isfinite(least) ? static_cast<int>(std::ceil(std::min(least, 1e6))) : 0;
}

// OMP_PROC_BIND and OMP_PLACES bind this thread to one CPU, but the runtime knows where the team
// may go.
int usable_cpus() {
  static const int most = [] {
    int places = 0;
    for (int i = 0; i < omp_get_num_places(); ++i) places += omp_get_place_num_procs(i);
    const int quota = cpu_quota();
    return std::min(places ? places : kNoLimit, quota ? quota : kNoLimit);
  }();
  return std::max(1, std::min(omp_get_num_procs(), most));
}

}  // namespace rnnfast
