//! Temporary keys of execution roles, derived and not stored.
//!
//! The life of a microVM is divided into periods. Each period has one key, which is valid for longer than the period:
//!
//! ```text
//! started_at |--- 40 min ---|--- 40 min ---|---
//! key 0      [------- 55 min -------)
//! key 1                     [------- 55 min -------)
//! ```
//!
//! So a key is valid for at least 15 minutes when it is issued. That is when the SDKs of AWS begin to ask for the
//! next one. The key follows from the microVM, the period and one secret of this installation. Nothing has to be
//! stored across a restart of the service, and a microVM that was suspended and resumed is simply in a later period.
//!
//! The session token names the microVM and the period of a key, authenticated by a MAC. Every request looks up
//! whether the microVM lives and what its role allows.

use std::time::Duration;

use hearth_control::account::SecretKey;
use hearth_control::id::MicrovmId;
use hearth_control::microvm::Microvm;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// How long each key is issued.
const PERIOD: Duration = Duration::from_secs(40 * 60);

/// How long each key is valid (facts section 8).
const LIFETIME: Duration = Duration::from_secs(55 * 60);

/// Purposes of MACs: the MAC of one purpose is invalid for any other.
const ACCESS_KEY: &[u8] = b"access key";
const SECRET: &[u8] = b"secret key";
const SESSION: &[u8] = b"session token";
const METADATA: &[u8] = b"metadata token";

/// The prefix of temporary access keys.
pub(super) const KEY_PREFIX: &str = "ASIA";

const TAG_BYTES: usize = 32;

/// The alphabet of access keys, as on AWS.
const KEY_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that all temporary keys are derived from.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

/// The microVM, its launch and the period of a session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) microvm: MicrovmId,
    pub(crate) period: Period,
}

/// What keys are derived from, apart from the secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchedMicrovm {
    microvm: MicrovmId,
    /// The time of the launch, in whole seconds as in credentials.
    begun_at: Timestamp,
}

/// The number of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(u32);

/// Temporary keys as a guest gets them.
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret: SecretKey,
    pub(crate) session_token: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Period {
    /// The period that a microVM is in.
    fn at(life: &LaunchedMicrovm, now: Timestamp) -> Self {
        let age = now.duration_since(life.begun_at).as_secs().max(0);
        // A microVM lives at most 8 hours, but clocks may jump.
        Self(u32::try_from(age.unsigned_abs() / PERIOD.as_secs()).unwrap_or(u32::MAX))
    }

    /// When the period begins.
    fn begin(self, life: &LaunchedMicrovm) -> Timestamp {
        let before_s = PERIOD.as_secs().saturating_mul(self.0.into());
        later(life.begun_at, before_s)
    }

    /// When the key of the period expires.
    pub(crate) fn end(self, life: &LaunchedMicrovm) -> Timestamp {
        later(self.begin(life), LIFETIME.as_secs())
    }
}

