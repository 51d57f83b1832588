/* Which use of which function fails, and how; see faults.c. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
enum function { SOCKET, CONNECT, GETSOCKOPT, POLL, SEND, RECV, CLOCK_GETTIME, CLOSE, STRERROR, PAM_GET_ITEM, PAM_GET_USER,
                PAM_GETENV, PAM_SET_ITEM, PAM_STRERROR, PAM_SYSLOG, MEMORY, CONVERSATION, FUNCTIONS };
/* clang-format on */
extern const char *const FUNCTION_NAMES[FUNCTIONS + 1]; /* the last is "everything" */

struct fault_kind {
    const char *name;
    int code;
};

/* function FUNCTIONS is all of them, from the nth call of any on. nth 0 is never. kind is an index of faults_kinds().
 */
struct fault_plan {
    int function, nth, kind;
    bool forever;
};

struct fault_report {
    int uses[FUNCTIONS];
    int injected;
    int verdict; /* the code of the DONE message that the module was really given, -1 before */
};

/* The kinds of a function; a name of NULL ends them. */
const struct fault_kind *faults_kinds(enum function function);

/* From here on, calls out of the addresses from begin to end count, and fail by plan. */
void faults_arm(const struct fault_plan *plan, const void *begin, const void *end, struct fault_report *report);

/* Back to normal. Returns how long the module had waited for a message, in milliseconds of its own clock. */
int64_t faults_disarm(void);

/* What the conversation is to come to: 0, an error of PAM, or one of these. */
enum {
    FAULTS_NULL = 500, /* success, and no responses */
    FAULTS_BLANK,      /* success, and a response without text */
    FAULTS_LEFT,       /* an error, and a response with text */
};
int faults_converse(void);

#endif
