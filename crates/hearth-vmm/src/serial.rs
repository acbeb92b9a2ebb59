//! The serial port: writes the guest's output to a bounded log.
//!
//! There is no input. The guest decides how much it prints, so the log has two limits: its size
//! ([`SerialLogSpec::limit_bytes`]; a full log starts again from its beginning) and its rate (output above the rate is
//! dropped, and the dropped bytes are counted in a line of their own).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hearth_wire::vmm::SerialLogSpec;
use serde::{Deserialize, Serialize};
use vm_superio::serial::NoEvents;
use vm_superio::{Serial, SerialState, Trigger};
use vmm_sys_util::eventfd::EventFd;

/// Sustained rate of the log in bytes a second. A kernel's boot log needs far less, and a flood must not keep the disk
/// busy.
const BYTES_PER_SECOND: u64 = 128 << 10;

/// Burst of the log in bytes: several boot logs.
const BURST_BYTES: u64 = 512 << 10;

/// Most bytes of a line that are buffered until the line ends.
const LINE_BYTES: usize = 512;

/// Smallest limit of a log, in bytes.
const LIMIT_MIN_BYTES: u64 = 4096;

/// Saved registers of the serial port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// Divisor latch, low and high.
    divisor: [u8; 2],
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
}

/// Raises the port's interrupt line.
#[derive(Debug)]
struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// The serial port, as a device on the bus.
#[derive(Debug)]
pub struct SerialPort {
    uart: Mutex<Serial<Line, NoEvents, Log>>,
}

impl SerialPort {
    /// Creates a port in its reset state, or in `state` if that is given. `line` becomes its interrupt.
    pub fn new(line: EventFd, log: Log, state: Option<&PortState>) -> Self {
        let line = Line(line);
        let uart = match state {
            None => Serial::new(line, log),
            Some(state) => restored(line, log, state),
        };
        Self {
            uart: Mutex::new(uart),
        }
    }

    /// Serves a guest's read of register `offset`.
    pub fn read(&self, offset: u8) -> u8 {
        self.lock().read(offset)
    }

    /// Serves a guest's write of register `offset`. Output is lost if the log cannot be written; the guest continues.
    pub fn write(&self, offset: u8, value: u8) {
        let _ = self.lock().write(offset, value);
    }

    /// Writes the buffered, incomplete line to the log.
    pub fn flush(&self) {
        let _ = self.lock().writer_mut().write_out();
    }

    /// The registers of the port, for a snapshot.
    pub fn save(&self) -> PortState {
        let state = self.lock().state();
        PortState {
            divisor: [state.baud_divisor_low, state.baud_divisor_high],
            interrupt_enable: state.interrupt_enable,
            interrupt_identification: state.interrupt_identification,
            line_control: state.line_control,
            line_status: state.line_status,
            modem_control: state.modem_control,
            modem_status: state.modem_status,
            scratch: state.scratch,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Serial<Line, NoEvents, Log>> {
        self.uart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn restored(line: Line, log: Log, state: &PortState) -> Serial<Line, NoEvents, Log> {
    let registers = SerialState {
        baud_divisor_low: state.divisor[0],
        baud_divisor_high: state.divisor[1],
        interrupt_enable: state.interrupt_enable,
        interrupt_identification: state.interrupt_identification,
        line_control: state.line_control,
        line_status: state.line_status,
        modem_control: state.modem_control,
        modem_status: state.modem_status,
        scratch: state.scratch,
        in_buffer: Vec::new(),
    };
    // Only two things can fail, and neither can here: an input buffer that is too long (it is empty) and
    // the interrupt's eventfd (its counter is empty).
    match Serial::from_state(&registers, line, NoEvents, log) {
        Ok(serial) => serial,
        Err(error) => unreachable!("restore of a serial port without input: {error}"),
    }
}

/// The bounded log of a serial port.
#[derive(Debug)]
pub struct Log {
    /// The log file; `None` drops all output.
    file: Option<File>,
    limit_bytes: u64,
    position: u64,
    line: Vec<u8>,
    budget: Budget,
}

impl Log {
    /// Creates a log that drops all output.
    pub fn nowhere() -> Self {
        Self::new(None, LIMIT_MIN_BYTES, 0)
    }

    /// Opens a log and appends to its content.
    pub fn open(spec: &SerialLogSpec) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&spec.path)?;
        let position = file.metadata()?.len();
        Ok(Self::new(
            Some(file),
            spec.limit_bytes.max(LIMIT_MIN_BYTES),
            position,
        ))
    }

    fn new(file: Option<File>, limit_bytes: u64, position: u64) -> Self {
        let budget = Budget::new(Instant::now());
        Self {
            file,
            limit_bytes,
            position,
            line: Vec::new(),
            budget,
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(());
        }
        if let Some(lost) = self.budget.take(line.len() as u64, Instant::now()) {
            if lost > 0 {
                self.append(format!("[{lost} bytes dropped: too fast]\n").as_bytes())?;
            }
            self.append(&line)?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if self.position + bytes.len() as u64 > self.limit_bytes {
            file.set_len(0)?;
            self.position = 0;
        }
        file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            return Ok(bytes.len());
        }
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.write_out()?;
            }
        }
        Ok(bytes.len())
    }

    /// No-op: the port flushes after each byte, but only whole lines are worth a system call.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.write_out();
    }
}

/// A token bucket that counts what it refused.
#[derive(Debug)]
struct Budget {
    tokens: u64,
    filled: Instant,
    lost: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST_BYTES,
            filled: now,
            lost: 0,
        }
    }

    /// Takes `bytes` from the bucket: `Some(bytes refused before)` if they may pass, `None` if not.
    fn take(&mut self, bytes: u64, now: Instant) -> Option<u64> {
        let elapsed_ms = now.duration_since(self.filled).as_millis() as u64;
        let gained = elapsed_ms.saturating_mul(BYTES_PER_SECOND) / 1000;
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(BURST_BYTES);
            self.filled = now;
        }
        if self.tokens < bytes {
            self.lost += bytes;
            return None;
        }
        self.tokens -= bytes;
        Some(std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests;