impl From<&Microvm> for LaunchedMicrovm {
    fn from(microvm: &Microvm) -> Self {
        let seconds = microvm.started_at.unix_ms().div_euclid(1000);
        Self {
            microvm: microvm.id,
            begun_at: Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

fn later(time: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

impl SessionKey {
    /// Derives keys from this secret. Another secret makes all earlier keys invalid.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Issues the present keys of a microVM's role.
    pub(crate) fn issue(&self, life: &LaunchedMicrovm, now: Timestamp) -> Credentials {
        let period = Period::at(life, now);
        let session = Session {
            microvm: life.microvm,
            period,
        };
        let access_key = self.access_key(&session);
        Credentials {
            secret: self.secret(&access_key),
            session_token: self.seal(SESSION, &session.to_bytes()),
            access_key,
            issued_at: period.begin(life),
            expires_at: period.end(life),
        }
    }

    /// The session of a token. `None` unless this installation issued the token together with the access key.
    pub(crate) fn open(&self, token: &str, access_key: &str) -> Option<Session> {
        let session = Session::from_bytes(&self.unseal(SESSION, token)?)?;
        let own = self.access_key(&session);
        bool::from(own.as_bytes().ct_eq(access_key.as_bytes())).then_some(session)
    }

    /// The secret of an access key. It is useless without the session token.
    pub(crate) fn secret(&self, access_key: &str) -> SecretKey {
        let tag = self.tag(SECRET, access_key.as_bytes());
        // 30 bytes give 40 characters of base 64, the length of AWS's secrets.
        SecretKey::new(base64_simd::STANDARD.encode_to_string(&tag[..30]))
    }

    /// Issues a token with which one microVM may read its metadata until a time.
    pub(crate) fn metadata_token(&self, microvm: MicrovmId, until: Timestamp) -> String {
        let mut content = microvm.uuid().as_bytes().to_vec();
        content.extend(until.as_second().to_be_bytes());
        self.seal(METADATA, &content)
    }

    /// Whether a metadata token is valid for this microVM now.
    pub(crate) fn is_metadata_token(
        &self,
        token: &str,
        microvm: MicrovmId,
        now: Timestamp,
    ) -> bool {
        let Some(content) = self.unseal(METADATA, token) else {
            return false;
        };
        let Some((owner, until)) = content.split_first_chunk::<16>() else {
            return false;
        };
        let until = until.try_into().map(i64::from_be_bytes).unwrap_or(0);
        *owner == *microvm.uuid().as_bytes() && now.as_second() < until
    }

    fn access_key(&self, session: &Session) -> String {
        self.key_id(ACCESS_KEY, &session.to_bytes())
    }

    /// The access key of a content.
    pub(super) fn key_id(&self, purpose: &[u8], content: &[u8]) -> String {
        let tag = self.tag(purpose, content);
        let letters = tag[..16].iter();
        let letters = letters.map(|byte| char::from(KEY_LETTERS[usize::from(byte % 32)]));
        format!("{KEY_PREFIX}{}", letters.collect::<String>())
    }

    fn tag(&self, purpose: &[u8], content: &[u8]) -> [u8; TAG_BYTES] {
        // HMAC takes keys of any length (RFC 2104 section 2): there is no error case.
        Hmac::<Sha256>::new_from_slice(&self.0)
            .map(|mut mac| {
                mac.update(&(purpose.len() as u64).to_be_bytes());
                mac.update(purpose);
                mac.update(content);
                mac.finalize().into_bytes().into()
            })
            .unwrap_or_default()
    }

    pub(super) fn seal(&self, purpose: &[u8], content: &[u8]) -> String {
        let mut bytes = self.tag(purpose, content).to_vec();
        bytes.extend_from_slice(content);
        base64_simd::URL_SAFE.encode_to_string(bytes)
    }

    pub(super) fn unseal(&self, purpose: &[u8], token: &str) -> Option<Vec<u8>> {
        let bytes = base64_simd::URL_SAFE.decode_to_vec(token).ok()?;
        let (tag, content) = bytes.split_at_checked(TAG_BYTES)?;
        let is_genuine: bool = self.tag(purpose, content).ct_eq(tag).into();
        is_genuine.then(|| content.to_vec())
    }
}

impl Session {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.microvm.uuid().as_bytes().to_vec();
        bytes.extend(self.period.0.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (microvm, period) = bytes.split_first_chunk::<16>()?;
        let microvm = Uuid::from_bytes(*microvm);
        Some(Self {
            microvm: format!("microvm-{microvm}").parse().ok()?,
            period: Period(u32::from_be_bytes(period.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn life() -> LaunchedMicrovm {
        LaunchedMicrovm {
            microvm: MicrovmId::generate(),
            begun_at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn after(life: &LaunchedMicrovm, seconds: u64) -> Timestamp {
        later(life.begun_at, seconds)
    }

    #[test]
    fn a_key_belongs_to_its_token_and_its_installation() {
        let (key, life) = (SessionKey::new([1; 32]), life());
        let first = key.issue(&life, life.begun_at);
        assert_eq!(first.access_key.len(), 20);
        assert_eq!(first.secret.reveal().len(), 40);
        let session = key.open(&first.session_token, &first.access_key).unwrap();
        assert_eq!(session.microvm, life.microvm);
        let second = key.issue(&life, after(&life, PERIOD.as_secs()));
        let other = key.issue(&self::life(), life.begun_at);
        for (token, access_key) in [
            (&first.session_token, &second.access_key),
            (&second.session_token, &first.access_key),
            (&other.session_token, &first.access_key),
        ] {
            assert_eq!(key.open(token, access_key), None);
        }
        let elsewhere = SessionKey::new([2; 32]);
        assert_eq!(
            elsewhere.open(&first.session_token, &first.access_key),
            None
        );
        assert_ne!(elsewhere.secret(&first.access_key), first.secret);
        // A metadata token of the same installation is no session token.
        let metadata = key.metadata_token(life.microvm, Timestamp::MAX);
        assert_eq!(key.open(&metadata, &first.access_key), None);
        assert!(!key.is_metadata_token(&first.session_token, life.microvm, life.begun_at));
    }

    proptest! {
        /// Whoever asks gets keys that are good now, for 15 minutes at least and 55 at most, whatever the time.
        #[test]
        fn keys_are_good_when_they_are_handed_out(age_s in 0..(12 * 3600_u64)) {
            let (key, life) = (SessionKey::new([1; 32]), life());
            let now = after(&life, age_s);
            let keys = key.issue(&life, now);
            prop_assert!(keys.issued_at <= now);
            prop_assert_eq!(keys.expires_at, later(keys.issued_at, 55 * 60));
            prop_assert!(keys.expires_at >= later(now, 15 * 60));
            let session = key.open(&keys.session_token, &keys.access_key).unwrap();
            prop_assert_eq!(session.period.end(&life), keys.expires_at);
        }
    }
}
