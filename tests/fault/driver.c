/* An application of PAM that makes one call after another, each in a process of its own, and tells what came of it.
 *
 *   driver CONFDIR MODULE SECRET...      reads calls from stdin, one a line, and answers each by a line
 *   driver --kinds                       lists what can fail, and how
 *
 * A call is ENTRY SERVICE FUNCTION NTH KIND FOREVER CLOSED UID ALARMS; see struct call. The answer is words and
 * numbers; see tell(). SECRETs, in hexadecimal with every byte's bits inverted, must not lie in this process's memory
 * when the call is over. The first two answer the prompts in turn, so here they are plain in the responses alone.
 */
#include "faults.h"
#include "guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <security/pam_appl.h>

enum { ANSWERS = 2 };
#define CALL_BEGINS "/the-call-begins"
#define CALL_ENDS "/the-call-ends"

struct call {
    char entry[20], service[40]; /* authenticate, acct_mgmt, chauthtok, setcred; a file of CONFDIR */
    struct fault_plan plan;
    int closed; /* bits 0 to 2: these descriptors are closed */
    int uid;    /* whose process it is */
    int alarms; /* signals arrive, one each so many microseconds; 0 none */
};

struct outcome {
    struct fault_report report;
    int result, alarms;
    long ms; /* on the module's clock, since it last heard a message */
    char complaint[300];
};

static const char *confdir, *module;
static char **secrets;
static int secret_count, asked;
static volatile sig_atomic_t alarms;

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    int how = faults_converse();
    struct pam_response *all;
    (void)data;
    if (how == FAULTS_NULL)
        return PAM_SUCCESS;
    if (how != 0 && how < FAULTS_NULL)
        return how;
    all = calloc((size_t)count, sizeof *all);
    if (all == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        int style = messages[i]->msg_style;
        if (strlen(messages[i]->msg) > 1024)
            abort();
        if ((style != PAM_PROMPT_ECHO_OFF && style != PAM_PROMPT_ECHO_ON) || how == FAULTS_BLANK)
            continue;
        all[i].resp = guest_reveal(secrets[asked++ % ANSWERS]);
        if (all[i].resp == NULL) {
            free(all);
            return PAM_BUF_ERR;
        }
    }
    *responses = all;
    return how == FAULTS_LEFT ? PAM_CONV_ERR : PAM_SUCCESS;
}

static int enter(pam_handle_t *pamh, const char *entry)
{
    if (strcmp(entry, "authenticate") == 0)
        return pam_authenticate(pamh, 0);
    if (strcmp(entry, "acct_mgmt") == 0)
        return pam_acct_mgmt(pamh, 0);
    if (strcmp(entry, "chauthtok") == 0)
        return pam_chauthtok(pamh, 0);
    return pam_setcred(pamh, PAM_ESTABLISH_CRED);
}

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

static void set_timer(int microseconds)
{
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, NULL);
}

static void make(const struct call *call, struct outcome *outcome)
{
    struct pam_conv conversation = {converse, NULL};
    pam_handle_t *pamh = NULL;
    struct place place;
    uint64_t state;

    if (pam_start_confdir(call->service, "alice", &conversation, confdir, &pamh) != PAM_SUCCESS)
        _exit(3);
    pam_set_item(pamh, PAM_RHOST, "192.0.2.7");
    pam_set_item(pamh, PAM_RUSER, "bob");
    pam_set_item(pamh, PAM_TTY, "ssh");
    pam_putenv(pamh, "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA");
    place = guest_place(module);
    state = guest_state(module);
    if (call->alarms)
        set_timer(call->alarms);
    faults_arm(&call->plan, place.begin, place.end, &outcome->report);
    (void)access(CALL_BEGINS, F_OK); /* for strace */
    outcome->result = enter(pamh, call->entry);
    (void)access(CALL_ENDS, F_OK);
    outcome->ms = (long)faults_disarm();
    if (call->alarms)
        set_timer(0);
    outcome->alarms = (int)alarms;
    if (guest_state(module) != state)
        strcpy(outcome->complaint, "the module's data changed");
    pam_end(pamh, outcome->result);
}

