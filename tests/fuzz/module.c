/* libFuzzer and AFL++: whatever a daemon sends, the module ends as its DONE says, and without a DONE that allows it with an
 * error.
 *
 * Input: how the call goes (operation and flags, options, conversation: a byte each), then datagrams, each after its
 * length in two bytes. socket() and connect() are the fuzzer's: the other end of a pair has sent all of them already.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <security/pam_appl.h>
#include <security/pam_modules.h>

#include "wire.h"

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

enum { CONVERSATION_FAILS = -1, DATAGRAMS = 24, LONGEST = ARENA_DATAGRAM_MAX + 8 };

static int near, far;                   /* the pair */
static unsigned fails_at, asked;        /* the conversation fails then; 0: never */
static bool mute;                       /* the conversation answers with nothing */
static char left[ARENA_SECRET_MAX + 1]; /* in PAM_AUTHTOK, which libpam shows to modules that it has called itself */
static char folder[] = "/tmp/arena-fuzz-XXXXXX";

int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_pam_set_item(pam_handle_t *pamh, int item, const void *value);
int __wrap_pam_get_item(const pam_handle_t *pamh, int item, const void **value);
int __real_pam_get_item(const pam_handle_t *pamh, int item, const void **value);
void __wrap_pam_syslog(const pam_handle_t *pamh, int priority, const char *format, ...);

int __wrap_socket(int domain, int type, int protocol)
{
    HOLDS(domain == AF_UNIX && (type & SOCK_CLOEXEC) && protocol == 0);
    return near;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    HOLDS(fd == near && address->sa_family == AF_UNIX && size > 0);
    return 0;
}

int __wrap_pam_set_item(pam_handle_t *pamh, int item, const void *value)
{
    (void)pamh;
    HOLDS(item == PAM_AUTHTOK && strlen(value) <= ARENA_SECRET_MAX);
    strcpy(left, value);
    return PAM_SUCCESS;
}

int __wrap_pam_get_item(const pam_handle_t *pamh, int item, const void **value)
{
    if (item != PAM_AUTHTOK)
        return __real_pam_get_item(pamh, item, value);
    *value = left;
    return PAM_SUCCESS;
}

void __wrap_pam_syslog(const pam_handle_t *pamh, int priority, const char *format, ...)
{
    char line[2048];
    va_list more;
    (void)pamh, (void)priority;
    va_start(more, format);
    (void)vsnprintf(line, sizeof line, format, more);
    va_end(more);
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    struct pam_response *response = calloc((size_t)count, sizeof *response);
    int style = messages[0]->msg_style;
    (void)data;
    HOLDS(count == 1 && response != NULL && strlen(messages[0]->msg) <= ARENA_TEXT_MAX);
    if (++asked == fails_at) {
        free(response);
        return PAM_CONV_ERR;
    }
    if (!mute && (style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON))
        response->resp = strdup("2846274955");
    *responses = response;
    return PAM_SUCCESS;
}

/* What the call must come to, and the DONE that says so. Reads the same datagrams, one after another. */
static int expected(bool silent, const unsigned char *data, size_t size, struct arena_message *done)
{
    unsigned seen = 0;
    for (unsigned number = 0; size >= 2 && number < DATAGRAMS; number++) {
        size_t length = (size_t)data[0] << 8 | data[1];
        data += 2, size -= 2;
        if (length > size)
            length = size;
        if (length > LONGEST)
            length = LONGEST;
        if (length == 0 || !arena_decode(data, length, done))
            return PAM_AUTHINFO_UNAVAIL;
        data += length, size -= length;
        if (done->type == ARENA_DONE)
            return done->code;
        if (done->type != ARENA_PROMPT)
            return PAM_AUTHINFO_UNAVAIL;
        if (!(silent && done->style == ARENA_INFO) && ++seen == fails_at)
            return CONVERSATION_FAILS;
    }
    return PAM_AUTHINFO_UNAVAIL;
}

static void send_all(const unsigned char *data, size_t size)
{
    for (unsigned number = 0; size >= 2 && number < DATAGRAMS; number++) {
        size_t length = (size_t)data[0] << 8 | data[1];
        data += 2, size -= 2;
        if (length > size)
            length = size;
        if (length > LONGEST)
            length = LONGEST;
        HOLDS(send(far, data, length, MSG_NOSIGNAL) == (ssize_t)length);
        data += length, size -= length;
    }
    HOLDS(shutdown(far, SHUT_WR) == 0);
}

