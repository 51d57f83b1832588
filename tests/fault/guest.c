/* What a module leaves of its caller's process; see guest.h. Allocates nothing that outlives a function. */
#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;

enum { PART = 16 }; /* bytes of a secret that are looked for */

struct search {
    const char *path;
    struct place place;
    uint64_t state;
};

/* Reads between what the sanitizers guard, too. */
__attribute__((no_sanitize("address", "undefined"))) static uint64_t hash(uint64_t value, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        value = (value ^ bytes[i]) * 0x100000001b3u;
    return value;
}

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    (void)size;
    if (strcmp(object->dlpi_name, search->path) != 0)
        return 0;
    search->place.begin = search->place.end = (const char *)object->dlpi_addr;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        const char *begin = (const char *)object->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD)
            continue;
        if (begin + part->p_memsz > search->place.end)
            search->place.end = begin + part->p_memsz;
        if (part->p_flags & PF_W)
            search->state = hash(search->state, begin, part->p_memsz);
    }
    return 1;
}

static struct search find(const char *path)
{
    struct search search = {.path = path, .state = 0xcbf29ce484222325u};
    if (dl_iterate_phdr(look, &search) == 0)
        _exit(5);
    return search;
}

struct place guest_place(const char *path)
{
    return find(path).place;
}

uint64_t guest_state(const char *path)
{
    return find(path).state;
}

struct text {
    char *at, *end;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
    va_list all;
    int written;
    va_start(all, format);
    written = vsnprintf(text->at, (size_t)(text->end - text->at), format, all);
    va_end(all);
    if (written < 0 || written >= text->end - text->at)
        _exit(6);
    text->at += written;
}

/* Threads, and descriptors with what is behind them; not the one that reads the folder. */
static void say_folder(struct text *text, const char *folder)
{
    DIR *stream = opendir(folder);
    struct dirent *entry;
    if (stream == NULL)
        _exit(6);
    while ((entry = readdir(stream)) != NULL) {
        char target[300] = "";
        int number = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || (strstr(folder, "/fd") != NULL && number == dirfd(stream)))
            continue;
        if (readlinkat(dirfd(stream), entry->d_name, target, sizeof target - 1) > 0)
            say(text, "descriptor %d %s flags %d\n", number, target, fcntl(number, F_GETFD));
        else
            say(text, "thread %d\n", number);
    }
    closedir(stream);
}

static void say_signals(struct text *text)
{
    sigset_t mask, pending;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    for (int i = 1; i < NSIG; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0)
            say(text, "signal %d handler %p flags %x mask %lx blocked %d pending %d\n", i, (void *)action.sa_handler,
                (unsigned)action.sa_flags, (unsigned long)hash(0, &action.sa_mask, 8), sigismember(&mask, i),
                sigismember(&pending, i));
    }
}

void guest_snapshot(char *into)
{
    struct text text = {into, into + GUEST_MAX};
    char folder[300] = "";
    mode_t mask = umask(0);
    uid_t uids[3];
    gid_t gids[3];
    struct itimerval timer;
    umask(mask);
    say(&text, "umask %o\n", (unsigned)mask);
    if (getcwd(folder, sizeof folder) != NULL)
        say(&text, "folder %s\n", folder);
    say_folder(&text, "/proc/self/task");
    say_folder(&text, "/proc/self/fd");
    say_signals(&text);
    say(&text, "environment at %p\n", (void *)environ);
    for (char **one = environ; *one != NULL; one++)
        say(&text, "environment %p %s\n", (void *)*one, *one);
    getresuid(&uids[0], &uids[1], &uids[2]);
    getresgid(&gids[0], &gids[1], &gids[2]);
    say(&text, "uids %u %u %u gids %u %u %u session %d group %d\n", uids[0], uids[1], uids[2], gids[0], gids[1],
        gids[2], getsid(0), getpgrp());
    say(&text, "locale %s\n", setlocale(LC_ALL, NULL));
    say(&text, "dumpable %d, no new privileges %d, nice %d\n", prctl(PR_GET_DUMPABLE),
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), getpriority(PRIO_PROCESS, 0));
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++)
        if (getitimer((enum __itimer_which)which, &timer) == 0)
            say(&text, "timer %d of %ld.%06ld\n", which, timer.it_interval.tv_sec, timer.it_interval.tv_usec);
    for (int which = 0; which < RLIMIT_NLIMITS; which++) {
        struct rlimit limit;
        if (getrlimit((enum __rlimit_resource)which, &limit) == 0)
            say(&text, "limit %d %lu %lu\n", which, limit.rlim_cur, limit.rlim_max);
    }
}

/* The end of the line that text is in. */
static size_t line_of(const char *text)
{
    return strcspn(text, "\n");
}

void guest_compare(const char *before, const char *after, char *complaint, size_t size)
{
    while (complaint[0] == '\0' && (*before != '\0' || *after != '\0')) {
        size_t was = line_of(before), is = line_of(after);
        if (was != is || memcmp(before, after, was) != 0) {
            snprintf(complaint, size, "was: %.*s, is: %.*s", (int)(was < 120 ? was : 120), before,
                     (int)(is < 120 ? is : 120), after);
            return;
        }
        before += was + (before[was] == '\n');
        after += is + (after[is] == '\n');
    }
}

static int digit(char hex)
{
    return hex <= '9' ? hex - '0' : hex - 'a' + 10;
}

char *guest_reveal(const char *hidden)
{
    size_t size = strlen(hidden) / 2;
    char *text = malloc(size + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)~(digit(hidden[2 * i]) << 4 | digit(hidden[2 * i + 1]));
    text[size] = '\0';
    return text;
}

static int in_memory(const char *begin, const char *end, const unsigned char *inverted)
{
    for (const char *at = begin; at + PART <= end; at++) {
        size_t i = 0;
        while (i < PART && ((unsigned)at[i] & 0xff) == (inverted[i] ^ 0xffu))
            i++;
        if (i == PART)
            return 1;
    }
    return 0;
}

/* Complain if these bytes, in hexadecimal and inverted, lie in what this process can write. */
static void search_part(const char *hidden, char *complaint, size_t size)
{
    unsigned char inverted[PART];
    char line[600];
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        _exit(6);
    for (size_t i = 0; i < PART; i++)
        inverted[i] = (unsigned char)(digit(hidden[2 * i]) << 4 | digit(hidden[2 * i + 1]));
    while (complaint[0] == '\0' && fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end;
        char rights[5], name[500] = "";
        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %499s", &begin, &end, rights, name) < 3 || rights[1] != 'w' ||
            rights[0] != 'r')
            continue;
        if (in_memory((const char *)begin, (const char *)end, inverted))
            snprintf(complaint, size, "a secret lies in %.200s", name[0] == '\0' ? "memory without a name" : name);
    }
    fclose(maps);
}

/* Not the beginning, which free(3) writes over; the end too, if what came after wrote over more. */
void guest_search(const char *hidden, char *complaint, size_t size)
{
    if (strlen(hidden) < 4 * PART) /* so short that it may lie there by chance */
        return;
    search_part(hidden + 2 * PART, complaint, size);
    search_part(hidden + strlen(hidden) - 2 * PART, complaint, size);
}

int guest_high(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 100);
}
