/*
 * Does one thing behind one filter: the arguments are the filter and the thing.
 *
 * Exits with 0 when it worked, with its errno when it did not, and dies of SIGSYS when the filter stops it.
 * With the one argument `list` it prints the names of all things, one a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../native/ring.h"
#include "../../native/seccomp.h"

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define DROPPABLE (8 | MAP_ANONYMOUS)
#define BOTH (PROT_READ | PROT_WRITE)
#define HIGH (1l << 32) /* a bit that a filter of low halves does not see */
#define PAGE 4096l
#define LARGE (64ul << 20)
#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define THREAD                                                                                       \
  (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | \
   CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

struct call {
  const char *name;
  long number;
  long argument[6];
};

/* What stands before the filter: a socket pair, a file, a mapping that is no private memory, two processes. */
struct place {
  int wake, other, file;
  long shared, self, parent;
};

static char scratch[256];
static uint32_t word;

/* Finds a call by its name; the name `list` prints all names. */
static bool pick(const char *name, const struct call *calls, size_t count, struct call *found) {
  const bool prints = strcmp(name, "list") == 0;
  for (size_t i = 0; i < count; i++) {
    if (prints) puts(calls[i].name);
    if (strcmp(name, calls[i].name) != 0) continue;
    *found = calls[i];
    return true;
  }
  return false;
}

static bool pick_memory(const char *name, const struct place *place, struct call *found) {
  const long shared = place->shared, file = place->file, name_at = EDGE_WAKE_ADDRESS;
  const struct call calls[] = {
      {"map", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS, -1, 0}},
      {"map over", SYS_mmap, {shared, PAGE, BOTH, ANONYMOUS | MAP_FIXED, -1, 0}},
      {"map stack", SYS_mmap, {0, PAGE, PROT_NONE, ANONYMOUS | MAP_STACK, -1, 0}},
      {"map file", SYS_mmap, {0, PAGE, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file, 0}},
      {"map output", SYS_mmap, {0, PAGE, BOTH, MAP_SHARED | MAP_NORESERVE, file, 0}},
      {"map file executable", SYS_mmap, {0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0}},
      {"map droppable", SYS_mmap, {0, PAGE, BOTH, DROPPABLE, -1, 0}},
      {"map executable", SYS_mmap, {0, PAGE, PROT_READ | PROT_EXEC, ANONYMOUS, -1, 0}},
      {"map shared", SYS_mmap, {0, PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0}},
      {"map validated", SYS_mmap, {0, PAGE, BOTH, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0}},
      {"map growing", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_GROWSDOWN, -1, 0}},
      {"map huge", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_HUGETLB, -1, 0}},
      {"map locked", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_LOCKED, -1, 0}},
      {"map filled", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_POPULATE, -1, 0}},
      {"map with an unknown flag", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | 1l << 30, -1, 0}},
      {"map with a high flag", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | HIGH, -1, 0}},
      {"map with a high protection", SYS_mmap, {0, PAGE, BOTH | HIGH, ANONYMOUS, -1, 0}},
      {"map to grow", SYS_mmap, {0, PAGE, BOTH | PROT_GROWSDOWN, ANONYMOUS, -1, 0}},
      {"protect", SYS_mprotect, {shared, PAGE, PROT_READ}},
      {"map over the name", SYS_mmap, {name_at, PAGE, BOTH, ANONYMOUS | MAP_FIXED, -1, 0}},
      {"map over all", SYS_mmap, {PAGE, 0x7fff00000000, BOTH, ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0}},
      {"map near the name", SYS_mmap, {name_at, PAGE, BOTH, ANONYMOUS, -1, 0}},
      {"unmap the name", SYS_munmap, {name_at, PAGE}},
      {"unmap all", SYS_munmap, {0, 0x7fff00000000}},
      {"protect the name", SYS_mprotect, {name_at, PAGE, BOTH}},
      {"protect executable code below", SYS_mprotect, {name_at, PAGE, PROT_READ | PROT_EXEC}},
      {"forget the name", SYS_madvise, {name_at, PAGE, MADV_DONTNEED}},
      {"unmap", SYS_munmap, {shared, PAGE}},
      {"protect executable", SYS_mprotect, {shared, PAGE, PROT_READ | PROT_EXEC}},
      {"protect all", SYS_mprotect, {shared, PAGE, BOTH | PROT_EXEC}},
      {"protect to grow", SYS_mprotect, {shared, PAGE, BOTH | PROT_GROWSDOWN}},
      {"protect to grow up", SYS_mprotect, {shared, PAGE, BOTH | PROT_GROWSUP}},
      {"protect with an unknown bit", SYS_mprotect, {shared, PAGE, BOTH | 1l << 20}},
      {"protect with a high bit", SYS_mprotect, {shared, PAGE, BOTH | HIGH}},
      {"protect with a key", SYS_pkey_mprotect, {shared, PAGE, PROT_READ | PROT_EXEC, -1}},
      {"double a mapping", SYS_mremap, {shared, 0, PAGE, MREMAP_MAYMOVE}},
      {"move a mapping", SYS_mremap, {shared, PAGE, 2 * PAGE, MREMAP_MAYMOVE}},
      {"forget", SYS_madvise, {shared, PAGE, MADV_DONTNEED}},
      {"punch a hole", SYS_madvise, {shared, PAGE, MADV_REMOVE}},
      {"fill", SYS_madvise, {shared, PAGE, MADV_POPULATE_WRITE}},
      {"page out", SYS_madvise, {shared, PAGE, MADV_PAGEOUT}},
      {"remap a file", SYS_remap_file_pages, {shared, PAGE, 0, 0, 0}},
      {"lock", SYS_mlock, {shared, PAGE}},
      {"make a file in memory", SYS_memfd_create, {(long)scratch, 0}},
      {"attach", SYS_shmget, {0, PAGE, 0600}},
      {"handle faults", SYS_userfaultfd, {1}},
  };
  return pick(name, calls, COUNT(calls), found);
}

