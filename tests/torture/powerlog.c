/* Preloaded into arenad by tests: writes down, in one order, what the store's files and the socket are told.
 *
 * A write is noted before it is made, a sync before and after it, and a message before it leaves: so a log that ends
 * anywhere is what a power cut there would have to answer for, and never later. One record is one writev() to a file
 * opened O_APPEND, whose order is the kernel's. Read by powerlog.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { DESCRIPTORS = 65536 };

static int log_fd = -1;
static const char *folder;
static unsigned char watched[DESCRIPTORS];

struct record {
    uint32_t size; /* of what follows the record */
    int32_t fd;
    uint64_t number;
    char kind;
} __attribute__((packed));

static void note(char kind, int fd, uint64_t number, const void *data, size_t size)
{
    struct record head = {(uint32_t)size, fd, number, kind};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, size}};
    if (log_fd >= 0 && writev(log_fd, parts, 2) != (ssize_t)(sizeof head + size))
        abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ARENA_TRACE");
    folder = getenv("ARENA_TRACE_FOLDER");
    if (path != NULL && folder != NULL)
        log_fd = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The folder, and the store's files in it. */
static int is_ours(const char *path)
{
    size_t length = folder == NULL ? 0 : strlen(folder);
    if (length == 0 || strncmp(path, folder, length) != 0)
        return 0;
    return path[length] == '\0' || strncmp(path + length, "/arena.db", 9) == 0;
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && watched[fd];
}

static int opened(int fd, const char *path, int flags)
{
    if (fd >= 0 && fd < DESCRIPTORS && is_ours(path)) {
        watched[fd] = 1;
        note('O', fd, (uint64_t)flags, path, strlen(path));
    }
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int fd = REAL(open64)(path, flags, va_arg(more, mode_t));
    va_end(more);
    return opened(fd, path, flags);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int fd = REAL(open)(path, flags, va_arg(more, mode_t));
    va_end(more);
    return opened(fd, path, flags);
}

int close(int fd)
{
    if (is_watched(fd)) {
        watched[fd] = 0;
        note('C', fd, 0, NULL, 0);
    }
    return REAL(close)(fd);
}

int unlink(const char *path)
{
    if (is_ours(path))
        note('U', -1, 0, path, strlen(path));
    return REAL(unlink)(path);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    if (is_watched(fd))
        note('W', fd, (uint64_t)offset, data, size);
    return REAL(pwrite64)(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (is_watched(fd))
        note('W', fd, (uint64_t)lseek(fd, 0, SEEK_CUR), data, size);
    return REAL(write)(fd, data, size);
}

int ftruncate64(int fd, off64_t size)
{
    if (is_watched(fd))
        note('T', fd, (uint64_t)size, NULL, 0);
    return REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

static int synced(int fd, int (*sync)(int))
{
    if (is_watched(fd))
        note('B', fd, 0, NULL, 0);
    int result = sync(fd);
    if (is_watched(fd) && result == 0)
        note('E', fd, 0, NULL, 0);
    return result;
}

int fdatasync(int fd)
{
    return synced(fd, REAL(fdatasync));
}

int fsync(int fd)
{
    return synced(fd, REAL(fsync));
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    note('S', fd, 0, data, size);
    return REAL(send)(fd, data, size, flags);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    ssize_t got = REAL(recv)(fd, data, size, flags);
    if (got > 0)
        note('R', fd, 0, data, (size_t)got);
    return got;
}
