//! The command line.

pub(crate) mod decode;
pub(crate) mod protocols;
