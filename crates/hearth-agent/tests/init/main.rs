//! The agent as PID 1: every stream of its protocol, and a container's whole life.
//!
//! Runs wherever root may make namespaces, and steps the clock; `cargo xtask test` runs it where KVM works, most
//! often inside the emulated host.
#![expect(clippy::unwrap_used, reason = "tests")]

mod machine;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_wire::agent::{
    AppStatus, ControlReply, ControlRequest, ExecInput, ExecPlace, ExitStatus, LogLine,
    LowerDirectory, Open, OpenReply, Refusal, RootSpec, StartSpec, Stream, TerminalSize,
    UniqueTimes, Uniqueness,
};
use hearth_wire::frame;

use machine::{Machine, eventually, exec_spec, finish_exec};

const OK: ExitStatus = ExitStatus::Code(0);

fn start_spec(script: &str) -> StartSpec {
    StartSpec {
        root: RootSpec::Initramfs,
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: [
            ("PATH".into(), "/bin".into()),
            ("COLOUR".into(), "red".into()),
        ]
        .into(),
        cwd: "/made/at/start".into(),
        user: String::new(),
        hostname: "first".into(),
        all_capabilities: false,
        open_files: 512,
        shm_mib: 4,
        stop_signal: 15,
    }
}

fn start(machine: &Machine, spec: StartSpec) {
    let reply = machine.request(&ControlRequest::Start(Box::new(spec)));
    assert_eq!(reply, ControlReply::Done);
}

fn uniqueness(entropy: u8) -> Uniqueness {
    Uniqueness {
        entropy: [entropy; 32],
        realtime_ns: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64,
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        hostname: "second".into(),
        new_identity: true,
    }
}

#[test]
fn strangers_are_refused() {
    let machine = Machine::boot();

    let mut stranger = machine.connect();
    frame::write(&mut stranger, &Open::new(Stream::Control)).unwrap();
    let reply: ControlReply = frame::read(&mut stranger).unwrap();
    assert_eq!(reply, ControlReply::Refused(Refusal::Token));

    let mut newer = machine.connect();
    let open = Open {
        version: 9,
        ..Open::new(Stream::Logs)
    };
    frame::write(&mut newer, &open).unwrap();
    let reply: OpenReply = frame::read(&mut newer).unwrap();
    assert_eq!(
        reply,
        OpenReply::Refused(Refusal::Version { agent: 1, host: 9 })
    );

    // Garbage, a length without a body, a length beyond all bounds.
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff, 0xff, 0, 0],
        &[0xff; 8],
    ] {
        let mut noise = machine.connect();
        noise.write_all(bytes).unwrap();
        // The agent may have closed it already.
        let _ = noise.shutdown(Shutdown::Write);
        let _ = noise.read_to_end(&mut Vec::new());
    }
    assert!(matches!(
        machine.request(&ControlRequest::Hello),
        ControlReply::Hello(hello) if hello.protocol == 1 && hello.boot_id.len() == 36
    ));
}

#[test]
fn programs_run_beside_the_agent() {
    let machine = Machine::boot();
    let agent = ExecPlace::Agent;

    assert_eq!(
        machine.shell(agent, "echo out; echo err >&2; exit 7").1,
        ExitStatus::Code(7)
    );
    assert_eq!(machine.shell(agent, "kill -9 $$").1, ExitStatus::Signal(9));
    // The end is not held up by a process that keeps the pipes.
    assert_eq!(
        machine.shell(agent, "sleep 600 & echo started"),
        ("started\n".into(), OK)
    );

    let missing = machine.open_confirmed(Stream::Exec(exec_spec(agent, &["missing"])));
    assert!(matches!(missing, Err(Refusal::Os { errno: 2, .. })));

    let mut cat = machine
        .open_confirmed(Stream::Exec(exec_spec(agent, &["cat"])))
        .unwrap();
    let sent: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    let mut sending = cat.try_clone().unwrap();
    let pieces = sent.clone();
    let feeder = std::thread::spawn(move || {
        for piece in pieces.as_bytes().chunks(60_000) {
            frame::write(&mut sending, &ExecInput::Stdin(piece.to_vec())).unwrap();
        }
        frame::write(&mut sending, &ExecInput::StdinEnd).unwrap();
    });
    assert_eq!(finish_exec(&mut cat), (sent, OK));
    feeder.join().unwrap();

    let mut spec = exec_spec(
        agent,
        &["sh", "-c", "stty size; read line; stty size; echo $line"],
    );
    spec.tty = Some(TerminalSize {
        columns: 80,
        rows: 24,
    });
    let mut terminal = machine.open_confirmed(Stream::Exec(spec)).unwrap();
    let larger = TerminalSize {
        columns: 100,
        rows: 30,
    };
    frame::write(&mut terminal, &ExecInput::Resize(larger)).unwrap();
    frame::write(&mut terminal, &ExecInput::Stdin(b"typed\n".to_vec())).unwrap();
    let (output, status) = finish_exec(&mut terminal);
    assert!(
        output.contains("30 100") && output.contains("typed"),
        "{output}"
    );
    assert_eq!(status, OK);
}

