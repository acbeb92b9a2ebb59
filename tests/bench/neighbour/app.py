"""The application of both neighbours: answers requests, and puts load on its own machine when it is asked to.

GET /                              "ok"
GET /name                          "ok" when the resolver answers a question, refusals included; else 504
GET /attack?kind=cpu&seconds=5     begins; 202
GET /attacked                      what was done since, when it is over: a number; else 409
"""

import http.server
import mmap
import multiprocessing
import os
import socket
import struct
import time
import urllib.parse

GATEWAY = ("198.19.0.1", 53)
MIB = 1 << 20
CPUS = os.cpu_count()


def count(done, steps=1):
    with done.get_lock():
        done.value += steps


def cpu(end, done):
    """Millions of steps."""
    while time.monotonic() < end:
        for _ in range(1_000_000):
            pass
        count(done)


def memory(end, done):
    """MiB that were written, over most of the free memory."""
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    # Nothing of it is there before it is written.
    taken = mmap.mmap(-1, available * 1024 * 6 // 10 // CPUS)
    turn = 0
    while time.monotonic() < end:
        turn = (turn + 1) % 256
        for start in range(0, len(taken), MIB):
            taken[start : start + MIB : 4096] = bytes([turn]) * len(range(start, min(start + MIB, len(taken)), 4096))
            if time.monotonic() > end:
                break
            count(done)


def disk(end, done):
    """MiB that were written durably and read again."""
    path = f"/var/tmp/attack-{os.getpid()}"
    block = os.urandom(MIB)
    with open(path, "w+b", buffering=0) as f:
        while time.monotonic() < end:
            f.seek((done.value % 128) * MIB)
            f.write(block)
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            f.seek(0)
            f.read(MIB)
            count(done)
    os.unlink(path)


def network(end, done):
    """Thousands of packets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        while time.monotonic() < end:
            for _ in range(1000):
                try:
                    s.sendto(b"x", GATEWAY)
                except OSError:
                    # Refused by a rule, or its queue is full.
                    pass
            count(done)


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0x4844, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def names(end, done):
    """Questions for names of which each is a new one, beside connections to the resolver that say nothing."""
    held = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        while time.monotonic() < end:
            if len(held) < 64:
                silent = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                silent.settimeout(0.1)
                try:
                    silent.connect(GATEWAY)
                    held.append(silent)
                except OSError:
                    silent.close()
            for n in range(20):
                try:
                    s.sendto(question(f"n{done.value}-{n}-{os.getpid()}.example.com"), GATEWAY)
                except OSError:
                    # Refused by a rule, or its queue is full.
                    pass
            count(done, 20)
            time.sleep(0.01)


def connections(end, done):
    """Connections that are over at once: the host's table keeps each for a while."""
    while time.monotonic() < end:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(0.2)
            try:
                s.connect(GATEWAY)
                count(done)
            except OSError:
                # Beyond the limit of new connections.
                pass


def answers():
    """Whether the resolver says anything to a question that it answers itself, as it does to one of a class that nobody has."""
    asked = question("blocked.invalid")[:-4] + struct.pack(">HH", 252, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        try:
            s.sendto(asked, GATEWAY)
            return bool(s.recv(2048))
        except OSError:
            return False


KINDS = {"cpu": [cpu], "memory": [memory], "disk": [disk], "network": [network], "names": [names], "connections": [connections],
         "all": [cpu, memory, disk, network, names, connections]}


class Attack:
    def __init__(self, kind, seconds):
        self.done = multiprocessing.Value("L", 0)
        end = time.monotonic() + seconds
        works = [work for work in KINDS[kind] for _ in range(CPUS)]
        self.processes = [multiprocessing.Process(target=work, args=(end, self.done)) for work in works]
        for process in self.processes:
            process.start()

    def over(self):
        return not any(process.is_alive() for process in self.processes)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    attack = None

    def do_GET(self):
        route, _, query = self.path.partition("?")
        if route == "/attack":
            wanted = dict(urllib.parse.parse_qsl(query))
            Handler.attack = Attack(wanted["kind"], float(wanted["seconds"]))
            self.answer(202, "begun")
        elif route == "/attacked":
            attack = Handler.attack
            self.answer(200, str(attack.done.value)) if attack and attack.over() else self.answer(409, "not yet")
        elif route == "/name":
            self.answer(200, "ok") if answers() else self.answer(504, "no answer")
        else:
            self.answer(200, "ok")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
