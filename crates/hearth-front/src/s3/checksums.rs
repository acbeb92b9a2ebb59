//! Checksums of objects and parts: the five algorithms, how an object's are kept, and how those of parts become one.
//!
//! An object's checksum is kept as the header in which it is answered, with its type beside it: of the whole object, or
//! composite (the checksum of its parts' checksums, with their number behind a dash).

use std::collections::BTreeMap;

use hearth_objects::{Attributes, Joiner, ObjectError, Part};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, ChecksumType};
use s3s::{S3Result, s3_error};

/// The header of an object's checksum type.
const TYPE: &str = "x-amz-checksum-type";

/// The algorithm of an upload, among the headers of its attributes while it is under way.
const ALGORITHM: &str = "x-amz-checksum-algorithm";

/// An algorithm for checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The name that clients give it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header, or field of a form, that has its value.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its value among checksums.
    pub(super) fn of(self, checksum: &Checksum) -> Option<&String> {
        match self {
            Self::Crc32 => checksum.checksum_crc32.as_ref(),
            Self::Crc32c => checksum.checksum_crc32c.as_ref(),
            Self::Crc64Nvme => checksum.checksum_crc64nvme.as_ref(),
            Self::Sha1 => checksum.checksum_sha1.as_ref(),
            Self::Sha256 => checksum.checksum_sha256.as_ref(),
        }
    }

    /// Checksums with this one alone.
    pub(super) fn only(self, value: Option<String>) -> Checksum {
        let mut checksum = Checksum::default();
        match self {
            Self::Crc32 => checksum.checksum_crc32 = value,
            Self::Crc32c => checksum.checksum_crc32c = value,
            Self::Crc64Nvme => checksum.checksum_crc64nvme = value,
            Self::Sha1 => checksum.checksum_sha1 = value,
            Self::Sha256 => checksum.checksum_sha256 = value,
        }
        checksum
    }

    /// What computes these.
    pub(super) fn hasher(wanted: impl Fn(Self) -> bool) -> ChecksumHasher {
        ChecksumHasher {
            crc32: wanted(Self::Crc32).then(Default::default),
            crc32c: wanted(Self::Crc32c).then(Default::default),
            crc64nvme: wanted(Self::Crc64Nvme).then(Default::default),
            sha1: wanted(Self::Sha1).then(Default::default),
            sha256: wanted(Self::Sha256).then(Default::default),
        }
    }
}

/// An object's checksums, from its headers.
pub(super) fn read(headers: &BTreeMap<String, String>) -> Checksum {
    let value = |algorithm: Algorithm| headers.get(algorithm.header()).cloned();
    let mut checksum = Checksum {
        checksum_crc32: value(Algorithm::Crc32),
        checksum_crc32c: value(Algorithm::Crc32c),
        checksum_crc64nvme: value(Algorithm::Crc64Nvme),
        checksum_sha1: value(Algorithm::Sha1),
        checksum_sha256: value(Algorithm::Sha256),
        checksum_type: None,
    };
    let has_one = Algorithm::ALL
        .iter()
        .any(|algorithm| algorithm.of(&checksum).is_some());
    let kept = headers.get(TYPE).cloned();
    // Those of objects that came whole have none beside them.
    let full = || ChecksumType::FULL_OBJECT.to_owned();
    checksum.checksum_type = has_one.then(|| ChecksumType::from(kept.unwrap_or_else(full)));
    checksum
}

/// Keeps the checksums of an object that came whole.
pub(super) fn keep(headers: &mut BTreeMap<String, String>, checksum: &Checksum) {
    let values = Algorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = algorithm.of(checksum)?;
        Some((algorithm.header().to_owned(), value.clone()))
    });
    headers.extend(values);
}

/// Notes with an upload what its checksums are to be: the algorithm and the type of the object's.
pub(super) fn begin(
    attributes: &mut Attributes,
    algorithm: Option<&str>,
    asked: Option<&str>,
) -> S3Result<Option<(Algorithm, &'static str)>> {
    let Some(name) = algorithm else {
        if asked.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            ));
        }
        return Ok(None);
    };
    let algorithm = Algorithm::named(name).ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    })?;
    let kind = match (algorithm, asked) {
        (Algorithm::Crc64Nvme, None | Some(ChecksumType::FULL_OBJECT))
        | (Algorithm::Crc32 | Algorithm::Crc32c, Some(ChecksumType::FULL_OBJECT)) => {
            ChecksumType::FULL_OBJECT
        }
        (Algorithm::Crc64Nvme, Some(_))
        | (Algorithm::Sha1 | Algorithm::Sha256, Some(ChecksumType::FULL_OBJECT)) => {
            return Err(s3_error!(
                InvalidRequest,
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                asked.unwrap_or_default(),
                algorithm.name().to_lowercase()
            ));
        }
        _ => ChecksumType::COMPOSITE,
    };
    let headers = &mut attributes.headers;
    headers.insert(ALGORITHM.to_owned(), algorithm.name().to_owned());
    headers.insert(TYPE.to_owned(), kind.to_owned());
    Ok(Some((algorithm, kind)))
}

