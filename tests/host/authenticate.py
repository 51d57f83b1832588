"""Runs inside the guest: one call of PAM by root, with a service that stands in this file's folder. Prints JSON: PAM's code,
the seconds, what was said, what was asked, and all of it in order with its style.

Usage: authenticate.py SERVICE authenticate|acct_mgmt|chauthtok USER ANSWER...
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
    """Answer the prompts in order; with no answer left, the conversation fails."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    service, function, user, *answers = sys.argv[1:]
    said, asked, heard = [], [], []

    def converse(count, messages, responses, _data):
        responses[0] = libc.calloc(count, ctypes.sizeof(Response))
        message = messages[0].contents
        heard.append([message.style, message.text.decode()])
        if message.style in ASKS:
            asked.append(message.text.decode())
            if not answers:
                return CONV_ERR
            ctypes.cast(responses[0], ctypes.POINTER(Response))[0].text = libc.strdup(
                answers.pop(0).encode("utf-8", "surrogateescape")
            )
        else:
            said.append(message.text.decode())
        return 0

    handle, conv = ctypes.c_void_p(), Conv(Converse(converse), None)
    folder = os.path.dirname(os.path.abspath(__file__)).encode()
    if pam.pam_start_confdir(service.encode(), user.encode(), ctypes.byref(conv), folder, ctypes.byref(handle)) != 0:
        sys.exit("pam_start failed")
    begun = time.monotonic()
    result = getattr(pam, f"pam_{function}")(handle, 0)
    seconds = round(time.monotonic() - begun, 3)
    pam.pam_end(handle, result)
    print(json.dumps({"code": result, "seconds": seconds, "said": said, "asked": asked, "heard": heard}))


main()
