/* Messages to datagrams and back. What a type may and must carry stands in LAYOUT, once, for both directions. */
#include "wire.h"

#include <string.h>

enum kind { NUMBER_1, NUMBER_4, TEXT };

/* A field's place: its tag, its message, where it lies in struct arena_message, and its limits. */
struct layout {
    uint8_t type, tag, kind;
    bool required, may_be_empty;
    uint32_t low, high; /* of a number */
    size_t offset, max; /* max: bytes of a text */
};

#define AT(member) offsetof(struct arena_message, member)

static const struct layout LAYOUT[] = {
    {ARENA_START, ARENA_OPERATION, NUMBER_1, true, false, ARENA_AUTHENTICATE, ARENA_CODES, AT(start.operation), 1},
    {ARENA_START, ARENA_SERVICE, TEXT, true, false, 0, 0, AT(start.service), ARENA_SERVICE_MAX},
    {ARENA_START, ARENA_USER, TEXT, true, true, 0, 0, AT(start.user), ARENA_USER_MAX},
    {ARENA_START, ARENA_RUSER, TEXT, false, false, 0, 0, AT(start.ruser), ARENA_RUSER_MAX},
    {ARENA_START, ARENA_RHOST, TEXT, false, false, 0, 0, AT(start.rhost), ARENA_RHOST_MAX},
    {ARENA_START, ARENA_TTY, TEXT, false, false, 0, 0, AT(start.tty), ARENA_TTY_MAX},
    {ARENA_START, ARENA_FLAGS, NUMBER_4, true, false, 0, UINT32_MAX, AT(start.flags), 4},
    {ARENA_START, ARENA_UID, NUMBER_4, true, false, 0, UINT32_MAX, AT(start.uid), 4},
    {ARENA_START, ARENA_AUTH_INFO, TEXT, false, false, 0, 0, AT(start.auth_info), ARENA_AUTH_INFO_MAX},
    {ARENA_START, ARENA_PASSCODE, TEXT, false, false, 0, 0, AT(start.passcode), ARENA_SECRET_MAX},
    {ARENA_START, ARENA_OPTIONS, NUMBER_1, true, false, 0,
     ARENA_SPLIT | ARENA_JOINED | ARENA_FIRST_PASS | ARENA_FORWARD_PASS, AT(start.options), 1},
    {ARENA_START, ARENA_SERIAL, TEXT, false, false, 0, 0, AT(start.serial), ARENA_SERIAL_MAX},
    {ARENA_PROMPT, ARENA_STYLE, NUMBER_1, true, false, ARENA_HIDDEN, ARENA_ERROR, AT(style), 1},
    {ARENA_PROMPT, ARENA_TEXT, TEXT, true, false, 0, 0, AT(text), ARENA_TEXT_MAX},
    {ARENA_ANSWER, ARENA_TYPED, TEXT, true, true, 0, 0, AT(typed), ARENA_SECRET_MAX},
    {ARENA_DONE, ARENA_CODE, NUMBER_1, true, false, 0, UINT8_MAX, AT(code), 1},
    {ARENA_DONE, ARENA_AUTHTOK, TEXT, false, false, 0, 0, AT(authtok), ARENA_SECRET_MAX},
};
#define FIELDS (sizeof LAYOUT / sizeof LAYOUT[0])

static uint32_t get_number(const struct arena_message *message, const struct layout *field)
{
    const unsigned char *at = (const unsigned char *)message + field->offset;
    uint32_t number;
    if (field->kind == NUMBER_1)
        return *at;
    memcpy(&number, at, sizeof number);
    return number;
}

static void set_number(struct arena_message *message, const struct layout *field, uint32_t number)
{
    unsigned char *at = (unsigned char *)message + field->offset;
    if (field->kind == NUMBER_1)
        *at = (unsigned char)number;
    else
        memcpy(at, &number, sizeof number);
}

static struct arena_bytes get_text(const struct arena_message *message, const struct layout *field)
{
    struct arena_bytes text;
    memcpy(&text, (const unsigned char *)message + field->offset, sizeof text);
    return text;
}

static bool text_fits(const struct layout *field, const char *data, size_t size)
{
    if (size > field->max || (size == 0 && !field->may_be_empty))
        return false;
    return size == 0 || memchr(data, '\0', size) == NULL;
}

