//! What the machine can do and no safe code asks of it.
//!
//! The one crate with unsafe code. Each block says why it is sound.

pub mod memory;
pub mod sha256;