static bool pick_waiting(const char *name, const struct place *place, struct call *found) {
  const long at = (long)&word, to = (long)scratch;
  const long cpu_of_parent = ~place->parent << 3 | 2; /* as clock_getcpuclockid makes it */
  const struct call calls[] = {
      {"wait", SYS_futex, {at, FUTEX_WAIT, 1, 0}},
      {"wake", SYS_futex, {at, FUTEX_WAKE, 1}},
      {"wait in private", SYS_futex, {at, FUTEX_WAIT_PRIVATE, 1, 0}},
      {"wake in private", SYS_futex, {at, FUTEX_WAKE_PRIVATE, 1}},
      {"wait for bits", SYS_futex, {at, FUTEX_WAIT_BITSET, 1, 0, 0, 1}},
      {"wait for bits and time", SYS_futex, {at, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, 0, 0, 1}},
      {"wake for bits", SYS_futex, {at, FUTEX_WAKE_BITSET, 1, 0, 0, 1}},
      {"requeue", SYS_futex, {at, FUTEX_REQUEUE, 1, 1, at}},
      {"compare and requeue", SYS_futex, {at, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, at, 0}},
      {"wake and change", SYS_futex, {at, FUTEX_WAKE_OP, 1, 1, at, 0}},
      {"inherit priority", SYS_futex, {at, FUTEX_LOCK_PI, 0, 0}},
      {"try priority", SYS_futex, {at, FUTEX_TRYLOCK_PI, 0, 0}},
      {"give priority", SYS_futex, {at, FUTEX_UNLOCK_PI_PRIVATE, 0, 0}},
      {"requeue priority", SYS_futex, {at, FUTEX_CMP_REQUEUE_PI, 1, 1, at, 0}},
      {"wait for priority", SYS_futex, {at, FUTEX_WAIT_REQUEUE_PI, 1, 0, at, 0}},
      {"clock", SYS_clock_gettime, {CLOCK_THREAD_CPUTIME_ID, to}},
      {"clock of another", SYS_clock_gettime, {cpu_of_parent, to}},
      {"resolution", SYS_clock_getres, {CLOCK_REALTIME, to}},
      {"resolution of another", SYS_clock_getres, {cpu_of_parent, to}},
      {"sleep", SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, to, 0}},
      {"sleep on another", SYS_clock_nanosleep, {cpu_of_parent, 0, to, 0}},
      {"getrandom", SYS_getrandom, {to, 8}},
  };
  return pick(name, calls, COUNT(calls), found);
}

