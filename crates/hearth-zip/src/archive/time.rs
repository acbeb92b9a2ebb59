//! When an entry was changed.

use rawzip::ZipFileHeaderRecord;
use rawzip::time::{UtcDateTime, ZipDateTimeKind};

/// The earliest time that a zip without extra fields can say: 1980-01-01. Also for an entry that says none.
const EARLIEST: u64 = 315_532_800;

/// In seconds since 1970. A packer that knows only its local time does not say which one that was: it is taken as UTC.
pub(super) fn modified(record: &ZipFileHeaderRecord<'_>) -> u64 {
    let time = match record.last_modified() {
        ZipDateTimeKind::Utc(time) => Some(time),
        ZipDateTimeKind::Local(time) => UtcDateTime::from_components(
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            0,
        ),
    };
    // A tar knows nothing before 1970.
    time.map_or(EARLIEST, |time| u64::try_from(time.to_unix()).unwrap_or(0))
}
