//! What holds of any bytes that are judged as a PROXY header; for the fuzzer and for the unit tests. Whoever includes it says
//! where the header's reader is.

use super::{MAX_HEADER, Parsed, parse};

/// Judge every beginning of these bytes: one verdict, which stands whatever comes behind it and is reached within the bound.
pub(crate) fn check(bytes: &[u8]) {
    let verdict = parse(bytes);
    let decided = (0..=bytes.len()).find(|end| parse(&bytes[..*end]) != Parsed::More);
    match decided {
        Some(end) => {
            assert_eq!(parse(&bytes[..end]), verdict, "after {end} bytes");
            assert!(end <= MAX_HEADER, "decided only after {end} bytes");
        }
        None => assert!(bytes.len() < MAX_HEADER, "undecided after {} bytes", bytes.len()),
    }
    if let Parsed::Header { used, unique_id, .. } = verdict {
        assert!(used <= bytes.len() && used <= MAX_HEADER, "{used} of {} bytes", bytes.len());
        assert!(unique_id.is_none_or(|id| id.len() <= 128));
    }
}
