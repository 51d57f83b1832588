/* libFuzzer: whatever a datagram holds, reading it stays within its bytes, and what was read writes and reads back the
 * same.
 *
 * A refused datagram leaves an empty message; an accepted one has texts that lie inside it and hold no NUL.
 */
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static const unsigned char *first, *end;

static void text_holds(const struct arena_bytes *text, size_t max)
{
    if (text->data == NULL || text->size == 0)
        return;
    HOLDS((const unsigned char *)text->data >= first && (const unsigned char *)text->data + text->size <= end);
    HOLDS(text->size <= max && memchr(text->data, '\0', text->size) == NULL);
}

static void message_holds(const struct arena_message *message)
{
    text_holds(&message->start.service, ARENA_SERVICE_MAX);
    text_holds(&message->start.user, ARENA_USER_MAX);
    text_holds(&message->start.ruser, ARENA_RUSER_MAX);
    text_holds(&message->start.rhost, ARENA_RHOST_MAX);
    text_holds(&message->start.tty, ARENA_TTY_MAX);
    text_holds(&message->start.auth_info, ARENA_AUTH_INFO_MAX);
    text_holds(&message->start.passcode, ARENA_SECRET_MAX);
    text_holds(&message->text, ARENA_TEXT_MAX);
    text_holds(&message->typed, ARENA_SECRET_MAX);
    text_holds(&message->authtok, ARENA_SECRET_MAX);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const struct arena_message EMPTY;
    unsigned char written[ARENA_DATAGRAM_MAX], again[ARENA_DATAGRAM_MAX];
    struct arena_message message, second;
    size_t length, repeated;

    first = data;
    end = data + size;
    if (!arena_decode(data, size, &message)) {
        HOLDS(memcmp(&message, &EMPTY, sizeof message) == 0);
        return 0;
    }
    message_holds(&message);
    length = arena_encode(&message, written, sizeof written);
    HOLDS(length > 0 && length <= size && arena_decode(written, length, &second));
    repeated = arena_encode(&second, again, sizeof again);
    HOLDS(repeated == length && memcmp(written, again, length) == 0);
    for (size_t room = 0; room < length; room += 1 + length / 16)
        HOLDS(arena_encode(&message, again, room) == 0);
    return 0;
}
