//! The command line: one file a command.

pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod events;
pub(crate) mod serve;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Exit {
    /// 1 failed, 2 wrong usage, 64 bad configuration.
    pub(crate) status: u8,
    /// For a person, on stderr; empty if everything is said already.
    pub(crate) message: String,
}

impl Exit {
    /// What was asked did not hold.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { status: 1, message: message.into() }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: 2, message: message.into() }
    }

    /// A configuration that cannot be used.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self { status: 64, message: message.into() }
    }
}
