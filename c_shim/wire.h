/* Messages to datagrams and back. Pure: no I/O, no allocation, no state; every pointer comes with its bound. */
#ifndef ARENA_WIRE_H
#define ARENA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* A field's value inside somebody else's buffer. data is NULL for a field that is absent. */
struct arena_bytes {
    const char *data;
    size_t size;
};

/* What a START carries. Absent and empty are the same, but for user. */
struct arena_start {
    uint8_t operation, options;
    uint32_t flags, uid;
    struct arena_bytes service, user, ruser, rhost, tty, auth_info, passcode, serial;
};

/* Any message, as read: the fields of its type are set, all others are zero. */
struct arena_message {
    uint8_t type;
    struct arena_start start;   /* START */
    uint8_t style;              /* PROMPT */
    struct arena_bytes text;    /* PROMPT */
    struct arena_bytes typed;   /* ANSWER */
    uint8_t code;               /* DONE */
    struct arena_bytes authtok; /* DONE */
};

/* Write a message. Returns the datagram's size, or 0 if a value breaks a rule of protocol.h or size is too small. */
size_t arena_encode(const struct arena_message *message, unsigned char *datagram, size_t size);

/* Read a datagram; the message's texts point into it. Returns false, with *message zeroed, if it breaks a rule. */
bool arena_decode(const unsigned char *datagram, size_t size, struct arena_message *message);

#endif
