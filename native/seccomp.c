/* Builds the filters of system calls as classic BPF programs and installs them. */
#define _GNU_SOURCE
#include "seccomp.h"

#include <asm/ioctls.h>
#include <errno.h>
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
#define CHECKS_MAX 4u
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

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

/*
 * The instructions that judge one system call by its arguments. They overwrite the loaded call number, so a
 * block always ends in a verdict.
 */
struct block {
  struct program *program;
  struct jump other_calls;
  struct jump refusals[CHECKS_MAX];
  unsigned checks;
};

/* Positions of the arguments that the filters read. */
enum {
  ARGUMENT_FD = 0,
  CLONE_FLAGS = 0,
  IOCTL_REQUEST = 1,
  MMAP_PROTECTION = 2,
  MMAP_FLAGS = 3,
  MPROTECT_PROTECTION = 2,
  PRLIMIT_PROCESS = 0,
  TGKILL_PROCESS = 0,
  TGKILL_SIGNAL = 2
};

/* What a worker needs at any time: waiting, its heap, clocks, random bytes, fault handlers, its exit. */
static const uint32_t WORKER_CALLS[] = {
    SYS_futex,       SYS_munmap,          SYS_mremap,       SYS_madvise,    SYS_brk,
    SYS_getrandom,   SYS_clock_gettime,   SYS_clock_getres, SYS_nanosleep,  SYS_clock_nanosleep,
    SYS_sched_yield, SYS_rt_sigaction,    SYS_rt_sigreturn, SYS_getpid,     SYS_rt_sigprocmask,
    SYS_gettid,      SYS_restart_syscall, SYS_exit,         SYS_exit_group, SYS_sigaltstack,
};

