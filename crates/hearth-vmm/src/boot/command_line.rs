//! The kernel command line: parameters that the VMM's devices need, then those that the node asks for.

use crate::arch::x86_64::layout;

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// Longer than the kernel reads.
    #[error("the kernel command line has {0} bytes, the kernel reads {max}", max = layout::COMMAND_LINE_MAX - 1)]
    TooLong(usize),
    /// A NUL would end the command line early, or a line break would split it.
    #[error("the kernel command line has a control character")]
    ControlCharacter,
}

/// The parameters that every guest gets.
///
/// - `reboot=k`: reset through the keyboard controller's port, the only reset there is.
/// - `panic=-1`: a panic resets at once instead of hanging.
/// - `tsc=reliable`: the counter is KVM's, no watchdog needs to doubt it.
/// - `no_timer_check`: there is no PIT whose interrupt could be checked.
/// - `random.trust_cpu=on`: the pool is seeded at once (the agent adds the host's entropy later).
/// - `cryptomgr.notests`: no self-tests of algorithms at each boot.
/// - `initcall_blacklist=jent_mod_init`: no jitter entropy, which is measured for long at each boot and which nothing needs where
///   the host gives entropy. A second list adds to this one.
/// - `quiet`: warnings and worse go to the serial port, the rest stays in the kernel's own log. Each character costs two exits,
///   and the whole log a third of a boot. `loglevel=7` undoes it.
const ALWAYS: &str = "reboot=k panic=-1 tsc=reliable no_timer_check random.trust_cpu=on \
cryptomgr.notests initcall_blacklist=jent_mod_init quiet";

/// Composes the command line, without its final NUL byte. `asked` are the node's parameters.
pub fn compose(has_serial: bool, asked: &str) -> Result<String, CommandLineError> {
    // Without a log, no serial driver: its probing costs an exit for each register.
    let console = if has_serial {
        "console=ttyS0"
    } else {
        "8250.nr_uarts=0"
    };
    let line = format!("{ALWAYS} {console} {asked}");
    let line = line.trim_end().to_owned();
    if line.len() >= layout::COMMAND_LINE_MAX {
        return Err(CommandLineError::TooLong(line.len()));
    }
    if line.chars().any(char::is_control) {
        return Err(CommandLineError::ControlCharacter);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_there_only_with_a_log() {
        assert!(compose(true, "").unwrap().contains("console=ttyS0"));
        let silent = compose(false, "loglevel=7").unwrap();
        assert!(!silent.contains("ttyS0") && silent.ends_with(" quiet 8250.nr_uarts=0 loglevel=7"));
    }

    #[test]
    fn the_longest_line_is_taken_and_one_more_byte_is_not() {
        let room = layout::COMMAND_LINE_MAX - 1 - compose(true, "").unwrap().len() - 1;
        assert!(compose(true, &"x".repeat(room)).is_ok());
        assert!(matches!(
            compose(true, &"x".repeat(room + 1)),
            Err(CommandLineError::TooLong(_))
        ));
    }

    #[test]
    fn a_second_line_is_refused() {
        assert_eq!(
            compose(true, "a\nb"),
            Err(CommandLineError::ControlCharacter)
        );
    }
}
