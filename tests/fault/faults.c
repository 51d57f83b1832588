/* Stands in for what pam_arena.so calls of libc and libpam, and makes the n-th use of one of them fail.
 *
 * Linked into the driver's executable, whose symbols the loader finds before libc's and libpam's: the module under
 * test is the one that ships. Calls are told by their return address: libpam and the driver keep the real functions.
 * Memory alone fails for all who allocate during the call, since libpam, syslog(3) and the conversation do so for the
 * module.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <security/pam_appl.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>

enum { LIE = 1000 }; /* kinds from here on are no error codes */
enum { SHORT = LIE, NOBODY, UNTOUCHED, NOTHING, HANGUP, PART, NONE, END, ONE, ZEROS, LEAP, EMPTY, BLANK, LEFT, SILENT };

#define PAM(name)                                                                                                      \
    {                                                                                                                  \
#name, PAM_##name                                                                                              \
    }
static const struct fault_kind KINDS_OF[FUNCTIONS][12] = {
    [SOCKET] = {{"EMFILE", EMFILE},
                {"ENFILE", ENFILE},
                {"ENOMEM", ENOMEM},
                {"EACCES", EACCES},
                {"EAFNOSUPPORT", EAFNOSUPPORT}},
    [CONNECT] = {{"ECONNREFUSED", ECONNREFUSED},
                 {"ENOENT", ENOENT},
                 {"EACCES", EACCES},
                 {"EAGAIN", EAGAIN},
                 {"EINTR", EINTR},
                 {"EPROTOTYPE", EPROTOTYPE},
                 {"EINPROGRESS", EINPROGRESS}},
    [GETSOCKOPT] =
        {{"EBADF", EBADF}, {"ENOMEM", ENOMEM}, {"short", SHORT}, {"nobody", NOBODY}, {"untouched", UNTOUCHED}},
    [POLL] = {{"EINTR", EINTR},
              {"EAGAIN", EAGAIN},
              {"ENOMEM", ENOMEM},
              {"EINVAL", EINVAL},
              {"nothing", NOTHING},
              {"hangup", HANGUP}},
    [SEND] = {{"EPIPE", EPIPE},
              {"ECONNRESET", ECONNRESET},
              {"EAGAIN", EAGAIN},
              {"EINTR", EINTR},
              {"ENOBUFS", ENOBUFS},
              {"EMSGSIZE", EMSGSIZE},
              {"EBADF", EBADF},
              {"part", PART},
              {"none", NONE}},
    [RECV] = {{"EBADF", EBADF},
              {"ENOMEM", ENOMEM},
              {"EINTR", EINTR},
              {"EAGAIN", EAGAIN},
              {"ECONNRESET", ECONNRESET},
              {"ECONNREFUSED", ECONNREFUSED},
              {"end", END},
              {"one", ONE},
              {"zeros", ZEROS}},
    [CLOCK_GETTIME] = {{"EINVAL", EINVAL}, {"leap", LEAP}},
    [CLOSE] = {{"EINTR", EINTR}, {"EIO", EIO}, {"EBADF", EBADF}},
    [STRERROR] = {{"null", EMPTY}},
    [PAM_GET_ITEM] = {PAM(BAD_ITEM), PAM(SYSTEM_ERR), PAM(BUF_ERR), PAM(PERM_DENIED), {"null", EMPTY}},
    [PAM_GET_USER] = {PAM(CONV_ERR),
                      PAM(BUF_ERR),
                      PAM(SYSTEM_ERR),
                      PAM(CONV_AGAIN),
                      PAM(INCOMPLETE),
                      PAM(ABORT),
                      PAM(IGNORE),
                      {"null", EMPTY}},
    [PAM_GETENV] = {{"null", EMPTY}},
    [PAM_SET_ITEM] = {PAM(BUF_ERR), PAM(SYSTEM_ERR), PAM(PERM_DENIED), PAM(BAD_ITEM)},
    [PAM_STRERROR] = {{"null", EMPTY}},
    [PAM_SYSLOG] = {{"silent", SILENT}},
    [MEMORY] = {{"ENOMEM", ENOMEM}},
    [CONVERSATION] = {PAM(CONV_ERR),
                      PAM(BUF_ERR),
                      PAM(CONV_AGAIN),
                      PAM(ABORT),
                      PAM(IGNORE),
                      PAM(SYSTEM_ERR),
                      {"null", EMPTY},
                      {"blank", BLANK},
                      {"left", LEFT}},
};
const char *const FUNCTION_NAMES[FUNCTIONS + 1] = {
    "socket",        "connect",      "getsockopt", "poll",         "send",         "recv",
    "clock_gettime", "close",        "strerror",   "pam_get_item", "pam_get_user", "pam_getenv",
    "pam_set_item",  "pam_strerror", "pam_syslog", "memory",       "conversation", "everything"};