/// As under `docker exec`: a server that an agent starts in the background and that logs a line must not die of it.
#[test]
fn what_an_exec_leaves_in_the_background_may_write_on() {
    let machine = Machine::boot();
    start(&machine, start_spec("exec sleep 600"));
    let app = ExecPlace::Application;
    // More than a pipe holds (64 KiB are 13,107 of its lines), and only shell builtins write, which a broken pipe ends.
    let script = "(while :; do echo line; echo line >&2; i=$((i+1)); echo $i > /tmp/written; done) & echo started";
    assert_eq!(machine.shell(app, script).1, OK);
    let written = || -> u32 {
        let text = machine.shell(app, "cat /tmp/written").0;
        text.trim().parse().unwrap_or_default()
    };
    assert!(
        eventually(|| written() > 20_000),
        "it wrote {} lines",
        written()
    );
    let first = written();
    assert!(eventually(|| written() > first), "it stands still");
}

#[test]
fn home_is_that_of_the_user() {
    let machine = Machine::boot();
    let mut spec = start_spec("exec sleep 600");
    spec.user = "web".into();
    start(&machine, spec);
    let app = ExecPlace::Application;
    let home = |user: &str| {
        let mut spec = exec_spec(app, &["sh", "-c", "echo $HOME"]);
        spec.user = user.into();
        finish_exec(&mut machine.open_confirmed(Stream::Exec(spec)).unwrap()).0
    };
    assert_eq!(home(""), "/tmp\n");
    assert_eq!(home("root"), "/root\n");
    assert_eq!(home("4242"), "/\n");
}

#[test]
fn files_belong_to_the_application() {
    let machine = Machine::boot();
    let mut spec = start_spec("exec sleep 600");
    spec.user = "web".into();
    start(&machine, spec);
    let app = ExecPlace::Application;
    let output = |script: &str| machine.shell(app, script).0;

    machine.write_file("/tmp/new/deep/file", b"x").unwrap();
    assert_eq!(
        output(
            "cd /tmp; ls -ldn new new/deep new/deep/file | while read mode n uid gid rest; do echo $mode $uid $gid; done"
        ),
        "drwxr-xr-x 33 33\ndrwxr-xr-x 33 33\n-rw-r----- 33 33\n"
    );
    assert_eq!(machine.shell(app, "echo y >> /tmp/new/deep/file").1, OK);

    let mut spec = exec_spec(
        app,
        &["sh", "-c", "echo old > /tmp/own; chmod 600 /tmp/own"],
    );
    spec.user = "root".into();
    assert_eq!(
        finish_exec(&mut machine.open_confirmed(Stream::Exec(spec)).unwrap()).1,
        OK
    );
    machine.write_file("/tmp/own", b"new").unwrap();
    assert!(
        output("ls -ln /tmp/own").starts_with("-rw-------    1 0        0"),
        "{}",
        output("ls -ln /tmp/own")
    );
    assert_eq!(machine.read_file("/tmp/own").unwrap(), b"new");
}

