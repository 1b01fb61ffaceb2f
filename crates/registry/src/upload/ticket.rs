//! The id of an upload says, signed, all that is known of it until somebody sends to it: so beginning one writes nothing, any node takes
//! it up, and no crash takes it back.
//!
//! An id is the key of the row to come, 32 hexadecimal digits, and the ticket: when it was begun, the announced algorithm, and the
//! signature over these, the registry and the name of the repository. Once there is a row, that decides, and the ticket is not looked at.
//! The key begins with the time, so that rows made one after the other lie beside each other: a commit of several writes one page for all.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use roadstead_model::Algorithm;

/// Digits of a row's key.
const ROW: usize = 32;
/// Those of them that say when it was begun, in milliseconds since 1970. The others are random.
const TIME: usize = 11;
/// Bytes of the signature: the first half of an HMAC-SHA256.
const SIGNATURE: usize = 16;
/// Seconds since 1970 and the algorithm.
const CONTENT: usize = 5;

/// How long an id is good to which nothing was sent, microseconds. What is over is remembered for longer
/// ([`super::OVER_LIFE`]), so none comes back to life.
const LIFE: i64 = 1_500_000_000;

/// Signs the ids of uploads. All nodes of a region need the same.
#[derive(Clone)]
pub struct TicketKey(hmac::Key);

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) announced: Option<Algorithm>,
}

/// Whose upload it is: the row of the registry, and the name of the repository in it.
pub(super) type Owner<'a> = (i64, &'a str);

impl TicketKey {
    /// A key of its own, made from a secret that all nodes share.
    pub fn derived(secret: &[u8; 32]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"ids of uploads");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// An id for the row `row`, begun at `now` (microseconds).
    pub(super) fn issue(&self, row: &str, owner: Owner<'_>, announced: Option<Algorithm>, now: i64) -> String {
        let mut ticket = [0; CONTENT + SIGNATURE];
        let begun = u32::try_from(now / 1_000_000).unwrap_or(u32::MAX);
        ticket[..4].copy_from_slice(&begun.to_be_bytes());
        ticket[4] = announced.map_or(0, |algorithm| algorithm.code());
        let signed = hmac::sign(&self.0, &signed_text(row, owner, &ticket[..CONTENT]));
        ticket[CONTENT..].copy_from_slice(&signed.as_ref()[..SIGNATURE]);
        let mut id = row.to_owned();
        BASE64_URL_SAFE_NO_PAD.encode_string(ticket, &mut id);
        id
    }

    /// The ticket of an id, if it was issued for this owner and is good at `now` (microseconds).
    pub(super) fn read(&self, id: &str, owner: Owner<'_>, now: i64) -> Option<Ticket> {
        let (row, text) = id.split_at_checked(ROW)?;
        let mut ticket = [0; CONTENT + SIGNATURE];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut ticket).ok()?;
        if length != ticket.len() {
            return None;
        }
        let (content, signature) = ticket.split_at(CONTENT);
        let expected = hmac::sign(&self.0, &signed_text(row, owner, content));
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..SIGNATURE], signature).ok()?;
        let begun = i64::from(u32::from_be_bytes(content[..4].try_into().ok()?)) * 1_000_000;
        let announced = match content[4] {
            0 => None,
            code => Some(Algorithm::from_code(code)?),
        };
        (now.saturating_sub(begun) < LIFE).then_some(Ticket { announced })
    }
}

impl Default for TicketKey {
    /// A key that nobody else has.
    fn default() -> Self {
        Self::derived(&rand::random())
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

/// A key for the row of an upload that is begun at `now` (microseconds), from a key that was never there before.
pub(super) fn row_at(now: i64, fresh: &str) -> String {
    format!("{:0TIME$x}{}", now / 1000, fresh.get(TIME..).unwrap_or(fresh))
}

/// The key of an upload's row.
pub(super) fn row_of(id: &str) -> &str {
    id.get(..ROW).unwrap_or(id)
}

/// No part can be taken for a piece of another: all but the last are of fixed length.
fn signed_text(row: &str, (registry, repository): Owner<'_>, content: &[u8]) -> Vec<u8> {
    [row.as_bytes(), content, &registry.to_be_bytes(), repository.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "0123456789abcdef0123456789abcdef";
    const NOW: i64 = 1_800_000_000_000_000;

    #[test]
    fn a_ticket_is_good_for_its_owner_until_its_time_is_over() {
        let key = TicketKey::derived(&[7; 32]);
        for announced in [None, Some(Algorithm::Sha256), Some(Algorithm::Sha512)] {
            let id = key.issue(ROW, (1, "app"), announced, NOW);
            assert_eq!(row_of(&id), ROW);
            assert_eq!(key.read(&id, (1, "app"), NOW + LIFE - 1_000_001), Some(Ticket { announced }));
            assert_eq!(key.read(&id, (1, "app"), NOW + LIFE), None);
            assert_eq!(key.read(&id, (2, "app"), NOW), None);
            assert_eq!(key.read(&id, (1, "app2"), NOW), None);
            assert_eq!(TicketKey::derived(&[8; 32]).read(&id, (1, "app"), NOW), None);
        }
    }

    #[test]
    fn rows_are_in_the_order_of_their_begin() {
        let rows = [NOW, NOW + 1_000, NOW + 60_000_000, i64::from(u32::MAX) * 1_000_000].map(|now| row_at(now, ROW));
        assert!(
            rows.is_sorted() && rows.iter().all(|row| row.len() == super::ROW && row.ends_with(&ROW[TIME..])),
            "{rows:?}"
        );
        assert_ne!(row_at(NOW, ROW), row_at(NOW, "0123456789abcdef0123456789abcdee"));
    }

    #[test]
    fn nothing_but_what_was_issued_is_taken() {
        let key = TicketKey::derived(&[7; 32]);
        let id = key.issue(ROW, (1, "app"), None, NOW);
        for place in 0..id.len() {
            for digit in ["A", "b", "0", "-"].into_iter().filter(|digit| *digit != &id[place..=place]) {
                let forged = format!("{}{digit}{}", &id[..place], &id[place + 1..]);
                assert_eq!(key.read(&forged, (1, "app"), NOW), None, "{forged}");
            }
        }
        for forged in ["", ROW, &id[..id.len() - 1], &format!("{id}A"), &format!("{id}AAAA"), "\u{1f980}\u{1f980}"] {
            assert_eq!(key.read(forged, (1, "app"), NOW), None, "{forged}");
        }
    }
}
