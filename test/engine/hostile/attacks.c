/* Attacks of a taken-over worker by the arguments of the calls that it has. */
#define _GNU_SOURCE
#include "attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define PAGE 4096u
#define BOTH (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define WAKE_FD 3
#define QUIET (MSG_DONTWAIT | MSG_NOSIGNAL)
/* The CPU clock of the process 1, and that of a device, as the kernel names them. */
#define CLOCK_OF_INIT (~1l * 8 + 2)
#define CLOCK_OF_DEVICE (~3l * 8 + 3)
#define SYS_FUTEX_WAITV 449

static uint32_t word;
static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
static struct timespec second = {.tv_sec = 1};

/* One call with arguments that the filter must judge. */
static const struct call {
  const char *name;
  long number;
  long argument[6];
} CALLS[] = {
    {"share", SYS_mmap, {0, PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0}},
    {"grow-down", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_GROWSDOWN, -1, 0}},
    {"huge-pages", SYS_mmap, {0, 2 << 20, BOTH, ANONYMOUS | MAP_HUGETLB, -1, 0}},
    {"populate", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_POPULATE, -1, 0}},
    {"lock-mapped", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | MAP_LOCKED, -1, 0}},
    {"map-code", SYS_mmap, {0, PAGE, BOTH | PROT_EXEC, ANONYMOUS, -1, 0}},
    {"map-high", SYS_mmap, {0, PAGE, BOTH, ANONYMOUS | (long)(1ul << 40), -1, 0}},
    {"map-descriptor", SYS_mmap, {0, PAGE, PROT_READ, MAP_PRIVATE, 4, 0}},
    {"map-ring", SYS_mmap, {0, PAGE, BOTH, MAP_SHARED, 4, 0}},
    {"make-code", SYS_mprotect, {(long)page, PAGE, PROT_READ | PROT_EXEC}},
    {"make-downward", SYS_mprotect, {(long)page, PAGE, BOTH | PROT_GROWSDOWN}},
    {"make-file", SYS_memfd_create, {(long)page, 0}},
    {"make-secret", 447, {0}},
    {"lock", SYS_mlock, {(long)page, PAGE}},
    {"lock-all", SYS_mlockall, {MCL_FUTURE}},
    {"fault-by-hand", SYS_userfaultfd, {1}},
    {"attach", SYS_shmget, {0, PAGE, 0600}},
    {"requeue", SYS_futex, {(long)&word, FUTEX_REQUEUE, 1, 1, (long)&word}},
    {"compare-requeue", SYS_futex, {(long)&word, FUTEX_CMP_REQUEUE, 1, 1, (long)&word, 0}},
    {"lock-priority", SYS_futex, {(long)&word, FUTEX_LOCK_PI, 0, 0}},
    {"unlock-priority", SYS_futex, {(long)&word, FUTEX_UNLOCK_PI, 0, 0}},
    {"requeue-priority", SYS_futex, {(long)&word, FUTEX_CMP_REQUEUE_PI, 1, 1, (long)&word, 0}},
    {"wait-priority", SYS_futex, {(long)&word, FUTEX_WAIT_REQUEUE_PI, 0, 0, (long)&word, 0}},
    {"wait-bits", SYS_futex, {(long)&word, FUTEX_WAIT_BITSET, 0, 0, 0, -1}},
    {"wake-change", SYS_futex, {(long)&word, FUTEX_WAKE_OP, 1, 1, (long)&word, 0}},
    {"wait-many", SYS_FUTEX_WAITV, {(long)page, 1, 0, 0, 0}},
    {"robust", SYS_set_robust_list, {(long)page, 24}},
    {"clock-of-init", SYS_clock_gettime, {CLOCK_OF_INIT, (long)page}},
    {"clock-of-device", SYS_clock_gettime, {CLOCK_OF_DEVICE, (long)page}},
    {"sleep-on-init", SYS_clock_nanosleep, {CLOCK_OF_INIT, 0, (long)&second, 0}},
    {"send-urgent", SYS_sendto, {WAKE_FD, (long)page, 1, QUIET | MSG_OOB, 0, 0}},
    {"send-address", SYS_sendto, {WAKE_FD, (long)page, 1, QUIET, (long)page, 2}},
    {"send-more", SYS_sendto, {WAKE_FD, (long)page, PAGE, QUIET, 0, 0}},
    {"send-waiting", SYS_sendto, {WAKE_FD, (long)page, 1, MSG_NOSIGNAL, 0, 0}},
    {"send-elsewhere", SYS_sendto, {4, (long)page, 1, QUIET, 0, 0}},
    {"send-descriptor", SYS_sendmsg, {WAKE_FD, (long)page, QUIET}},
    {"write-wake", SYS_write, {WAKE_FD, (long)page, 1}},
    {"read-wake", SYS_read, {WAKE_FD, (long)page, 1}},
    {"close-wake", SYS_close, {WAKE_FD}},
    {"copy-wake", SYS_dup, {WAKE_FD}},
    {"own-wake", SYS_fcntl, {WAKE_FD, F_SETOWN, 1}},
    {"open", SYS_openat, {AT_FDCWD, (long)page, 0}},
    {"socket", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"fork", SYS_clone, {SIGCHLD}},
    {"thread", SYS_clone3, {(long)page, 64}},
    {"run", SYS_execve, {(long)page, 0, 0}},
    {"kill", SYS_kill, {-1, SIGKILL}},
    {"signal-init", SYS_tgkill, {1, 1, SIGABRT}},
    {"limits", SYS_prlimit64, {0, 3, (long)page, 0}},
    {"filter", SYS_seccomp, {1, 0, (long)page}},
    {"wake-flag", SYS_prctl, {4, 1, 0, 0, 0}},
};

