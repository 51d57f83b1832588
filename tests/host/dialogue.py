"""Runs inside the guest: one dialogue on a terminal, led by lines of JSON on stdin, answered by lines of JSON."""

import json
import sys

from terminal import Terminal


def main():
    """The first line says what runs: {"argv": [...] or null, "user": ...}. The end of the input ends it."""
    terminal = Terminal(**json.loads(sys.stdin.readline()))
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if "send" in order:
                terminal.send(order["send"])
                continue
            try:
                index, text = terminal.expect(*order["expect"], timeout=order["timeout"])
                answer = {"seen": index, "text": text}
            except TimeoutError as error:
                answer = {"seen": "timeout", "text": str(error)}
            except EOFError as error:
                answer = {"seen": "end", "text": str(error), "status": terminal.process.wait()}
            print(json.dumps(answer), flush=True)
    finally:
        terminal.close()


main()
