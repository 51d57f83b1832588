/* Preloaded into arenad or arenactl by tests: the n-th call that touches the store's files fails, as a bad disk's would.
 *
 * What is to fail stands in a small file that this maps and that the test writes while the program runs (diskfault.py).
 * A write that fails has first written half of what it was given: a disk does not take things back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { DESCRIPTORS = 65536 };
enum kind { OPEN = 1, READ = 2, WRITE = 4, SYNC = 8, TRUNCATE = 16, MAP = 32, UNLINK = 64 };

static struct orders {
    atomic_int kinds;    /* that count, and may fail; 0: none */
    atomic_int left;     /* calls until the one that fails */
    atomic_int lasting;  /* whether all that follow fail too */
    atomic_int failure;  /* errno; 0: none fails; -1: the process kills itself there */
    atomic_int failed;   /* how many did */
} *orders;

static const char *folder;
static unsigned char watched[DESCRIPTORS];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ARENA_FAULTS");
    folder = getenv("ARENA_FAULTS_FOLDER");
    int fd = path == NULL ? -1 : REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || folder == NULL)
        return;
    void *mapped = REAL(mmap)(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    orders = mapped == MAP_FAILED ? NULL : mapped;
}

static int is_ours(const char *path)
{
    size_t length = folder == NULL ? 0 : strlen(folder);
    return length > 0 && strncmp(path, folder, length) == 0 && strncmp(path + length, "/arena.db", 9) == 0;
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && watched[fd];
}

/* Whether this call is the one; then errno is set. */
static int fails(enum kind kind)
{
    if (orders == NULL || !(atomic_load(&orders->kinds) & (int)kind))
        return 0;
    int before = atomic_fetch_sub(&orders->left, 1);
    int failure = atomic_load(&orders->failure);
    if (failure == 0 || before > 1 || (before < 1 && !atomic_load(&orders->lasting)))
        return 0;
    if (failure < 0)
        kill(getpid(), SIGKILL);
    atomic_fetch_add(&orders->failed, 1);
    errno = failure;
    return 1;
}

static int opened(int fd, const char *path)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        watched[fd] = (unsigned char)is_ours(path);
    return fd;
}

static int may_open(const char *path, int flags)
{
    return (flags & O_ACCMODE) == O_RDONLY || !is_ours(path) || !fails(OPEN);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return may_open(path, flags) ? opened(REAL(open64)(path, flags, mode), path) : -1;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return may_open(path, flags) ? opened(REAL(open)(path, flags, mode), path) : -1;
}

int close(int fd)
{
    if (is_watched(fd))
        watched[fd] = 0;
    return REAL(close)(fd);
}

int unlink(const char *path)
{
    return is_ours(path) && fails(UNLINK) ? -1 : REAL(unlink)(path);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    return is_watched(fd) && fails(READ) ? -1 : REAL(pread64)(fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return pread64(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    if (is_watched(fd) && fails(WRITE)) {
        int why = errno;
        if (REAL(pwrite64)(fd, data, size / 2, offset) < 0)
            abort();
        errno = why;
        return -1;
    }
    return REAL(pwrite64)(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return is_watched(fd) && fails(WRITE) ? -1 : REAL(write)(fd, data, size);
}

int ftruncate64(int fd, off64_t size)
{
    return is_watched(fd) && fails(TRUNCATE) ? -1 : REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return is_watched(fd) && fails(TRUNCATE) ? -1 : REAL(fallocate64)(fd, mode, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fallocate64(fd, mode, offset, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
    return is_watched(fd) && fails(TRUNCATE) ? errno : REAL(posix_fallocate64)(fd, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    return posix_fallocate64(fd, offset, size);
}

int fdatasync(int fd)
{
    return is_watched(fd) && fails(SYNC) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return is_watched(fd) && fails(SYNC) ? -1 : REAL(fsync)(fd);
}

void *mmap64(void *where, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return is_watched(fd) && fails(MAP) ? MAP_FAILED : REAL(mmap64)(where, size, protection, flags, fd, offset);
}

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t offset)
{
    return mmap64(where, size, protection, flags, fd, offset);
}
