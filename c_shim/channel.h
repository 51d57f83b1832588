/* A connection to arenad: one descriptor, and a buffer that is wiped. Every call ends by its deadline. */
#ifndef ARENA_CHANNEL_H
#define ARENA_CHANNEL_H

#include "wire.h"

/* What a call came to; the text of each, for the log, is arena_channel_text(). */
enum arena_channel_result {
    ARENA_OK = 0,
    ARENA_CANNOT_CONNECT, /* error says why */
    ARENA_WRONG_PEER,     /* root does not listen on the socket: nothing was sent */
    ARENA_CANNOT_SEND,    /* error says why */
    ARENA_CANNOT_RECEIVE, /* error says why */
    ARENA_TOO_LATE,       /* the deadline passed */
    ARENA_CLOSED,         /* the daemon closed; after a send, its verdict may still be there to receive */
    ARENA_BAD_MESSAGE,
};

struct arena_channel {
    int fd;
    int error;                                    /* errno of what failed last, 0 if that is no matter of errno */
    int64_t deadline;                             /* CLOCK_MONOTONIC, milliseconds */
    unsigned char buffer[ARENA_DATAGRAM_MAX + 1]; /* one byte more, so that a longer datagram shows */
};

/* Each of the three takes ARENA_REPLY_TIMEOUT_MS at most. */

/* Connect to the socket at path, and see that its peer is uid 0. Always to be closed. */
enum arena_channel_result arena_channel_open(struct arena_channel *channel, const char *path);

/* Send a message. */
enum arena_channel_result arena_channel_send(struct arena_channel *channel, const struct arena_message *message);

/* Receive a message, whose texts lie in the channel's buffer until the next call. */
enum arena_channel_result arena_channel_receive(struct arena_channel *channel, struct arena_message *message);

/* Close, and wipe. */
void arena_channel_close(struct arena_channel *channel);

const char *arena_channel_text(enum arena_channel_result result);

#endif
