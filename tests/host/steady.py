"""Runs inside the guest: logins through PAM by root while everything around is replaced, one for each line of stdin.

A line is JSON: [USER, ANSWER...]. For each, as it comes, one line of JSON is printed: what authenticate.py says of it, with
"user"; or "code" -1 and what was "said" where not even libpam could be loaded. Each login is a program of its own, started
anew with the libraries that the disk has at that moment, as sshd starts itself anew for each connection.
"""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def attempt(user, answers):
    """One login, and its line."""
    command = [os.path.realpath(sys.executable), "-I", f"{HERE}/authenticate.py", "arena-only", "authenticate", user, *answers]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        found = json.loads(done.stdout)
    except OSError as error:
        found = {"code": -1, "seconds": 0, "said": [str(error)]}
    except ValueError:
        found = {"code": -1, "seconds": 0, "said": [done.stderr[-300:]]}
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
