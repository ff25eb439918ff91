/* Runs one ahead-of-time compile in a limited child. */
#define _GNU_SOURCE
#include "compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "module.h"
#include "ring.h"
#include "sandbox.h"
#include "seccomp.h"

#define MODULE_BYTES_MAX (1u << 30)
#define MEMORY_PAGES_MAX 65536u
#define STACK_BYTES (8ull << 20)
#define FILES_MAX 16u
/* The descriptors that the child keeps; the last only where it has a namespace. */
enum { MODULE_FD = 3, RESULT_FD = 4, OBJECT_FD = 5, PARENT_FD = 6 };

static int file_create(const char *path) {
  return open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* A file beside `path` that has no name any more. */
static int file_create_nameless(const char *path) {
  char name[EDGE_PATH_MAX + 4];
  const int length = snprintf(name, sizeof name, "%s.o", path);
  if (length < 0 || length >= (int)sizeof name) return errno = ENAMETOOLONG, -1;
  const int fd = file_create(name);
  if (fd >= 0 && unlink(name) != 0) {
    const int error = errno;
    close(fd);
    return errno = error, -1;
  }
  return fd;
}

bool edge_compile_collect(const char *path, bool complete) {
  struct stat facts;
  if (complete && lstat(path, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0) return true;
  /* When it cannot be removed, the caller removes it with its directory. */
  (void)unlink(path);
  return false;
}

static bool module_map(struct edge_bytes *module) {
  const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  struct stat facts;
  const int seals = fcntl(MODULE_FD, F_GET_SEALS);
  if (seals < 0 || (seals & wanted) != wanted || fstat(MODULE_FD, &facts) != 0) return false;
  if (facts.st_size <= 0 || facts.st_size > (off_t)MODULE_BYTES_MAX) return false;
  const void *at = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, MODULE_FD, 0);
  if (at == MAP_FAILED) return false;
  *module = (struct edge_bytes){at, (uint32_t)facts.st_size};
  return true;
}

/* False when this build of LLVM hides how many threads it starts. */
static bool threads_forbid(void) {
  unsigned *threads = dlsym(RTLD_DEFAULT, EDGE_COMPILE_LLVM_THREADS);
  if (threads == NULL || *threads > 1) return false;
  *threads = 1;
  return true;
}

static void on_end(int number) { _exit(number == SIGABRT ? EDGE_COMPILE_ABORTED : EDGE_COMPILE_LIMIT); }

/*
 * The first process of a namespace ignores signals that have their default action. Behind the filter nobody
 * replaces these handlers.
 */
static bool ends_handle(void) {
  static const int ENDS[] = {SIGXCPU, SIGXFSZ, SIGABRT};
  const struct sigaction action = {.sa_handler = on_end};
  for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++)
    if (sigaction(ENDS[i], &action, NULL) != 0) return false;
  return true;
}

static bool child_enter(const struct edge_compile *compile, bool is_apart) {
  const struct edge_sandbox sandbox = {.data_bytes = compile->memory_bytes,
                                       .stack_bytes = STACK_BYTES,
                                       .file_bytes = EDGE_COMPILE_FILE_BYTES_MAX,
                                       .files = FILES_MAX,
                                       .cpu_seconds = compile->cpu_seconds,
                                       .parent = is_apart ? 0 : compile->parent,
                                       .name = "edge-compile"};
  if (!edge_sandbox_enter(&sandbox)) return false;
  if (is_apart && edge_namespace_is_orphan(PARENT_FD)) return false;
  if (is_apart) close(PARENT_FD);
  return ends_handle() && edge_files_open(RESULT_FD, OBJECT_FD) && threads_forbid();
}

static WasmEdge_CompilerContext *compiler_open(void) {
  WasmEdge_ConfigureContext *configure = edge_module_configure(MEMORY_PAGES_MAX);
  if (configure == NULL) return NULL;
  /* A shared object, whose symbols and relocations the edge checks; the other form has lost them. */
  WasmEdge_ConfigureCompilerSetOutputFormat(configure, WasmEdge_CompilerOutputFormat_Native);
  WasmEdge_ConfigureCompilerSetOptimizationLevel(configure, WasmEdge_CompilerOptimizationLevel_O2);
  WasmEdge_ConfigureCompilerSetGenericBinary(configure, false);
  WasmEdge_ConfigureCompilerSetInterruptible(configure, false);
  WasmEdge_ConfigureCompilerSetDumpIR(configure, false);
  return WasmEdge_CompilerCreate(configure);
}

_Noreturn static void child_run(const struct edge_compile *compile, int result_fd, int object_fd) {
  const int keep[] = {compile->module_fd, result_fd, object_fd, compile->apart->parent_fd};
  const bool is_apart = compile->apart->flags != 0;
  struct edge_bytes module;
  if (!edge_sandbox_descriptors(compile->null_fd, keep, is_apart ? 4 : 3)) _exit(EDGE_COMPILE_SANDBOX);
  if (!module_map(&module)) _exit(EDGE_COMPILE_IO);
  close(MODULE_FD);
  if (!child_enter(compile, is_apart)) _exit(EDGE_COMPILE_SANDBOX);
  WasmEdge_CompilerContext *compiler = compiler_open();
  if (compiler == NULL) _exit(EDGE_COMPILE_REFUSED);
  if (!edge_seccomp_install(EDGE_FILTER_COMPILE, -1)) _exit(EDGE_COMPILE_SANDBOX);
  const WasmEdge_Result result =
      WasmEdge_CompilerCompileFromBuffer(compiler, module.at, module.len, EDGE_FILES_RESULT);
  if (WasmEdge_ResultOK(result)) _exit(edge_files_is_complete() ? EDGE_COMPILE_DONE : EDGE_COMPILE_IO);
  /* A file that could not be written, as on a full disk, says nothing about the module. */
  const bool unwritten = WasmEdge_ResultGetCode(result) == WasmEdge_ErrCode_IllegalPath;
  _exit(unwritten ? EDGE_COMPILE_IO : EDGE_COMPILE_REFUSED);
}

pid_t edge_compile_fork(const struct edge_compile *compile) {
  const int result_fd = file_create(compile->path);
  if (result_fd < 0) return -errno;
  const int object_fd = file_create_nameless(compile->path);
  pid_t pid = object_fd < 0 ? -1 : edge_namespace_fork(compile->apart);
  if (pid == 0) child_run(compile, result_fd, object_fd);
  if (pid < 0) {
    pid = -errno;
    (void)edge_compile_collect(compile->path, false);
  }
  if (object_fd >= 0) close(object_fd);
  close(result_fd);
  return pid;
}
