//! Text as devices send it.

use encoding_rs::{GB18030, GBK, UTF_8, UTF_16BE};

use crate::profile::{Charset, Unshowable};

/// Text in this charset; what cannot be read becomes U+FFFD, never an error: a driver's typing must not cost an order.
/// Fill of zeros at either end, and white space, is not text.
pub fn decode(bytes: &[u8], charset: Charset) -> String {
    let encoding = match charset {
        Charset::Gbk | Charset::Gb2312 => GB18030,
        Charset::Utf8 | Charset::Ascii => UTF_8,
    };
    trim(&encoding.decode_without_bom_handling(bytes).0)
}

/// UTF-16 with the high byte first, as some Concox units answer commands.
pub fn decode_utf16be(bytes: &[u8]) -> String {
    trim(&UTF_16BE.decode_without_bom_handling(bytes).0)
}

/// Bytes of text for a screen with this charset. What the charset has not becomes the nearest ASCII, or is refused; control
/// characters other than a line feed become spaces, so that no text can end a frame or a field of a text protocol early.
///
/// # Errors
/// Which character cannot be shown, if the policy is to refuse.
pub fn fit(text: &str, charset: Charset, policy: Unshowable) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut one = [0; 4];
    for c in text.chars() {
        let c = if c.is_control() && c != '\n' { ' ' } else { c };
        let bytes = c.encode_utf8(&mut one).as_bytes();
        let shown = match charset {
            Charset::Utf8 => true,
            Charset::Ascii => c.is_ascii(),
            Charset::Gbk | Charset::Gb2312 => {
                let mut two = [0; 4];
                let (bytes, _, unmappable) = GBK.encode(c.encode_utf8(&mut two));
                let known = match *bytes {
                    // one byte that is no ASCII is the web's addition
                    [byte] => byte.is_ascii(),
                    [row, cell] => charset == Charset::Gbk || is_gb2312(row, cell),
                    _ => false,
                };
                if known && !unmappable {
                    out.extend_from_slice(&bytes);
                    continue;
                }
                false
            }
        };
        match (shown, policy) {
            (true, _) => out.extend_from_slice(bytes),
            (false, Unshowable::Transliterate) => out.extend_from_slice(nearest(c).as_bytes()),
            (false, Unshowable::Refuse) => return Err(format!("`{c}` is not in the device's charset")),
        }
    }
    Ok(out)
}

/// Whether two bytes of GBK are a character of GB 2312: 682 signs and 6763 characters.
const fn is_gb2312(row: u8, cell: u8) -> bool {
    match row {
        0xA1 | 0xA3 => cell >= 0xA1,
        0xA2 => matches!(cell, 0xB1..=0xE2 | 0xE5..=0xEE | 0xF1..=0xFC),
        0xA4 => matches!(cell, 0xA1..=0xF3),
        0xA5 => matches!(cell, 0xA1..=0xF6),
        0xA6 => matches!(cell, 0xA1..=0xB8 | 0xC1..=0xD8),
        0xA7 => matches!(cell, 0xA1..=0xC1 | 0xD1..=0xF1),
        0xA8 => matches!(cell, 0xA1..=0xBA | 0xC5..=0xE9),
        0xA9 => matches!(cell, 0xA4..=0xEF),
        0xD7 => matches!(cell, 0xA1..=0xF9),
        0xB0..=0xF7 => cell >= 0xA1,
        _ => false,
    }
}

/// The nearest ASCII; `?` where there is none.
fn nearest(c: char) -> &'static str {
    deunicode::deunicode_char(c).map_or("?", |text| if text.is_empty() { "?" } else { text.trim_end() })
}

/// As many bytes of `text` as fit into `max` without cutting a character of this charset in two.
pub fn within(text: &[u8], max: usize, charset: Charset) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    let mut end = 0;
    while let Some(first) = text.get(end) {
        let length = match (charset, first) {
            (Charset::Gbk | Charset::Gb2312, 0x81..=0xFE) => 2,
            (Charset::Utf8, 0xC0..=0xDF) => 2,
            (Charset::Utf8, 0xE0..=0xEF) => 3,
            (Charset::Utf8, 0xF0..) => 4,
            _ => 1,
        };
        if end + length > max {
            break;
        }
        end += length;
    }
    text.get(..end).unwrap_or(text)
}

fn trim(text: &str) -> String {
    text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gbk_both_ways() {
        let bytes = fit("京A12345", Charset::Gbk, Unshowable::Refuse).unwrap();
        assert_eq!(bytes, [0xBE, 0xA9, b'A', b'1', b'2', b'3', b'4', b'5']);
        assert_eq!(decode(&bytes, Charset::Gbk), "京A12345");
    }

    #[test]
    fn what_a_screen_cannot_show_is_written_otherwise_or_refused() {
        let ascii = |text: &str| String::from_utf8(fit(text, Charset::Ascii, Unshowable::Transliterate).unwrap()).unwrap();
        assert_eq!(ascii("Café Müller"), "Cafe Muller");
        assert_eq!(ascii("Улица"), "Ulitsa");
        assert_eq!(fit("é™", Charset::Gbk, Unshowable::Transliterate).unwrap(), [0xA8, 0xA6, b't', b'm']);
        assert!(fit("Café", Charset::Ascii, Unshowable::Refuse).unwrap_err().contains('é'));
        assert_eq!(ascii("a\r\nb\0c"), "a \nb c");
    }

    #[test]
    fn the_characters_of_gb_2312_are_counted() {
        let row = |n: u8| (0..=0xFE).filter(|cell| is_gb2312(n, *cell)).count();
        assert_eq!((0..0xB0).map(row).sum::<usize>(), 682);
        assert_eq!((0xB0..=0xFF).map(row).sum::<usize>(), 6763);
        let shown =
            |text: &str, charset| String::from_utf8_lossy(&fit(text, charset, Unshowable::Transliterate).unwrap()).into_owned();
        // a rare character of a name, and a traditional one
        assert_eq!(shown("\u{9555}\u{5EE3}", Charset::Gb2312), "RongGuang");
        let common = "\u{8D85}\u{5E02}\u{2192}";
        assert_eq!(fit(common, Charset::Gb2312, Unshowable::Refuse), fit(common, Charset::Gbk, Unshowable::Refuse));
        assert!(fit("\u{9555}", Charset::Gb2312, Unshowable::Refuse).is_err());
        for charset in [Charset::Gbk, Charset::Gb2312] {
            assert!(fit("\u{20AC}", charset, Unshowable::Refuse).is_err(), "the euro sign is in neither");
            assert!(shown("\u{20AC}5", charset).is_ascii());
        }
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let gbk = fit("a京京", Charset::Gbk, Unshowable::Refuse).unwrap();
        assert_eq!(within(&gbk, 4, Charset::Gbk), &gbk[..3]);
        assert_eq!(within("é京🚕".as_bytes(), 8, Charset::Utf8), "é京".as_bytes());
        assert_eq!(within(b"abc", 2, Charset::Ascii), b"ab");
        assert_eq!(within(b"abc", 3, Charset::Ascii), b"abc");
    }

    #[test]
    fn fill_is_not_text_and_bad_bytes_are_no_error() {
        assert_eq!(decode(b"\0\0ab c \0", Charset::Gbk), "ab c");
        assert_eq!(decode(&[b'a', 0xFF], Charset::Utf8), "a\u{FFFD}");
        assert_eq!(decode_utf16be(&[0x4E, 0xAC, 0, b'A', 0, 0]), "京A");
    }
}
