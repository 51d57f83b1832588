<<<<<<< HEAD
"""Runs inside the guest: one call of PAM by root, with a service that stands in this file's folder. Prints JSON: PAM's code,
the seconds, what was said, and what was asked.

Usage: authenticate.py SERVICE authenticate|acct_mgmt|chauthtok USER ANSWER...
=======
"""Runs inside the guest: one pam_authenticate of the service arena-only, which stands in this file's folder and has no
module but pam_arena. Prints what was said (with --all, each message with its style), PAM's code and the seconds.

Usage: authenticate.py [--all] USER ANSWER...
>>>>>>> model
"""

import ctypes
import json
import os
import sys
import time

ASKS = (1, 2)  # PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON
CONV_ERR = 19  # PAM_CONV_ERR


class Message(ctypes.Structure):
    """struct pam_message"""

    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    """struct pam_response"""

    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


class Conv(ctypes.Structure):
    """struct pam_conv"""

    _fields_ = [("conv", Converse), ("data", ctypes.c_void_p)]


def main():
<<<<<<< HEAD
    """Answer the prompts in order; with no answer left, the conversation fails."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    service, function, user, *answers = sys.argv[1:]
    said, asked = [], []
=======
    """Answer the prompts in order, and print what was said."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    arguments = [one for one in sys.argv[1:] if one != "--all"]
    everything = len(arguments) < len(sys.argv) - 1
    user, *answers = arguments
>>>>>>> model

    def converse(count, messages, responses, _data):
        responses[0] = libc.calloc(count, ctypes.sizeof(Response))
        message = messages[0].contents
        if everything:
            print(message.style, message.text.decode(), end="|")
        if message.style in ASKS:
<<<<<<< HEAD
            asked.append(message.text.decode())
            if not answers:
                return CONV_ERR
            ctypes.cast(responses[0], ctypes.POINTER(Response))[0].text = libc.strdup(answers.pop(0).encode())
        else:
            said.append(message.text.decode())
=======
            ctypes.cast(responses[0], ctypes.POINTER(Response))[0].text = libc.strdup(
                answers.pop(0).encode("utf-8", "surrogateescape")
            )
        elif not everything:
            print(message.text.decode(), end="|")
>>>>>>> model
        return 0

    handle, conv = ctypes.c_void_p(), Conv(Converse(converse), None)
    folder = os.path.dirname(os.path.abspath(__file__)).encode()
    if pam.pam_start_confdir(service.encode(), user.encode(), ctypes.byref(conv), folder, ctypes.byref(handle)) != 0:
        sys.exit("pam_start failed")
    begun = time.monotonic()
    result = getattr(pam, f"pam_{function}")(handle, 0)
    seconds = round(time.monotonic() - begun, 3)
    pam.pam_end(handle, result)
    print(json.dumps({"code": result, "seconds": seconds, "said": said, "asked": asked}))


main()
