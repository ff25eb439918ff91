/* Builds the filters of system calls as classic BPF programs and installs them. */
#define _GNU_SOURCE
#include "seccomp.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "only x86-64 and arm64 have a filter"
#endif

#define PROGRAM_MAX 512u
#define CHECKS_MAX 5u
#define JUMPS_MAX (CHECKS_MAX * 3u)
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/*
 * What one argument may be: no bit outside `allowed`, and every bit of `required`. The kernel reads an INT
 * from the low half of the argument, and a LONG from both: the high half of a LONG must be zero. An ADDRESS
 * is at or above 4 GiB.
 */
struct check {
  enum { NONE, INT, LONG, ADDRESS } width;
  unsigned argument;
  uint32_t allowed, required;
};

#define INT_WITHIN(argument, bits) {INT, argument, bits, 0}
#define INT_EQUAL(argument, value) {INT, argument, value, value}
#define LONG_WITHIN(argument, bits) {LONG, argument, bits, 0}
#define LONG_EQUAL(argument, value) {LONG, argument, value, value}
#define LONG_FLAGS(argument, required, optional) {LONG, argument, (required) | (optional), required}
#define ADDRESS_HIGH(argument) {ADDRESS, argument, 0, 0}

/*
 * Allows a call that passes all checks, or answers it with an error. Instead it may pretend that the call was
 * done, or turn it into SIGSYS, whose handler answers it (files.h). The first rule that a call passes
 * decides; a call that passes none ends the process.
 */
struct rule {
  uint32_t call;
  struct check checks[CHECKS_MAX];
  uint16_t error; /* 0: allowed */
  enum instead { NOTHING, PRETEND, TRAP } instead;
};

/* Positions of the arguments that the filters read. */
enum {
  ARGUMENT_FD = 0,
  ARGUMENT_PROCESS = 0,
  CLOCK_ID = 0,
  FCNTL_COMMAND = 1,
  FUTEX_OPERATION = 1,
  IOCTL_REQUEST = 1,
  MADVISE_ADVICE = 2,
  MEMORY_ADDRESS = 0, /* of mmap, munmap, mprotect and madvise */
  MMAP_PROTECTION = 2,
  MMAP_FLAGS = 3,
  MPROTECT_PROTECTION = 2,
  PRLIMIT_NEW = 2,
  SECCOMP_OPERATION = 0,
  SECCOMP_FLAGS = 1,
  SEND_BYTES = 1,
  SEND_LENGTH = 2,
  SEND_FLAGS = 3,
  SEND_ADDRESS = 4,
  TGKILL_SIGNAL = 2
};

/* Clocks that all processes share. Other ids name the CPU clock of any process, or a device. */
#define CLOCKS 15u
/* Waits and wakes of one word, without requeue and priority: FUTEX_WAIT is 0. */
#define FUTEX_PLAIN (FUTEX_WAIT | FUTEX_WAKE | FUTEX_PRIVATE_FLAG)
/* A type of memory newer than many headers. Source: the kernel's mman.h. */
#define MAP_KIND_DROPPABLE 8u
/* The commands 0 to 3. Later ones send signals to other processes (F_SETOWN, F_SETSIG, O_ASYNC), or lock. */
#define FCNTL_PLAIN (F_DUPFD | F_GETFD | F_SETFD | F_GETFL)

_Static_assert(FUTEX_WAIT == 0 && FUTEX_WAKE == 1 && FUTEX_PRIVATE_FLAG == 128, "operations that are bits");
_Static_assert(F_DUPFD == 0 && F_GETFD == 1 && F_SETFD == 2 && F_GETFL == 3, "commands that are bits");

/*
 * What every child needs: waiting, its heap, clocks, random bytes, fault handlers, its exit. The calls of
 * every request come first.
 *
 * An error answers what libc can do without. mremap reaches other pages of a shared mapping: without it,
 * realloc of a large block allocates, copies and frees, and WasmEdge grows a memory by mmap inside its
 * reservation. madvise keeps the one advice that libc gives as its heap shrinks or a thread ends; newer
 * versions try huge pages, guard pages, and droppable memory for random numbers, and go on without.
 */
