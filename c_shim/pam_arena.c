/* pam_arena.so: asks, answers, and returns what arenad said. Decides nothing, stores nothing.
 *
 * One loop per call: receive a prompt, put it to PAM's conversation, send the answer, until DONE. Whatever fails on
 * the way is PAM_AUTHINFO_UNAVAIL or another error. These places alone return PAM_SUCCESS, and the first PAM_IGNORE:
 *   verdict()            what a DONE message of arenad said, if that call may end so
 *   probe()              root listens on the socket: a change of PIN may be tried; nothing is changed yet
 *   make_start() and find_user()   the START is filled in: seen by serve(), which never returns it
 *   pam_sm_setcred()     there are no credentials to set
 */
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
#define ALLOWED_OPTIONS "socket=PATH prompt=split prompt=joined try_first_pass use_first_pass forward_pass debug"

/* What the module's line in /etc/pam.d says. */
struct line {
    const char *socket;
    uint8_t options;
    bool collected; /* a passcode that an earlier module collected is to be used */
    bool debug;
};

static bool read_word(const char *word, struct line *line)
{
    if (strncmp(word, "socket=", 7) == 0)
        line->socket = word + 7;
    else if (strcmp(word, "prompt=split") == 0)
        line->options = (uint8_t)((line->options & ~ARENA_JOINED) | ARENA_SPLIT);
    else if (strcmp(word, "prompt=joined") == 0)
        line->options = (uint8_t)((line->options & ~ARENA_SPLIT) | ARENA_JOINED);
    else if (strcmp(word, "try_first_pass") == 0)
        line->collected = true;
    else if (strcmp(word, "use_first_pass") == 0) {
        line->collected = true;
        line->options |= ARENA_FIRST_PASS;
    } else if (strcmp(word, "forward_pass") == 0) {
        line->collected = true;
        line->options |= ARENA_FORWARD_PASS;
    } else if (strcmp(word, "debug") == 0)
        line->debug = true;
    else
        return false;
    return true;
}

static bool read_line(pam_handle_t *pamh, int argc, const char **argv, struct line *line)
{
    *line = (struct line){.socket = ARENA_SOCKET};
    for (int i = 0; i < argc; i++)
        if (!read_word(argv[i], line)) {
            pam_syslog(pamh, LOG_ERR, "unknown option \"%s\"; allowed: " ALLOWED_OPTIONS, argv[i]);
            return false;
        }
    return true;
}

/* Read a text item of PAM, cut to max bytes; absent if it has none. False if libpam cannot tell: a START without the
 * address would pass for one from the console, which is throttled on its own. */
static bool read_item(pam_handle_t *pamh, int item, size_t max, struct arena_bytes *text)
{
    const void *value = NULL;
    int result = pam_get_item(pamh, item, &value);
    if (result != PAM_SUCCESS) {
        pam_syslog(pamh, LOG_ERR, "libpam cannot tell its item %d: %s", item, pam_strerror(pamh, result));
        return false;
    }
    if (value != NULL)
        *text = (struct arena_bytes){value, strnlen(value, max)};
    return true;
}

/* Whose login it is. Account never prompts, so it takes the name that stands, if any. */
static int find_user(pam_handle_t *pamh, uint8_t operation, struct arena_bytes *user)
{
    const char *name = NULL;
    if (operation == ARENA_ACCOUNT)
        return read_item(pamh, PAM_USER, ARENA_USER_MAX, user) && user->data != NULL ? PAM_SUCCESS : PAM_SYSTEM_ERR;
    int result = pam_get_user(pamh, &name, NULL);
    if (result != PAM_SUCCESS)
        return result == PAM_BUF_ERR || result == PAM_SYSTEM_ERR ? result : PAM_CONV_ERR;
    if (name == NULL)
        return PAM_SYSTEM_ERR;
    /* A name this long is nobody's, cut or whole. */
    *user = (struct arena_bytes){name, strnlen(name, ARENA_USER_MAX)};
    return PAM_SUCCESS;
}

