//! The program that runs in the guests of the tests.
//!
//! `test-guest serve` counts in memory, a hundred times a second, and answers one line to one line:
//!
//! | line | answer |
//! |---|---|
//! | `counter` | how far it has counted |
//! | `random` | 16 bytes of `getrandom`, in hexadecimal, drawn by the counting thread at its last step |
//! | `clock` | nanoseconds since the epoch |
//! | `clocks` | `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`, in milliseconds |
//! | `nap MS` | begins to sleep for so long; `ok` |
//! | `naps` | how many such sleeps have ended |
//! | `read PATH` | the file's first line |
//! | `dirty MIB SEED` | fills that much of a buffer that stays, answers `ok` |
//! | `check MIB SEED` | `ok` if the buffer still holds that |
//! | `scatter PAGES SEED` | writes a few bytes into every other one of twice so many pages of the buffer; `ok` |
//! | `check-scattered PAGES SEED` | `ok` if they are still there |
//! | `sum MIB` | reads that much of the buffer and nothing else, answers the sum of its bytes |
//! | `source BYTES SEED` | that many bytes of the pattern, then the connection ends |
//! | `sink BYTES SEED` | reads that many bytes; `ok` if they are the pattern |
//! | `connect ADDRESS` | opens a TCP connection and keeps it; `ok` |
//! | `connected` | whether that connection still is: `yes` or `no` |
//! | `pour ADDRESS BYTES` | sends so much over TCP and waits until the other side has all; `ok` |
//! | `echo ADDRESS TIMES` | a byte there and back over TCP, so many times; `ok` |
//!
//! `test-guest write-disk DEVICE SEED` writes 1 MiB to a block device and syncs it; `check-disk` compares. `describe-disk DEVICE`
//! says its size in bytes, its first byte and its last.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_machine_tests::{PORT, Pattern};
use rustix::time::{ClockId, clock_gettime};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// Between two steps of the count: twenty guests that wake up share one emulated processor.
const STEP: Duration = Duration::from_millis(50);

static COUNTER: AtomicU64 = AtomicU64::new(0);
static NAPS: AtomicU64 = AtomicU64::new(0);
static RANDOM: Mutex<[u8; 16]> = Mutex::new([0; 16]);
static BUFFER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static CONNECTION: Mutex<Option<TcpStream>> = Mutex::new(None);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => serve(),
        ["write-disk", device, seed] => write_disk(device, number(seed)?),
        ["check-disk", device, seed] => check_disk(device, number(seed)?),
        ["describe-disk", device] => describe_disk(device),
        _ => Err(io::Error::other("usage: see the source")),
    }
}

fn serve() -> io::Result<()> {
    thread::spawn(count);
    let listener = TcpListener::bind(("127.0.0.1", PORT))?;
    println!("serving");
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || answer(&connection));
    }
    Ok(())
}

fn count() -> io::Result<()> {
    let mut source = File::open("/dev/urandom")?;
    loop {
        let mut random = [0; 16];
        source.read_exact(&mut random)?;
        *RANDOM.lock().map_err(poisoned)? = random;
        COUNTER.fetch_add(1, Ordering::SeqCst);
        thread::sleep(STEP);
    }
}

fn answer(connection: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let words: Vec<&str> = line.split_whitespace().collect();
        let reply = match words.as_slice() {
            ["counter"] => COUNTER.load(Ordering::SeqCst).to_string(),
            ["random"] => hex(&*RANDOM.lock().map_err(poisoned)?),
            ["clock"] => realtime_ns().to_string(),
            ["clocks"] => format!(
                "{} {}",
                clock_ms(ClockId::Monotonic),
                clock_ms(ClockId::Boottime)
            ),
            ["nap", time_ms] => nap(Duration::from_millis(number(time_ms)?)),
            ["naps"] => NAPS.load(Ordering::SeqCst).to_string(),
            ["read", path] => fs::read_to_string(path)?
                .lines()
                .next()
                .unwrap_or("")
                .to_owned(),
            ["dirty", mib, seed] => dirty(number(mib)? as usize, number(seed)?)?,
            ["check", mib, seed] => check(number(mib)? as usize, number(seed)?)?,
            ["scatter", pages, seed] => scatter(number(pages)? as usize, number(seed)?)?,
            ["check-scattered", pages, seed] => {
                check_scattered(number(pages)? as usize, number(seed)?)?
            }
            ["sum", mib] => sum(number(mib)? as usize)?,
            ["source", bytes, seed] => return source(writer, number(bytes)?, number(seed)?),
            ["sink", bytes, seed] => sink(&mut reader, number(bytes)?, number(seed)?)?,
            ["connect", address] => {
                *CONNECTION.lock().map_err(poisoned)? = Some(TcpStream::connect(address)?);
                "ok".to_owned()
            }
            ["connected"] => connected()?,
            ["pour", address, bytes] => pour(address, number(bytes)?)?,
            ["echo", address, times] => echo(address, number(times)?)?,
            _ => "what?".to_owned(),
        };
        writer.write_all(format!("{reply}\n").as_bytes())?;
        line.clear();
    }
    Ok(())
}

fn dirty(mib: usize, seed: u64) -> io::Result<String> {
    let mut buffer = BUFFER.lock().map_err(poisoned)?;
    if buffer.len() < mib * MIB {
        buffer.resize(mib * MIB, 0);
    }
    Pattern::new(seed).fill(&mut buffer[..mib * MIB]);
    Ok("ok".to_owned())
}

