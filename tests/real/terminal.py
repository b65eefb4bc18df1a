"""Runs a command on a terminal of its own, so that it prints what a person would see.

Usage: terminal.py COMMAND...
Copies the terminal to standard output; passes SIGTERM on as Ctrl-C; exits with the command's code.
"""
import os
import pty
import signal
import sys


def main():
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: os.write(terminal, b"\x03"))
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        os.write(1, data)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
