// The SIGBUS guard is one handler for the process and a fixed table of guarded ranges that it may read at any time. Faults elsewhere
// go to whoever handled them before.
#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include "allocations.h"

namespace bitnet::engine {
namespace {

struct GuardedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: nothing is guarded
  std::atomic<bool> damaged{false};
};

constexpr int maxGuarded = 4096;
GuardedRange guarded[maxGuarded];
std::atomic<int> guardedHigh{0};  // entries ever used
std::mutex guardMutex;            // held to take or give back an entry, never by the handler
struct sigaction previousAction;
uintptr_t systemPage = 4096;

// Puts zero pages over the rest of the range, so that the faulting instruction can go on.
bool repair(uintptr_t address) {
  const int high = guardedHigh.load(std::memory_order_acquire);
  for (int i = 0; i < high; i++) {
    const uintptr_t end = guarded[i].end.load(std::memory_order_acquire);
    if (address >= end || address < guarded[i].begin.load(std::memory_order_relaxed)) continue;
    const uintptr_t from = address & ~(systemPage - 1);
    void* zeros = mmap(reinterpret_cast<void*>(from), end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) return false;
    guarded[i].damaged.store(true, std::memory_order_release);
    return true;
  }
  return false;
}

void onBusError(int signal, siginfo_t* info, void* context) {
  const int savedErrno = errno;
  // A positive code is a fault of this thread; others were sent by a process.
  const bool repaired = info->si_code > 0 && repair(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = savedErrno;
  if (repaired) return;
  if (previousAction.sa_flags & SA_SIGINFO) {
    previousAction.sa_sigaction(signal, info, context);
  } else if (previousAction.sa_handler != SIG_DFL && previousAction.sa_handler != SIG_IGN) {
    previousAction.sa_handler(signal);
  } else if (info->si_code > 0 || previousAction.sa_handler == SIG_DFL) {
    // Returning runs the faulting instruction again, now without a handler; a signal that was sent has to be sent again.
    std::signal(signal, SIG_DFL);
    if (info->si_code <= 0) raise(signal);
  }
}

bool installHandler() {
  static const bool installed = [] {
    systemPage = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = onBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &previousAction) == 0;
  }();
  return installed;
}

// The entry that now guards the range, or −1 when all are taken.
int guardRange(const void* data, size_t bytes) {
  const std::lock_guard<std::mutex> lock(guardMutex);
  for (int i = 0; i < maxGuarded; i++) {
    if (guarded[i].end.load(std::memory_order_relaxed) != 0) continue;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
    guarded[i].damaged.store(false, std::memory_order_relaxed);
    guarded[i].begin.store(begin, std::memory_order_relaxed);
    // To whole pages: the tail of the last one belongs to the mapping too.
    guarded[i].end.store((begin + bytes + systemPage - 1) & ~(systemPage - 1), std::memory_order_release);
    if (i >= guardedHigh.load(std::memory_order_relaxed)) guardedHigh.store(i + 1, std::memory_order_release);
    return i;
  }
  return -1;
}

void releaseGuard(int entry) {
  const std::lock_guard<std::mutex> lock(guardMutex);
  guarded[entry].end.store(0, std::memory_order_release);
}

bool sameTime(const struct stat& a, const struct stat& b) {
#if defined(__APPLE__)
  return a.st_mtimespec.tv_sec == b.st_mtimespec.tv_sec && a.st_mtimespec.tv_nsec == b.st_mtimespec.tv_nsec;
#else
  return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
#endif
}

}  // namespace

bool FileMapping::open(const char* path, uint64_t expectedSize, Failure& failure) {
  close();
  fd_ = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) {
    const int error = errno;
    const Code code = error == ENOENT ? Code::FileNotFound : Code::IoFailed;
    return failure.set(code, "%s: cannot be opened (%s)", path, strerror(error));
  }
  if (map(expectedSize, path, failure)) return true;
  close();
  return false;
}

bool FileMapping::map(uint64_t expectedSize, const char* path, Failure& failure) {
  if (fstat(fd_, &opened_) != 0) return failure.set(Code::IoFailed, "%s: %s", path, strerror(errno));
  const uint64_t size = static_cast<uint64_t>(opened_.st_size);
  if (!S_ISREG(opened_.st_mode)) return failure.set(Code::InvalidArgument, "%s: expected a file, found something else", path);
  if (size != expectedSize) {
    return failure.set(Code::BackendFailed, "%s: expected %llu bytes, found %llu; it changed since its header was read, load it again",
                       path, static_cast<unsigned long long>(expectedSize), static_cast<unsigned long long>(size));
  }
  if (size == 0) return true;
  if (!installHandler()) return failure.set(Code::BackendFailed, "the SIGBUS handler could not be installed (%s)", strerror(errno));
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    return failure.set(error == ENOMEM ? Code::OutOfMemory : Code::IoFailed, "%s: cannot be mapped (%s)", path, strerror(error));
  }
  data_ = static_cast<const uint8_t*>(data);
  size_ = size;
  countAllocation(size_);
  guard_ = guardRange(data_, size_);
  if (guard_ < 0) return failure.set(Code::BackendFailed, "%s: more than %d files are mapped", path, maxGuarded);
  madvise(data, size_, MADV_WILLNEED);  // a hint; reading works without
  return true;
}

void FileMapping::close() {
  // First: once unmapped, the addresses may be given to somebody else, whose faults are not ours. Nothing reads the range any more.
  if (guard_ >= 0) releaseGuard(guard_);
  if (data_) {
    munmap(const_cast<uint8_t*>(data_), size_);
    countRelease(size_);
  }
  if (fd_ >= 0) ::close(fd_);
  data_ = nullptr;
  size_ = 0;
  guard_ = -1;
  fd_ = -1;
}

bool FileMapping::intact() const {
  if (guard_ >= 0 && guarded[guard_].damaged.load(std::memory_order_acquire)) return false;
  if (fd_ < 0) return true;
  struct stat now;
  return fstat(fd_, &now) == 0 && now.st_size == opened_.st_size && sameTime(now, opened_);
}

}  // namespace bitnet::engine
