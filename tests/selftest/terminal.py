# SPDX-License-Identifier: GPL-2.0
"""A program on a pseudo-terminal, and a picture of its screen."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from html import escape
from itertools import groupby

import pyte
from harness import wait_until

COLORS = {"default": "#d8d8d8", "black": "#181818", "red": "#ff6b68", "green": "#8bc34a", "brown": "#f2c14e",
          "blue": "#6ca8f0", "magenta": "#c58af9", "cyan": "#4fc1c9", "white": "#ffffff"}
PAPER = "#181818"
WIDTH, HEIGHT = 8.4, 18  # of a character


class Terminal:
    """Runs a program on a pseudo-terminal; `screen` is what it shows, `said` all that it has written."""

    def __init__(self, command, columns=80, rows=24, env=None):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.said = b""
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.tell_size()
        self.process = subprocess.Popen(
            command, preexec_fn=lambda: os.login_tty(os.dup(self.slave)), close_fds=False,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})})

    def tell_size(self):
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def resize(self, columns, rows):
        """Changes the size and clears the screen: the program must draw all of it again."""
        self.screen.resize(rows, columns)
        self.screen.reset()
        self.tell_size()

    def press(self, keys):
        os.write(self.master, keys.encode())

    def text(self):
        """The text on the screen."""
        while select.select([self.master], [], [], 0)[0]:
            some = os.read(self.master, 65536)
            self.said += some
            self.stream.feed(some)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, *parts, seconds=30):
        """Waits until all `parts` are on the screen at once, where any space between words counts as one; returns the
        text."""
        def shown():
            text = self.text()
            words = " ".join(text.split())
            return text if all(part in words for part in parts) else None
        try:
            return wait_until(shown, f"{parts} on the screen", seconds)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.text()}") from None

    def wait(self):
        """Waits for the end of the program; returns its exit status."""
        wait_until(lambda: (self.text(), self.process.poll())[1] is not None, "the program ends")
        self.text()
        return self.process.returncode

    def is_as_before(self):
        """Whether the settings of the terminal and its screen are as before the program."""
        return termios.tcgetattr(self.slave) == self.before and \
            self.said.rfind(b"\x1b[?1049l") > self.said.rfind(b"\x1b[?1049h") >= 0 and \
            self.said.rfind(b"\x1b[?25h") > self.said.rfind(b"\x1b[?25l") >= 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def picture(screen):
    """The screen as SVG, with a text for each run of characters of one style, and a rectangle for a background."""
    width, height = screen.columns * WIDTH + 16, screen.lines * HEIGHT + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
           f' width="{width:.0f}" height="{height:.0f}">', "<!-- SPDX-License-Identifier: GPL-2.0 -->",
           f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>',
           '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">']
    for row in range(screen.lines):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        column = 0
        for style, run in groupby(cells, lambda cell: (cell.fg, cell.bold, cell.reverse)):
            text = "".join(cell.data for cell in run)
            out += span(text, column, row, *style)
            column += len(text)
    return "\n".join(out + ["</g>", "</svg>"]) + "\n"


def span(text, column, row, color, bold, reverse):
    ink, x, top = COLORS.get(color, COLORS["default"]), 8 + column * WIDTH, 8 + row * HEIGHT
    length = len(text) * WIDTH
    if reverse:
        yield f'<rect x="{x:.1f}" y="{top}" width="{length:.1f}" height="{HEIGHT}" fill="{ink}"/>'
        ink = PAPER
    if text.strip():
        weight = ' font-weight="bold"' if bold else ""
        yield (f'<text x="{x:.1f}" y="{top + 14}" fill="{ink}"{weight} textLength="{length:.1f}"'
               f' lengthAdjust="spacingAndGlyphs">{escape(text)}</text>')
