//! Times of signatures: `YYYYMMDDTHHMMSSZ`, at most five minutes from the clock of this service.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Carrier, SignatureError, Signed};

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The clock skew that AWS tolerates, in seconds.
const MAX_SKEW_S: i64 = 300;

/// Longest time for which a presigned request of these services is valid, whatever its signer chose. Such an URL is a request that
/// anybody who finds it can send, of `ExecMicrovm` for instance. Those of S3, which are made to be handed on, are checked elsewhere.
const MAX_PRESIGNED_S: i64 = 900;

/// The date of a signature, as text (it is signed as text) and as a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmzDate {
    pub(super) text: String,
    epoch_s: i64,
}

impl AmzDate {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let time = DateTime::strptime(FORMAT, text)
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?;
        Some(Self {
            text: text.to_owned(),
            epoch_s: time.timestamp().as_second(),
        })
    }

    /// The eight digits at the beginning of a credential scope.
    pub(super) fn day(&self) -> &str {
        self.text.get(..8).unwrap_or_default()
    }
}

impl Signed {
    /// Refuses signatures whose time is too far from `now`.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Expired`] or [`SignatureError::NotYetCurrent`].
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), SignatureError> {
        let now_s = now.as_second();
        let date = &self.date.text;
        if self.date.epoch_s > now_s.saturating_add(MAX_SKEW_S) {
            let limit = format_time(now_s + MAX_SKEW_S);
            return Err(SignatureError::NotYetCurrent(format!(
                "{date} is still later than {limit} ({} + 5 min.)",
                format_time(now_s)
            )));
        }
        let lifetime_s = match self.carrier {
            Carrier::Header => MAX_SKEW_S,
            Carrier::Query { expires_s } => expires_s.min(MAX_PRESIGNED_S),
        };
        if self.date.epoch_s.saturating_add(lifetime_s) < now_s {
            let limit = format_time(now_s.saturating_sub(lifetime_s));
            return Err(SignatureError::Expired(format!(
                "{date} is now earlier than {limit} ({} - {} min.)",
                format_time(now_s),
                lifetime_s / 60
            )));
        }
        Ok(())
    }
}

pub(super) fn format_time(epoch_s: i64) -> String {
    Timestamp::from_second(epoch_s)
        .map(|time| time.strftime(FORMAT).to_string())
        .unwrap_or_default()
}
