// Faults for scripts/faults.sh, preloaded into the program under test (Linux):
//
//   FAULT_CALL=write|fsync|mmap|rename   the call that fails
//   FAULT_AT=N                           only its N-th use (default: all); rename always fails
//   FAULT_ERRNO=N                        how it fails (default: EIO)
//   FAULT_PIECE=N FAULT_PAUSE=N          writes N bytes at a time, with N microseconds between, so that a kill meets
//                                        half-written files
//
// Only regular files beyond the standard streams count for write, only mapped files for mmap. rename is refused by the kernel (seccomp), because
// some libraries make that system call without libc.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *fault;
static long at, code = EIO, piece, pause_us;
static atomic_long calls;

static long number(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

#define REFUSE(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code)

static void refuse_rename(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_rename
        REFUSE(SYS_rename),
#endif
#ifdef SYS_renameat
        REFUSE(SYS_renameat),
#endif
        REFUSE(SYS_renameat2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) abort();
}

__attribute__((constructor)) static void start(void) {
    fault = getenv("FAULT_CALL");
    at = number("FAULT_AT", 0);
    code = number("FAULT_ERRNO", EIO);
    piece = number("FAULT_PIECE", 0);
    pause_us = number("FAULT_PAUSE", 0);
    if (fault && !strcmp(fault, "rename")) refuse_rename();
}

static int fails(const char *call) {
    if (!fault || strcmp(fault, call)) return 0;
    long count = atomic_fetch_add(&calls, 1) + 1;
    if (at && count != at) return 0;
    errno = (int)code;
    return 1;
}

static int regular(int fd) {
    struct stat stat;
    return fd > STDERR_FILENO && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    if (!regular(fd)) return syscall(SYS_write, fd, bytes, len);
    if (fails("write")) return -1;
    if (!piece || (size_t)piece >= len) return syscall(SYS_write, fd, bytes, len);
    // The caller goes on after what was written.
    ssize_t written = syscall(SYS_write, fd, bytes, piece);
    usleep((useconds_t)pause_us);
    return written;
}

int fsync(int fd) {
    return fails("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

void *mmap64(void *address, size_t len, int protection, int flags, int fd, off64_t offset) {
    if (fd >= 0 && fails("mmap")) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, len, protection, flags, fd, offset);
}

void *mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset) {
    return mmap64(address, len, protection, flags, fd, offset);
}
