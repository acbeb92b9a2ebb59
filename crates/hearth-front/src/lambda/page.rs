//! Page tokens: opaque to clients, and useless to anyone but the caller who got them.
//!
//! A token is the cursor of the control plane with an HMAC over the cursor and everything that the list depends on
//! (operation, account, region, filters). A token of another list is invalid.

use hearth_control::page::{Cursor, PageRequest};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::Context;
use crate::fault::Fault;

const TAG_BYTES: usize = 32;

/// Seals and opens page tokens.
#[derive(Clone)]
pub struct PageTokens {
    key: [u8; 32],
}

impl PageTokens {
    /// Seals tokens with this key. A new key makes earlier tokens invalid.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn tag(&self, list: &str, cursor: &str) -> [u8; TAG_BYTES] {
        // HMAC takes keys of any length (RFC 2104 section 2): there is no error case.
        Hmac::<Sha256>::new_from_slice(&self.key)
            .map(|mut mac| {
                mac.update(&(list.len() as u64).to_be_bytes());
                mac.update(list.as_bytes());
                mac.update(cursor.as_bytes());
                mac.finalize().into_bytes().into()
            })
            .unwrap_or_default()
    }

    pub(crate) fn seal(&self, list: &str, cursor: &str) -> String {
        let mut bytes = self.tag(list, cursor).to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        base64_simd::URL_SAFE.encode_to_string(bytes)
    }

    pub(crate) fn open(&self, list: &str, token: &str) -> Option<String> {
        use subtle::ConstantTimeEq;
        let bytes = base64_simd::URL_SAFE.decode_to_vec(token).ok()?;
        let (tag, cursor) = bytes.split_at_checked(TAG_BYTES)?;
        let cursor = std::str::from_utf8(cursor).ok()?;
        let genuine: bool = self.tag(list, cursor).ct_eq(tag).into();
        genuine.then(|| cursor.to_owned())
    }
}

impl Context<'_> {
    /// The page that a request asks for. `filters` are what the list depends on, besides its owner.
    ///
    /// # Errors
    ///
    /// The refusal of the family, if the token does not belong to this list.
    pub(crate) fn page(
        &self,
        limit: u32,
        token: Option<&str>,
        filters: &[Option<&str>],
    ) -> Result<PageRequest, Fault> {
        let Some(token) = token else {
            return Ok(PageRequest::first(limit));
        };
        let cursor = self.pages.open(&self.list(filters), token);
        let after: Option<Cursor> = cursor.and_then(|cursor| cursor.parse().ok());
        match after {
            Some(after) => Ok(PageRequest {
                limit,
                after: Some(after),
            }),
            None => Err(self.refused(hearth_control::Refusal::BadCursor.into())),
        }
    }

    /// The token of the next page. `None` on the last page.
    pub(crate) fn next_token(
        &self,
        next: Option<Cursor>,
        filters: &[Option<&str>],
    ) -> Option<String> {
        next.map(|cursor| self.pages.seal(&self.list(filters), &cursor.to_string()))
    }

    /// The place at which a page begins that is not one of control's lists. `None` for the first page.
    ///
    /// # Errors
    ///
    /// The refusal of the family, if the token does not belong to this list.
    pub(crate) fn open_marker(
        &self,
        token: Option<&str>,
        filters: &[Option<&str>],
    ) -> Result<Option<String>, Fault> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        match self.pages.open(&self.list(filters), token) {
            Some(place) => Ok(Some(place)),
            None => Err(self.refused(hearth_control::Refusal::BadCursor.into())),
        }
    }

    /// The token of a place in this list.
    pub(crate) fn seal_marker(&self, place: &str, filters: &[Option<&str>]) -> String {
        self.pages.seal(&self.list(filters), place)
    }

    fn list(&self, filters: &[Option<&str>]) -> String {
        let scope = self.scope();
        json!([
            self.operation.name(),
            scope.account.to_string(),
            scope.region.as_str(),
            filters
        ])
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_list_only() {
        let tokens = PageTokens::new([7; 32]);
        let token = tokens.seal("list a", "cursor");
        assert_eq!(tokens.open("list a", &token).as_deref(), Some("cursor"));
        assert_eq!(tokens.open("list b", &token), None);
        assert_eq!(PageTokens::new([8; 32]).open("list a", &token), None);
        for bad in ["", "AAAA", "*", &token[..token.len() - 4]] {
            assert_eq!(tokens.open("list a", bad), None, "{bad}");
        }
    }
}
