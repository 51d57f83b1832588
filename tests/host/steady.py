"""Runs inside the guest: logins through PAM by root while everything around is replaced, one for each line of stdin.

A line is JSON: [USER, ANSWER...]. For each, as it comes, one line of JSON is printed: "user", PAM's "code", "seconds",
"said". Each login is a process of its own that loads libpam anew, as sshd's does; what Python needs is loaded before
anything changes, and never again.
"""

import json
import os
import sys

from authenticate import call


def attempt(user, answers):
    """One login, in this process, and its line."""
    try:
        found = call("arena-only", "authenticate", user, answers)
    except Exception as error:  # what the upgrade does to a process is what is looked for
        found = {"code": -1, "seconds": 0, "said": [f"{type(error).__name__}: {error}"]}
    line = json.dumps({"user": user, **{name: found[name] for name in ("code", "seconds", "said")}})
    os.write(1, line.encode() + b"\n")


def main():
    """Go on until stdin ends, then wait for the last."""
    for line in sys.stdin:
        user, *answers = json.loads(line)
        if os.fork() == 0:
            attempt(user, answers)
            os._exit(0)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


main()