/* Fill in a START. The texts belong to PAM, and live as long as the call. */
static int make_start(pam_handle_t *pamh, int flags, uint8_t operation, const struct line *line,
                      struct arena_start *start)
{
    const char *auth_info;
    int result = find_user(pamh, operation, &start->user);
    if (result != PAM_SUCCESS)
        return result;
    start->operation = operation;
    start->options = line->options;
    start->flags = (uint32_t)flags;
    start->uid = (uint32_t)getuid();
    /* What must not pass for something shorter is read one byte beyond its limit, then refused or left out. */
    if (!read_item(pamh, PAM_SERVICE, ARENA_SERVICE_MAX + 1, &start->service))
        return PAM_SYSTEM_ERR;
    if (start->service.size == 0 || start->service.size > ARENA_SERVICE_MAX) {
        pam_syslog(pamh, LOG_ERR, "the service's name is not 1 to %d bytes long", ARENA_SERVICE_MAX);
        return PAM_SYSTEM_ERR;
    }
    if (!read_item(pamh, PAM_RUSER, ARENA_RUSER_MAX, &start->ruser) ||
        !read_item(pamh, PAM_RHOST, ARENA_RHOST_MAX, &start->rhost) ||
        !read_item(pamh, PAM_TTY, ARENA_TTY_MAX, &start->tty))
        return PAM_SYSTEM_ERR;
    auth_info = pam_getenv(pamh, "SSH_AUTH_INFO_0");
    if (auth_info != NULL && strnlen(auth_info, ARENA_AUTH_INFO_MAX + 1) <= ARENA_AUTH_INFO_MAX)
        start->auth_info = (struct arena_bytes){auth_info, strlen(auth_info)};
    /* At a change of PIN it is a password, old or new, which is no business of arenad's. */
    if (line->collected && operation == ARENA_AUTHENTICATE &&
        !read_item(pamh, PAM_AUTHTOK, ARENA_SECRET_MAX + 1, &start->passcode))
        return PAM_SYSTEM_ERR;
    if (start->passcode.size > ARENA_SECRET_MAX)
        start->passcode = (struct arena_bytes){NULL, 0};
    return PAM_SUCCESS;
}

/* Put one prompt to PAM's conversation. *typed is the caller's to wipe and free; NULL where nothing was typed. */
static bool converse(pam_handle_t *pamh, uint8_t style, struct arena_bytes prompt, char **typed)
{
    static const int PAM_STYLE[] = {
        [ARENA_HIDDEN] = PAM_PROMPT_ECHO_OFF,
        [ARENA_SHOWN] = PAM_PROMPT_ECHO_ON,
        [ARENA_INFO] = PAM_TEXT_INFO,
        [ARENA_ERROR] = PAM_ERROR_MSG,
    };
    char text[ARENA_TEXT_MAX + 1];
    const void *item = NULL;
    struct pam_response *response = NULL;
    const struct pam_message message = {.msg_style = PAM_STYLE[style], .msg = text};
    const struct pam_message *messages[] = {&message};
    const struct pam_conv *conversation;
    int result;

    *typed = NULL;
    result = pam_get_item(pamh, PAM_CONV, &item);
    conversation = item;
    if (result != PAM_SUCCESS || conversation == NULL || conversation->conv == NULL)
        return false;
    memcpy(text, prompt.data, prompt.size);
    text[prompt.size] = '\0';
    result = conversation->conv(1, messages, &response, conversation->appdata_ptr);
    explicit_bzero(text, sizeof text); /* one text of arenad's tells a new PIN */
    if (response != NULL) {
        *typed = response->resp;
        free(response);
    }
    return result == PAM_SUCCESS;
}

static void wipe_and_free(char *typed)
{
    if (typed != NULL)
        explicit_bzero(typed, strlen(typed));
    free(typed);
}

/* Show a prompt, and send what was typed if it asks for something. False if PAM's conversation fails. */
static bool answer(pam_handle_t *pamh, int flags, struct arena_channel *channel, const struct arena_message *prompt,
                   enum arena_channel_result *sent)
{
    bool asks = prompt->style == ARENA_HIDDEN || prompt->style == ARENA_SHOWN, conversed;
    char *typed = NULL;

    /* Not so an error: sudo is always silent, and its refusal would have no reference to tell the service desk. */
    if (prompt->style == ARENA_INFO && ((unsigned)flags & PAM_SILENT))
        return true;
    conversed = converse(pamh, prompt->style, prompt->text, &typed);
    if (conversed && asks) {
        /* Longer than any passcode can be: cut, it is denied like any other wrong one. */
        struct arena_message reply = {.type = ARENA_ANSWER};
        reply.typed = (struct arena_bytes){typed, typed == NULL ? 0 : strnlen(typed, ARENA_SECRET_MAX)};
        *sent = arena_channel_send(channel, &reply);
        /* A daemon that closed may have sent its verdict before: it is still there to receive. */
        if (*sent == ARENA_CLOSED)
            *sent = ARENA_OK;
    }
    wipe_and_free(typed);
    return conversed;
}

/* The codes that arenad may end a call with; any other is a fault of the protocol. */
static bool code_allowed(uint8_t operation, int code)
{
    switch (code) {
    case PAM_SUCCESS:
    case PAM_IGNORE:
    case PAM_AUTH_ERR:
    case PAM_AUTHINFO_UNAVAIL:
    case PAM_SYSTEM_ERR:
    case PAM_PERM_DENIED:
        return true;
    case PAM_MAXTRIES:
        return operation == ARENA_AUTHENTICATE;
    case PAM_ACCT_EXPIRED:
        return operation == ARENA_ACCOUNT;
    case PAM_AUTHTOK_ERR:
    case PAM_AUTHTOK_RECOVERY_ERR:
        return operation == ARENA_CHANGE_PIN;
    default:
        return false;
    }
}

