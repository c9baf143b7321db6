//! Pieces that many protocols share, each proved by its own tests.

pub mod bcd;
pub mod checksum;
pub mod flagged;
pub mod geo;
pub mod report;
pub mod template;
pub mod text;
