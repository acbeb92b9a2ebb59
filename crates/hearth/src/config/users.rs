//! `users`: the range of user ids under which VMMs run.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hearth_node::DEFAULT_USERS;

/// A range of user ids, written as `1879048192-1879113727`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRange(pub(crate) RangeInclusive<u32>);

/// Smallest allowed id. Below are root, the host's own users, and 16-bit ids of `nobody`.
const FIRST_FREE: u32 = 1 << 16;

/// The id that means "no user" to the kernel.
const NO_USER: u32 = u32::MAX;

impl Default for UserRange {
    fn default() -> Self {
        Self(DEFAULT_USERS)
    }
}

impl UserRange {
    /// Number of ids in the range.
    pub(super) fn count(&self) -> usize {
        // A range of 32 bits fits.
        (self.0.end() - self.0.start()) as usize + 1
    }
}

impl fmt::Display for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl FromStr for UserRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match parsed {
            Some((first, last)) if FIRST_FREE <= first && first <= last && last < NO_USER => {
                Ok(Self(first..=last))
            }
            _ => Err(format!(
                "write FIRST-LAST, for example {}; the first at least {FIRST_FREE}, as those below are users of the host",
                Self::default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_a_range_of_which_nobody_is_somebody_else() {
        let range: UserRange = "65536-65599".parse().unwrap();
        assert_eq!(range.0, 65_536..=65_599);
        assert_eq!(range.count(), 64);
        assert_eq!(range.to_string().parse(), Ok(range));
        for bad in [
            "",
            "100000",
            "0-100000",
            "1000-1999",
            "65535-70000",
            "100001-100000",
            "100000-4294967295",
            "100000-4294967296",
        ] {
            assert!(bad.parse::<UserRange>().is_err(), "{bad}");
        }
    }
}
