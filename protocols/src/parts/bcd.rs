//! Packed decimal: two digits a byte.

use crate::time::Civil;

/// The number that packed digits say; `None` if a nibble is no digit or there are more than 18 digits.
pub fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > 9 {
        return None;
    }
    bytes.iter().try_fold(0, |n, &b| Some(n * 100 + u64::from(byte(b)?)))
}

/// The two digits of one byte.
pub const fn byte(b: u8) -> Option<u8> {
    if b >> 4 > 9 || b & 15 > 9 { None } else { Some((b >> 4) * 10 + (b & 15)) }
}

/// One byte of two digits.
pub const fn pack(n: u8) -> u8 {
    ((n / 10 % 10) << 4) | (n % 10)
}

/// Packed digits as text: one character a nibble, a..f where a nibble is no digit.
pub fn digits(bytes: &[u8]) -> String {
    crate::cursor::hex(bytes)
}

/// Digits packed, padded with zeros in front to `N` bytes; `None` if they are none or too many.
pub fn pack_digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.bytes().map(|b| b.is_ascii_digit().then(|| b - b'0')).collect::<Option<Vec<_>>>()?;
    let mut out = [0; N];
    let mut slots = out.iter_mut().rev();
    for pair in digits.rchunks(2) {
        let slot = slots.next()?;
        *slot = pair.iter().fold(0, |b, d| b << 4 | d);
    }
    Some(out)
}

/// `YYMMDDhhmmss`; `None` if a nibble is no digit. Whether such a time exists is for [`crate::time::Timestamp::from_civil`] to say.
pub fn civil(bytes: &[u8; 6]) -> Option<Civil> {
    let mut six = [0; 6];
    for (out, b) in six.iter_mut().zip(bytes) {
        *out = byte(*b)?;
    }
    Some(Civil::from_six(six))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_digit_number_round_trips() {
        for n in 0..100 {
            assert_eq!(byte(pack(n)), Some(n));
        }
        assert_eq!(byte(0x1A), None);
        assert_eq!(byte(0xA1), None);
    }

    #[test]
    fn numbers_and_digits() {
        assert_eq!(number(&[0x01, 0x38, 0x00]), Some(13800));
        assert_eq!(number(&[0x01, 0x3F]), None);
        assert_eq!(number(&[0x99; 10]), None);
        assert_eq!(digits(&[0x01, 0x38]), "0138");
        assert_eq!(pack_digits::<3>("13800"), Some([0x01, 0x38, 0x00]));
        assert_eq!(pack_digits::<2>("13800"), None);
        assert_eq!(pack_digits::<2>("1x"), None);
    }
}