/// The algorithm and type of an upload, or of an object.
pub(super) fn of_upload(attributes: &Attributes) -> Option<(Algorithm, &str)> {
    let headers = &attributes.headers;
    let algorithm = Algorithm::named(headers.get(ALGORITHM)?)?;
    Some((algorithm, headers.get(TYPE)?))
}

/// The checksum of a part of an object, in the algorithm of the object's.
pub(super) fn of_part(whole: &Checksum, value: &str) -> Checksum {
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.of(whole).is_some());
    match algorithm {
        Some(algorithm) if !value.is_empty() => Checksum {
            checksum_type: whole.checksum_type.clone(),
            ..algorithm.only(Some(value.to_owned()))
        },
        _ => Checksum::default(),
    }
}

/// What the completion of an upload states.
#[derive(Clone, Debug, Default)]
pub(super) struct StatedOfUpload {
    pub(super) whole: Checksum,
    /// Checksums of parts, by number.
    pub(super) parts: BTreeMap<i32, Checksum>,
}

/// Makes an object's tag and checksum of its parts.
pub(super) struct PartsJoiner {
    stated: StatedOfUpload,
    hasher: ChecksumHasher,
}

impl PartsJoiner {
    pub(super) fn new(stated: StatedOfUpload, begun: &Attributes) -> Self {
        let full = of_upload(begun).filter(|(_, kind)| *kind == ChecksumType::FULL_OBJECT);
        let algorithm = full.map(|(algorithm, _)| algorithm);
        Self {
            stated,
            hasher: Algorithm::hasher(|known| Some(known) == algorithm),
        }
    }
}

impl Joiner for PartsJoiner {
    fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    fn describe(
        self,
        parts: &[Part],
        mut attributes: Attributes,
    ) -> Result<(String, Attributes), ObjectError> {
        let etag = joined_etag(parts);
        let Some((algorithm, kind)) = of_upload(&attributes) else {
            let is_stated = |known: Algorithm| known.of(&self.stated.whole).is_some();
            // There is nothing to hold it against.
            if Algorithm::ALL.into_iter().any(is_stated) {
                return Err(ObjectError::ChecksumDiffers);
            }
            return Ok((etag, attributes));
        };
        for part in parts {
            let stated = self.stated.parts.get(&part.number);
            let stated = stated.and_then(|stated| algorithm.of(stated));
            if stated.is_some_and(|stated| *stated != part.checksum) {
                return Err(ObjectError::InvalidPart);
            }
        }
        let value = if kind == ChecksumType::COMPOSITE {
            Some(composite(algorithm, parts))
        } else {
            algorithm.of(&self.hasher.finalize()).cloned()
        };
        let value = value.unwrap_or_default();
        let stated = algorithm.of(&self.stated.whole);
        let without_number = value.split_once('-').map_or(&*value, |(sum, _)| sum);
        if stated.is_some_and(|stated| *stated != value && stated != without_number) {
            return Err(ObjectError::ChecksumDiffers);
        }
        attributes.headers.remove(ALGORITHM);
        attributes
            .headers
            .insert(algorithm.header().to_owned(), value);
        Ok((etag, attributes))
    }
}

/// The checksum of the parts' checksums, with their number.
fn composite(algorithm: Algorithm, parts: &[Part]) -> String {
    let mut hasher = Algorithm::hasher(|known| known == algorithm);
    for part in parts {
        let value = base64_simd::STANDARD.decode_to_vec(&part.checksum);
        hasher.update(&value.unwrap_or_default());
    }
    let sum = algorithm.of(&hasher.finalize()).cloned();
    format!("{}-{}", sum.unwrap_or_default(), parts.len())
}

/// The tag of a joined object: the MD5 of its parts' MD5s, with their number.
fn joined_etag(parts: &[Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        let etag = &part.etag;
        let bytes: Vec<u8> = (0..etag.len())
            .step_by(2)
            .filter_map(|at| u8::from_str_radix(etag.get(at..at + 2)?, 16).ok())
            .collect();
        md5.update(&bytes);
    }
    format!("{}-{}", crate::sigv4::hex(&md5.finalize()), parts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_a_type_that_its_algorithm_can_have() {
        let begun = |algorithm, kind| {
            let mut attributes = Attributes::default();
            let begun = begin(&mut attributes, algorithm, kind);
            assert_eq!(
                begun.as_ref().ok().copied().flatten(),
                of_upload(&attributes)
            );
            begun.map(|found| found.map(|(_, kind)| kind)).ok()
        };
        let (full, composite) = (ChecksumType::FULL_OBJECT, ChecksumType::COMPOSITE);
        assert_eq!(begun(None, None), Some(None));
        assert_eq!(begun(None, Some(full)), None);
        assert_eq!(begun(Some("MD5"), None), None);
        assert_eq!(begun(Some("CRC32"), None), Some(Some(composite)));
        assert_eq!(begun(Some("CRC32C"), Some(full)), Some(Some(full)));
        assert_eq!(begun(Some("CRC64NVME"), None), Some(Some(full)));
        assert_eq!(begun(Some("CRC64NVME"), Some(composite)), None);
        assert_eq!(begun(Some("SHA256"), None), Some(Some(composite)));
        assert_eq!(begun(Some("SHA1"), Some(full)), None);
    }
}
