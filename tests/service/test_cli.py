"""The command line against `hearth up`: from a folder to a microVM, and everything that one does with it."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import termios
import threading
import time
import tomllib
import urllib.request

import pytest

from .cli import Cli
from .conftest import EXAMPLES, Session
from .test_operations import Operator

HOOKS = [f"--hook={hook}" for hook in ("ready", "run", "resume", "suspend", "terminate")]


@pytest.fixture(scope="module")
def cli(hearth):
    return Cli(hearth)


@pytest.fixture(scope="module")
def image(cli, tmp_path_factory):
    """The example, built by the command line; so that there is something to build, not as it was built before."""
    folder = shutil.copytree(EXAMPLES / "hello", tmp_path_factory.mktemp("cli") / "hello")
    dockerfile = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(re.sub("(?m)^(FROM .*)$", rf"\1\nENV BUILT={time.time_ns()}", dockerfile))
    built = cli.run("image", "build", folder, "--name=cli", "--memory=512", "--port=8080", *HOOKS)
    assert built.stdout == b"cli\n"
    told = built.stderr.decode()
    for said in ("packed 3 files", "running the Dockerfile", "compiled on", "sealing the snapshot", "cli 1.0 is ready"):
        assert said in told, told
    yield "cli"
    cli.run("image", "rm", "cli")
    assert "there is no image cli" in cli.error("image", "show", "cli", status=3)


@pytest.fixture(scope="module")
def microvm(cli, image):
    options = ["--payload=from the command line", "--shell", "--idle=3600", "--active-while=exec,cpu"]
    microvm = cli.text("run", image, *options, "--wait")
    yield microvm
    cli.run("rm", microvm)
    assert cli.json("show", microvm)["state"] == "TERMINATED"


def short(microvm):
    """A prefix of the id, as users type it."""
    return microvm.removeprefix("microvm-")[:10]


def test_images_are_listed_and_shown(cli, image):
    [listed] = [item for item in cli.json("image", "ls")["items"] if item["name"] == image]
    assert (listed["state"], listed["latestActiveImageVersion"]) == ("CREATED", "1.0")
    assert any(line.split()[:3] == [image, "CREATED", "1.0"] for line in cli.text("image", "ls").splitlines())
    shown = cli.json("image", "show", image)
    assert [version["state"] for version in shown["versions"]] == ["SUCCESSFUL"]
    assert shown["versions"][0]["resources"] == [{"minimumMemoryInMiB": 512}]
    assert shown["builds"][0]["snapshotBuild"]["memorySnapshotSizeInBytes"] > 0
    assert "512 MiB" in cli.text("image", "show", f"{image}:1.0")


def test_microvms_are_listed_and_shown(cli, hearth, image, microvm):
    assert cli.json("show", short(microvm))["state"] == "RUNNING"
    assert microvm in cli.text("ps", "-q").split()
    assert microvm in cli.text("ps", "-q", "--image", f"{image}:1.0").split()
    [line] = [line for line in cli.text("ps").splitlines() if line.startswith(microvm[:16])]
    assert line.split()[1:3] == ["cli:1.0", "RUNNING"]
    counts = Operator(hearth, Session(hearth, microvm, None)).call("GET", "activity")
    assert json.loads(counts[1]) == {"execs": True, "guestCpu": True}
    assert "HTTP_INGRESS" not in cli.text("show", microvm) and "ALL_INGRESS" in cli.text("show", microvm)


def test_processes_run_beside_the_application(cli, microvm):
    script = "cat; echo $GREETING $MORE; pwd; echo err >&2; exit 7"
    ran = cli.run(
        "exec", "-i", "-e", "MORE=more", "-w", "/tmp", microvm, "--", "sh", "-c", script, status=7, input=b"in\n"
    )
    assert (ran.stdout, ran.stderr) == (b"in\nhello more\n/tmp\n", b"err\n")
    cli.run("exec", short(microvm), "sh", "-c", "kill -9 $$", status=137)
    # What is no status of a process cannot be taken for one.
    assert "/no/such/program" in cli.error("exec", microvm, "--", "/no/such/program", status=125)
    told = cli.error("exec", microvm, "ls -l /tmp", status=125)
    assert "sh -c" in told and "os error" not in told
    told = cli.error("exec", "-u", "nosuch", microvm, "true", status=125)
    assert "there is no user nosuch" in told and "os error" not in told and "No such file" not in told
    assert "TimeoutException" in cli.error("exec", "--timeout=2", microvm, "sleep", "77", status=125)


def test_output_comes_as_it_is_written(cli, microvm):
    command = [cli.program, "exec", microvm, "--", "sh", "-c", "printf first; exec sleep 8888"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=cli.environment)
    assert process.stdout.read(5) == b"first"
    process.kill()
    process.wait()
    # Whoever goes away takes the process along.
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done | grep -c '^sleep 8888'"
    deadline = time.monotonic() + 60
    while subprocess.run([cli.program, "exec", microvm, "sh", "-c", script], env=cli.environment).returncode == 0:
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.5)


def test_input_goes_in_while_output_comes(cli, microvm):
    command = [cli.program, "exec", "-i", microvm, "--", "cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=cli.environment)
    for word in (b"first\n", b"second\n"):
        process.stdin.write(word)
        process.stdin.flush()
        assert process.stdout.readline() == word
    process.stdin.close()
    assert process.wait(60) == 0
    # More than fits into one request.
    content = os.urandom(8 << 20)
    assert cli.run("exec", "-i", microvm, "cat", input=content).stdout == content


def test_a_process_can_have_a_terminal(cli, microvm):
    script = "tty && stty size; read answer; echo it was $answer; exit 7"
    status, shown = typed(cli, ["exec", "-t", microvm, "sh", "-c", script], b"blue\n", b"it was blue")
    assert status == 7 and b"/dev/pts/" in shown and b"31 97" in shown, shown
    assert "no terminal" in cli.error("exec", "-t", microvm, "true", status=125)


def test_files_go_in_and_out(cli, microvm, tmp_path):
    content = os.urandom(7 << 20)
    source = tmp_path / "data"
    source.write_bytes(content)
    source.chmod(0o750)
    cli.run("cp", source, f"{short(microvm)}:/tmp/")
    assert cli.text("exec", microvm, "stat", "-c", "%a %s", "/tmp/data") == f"750 {len(content)}"
    cli.run("cp", f"{microvm}:/tmp/data", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    # A directory is put into, as docker cp does.
    cli.run("cp", source, f"{microvm}:/var")
    assert cli.text("exec", microvm, "stat", "-c", "%s", "/var/data") == str(len(content))
    assert "/tmp is a directory" in cli.error("cp", "-", f"{microvm}:/tmp", status=1).replace("/tmp/", "/tmp")
    cli.run("cp", "-", f"{microvm}:/tmp/typed", input=b"typed")
    assert cli.run("cp", f"{microvm}:/tmp/typed", "-").stdout == b"typed"
    # What fails leaves nothing here.
    told = cli.error("cp", f"{microvm}:/no/such/file", tmp_path / "never", status=3)
    assert "/no/such/file" in told and sorted(os.listdir(tmp_path)) == ["back", "data"]
    assert "--recursive" in cli.error("cp", tmp_path, f"{microvm}:/tmp/x", status=1)


def test_folders_go_in_and_out(cli, microvm, tmp_path):
    source = tmp_path / "project"
    (source / "src").mkdir(parents=True)
    (source / "src/main.py").write_text("print('hi')\n")
    (source / "src/main.py").chmod(0o755)
    (source / "link").symlink_to("src/main.py")
    with open(source / "disk.img", "wb") as disk:
        disk.truncate(8 << 20)
        disk.seek(4 << 20)
        disk.write(b"in the middle")
    cli.run("cp", "-r", source, f"{microvm}:/srv/")
    assert cli.text("exec", microvm, "stat", "-c", "%s", "/srv/project/disk.img") == str(8 << 20)
    # Holes stay holes.
    assert int(cli.text("exec", microvm, "stat", "-c", "%b", "/srv/project/disk.img")) * 512 < 1 << 20
    cli.run("cp", "-r", source, f"{short(microvm)}:/srv/other")
    # Once it is there, it is a directory to be put into.
    cli.run("cp", "-r", source, f"{short(microvm)}:/srv/other")
    assert cli.text("exec", microvm, "ls", "/srv/other/project/src") == "main.py"
    assert cli.text("exec", microvm, "python3", "/srv/project/link") == "hi"
    assert cli.text("exec", microvm, "stat", "-c", "%a", "/srv/other/src/main.py") == "755"
    cli.run("cp", "-r", f"{microvm}:/srv/project", tmp_path / "back")
    assert (tmp_path / "back/link").readlink() == source.joinpath("link").readlink()
    assert (tmp_path / "back/src/main.py").read_text() == "print('hi')\n"
    # What is there stays as it is.
    assert "there already" in cli.error("cp", "-r", f"{microvm}:/srv/project", tmp_path, status=1)
    assert sorted(os.listdir(tmp_path)) == ["back", "project"]
    cli.error("cp", "-r", f"{microvm}:/no/such", tmp_path / "never", status=3)
    assert not (tmp_path / "never").exists()


def test_requests_go_through_the_endpoint(cli, hearth, microvm):
    answer = json.loads(cli.text("curl", short(microvm)))
    assert (answer["microvm"], answer["payload"]) == (microvm, "from the command line")
    assert json.loads(cli.text("curl", microvm, "/x", "-d", "12345")) == {"bytes": 5}
    assert cli.text("curl", "-i", microvm).startswith("HTTP/1.1 200 OK\n")
    assert cli.run("curl", microvm, "-X", "DELETE").stdout
    cli.run("curl", "-f", microvm, "-X", "DELETE", status=22)
    told = cli.error("curl", microvm, "--port=1", status=22)
    assert "502" in told and "port 1 " in told and "hearth logs" in told
    # A token is for whatever speaks HTTP.
    token = cli.text("token", microvm, "--port=8080", "--expires=5")
    url = "https://" + cli.json("show", microvm)["endpoint"]
    request = urllib.request.Request(url, headers={"X-aws-proxy-auth": token})
    assert urllib.request.urlopen(request, context=hearth.tls, timeout=300).status == 200


def test_a_shell_is_a_terminal(cli, microvm):
    line = b"stty -echo; tty && echo $((6*7)) shell; exit\n"
    status, shown = typed(cli, ["shell", microvm], line, b"42 shell")
    assert status == 0 and b"/dev/pts/" in shown, shown


def typed(cli, words, line, awaited):
    """Types a line into a command that has a terminal. Returns its status and output."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (31, 97))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen([cli.program, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=cli.environment)
    os.write(ours, line)
    shown, deadline = b"", time.monotonic() + 120
    while awaited not in shown or process.poll() is None:
        assert time.monotonic() < deadline, shown
        if select.select([ours], [], [], 0.2)[0]:
            shown += os.read(ours, 4096)
    # The terminal is as it was.
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)
    return process.returncode, shown