static void in_a_process(const struct call *call, struct outcome *outcome)
{
    static char before[GUEST_MAX], after[GUEST_MAX];
    struct sigaction on_alarm = {.sa_handler = count_alarm};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    openlog("driver", LOG_NDELAY, LOG_AUTHPRIV); /* so that the descriptor of syslog(3) is there before */
    sigaction(SIGALRM, &on_alarm, NULL);
    if (call->uid != 0 && (setgid((gid_t)call->uid) != 0 || setuid((uid_t)call->uid) != 0))
        _exit(4);
    prctl(PR_SET_DUMPABLE, 1); /* or an ordinary user's process could not look into its own memory */
    for (int fd = 0; fd < 3; fd++)
        if (call->closed & 1 << fd)
            close(fd);
    guest_snapshot(before);
    make(call, outcome);
#ifndef WITHOUT_MEMORY /* the sanitizers map more than can be read */
    /* Where signals arrive, the kernel puts registers on the stack, in the midst of a memcpy(3) too. */
    for (int i = 0; i < secret_count && !call->alarms; i++)
        guest_search(secrets[i], outcome->complaint, sizeof outcome->complaint);
#endif
    guest_snapshot(after);
    guest_compare(before, after, outcome->complaint, sizeof outcome->complaint);
    _exit(0);
}

static void tell(FILE *out, int status, const struct outcome *outcome)
{
    const struct fault_report *report = &outcome->report;
    fprintf(out,
            "result=%d signal=%d exit=%d ms=%ld injected=%d verdict=%d alarms=%d "
            "uses=",
            outcome->result, WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
            outcome->ms, report->injected, report->verdict, outcome->alarms);
    for (int i = 0; i < FUNCTIONS; i++)
        fprintf(out, "%s%d", i ? "," : "", report->uses[i]);
    fprintf(out, " complaint=%s\n", outcome->complaint);
    fflush(out);
}

static bool read_call(const char *line, struct call *call)
{
    int forever;
    *call = (struct call){.plan = {0}};
    if (sscanf(line, "%19s %39s %d %d %d %d %d %d %d", call->entry, call->service, &call->plan.function,
               &call->plan.nth, &call->plan.kind, &forever, &call->closed, &call->uid, &call->alarms) != 9)
        return false;
    call->plan.forever = forever != 0;
    return true;
}

static int list_kinds(void)
{
    for (int function = 0; function < FUNCTIONS; function++) {
        printf("%s", FUNCTION_NAMES[function]);
        for (const struct fault_kind *kind = faults_kinds((enum function)function); kind->name != NULL; kind++)
            printf(" %s", kind->name);
        printf("\n");
    }
    printf("%s first\n", FUNCTION_NAMES[FUNCTIONS]);
    return 0;
}

int main(int argc, char **argv)
{
    char line[300];
    struct outcome *outcome;
    int out;
    FILE *answers;

    if (argc == 2 && strcmp(argv[1], "--kinds") == 0)
        return list_kinds();
    if (argc < 3 + ANSWERS)
        return 2;
    confdir = argv[1];
    module = argv[2];
    secrets = argv + 3;
    secret_count = argc - 3;
    out = guest_high(STDOUT_FILENO); /* the calls may close 0 to 2 */
    answers = fdopen(out, "w");
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (answers == NULL || outcome == MAP_FAILED)
        return 2;
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct call call;
        int status;
        pid_t child;
        if (!read_call(line, &call))
            return 2;
        memset(outcome, 0, sizeof *outcome);
        outcome->result = outcome->report.verdict = -1;
        child = fork();
        if (child == 0)
            in_a_process(&call, outcome);
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 2;
        tell(answers, status, outcome);
    }
    return 0;
}
