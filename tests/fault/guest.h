/* What a module leaves of its caller's process: snapshots before and after, its own data, secrets in memory. */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

enum { GUEST_MAX = 60000 };

struct place {
    const char *begin, *end;
};

/* The addresses of the loaded object of this path. */
struct place guest_place(const char *path);

/* A hash of what is writable of it, or was until it was relocated. */
uint64_t guest_state(const char *path);

/* Describe the process, one fact a line, in GUEST_MAX bytes: threads, signals, descriptors, environment, folder, ... */
void guest_snapshot(char *into);

/* Write the first fact that changed as a complaint, unless there is one. */
void guest_compare(const char *before, const char *after, char *complaint, size_t size);

/* Complain if a part of a secret, given in hexadecimal with all bits inverted, lies in what this process can write. */
void guest_search(const char *hidden, char *complaint, size_t size);

/* The text of a hidden secret, to be freed; NULL without memory. */
char *guest_reveal(const char *hidden);

/* A copy of a descriptor, far from 0 to 2, that no program inherits. */
int guest_high(int fd);

#endif
