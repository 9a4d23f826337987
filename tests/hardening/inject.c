/* Makes the n-th change of a folder fail: LD_PRELOAD, told by the file that WRITE_FAULTS names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct plan {
    long at;            /* the change that fails, from 1; 0: none */
    long error;         /* with which errno */
    long on;            /* whether every later one fails as well */
    atomic_long seen;   /* changes so far, of all processes */
    atomic_long failed; /* of those, made to fail */
    char under[PATH_MAX];
};

static struct plan *plan;

void faults_load(void) {
    const char *path = getenv("WRITE_FAULTS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    plan = NULL;
    if (file < 0) return;
    void *at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED) plan = at;
}

__attribute__((constructor)) static void begin(void) { faults_load(); }

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
    size_t size = strlen(plan->under);
    return !strncmp(path, plan->under, size) && (path[size] == '/' || !path[size]);
}

static int file_below(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return below(path);
}

static int path_below(int folder, const char *name) {
    char path[PATH_MAX];
    if (name[0] == '/') return below(name);
    if (folder != AT_FDCWD) return file_below(folder);
    return getcwd(path, sizeof path) && below(path);
}

/* Return 0 to let a change pass, 1 where it is the one that fails, 2 where it comes later. */
static int due(int here) {
    if (!here || !plan->at) {
        if (here) atomic_fetch_add(&plan->seen, 1);
        return 0;
    }
    long number = atomic_fetch_add(&plan->seen, 1) + 1;
    int fails = number == plan->at ? 1 : number > plan->at && plan->on ? 2 : 0;
    if (fails) {
        atomic_fetch_add(&plan->failed, 1);
        errno = (int)plan->error;
    }
    return fails;
}

#define FILE_FAILS(file) (plan && due(file_below(file)))
#define PATH_FAILS(folder, name) (plan && due(path_below(folder, name)))
/* what frees space or changes a mode works on a full disk, and not on one that is read-only */
#define READ_ONLY (plan && plan->error == EROFS)

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (WRITES(flags) && PATH_FAILS(AT_FDCWD, path)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (WRITES(flags) && PATH_FAILS(folder, path)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        if (strpbrk(mode, "wa+") && PATH_FAILS(AT_FDCWD, path)) return NULL; \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* a full disk takes what there is room for, and refuses the rest */
#define HALF(size) (plan->error == ENOSPC && plan->on && (size) > 1 ? (size) / 2 : 0)

ssize_t write(int file, const void *content, size_t size) {
    REAL(write);
    int fails = FILE_FAILS(file);
    if (fails == 1 && HALF(size)) return real(file, content, HALF(size));
    return fails ? -1 : real(file, content, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    return FILE_FAILS(file) ? -1 : real(file, parts, count);
}

#define PWRITE(name, offset_t) \
    ssize_t name(int file, const void *content, size_t size, offset_t at) { \
        REAL(name); \
        return FILE_FAILS(file) ? -1 : real(file, content, size, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define SENDFILE(name, offset_t) \
    ssize_t name(int out, int in, offset_t *at, size_t size) { \
        REAL(name); \
        return FILE_FAILS(out) ? -1 : real(out, in, at, size); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

#define ON_FILE(name) \
    int name(int file) { \
        REAL(name); \
        return FILE_FAILS(file) ? -1 : real(file); \
    }
ON_FILE(fsync)
ON_FILE(fdatasync)

#define TRUNCATE(name, offset_t) \
    int name(int file, offset_t size) { \
        REAL(name); \
        struct stat now; \
        int cuts = !fstat(file, &now) && size <= now.st_size; \
        return (!cuts || READ_ONLY) && FILE_FAILS(file) ? -1 : real(file, size); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    REAL(rename);
    return PATH_FAILS(AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat(int from, const char *old, int to, const char *new) {
    REAL(renameat);
    return PATH_FAILS(to, new) ? -1 : real(from, old, to, new);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return PATH_FAILS(AT_FDCWD, path) ? -1 : real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    return PATH_FAILS(folder, path) ? -1 : real(folder, path, mode);
}

int symlink(const char *to, const char *path) {
    REAL(symlink);
    return PATH_FAILS(AT_FDCWD, path) ? -1 : real(to, path);
}

int link(const char *old, const char *path) {
    REAL(link);
    return PATH_FAILS(AT_FDCWD, path) ? -1 : real(old, path);
}

int unlink(const char *path) {
    REAL(unlink);
    return READ_ONLY && PATH_FAILS(AT_FDCWD, path) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return READ_ONLY && PATH_FAILS(folder, path) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    return READ_ONLY && PATH_FAILS(AT_FDCWD, path) ? -1 : real(path);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    return READ_ONLY && PATH_FAILS(AT_FDCWD, path) ? -1 : real(path, mode);
}

/* who asks how much is free on a full disk is told */
#define FREE(name, kind, first, is_below) \
    int name(first, struct kind *found) { \
        REAL(name); \
        int answer = real(where, found); \
        if (!answer && plan && plan->error == ENOSPC && plan->on && plan->failed && is_below) \
            found->f_bavail = found->f_bfree = 0; \
        return answer; \
    }
FREE(statvfs, statvfs, const char *where, path_below(AT_FDCWD, where))
FREE(statvfs64, statvfs64, const char *where, path_below(AT_FDCWD, where))
FREE(fstatvfs, statvfs, int where, file_below(where))
FREE(fstatvfs64, statvfs64, int where, file_below(where))
