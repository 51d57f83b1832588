/* Preloaded into a process that is to die, by SIGKILL, at the renaming of a file of the spool: right after a mail is held
 * (CRASH=held), when its transaction is not committed yet; or right before it is set free (CRASH=free), when it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int ends(const char *path, const char *suffix)
{
    size_t size = strlen(path), end = strlen(suffix);
    return size >= end && strcmp(path + size - end, suffix) == 0;
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    const char *when = getenv("CRASH");
    if (when != NULL && strcmp(when, "free") == 0 && ends(from, ".held"))
        raise(SIGKILL);
    int result = real(from, to);
    if (when != NULL && strcmp(when, "held") == 0 && ends(to, ".held"))
        raise(SIGKILL);
    return result;
}