static const struct rule CHILD_RULES[] = {
    {.call = SYS_futex, .checks = {INT_WITHIN(FUTEX_OPERATION, FUTEX_PLAIN)}},
    {.call = SYS_clock_gettime, .checks = {INT_WITHIN(CLOCK_ID, CLOCKS)}},
    {.call = SYS_rt_sigaction},
    {.call = SYS_munmap, .checks = {ADDRESS_HIGH(MEMORY_ADDRESS)}},
    {.call = SYS_mmap,
     .checks = {LONG_FLAGS(MMAP_FLAGS, MAP_PRIVATE | MAP_ANONYMOUS, MAP_NORESERVE),
                LONG_WITHIN(MMAP_PROTECTION, PROT_READ | PROT_WRITE)}},
    {.call = SYS_mmap,
     .checks = {LONG_FLAGS(MMAP_FLAGS, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, MAP_NORESERVE),
                LONG_WITHIN(MMAP_PROTECTION, PROT_READ | PROT_WRITE), ADDRESS_HIGH(MEMORY_ADDRESS)}},
    {.call = SYS_mprotect,
     .checks = {LONG_WITHIN(MPROTECT_PROTECTION, PROT_READ | PROT_WRITE), ADDRESS_HIGH(MEMORY_ADDRESS)}},
    {.call = SYS_madvise,
     .checks = {INT_EQUAL(MADVISE_ADVICE, MADV_DONTNEED), ADDRESS_HIGH(MEMORY_ADDRESS)}},
    {.call = SYS_madvise, .error = EINVAL},
    {.call = SYS_mremap, .error = ENOMEM},
    {.call = SYS_mmap,
     .checks = {LONG_EQUAL(MMAP_FLAGS, MAP_KIND_DROPPABLE | MAP_ANONYMOUS)},
     .error = EINVAL},
    {.call = SYS_clock_getres, .checks = {INT_WITHIN(CLOCK_ID, CLOCKS)}},
    {.call = SYS_clock_nanosleep, .checks = {INT_WITHIN(CLOCK_ID, CLOCKS)}},
};

/* What every child needs as well, whatever the arguments are. */
static const uint32_t CHILD_CALLS[] = {
    SYS_brk,    SYS_getrandom,      SYS_nanosleep, SYS_sched_yield, SYS_rt_sigreturn,
    SYS_getpid, SYS_rt_sigprocmask, SYS_gettid,    SYS_sigaltstack, SYS_restart_syscall,
    SYS_exit,   SYS_exit_group,
};

/* libc writes to stderr, which is /dev/null in a worker, before it aborts. */
static const struct rule WORKER_RULES[] = {
    {.call = SYS_write, .checks = {INT_EQUAL(ARGUMENT_FD, STDERR_FILENO)}},
};

/* For the time before a guest runs: makes code executable that is no longer writable, and adds a filter. */
static const struct rule LOAD_RULES[] = {
    {.call = SYS_mprotect,
     .checks = {LONG_EQUAL(MPROTECT_PROTECTION, PROT_READ | PROT_EXEC), ADDRESS_HIGH(MEMORY_ADDRESS)}},
    {.call = SYS_seccomp,
     .checks = {INT_EQUAL(SECCOMP_OPERATION, SECCOMP_SET_MODE_FILTER), INT_EQUAL(SECCOMP_FLAGS, 0)}},
};

/* LLVM sets handlers that tidy up after a crash; the compile child has its own, which must stay. */
static const struct rule COMPILE_FIRST_RULES[] = {{.call = SYS_rt_sigaction, .instead = PRETEND}};

/*
 * What LLVM and its linker need: descriptors that they have, maps of them (the output is shared with its
 * file, but no memory is shared without a file), and facts about the machine. One thread.
 */
static const struct rule COMPILE_RULES[] = {
    {.call = SYS_mmap,
     .checks = {LONG_FLAGS(MMAP_FLAGS, MAP_PRIVATE, MAP_ANONYMOUS | MAP_NORESERVE),
                LONG_WITHIN(MMAP_PROTECTION, PROT_READ | PROT_WRITE)}},
    {.call = SYS_mmap,
     .checks = {LONG_FLAGS(MMAP_FLAGS, MAP_SHARED, MAP_NORESERVE),
                LONG_WITHIN(MMAP_PROTECTION, PROT_READ | PROT_WRITE)}},
    {.call = SYS_fcntl, .checks = {INT_WITHIN(FCNTL_COMMAND, FCNTL_PLAIN)}},
    {.call = SYS_ioctl, .checks = {INT_EQUAL(IOCTL_REQUEST, TCGETS)}}, /* isatty */
    {.call = SYS_prlimit64, .checks = {INT_EQUAL(ARGUMENT_PROCESS, 0), LONG_EQUAL(PRLIMIT_NEW, 0)}},
    {.call = SYS_sched_getaffinity, .checks = {INT_EQUAL(ARGUMENT_PROCESS, 0)}},
};

