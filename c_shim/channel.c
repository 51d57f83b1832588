/* The socket: connected without blocking, close-on-exec, and trusted only if root listens on it. */
#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 20 /* between tries to connect while the queue is full */

/* Milliseconds of the monotonic clock; -1 if there is none, which every wait takes for too late. */
static int64_t now_ms(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return -1;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void start_deadline(struct arena_channel *channel)
{
    int64_t now = now_ms();
    channel->deadline = now < 0 ? 0 : now + ARENA_REPLY_TIMEOUT_MS;
}

/* Milliseconds left, 0 when none are. */
static int time_left(const struct arena_channel *channel)
{
    int64_t now = now_ms();
    return now < 0 || now >= channel->deadline ? 0 : (int)(channel->deadline - now);
}

/* Note errno for the log. */
static enum arena_channel_result failed(struct arena_channel *channel, enum arena_channel_result how)
{
    channel->error = errno;
    return how;
}

/* Wait for events on the socket. */
static enum arena_channel_result wait_for(struct arena_channel *channel, short events)
{
    for (;;) {
        struct pollfd watched = {.fd = channel->fd, .events = events};
        int left = time_left(channel), ready;
        if (left == 0)
            return ARENA_TOO_LATE;
        ready = poll(&watched, 1, left);
        if (ready > 0)
            return ARENA_OK;
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return failed(channel, events == POLLIN ? ARENA_CANNOT_RECEIVE : ARENA_CANNOT_SEND);
    }
}

static enum arena_channel_result connect_to(struct arena_channel *channel, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG;
        return failed(channel, ARENA_CANNOT_CONNECT);
    }
    memcpy(address.sun_path, path, length);
    /* A full queue is EAGAIN, and poll() tells nothing of a socket that is not connected: wait, then try again. */
    while (connect(channel->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            return failed(channel, ARENA_CANNOT_CONNECT);
        if (time_left(channel) == 0)
            return ARENA_TOO_LATE;
        (void)poll(NULL, 0, RETRY_MS);
    }
    return ARENA_OK;
}

enum arena_channel_result arena_channel_open(struct arena_channel *channel, const char *path)
{
    struct ucred peer = {.pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    enum arena_channel_result result;

    memset(channel, 0, sizeof *channel);
    start_deadline(channel);
    channel->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel->fd < 0)
        return failed(channel, ARENA_CANNOT_CONNECT);
    result = connect_to(channel, path);
    if (result != ARENA_OK)
        return result;
    if (getsockopt(channel->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer || peer.uid != 0)
        return ARENA_WRONG_PEER;
    return ARENA_OK;
}

enum arena_channel_result arena_channel_send(struct arena_channel *channel, const struct arena_message *message)
{
    enum arena_channel_result result = ARENA_BAD_MESSAGE;
    size_t size;

    channel->error = 0;
    start_deadline(channel);
    size = arena_encode(message, channel->buffer, ARENA_DATAGRAM_MAX);
    while (size > 0) {
        ssize_t sent = send(channel->fd, channel->buffer, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size) {
            result = ARENA_OK;
            break;
        }
        if (sent >= 0 || (errno != EINTR && errno != EAGAIN)) {
            bool closed = sent < 0 && (errno == EPIPE || errno == ECONNRESET);
            result = failed(channel, closed ? ARENA_CLOSED : ARENA_CANNOT_SEND);
            break;
        }
        result = wait_for(channel, POLLOUT);
        if (result != ARENA_OK)
            break;
    }
    explicit_bzero(channel->buffer, sizeof channel->buffer);
    return result;
}

enum arena_channel_result arena_channel_receive(struct arena_channel *channel, struct arena_message *message)
{
    memset(message, 0, sizeof *message);
    channel->error = 0;
    start_deadline(channel);
    for (;;) {
        enum arena_channel_result result = wait_for(channel, POLLIN);
        ssize_t size;
        if (result != ARENA_OK)
            return result;
        size = recv(channel->fd, channel->buffer, sizeof channel->buffer, 0);
        if (size == 0)
            return ARENA_CLOSED;
        if (size > 0)
            return arena_decode(channel->buffer, (size_t)size, message) ? ARENA_OK : ARENA_BAD_MESSAGE;
        /* ECONNRESET comes once, before what is queued: the daemon gave its verdict and closed, an answer unread. */
        if (errno != EINTR && errno != EAGAIN && errno != ECONNRESET)
            return failed(channel, ARENA_CANNOT_RECEIVE);
    }
}

void arena_channel_close(struct arena_channel *channel)
{
    if (channel->fd >= 0)
        (void)close(channel->fd);
    channel->fd = -1;
    explicit_bzero(channel->buffer, sizeof channel->buffer);
}

const char *arena_channel_text(enum arena_channel_result result)
{
    switch (result) {
    case ARENA_OK:
        return "no error";
    case ARENA_CANNOT_CONNECT:
        return "cannot connect (is arenad.socket running?)";
    case ARENA_WRONG_PEER:
        return "root does not listen there: nothing was sent";
    case ARENA_CANNOT_SEND:
        return "cannot send";
    case ARENA_CANNOT_RECEIVE:
        return "cannot receive";
    case ARENA_TOO_LATE:
        return "no answer in time (is arenad.service running?)";
    case ARENA_CLOSED:
        return "closed without a verdict";
    case ARENA_BAD_MESSAGE:
        return "a message that breaks the protocol";
    }
    return "unknown";
}