static const char *const OPTIONS[] = {"prompt=joined",  "prompt=split", "try_first_pass",
                                      "use_first_pass", "forward_pass", "debug"};
#define KNOWN (sizeof OPTIONS / sizeof OPTIONS[0])

static int call(pam_handle_t *pamh, uint8_t operation, int flags, unsigned chosen)
{
    const char *argv[KNOWN];
    int argc = 0;
    for (unsigned i = 0; i < KNOWN; i++)
        if (chosen & 1U << i)
            argv[argc++] = OPTIONS[i];
    if (operation == ARENA_AUTHENTICATE)
        return pam_sm_authenticate(pamh, flags, argc, argv);
    if (operation == ARENA_ACCOUNT)
        return pam_sm_acct_mgmt(pamh, flags, argc, argv);
    return pam_sm_chauthtok(pamh, flags | PAM_UPDATE_AUTHTOK, argc, argv);
}

static bool ends_with(uint8_t operation, int code)
{
    static const int ALWAYS[] = {PAM_SUCCESS,          PAM_IGNORE,     PAM_AUTH_ERR,
                                 PAM_AUTHINFO_UNAVAIL, PAM_SYSTEM_ERR, PAM_PERM_DENIED};
    for (unsigned i = 0; i < sizeof ALWAYS / sizeof ALWAYS[0]; i++)
        if (code == ALWAYS[i])
            return true;
    return (operation == ARENA_AUTHENTICATE && code == PAM_MAXTRIES) ||
           (operation == ARENA_ACCOUNT && code == PAM_ACCT_EXPIRED) ||
           (operation == ARENA_CHANGE_PIN && (code == PAM_AUTHTOK_ERR || code == PAM_AUTHTOK_RECOVERY_ERR));
}

/* done: all zero unless a DONE came. */
static void result_holds(pam_handle_t *pamh, uint8_t operation, int result, int wanted,
                         const struct arena_message *done)
{
    const void *user = NULL;
    bool leaves = (result == PAM_SUCCESS || result == PAM_IGNORE) && done->authtok.size > 0;
    if (wanted == CONVERSATION_FAILS)
        HOLDS(result == PAM_CONV_ERR);
    else
        HOLDS(result == (ends_with(operation, wanted) ? wanted : PAM_AUTHINFO_UNAVAIL));
    HOLDS(fcntl(near, F_GETFD) == -1); /* closed */
    HOLDS(pam_get_item(pamh, PAM_USER, &user) == PAM_SUCCESS && strcmp(user, "alice") == 0);
    if (leaves)
        HOLDS(strlen(left) == done->authtok.size && memcmp(left, done->authtok.data, done->authtok.size) == 0);
    else
        HOLDS(strcmp(left, "2846274955") == 0);
}

/* A service without a module: libpam wants a handle's to exist. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const NAMES[] = {"arena", "other"};
    char path[64];
    (void)argc, (void)argv;
    HOLDS(mkdtemp(folder) != NULL);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, NAMES[i]);
        HOLDS(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const struct pam_conv conversation = {converse, NULL};
    static const uint8_t OPERATIONS[] = {ARENA_AUTHENTICATE, ARENA_ACCOUNT, ARENA_CHANGE_PIN, ARENA_AUTHENTICATE};
    pam_handle_t *pamh = NULL;
    struct arena_message done = {0};
    int pair[2], result, wanted;
    uint8_t operation;
    bool silent;

    if (size < 3)
        return 0;
    operation = OPERATIONS[data[0] & 3];
    silent = data[0] & 4;
    fails_at = data[2] & 15;
    mute = data[2] & 16;
    asked = 0;
    strcpy(left, "2846274955");
    wanted = expected(silent, data + 3, size - 3, &done);
    HOLDS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    near = pair[0], far = pair[1];
    send_all(data + 3, size - 3);
    HOLDS(pam_start_confdir("arena", "alice", &conversation, folder, &pamh) == PAM_SUCCESS);
    result = call(pamh, operation, silent ? PAM_SILENT : 0, data[1]);
    result_holds(pamh, operation, result, wanted, &done);
    HOLDS(close(far) == 0);
    (void)pam_end(pamh, result);
    return 0;
}
