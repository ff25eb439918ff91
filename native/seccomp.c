/* Builds and installs the filters of system calls as classic BPF. */
#define _GNU_SOURCE
#include "seccomp.h"

#include <asm/ioctls.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "only x86-64 and arm64 have a filter"
#endif

#define PROGRAM_MAX 256u
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

struct program {
  struct sock_filter code[PROGRAM_MAX];
  uint16_t length;
};

/*
 * What a worker needs at any time: waiting, its heap, clocks, random bytes, WasmEdge's fault handlers, its
 * end.
 */
static const uint32_t WORKER_CALLS[] = {
    SYS_futex,       SYS_munmap,          SYS_mremap,       SYS_madvise,    SYS_brk,
    SYS_getrandom,   SYS_clock_gettime,   SYS_clock_getres, SYS_nanosleep,  SYS_clock_nanosleep,
    SYS_sched_yield, SYS_rt_sigaction,    SYS_rt_sigreturn, SYS_getpid,     SYS_rt_sigprocmask,
    SYS_gettid,      SYS_restart_syscall, SYS_exit,         SYS_exit_group, SYS_sigaltstack,
};

/*
 * What LLVM and its linker use besides: files under the working directory, threads, facts about the machine.
 */
static const uint32_t COMPILE_CALLS[] = {
    SYS_read,
    SYS_write,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_openat,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_fcntl,
    SYS_getcwd,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_umask,
    SYS_statfs,
    SYS_fstatfs,
    SYS_readlinkat,
    SYS_mmap,
    SYS_mprotect,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    
    SYS_rseq,
    SYS_set_robust_list,
    SYS_sched_getaffinity,
    SYS_set_tid_address,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_gettimeofday,
    SYS_writev,
    SYS_readv,
    SYS_membarrier,
    SYS_renameat,
    SYS_getdents64,
#if defined(__x86_64__)
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_unlink,
    SYS_rename,
    SYS_access,
    SYS_readlink,
    SYS_chmod,
#endif
};

static void add(struct program *program, struct sock_filter instruction) {
  if (program->length < PROGRAM_MAX) program->code[program->length] = instruction;
  program->length++;
}

static void load_word(struct program *program, size_t offset) {
  add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void verdict(struct program *program, uint32_t action) {
  add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Low half of an argument; arguments here are ints, or flags whose meaning is in the low half. */
static void load_argument(struct program *program, unsigned index) {
  load_word(program, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
}

static void allow_call(struct program *program, uint32_t number) {
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
  verdict(program, SECCOMP_RET_ALLOW);
}

/*
 * Opens a block of `length` instructions, the last of which must be a verdict, that only call `number`
 * enters.
 */
static void for_call(struct program *program, uint32_t number, uint8_t length) {
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, length));
}

static void allow_when_equal(struct program *program, uint32_t number, unsigned argument, uint32_t value) {
  for_call(program, number, 4);
  load_argument(program, argument);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
  verdict(program, SECCOMP_RET_ALLOW);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

static void allow_without_bits(struct program *program, uint32_t number, unsigned argument, uint32_t bits) {
  for_call(program, number, 4);
  load_argument(program, argument);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0));
  verdict(program, SECCOMP_RET_ALLOW);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

/* abort() sends SIGABRT to its own thread, and nobody sends anything else. */
static void allow_abort(struct program *program) {
  for_call(program, SYS_tgkill, 6);
  load_argument(program, 0);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 0, 3));
  load_argument(program, 2);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SIGABRT, 0, 1));
  verdict(program, SECCOMP_RET_ALLOW);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

/* Memory of no file, and executable only as far as `forbidden` lets it. */
static void allow_anonymous_memory(struct program *program, uint32_t forbidden) {
  for_call(program, SYS_mmap, 6);
  load_argument(program, 3);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 3));
  load_argument(program, 2);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, forbidden, 1, 0));
  verdict(program, SECCOMP_RET_ALLOW);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
  allow_without_bits(program, SYS_mprotect, 2, forbidden);
}

/*
 * Threads of this process, never another process. clone3 keeps its flags in memory: libc goes without when
 * told to.
 */
static void allow_threads(struct program *program) {
  for_call(program, SYS_clone3, 1);
  verdict(program, SECCOMP_RET_ERRNO | 38u);
  for_call(program, SYS_clone, 4);
  load_argument(program, 0);
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
  verdict(program, SECCOMP_RET_ALLOW);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

static void build(struct program *program, enum edge_filter filter, int wake_fd) {
  load_word(program, offsetof(struct seccomp_data, arch));
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
  verdict(program, SECCOMP_RET_KILL_PROCESS);
  load_word(program, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < COUNT(WORKER_CALLS); i++)
    allow_call(program, WORKER_CALLS[i]);
  /* The blocks below replace the loaded number, so each ends in a verdict. */
  allow_abort(program);
  if (filter == EDGE_FILTER_COMPILE) {
    for (size_t i = 0; i < COUNT(COMPILE_CALLS); i++)
      allow_call(program, COMPILE_CALLS[i]);
    allow_threads(program);
    allow_when_equal(program, SYS_prlimit64, 0, 0);  /* getrlimit of this process */
    allow_when_equal(program, SYS_ioctl, 1, TCGETS); /* isatty */
  } else {
    allow_when_equal(program, SYS_sendto, 0, (uint32_t)wake_fd);
    allow_when_equal(program, SYS_write, 0, STDERR_FILENO);
    allow_anonymous_memory(program, filter == EDGE_FILTER_RUN ? PROT_EXEC : 0);
    if (filter == EDGE_FILTER_LOAD) allow_call(program, SYS_seccomp);
  }
  verdict(program, SECCOMP_RET_KILL_PROCESS);
}

bool edge_seccomp_install(enum edge_filter filter, int wake_fd) {
  struct program program = {.length = 0};
  build(&program, filter, wake_fd);
  if (program.length > PROGRAM_MAX) return false;
  const struct sock_fprog code = {.len = program.length, .filter = program.code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) == 0;
}
