/* Preloaded into the executable by tests: makes writes fail and moves the wall clock, as a file tells it to.
 *
 * HOST_FAULTS names a file of one line: `ERRNO SUBSTRING` lets every write and flush fail with that number for
 * files whose path holds the substring, `flush ERRNO SUBSTRING` every flush alone, `clock SECONDS` shifts the wall
 * clock. Without the file nothing happens.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Reads the line into `text`; 0 where there is no file. Uses bare system calls, because it runs inside of others. */
static long read_order(char *text, size_t size)
{
	const char *path = getenv("HOST_FAULTS");
	if (path == NULL)
		return 0;
	long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		return 0;
	long length = syscall(SYS_read, file, text, size - 1);
	syscall(SYS_close, file);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return length;
}

static const char FLUSH[] = "flush ";

/* The error number that a write or a flush of this descriptor gets, 0 for none. */
static int fault_of(int file, int is_flush)
{
	char order[512];
	char link[64];
	char path[512];
	int saved = errno;
	int number = 0;
	const char *fault = order;
	if (read_order(order, sizeof order) == 0) {
		errno = saved;
		return 0;
	}
	if (is_flush && strncmp(order, FLUSH, sizeof FLUSH - 1) == 0)
		fault += sizeof FLUSH - 1;
	if ((number = atoi(fault)) != 0) {
		const char *part = strchr(fault, ' ');
		snprintf(link, sizeof link, "/proc/self/fd/%d", file);
		long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
		path[length < 0 ? 0 : length] = '\0';
		if (part == NULL || strstr(path, part + 1) == NULL)
			number = 0;
	}
	errno = saved;
	return number;
}

#define FAIL_WHERE_TOLD(file, is_flush) \
	do { \
		int number = fault_of(file, is_flush); \
		if (number != 0) { \
			errno = number; \
			return -1; \
		} \
	} while (0)

ssize_t write(int file, const void *bytes, size_t length)
{
	FAIL_WHERE_TOLD(file, 0);
	return syscall(SYS_write, file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at)
{
	FAIL_WHERE_TOLD(file, 0);
	return syscall(SYS_pwrite64, file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
{
	return pwrite64(file, bytes, length, at);
}

int fsync(int file)
{
	FAIL_WHERE_TOLD(file, 1);
	return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
	FAIL_WHERE_TOLD(file, 1);
	return (int)syscall(SYS_fdatasync, file);
}

static long shift_seconds(void)
{
	char order[512];
	int saved = errno;
	long shift = 0;
	if (read_order(order, sizeof order) != 0 && strncmp(order, "clock ", 6) == 0)
		shift = atol(order + 6);
	errno = saved;
	return shift;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);
	if (clock == CLOCK_REALTIME)
		time->tv_sec += shift_seconds();
	return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	int result = (int)syscall(SYS_gettimeofday, time, zone);
	time->tv_sec += shift_seconds();
	return result;
}
