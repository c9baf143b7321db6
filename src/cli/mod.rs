//! The command line.

pub(crate) mod decode;
