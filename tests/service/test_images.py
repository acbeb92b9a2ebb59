"""Failures of image builds: each has its own state and reason, and leaves no files. And what builds share."""

import re
import time

import pytest
from botocore.exceptions import ClientError

from .cli import Cli
from .conftest import EXAMPLES
from .test_operations import Operator

# A server of few lines that starts in no time even where all is emulated. Each port fails another hook in another way, so that one image
# has all faults: `hooks.port` chooses, and the second build of it needs no builder. A request for /exit ends the application.
SERVER = r"""
use IO::Socket::INET;
$SIG{PIPE} = "IGNORE";
my %faults = (8080 => "", 8081 => "ready 503", 8082 => "ready hangs", 8083 => "ready 500", 8084 => "validate 500");
for my $port (keys %faults) {
    next if fork;
    my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 8) or die $!;
    while (my $caller = $listener->accept) {
        my ($path) = <$caller> =~ m{ (\S+) };
        while (<$caller>) { last if /^\r?$/ }
        exit 5 if $path eq "/exit";
        my ($hook) = $path =~ m{/v1/(\w+)$};
        sleep 1000 if $faults{$port} eq "$hook hangs";
        my $status = $faults{$port} eq "$hook 503" ? 503 : $faults{$port} eq "$hook 500" ? 500 : 200;
        print $caller "HTTP/1.1 $status x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    }
}
wait;
exit($? >> 8);
"""
FAULTY = {
    "Dockerfile": 'FROM hearth/debian:12\nCOPY server.pl /\nCMD ["perl", "/server.pl"]\n',
    "server.pl": SERVER,
}


def hooks(port, **enabled):
    """Image hooks; a timeout of a second is half a minute where all is emulated."""
    timeouts = {f"{hook}TimeoutInSeconds": 1 for hook in enabled}
    return {"port": port, "microvmImageHooks": {**{hook: "ENABLED" for hook in enabled}, **timeouts}}


# Name, files or the raw object, hooks, stateReason, what the build log tells. What Dockerfiles fail of is shown by hearth-image's tests of
# builds, and how it is told by hearth-service's `build/failure.rs`; here is one of them, in test_cli.py.
FAILURES = [
    ("not-a-zip", b"no zip at all", None, "The code artifact is not valid", "zip"),
    ("traversal", {"Dockerfile": "FROM scratch\n", "../out": "x"}, None, "The code artifact is not valid", "../out"),
    ("bomb", {"Dockerfile": "FROM scratch\n", "zeros": bytes(64 << 20)}, None, "The code artifact is not valid", ""),
    ("ready-never", FAULTY, hooks(8081, ready=True), "Ready hook invocation timed out after PT1S", "Ready"),
    ("ready-hangs", FAULTY, hooks(8082, ready=True), "Ready hook invocation timed out after PT1S", "Ready"),
    ("ready-500", FAULTY, hooks(8083, ready=True), "Ready hook check failed", "500"),
    ("validate-500", FAULTY, hooks(8084, ready=True, validate=True), "Validate hook check failed", "500"),
]


def failure(hearth, name, artifact, active=None):
    """Builds an image that cannot be built. Returns the reason."""
    image = hearth.build(name, artifact, **({"hooks": active} if active else {}))
    hearth.wait_image(image, "CREATE_FAILED", "CREATED")
    [build] = hearth.microvms.list_microvm_image_builds(imageIdentifier=image, imageVersion="1.0")["items"]
    assert build["buildState"] == "FAILED", build
    return build["stateReason"]


@pytest.mark.parametrize("name, files, active, reason, cause", FAILURES, ids=[name for name, *_ in FAILURES])
def test_a_failure_has_its_own_reason(hearth, name, files, active, reason, cause):
    artifact = hearth.upload(f"{name}-code", "code.zip", {} if isinstance(files, bytes) else files)
    if isinstance(files, bytes):
        hearth.s3.put_object(Bucket=f"{name}-code", Key="code.zip", Body=files)
    assert reason in failure(hearth, name, artifact, active)
    assert cause in hearth.build_log(name)


def test_an_application_that_ends_takes_its_microvm_along(hearth):
    artifact = hearth.upload("ends-code", "code.zip", FAULTY)
    image = hearth.build("ends", artifact, hooks=hooks(8080, ready=True))
    hearth.wait_image(image, "CREATED", "CREATE_FAILED")
    session = hearth.run(image)
    assert session.request("/exit")[0] == 502
    ended = hearth.wait_microvm(session.id, "TERMINATED")
    assert ended["stateReason"] == "Container Stopped with Exit Code: 5"


def test_an_artifact_that_is_not_there_is_told_apart(hearth):
    hearth.s3.create_bucket(Bucket="no-key-code")
    for bucket, code in (("there-is-no-such-bucket", "NoSuchBucket"), ("no-key-code", "NoSuchKey")):
        with pytest.raises(ClientError, match=f"Code: {code}"):
            hearth.build("no-artifact", f"s3://{bucket}/code.zip")


def test_failures_leave_nothing(hearth):
    holdings = Cli(hearth).json("image", "du")["holdings"]
    names = {holding["name"].rpartition(":")[2] for holding in holdings}
    assert not names & {name for name, *_ in FAILURES}, names
    assert not [holding for holding in holdings if holding["kind"] == "BUILD"], holdings


