/* pamtime SERVICE WORKERS <LOGINS: logins through PAM, timed from pam_start to pam_end.
 *
 * A line of LOGINS is a user and the answers to the prompts, in order, with blanks between. WORKERS processes share the
 * lines evenly. Prints the seconds from first to last, then PAM's code and the milliseconds of each login, in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <security/pam_appl.h>

struct login {
    int code;
    double ms;
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Answers with the next word of the line. */
static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *rest)
{
    *responses = calloc((size_t)count, sizeof **responses);
    if (*responses == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++)
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF || messages[i]->msg_style == PAM_PROMPT_ECHO_ON) {
            const char *word = strtok_r(NULL, " \n", rest);
            (*responses)[i].resp = strdup(word == NULL ? "" : word);
        }
    return PAM_SUCCESS;
}

static struct login log_in(const char *service, char *line)
{
    char *rest = NULL, *user = strtok_r(line, " \n", &rest);
    struct pam_conv conv = {converse, &rest};
    struct login login = {PAM_SYSTEM_ERR, 0};
    pam_handle_t *handle = NULL;
    double begun = now_ms();
    if (pam_start(service, user, &conv, &handle) == PAM_SUCCESS) {
        login.code = pam_authenticate(handle, 0);
        pam_end(handle, login.code);
    }
    login.ms = now_ms() - begun;
    return login;
}

int main(int argc, char **argv)
{
    static char *lines[100000];
    size_t count = 0, room = 0;
    int workers = argc == 3 ? atoi(argv[2]) : 0;
    if (workers < 1) {
        fprintf(stderr, "usage: pamtime SERVICE WORKERS <LOGINS\n");
        return 2;
    }
    while (count < sizeof lines / sizeof *lines && getline(&lines[count], &room, stdin) > 0) {
        count++;
        room = 0;
    }
    struct login *logins =
        mmap(NULL, (count + 1) * sizeof *logins, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (logins == MAP_FAILED)
        return 1;
    double begun = now_ms();
    for (int worker = 0; worker < workers; worker++)
        if (fork() == 0) {
            for (size_t i = (size_t)worker; i < count; i += (size_t)workers)
                logins[i] = log_in(argv[1], lines[i]);
            _exit(0);
        }
    while (wait(NULL) > 0)
        continue;
    printf("%.3f\n", (now_ms() - begun) / 1e3);
    for (size_t i = 0; i < count; i++)
        printf("%d %.3f\n", logins[i].code, logins[i].ms);
    return 0;
}