def test_a_fork_goes_its_own_way(cli, microvm):
    before = json.loads(cli.text("curl", microvm))["count"]
    child = cli.text("fork", "--wait", "--max-duration=600", microvm)
    assert child != microvm and cli.json("show", child)["maximumDurationInSeconds"] == 600
    assert [json.loads(cli.text("curl", one))["count"] for one in (child, child, microvm)] == [
        before + 1, before + 2, before + 1
    ]
    cli.run("rm", child)


def test_microvms_sleep_and_wake(cli, microvm):
    before = json.loads(cli.text("curl", microvm))["count"]
    assert cli.text("suspend", short(microvm)) == microvm
    assert cli.json("show", microvm)["state"] == "SUSPENDED"
    told = cli.error("exec", microvm, "true", status=125)
    assert "SUSPENDED" in told and "hearth resume" in told
    cli.run("resume", microvm)
    assert json.loads(cli.text("curl", microvm))["count"] == before + 1
    times = cli.json("show", "--times", microvm)
    assert times["kind"] == "RESUME"
    steps = [step["name"] for step in times["steps"]]
    expected = ["VMM spawned", "memory mapped", "vCPUs running", "agent answers", "unique", "thawed"]
    assert [step for step in steps if step in expected] == expected and "first byte" not in steps
    # This one a request waits for.
    cli.run("suspend", microvm)
    cli.run("curl", microvm)
    assert cli.json("show", "--times", microvm)["steps"][-1]["name"] == "first byte"
    assert "all of the resume" in cli.text("show", "--times", microvm)


