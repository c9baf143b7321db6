//! The command line.

pub(crate) mod check;
pub(crate) mod decode;
