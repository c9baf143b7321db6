//! How the fields of the platform's messages are written and read, by one declaration for both.

use std::fmt;

use nom::number::complete::{be_u8, be_u16, be_u32};

use crate::cursor::{Cursor, hex};
use crate::fault::{Fault, FaultKind};
use crate::jt905::context::Context;
use crate::jt905::dialect::Dialect;
use crate::parts::{bcd, text};
use crate::profile::Charset;
use crate::time::Civil;

/// A field, or a message made of fields.
pub(in crate::jt905) trait Field: Sized {
    /// Append it.
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect);
    /// Read it.
    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault>;
}

macro_rules! numbers {
    ($($number:ty, $parser:expr;)+) => {
        $(impl Field for $number {
            fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(name: &str, c: &mut Cursor<'_, '_>, _: &Context<'_>) -> Result<Self, Fault> {
                c.read(name, $parser)
            }
        })+
    };
}

numbers! {
    u8, be_u8;
    u16, be_u16;
    u32, be_u32;
}

/// What has a sample, for laws and documentation.
pub(in crate::jt905) trait Sampled {
    /// It.
    fn sample() -> Self;
}

/// Text in the terminal's charset. It ends with a zero byte, so it holds none.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::jt905) struct Text(Vec<u8>);

impl Text {
    /// From bytes of the terminal's charset; what stands behind a zero byte cannot be said.
    pub(in crate::jt905) fn new(bytes: &[u8]) -> Self {
        Self(bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec())
    }

    fn take_bytes<'f>(name: &str, c: &mut Cursor<'f, '_>) -> Result<&'f [u8], Fault> {
        match c.rest().iter().position(|b| *b == 0) {
            Some(end) => {
                let bytes = c.bytes(name, end + 1)?;
                Ok(bytes.get(..end).unwrap_or_default())
            }
            None => Ok(c.take_rest(name)),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", text::decode(&self.0, Charset::Gbk))
    }
}

impl Field for Text {
    fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
        out.extend_from_slice(&self.0);
        out.push(0);
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        let bytes = Self::take_bytes(name, c)?;
        c.show(|| format!("{:?}", text::decode(bytes, context.charset)));
        Ok(Self(bytes.to_vec()))
    }
}

/// Text at the end of a message, where some terminals want no zero byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt905) struct Tail(pub(in crate::jt905) Text);

impl Field for Tail {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        out.extend_from_slice(&self.0.0);
        if dialect.terminated {
            out.push(0);
        }
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        Text::take(name, c, context).map(Self)
    }
}

/// A telephone number inside a message, where some terminals count bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt905) struct Phone(pub(in crate::jt905) Text);

impl Field for Phone {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        let Some(width) = dialect.phone_width else {
            return self.0.put(out, dialect);
        };
        let digits = self.0.0.iter().copied();
        out.extend(digits.chain(std::iter::repeat(b' ')).take(width));
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        let Some(width) = context.dialect.phone_width else {
            return Text::take(name, c, context).map(Self);
        };
        let bytes = c.bytes(name, width)?;
        c.show(|| String::from_utf8_lossy(bytes).into_owned());
        Ok(Self(Text::new(bytes.trim_ascii_end())))
    }
}

/// A time in the terminal's own zone; zeros are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jt905) struct When(pub(in crate::jt905) Option<Civil>);

impl Field for When {
    fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
        out.extend(self.0.map_or([0; 6], |civil| civil.six().map(bcd::pack)));
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, _: &Context<'_>) -> Result<Self, Fault> {
        let bytes = c.bytes(name, 6)?;
        match bytes.first_chunk() {
            Some([0, 0, 0, 0, 0, 0]) | None => Ok(Self(None)),
            Some(six) => match bcd::civil(six) {
                Some(civil) => Ok(Self(Some(civil))),
                None => Err(c.fault_here(FaultKind::Value, format!("{name} is no time: {}", hex(bytes)))),
            },
        }
    }
}

/// A packed number of `N` bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::jt905) struct Packed<const N: usize>(u32);

impl<const N: usize> Packed<N> {
    /// `None` if it has more digits than there is room for.
    pub(in crate::jt905) fn new(n: u32) -> Option<Self> {
        let room = 100_u64.checked_pow(N as u32).unwrap_or(u64::MAX);
        (u64::from(n) < room).then_some(Self(n))
    }
}

impl<const N: usize> Field for Packed<N> {
    fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
        let mut bytes = [0; N];
        let mut left = self.0;
        for byte in bytes.iter_mut().rev() {
            *byte = bcd::pack((left % 100) as u8);
            left /= 100;
        }
        out.extend_from_slice(&bytes);
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, _: &Context<'_>) -> Result<Self, Fault> {
        let bytes = c.bytes(name, N)?;
        let number = bcd::number(bytes).and_then(|n| u32::try_from(n).ok());
        number.map(Self).ok_or_else(|| c.fault_here(FaultKind::Value, format!("{name} is no number: {}", hex(bytes))))
    }
}

/// Bytes to the end.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::jt905) struct Bytes(pub(in crate::jt905) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
        out.extend_from_slice(&self.0);
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, _: &Context<'_>) -> Result<Self, Fault> {
        Ok(Self(c.take_rest(name).to_vec()))
    }
}

/// Bytes behind a length of one byte; 255 at most.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::jt905) struct Sized8(Vec<u8>);

