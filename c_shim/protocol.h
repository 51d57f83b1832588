/* The wire of /run/arena/auth.sock: the one definition. pam_arena/protocol.py is checked equal to it by a test.
 *
 * One message is one SOCK_SEQPACKET datagram of at most ARENA_DATAGRAM_MAX bytes:
 *
 *   byte 0, 1   the magic "AR"
 *   byte 2      the version
 *   byte 3      the type of message
 *   then fields, each: tag (1 byte), length (2 bytes, big-endian), value
 *
 * Numbers are big-endian of 1 or 4 bytes. Text holds any byte but NUL. A field stands at most once in a message.
 * A type or tag that is not listed here, a tag in a message that does not carry it, a missing or repeated field, a
 * value longer than its limit and bytes left over are protocol errors: the reader drops the connection.
 */
#ifndef ARENA_PROTOCOL_H
#define ARENA_PROTOCOL_H

#define ARENA_MAGIC_0 0x41 /* A */
#define ARENA_MAGIC_1 0x52 /* R */
#define ARENA_VERSION 1
#define ARENA_HEADER_SIZE 4
#define ARENA_FIELD_HEADER_SIZE 3
#define ARENA_DATAGRAM_MAX 4096

#define ARENA_SOCKET "/run/arena/auth.sock"
#define ARENA_REPLY_TIMEOUT_MS 9800 /* 10 s, less what it takes to say so */

enum arena_type {
    ARENA_START = 1,  /* client: who, from where, through what */
    ARENA_PROMPT = 2, /* daemon: one thing to ask or to say */
    ARENA_ANSWER = 3, /* client: what was typed; sent for HIDDEN and SHOWN prompts only */
    ARENA_DONE = 4,   /* daemon: the verdict; the last message */
};

enum arena_tag {
    /* START: operation, service, user, flags, uid and options always; the others only when known and not empty */
    ARENA_OPERATION = 0x01, /* u8, enum arena_operation */
    ARENA_SERVICE = 0x02,   /* text, 1..128 */
    ARENA_USER = 0x03,      /* text, 0..512; the module cuts longer names, all of which no account can have */
    ARENA_RUSER = 0x04,     /* text, 1..256 */
    ARENA_RHOST = 0x05,     /* text, 1..256 */
    ARENA_TTY = 0x06,       /* text, 1..128 */
    ARENA_FLAGS = 0x07,     /* u32, the flags that PAM called with */
    ARENA_UID = 0x08,       /* u32, the real uid of the caller; believed only from a peer of uid 0 */
    ARENA_AUTH_INFO = 0x09, /* text, 1..2048, sshd's SSH_AUTH_INFO_0; left out when longer */
    ARENA_PASSCODE = 0x0a,  /* secret text, 1..512, collected by an earlier module */
    ARENA_OPTIONS = 0x0b,   /* u8, bits of enum arena_option */
    ARENA_SERIAL = 0x0c,    /* text, 1..64, of the key that a request or a loss is about */
    /* PROMPT: both */
    ARENA_STYLE = 0x10, /* u8, enum arena_style */
    ARENA_TEXT = 0x11,  /* text, 1..1024 */
    /* ANSWER */
    ARENA_TYPED = 0x20, /* secret text, 0..512 */
    /* DONE: code always, authtok optionally */
    ARENA_CODE = 0x30,    /* u8, a PAM return code that arena_done_code_allowed() knows */
    ARENA_AUTHTOK = 0x31, /* secret text, 1..512, to leave in PAM_AUTHTOK */
};

enum arena_operation {
    ARENA_AUTHENTICATE = 1,
    ARENA_ACCOUNT = 2,
    ARENA_CHANGE_PIN = 3,
    ARENA_REQUEST = 4, /* 4 to 7: arena-key */
    ARENA_STATUS = 5,
    ARENA_LOST = 6,
    ARENA_CODES = 7,
};

enum arena_style {
    ARENA_HIDDEN = 1, /* ask, without echo */
    ARENA_SHOWN = 2,  /* ask, with echo */
    ARENA_INFO = 3,   /* say */
    ARENA_ERROR = 4,  /* say, as an error */
};

enum arena_option {
    ARENA_SPLIT = 1,        /* prompt=split: two fields, whatever the service's configuration says */
    ARENA_JOINED = 2,       /* prompt=joined */
    ARENA_FIRST_PASS = 4,   /* use_first_pass: PASSCODE or nothing, never a prompt */
    ARENA_FORWARD_PASS = 8, /* forward_pass: password and passcode in one field */
};

#define ARENA_SERVICE_MAX 128
#define ARENA_USER_MAX 512
#define ARENA_RUSER_MAX 256
#define ARENA_RHOST_MAX 256
#define ARENA_TTY_MAX 128
#define ARENA_AUTH_INFO_MAX 2048
#define ARENA_SERIAL_MAX 64
#define ARENA_SECRET_MAX 512
#define ARENA_TEXT_MAX 1024

#endif
