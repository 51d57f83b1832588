/* pam_arena.so: asks, answers, and returns what arenad said. Decides nothing, stores nothing.
 *
 * One loop per call: receive a prompt, put it to PAM's conversation, send the answer, until DONE. Whatever fails on
 * the way is PAM_AUTHINFO_UNAVAIL or another error: PAM_SUCCESS and PAM_IGNORE come out of a DONE message alone, by
 * arena_verdict(), and every result starts out as PAM_SYSTEM_ERR.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <security/pam_appl.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>

#include "channel.h"

#define EXPORTED __attribute__((visibility("default")))
#define UNAVAILABLE_TEXT "OTP unavailable / OTP indisponible"

/* What the module's line in /etc/pam.d says. */
struct line {
    const char *socket;
    uint8_t options;
    bool collected; /* a passcode that an earlier module collected is to be used */
    bool debug;
};

static bool read_line(pam_handle_t *pamh, int argc, const char **argv, struct line *line)
{
    *line = (struct line){.socket = ARENA_SOCKET};
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strncmp(word, "socket=", 7) == 0)
            line->socket = word + 7;
        else if (strcmp(word, "prompt=split") == 0)
            line->options |= ARENA_SPLIT;
        else if (strcmp(word, "prompt=joined") == 0)
            line->options |= ARENA_JOINED;
        else if (strcmp(word, "try_first_pass") == 0)
            line->collected = true;
        else if (strcmp(word, "use_first_pass") == 0) {
            line->collected = true;
            line->options |= ARENA_FIRST_PASS;
        } else if (strcmp(word, "debug") == 0)
            line->debug = true;
        else {
            pam_syslog(pamh, LOG_ERR,
                       "unknown option \"%s\"; allowed: socket=PATH prompt=split prompt=joined try_first_pass "
                       "use_first_pass debug",
                       word);
            return false;
        }
    }
    return true;
}

/* A text item of PAM, cut to max bytes; absent if it has none. */
static struct arena_bytes text_item(pam_handle_t *pamh, int item, size_t max)
{
    const void *value = NULL;
    struct arena_bytes text = {NULL, 0};
    if (pam_get_item(pamh, item, &value) == PAM_SUCCESS && value != NULL) {
        text.data = value;
        text.size = strnlen(text.data, max);
    }
    return text;
}

/* Fill in a START. The texts belong to PAM, and live as long as the call. */
static int make_start(pam_handle_t *pamh, int flags, uint8_t operation, const struct line *line,
                      struct arena_start *start)
{
    const char *user = NULL, *auth_info = NULL;
    int result = pam_get_user(pamh, &user, NULL);
    if (result != PAM_SUCCESS)
        return result == PAM_CONV_AGAIN ? PAM_CONV_ERR : result;
    if (user == NULL)
        return PAM_SYSTEM_ERR;
    start->operation = operation;
    start->options = line->options;
    start->flags = (uint32_t)flags;
    start->uid = (uint32_t)getuid();
    /* One byte more than allowed, so that a longer service does not pass for a shorter one: encoding refuses it. */
    start->service = text_item(pamh, PAM_SERVICE, ARENA_SERVICE_MAX + 1);
    /* A name this long is nobody's, cut or whole. */
    start->user = (struct arena_bytes){user, strnlen(user, ARENA_USER_MAX)};
    start->ruser = text_item(pamh, PAM_RUSER, ARENA_RUSER_MAX);
    start->rhost = text_item(pamh, PAM_RHOST, ARENA_RHOST_MAX);
    start->tty = text_item(pamh, PAM_TTY, ARENA_TTY_MAX);
    auth_info = pam_getenv(pamh, "SSH_AUTH_INFO_0");
    if (auth_info != NULL && strlen(auth_info) <= ARENA_AUTH_INFO_MAX)
        start->auth_info = (struct arena_bytes){auth_info, strlen(auth_info)};
    if (line->collected)
        start->passcode = text_item(pamh, PAM_AUTHTOK, ARENA_SECRET_MAX);
    return PAM_SUCCESS;
}