#[test]
fn a_closed_exec_takes_its_processes_along() {
    let machine = Machine::boot();
    let running = |machine: &Machine| {
        machine
            .shell(
                ExecPlace::Agent,
                "grep -l '[s]leep.4321' /proc/[0-9]*/cmdline",
            )
            .0
    };
    let script = ["sh", "-c", "sleep 4321 & sleep 4321"];
    let stream = machine
        .open_confirmed(Stream::Exec(exec_spec(ExecPlace::Agent, &script)))
        .unwrap();
    assert!(eventually(|| running(&machine).lines().count() >= 2));
    drop(stream);
    assert!(eventually(|| running(&machine).is_empty()));
}

#[test]
fn files_arrive_whole() {
    let machine = Machine::boot();
    let content: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    machine.write_file("/root/file", &content).unwrap();
    assert!(machine.read_file("/root/file").unwrap() == content);
    assert!(matches!(
        machine.read_file("/none"),
        Err(Refusal::Os { errno: 2, .. })
    ));
    assert!(matches!(
        machine.read_file("/dev/zero"),
        Err(Refusal::State(_))
    ));
    // A file is no directory on the way to another.
    assert!(machine.write_file("/root/file/file", b"x").is_err());
    assert!(machine.write_file("relative", b"x").is_err());
}

#[test]
fn the_application_is_contained() {
    let machine = Machine::boot();
    let app = ExecPlace::Application;
    assert!(
        machine
            .open_confirmed(Stream::Exec(exec_spec(app, &["true"])))
            .is_err()
    );
    start(&machine, start_spec("exec sleep 600"));
    assert_eq!(
        machine.request(&ControlRequest::Status),
        ControlReply::Status(AppStatus::Running)
    );

    let output = |script: &str| machine.shell(app, script).0;
    assert!(eventually(
        || output("cat /proc/1/cmdline").starts_with("sleep")
    ));
    assert_eq!(
        output("echo $COLOUR; hostname; cat /etc/hostname").as_str(),
        "red\nfirst\nfirst\n"
    );
    assert_eq!(output("cd; cd -").trim(), "/made/at/start");
    assert_eq!(output("ulimit -n").trim(), "512");
    assert!(output("grep CapEff /proc/self/status").contains("00000000a80425fb"));
    assert_eq!(output("cat /proc/self/cgroup | grep '^0:'").trim(), "0::/");
    assert_eq!(output("cat /proc/self/oom_score_adj").trim(), "0");
    assert!(output("echo x > /dev/null && head -c 3 /dev/zero | cat -v").contains("^@^@^@"));

    // What it must not do.
    let refused = |script: &str| assert_ne!(machine.shell(app, script).1, OK, "{script}");
    refused("mount -t tmpfs none /tmp");
    refused("hostname mine");
    refused("mknod /dev/zero2 c 1 5 && head -c 1 /dev/zero2");
    refused("mknod /zero2 c 1 5 && head -c 1 /zero2");
    refused("echo 1 > /proc/sys/kernel/sysrq");
    refused("echo x > /proc/sys/kernel/random/boot_id");
    refused("echo 0 > /sys/fs/cgroup/cgroup.procs");
    refused("head -c 1 /proc/kcore | grep -q .");
    refused("ls /run/hearth");
    assert_eq!(output("ls /proc | grep '^[0-9]' | head -1").trim(), "1");
    assert_eq!(
        machine.shell(ExecPlace::Agent, "test -e /tmp/escaped").1,
        ExitStatus::Code(1)
    );

    let mut spec = exec_spec(
        app,
        &[
            "sh",
            "-c",
            "id -u; id -G; grep CapEff /proc/self/status; echo > /dev/stdout",
        ],
    );
    spec.user = "web".into();
    let mut stream = machine.open_confirmed(Stream::Exec(spec)).unwrap();
    let (text, status) = finish_exec(&mut stream);
    assert!(
        text.starts_with("33\n33 4\n") && text.contains("0000000000000000"),
        "{text}"
    );
    assert_eq!(status, OK);

    // Files are the container's.
    machine.write_file("/tmp/note", b"inside").unwrap();
    assert_eq!(output("cat /tmp/note"), "inside");
    assert_eq!(machine.read_file("/etc/hostname").unwrap(), b"first\n");
    machine.shell(
        app,
        "ln -s /etc/hearth/host.conf /tmp/link; ln -s /proc/1/root/etc /tmp/link2",
    );
    assert!(
        machine.read_file("/tmp/link2/passwd").is_err(),
        "a magic link was followed"
    );
}

