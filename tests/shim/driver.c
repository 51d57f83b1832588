/* Calls the module's entry points through libpam, for the checkers of memory.
 *
 *   driver FOLDER ENTRY:REPLY...
 *
 * FOLDER holds the service file `arena`. ENTRY is authenticate, acct_mgmt, chauthtok or setcred. REPLY answers every
 * prompt; "-" is no text at all, "!" a conversation that fails. Prints one result a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <security/pam_appl.h>

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    const char *reply = data;
    struct pam_response *all;
    if (strcmp(reply, "!") == 0)
        return PAM_CONV_ERR;
    all = calloc((size_t)count, sizeof *all);
    if (all == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        int style = messages[i]->msg_style;
        /* Every byte is looked at, so that a text without an end shows. */
        if (strlen(messages[i]->msg) > 1024)
            abort();
        if ((style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON) && strcmp(reply, "-") != 0)
            all[i].resp = strdup(reply);
    }
    *responses = all;
    return PAM_SUCCESS;
}

static int enter(pam_handle_t *pamh, const char *entry, size_t size)
{
    if (strncmp(entry, "authenticate", size) == 0)
        return pam_authenticate(pamh, 0);
    if (strncmp(entry, "acct_mgmt", size) == 0)
        return pam_acct_mgmt(pamh, 0);
    if (strncmp(entry, "chauthtok", size) == 0)
        return pam_chauthtok(pamh, 0);
    return pam_setcred(pamh, PAM_ESTABLISH_CRED);
}

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        char *reply = strchr(argv[i], ':');
        pam_handle_t *pamh = NULL;
        struct pam_conv conversation = {converse, NULL};
        if (reply == NULL)
            return 2;
        conversation.appdata_ptr = reply + 1;
        if (pam_start_confdir("arena", "alice", &conversation, argv[1], &pamh) != PAM_SUCCESS)
            return 3;
        pam_set_item(pamh, PAM_RHOST, "192.0.2.7");
        pam_set_item(pamh, PAM_TTY, "ssh");
        pam_putenv(pamh, "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA");
        printf("%d\n", enter(pamh, argv[i], (size_t)(reply - argv[i])));
        fflush(stdout);
        pam_end(pamh, 0);
    }
    return 0;
}