/* Put one prompt to PAM's conversation. *typed is the caller's to wipe and free; NULL where nothing was typed. */
static int converse(pam_handle_t *pamh, const struct arena_message *prompt, char **typed)
{
    static const int PAM_STYLE[] = {
        [ARENA_HIDDEN] = PAM_PROMPT_ECHO_OFF,
        [ARENA_SHOWN] = PAM_PROMPT_ECHO_ON,
        [ARENA_INFO] = PAM_TEXT_INFO,
        [ARENA_ERROR] = PAM_ERROR_MSG,
    };
    char text[ARENA_TEXT_MAX + 1];
    const void *item = NULL;
    struct pam_response *responses = NULL;
    const struct pam_message message = {.msg_style = PAM_STYLE[prompt->style], .msg = text};
    const struct pam_message *messages[] = {&message};
    const struct pam_conv *conversation;
    int result;

    *typed = NULL;
    memcpy(text, prompt->text.data, prompt->text.size);
    text[prompt->text.size] = '\0';
    result = pam_get_item(pamh, PAM_CONV, &item);
    conversation = item;
    if (result != PAM_SUCCESS || conversation == NULL || conversation->conv == NULL)
        return PAM_CONV_ERR;
    result = conversation->conv(1, messages, &responses, conversation->appdata_ptr);
    if (responses != NULL) {
        *typed = responses->resp;
        free(responses);
    }
    return result == PAM_SUCCESS ? PAM_SUCCESS : PAM_CONV_ERR;
}

static void wipe_and_free(char *typed)
{
    if (typed != NULL)
        explicit_bzero(typed, strlen(typed));
    free(typed);
}

/* Show a prompt, and send what was typed if it asks for something. */
static int answer(pam_handle_t *pamh, int flags, struct arena_channel *channel, const struct arena_message *prompt)
{
    bool asks = prompt->style == ARENA_HIDDEN || prompt->style == ARENA_SHOWN;
    char *typed = NULL;
    int result = PAM_CONV_ERR;

    if (!asks && ((unsigned)flags & PAM_SILENT))
        return PAM_SUCCESS;
    result = converse(pamh, prompt, &typed);
    if (result == PAM_SUCCESS && asks) {
        /* Longer than any passcode can be: cut, it is denied like any other wrong one. */
        struct arena_message reply = {.type = ARENA_ANSWER};
        reply.typed = (struct arena_bytes){typed, typed == NULL ? 0 : strnlen(typed, ARENA_SECRET_MAX)};
        /* A daemon that closed may have sent its verdict before: what cannot be sent is no end, receiving is. */
        (void)arena_channel_send(channel, &reply);
    }
    wipe_and_free(typed);
    return result;
}

/* The codes that arenad may end a call with; any other is a fault of the protocol. */
static bool code_allowed(uint8_t operation, int code)
{
    switch (code) {
    case PAM_SUCCESS:
    case PAM_IGNORE:
    case PAM_AUTHINFO_UNAVAIL:
    case PAM_SYSTEM_ERR:
    case PAM_PERM_DENIED:
        return true;
    case PAM_AUTH_ERR:
    case PAM_MAXTRIES:
        return operation == ARENA_AUTHENTICATE;
    case PAM_ACCT_EXPIRED:
        return operation == ARENA_ACCOUNT;
    case PAM_AUTHTOK_ERR:
        return operation == ARENA_CHANGE_PIN;
    default:
        return false;
    }
}