static bool pick_process(const char *name, const struct place *place, struct call *found) {
  const long zero = (long)scratch, self = place->self, parent = place->parent;
  const struct call calls[] = {
      {"clone3", SYS_clone3, {0, 0}},
      {"thread alone", SYS_clone, {CLONE_THREAD}},
      {"thread elsewhere", SYS_clone, {THREAD | CLONE_NEWNS}},
      {"thread with a high flag", SYS_clone, {THREAD | HIGH}},
      {"thread as a process", SYS_clone, {(THREAD & ~CLONE_THREAD) | SIGCHLD}},
      {"traced thread", SYS_clone, {THREAD | CLONE_PTRACE}},
      {"process", SYS_clone, {SIGCHLD}},
      {"exec", SYS_execve, {zero, 0, 0}},
      {"namespace", SYS_unshare, {CLONE_NEWNS}},
      {"kill", SYS_kill, {self, 0}},
      {"kill a thread", SYS_tkill, {self, 0}},
      {"signal another", SYS_tgkill, {parent, parent, SIGABRT}},
      {"signal itself", SYS_tgkill, {self, self, SIGTERM}},
      {"abort", SYS_tgkill, {self, self, SIGABRT}},
      {"queue a signal", SYS_rt_sigqueueinfo, {parent, 0, zero}},
      {"ptrace", SYS_ptrace, {16, parent, 0, 0}},
      {"read a process", SYS_process_vm_readv, {parent, 0, 0, 0, 0, 0}},
      {"write a process", SYS_process_vm_writev, {parent, 0, 0, 0, 0, 0}},
      {"open a process", SYS_pidfd_open, {parent, 0}},
      {"take a descriptor", SYS_pidfd_getfd, {place->other, 0, 0}},
      {"filter", SYS_seccomp, {1, 0, 0}},
      {"strict mode", SYS_seccomp, {0, 0, 0}},
      {"watched filter", SYS_seccomp, {1, 1 << 3, 0}},
      {"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}},
      {"limits", SYS_prlimit64, {0, RLIMIT_NOFILE, 0, zero}},
      {"limit itself", SYS_prlimit64, {0, RLIMIT_CORE, zero, 0}},
      {"limit itself high", SYS_prlimit64, {0, RLIMIT_CORE, HIGH, 0}},
      {"limit another", SYS_prlimit64, {parent, RLIMIT_NOFILE, 0, zero}},
      {"processors", SYS_sched_getaffinity, {0, 128, zero}},
      {"processors of another", SYS_sched_getaffinity, {parent, 128, zero}},
      {"move to a processor", SYS_sched_setaffinity, {0, 128, zero}},
      {"barrier", SYS_membarrier, {0, 0, 0}},
      {"become", SYS_setuid, {0}},
      {"ring", SYS_io_uring_setup, {1, zero}},
      {"program", SYS_bpf, {0, zero, 0}},
      {"count events", SYS_perf_event_open, {zero, 0, -1, -1, 0}},
#if defined(__x86_64__)
      {"x32", 0x40000000 | SYS_getpid, {0}},
      {"x32 exec", 0x40000000 | 520, {zero, 0, 0}},
#endif
  };
  return pick(name, calls, COUNT(calls), found);
}

static bool pick_descriptor(const char *name, const struct place *place, struct call *found) {
  const long zero = (long)scratch, wake = place->wake, file = place->file;
  const long own = EDGE_WAKE_ADDRESS, bytes = sizeof(struct edge_wake);
  const long quiet = MSG_DONTWAIT | MSG_NOSIGNAL;
  const struct call calls[] = {
      {"send", SYS_sendto, {wake, own, bytes, quiet}},
      {"send elsewhere", SYS_sendto, {place->other, own, bytes, quiet}},
      {"send urgently", SYS_sendto, {wake, own, bytes, quiet | MSG_OOB}},
      {"send without flags", SYS_sendto, {wake, own, bytes, 0}},
      {"send to an address", SYS_sendto, {wake, own, bytes, quiet, zero, 2}},
      {"send to a high address", SYS_sendto, {wake, own, bytes, quiet, HIGH, 2}},
      {"send more", SYS_sendto, {wake, own, bytes + 1, quiet}},
      {"send less", SYS_sendto, {wake, own, bytes - 1, quiet}},
      {"send much more", SYS_sendto, {wake, own, bytes | HIGH, quiet}},
      {"send other bytes", SYS_sendto, {wake, zero, bytes, quiet}},
      {"send bytes beside", SYS_sendto, {wake, own + bytes, bytes, quiet}},
      {"send high bytes", SYS_sendto, {wake, own | HIGH, bytes, quiet}},
      {"pass a descriptor", SYS_sendmsg, {wake, zero, quiet}},
      {"complain", SYS_write, {STDERR_FILENO, zero, 0}},
      {"write elsewhere", SYS_write, {wake, zero, 1}},
      {"open", SYS_openat, {AT_FDCWD, zero, 0}},
      {"read", SYS_read, {wake, zero, 0}},
      {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
      {"connect", SYS_connect, {wake, zero, 16}},
      {"link", SYS_linkat, {AT_FDCWD, zero, AT_FDCWD, zero, 0}},
      {"is terminal", SYS_ioctl, {wake, TCGETS, zero}},
      {"terminal mode", SYS_ioctl, {wake, TCSETS, zero}},
      {"own by request", SYS_ioctl, {wake, FIOSETOWN, zero}},
      {"signals by request", SYS_ioctl, {wake, FIOASYNC, zero}},
      {"flags", SYS_fcntl, {wake, F_GETFL}},
      {"close on exec", SYS_fcntl, {wake, F_SETFD, FD_CLOEXEC}},
      {"own", SYS_fcntl, {wake, F_SETOWN, place->parent}},
      {"own more", SYS_fcntl, {wake, F_SETOWN_EX, zero}},
      {"choose a signal", SYS_fcntl, {wake, F_SETSIG, SIGURG}},
      {"ask for signals", SYS_fcntl, {wake, F_SETFL, O_ASYNC}},
      {"lease", SYS_fcntl, {file, F_SETLEASE, F_RDLCK}},
      {"watch", SYS_fcntl, {file, F_NOTIFY, DN_MODIFY}},
      {"lock a file", SYS_fcntl, {file, F_SETLK, zero}},
      {"seal", SYS_fcntl, {file, F_ADD_SEALS, 0}},
      {"change a mode", SYS_fchmodat, {AT_FDCWD, zero, 0777}},
      {"change the mode of a file", SYS_fchmod, {file, 04755}},
      {"change an owner", SYS_fchown, {file, 0, 0}},
      {"reserve a file", SYS_fallocate, {file, 0, 0, 1}},
#if defined(__x86_64__)
      {"change the mode of a path", SYS_chmod, {zero, 0777}},
#endif
  };
  return pick(name, calls, COUNT(calls), found);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *answer(void *flag) {
  (void)pthread_mutex_lock(&mutex);
  *(bool *)flag = true;
  (void)pthread_cond_signal(&condition);
  (void)pthread_mutex_unlock(&mutex);
  return NULL;
}

/* A thread that is waited for by a condition and by its end, as the linker does. */
static int threads(void) {
  pthread_t thread;
  bool flag = false;
  (void)pthread_mutex_lock(&mutex);
  const int error = pthread_create(&thread, NULL, answer, &flag);
  while (error == 0 && !flag)
    (void)pthread_cond_wait(&condition, &mutex);
  (void)pthread_mutex_unlock(&mutex);
  return error != 0 ? error : pthread_join(thread, NULL);
}

/* A block of a size for which libc asks for mremap keeps its bytes when it grows and when it shrinks. */
static int reallocate(void) {
  uint8_t *at = malloc(1u << 20);
  if (at == NULL) return ENOMEM;
  memset(at, 7, 1u << 20);
  uint8_t *larger = realloc(at, LARGE);
  if (larger == NULL) return ENOMEM;
  if (larger[0] != 7 || larger[(1u << 20) - 1] != 7) return EIO;
  uint8_t *smaller = realloc(larger, 1u << 19);
  if (smaller == NULL || smaller[(1u << 19) - 1] != 7) return EIO;
  free(smaller);
  return 0;
}

/* A reservation that grows, as WasmEdge keeps a memory. */
static int reserve(void) {
  uint8_t *at = mmap(NULL, LARGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return errno;
  for (size_t step = LARGE / 4, done = 0; done < LARGE; done += step) {
    if (mmap(at + done, step, BOTH, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) return errno;
    at[done] = at[done + step - 1] = 1;
  }
  return munmap(at, LARGE) == 0 ? 0 : errno;
}

#if defined(__x86_64__)
/* The call 20 of 32-bit programs, getpid, whose number means writev to 64-bit ones. */
static int call_32(void) {
  long number = 20;
  __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
  return 0;
}
#endif

static const struct work {
  const char *name;
  int (*run)(void);
} WORKS[] = {
    {"threads", threads},
    {"reallocate", reallocate},
    {"reserve", reserve},
#if defined(__x86_64__)
    {"32-bit call", call_32},
#endif
};

static bool find(const char *name, const struct place *place, struct call *call) {
  return pick_memory(name, place, call) || pick_waiting(name, place, call) ||
         pick_process(name, place, call) || pick_descriptor(name, place, call);
}

static int attempt(const char *name, const struct place *place) {
  struct call call;
  for (size_t i = 0; i < COUNT(WORKS); i++)
    if (strcmp(name, WORKS[i].name) == 0) return WORKS[i].run();
  if (!find(name, place, &call)) return 255;
  const long *a = call.argument;
  return syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]) >= 0 ? 0 : errno;
}

static int list(const struct place *place) {
  struct call none;
  (void)find("list", place, &none);
  for (size_t i = 0; i < COUNT(WORKS); i++)
    puts(WORKS[i].name);
  return 0;
}

int main(int count, char **arguments) {
  static const char *const FILTERS[] = {"load", "run", "compile"};
  int pair[2];
  const int file = memfd_create("file", 0);
  if (file < 0 || ftruncate(file, PAGE) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 254;
  void *shared = mmap(NULL, PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 253;
  const int name = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  void *const at = (void *)EDGE_WAKE_ADDRESS;
  if (mmap(at, PAGE, PROT_READ, name, -1, 0) != at) return 250;
  const struct place place = {pair[0], pair[1], file, (long)shared, getpid(), getppid()};
  if (count == 2 && strcmp(arguments[1], "list") == 0) return list(&place);
  if (count != 3) return 252;
  for (unsigned filter = 0; filter < COUNT(FILTERS); filter++) {
    if (strcmp(arguments[1], FILTERS[filter]) != 0) continue;
    if (!edge_seccomp_install((enum edge_filter)filter, place.wake)) return 251;
    _exit(attempt(arguments[2], &place));
  }
  return 252;
}