static void on_fault(int number) {
  (void)number;
  _exit(ATTACK_HARMLESS);
}

static void handle_all(void (*handler)(int), int flags) {
  for (int number = 1; number < NSIG; number++) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    (void)sigaction(number, &action, NULL);
  }
}

_Noreturn static void fault(void) {
  volatile uint8_t *volatile nowhere = NULL;
  *nowhere = 1;
  _exit(ATTACK_REACHED);
}

static void on_return(int number) { (void)number; }

/* A fault whose handler returns to the fault, for ever. */
static void fault_for_ever(void) {
  handle_all(on_return, 0);
  fault();
}

/* Handlers for every signal, on a stack in the memory that the edge reads. */
static void handle_in_slots(void *slots) {
  const stack_t stack = {.ss_sp = slots, .ss_size = 64u << 10};
  if (sigaltstack(&stack, NULL) != 0) _exit(ATTACK_REFUSED);
  handle_all(on_fault, SA_ONSTACK);
  fault();
}

/* Blocks every signal and spins: only SIGKILL is left. */
static void block(void) {
  sigset_t all;
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_BLOCK, &all, NULL);
  for (;;)
    continue;
}

/* Replaces a page of its own code, and runs on into it. */
static void replace_code(void) {
  uint8_t *at = (uint8_t *)((uintptr_t)&replace_code & ~(uintptr_t)(PAGE - 1));
  (void)mmap(at, PAGE, BOTH, ANONYMOUS | MAP_FIXED, -1, 0);
  _exit(ATTACK_REACHED);
}

static void sleep_on(void) {
  const struct timespec long_time = {.tv_sec = 1 << 30};
  for (;;)
    (void)nanosleep(&long_time, NULL);
}

static void try_call(const struct call *call) {
  const long *a = call->argument;
  const long result = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
  _exit(result >= 0 ? ATTACK_REACHED : ATTACK_REFUSED);
}

static bool attack_process(const char *name, void *slots) {
  if (strcmp(name, "fault-for-ever") == 0) fault_for_ever();
  else if (strcmp(name, "handle-in-slots") == 0) handle_in_slots(slots);
  else if (strcmp(name, "block") == 0) block();
  else if (strcmp(name, "replace-code") == 0) replace_code();
  else if (strcmp(name, "sleep") == 0) sleep_on();
  else if (strcmp(name, "abort") == 0) abort();
  else if (strcmp(name, "return") == 0) (void)syscall(SYS_rt_sigreturn);
  else if (strcmp(name, "leave") == 0) (void)syscall(SYS_exit, 0);
  else if (strncmp(name, "exit-", 5) == 0) _exit(atoi(name + 5));
  else return false;
  return true;
}

void attack_run(const uint8_t *env, uint32_t env_len, void *slots, size_t slots_bytes) {
  static const char KEY[] = "ATTACK=";
  static bool done; /* a worker waits many times */
  char name[64];
  if (done || env_len < sizeof KEY || env_len - sizeof KEY >= sizeof name ||
      memcmp(env, KEY, sizeof KEY - 1) != 0 || env[env_len - 1] != '\0')
    return;
  done = true;
  memcpy(name, env + sizeof KEY - 1, env_len - (sizeof KEY - 1));
  for (size_t i = 0; i < COUNT(CALLS); i++)
    if (strcmp(name, CALLS[i].name) == 0) try_call(&CALLS[i]);
  if (!attack_process(name, slots)) (void)attack_memory(name, slots, slots_bytes);
}
