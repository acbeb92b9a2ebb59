"""Records a terminal session, and draws it as an animated SVG that needs nothing else.

    python tests/tools/record_terminal.py record docs/recording/quick-start.txt docs/recording/quick-start.cast
    python tests/tools/record_terminal.py draw docs/recording/quick-start.cast docs/recording/quick-start.svg

`record` starts bash in a terminal of its own and types each line of the session as somebody at a keyboard would. What the programs
answer is what they answer; nothing is edited. The result is an asciicast (version 2), which asciinema plays. A line of the session that
begins with `#! ` is run before it and not shown. One with `#? ` waits until a program in the background has said what follows.

The README's recording was made on 2026-11-30, on two cores where KVM runs no guests and which compiled something else meanwhile: in
the emulated host, some twenty times slower than hardware. To repeat it:

    export PATH=$PWD/target/x86_64-unknown-linux-gnu/debug:$PATH     # after `cargo xtask demo`, which builds all of it
    python tests/tools/record_terminal.py record ...                 # from the top of the repository, as root

Bases and kernels were in the data directory before (from an earlier `hearth up`), so none are made in the recording. `HEARTH_LISTEN` and
a file that `HEARTH_CONFIG` names may choose other ports.

`draw` plays the file through a small terminal. Every line of the screen becomes a text that is visible for its time. Waits are shortened:
what follows one command takes `LONGEST` seconds at most. The clock in the corner shows the time that passed when it was recorded.
"""

import argparse
import codecs
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import struct
import sys
import termios
import time
import xml.sax.saxutils

COLUMNS, ROWS = 100, 36

# A key every so many seconds, and how long a reader looks at what came before the next command.
KEY_TIME, LOOK_TIME = 0.035, 0.9

# How long one command may take to play, in seconds, and how long the last screen stays.
LONGEST, LAST_TIME = 5.0, 6.0

# Changes that are closer to each other are drawn at once.
FRAME_TIME = 0.1

# How long a command may run.
COMMAND_LIMIT = 600

# What bash prints before each prompt, unseen: the end of a command.
READY = b"\x1b]133;A\x07"

# Of one character and one line, in pixels.
CHARACTER, LINE, MARGIN, BAR = 8.43, 19, 14, 30

COLORS = {31: "#f7768e", 32: "#9ece6a", 33: "#e0af68", 34: "#7aa2f7", 35: "#bb9af7", 36: "#7dcfff"}


def record(session, cast):
    lines = [line for line in session.read_text().splitlines() if line]
    hidden = [line.removeprefix("#! ") for line in lines if line.startswith("#! ")]
    shown = [line for line in lines if not line.startswith("#! ")]
    shell = Shell()
    for line in hidden:
        shell.send(f"{line}\n")
        shell.wait()
    shell.events.clear()
    shell.began = time.monotonic()
    shell.send("clear\n")
    shell.wait()
    # `clear` itself is not part of the session.
    last = shell.events[-1][2].rsplit("\x1b[2J", 1)[-1].rsplit("\x1b[3J", 1)[-1]
    shell.events = [[0.0, "o", last]]
    shell.began = time.monotonic()
    for line in shown:
        if line.startswith("#? "):
            shell.mark("run")
            shell.wait_for(line.removeprefix("#? "))
            shell.mark("done")
            # The prompt stands above what came from the background.
            shell.send("\n")
            shell.wait()
            continue
        shell.listen(LOOK_TIME)
        for key in line:
            shell.send(key)
            shell.listen(KEY_TIME)
        shell.mark("run")
        shell.send("\n")
        shell.wait()
        shell.mark("done")
    shell.send("exit\n")
    with cast.open("w") as file:
        for row in [{"version": 2, "width": COLUMNS, "height": ROWS}, *shell.events]:
            file.write(json.dumps(row) + "\n")