def test_what_was_written_can_be_read_and_followed(cli, image, microvm):
    def lines(*words):
        return cli.text("logs", *words).splitlines()

    deadline = time.monotonic() + 60
    while "hook run" not in lines(microvm):
        assert time.monotonic() < deadline, lines(microvm)
        time.sleep(0.5)
    assert lines(microvm, "-n", "1") == lines(microvm)[-1:]
    assert any(line.startswith("build-") and "compiled on" in line for line in lines(image))
    assert any(line.startswith(microvm[:16]) for line in lines(image))
    assert {"message", "timestamp", "logStreamName"} <= json.loads(lines(microvm, "--json")[0]).keys()
    # Following shows what comes, and ends with the microVM.
    other = cli.text("run", image, "--wait")
    follower = subprocess.Popen(
        [cli.program, "logs", "-f", other], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=cli.environment
    )
    # What does not come would be waited for without end.
    patience = threading.Timer(300, follower.kill)
    patience.start()
    assert follower.stdout.readline() == b"hook run\n"
    cli.run("suspend", other)
    cli.run("resume", other)
    assert [follower.stdout.readline() for _ in range(2)] == [b"hook suspend\n", b"hook resume\n"]
    cli.run("rm", other)
    follower.communicate(timeout=120)
    patience.cancel()
    assert follower.returncode == 0


