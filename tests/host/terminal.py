"""Drives getty + login, ssh, sudo or su on a pseudo-terminal. Standard library alone: it also runs inside the guest.

login(1) and agetty call vhangup(): the master then reads EIO until they open the terminal again, which pexpect takes
for the end. A Terminal waits instead.
"""

import fcntl
import os
import re
import select
import subprocess
import termios
import time


class Terminal:
    """A pseudo-terminal, and the program on it."""

    def __init__(self, argv=None, user=None):
        """argv: run it with the terminal as its controlling one, as `user`. None: systemd's container-getty@N."""
        self.master, slave = os.openpty()
        self.name = os.ttyname(slave)
        self.text = ""
        self.process = self.unit = self._slave = None
        if argv is None:
            self.unit = f"container-getty@{self.name.rsplit('/', 1)[1]}.service"
            self._slave = slave
            subprocess.run(["systemctl", "start", self.unit], check=True)
        else:
            self.process = subprocess.Popen(
                argv,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                user=user,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
            os.close(slave)

    def expect(self, *patterns, timeout=15.0):
        """Return (index of the first pattern seen, the text up to its end). Raises TimeoutError; EOFError at the end."""
        end = time.monotonic() + timeout
        while True:
            for index, pattern in enumerate(patterns):
                if match := re.search(pattern, self.text):
                    before, self.text = self.text[: match.end()], self.text[match.end() :]
                    return index, before
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(self.text)
            if select.select([self.master], [], [], min(left, 0.2))[0]:
                try:
                    self.text += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:  # EIO: hung up, or nobody has it open just now
                    if self.process and self.process.poll() is not None:
                        raise EOFError(self.text) from None
                    time.sleep(0.05)

    def send(self, line):
        """Type a line."""
        time.sleep(0.1)  # a program that flushes its input as it turns echo off would drop it
        os.write(self.master, line.encode() + b"\n")

    def close(self):
        """End the program; return its exit status (None for a getty)."""
        status = None
        if self.unit:
            subprocess.run(["systemctl", "stop", self.unit], check=True)
            os.close(self._slave)
        if self.process:
            status = self.process.poll()
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        return status