/* Where the module lies; nothing is counted and nothing fails outside of it, or while armed is false. */
static struct {
    const char *begin, *end;
    struct fault_plan plan;
    struct fault_report *report;
    bool armed;
    int64_t skew_ms;         /* what each fault costs on the module's clock, so that patience ends without waiting */
    int64_t expecting_since; /* when the last message came, or the call began */
    int64_t leap_ms;         /* what the clock jumped by itself */
    long all;
} now;

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Milliseconds of the module's clock, less its own leaps. */
static int64_t passed_ms(void)
{
    struct timespec time;
    REAL(clock_gettime)(CLOCK_BOOTTIME, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000 + now.skew_ms;
}

void faults_arm(const struct fault_plan *plan, const void *begin, const void *end, struct fault_report *report)
{
    now.plan = *plan;
    now.begin = begin;
    now.end = end;
    now.report = report;
    now.all = 0;
    now.skew_ms = now.leap_ms = 0;
    now.expecting_since = passed_ms();
    now.armed = true;
}

int64_t faults_disarm(void)
{
    now.armed = false;
    return passed_ms() - now.expecting_since;
}

const struct fault_kind *faults_kinds(enum function function)
{
    return KINDS_OF[function];
}

/* The kind of failure that is due for this use of the function, or 0. */
static int due(enum function function, const void *caller)
{
    const struct fault_plan *plan = &now.plan;
    bool hit;
    int kind = 0;
    long use;

    if (!now.armed || (caller != NULL && ((const char *)caller < now.begin || (const char *)caller >= now.end)))
        return 0;
    use = ++now.report->uses[function];
    now.all++;
    if (plan->function == FUNCTIONS)
        hit = now.all >= plan->nth;
    else
        hit = (int)function == plan->function && (plan->forever ? use >= plan->nth : use == plan->nth);
    if (!hit)
        return 0;
    /* Everything fails in the first way that the function knows: kinds are of one function. */
    kind = KINDS_OF[function][plan->function == FUNCTIONS ? 0 : plan->kind].code;
    now.report->injected++;
    now.skew_ms += 50;
    return kind;
}

static int error(int kind)
{
    errno = kind;
    return -1;
}

int socket(int domain, int type, int protocol)
{
    int kind = due(SOCKET, CALLER);
    return kind ? error(kind) : REAL(socket)(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int kind = due(CONNECT, CALLER);
    return kind ? error(kind) : REAL(connect)(fd, address, size);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
    int kind = due(GETSOCKOPT, CALLER);
    if (kind == SHORT) { /* root's, by bytes that nobody vouches for */
        memset(value, 0, sizeof(struct ucred));
        *size = 0;
    }
    if (kind == NOBODY)
        memcpy(value, &(struct ucred){.pid = 1, .uid = 65534, .gid = 65534}, sizeof(struct ucred));
    if (kind >= LIE)
        return 0;
    return kind ? error(kind) : REAL(getsockopt)(fd, level, name, value, size);
}

int poll(struct pollfd *all, nfds_t count, int timeout)
{
    int kind = due(POLL, CALLER);
    if (kind == NOTHING)
        return 0;
    if (kind == HANGUP) {
        all[0].revents = POLLHUP;
        return 1;
    }
    if (kind)
        return error(kind);
    if (now.armed && count == 0) { /* a pause: let it pass on the module's clock alone */
        now.skew_ms += timeout;
        return 0;
    }
    return REAL(poll)(all, count, timeout);
}

int __poll_chk(struct pollfd *all, nfds_t count, int timeout, size_t size);
int __poll_chk(struct pollfd *all, nfds_t count, int timeout, size_t size)
{
    (void)size;
    int kind = due(POLL, CALLER);
    if (kind)
        return kind >= LIE ? 0 : error(kind);
    return REAL(poll)(all, count, timeout);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    int kind = due(SEND, CALLER);
    if (kind >= LIE)
        return kind == PART ? 1 : 0;
    if (kind == EPIPE || kind == ECONNRESET) /* the other side is gone, so no more comes */
        (void)shutdown(fd, SHUT_RDWR);
    return kind ? error(kind) : REAL(send)(fd, data, size, flags);
}

static ssize_t receive(int kind, int fd, void *data, size_t size, int flags)
{
    unsigned char *bytes = data;
    ssize_t got;
    if (kind == END)
        return 0;
    if (kind >= LIE) {
        memset(data, 0, size);
        bytes[0] = 'A';
        return kind == ONE ? 1 : 20;
    }
    if (kind)
        return error(kind);
    got = REAL(recv)(fd, data, size, flags);
    if (now.armed && got > 0)
        now.expecting_since = passed_ms();
    if (now.armed && got >= 8 && memcmp(bytes, "AR\1\4\x30\0\1", 7) == 0)
        now.report->verdict = bytes[7];
    return got;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    return receive(due(RECV, CALLER), fd, data, size, flags);
}

ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags)
{
    return receive(due(RECV, CALLER), fd, data, size < room ? size : room, flags);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int kind = due(CLOCK_GETTIME, CALLER), result;
    bool by_module = now.armed && (const char *)CALLER >= now.begin && (const char *)CALLER < now.end;
    if (kind && kind != LEAP)
        return error(kind);
    if (kind == LEAP)
        now.leap_ms += 9000; /* less than the patience of 10 s, with what the others cost */
    result = REAL(clock_gettime)(clock, time);
    if (by_module) {
        int64_t ahead = now.skew_ms + now.leap_ms, nsec = time->tv_nsec + ahead % 1000 * 1000000;
        time->tv_sec += ahead / 1000 + nsec / 1000000000;
        time->tv_nsec = nsec % 1000000000;
    }
    return result;
}

/* Linux closes whatever close(2) says. */
int close(int fd)
{
    int kind = due(CLOSE, CALLER), result = REAL(close)(fd);
    return kind ? error(kind) : result;
}

char *strerror(int number)
{
    return due(STRERROR, CALLER) ? NULL : REAL(strerror)(number);
}

int pam_get_item(const pam_handle_t *pamh, int item, const void **value)
{
    int kind = due(PAM_GET_ITEM, CALLER);
    if (kind == EMPTY) {
        *value = NULL;
        return PAM_SUCCESS;
    }
    return kind ? kind : REAL(pam_get_item)(pamh, item, value);
}

int pam_get_user(pam_handle_t *pamh, const char **user, const char *prompt)
{
    int kind = due(PAM_GET_USER, CALLER);
    if (kind == EMPTY) {
        *user = NULL;
        return PAM_SUCCESS;
    }
    return kind ? kind : REAL(pam_get_user)(pamh, user, prompt);
}

const char *pam_getenv(pam_handle_t *pamh, const char *name)
{
    return due(PAM_GETENV, CALLER) ? NULL : REAL(pam_getenv)(pamh, name);
}

int pam_set_item(pam_handle_t *pamh, int item, const void *value)
{
    int kind = due(PAM_SET_ITEM, CALLER);
    return kind ? kind : REAL(pam_set_item)(pamh, item, value);
}

const char *pam_strerror(pam_handle_t *pamh, int code)
{
    return due(PAM_STRERROR, CALLER) ? NULL : REAL(pam_strerror)(pamh, code);
}

void pam_syslog(const pam_handle_t *pamh, int priority, const char *format, ...)
{
    va_list all;
    if (due(PAM_SYSLOG, CALLER))
        return;
    va_start(all, format);
    pam_vsyslog(pamh, priority, format, all);
    va_end(all);
}

int faults_converse(void)
{
    int kind = due(CONVERSATION, NULL);
    if (kind < LIE)
        return kind;
    return kind == EMPTY ? FAULTS_NULL : kind == BLANK ? FAULTS_BLANK : FAULTS_LEFT;
}

#ifndef WITHOUT_MEMORY /* the sanitizers bring their own */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    if (due(MEMORY, NULL)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (due(MEMORY, NULL)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (due(MEMORY, NULL)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, size);
}
#endif