static const uint32_t COMPILE_CALLS[] = {
    SYS_read,     SYS_write,  SYS_pread64, SYS_pwrite64, SYS_readv,   SYS_writev,
    SYS_lseek,    SYS_close,  SYS_fstat,   SYS_fstatfs,  SYS_getcwd,  SYS_ftruncate,
    SYS_umask,    SYS_uname,  SYS_sysinfo, SYS_getrusage, SYS_gettimeofday,
    SYS_getuid,   SYS_geteuid, SYS_getgid, SYS_getegid,
};

/* The calls with a path. None reaches the kernel. */
static const uint32_t COMPILE_PATH_CALLS[] = {
    SYS_openat,    SYS_newfstatat, SYS_statx,      SYS_faccessat, SYS_faccessat2,
    SYS_unlinkat,  SYS_renameat,   SYS_renameat2,  SYS_readlinkat, SYS_statfs,
#if defined(__x86_64__)
    SYS_open, SYS_stat, SYS_lstat, SYS_unlink, SYS_rename, SYS_access, SYS_readlink,
#endif
};

/* A program as it grows. One that passed a bound is broken, and is never installed. */
struct program {
  struct sock_filter code[PROGRAM_MAX];
  uint16_t length;
  bool is_broken;
};

/* One side of a conditional jump; jump_here sets its target. */
struct jump {
  uint16_t at;
  bool when_true;
};

/* The jumps of the checks that a call can fail. */
struct failures {
  struct jump list[JUMPS_MAX];
  unsigned count;
};

static void add(struct program *program, struct sock_filter instruction) {
  if (program->length == PROGRAM_MAX) {
    program->is_broken = true;
    return;
  }
  program->code[program->length++] = instruction;
}

static void load_word(struct program *program, size_t offset) {
  add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void load_number(struct program *program) { load_word(program, offsetof(struct seccomp_data, nr)); }

static void keep_bits(struct program *program, uint32_t bits) {
  add(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits));
}

static void verdict(struct program *program, uint32_t action) {
  add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Compares the loaded word; `test` is BPF_JEQ or BPF_JSET. Both sides go on at the next instruction. */
static void compare(struct program *program, uint16_t test, uint32_t value) {
  add(program, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | test | BPF_K), value, 0, 0));
}

static struct jump jump_when(struct program *program, uint16_t test, uint32_t value) {
  const struct jump jump = {.at = program->length, .when_true = true};
  compare(program, test, value);
  return jump;
}

static struct jump jump_unless(struct program *program, uint16_t test, uint32_t value) {
  const struct jump jump = {.at = program->length, .when_true = false};
  compare(program, test, value);
  return jump;
}

/* Makes the next instruction the target of `jump`. */
static void jump_here(struct program *program, struct jump jump) {
  const unsigned distance = program->length - jump.at - 1u;
  if (jump.at >= program->length || distance > UINT8_MAX) {
    program->is_broken = true;
  } else if (jump.when_true) {
    program->code[jump.at].jt = (uint8_t)distance;
  } else {
    program->code[jump.at].jf = (uint8_t)distance;
  }
}

static void add_check(struct program *program, const struct check *check, struct failures *failures) {
  const size_t low = offsetof(struct seccomp_data, args) + check->argument * sizeof(uint64_t);
  if (check->width == ADDRESS) {
    load_word(program, low + sizeof(uint32_t));
    failures->list[failures->count++] = jump_when(program, BPF_JEQ, 0);
    return;
  }
  if (check->width == LONG) { /* both architectures are little-endian */
    load_word(program, low + sizeof(uint32_t));
    failures->list[failures->count++] = jump_unless(program, BPF_JEQ, 0);
  }
  load_word(program, low);
  if (check->allowed == check->required) {
    failures->list[failures->count++] = jump_unless(program, BPF_JEQ, check->required);
    return;
  }
  failures->list[failures->count++] = jump_when(program, BPF_JSET, ~check->allowed);
  if (check->required == 0) return;
  keep_bits(program, check->required);
  failures->list[failures->count++] = jump_unless(program, BPF_JEQ, check->required);
}

