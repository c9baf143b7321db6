//! What can be wrong with bytes from a device: one closed list whose labels are the metric labels.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Why bytes could not be used as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FaultKind {
    /// Bytes between frames that belong to none.
    Garbage,
    /// An escape sequence that the protocol does not have.
    Escape,
    /// The checksum does not fit the content.
    Checksum,
    /// A length field that contradicts the bytes.
    Length,
    /// Fewer bytes than a field needs, or a stream that ended inside a frame.
    Truncated,
    /// No end of a frame within the protocol's largest frame.
    Oversize,
    /// A field whose value cannot be (a month 13, text outside its charset).
    Value,
    /// A message that needs a signed-on device before any device has signed on.
    Unidentified,
    /// A message that names another device than the one this connection belongs to.
    Identity,
    /// A message before a good authentication, where the configuration demands one.
    Unauthenticated,
    /// A part of a split message that fits no open reassembly, or one that was given up.
    Reassembly,
    /// The first bytes fit no protocol.
    Unrecognised,
    /// The device is not on the list of devices that may connect.
    UnknownDevice,
    /// The store refused the record for its own sake, e.g. as too large.
    Refused,
}

impl FaultKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Garbage,
        Self::Escape,
        Self::Checksum,
        Self::Length,
        Self::Truncated,
        Self::Oversize,
        Self::Value,
        Self::Unidentified,
        Self::Identity,
        Self::Unauthenticated,
        Self::Reassembly,
        Self::Unrecognised,
        Self::UnknownDevice,
        Self::Refused,
    ];

    /// The name used in metrics, rejects and fixtures.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Escape => "escape",
            Self::Checksum => "checksum",
            Self::Length => "length",
            Self::Truncated => "truncated",
            Self::Oversize => "oversize",
            Self::Value => "value",
            Self::Unidentified => "unidentified",
            Self::Identity => "identity",
            Self::Unauthenticated => "unauthenticated",
            Self::Reassembly => "reassembly",
            Self::Unrecognised => "unrecognised",
            Self::UnknownDevice => "unknown_device",
            Self::Refused => "refused",
        }
    }

    /// The position in [`FaultKind::ALL`], for tables of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind with this label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.label() == label)
    }
}

/// One fault: what, where (offset in the frame as the protocol counts it, after unescaping), and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Byte offset of the trouble inside the frame.
    pub offset: usize,
    /// For a person: expected and found.
    pub detail: Cow<'static, str>,
}

impl Fault {
    /// A fault at an offset.
    pub fn new(kind: FaultKind, offset: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, offset, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.kind.label(), self.offset, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_indexes_fit() {
        for (i, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), i);
            assert_eq!(FaultKind::from_label(kind.label()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.label());
        }
    }
}
