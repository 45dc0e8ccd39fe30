// A library to preload, in which one of the system calls that write files fails or is cut short.
//
// `arm` starts to count the calls that a process makes through the C library. The call of the given
// number fails once (ONCE), is a write that stores half of its bytes (SHORT), or finds the disk
// full, as all later ones do (FULL). Calls before it and after it work.

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

enum Kind { kOnce, kShort, kFull };
constexpr int kMost = 4096;

bool armed = false;
Kind kind = kOnce;
int fault_at = 0, fault_error = 0, count = 0;
const char* names[kMost];

// Counts a call; returns whether it is the one to disturb or, on a full disk, a later one.
bool disturbed(const char* name) {
  if (!armed) return false;
  if (count < kMost) names[count] = name;
  ++count;
  return count == fault_at || (kind == kFull && count > fault_at);
}

bool fails(const char* name) {
  bool needs_space = strcmp(name, "write") == 0 || strcmp(name, "fsync") == 0;
  if (!disturbed(name) || kind == kShort || (kind == kFull && !needs_space)) return false;
  errno = fault_error;
  return true;
}

template <typename Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void arm(int at, int error, int how) {
  fault_at = at, fault_error = error, kind = static_cast<Kind>(how), count = 0, armed = true;
}

int disarm() {
  armed = false;
  return count;
}

const char* name_of(int call) { return names[call - 1]; }

#define OPEN(name)                                                            \
  int name(const char* path, int flags, ...) {                                \
    va_list rest;                                                             \
    va_start(rest, flags);                                                    \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                 \
    va_end(rest);                                                             \
    if (fails("open")) return -1;                                             \
    return original<int(const char*, int, mode_t)>(#name)(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define STAT(name, what, First)                                     \
  int name(First file, struct what* result) noexcept {              \
    if (fails("stat")) return -1;                                   \
    return original<int(First, struct what*)>(#name)(file, result); \
  }
STAT(stat, stat, const char*)
STAT(stat64, stat64, const char*)
STAT(fstat, stat, int)
STAT(fstat64, stat64, int)

DIR* opendir(const char* path) {
  return fails("opendir") ? nullptr : original<DIR*(const char*)>("opendir")(path);
}

int flock(int file, int operation) noexcept {
  return fails("flock") ? -1 : original<int(int, int)>("flock")(file, operation);
}

int fchmod(int file, mode_t mode) noexcept {
  return fails("fchmod") ? -1 : original<int(int, mode_t)>("fchmod")(file, mode);
}

ssize_t write(int file, const void* data, size_t size) {
  auto* write = original<ssize_t(int, const void*, size_t)>("write");
  bool half = armed && kind != kOnce && count + 1 == fault_at && size > 1;
  if (half) {
    disturbed("write");
    return write(file, data, size / 2);
  }
  return fails("write") ? -1 : write(file, data, size);
}

int fsync(int file) { return fails("fsync") ? -1 : original<int(int)>("fsync")(file); }

int rename(const char* from, const char* to) noexcept {
  return fails("rename") ? -1 : original<int(const char*, const char*)>("rename")(from, to);
}

int unlink(const char* path) noexcept {
  return fails("unlink") ? -1 : original<int(const char*)>("unlink")(path);
}

int close(int file) {  // as on Linux, the file is closed even if this fails
  int result = original<int(int)>("close")(file);
  return fails("close") ? -1 : result;
}
}
