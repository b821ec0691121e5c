/* Stands between a process and its files: counts every call that changes something below FAULT_ROOT, and at call number
 * FAULT_AT does what FAULT_MODE says. Loaded with LD_PRELOAD by tests/cli/crash.rs.
 *
 *   count  write the number of calls to FAULT_COUNT at exit
 *   kill   the process dies before the call, as by kill -9
 *   eio    the call fails with EIO, once
 *   full   from this call on, whatever takes space fails with ENOSPC; a write that fits half is cut short first
 *   rofs   from this call on, every such call fails with EROFS
 *   closed nothing is counted; whoever asks whether it may write below FAULT_ROOT is told EACCES
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

static atomic_long calls;

static int below_root(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    return root != NULL && strncmp(path, root, strlen(root)) == 0;
}

static int fd_below_root(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below_root(path);
}

static int at_below_root(int directory, const char *path) {
    if (path[0] == '/') return below_root(path);
    if (directory != AT_FDCWD) return fd_below_root(directory);
    char absolute[2 * PATH_MAX];
    if (getcwd(absolute, PATH_MAX) == NULL) return 0;
    strcat(absolute, "/");
    strncat(absolute, path, PATH_MAX - 1);
    return below_root(absolute);
}

/* The error of this call, or 0. */
static int fault(int inside, int takes_space) {
    const char *mode = getenv("FAULT_MODE"), *at = getenv("FAULT_AT");
    if (!inside || mode == NULL) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1, from = at == NULL ? 0 : atol(at);
    if (strcmp(mode, "kill") == 0 && number == from) kill(getpid(), SIGKILL);
    if (strcmp(mode, "eio") == 0 && number == from) return EIO;
    if (strcmp(mode, "full") == 0 && number >= from && takes_space) return ENOSPC;
    if (strcmp(mode, "rofs") == 0 && number >= from) return EROFS;
    return 0;
}

#define FAIL(inside, takes_space)                      \
    do {                                               \
        int error = fault((inside), (takes_space));    \
        if (error != 0) {                              \
            errno = error;                             \
            return -1;                                 \
        }                                              \
    } while (0)

__attribute__((destructor)) static void tell(void) {
    const char *mode = getenv("FAULT_MODE"), *path = getenv("FAULT_COUNT");
    if (mode == NULL || path == NULL || strcmp(mode, "count") != 0) return;
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fprintf(file, "%ld\n", atomic_load(&calls));
        fclose(file);
    }
}

int access(const char *path, int how) {
    const char *mode = getenv("FAULT_MODE");
    if (mode != NULL && strcmp(mode, "closed") == 0 && (how & W_OK) && at_below_root(AT_FDCWD, path)) {
        errno = EACCES;
        return -1;
    }
    return REAL(int (*)(const char *, int), "access")(path, how);
}

static int writes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        va_list rest;                                                                  \
        va_start(rest, flags);                                                         \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;    \
        va_end(rest);                                                                  \
        if (writes(flags)) FAIL(at_below_root(AT_FDCWD, path), (flags & O_CREAT) != 0); \
        return REAL(int (*)(const char *, int, ...), #name)(path, flags, mode);        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                     \
    int name(int directory, const char *path, int flags, ...) {                          \
        va_list rest;                                                                    \
        va_start(rest, flags);                                                           \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;      \
        va_end(rest);                                                                    \
        if (writes(flags)) FAIL(at_below_root(directory, path), (flags & O_CREAT) != 0);  \
        return REAL(int (*)(int, const char *, int, ...), #name)(directory, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = REAL(ssize_t (*)(int, const void *, size_t), "write");
    int error = fault(fd_below_root(fd), 1);
    if (error == ENOSPC && count > 1 && atomic_load(&calls) == atol(getenv("FAULT_AT"))) return real(fd, bytes, count / 2);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real(fd, bytes, count);
}

int fsync(int fd) {
    FAIL(fd_below_root(fd), 1);
    return REAL(int (*)(int), "fsync")(fd);
}

int fdatasync(int fd) {
    FAIL(fd_below_root(fd), 1);
    return REAL(int (*)(int), "fdatasync")(fd);
}

int ftruncate(int fd, off_t length) {
    FAIL(fd_below_root(fd), 0);
    return REAL(int (*)(int, off_t), "ftruncate")(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    FAIL(fd_below_root(fd), 0);
    return REAL(int (*)(int, off64_t), "ftruncate64")(fd, length);
}

int fchmod(int fd, mode_t mode) {
    FAIL(fd_below_root(fd), 0);
    return REAL(int (*)(int, mode_t), "fchmod")(fd, mode);
}

int mkdir(const char *path, mode_t mode) {
    FAIL(at_below_root(AT_FDCWD, path), 1);
    return REAL(int (*)(const char *, mode_t), "mkdir")(path, mode);
}

int rmdir(const char *path) {
    FAIL(at_below_root(AT_FDCWD, path), 0);
    return REAL(int (*)(const char *), "rmdir")(path);
}

int unlink(const char *path) {
    FAIL(at_below_root(AT_FDCWD, path), 0);
    return REAL(int (*)(const char *), "unlink")(path);
}

int unlinkat(int directory, const char *path, int flags) {
    FAIL(at_below_root(directory, path), 0);
    return REAL(int (*)(int, const char *, int), "unlinkat")(directory, path, flags);
}

int rename(const char *from, const char *to) {
    FAIL(at_below_root(AT_FDCWD, to), 0);
    return REAL(int (*)(const char *, const char *), "rename")(from, to);
}

int renameat(int from_directory, const char *from, int directory, const char *to) {
    FAIL(at_below_root(directory, to), 0);
    return REAL(int (*)(int, const char *, int, const char *), "renameat")(from_directory, from, directory, to);
}

int renameat2(int from_directory, const char *from, int directory, const char *to, unsigned int flags) {
    FAIL(at_below_root(directory, to), 0);
    return REAL(int (*)(int, const char *, int, const char *, unsigned int), "renameat2")(from_directory, from, directory,
                                                                                         to, flags);
}

int linkat(int from_directory, const char *from, int directory, const char *to, int flags) {
    FAIL(at_below_root(directory, to), 1);
    return REAL(int (*)(int, const char *, int, const char *, int), "linkat")(from_directory, from, directory, to, flags);
}