def test_a_second_build_uses_the_layers_of_the_first(hearth):
    """One right after the other: what other builds leave behind may make the cache start anew. The same zip again is a test of hearth-image."""
    same = "FROM hearth/debian:12\nRUN echo made in $((40 + 2))\n"
    logs = []
    for name, arguments in (("layers-first", 88888), ("layers-second", 99999)):
        dockerfile = f'{same}CMD ["sleep", "{arguments}"]\n'
        artifact = hearth.upload(f"{name}-code", "layers.zip", {"Dockerfile": dockerfile.encode()})
        image = hearth.build(name, artifact)
        hearth.wait_image(image, "CREATED", "CREATE_FAILED")
        logs.append(hearth.build_log(name))
    # Lines of programs have the step and the seconds before them.
    made = re.compile(r"^#\d+ \d+\.\d+ made in 42$", re.MULTILINE)
    assert made.search(logs[0]), logs[0]
    assert " CACHED\n" in logs[1] and not made.search(logs[1]), logs[1]
    hearth.run(image).terminate()


def test_it_is_told_who_holds_what(hearth, hello):
    cli = Cli(hearth)
    usage = cli.json("image", "du")
    holdings = usage["holdings"]
    assert usage["totalSizeInBytes"] == sum(holding["sizeInBytes"] for holding in holdings)
    [version] = [holding for holding in holdings if (holding["name"], holding["imageVersion"]) == (hello, "1.0")]
    assert version["kind"] == "VERSION" and version["sizeInBytes"] > 1 << 20
    # What it stands on is there, is the newest, and is counted by itself.
    for kind, member in (("BASE_IMAGES", "baseImages"), ("GUEST_BASE", "guestBase")):
        [base] = [holding for holding in holdings if (holding["kind"], holding["name"]) == (kind, version[member])]
        assert base["current"] and base["sizeInBytes"] > 10 << 20
    # The accounts that `hearth audit` made may have some, too.
    assert "000000000000" in [holding["name"] for holding in holdings if holding["kind"] == "LAYER_CACHE"]
    shown = cli.text("image", "du")
    assert "hello:1.0" in shown and shown.endswith("in all"), shown
    [listed] = [row for row in cli.json("base", "ls")["versions"] if row["name"] == "hello:1.0"]
    assert listed["rebuildBrings"] == []
    assert "nothing new" in cli.text("base", "ls")


# Prints what OpenSSL draws, with all capabilities.
CAPABLE = b"""FROM hearth/python:3.11
CMD ["python3", "-uc", "import ssl, time\\nwhile True: print(ssl.RAND_bytes(16).hex()); time.sleep(0.5)"]
"""


@pytest.fixture(scope="module")
def capable(hearth):
    artifact = hearth.upload("capable-code", "capable.zip", {"Dockerfile": CAPABLE})
    image = hearth.build("capable", artifact, additionalOsCapabilities=["ALL"])
    hearth.wait_image(image, "CREATED", "CREATE_FAILED")
    return image


def draw_apart(hearth, name, image):
    """Two microVMs of an image that is in the middle of a loop of random lines in the snapshot."""
    first, second = (hearth.run(image) for _ in range(2))
    deadline = time.monotonic() + 120
    while True:
        events = hearth.logs.filter_log_events(logGroupName=f"/aws/lambda-microvms/{name}")["events"]
        drawn = [[event["message"] for event in events if session.id in event["logStreamName"]] for session in (first, second)]
        if all(len(lines) >= 6 for lines in drawn):
            break
        assert time.monotonic() < deadline, events
        time.sleep(1)
    for session in (first, second):
        session.terminate()
    assert all(len(bytes.fromhex(line)) == 16 for lines in drawn for line in lines)
    # The program may have stood between drawing and printing when it was sealed: the first line of each may be the same.
    one, other = ({*lines[1:]} for lines in drawn)
    earlier = {event["message"] for event in events if all(session.id not in event["logStreamName"] for session in (first, second))}
    assert not one & other and not (one | other) & earlier


def test_two_microvms_draw_their_own_random_bytes(hearth):
    """The example with two stages, from a zip to microVMs."""
    files = {path.name: path.read_bytes() for path in (EXAMPLES / "multi-stage").iterdir()}
    image = hearth.build("dice", hearth.upload("dice-code", "dice.zip", files))
    hearth.wait_image(image, "CREATED", "CREATE_FAILED")
    draw_apart(hearth, "dice", image)


def test_openssl_of_two_microvms_draws_its_own_random_bytes(hearth, capable):
    """Case 24: OpenSSL's own generator, seeded before the snapshot, gave all clones the same keys and tokens."""
    draw_apart(hearth, "capable", capable)


# Asks for a bridge, a file system and the packet filter, as dockerd does, and says which modules came of it.
ASKING = """
import ctypes, fcntl, socket, struct
for ask in (
    lambda: fcntl.ioctl(socket.socket(), 0x89A0, b"br0".ljust(16, b"\\0")),
    lambda: ctypes.CDLL(None).mount(b"none", b"/mnt", b"squashfs", 0, None),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).send(struct.pack("=IHHII4x", 20, 10 << 8 | 1, 0x301, 1, 0)),
):
    try:
        ask()
    except OSError as error:
        print(error)
print(*(line.split()[0] for line in open("/proc/modules")))
"""


def test_modules_are_loaded_for_those_who_may_use_them(hearth, capable, hello):
    """Case 6: applications with all capabilities had no bridge, no packet filter and no further file system."""
    wanted = {"bridge", "br_netfilter", "squashfs", "nf_tables"}
    for image, loaded in ((capable, wanted), (hello, set())):
        session = hearth.run(image)
        stdout, stderr, last = Operator(hearth, session).execute("python3", "-c", ASKING)
        session.terminate()
        assert last == {"exitCode": 0}, stderr
        assert wanted & {*stdout.decode().splitlines()[-1].split()} == loaded, stdout