/* What LLVM and its linker need as well: files of the working directory, threads, facts about the machine. */
static const uint32_t COMPILE_CALLS[] = {
    SYS_read,            SYS_write,             SYS_pread64,         SYS_pwrite64,   SYS_lseek,
    SYS_openat,          SYS_close,             SYS_fstat,           SYS_newfstatat, SYS_statx,
    SYS_ftruncate,       SYS_fallocate,         SYS_unlinkat,        SYS_renameat2,  SYS_fcntl,
    SYS_getcwd,          SYS_faccessat,         SYS_faccessat2,      SYS_fchmod,     SYS_fchmodat,
    SYS_umask,           SYS_statfs,            SYS_fstatfs,         SYS_readlinkat, SYS_mmap,
    SYS_mprotect,        SYS_uname,             SYS_sysinfo,         SYS_getrusage,  SYS_rseq,
    SYS_set_robust_list, SYS_sched_getaffinity, SYS_set_tid_address, SYS_getuid,     SYS_geteuid,
    SYS_getgid,          SYS_getegid,           SYS_gettimeofday,    SYS_writev,     SYS_readv,
    SYS_membarrier,      SYS_renameat,          SYS_getdents64,
#if defined(__x86_64__)
    SYS_open,   SYS_stat,     SYS_lstat, SYS_unlink, SYS_rename,
    SYS_access, SYS_readlink, SYS_chmod,
#endif
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

/* Loads the low half of an argument: what is judged here are ints, and flags of the low half. */
static void load_argument(struct program *program, unsigned index) {
  load_word(program, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
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

/* Gives call `number` one verdict, whatever its arguments are. */
static void answer_call(struct program *program, uint32_t number, uint32_t action) {
  const struct jump other_calls = jump_unless(program, BPF_JEQ, number);
  verdict(program, action);
  jump_here(program, other_calls);
}

static void allow_calls(struct program *program, const uint32_t *numbers, size_t count) {
  for (size_t i = 0; i < count; i++)
    answer_call(program, numbers[i], SECCOMP_RET_ALLOW);
}

/* Begins a block for call `number`, which must pass every check up to block_close. */
static struct block block_open(struct program *program, uint32_t number) {
  return (struct block){.program = program, .other_calls = jump_unless(program, BPF_JEQ, number)};
}

static void refuse_at(struct block *block, struct jump jump) {
  if (block->checks == CHECKS_MAX) {
    block->program->is_broken = true;
    return;
  }
  block->refusals[block->checks++] = jump;
}

static void must_equal(struct block *block, unsigned argument, uint32_t value) {
  load_argument(block->program, argument);
  refuse_at(block, jump_unless(block->program, BPF_JEQ, value));
}

static void must_have_bit(struct block *block, unsigned argument, uint32_t bit) {
  load_argument(block->program, argument);
  refuse_at(block, jump_unless(block->program, BPF_JSET, bit));
}

static void must_lack_bits(struct block *block, unsigned argument, uint32_t bits) {
  load_argument(block->program, argument);
  refuse_at(block, jump_when(block->program, BPF_JSET, bits));
}

/* Allows the call that passed every check, ends the process at one that failed, and goes on for others. */
static void block_close(const struct block *block) {
  verdict(block->program, SECCOMP_RET_ALLOW);
  for (unsigned i = 0; i < block->checks; i++)
    jump_here(block->program, block->refusals[i]);
  verdict(block->program, SECCOMP_RET_KILL_PROCESS);
  jump_here(block->program, block->other_calls);
}

static void allow_when_equal(struct program *program, uint32_t number, unsigned argument, uint32_t value) {
  struct block block = block_open(program, number);
  must_equal(&block, argument, value);
  block_close(&block);
}

/* abort() sends SIGABRT to its own thread; every other signal to anybody ends the process. */
static void allow_abort(struct program *program) {
  struct block block = block_open(program, SYS_tgkill);
  must_equal(&block, TGKILL_PROCESS, (uint32_t)getpid());
  must_equal(&block, TGKILL_SIGNAL, SIGABRT);
  block_close(&block);
}

/* Allows memory that belongs to no file and has none of the protections in `forbidden`. */
static void allow_anonymous_memory(struct program *program, uint32_t forbidden) {
  struct block map = block_open(program, SYS_mmap);
  must_have_bit(&map, MMAP_FLAGS, MAP_ANONYMOUS);
  must_lack_bits(&map, MMAP_PROTECTION, forbidden);
  block_close(&map);
  struct block protect = block_open(program, SYS_mprotect);
  must_lack_bits(&protect, MPROTECT_PROTECTION, forbidden);
  block_close(&protect);
}

/*
 * Allows threads of this process, never another process. clone3 passes its flags in memory, where a filter
 * cannot read them; libc falls back to clone when clone3 does not exist.
 */
static void allow_threads(struct program *program) {
  answer_call(program, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
  struct block clone = block_open(program, SYS_clone);
  must_have_bit(&clone, CLONE_FLAGS, CLONE_THREAD);
  block_close(&clone);
}

static void build(struct program *program, enum edge_filter filter, int wake_fd) {
  load_word(program, offsetof(struct seccomp_data, arch));
  const struct jump native = jump_when(program, BPF_JEQ, ARCHITECTURE);
  verdict(program, SECCOMP_RET_KILL_PROCESS);
  jump_here(program, native);
  load_word(program, offsetof(struct seccomp_data, nr));
  allow_calls(program, WORKER_CALLS, COUNT(WORKER_CALLS));
  allow_abort(program);
  if (filter == EDGE_FILTER_COMPILE) {
    allow_calls(program, COMPILE_CALLS, COUNT(COMPILE_CALLS));
    allow_threads(program);
    allow_when_equal(program, SYS_prlimit64, PRLIMIT_PROCESS, 0); /* getrlimit of this process */
    allow_when_equal(program, SYS_ioctl, IOCTL_REQUEST, TCGETS);  /* isatty */
  } else {
    allow_when_equal(program, SYS_sendto, ARGUMENT_FD, (uint32_t)wake_fd);
    allow_when_equal(program, SYS_write, ARGUMENT_FD, STDERR_FILENO);
    allow_anonymous_memory(program, filter == EDGE_FILTER_RUN ? PROT_EXEC : 0);
    if (filter == EDGE_FILTER_LOAD) answer_call(program, SYS_seccomp, SECCOMP_RET_ALLOW);
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
