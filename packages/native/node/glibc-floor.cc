// Lets a binary that was linked against a new glibc run on every one from 2.28 on. Newer versions gave these functions a new symbol version,
// most of them without a change of what they do; the linker takes the newest. The build passes `--wrap=NAME` for every `__wrap_NAME` in this
// file, also for calls from the static C++ runtime, and what stands here calls the old version, which every glibc keeps. Empty elsewhere
// (musl, macOS). The order of the file is that of the versions.
#if defined(__linux__) && __has_include(<features.h>)
#include <features.h>
#endif
#ifdef __GLIBC__
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

// The first version that the architecture has: what was there from the beginning bears it.
#if defined(__x86_64__)
#define FIRST_GLIBC "GLIBC_2.2.5"
#define NAMED_THREADS_GLIBC "GLIBC_2.12"
#define STAT_VERSION 1
#elif defined(__aarch64__)
#define FIRST_GLIBC "GLIBC_2.17"
#define NAMED_THREADS_GLIBC "GLIBC_2.17"
#define STAT_VERSION 0
#else
#error "no symbol versions are known for this architecture"
#endif

// Calls of old_NAME reach NAME of that version; a call of NAME itself would be wrapped again.
#define OLD(name, version) __asm__(".symver old_" #name "," #name "@" version)

extern "C" {

// 2.29: exp without the wrapper that sets errno.
double old_exp(double);
OLD(exp, FIRST_GLIBC);
double __wrap_exp(double x) { return old_exp(x); }

// 2.32: a hint that locks can be spared; false is always true enough.
char __wrap___libc_single_threaded = 0;

// 2.33: before, fstat was a macro over __fxstat.
int __fxstat(int, int, struct stat*);
int __wrap_fstat(int fd, struct stat* status) { return __fxstat(STAT_VERSION, fd, status); }

// 2.32 and 2.34: libpthread and libdl became part of libc. Node has loaded them where they are libraries of their own.
int old_pthread_sigmask(int, const sigset_t*, sigset_t*);
OLD(pthread_sigmask, FIRST_GLIBC);
int __wrap_pthread_sigmask(int how, const sigset_t* set, sigset_t* before) { return old_pthread_sigmask(how, set, before); }

int old_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
OLD(pthread_create, FIRST_GLIBC);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  return old_pthread_create(thread, attributes, start, argument);
}

int old_pthread_join(pthread_t, void**);
OLD(pthread_join, FIRST_GLIBC);
int __wrap_pthread_join(pthread_t thread, void** result) { return old_pthread_join(thread, result); }

int old_pthread_detach(pthread_t);
OLD(pthread_detach, FIRST_GLIBC);
int __wrap_pthread_detach(pthread_t thread) { return old_pthread_detach(thread); }

int old_pthread_once(pthread_once_t*, void (*)());
OLD(pthread_once, FIRST_GLIBC);
int __wrap_pthread_once(pthread_once_t* once, void (*start)()) { return old_pthread_once(once, start); }

int old_pthread_key_create(pthread_key_t*, void (*)(void*));
OLD(pthread_key_create, FIRST_GLIBC);
int __wrap_pthread_key_create(pthread_key_t* key, void (*end)(void*)) { return old_pthread_key_create(key, end); }
// The runtime asks only whether there is one, to learn whether there are threads.
int __wrap___pthread_key_create(pthread_key_t* key, void (*end)(void*)) { return old_pthread_key_create(key, end); }

int old_pthread_key_delete(pthread_key_t);
OLD(pthread_key_delete, FIRST_GLIBC);
int __wrap_pthread_key_delete(pthread_key_t key) { return old_pthread_key_delete(key); }

void* old_pthread_getspecific(pthread_key_t);
OLD(pthread_getspecific, FIRST_GLIBC);
void* __wrap_pthread_getspecific(pthread_key_t key) { return old_pthread_getspecific(key); }

int old_pthread_setspecific(pthread_key_t, const void*);
OLD(pthread_setspecific, FIRST_GLIBC);
int __wrap_pthread_setspecific(pthread_key_t key, const void* value) { return old_pthread_setspecific(key, value); }

int old_pthread_setname_np(pthread_t, const char*);
OLD(pthread_setname_np, NAMED_THREADS_GLIBC);
int __wrap_pthread_setname_np(pthread_t thread, const char* name) { return old_pthread_setname_np(thread, name); }

void* old_dlopen(const char*, int);
OLD(dlopen, FIRST_GLIBC);
void* __wrap_dlopen(const char* path, int mode) { return old_dlopen(path, mode); }

int old_dladdr(const void*, void*);
OLD(dladdr, FIRST_GLIBC);
int __wrap_dladdr(const void* address, void* info) { return old_dladdr(address, info); }

// 2.35: where the unwinder finds its tables. "Nowhere" ends an exception of the runtime in std::terminate, where it would end anyway: the
// addon is compiled without exceptions and catches none.
int __wrap__dl_find_object(void*, void*) { return -1; }

// 2.36: the seed of std::random_device.
uint32_t __wrap_arc4random() {
  uint32_t value = 0;
  if (syscall(SYS_getrandom, &value, sizeof value, 0) != static_cast<long>(sizeof value)) abort();
  return value;
}

}  // extern "C"
#endif