def test_output_that_goes_elsewhere_is_followed_there(cli, hearth, image):
    [arn] = [
        item["imageArn"] for item in hearth.microvms.list_microvm_images()["items"] if item["imageArn"].endswith(f":{image}")
    ]
    place = {"cloudWatch": {"logGroup": "elsewhere", "logStream": "one"}}
    microvm = hearth.run(arn, logging=place)
    follower = subprocess.Popen(
        [cli.program, "logs", "-f", microvm.id], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=cli.environment
    )
    patience = threading.Timer(300, follower.kill)
    patience.start()
    assert follower.stdout.readline() == b"hook run\n"
    microvm.terminate()
    assert follower.communicate(timeout=120)[0].splitlines()[-1:] == [b"hook terminate"]
    patience.cancel()
    assert follower.returncode == 0 and cli.text("logs", "-n", "1", microvm.id) == "hook terminate"
    assert cli.json("logs", "-n", "1", microvm.id) == {"message": "hook terminate"}


def test_a_second_build_is_the_next_version(cli, image, tmp_path):
    (tmp_path / "Dockerfile").write_text('FROM hearth/debian:12\nCMD ["sleep", "99999"]\n')
    (tmp_path / ".dockerignore").write_text("secret\n")
    (tmp_path / "secret").write_text("x")
    built = cli.run("image", "build", tmp_path, "--name", image, "--memory=512", "--json")
    assert json.loads(built.stdout)["imageVersion"] == "2.0"
    assert b"packed 2 files" in built.stderr
    microvm = cli.text("run", f"{image}:2.0", "--wait")
    assert cli.json("show", microvm)["imageVersion"] == "2.0"
    cli.run("rm", microvm)
    cli.run("image", "rm", f"{image}:2.0")
    assert [version["imageVersion"] for version in cli.json("image", "show", image)["versions"]] == ["1.0"]


