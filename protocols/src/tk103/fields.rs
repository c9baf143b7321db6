//! Numbers as this protocol writes them: ASCII, padded with zeros or spaces.

use nom::IResult;

use crate::cursor::refuse;

/// Most digits of a number; more would not fit what we count with.
const MAX_DIGITS: usize = 17;

/// A decimal number: spaces, a sign, digits with at most one point among them. `None` if it is none.
pub(super) fn decimal(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (value, fraction, all) = scaled(digits)?;
    let value = value as f64 / 10_f64.powi(fraction);
    (all == digits.len()).then_some(if negative { -value } else { value })
}

/// A whole number in this base, of nothing but digits.
pub(super) fn whole(text: &[u8], base: u32) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    text.iter().try_fold(0_u64, |n, b| n.checked_mul(u64::from(base))?.checked_add(u64::from(char::from(*b).to_digit(base)?)))
}

/// Digits and a point: the number without the point, how many digits stand behind it, and how many bytes it has.
fn scaled(text: &[u8]) -> Option<(u64, i32, usize)> {
    let mut value = 0_u64;
    let (mut digits, mut fraction, mut point) = (0, 0, false);
    let mut used = 0;
    for b in text {
        match b {
            b'0'..=b'9' => {
                value = value * 10 + u64::from(b - b'0');
                digits += 1;
                fraction += i32::from(point);
            }
            b'.' if !point => point = true,
            _ => break,
        }
        if digits > MAX_DIGITS {
            return None;
        }
        used += 1;
    }
    (digits > 0).then_some((value, fraction, used))
}

/// Six digits as three numbers of two; `None` if one is no digit.
pub(super) fn pairs(text: &[u8; 6]) -> Option<[u8; 3]> {
    let pair = |a: u8, b: u8| (a.is_ascii_digit() && b.is_ascii_digit()).then(|| (a - b'0') * 10 + (b - b'0'));
    let [a, b, c, d, e, f] = *text;
    Some([pair(a, b)?, pair(c, d)?, pair(e, f)?])
}

/// `DDMM.MMMM` and a letter, as degrees, negative for the second letter. Some firmwares pad with spaces, leave out leading
/// zeros, or leave out degrees that are zero: the two digits before the point are minutes, what stands before them is degrees.
/// Minutes of 60 and more are kept as they are; the caller sees that there is no such place.
pub(super) fn coordinate(positive: u8, negative: u8) -> impl Fn(&[u8]) -> IResult<&[u8], f64> {
    move |input| {
        let padding = input.iter().take_while(|b| **b == b' ').count();
        let text = input.get(padding..).unwrap_or_default();
        let Some((value, fraction, used)) = scaled(text) else {
            return refuse(input);
        };
        let Some((letter, rest)) = text.get(used..).and_then(|t| t.split_first()) else {
            return refuse(input);
        };
        let scale = 10_u64.pow(u32::try_from(fraction).unwrap_or_default());
        let (degrees, minutes) = (value / (100 * scale), value % (100 * scale));
        let minutes = minutes as f64 / scale as f64;
        let place = if minutes < 60.0 { degrees as f64 + minutes / 60.0 } else { f64::INFINITY };
        match *letter {
            l if l == positive => Ok((rest, place)),
            l if l == negative => Ok((rest, -place)),
            _ => refuse(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_however_padded() {
        for (text, value) in [("045.7", 45.7), (" 46.0", 46.0), ("00000", 0.0), ("-0.10", -0.1), ("+017.7", 17.7), ("99", 99.0)] {
            assert_eq!(decimal(text.as_bytes()), Some(value), "{text}");
        }
        for none in ["", " ", ".", "-", "1.2.3", "1a", "000000000000000000"] {
            assert_eq!(decimal(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole(b"36e6", 16), Some(0x36E6));
        assert_eq!(whole(b"010", 10), Some(10));
        for none in ["", "1.", "-1", "x", "123456789012345678"] {
            assert_eq!(whole(none.as_bytes(), 10), None, "{none}");
        }
    }

    #[test]
    fn coordinates_with_degrees_left_out() {
        let longitude =
            |text: &'static str| coordinate(b'E', b'W')(text.as_bytes()).map(|(rest, x)| (rest, (x * 1e6).round() / 1e6));
        assert_eq!(longitude("11404.9355E0"), Ok((&b"0"[..], 114.082258)));
        assert_eq!(longitude("4817.8731W"), Ok((&b""[..], -48.297885)));
        assert_eq!(longitude(" 8415.4076W"), Ok((&b""[..], -84.256793)));
        assert_eq!(longitude("45.78950E"), Ok((&b""[..], 0.763158)));
        assert_eq!(longitude("11460.0000E").map(|(_, x)| x), Ok(f64::INFINITY));
        assert!(longitude("11404.9355N").is_err());
        assert!(longitude("11404.9355").is_err());
        assert!(longitude("E").is_err());
    }

    #[test]
    fn pairs_are_digits() {
        assert_eq!(pairs(b"260301"), Some([26, 3, 1]));
        assert_eq!(pairs(b"26030x"), None);
    }
}
