//! Text as devices send it.

use encoding_rs::{GB18030, GBK, UTF_8, UTF_16BE};

use crate::profile::Charset;

/// Text in this charset; what cannot be read becomes U+FFFD, never an error: a driver's typing must not cost an order.
/// Fill of zeros at either end, and white space, is not text.
pub fn decode(bytes: &[u8], charset: Charset) -> String {
    let encoding = match charset {
        Charset::Gbk => GB18030,
        Charset::Utf8 => UTF_8,
    };
    trim(&encoding.decode_without_bom_handling(bytes).0)
}

/// UTF-16 with the high byte first, as some Concox units answer commands.
pub fn decode_utf16be(bytes: &[u8]) -> String {
    trim(&UTF_16BE.decode_without_bom_handling(bytes).0)
}

/// Bytes of text in this charset, for the way down. Characters the charset has not become `?`.
pub fn encode(text: &str, charset: Charset) -> Vec<u8> {
    if charset == Charset::Utf8 {
        return text.as_bytes().to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut one = [0; 4];
    for c in text.chars() {
        let (bytes, _, unmappable) = GBK.encode(c.encode_utf8(&mut one));
        if unmappable {
            out.push(b'?');
        } else {
            out.extend_from_slice(&bytes);
        }
    }
    out
}

fn trim(text: &str) -> String {
    text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gbk_both_ways() {
        let bytes = encode("京A12345", Charset::Gbk);
        assert_eq!(bytes, [0xBE, 0xA9, b'A', b'1', b'2', b'3', b'4', b'5']);
        assert_eq!(decode(&bytes, Charset::Gbk), "京A12345");
        assert_eq!(encode("🚕x", Charset::Gbk), b"?x");
    }

    #[test]
    fn fill_is_not_text_and_bad_bytes_are_no_error() {
        assert_eq!(decode(b"\0\0ab c \0", Charset::Gbk), "ab c");
        assert_eq!(decode(&[b'a', 0xFF], Charset::Utf8), "a\u{FFFD}");
        assert_eq!(decode_utf16be(&[0x4E, 0xAC, 0, b'A', 0, 0]), "京A");
    }
}