static uint32_t action_of(const struct rule *rule) {
  if (rule->instead == TRAP) return SECCOMP_RET_TRAP;
  if (rule->instead == PRETEND) return SECCOMP_RET_ERRNO; /* of error 0: success */
  return rule->error == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | rule->error;
}

/* The call number is loaded before and after. */
static void add_rule(struct program *program, const struct rule *rule) {
  struct failures failures = {.count = 0};
  const struct jump other_calls = jump_unless(program, BPF_JEQ, rule->call);
  for (unsigned i = 0; i < CHECKS_MAX && rule->checks[i].width != NONE; i++)
    add_check(program, &rule->checks[i], &failures);
  verdict(program, action_of(rule));
  for (unsigned i = 0; i < failures.count; i++)
    jump_here(program, failures.list[i]);
  if (failures.count > 0) load_number(program);
  jump_here(program, other_calls);
}

static void add_rules(struct program *program, const struct rule *rules, size_t count) {
  for (size_t i = 0; i < count; i++)
    add_rule(program, &rules[i]);
}

static void add_calls(struct program *program, const uint32_t *calls, size_t count, enum instead instead) {
  for (size_t i = 0; i < count; i++)
    add_rule(program, &(struct rule){.call = calls[i], .instead = instead});
}

/* A worker wakes the edge with its name. MSG_OOB can send a signal; an address can name another socket. */
static void add_wake(struct program *program, int wake_fd) {
  const struct rule wake = {.call = SYS_sendto,
                            .checks = {INT_EQUAL(ARGUMENT_FD, (uint32_t)wake_fd),
                                       INT_EQUAL(SEND_FLAGS, MSG_DONTWAIT | MSG_NOSIGNAL),
                                       LONG_EQUAL(SEND_BYTES, EDGE_WAKE_ADDRESS),
                                       LONG_EQUAL(SEND_LENGTH, sizeof(struct edge_wake)),
                                       LONG_EQUAL(SEND_ADDRESS, 0)}};
  add_rule(program, &wake);
}

/* abort() sends SIGABRT to its own thread; every other signal to anybody ends the process. */
static void add_abort(struct program *program) {
  const struct rule abort = {
      .call = SYS_tgkill,
      .checks = {INT_EQUAL(ARGUMENT_PROCESS, (uint32_t)getpid()), INT_EQUAL(TGKILL_SIGNAL, SIGABRT)}};
  add_rule(program, &abort);
}

static void build(struct program *program, enum edge_filter filter, int wake_fd) {
  load_word(program, offsetof(struct seccomp_data, arch));
  const struct jump native = jump_when(program, BPF_JEQ, ARCHITECTURE);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
  jump_here(program, native);
  load_number(program);
  if (filter != EDGE_FILTER_COMPILE) add_wake(program, wake_fd);
  else add_rules(program, COMPILE_FIRST_RULES, COUNT(COMPILE_FIRST_RULES));
  add_rules(program, CHILD_RULES, COUNT(CHILD_RULES));
  add_calls(program, CHILD_CALLS, COUNT(CHILD_CALLS), NOTHING);
  add_abort(program);
  if (filter == EDGE_FILTER_COMPILE) {
    add_rules(program, COMPILE_RULES, COUNT(COMPILE_RULES));
    add_calls(program, COMPILE_CALLS, COUNT(COMPILE_CALLS), NOTHING);
    add_calls(program, COMPILE_PATH_CALLS, COUNT(COMPILE_PATH_CALLS), TRAP);
  } else {
    add_rules(program, WORKER_RULES, COUNT(WORKER_RULES));
    if (filter == EDGE_FILTER_LOAD) add_rules(program, LOAD_RULES, COUNT(LOAD_RULES));
  }
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

bool edge_seccomp_install(enum edge_filter filter, int wake_fd) {
  struct program program = {.length = 0};
  build(&program, filter, wake_fd);
  if (program.is_broken) return false;
  const struct sock_fprog code = {.len = program.length, .filter = program.code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) == 0;
}