static int arena_verdict(pam_handle_t *pamh, uint8_t operation, const struct arena_message *done)
{
    char authtok[ARENA_SECRET_MAX + 1];
    int result = done->code;
    if (!code_allowed(operation, result)) {
        pam_syslog(pamh, LOG_ERR, "arenad answered with code %d, which is none of its own", result);
        return PAM_AUTHINFO_UNAVAIL;
    }
    if (result == PAM_SUCCESS && done->authtok.size > 0) {
        memcpy(authtok, done->authtok.data, done->authtok.size);
        authtok[done->authtok.size] = '\0';
        if (pam_set_item(pamh, PAM_AUTHTOK, authtok) != PAM_SUCCESS)
            result = PAM_BUF_ERR;
        explicit_bzero(authtok, sizeof authtok);
    }
    return result;
}

/* Hold one conversation with arenad. */
static int hold(pam_handle_t *pamh, int flags, const struct line *line, const struct arena_message *start)
{
    struct arena_channel channel = {.fd = -1};
    struct arena_message message = {0};
    int result = PAM_SYSTEM_ERR;
    enum arena_channel_result reached = arena_channel_open(&channel, line->socket);

    if (reached == ARENA_OK)
        reached = arena_channel_send(&channel, start);
    while (reached == ARENA_OK) {
        reached = arena_channel_receive(&channel, &message);
        if (reached != ARENA_OK)
            break;
        if (message.type == ARENA_DONE) {
            result = arena_verdict(pamh, start->start.operation, &message);
            goto end;
        }
        if (message.type != ARENA_PROMPT) {
            reached = ARENA_BAD_MESSAGE;
            break;
        }
        result = answer(pamh, flags, &channel, &message);
        if (result != PAM_SUCCESS)
            goto end;
        result = PAM_SYSTEM_ERR;
    }
    result = PAM_AUTHINFO_UNAVAIL;
    pam_syslog(pamh, LOG_ERR, "%s: %s%s%s", line->socket, arena_channel_text(reached),
               reached == ARENA_CANNOT_CONNECT ? ": " : "", reached == ARENA_CANNOT_CONNECT ? strerror(errno) : "");
end:
    arena_channel_close(&channel);
    explicit_bzero(&message, sizeof message);
    return result;
}

static int call(pam_handle_t *pamh, int flags, int argc, const char **argv, uint8_t operation)
{
    struct line line;
    struct arena_message start = {.type = ARENA_START};
    int result = PAM_SYSTEM_ERR;

    if (read_line(pamh, argc, argv, &line)) {
        result = make_start(pamh, flags, operation, &line, &start.start);
        if (result == PAM_SUCCESS)
            result = hold(pamh, flags, &line, &start);
        if (line.debug)
            pam_syslog(pamh, LOG_DEBUG, "operation %d: %s", operation, pam_strerror(pamh, result));
    }
    if ((result == PAM_AUTHINFO_UNAVAIL || result == PAM_SYSTEM_ERR) && !((unsigned)flags & PAM_SILENT) &&
        operation != ARENA_ACCOUNT) {
        struct arena_message text = {.type = ARENA_PROMPT, .style = ARENA_ERROR};
        char *typed = NULL;
        text.text = (struct arena_bytes){UNAVAILABLE_TEXT, sizeof UNAVAILABLE_TEXT - 1};
        (void)converse(pamh, &text, &typed);
        wipe_and_free(typed);
    }
    return result;
}

EXPORTED int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return call(pamh, flags, argc, argv, ARENA_AUTHENTICATE);
}

EXPORTED int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return call(pamh, flags, argc, argv, ARENA_ACCOUNT);
}

/* PAM asks twice: before anything is changed it only wants to know whether a change could be made. */
EXPORTED int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct arena_channel channel = {.fd = -1};
    struct line line;
    int result = PAM_TRY_AGAIN;

    if (!((unsigned)flags & PAM_PRELIM_CHECK))
        return call(pamh, flags, argc, argv, ARENA_CHANGE_PIN);
    if (!read_line(pamh, argc, argv, &line))
        return PAM_SYSTEM_ERR;
    if (arena_channel_open(&channel, line.socket) == ARENA_OK)
        result = PAM_SUCCESS;
    arena_channel_close(&channel);
    return result;
}

/* The module has no credentials to set. */
EXPORTED int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