class Shell:
    """Bash in a terminal, and its output with times."""

    def __init__(self):
        self.events = []
        self.began = time.monotonic()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.ready = 0
        pid, self.terminal = pty.fork()
        if pid == 0:
            wanted = [name for name in os.environ if name in ("PATH", "HOME", "LANG") or name.startswith("HEARTH_")]
            keep = {name: os.environ[name] for name in wanted}
            settings = {"TERM": "xterm-256color", "PS1": r"\[\e]133;A\a\]\[\e[32m\]$\[\e[0m\] "}
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "+m"], {**keep, **settings})
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.wait()
        self.send("bind 'set enable-bracketed-paste off'\n")
        self.wait()

    def send(self, text):
        os.write(self.terminal, text.encode())

    def mark(self, label):
        self.events.append([round(time.monotonic() - self.began, 3), "m", label])

    def listen(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.hear(left)

    def wait(self):
        """Waits for the next prompt."""
        before, end = self.ready, time.monotonic() + COMMAND_LIMIT
        while self.ready == before:
            if time.monotonic() > end:
                sys.exit("a command did not end; look at it by hand")
            self.hear(1)

    def wait_for(self, text):
        """Waits until a program in the background has printed a text."""
        end = time.monotonic() + COMMAND_LIMIT
        while text not in "".join(said for _, kind, said in self.events if kind == "o"):
            if time.monotonic() > end:
                sys.exit(f"nothing said {text!r}")
            self.hear(1)

    def hear(self, limit):
        if not select.select([self.terminal], [], [], limit)[0]:
            return
        said = os.read(self.terminal, 65536)
        self.ready += said.count(READY)
        text = self.decoder.decode(said.replace(READY, b""))
        if text:
            self.events.append([round(time.monotonic() - self.began, 3), "o", text])


class Screen:
    """As much of a terminal as the programs of a session use. A cell is a character and its style."""

    SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[()][0-9A-B]|\x1b[=>]|[\r\n\b\x07]|[^\x1b\r\n\b\x07]")

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [[] for _ in range(rows)]
        self.row = self.column = 0
        self.style = ("", False)

    def feed(self, text):
        for found in self.SEQUENCE.finditer(text):
            piece = found[0]
            if found[2]:
                self.control(found[2], [int(number or 0) for number in found[1].lstrip("?").split(";")])
            elif piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.line_feed()
            elif piece == "\b":
                self.column = max(0, self.column - 1)
            elif piece[0] not in "\x1b\x07":
                self.put(piece)

    def put(self, character):
        if self.column == self.columns:
            self.column = 0
            self.line_feed()
        line = self.lines[self.row]
        line.extend([(" ", ("", False))] * (self.column + 1 - len(line)))
        line[self.column] = (character, self.style)
        self.column += 1

    def line_feed(self):
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.lines = [*self.lines[1:], []]

    def control(self, what, numbers):
        count = max(1, numbers[0])
        if what == "A":
            self.row = max(0, self.row - count)
        elif what == "B":
            self.row = min(self.rows - 1, self.row + count)
        elif what == "C":
            self.column = min(self.columns, self.column + count)
        elif what == "D":
            self.column = max(0, self.column - count)
        elif what == "G":
            self.column = count - 1
        elif what == "H":
            self.row, self.column = count - 1, max(1, ([*numbers, 1])[1]) - 1
        elif what == "K":
            self.lines[self.row] = self.lines[self.row][: self.column] if numbers[0] == 0 else []
        elif what == "J":
            first = self.row + 1 if numbers[0] == 0 else 0
            if numbers[0] == 0:
                self.lines[self.row] = self.lines[self.row][: self.column]
            self.lines[first:] = [[] for _ in self.lines[first:]]
        elif what == "m":
            self.paint(numbers)

    def paint(self, numbers):
        color, is_bold = self.style
        for number in numbers:
            if number == 0:
                color, is_bold = "", False
            elif number == 1:
                is_bold = True
            elif number == 39:
                color = ""
            elif number % 60 in COLORS:
                color = COLORS[number % 60]
        self.style = (color, is_bold)

    def shown(self):
        return [tuple(line) for line in self.lines]


def played(events):
    """The events with the times at which they are played, beside those at which they happened."""
    found, at, happened, rate = [], 0.0, 0.0, 1.0
    for index, (moment, kind, text) in enumerate(events):
        at += (moment - happened) * rate
        happened = moment
        if kind == "m":
            rate = 1.0
            if text == "run":
                ends = next((later[0] for later in events[index + 1 :] if later[1] == "m"), moment)
                rate = min(1.0, LONGEST / max(ends - moment, 0.001))
        else:
            found.append((at, happened, text))
    return found


def spans(rows):
    """The lines of a cast with when they are to be seen, the clock, and how long everything takes."""
    head, events = rows[0], rows[1:]
    screen = Screen(head["width"], head["height"])
    frames = []
    for at, happened, text in played(events):
        screen.feed(text)
        if frames and at - frames[-1][0] < FRAME_TIME:
            frames[-1] = (frames[-1][0], happened, screen.shown())
        else:
            frames.append((at, happened, screen.shown()))
    total = frames[-1][0] + LAST_TIME
    lines = []
    for row in range(head["height"]):
        lines += [(row, *span) for span in merged([(at, shown[row]) for at, _, shown in frames], total) if span[0]]
    clock = merged([(at, f"{int(happened) // 60}:{int(happened) % 60:02}") for at, happened, _ in frames], total)
    return lines, clock, total


def merged(changes, total):
    """Merges content that stays the same over several frames to (content, from, to)."""
    found = []
    for at, content in changes:
        if found and found[-1][0] == content:
            continue
        if found:
            found[-1][2] = at
        found.append([content, at, total])
    return [tuple(span) for span in found]


def draw(cast, picture):
    rows = [json.loads(line) for line in cast.read_text().splitlines()]
    picture.write_text(svg(rows))


def svg(rows):
    lines, clock, total = spans(rows)
    last = max(row for row, *_ in lines)
    width = round(rows[0]["width"] * CHARACTER + 2 * MARGIN)
    height = BAR + (last + 1) * LINE + MARGIN
    rules, texts, names = [], [], {}

    def visible(begin, end):
        """The attributes of an element that is visible from one time to another."""
        if (begin, end) not in names:
            name = names[begin, end] = f"k{len(names)}"
            steps = [f"{begin / total:.3%}{{visibility:visible}}"]
            if begin > 0:
                steps.insert(0, "0%{visibility:hidden}")
            if end < total:
                steps.append(f"{end / total:.3%}{{visibility:hidden}}")
            rules.append(f"@keyframes {name}{{{''.join(steps)}}}.{name}{{animation-name:{name}}}")
        return f'class="{names[begin, end]}{" e" if end == total else ""}"'

    for row, content, begin, end in lines:
        if written := runs(content):
            y = BAR + row * LINE + LINE - 5
            texts.append(f'<text x="{MARGIN}" y="{y}" {visible(begin, end)}>{written}</text>')
    for text, begin, end in clock:
        texts.append(f'<text x="{width - MARGIN}" y="20" text-anchor="end" fill="#787c99" {visible(begin, end)}>{text}</text>')
    style = (
        f"text{{white-space:pre;visibility:hidden;animation:{total:.2f}s step-end infinite}}"
        "@media(prefers-reduced-motion:reduce){text{animation:none!important}.e{visibility:visible}}"
    )
    lights = "".join(f'<circle cx="{16 + 18 * index}" cy="15" r="5" fill="#414868"/>' for index in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" fill="#c0caf5">\n'
        f"<style>{style}\n" + "\n".join(rules) + "</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#1a1b26"/>{lights}\n' + "\n".join(texts) + "\n</svg>\n"
    )


def runs(content):
    """A line as text, with a span for each piece that has a style."""
    pieces = []
    for character, style in content:
        if pieces and pieces[-1][1] == style:
            pieces[-1][0] += character
        else:
            pieces.append([character, style])
    if not "".join(text for text, _ in pieces).strip():
        return ""
    written = ""
    for text, (color, is_bold) in pieces:
        text = xml.sax.saxutils.escape(text)
        attributes = (f' fill="{color}"' if color else "") + (' font-weight="bold"' if is_bold else "")
        written += f"<tspan{attributes}>{text}</tspan>" if attributes else text
    return written.rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "draw"))
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    arguments = parser.parse_args()
    {"record": record, "draw": draw}[arguments.what](arguments.source, arguments.target)


if __name__ == "__main__":
    main()