/* What a DONE message comes to. */
static int verdict(pam_handle_t *pamh, uint8_t operation, const struct arena_message *done)
{
    char authtok[ARENA_SECRET_MAX + 1];
    int result = done->code;
    if (!code_allowed(operation, result)) {
        pam_syslog(pamh, LOG_ERR, "arenad answered with code %d, which is none of its own", result);
        return PAM_AUTHINFO_UNAVAIL;
    }
    /* With PAM_IGNORE too: where nothing is enforced, the next module has to have its password all the same. */
    if ((result == PAM_SUCCESS || result == PAM_IGNORE) && done->authtok.size > 0) {
        memcpy(authtok, done->authtok.data, done->authtok.size);
        authtok[done->authtok.size] = '\0';
        if (pam_set_item(pamh, PAM_AUTHTOK, authtok) != PAM_SUCCESS)
            result = PAM_BUF_ERR;
        explicit_bzero(authtok, sizeof authtok);
    }
    return result;
}

/* Log why there is no verdict. */
static int unavailable(pam_handle_t *pamh, const struct line *line, const struct arena_channel *channel,
                       enum arena_channel_result reached)
{
    pam_syslog(pamh, LOG_ERR, "%s: %s%s%s", line->socket, arena_channel_text(reached), channel->error == 0 ? "" : ": ",
               channel->error == 0 ? "" : strerror(channel->error));
    return PAM_AUTHINFO_UNAVAIL;
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
        if (reached == ARENA_OK && message.type == ARENA_DONE) {
            result = verdict(pamh, start->start.operation, &message);
            goto end;
        }
        if (reached == ARENA_OK && message.type != ARENA_PROMPT)
            reached = ARENA_BAD_MESSAGE;
        if (reached != ARENA_OK)
            break;
        if (line->debug)
            pam_syslog(pamh, LOG_DEBUG, "prompt of style %d", message.style);
        if (!answer(pamh, flags, &channel, &message, &reached)) {
            pam_syslog(pamh, LOG_ERR, "the conversation with the application failed");
            result = PAM_CONV_ERR;
            goto end;
        }
    }
    result = unavailable(pamh, line, &channel, reached);
end:
    arena_channel_close(&channel);
    explicit_bzero(&message, sizeof message);
    return result;
}

/* PAM asks twice for a change: before anything is changed it only wants to know whether it could be. */
static bool is_probe(uint8_t operation, int flags)
{
    return operation == ARENA_CHANGE_PIN && ((unsigned)flags & PAM_PRELIM_CHECK);
}

/* See whether a conversation could be held. */
static int probe(pam_handle_t *pamh, const struct line *line)
{
    struct arena_channel channel = {.fd = -1};
    int result = PAM_TRY_AGAIN;
    enum arena_channel_result reached = arena_channel_open(&channel, line->socket);

    if (reached == ARENA_OK)
        result = PAM_SUCCESS;
    else
        (void)unavailable(pamh, line, &channel, reached);
    arena_channel_close(&channel);
    return result;
}

static int serve(pam_handle_t *pamh, int flags, const struct line *line, uint8_t operation)
{
    struct arena_message start = {.type = ARENA_START};
    if (is_probe(operation, flags))
        return probe(pamh, line);
    int result = make_start(pamh, flags, operation, line, &start.start);
    return result == PAM_SUCCESS ? hold(pamh, flags, line, &start) : result;
}

/* Tell the holder that it is not their passcode. Account has nobody to tell, and a probe comes before any question. */
static void say_unavailable(pam_handle_t *pamh, int flags, uint8_t operation)
{
    const struct arena_bytes text = {UNAVAILABLE_TEXT, sizeof UNAVAILABLE_TEXT - 1};
    char *typed = NULL;
    if (operation == ARENA_ACCOUNT || is_probe(operation, flags))
        return;
    (void)converse(pamh, ARENA_ERROR, text, &typed);
    wipe_and_free(typed);
}

static int call(pam_handle_t *pamh, int flags, int argc, const char **argv, uint8_t operation)
{
    struct line line;
    int result = PAM_SYSTEM_ERR;

    if (read_line(pamh, argc, argv, &line))
        result = serve(pamh, flags, &line, operation);
    if (result == PAM_AUTHINFO_UNAVAIL || result == PAM_SYSTEM_ERR)
        say_unavailable(pamh, flags, operation);
    if (line.debug)
        pam_syslog(pamh, LOG_DEBUG, "operation %d: %s", operation, pam_strerror(pamh, result));
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

EXPORTED int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return call(pamh, flags, argc, argv, ARENA_CHANGE_PIN);
}

/* The module has no credentials to set. */
EXPORTED int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
