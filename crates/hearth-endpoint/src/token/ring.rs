//! The keys of tokens, and their rotation.
//!
//! The newest key encrypts new tokens; every key in the ring decrypts. A key encrypts for a day and is kept until its
//! last token has expired. The ring is one small file, replaced atomically, which only its owner can read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::rand;
use base64_simd::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::claims::{Claims, Grant, MAX_LIFETIME, MAX_RANGES};
use super::jwe::{self, Sealed};
use super::{Access, IssueError, Token, VerifyError};
use crate::private_file;

/// Larger differences between two readings of the host's clock count as a jump.
const SLACK: Duration = Duration::from_secs(60);

/// How long a key encrypts new tokens.
const SEALS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest key file that is read. A ring has a handful of keys of some hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

const KEY_LEN: usize = 32;

/// Why the key ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenRingError {
    /// The file cannot be read.
    #[error("cannot read the token keys in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not one that Hearth wrote.
    #[error("the token keys in {path} are damaged; remove the file to start with new ones")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The first key could not be created or stored.
    #[error("cannot store token keys in {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The key ring: issues tokens and checks them.
pub struct TokenKeys {
    path: PathBuf,
    /// Oldest first, never empty.
    keys: RwLock<Vec<Key>>,
}

struct Key {
    id: Uuid,
    made_at: SystemTime,
    secret: [u8; KEY_LEN],
    cipher: LessSafeKey,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: Uuid,
    made_at_s: u64,
    secret: String,
}

impl TokenKeys {
    /// Reads the ring. Creates it with a first key if it does not exist.
    ///
    /// # Errors
    ///
    /// [`OpenRingError`].
    pub fn open(path: &Path, now: SystemTime) -> Result<Self, OpenRingError> {
        let path = path.to_owned();
        let read = |source| OpenRingError::Read {
            path: path.clone(),
            source,
        };
        let keys = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(read(error)),
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
                return Err(OpenRingError::Damaged { path });
            }
            Ok(_) => parse(&fs::read(&path).map_err(read)?)
                .ok_or(OpenRingError::Damaged { path: path.clone() })?,
        };
        let ring = Self {
            path: path.clone(),
            keys: RwLock::new(keys),
        };
        ring.rotate_if_due(now)
            .map_err(|source| OpenRingError::Write { path, source })?;
        Ok(ring)
    }

    /// Issues a token.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue(
        &self,
        grant: &Grant,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Token, IssueError> {
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(IssueError::Lifetime);
        }
        if let Access::Ports(ranges) = &grant.access
            && !(1..=MAX_RANGES).contains(&ranges.len())
        {
            return Err(IssueError::Ports);
        }
        self.rotate_if_due(now).map_err(IssueError::Rotate)?;
        let claims = Claims::new(grant, seconds(now + lifetime));
        let plaintext = serde_json::to_vec(&claims).map_err(|_| IssueError::Seal)?;
        let keys = self.keys.read().map_err(|_| IssueError::Seal)?;
        let key = keys.last().ok_or(IssueError::Seal)?;
        jwe::seal(key.id, &key.cipher, plaintext)
            .map(Token)
            .ok_or(IssueError::Seal)
    }

    /// The grant of a valid token.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]. The client must not learn which.
    pub fn verify(&self, text: &str, now: SystemTime) -> Result<Grant, VerifyError> {
        let sealed = Sealed::parse(text).ok_or(VerifyError::Unparseable)?;
        let plaintext = {
            let keys = self.keys.read().map_err(|_| VerifyError::UnknownKey)?;
            let key = keys
                .iter()
                .find(|key| key.id == sealed.kid)
                .ok_or(VerifyError::UnknownKey)?;
            sealed.open(&key.cipher).ok_or(VerifyError::Altered)?
        };
        let claims: Claims =
            serde_json::from_slice(&plaintext).map_err(|_| VerifyError::Unparseable)?;
        // A token that expires later than any new one would was issued before the host's clock was set back.
        let is_young = claims.exp <= seconds(now + MAX_LIFETIME + SLACK);
        if seconds(now) >= claims.exp || !is_young {
            return Err(VerifyError::Expired);
        }
        Ok(claims.into_grant())
    }

    /// Starts a new key at once, for example after a suspected leak. Older tokens stay valid until they expire.
    ///
    /// # Errors
    ///
    /// The ring could not be stored. The old key stays in use.
    pub fn rotate(&self, now: SystemTime) -> io::Result<()> {
        let mut keys = self
            .keys
            .write()
            .map_err(|_| io::Error::other("a writer panicked"))?;
        let fresh = Key::generate(now)?;
        store(
            &self.path,
            keys.iter().filter(|key| !key.is_spent(now)).chain([&fresh]),
        )?;
        keys.retain(|key| !key.is_spent(now));
        keys.push(fresh);
        Ok(())
    }

    fn rotate_if_due(&self, now: SystemTime) -> io::Result<()> {
        let is_due = match self.keys.read() {
            Ok(keys) => keys.last().is_none_or(|key| key.age(now) >= SEALS_FOR),
            Err(_) => false,
        };
        // Two callers may find this at once. The result is two new keys, which is harmless.
        if is_due { self.rotate(now) } else { Ok(()) }
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn generate(now: SystemTime) -> io::Result<Self> {
        let mut secret = [0; KEY_LEN];
        rand::fill(&mut secret).map_err(|_| io::Error::other("no randomness"))?;
        Self::new(Uuid::new_v4(), now, secret).ok_or_else(|| io::Error::other("not a key"))
    }

    fn new(id: Uuid, made_at: SystemTime, secret: [u8; KEY_LEN]) -> Option<Self> {
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).ok()?);
        Some(Self {
            id,
            made_at,
            secret,
            cipher,
        })
    }

    /// A clock that was set back makes a key young, never expired.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.made_at).unwrap_or_default()
    }

    /// Whether every token of the key has expired.
    fn is_spent(&self, now: SystemTime) -> bool {
        self.age(now) > SEALS_FOR + MAX_LIFETIME
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<Key>> {
    let stored: Vec<StoredKey> = serde_json::from_slice(bytes).ok()?;
    let key = |stored: StoredKey| {
        let secret = STANDARD
            .decode_to_vec(&stored.secret)
            .ok()?
            .try_into()
            .ok()?;
        let made_at = UNIX_EPOCH.checked_add(Duration::from_secs(stored.made_at_s))?;
        Key::new(stored.id, made_at, secret)
    };
    stored.into_iter().map(key).collect()
}

fn store<'a>(path: &Path, keys: impl Iterator<Item = &'a Key>) -> io::Result<()> {
    let stored: Vec<StoredKey> = keys
        .map(|key| StoredKey {
            id: key.id,
            made_at_s: seconds(key.made_at),
            secret: STANDARD.encode_to_string(key.secret),
        })
        .collect();
    private_file::write(path, &serde_json::to_vec(&stored)?)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