def test_a_build_that_fails_says_why(cli, hearth, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM hearth/debian:12\nRUN echo about to fail && exit 7\n")
    told = cli.error("image", "build", tmp_path, "--name=cli-fails", status=1)
    assert "about to fail" in told and "The container image build failed" in told
    # Whoever asks the API is told the same.
    [image] = [item for item in hearth.microvms.list_microvm_images()["items"] if item["imageArn"].endswith(":cli-fails")]
    named = {"imageIdentifier": image["imageArn"], "imageVersion": "1.0"}
    [build] = hearth.microvms.list_microvm_image_builds(**named)["items"]
    assert (image["state"], build["buildState"]) == ("CREATE_FAILED", "FAILED")
    assert "The container image build failed." in build["stateReason"], build
    assert "about to fail" in hearth.build_log("cli-fails")
    cli.run("image", "rm", "cli-fails")
    (tmp_path / "Dockerfile").unlink()
    assert "Dockerfile" in cli.error("image", "build", tmp_path, status=1)


def test_failures_say_what_to_do(cli, hearth, tmp_path):
    assert "hearth ps" in cli.error("show", "ffffffff", status=3)
    assert "hearth image ls" in cli.error("run", "no-such-image", status=3)
    assert "hearth up" in cli.error("--data", tmp_path, "ps", status=4)
    assert "hearth up" in cli.error("--data", tmp_path, "down", status=4)
    elsewhere = {
        **cli.environment,
        "AWS_ENDPOINT_URL": hearth.settings["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    assert "hearth env" in cli.error("ps", status=1, env=elsewhere)
    nobody = {**elsewhere, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}
    assert "127.0.0.1:9" in cli.error("ps", status=4, env=nobody)
    # Keys without an address are AWS's business.
    cli.run("ps", env={**elsewhere, "AWS_ENDPOINT_URL": ""})


def test_status_tells_what_there_is(cli, hearth, microvm):
    status = cli.json("status")
    assert status["endpoint_url"] == hearth.settings["endpoint_url"]
    assert status["microvms"]["RUNNING"] >= 1 and sum(status["images"].values()) >= 1
    assert "hearth is up" in cli.text("status")
    assert status["account"] == "000000000000" and "000000000000" in cli.text("status")


def test_a_second_service_is_told_which_port_is_taken(cli, tmp_path):
    told = cli.error("--data", tmp_path, "up", "--listen", cli.listen, status=1)
    assert cli.listen.rsplit(":", 1)[1] in told and "--listen" in told and "is free" in told
    assert not (tmp_path / "emulated").exists() and not (tmp_path / "bases").exists()


@pytest.mark.skipif(os.environ.get("HEARTH_PLACE") != "lab", reason="without the emulated host there is none to take over")
def test_nobody_takes_over_the_host_of_a_service(cli, hearth):
    for words in (["host"], ["host", "start"]):
        assert "hearth down" in cli.error(*words, status=1)
    assert cli.json("status")["is_emulated"]


def test_a_build_that_is_under_way_can_be_ended(cli, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM hearth/debian:12\nRUN sleep 8888\n")
    cli.run("image", "build", tmp_path, "--name=cli-endless", "--no-wait")
    deadline = time.monotonic() + 300
    # The log is made with its first line.
    while "sleep 8888" not in subprocess.run(
        [cli.program, "logs", "cli-endless"], env=cli.environment, capture_output=True, text=True
    ).stdout:
        assert time.monotonic() < deadline, "the build does not begin"
        time.sleep(1)
    cli.run("image", "rm", "cli-endless")
    assert "there is no image" in cli.error("image", "show", "cli-endless", status=3)


def test_what_is_wrong_with_a_build_is_said_before_the_upload(cli, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM hearth/debian:12\nRUN --device=x true\n")
    for words, told in [
        (["--memory=700"], "8192"), (["--hook=ready"], "--port"), (["--port=80", "--hook=run"], "--hook=ready"),
        ([], "Dockerfile:2"),
    ]:
        said = cli.error("image", "build", tmp_path, "--name=cli-wrong", *words, status=2)
        assert told in said and "packed" not in said, said


def test_configurations_are_checked_first(cli, tmp_path):
    file = tmp_path / "hearth.toml"
    file.write_text('region = "eu-west-1"\n[endpoints]\nports = "30000-30009"\n')
    printed = cli.text("--config", file, "up", "--print-config", "--listen=127.0.0.1:4999")
    again = tmp_path / "again.toml"
    again.write_text(printed)
    assert cli.text("--config", again, "up", "--print-config") == printed
    assert 'region = "eu-west-1"' in printed and "4999" in printed and "30000-30009" in printed
    file.write_text("[endpoints]\nport = 1\n")
    told = cli.error("--config", file, "up", status=2)
    assert "port" in told and "line 2" in told
    assert "0.0.0.0" in cli.error("--config", again, "up", "--listen=0.0.0.0:1", status=2)


@pytest.mark.skipif(os.environ.get("HEARTH_PLACE") != "lab", reason="without the emulated host there is no service inside")
def test_the_service_inside_has_the_same_configuration(cli):
    inside = tomllib.loads(cli.text("host", "exec", "--", "/bin/busybox", "cat", "/run/hearth.toml"))
    port = cli.listen.rsplit(":", 1)[1]
    assert (inside["data"], inside["listen"]) == ("/data/hearth", f"0.0.0.0:{port}")
    ports = [int(port) for port in inside["endpoints"]["ports"].split("-")]
    assert ports[0] <= ports[1] and not ports[0] <= int(port) <= ports[1]


def test_shells_can_complete(cli):
    for shell in ("bash", "zsh", "fish"):
        assert "image" in cli.text("completions", shell)


def test_nobody_has_to_read_to_the_end(cli):
    script = '{ sleep 1; "$0" completions bash; echo "status $?" >&2; } | true'
    ran = subprocess.run(["bash", "-c", script, cli.program], capture_output=True, text=True, timeout=60)
    assert ran.stderr == "status 141\n"


def test_the_doctor_looks_at_the_host(cli, tmp_path):
    (tmp_path / "hearth.toml").write_text(f'listen = "{cli.listen}"\n')
    here = ["--config", tmp_path / "hearth.toml", "doctor"]
    checks = {check["name"]: check for check in cli.json(*here)}
    assert {"kvm", "root", "nftables", "memory", "disk", "mitigations"} <= checks.keys()
    # Our own service listens there, which is no complaint. With another data directory it is somebody else's.
    assert checks["api port"]["verdict"] == "ok" and checks["root"]["verdict"] == "ok"
    assert checks["kvm"]["verdict"] == ("ok" if os.environ.get("HEARTH_PLACE") == "here" else "advice")
    told = cli.run("--data", tmp_path, *here, status=1).stdout.decode()
    assert "FAILS   api port" in told and "mend: hearth up --listen" in told