impl Sized8 {
    /// `None` if there are more than the length can say.
    pub(in crate::jt905) fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= usize::from(u8::MAX)).then_some(Self(bytes))
    }
}

impl fmt::Debug for Sized8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Field for Sized8 {
    fn put(&self, out: &mut Vec<u8>, _: &Dialect) {
        out.push(self.0.len() as u8);
        out.extend_from_slice(&self.0);
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, _: &Context<'_>) -> Result<Self, Fault> {
        let length = c.read("length", be_u8)?;
        Ok(Self(c.bytes(name, length.into())?.to_vec()))
    }
}

/// As many as there are bytes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt905) struct Many<T>(pub(in crate::jt905) Vec<T>);

impl<T: Field> Field for Many<T> {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        self.0.iter().for_each(|one| one.put(out, dialect));
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        let mut many = Vec::new();
        while c.remaining() > 0 {
            many.push(T::take(name, c, context)?);
        }
        Ok(Self(many))
    }
}

/// A count of one byte and as many; 255 at most, the others are not said.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt905) struct Counted<T>(pub(in crate::jt905) Vec<T>);

impl<T: Field> Field for Counted<T> {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        let count = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        out.push(count);
        self.0.iter().take(count.into()).for_each(|one| one.put(out, dialect));
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        let count = c.read("count", be_u8)?;
        let many = (0..count).map(|_| T::take(name, c, context)).collect::<Result<_, _>>()?;
        Ok(Self(many))
    }
}

/// Declares structures of fields, each with a sample of its value.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $sample:expr,)* })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub(in crate::jt905) struct $name {
                $($(#[$field_doc])* pub(in crate::jt905) $field: $kind,)*
            }

            impl Field for $name {
                fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
                    $(self.$field.put(out, dialect);)*
                    let _ = (out, dialect);
                }

                fn take(_: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
                    let _ = (&c, context);
                    Ok(Self { $($field: <$kind>::take(stringify!($field), c, context)?,)* })
                }
            }

            impl Sampled for $name {
                fn sample() -> Self {
                    Self { $($field: $sample,)* }
                }
            }
        )+
    };
}
pub(in crate::jt905) use fields;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt905::dialect;
    use crate::profile::Profile;

    fn written(field: &impl Field, dialect: &str) -> Vec<u8> {
        let mut out = Vec::new();
        field.put(&mut out, dialect::find(Some(dialect)));
        out
    }

    fn read<T: Field>(bytes: &[u8], dialect: &str) -> Result<T, Fault> {
        let profile = Profile { dialect: Some(dialect.into()), ..Profile::default() };
        T::take("field", &mut Cursor::new(bytes, 0, None), &Context::new(&profile))
    }

    #[test]
    fn texts_end_as_the_terminal_wants_them() {
        let text = Text::new(b"ab\0c");
        assert_eq!(written(&text, ""), b"ab\0");
        assert_eq!(written(&text, "uninew"), b"ab\0");
        assert_eq!(written(&Tail(text.clone()), "uninew"), b"ab");
        assert_eq!(read::<Text>(b"ab\0c", ""), Ok(text.clone()));
        assert_eq!(read::<Tail>(b"ab", ""), Ok(Tail(text)));
    }

    #[test]
    fn telephone_numbers_are_counted_where_the_terminal_counts() {
        let phone = Phone(Text::new(b"13800001234"));
        assert_eq!(written(&phone, ""), b"13800001234\0");
        assert_eq!(written(&phone, "uninew"), b"13800001234");
        let short = Phone(Text::new(b"110"));
        assert_eq!(written(&short, "uninew"), b"110        ");
        assert_eq!(read::<Phone>(b"110        rest", "uninew"), Ok(short));
        assert!(read::<Phone>(b"110", "uninew").is_err());
    }

    #[test]
    fn times_and_packed_numbers_round_trip() {
        let time = When(Some(Civil::from_six([26, 3, 1, 18, 0, 5])));
        assert_eq!(written(&time, ""), b"\x26\x03\x01\x18\x00\x05");
        assert_eq!(read::<When>(b"\x26\x03\x01\x18\x00\x05", ""), Ok(time));
        assert_eq!(read::<When>(&written(&When(None), ""), ""), Ok(When(None)));
        assert!(read::<When>(b"\x2a\x03\x01\x18\x00\x05", "").is_err());
        let fee = Packed::<2>::new(1234).unwrap();
        assert_eq!(written(&fee, ""), [0x12, 0x34]);
        assert_eq!(read::<Packed<2>>(b"\x12\x34", ""), Ok(fee));
        assert!(Packed::<2>::new(10_000).is_none());
        assert!(read::<Packed<2>>(b"\x1f\x34", "").is_err());
    }

    #[test]
    fn counts_are_not_trusted_with_memory() {
        assert!(read::<Counted<u16>>(b"\xff\x00\x01", "").is_err());
        assert_eq!(read::<Many<u16>>(b"\x00\x01\x00\x02", ""), Ok(Many(vec![1, 2])));
        assert!(read::<Many<u16>>(b"\x00\x01\x00", "").is_err());
        assert_eq!(written(&Counted(vec![0_u8; 300]), "").len(), 256);
        assert!(Sized8::new(vec![0; 256]).is_none());
        assert_eq!(read::<Sized8>(b"\x02ab", ""), Ok(Sized8(b"ab".to_vec())));
    }
}