/* Write one field's value to a buffer of room bytes. Returns its size, or -1. */
static long put_value(const struct arena_message *message, const struct layout *field, unsigned char *to, size_t room)
{
    if (field->kind != TEXT) {
        uint32_t number = get_number(message, field);
        size_t size = field->max;
        if (number < field->low || number > field->high || room < size)
            return -1;
        for (size_t i = 0; i < size; i++)
            to[i] = (unsigned char)(number >> (8 * (size - 1 - i)));
        return (long)size;
    }
    struct arena_bytes text = get_text(message, field);
    if (!text_fits(field, text.data, text.size) || room < text.size)
        return -1;
    if (text.size > 0)
        memcpy(to, text.data, text.size);
    return (long)text.size;
}

size_t arena_encode(const struct arena_message *message, unsigned char *datagram, size_t size)
{
    size_t at = ARENA_HEADER_SIZE;
    if (size > ARENA_DATAGRAM_MAX)
        size = ARENA_DATAGRAM_MAX;
    if (size < at || message->type < ARENA_START || message->type > ARENA_DONE)
        return 0;
    datagram[0] = ARENA_MAGIC_0;
    datagram[1] = ARENA_MAGIC_1;
    datagram[2] = ARENA_VERSION;
    datagram[3] = message->type;
    for (size_t i = 0; i < FIELDS; i++) {
        const struct layout *field = &LAYOUT[i];
        if (field->type != message->type || (!field->required && get_text(message, field).size == 0))
            continue;
        if (size - at < ARENA_FIELD_HEADER_SIZE)
            return 0;
        long written =
            put_value(message, field, datagram + at + ARENA_FIELD_HEADER_SIZE, size - at - ARENA_FIELD_HEADER_SIZE);
        if (written < 0)
            return 0;
        datagram[at] = field->tag;
        datagram[at + 1] = (unsigned char)(written >> 8);
        datagram[at + 2] = (unsigned char)written;
        at += ARENA_FIELD_HEADER_SIZE + (size_t)written;
    }
    return at;
}

/* Read one field's value into the message. */
static bool take_value(struct arena_message *message, const struct layout *field, const unsigned char *from,
                       size_t size)
{
    if (field->kind != TEXT) {
        uint32_t number = 0;
        if (size != field->max)
            return false;
        for (size_t i = 0; i < size; i++)
            number = number << 8 | from[i];
        if (number < field->low || number > field->high)
            return false;
        set_number(message, field, number);
        return true;
    }
    struct arena_bytes text = {(const char *)from, size};
    if (!text_fits(field, text.data, size))
        return false;
    memcpy((unsigned char *)message + field->offset, &text, sizeof text);
    return true;
}

static bool take_fields(const unsigned char *datagram, size_t size, struct arena_message *message)
{
    bool seen[FIELDS] = {false};
    for (size_t at = ARENA_HEADER_SIZE; at < size;) {
        size_t i = 0, length;
        while (i < FIELDS && (LAYOUT[i].type != message->type || LAYOUT[i].tag != datagram[at]))
            i++;
        if (i == FIELDS || seen[i] || size - at < ARENA_FIELD_HEADER_SIZE)
            return false;
        length = (size_t)datagram[at + 1] << 8 | datagram[at + 2];
        at += ARENA_FIELD_HEADER_SIZE;
        if (length > size - at || !take_value(message, &LAYOUT[i], datagram + at, length))
            return false;
        seen[i] = true;
        at += length;
    }
    for (size_t i = 0; i < FIELDS; i++)
        if (LAYOUT[i].type == message->type && LAYOUT[i].required && !seen[i])
            return false;
    return true;
}

bool arena_decode(const unsigned char *datagram, size_t size, struct arena_message *message)
{
    memset(message, 0, sizeof *message);
    if (size < ARENA_HEADER_SIZE || size > ARENA_DATAGRAM_MAX || datagram[0] != ARENA_MAGIC_0 ||
        datagram[1] != ARENA_MAGIC_1 || datagram[2] != ARENA_VERSION || datagram[3] < ARENA_START ||
        datagram[3] > ARENA_DONE)
        return false;
    message->type = datagram[3];
    if (take_fields(datagram, size, message))
        return true;
    memset(message, 0, sizeof *message);
    return false;
}