#[test]
fn output_is_kept_and_followed_to_its_end() {
    let machine = Machine::boot();
    start(
        &machine,
        start_spec("echo one; echo two >&2; sleep 1; printf three; exit 5"),
    );
    let mut logs = machine.open_confirmed(Stream::Logs).unwrap();
    let mut lines = Vec::new();
    while let Ok(line) = frame::read::<LogLine>(&mut logs) {
        lines.push((
            String::from_utf8(line.bytes).unwrap(),
            line.kind.is_stderr(),
        ));
    }
    lines.sort();
    let expected = [("one", false), ("three", false), ("two", true)];
    assert_eq!(
        lines,
        expected.map(|(text, is_stderr)| (text.to_owned(), is_stderr))
    );
    let ended = ControlReply::Status(AppStatus::Exited(ExitStatus::Code(5)));
    assert!(eventually(
        || machine.request(&ControlRequest::Status) == ended
    ));
    // What it left can still be fetched, but it does not start again.
    assert_eq!(
        machine.read_file("/etc/group").unwrap(),
        b"root:x:0:\nlog:x:4:web\n"
    );
    let again = machine.request(&ControlRequest::Start(Box::new(start_spec("true"))));
    assert!(matches!(again, ControlReply::Refused(Refusal::State(_))));
}

#[test]
fn a_start_that_fails_says_why_and_can_be_repeated() {
    let machine = Machine::boot();
    for break_it in [
        |spec: &mut StartSpec| spec.argv = vec!["missing".into()],
        |spec: &mut StartSpec| spec.user = "nobody-here".into(),
        |spec: &mut StartSpec| {
            spec.root = RootSpec::Disks {
                lower: vec![LowerDirectory {
                    serial: "none".into(),
                    directory: String::new(),
                }],
                upper: None,
            }
        },
    ] {
        let mut spec = start_spec("true");
        break_it(&mut spec);
        let reply = machine.request(&ControlRequest::Start(Box::new(spec)));
        assert!(
            matches!(&reply, ControlReply::Refused(Refusal::Os { .. })),
            "{reply:?}"
        );
        assert_eq!(
            machine.request(&ControlRequest::Status),
            ControlReply::Status(AppStatus::NotStarted)
        );
    }
    start(&machine, start_spec("sleep 600"));
}

