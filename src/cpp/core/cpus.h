#pragma once
// The CPUs that this process may use.

#include <string>

namespace rnnfast {

// As many as the thread may run on, or as the process' control groups give it time for if that is
// less; at least 1.
int usable_cpus();

// CPUs whose time the control groups of this process grant, a part of one being one more; 0 if they
// set no limit. Versions 1 and 2 where they are usually mounted; `root` stands before every path.
int cpu_quota(const std::string& root = "");

}  // namespace rnnfast
