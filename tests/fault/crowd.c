/* Many of one thing, for what grows or collides.
 *
 *   crowd load MODULE COUNT                 load and unload the module
 *   crowd login CONFDIR THREADS COUNT       each thread logs in so often, as a user of its own, with its own name
 *
 * Prints a line: what is in use after a tenth of it, and after all: bytes of the heap, mappings, descriptors.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <security/pam_appl.h>

static const char *confdir;
static int count;

static int converse(int number, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    const char *name = data;
    struct pam_response *all = calloc((size_t)number, sizeof *all);
    if (all == NULL)
        return PAM_BUF_ERR;
    if (strcmp(messages[0]->msg, name) != 0) { /* somebody else's prompt */
        fprintf(stderr, "%s was asked as %s\n", name, messages[0]->msg);
        exit(7);
    }
    all[0].resp = strdup(name);
    *responses = all;
    return PAM_SUCCESS;
}

static void log_in(char *name)
{
    struct pam_conv conversation = {converse, name};
    pam_handle_t *pamh = NULL;
    int result;
    if (pam_start_confdir("alone", name, &conversation, confdir, &pamh) != PAM_SUCCESS)
        exit(8);
    result = pam_authenticate(pamh, 0);
    pam_end(pamh, result);
    if (result != PAM_SUCCESS) {
        fprintf(stderr, "%s: %d\n", name, result);
        exit(9);
    }
}

static void *run(void *name)
{
    for (int i = 0; i < count; i++)
        log_in(name);
    return NULL;
}

static int entries(const char *folder)
{
    DIR *stream = opendir(folder);
    int found = 0;
    while (stream != NULL && readdir(stream) != NULL)
        found++;
    if (stream != NULL)
        closedir(stream);
    return found;
}

static void tell(void)
{
    char line[600];
    int mappings = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        mappings++;
    if (maps != NULL)
        fclose(maps);
    printf("%zu %d %d\n", mallinfo2().uordblks, mappings, entries("/proc/self/fd"));
}

static int load(const char *module)
{
    for (int i = 0; i < count; i++) {
        void *loaded = dlopen(module, RTLD_NOW);
        if (loaded == NULL || dlsym(loaded, "pam_sm_authenticate") == NULL || dlclose(loaded) != 0)
            return 10;
        if (dlopen(module, RTLD_NOW | RTLD_NOLOAD) != NULL)
            return 11;
        if (i == count / 10)
            tell();
    }
    tell();
    return 0;
}

int main(int argc, char **argv)
{
    static pthread_t threads[64];
    static char names[64][20];
    int crowd;

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 4 && strcmp(argv[1], "load") == 0) {
        count = atoi(argv[3]);
        return load(argv[2]);
    }
    if (argc != 5 || (crowd = atoi(argv[3])) < 1 || crowd > 64)
        return 2;
    confdir = argv[2];
    for (int part = 0; part < 2; part++) {
        count = part == 0 ? atoi(argv[4]) / 10 : atoi(argv[4]) - atoi(argv[4]) / 10;
        for (int i = 0; i < crowd; i++) {
            snprintf(names[i], sizeof names[i], "user%d", i);
            if (crowd == 1)
                run(names[i]);
            else if (pthread_create(&threads[i], NULL, run, names[i]) != 0)
                return 12;
        }
        for (int i = 0; crowd > 1 && i < crowd; i++)
            pthread_join(threads[i], NULL);
        tell();
    }
    return 0;
}