#[test]
fn bytes_are_proxied_both_ways_with_half_close() {
    let machine = Machine::boot();
    start(&machine, start_spec("exec nc -ll -p 7000 -e cat"));
    assert!(eventually(|| machine
        .open_confirmed(Stream::Proxy { port: 7000 })
        .is_ok()));
    let refused = machine.open_confirmed(Stream::Proxy { port: 7001 });
    assert!(matches!(refused, Err(Refusal::Os { errno: 111, .. })));

    let mut stream = machine
        .open_confirmed(Stream::Proxy { port: 7000 })
        .unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 253) as u8)
        .collect();
    let mut sending = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let feeder = std::thread::spawn(move || {
        sending.write_all(&bytes).unwrap();
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    feeder.join().unwrap();
    assert!(received == sent);
}

#[test]
fn a_frozen_guest_serves_control_alone_until_it_is_unique() {
    let machine = Machine::boot();
    start(
        &machine,
        start_spec("while true; do echo x >> /tmp/ticks; sleep 0.01; done"),
    );
    let ticks = || {
        machine
            .shell(ExecPlace::Agent, "cat /run/hearth/root/tmp/ticks")
            .0
            .len()
    };
    assert!(eventually(|| ticks() > 0));
    let boot_id = machine
        .shell(
            ExecPlace::Application,
            "cat /proc/sys/kernel/random/boot_id",
        )
        .0;

    assert_eq!(machine.request(&ControlRequest::Freeze), ControlReply::Done);
    assert_eq!(machine.request(&ControlRequest::Freeze), ControlReply::Done);
    assert_eq!(
        machine.request(&ControlRequest::Status),
        ControlReply::Status(AppStatus::Frozen)
    );
    for stream in [
        Stream::Proxy { port: 1 },
        Stream::ReadFile {
            path: "/etc/passwd".into(),
        },
        Stream::Exec(exec_spec(ExecPlace::Application, &["true"])),
        Stream::Exec(exec_spec(ExecPlace::Agent, &["true"])),
    ] {
        assert_eq!(machine.open_confirmed(stream).unwrap_err(), Refusal::Frozen);
    }

    let mut wrong = uniqueness(1);
    wrong.machine_id = "short".into();
    let reply = machine.request(&ControlRequest::Restored(Box::new(wrong)));
    assert!(matches!(reply, ControlReply::Refused(Refusal::State(_))));
    assert_eq!(
        machine.request(&ControlRequest::Status),
        ControlReply::Status(AppStatus::Frozen)
    );

    let wanted = ControlRequest::Restored(Box::new(uniqueness(2)));
    let reply = machine.request(&wanted);
    if let ControlReply::Refused(Refusal::Os { step, errno: 2, .. }) = &reply {
        // A kernel without the module `tcp_diag`: it must have failed closed.
        assert_eq!(step, "destroy TCP connections");
        assert_eq!(
            machine.request(&ControlRequest::Status),
            ControlReply::Status(AppStatus::Frozen)
        );
        return;
    }
    assert!(matches!(reply, ControlReply::MadeUnique(_)), "{reply:?}");
    // The answer could have been lost.
    assert_eq!(
        machine.request(&wanted),
        ControlReply::MadeUnique(UniqueTimes::default())
    );

    let before = ticks();
    assert!(eventually(|| ticks() > before));
    for place in [ExecPlace::Application, ExecPlace::Agent] {
        let script = "hostname; cat /etc/hostname /etc/machine-id";
        let expected = "second\nsecond\n0123456789abcdef0123456789abcdef\n";
        assert_eq!(machine.shell(place, script).0, expected);
        let renewed = machine
            .shell(place, "cat /proc/sys/kernel/random/boot_id")
            .0;
        assert_ne!(renewed, boot_id);
        assert_eq!(renewed.trim().len(), 36);
    }
    assert!(
        machine
            .shell(ExecPlace::Application, "cat /etc/hosts")
            .0
            .contains("127.0.1.1\tsecond\n")
    );

    let unasked = ControlRequest::Restored(Box::new(uniqueness(3)));
    assert!(matches!(
        machine.request(&unasked),
        ControlReply::Refused(Refusal::State(_))
    ));
    assert_eq!(machine.request(&ControlRequest::Freeze), ControlReply::Done);
    assert_eq!(machine.request(&ControlRequest::Thaw), ControlReply::Done);
    assert_eq!(
        machine.request(&ControlRequest::Status),
        ControlReply::Status(AppStatus::Running)
    );
}

#[test]
fn an_application_that_does_not_listen_is_killed() {
    let machine = Machine::boot();
    start(
        &machine,
        start_spec("trap 'echo no' TERM; while true; do sleep 0.1; done"),
    );
    assert_eq!(
        machine.request(&ControlRequest::Stop { grace_ms: 300 }),
        ControlReply::Done
    );
    let killed = ControlReply::Status(AppStatus::Exited(ExitStatus::Signal(9)));
    assert_eq!(machine.request(&ControlRequest::Status), killed);
}

#[test]
fn an_application_that_listens_ends_by_itself() {
    let machine = Machine::boot();
    start(
        &machine,
        start_spec("trap 'exit 3' TERM; echo ready; while true; do sleep 0.1; done"),
    );
    let mut logs = machine.open_confirmed(Stream::Logs).unwrap();
    let ready: LogLine = frame::read(&mut logs).unwrap();
    assert_eq!(ready.bytes, b"ready");
    assert_eq!(
        machine.request(&ControlRequest::Stop { grace_ms: 30_000 }),
        ControlReply::Done
    );
    let ended = ControlReply::Status(AppStatus::Exited(ExitStatus::Code(3)));
    assert_eq!(machine.request(&ControlRequest::Status), ended);
}

#[test]
fn a_shutdown_ends_the_machine() {
    let mut machine = Machine::boot();
    start(&machine, start_spec("sleep 600"));
    assert_eq!(machine.request(&ControlRequest::Sync), ControlReply::Done);
    assert_eq!(
        machine.request(&ControlRequest::Shutdown),
        ControlReply::Done
    );
    assert!(machine.has_ended());
}