fn check(mib: usize, seed: u64) -> io::Result<String> {
    let buffer = BUFFER.lock().map_err(poisoned)?;
    let mut expected = vec![0; mib * MIB];
    Pattern::new(seed).fill(&mut expected);
    Ok(if buffer.get(..mib * MIB) == Some(&expected[..]) {
        "ok"
    } else {
        "differs"
    }
    .to_owned())
}

/// The first call touches all pages, so that they lie together; from the second on, every other one changes.
fn scatter(pages: usize, seed: u64) -> io::Result<String> {
    let mut buffer = BUFFER.lock().map_err(poisoned)?;
    if buffer.len() < 2 * pages * PAGE {
        buffer.resize(2 * pages * PAGE, 1);
    }
    for page in buffer.chunks_exact_mut(2 * PAGE).take(pages) {
        page[..8].copy_from_slice(&seed.to_ne_bytes());
    }
    Ok("ok".to_owned())
}

fn check_scattered(pages: usize, seed: u64) -> io::Result<String> {
    let buffer = BUFFER.lock().map_err(poisoned)?;
    let mut scattered = buffer.chunks_exact(2 * PAGE).take(pages);
    let is_there =
        scattered.all(|page| page[..8] == seed.to_ne_bytes() && page[8..] == [1; 2 * PAGE - 8]);
    Ok(if is_there && buffer.len() >= 2 * pages * PAGE {
        "ok"
    } else {
        "differs"
    }
    .to_owned())
}

fn sum(mib: usize) -> io::Result<String> {
    let buffer = BUFFER.lock().map_err(poisoned)?;
    let bytes = buffer.get(..mib * MIB).unwrap_or_default();
    Ok(bytes
        .iter()
        .map(|byte| u64::from(*byte))
        .sum::<u64>()
        .to_string())
}

fn source(mut to: &TcpStream, bytes: u64, seed: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; 64 << 10];
    let mut left = bytes as usize;
    while left > 0 {
        pattern.fill(&mut buffer);
        let count = left.min(buffer.len());
        to.write_all(&buffer[..count])?;
        left -= count;
    }
    to.shutdown(std::net::Shutdown::Both)
}

fn sink(from: &mut impl Read, bytes: u64, seed: u64) -> io::Result<String> {
    let mut pattern = Pattern::new(seed);
    let (mut buffer, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut left = bytes as usize;
    while left > 0 {
        let count = left.min(buffer.len());
        from.read_exact(&mut buffer[..count])?;
        pattern.fill(&mut expected);
        if buffer[..count] != expected[..count] {
            return Ok(format!("differs {left} bytes before the end"));
        }
        left -= count;
    }
    Ok("ok".to_owned())
}

fn connected() -> io::Result<String> {
    let connection = CONNECTION.lock().map_err(poisoned)?;
    let Some(connection) = connection.as_ref() else {
        return Ok("never".to_owned());
    };
    connection.set_nonblocking(true)?;
    let mut byte = [0];
    let is_open = match connection.peek(&mut byte) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    Ok(if is_open { "yes" } else { "no" }.to_owned())
}

fn pour(address: &str, bytes: u64) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let buffer = vec![7; 256 << 10];
    let mut left = bytes as usize;
    while left > 0 {
        let count = left.min(buffer.len());
        stream.write_all(&buffer[..count])?;
        left -= count;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The other side closes when it has read everything.
    stream.read_to_end(&mut Vec::new())?;
    Ok("ok".to_owned())
}

fn echo(address: &str, times: u64) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut byte = [7];
    for _ in 0..times {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
    }
    Ok("ok".to_owned())
}

fn write_disk(device: &str, seed: u64) -> io::Result<()> {
    let mut content = vec![0; MIB];
    Pattern::new(seed).fill(&mut content);
    let mut disk = OpenOptions::new().write(true).open(device)?;
    disk.write_all(&content)?;
    disk.sync_all()
}

fn describe_disk(device: &str) -> io::Result<()> {
    let mut disk = File::open(device)?;
    let bytes = disk.seek(io::SeekFrom::End(0))?;
    let mut byte_at = |offset| {
        let mut byte = [0];
        disk.seek(io::SeekFrom::Start(offset))?;
        disk.read_exact(&mut byte)?;
        Ok::<_, io::Error>(byte[0])
    };
    let (first, last) = (byte_at(0)?, byte_at(bytes - 1)?);
    println!("{bytes} {first} {last}");
    Ok(())
}

fn check_disk(device: &str, seed: u64) -> io::Result<()> {
    let (mut content, mut expected) = (vec![0; MIB], vec![0; MIB]);
    Pattern::new(seed).fill(&mut expected);
    let mut disk = File::open(device)?;
    disk.rewind()?;
    disk.read_exact(&mut content)?;
    if content == expected {
        Ok(())
    } else {
        Err(io::Error::other("the disk holds something else"))
    }
}

fn clock_ms(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

fn nap(time: Duration) -> String {
    thread::spawn(move || {
        thread::sleep(time);
        NAPS.fetch_add(1, Ordering::SeqCst);
    });
    "ok".to_owned()
}

fn realtime_ns() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

fn poisoned<T>(_: T) -> io::Error {
    io::Error::other("another thread panicked")
}
