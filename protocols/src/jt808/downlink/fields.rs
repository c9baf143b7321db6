//! Fields of messages to the terminal. A type knows how it is written, how it is read, and what an example of it is, so that
//! a message is declared once.

use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use crate::cursor::{Cursor, hex};
use crate::fault::Fault;
use crate::jt808::context::Context;
use crate::jt808::header::Edition;
use crate::parts::{bcd, text};
use crate::time::Timestamp;

/// Where fields are written.
pub(in crate::jt808) trait Sink {
    /// Append bytes.
    fn bytes(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes of a body, because its length stands before it.
#[derive(Debug, Default)]
pub(in crate::jt808) struct Counter(pub(in crate::jt808) usize);

impl Sink for Counter {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// A field, or several that belong together.
pub(in crate::jt808) trait Field: Sized {
    /// Write it as this edition has it.
    fn put(&self, out: &mut impl Sink, edition: Edition);
    /// Read it.
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault>;
    /// An example, as this edition can say it.
    fn sample(edition: Edition) -> Self;
}

/// Declares groups of fields.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $kind:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub(in crate::jt808) struct $name {
            $($(#[$about])* pub(in crate::jt808) $field: $kind),+
        }

        impl $crate::jt808::downlink::fields::Field for $name {
            fn put(&self, out: &mut impl $crate::jt808::downlink::fields::Sink, edition: $crate::jt808::header::Edition) {
                $(self.$field.put(out, edition);)+
            }
            fn take(
                c: &mut $crate::cursor::Cursor<'_, '_>,
                _: &'static str,
                context: &$crate::jt808::context::Context<'_>,
            ) -> Result<Self, $crate::fault::Fault> {
                Ok(Self { $($field: $crate::jt808::downlink::fields::Field::take(c, stringify!($field), context)?),+ })
            }
            fn sample(edition: $crate::jt808::header::Edition) -> Self {
                Self { $($field: $crate::jt808::downlink::fields::Field::sample(edition)),+ }
            }
        }
    )+};
}
pub(super) use fields;

macro_rules! numbers {
    ($($kind:ty: $parser:ident = $example:literal),+ $(,)?) => {$(
        impl Field for $kind {
            fn put(&self, out: &mut impl Sink, _: Edition) {
                out.bytes(&self.to_be_bytes());
            }
            fn take(c: &mut Cursor<'_, '_>, name: &'static str, _: &Context<'_>) -> Result<Self, Fault> {
                c.read(name, $parser)
            }
            fn sample(_: Edition) -> Self {
                $example
            }
        }
    )+};
}

// two of the bytes are such as must be escaped
numbers! { u8: be_u8 = 1, u16: be_u16 = 0x017E, u32: be_u32 = 0x7D_0002, u64: be_u64 = 3 }

/// A message without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jt808) struct Empty;

impl Field for Empty {
    fn put(&self, _: &mut impl Sink, _: Edition) {}
    fn take(_: &mut Cursor<'_, '_>, _: &'static str, _: &Context<'_>) -> Result<Self, Fault> {
        Ok(Self)
    }
    fn sample(_: Edition) -> Self {
        Self
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut impl Sink, _: Edition) {
        out.bytes(self);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, _: &Context<'_>) -> Result<Self, Fault> {
        Ok(*c.bytes(name, N)?.first_chunk().unwrap_or(&[0; N]))
    }
    fn sample(_: Edition) -> Self {
        [b'A'; N]
    }
}

/// Six bytes of packed decimal, `YYMMDDhhmmss`, in the terminal's own time; zeros mean none or every day. Kept as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jt808) struct Time([u8; 6]);

impl Time {
    /// This instant so many seconds east of UTC.
    pub(in crate::jt808) fn of(at: Timestamp, offset_s: i32) -> Self {
        Self(at.civil(offset_s).six().map(bcd::pack))
    }
}

impl Field for Time {
    fn put(&self, out: &mut impl Sink, _: Edition) {
        out.bytes(&self.0);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let time = <[u8; 6]>::take(c, name, context)?;
        c.note(|| context.time(&time).map_or_else(|| "no instant".to_owned(), |t| t.to_string()));
        Ok(Self(time))
    }
    fn sample(_: Edition) -> Self {
        Self(*b"\x26\x03\x01\x18\x30\x00")
    }
}

/// The length that stands before so many bytes; 0: they go on to the end.
fn put_length(out: &mut impl Sink, width: usize, length: usize) {
    let bytes = length.to_be_bytes();
    out.bytes(bytes.get(bytes.len().saturating_sub(width)..).unwrap_or_default());
}

fn take_length(c: &mut Cursor<'_, '_>, width: usize) -> Result<usize, Fault> {
    Ok(match width {
        0 => c.remaining(),
        1 => c.read("length", be_u8)?.into(),
        2 => c.read("length", be_u16)?.into(),
        _ => c.read("length", be_u32)? as usize,
    })
}

/// Whether a length can be said in so many bytes; one without a length is bounded by its message.
const fn can_say(width: usize, length: usize) -> bool {
    match width {
        0 | 4.. => true,
        width => length < 1 << (8 * width),
    }
}

/// Text behind a length of so many bytes (0: to the end), in the terminal's charset. Shown to nobody: it may hold a name or
/// a telephone number.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::jt808) struct Text<const WIDTH: usize>(Vec<u8>);

impl<const WIDTH: usize> Text<WIDTH> {
    /// `None` if it is too long for its length.
    pub(in crate::jt808) fn new(bytes: Vec<u8>) -> Option<Self> {
        can_say(WIDTH, bytes.len()).then_some(Self(bytes))
    }
}

impl Text<0> {
    /// A text of fixed words, which has no length to be too long for.
    pub(in crate::jt808) fn of(words: &str) -> Self {
        Self(words.as_bytes().to_vec())
    }
}

impl<const WIDTH: usize> std::fmt::Debug for Text<WIDTH> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl<const WIDTH: usize> Field for Text<WIDTH> {
    fn put(&self, out: &mut impl Sink, _: Edition) {
        put_length(out, WIDTH, self.0.len());
        out.bytes(&self.0);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let length = take_length(c, WIDTH)?;
        let bytes = c.bytes(name, length)?;
        c.show(|| format!("{:?}", text::decode(bytes, context.charset)));
        Ok(Self(bytes.to_vec()))
    }
    fn sample(_: Edition) -> Self {
        Self(b"\xb2\xe2\xca\xd4~}1".to_vec())
    }
}

/// Bytes behind a length of so many bytes (0: to the end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) struct Blob<const WIDTH: usize>(Vec<u8>);

impl<const WIDTH: usize> Blob<WIDTH> {
    /// `None` if it is too long for its length.
    pub(in crate::jt808) fn new(bytes: Vec<u8>) -> Option<Self> {
        can_say(WIDTH, bytes.len()).then_some(Self(bytes))
    }
}

impl<const WIDTH: usize> Field for Blob<WIDTH> {
    fn put(&self, out: &mut impl Sink, _: Edition) {
        put_length(out, WIDTH, self.0.len());
        out.bytes(&self.0);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, _: &Context<'_>) -> Result<Self, Fault> {
        let length = take_length(c, WIDTH)?;
        Ok(Self(c.bytes(name, length)?.to_vec()))
    }
    fn sample(_: Edition) -> Self {
        Self(b"\x01\x7e\x7d\x02".to_vec())
    }
}

/// Items behind their count of so many bytes (0: to the end).
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct List<T, const WIDTH: usize>(Vec<T>);

impl<T, const WIDTH: usize> List<T, WIDTH> {
    /// `None` if there are more than can be counted.
    pub(in crate::jt808) fn new(items: Vec<T>) -> Option<Self> {
        can_say(WIDTH, items.len()).then_some(Self(items))
    }
}

impl<T: Field, const WIDTH: usize> Field for List<T, WIDTH> {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        put_length(out, WIDTH, self.0.len());
        self.0.iter().for_each(|item| item.put(out, edition));
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let count = if WIDTH == 0 { usize::MAX } else { take_length(c, WIDTH)? };
        Ok(Self(items(c, name, count, WIDTH == 0, context)?))
    }
    fn sample(edition: Edition) -> Self {
        Self(vec![T::sample(edition), T::sample(edition)])
    }
}

/// Read items. Counts on the wire are not to be trusted with memory, so the list grows as it is read.
fn items<T: Field>(
    c: &mut Cursor<'_, '_>,
    name: &'static str,
    count: usize,
    to_the_end: bool,
    context: &Context<'_>,
) -> Result<Vec<T>, Fault> {
    let mut list = Vec::new();
    while list.len() < count && !(to_the_end && c.remaining() == 0) {
        let before = c.remaining();
        list.push(T::take(c, name, context)?);
        if c.remaining() == before {
            break; // an item of nothing would be read forever
        }
    }
    Ok(list)
}

/// Items behind their count of one byte, which the edition of 2011 repeats: how many there are, and how many in this packet.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Batch<T>(List<T, 1>);

impl<T> Batch<T> {
    /// `None` if there are more than can be counted.
    pub(in crate::jt808) fn new(items: Vec<T>) -> Option<Self> {
        List::new(items).map(Self)
    }
}

impl<T: Field> Field for Batch<T> {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        if edition == Edition::V2011 {
            put_length(out, 1, self.0.0.len());
        }
        self.0.put(out, edition);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        if context.edition == Edition::V2011 {
            c.read("count", be_u8)?;
        }
        List::take(c, name, context).map(Self)
    }
    fn sample(edition: Edition) -> Self {
        Self(List::sample(edition))
    }
}

/// What may be missing at the end of a message.
impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.iter().for_each(|value| value.put(out, edition));
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        match c.remaining() {
            0 => Ok(None),
            _ => T::take(c, name, context).map(Some),
        }
    }
    fn sample(edition: Edition) -> Self {
        Some(T::sample(edition))
    }
}

/// Defines a field that only some editions have.
macro_rules! of_editions {
    ($($(#[$doc:meta])* $name:ident: $has:expr);+ $(;)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub(in crate::jt808) struct $name<T>(Option<T>);

        impl<T> $name<T> {
            /// The value, where the edition has the field.
            pub(in crate::jt808) fn new(edition: Edition, value: impl FnOnce() -> T) -> Self {
                let has: fn(Edition) -> bool = $has;
                Self(has(edition).then(value))
            }
        }

        impl<T: Field> Field for $name<T> {
            fn put(&self, out: &mut impl Sink, edition: Edition) {
                self.0.iter().for_each(|value| value.put(out, edition));
            }
            fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
                let has: fn(Edition) -> bool = $has;
                if has(context.edition) { T::take(c, name, context).map(|value| Self(Some(value))) } else { Ok(Self(None)) }
            }
            fn sample(edition: Edition) -> Self {
                Self::new(edition, || T::sample(edition))
            }
        }
    )+};
}

of_editions! {
    /// The edition of 2011 has it.
    Only2011: |edition| edition == Edition::V2011;
    /// The editions since 2013 have it.
    Since2013: |edition| edition >= Edition::V2013;
    /// The edition of 2019 has it.
    Since2019: |edition| edition == Edition::V2019;
}

/// Numbers of packets, counted with one byte until 2013 and with two since 2019.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) struct Packets(Vec<u16>);

/// Most packet numbers in one request: the 2019 edition's limit for 0x8800, and it fits a count of one byte.
pub(in crate::jt808) const MAX_ASKED: usize = 125;

impl Packets {
    /// The first of them, if they are too many.
    pub(in crate::jt808) fn new(mut numbers: Vec<u16>) -> Self {
        numbers.truncate(MAX_ASKED);
        Self(numbers)
    }

    const fn width(edition: Edition) -> usize {
        if matches!(edition, Edition::V2019) { 2 } else { 1 }
    }
}

impl Field for Packets {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        put_length(out, Self::width(edition), self.0.len());
        self.0.iter().for_each(|n| n.put(out, edition));
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let count = take_length(c, Self::width(context.edition))?;
        items(c, name, count, false, context).map(Self)
    }
    fn sample(_: Edition) -> Self {
        Self(vec![2, 0x7E])
    }
}

/// The label of an alarm of active safety: 16 bytes, 40 since 2019.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) struct Label(Vec<u8>);

impl Label {
    const fn bytes(edition: Edition) -> usize {
        if matches!(edition, Edition::V2019) { 40 } else { 16 }
    }
}

impl Field for Label {
    fn put(&self, out: &mut impl Sink, _: Edition) {
        out.bytes(&self.0);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        Ok(Self(c.bytes(name, Self::bytes(context.edition))?.to_vec()))
    }
    fn sample(edition: Edition) -> Self {
        Self(vec![b'7'; Self::bytes(edition)])
    }
}

/// Bytes to be passed on; the edition of 2011 says their length twice, as a whole and in this packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) struct Passed(Vec<u8>);

impl Passed {
    /// `None` if the edition of 2011 could not say the length.
    pub(in crate::jt808) fn new(bytes: Vec<u8>) -> Option<Self> {
        can_say(2, bytes.len()).then_some(Self(bytes))
    }
}

impl Field for Passed {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        if edition == Edition::V2011 {
            put_length(out, 4, self.0.len());
            put_length(out, 2, self.0.len());
        }
        out.bytes(&self.0);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let length = if context.edition == Edition::V2011 {
            c.read("total_bytes", be_u32)?;
            take_length(c, 2)?
        } else {
            c.remaining()
        };
        let bytes = c.bytes(name, length)?;
        c.show(|| hex(bytes));
        Ok(Self(bytes.to_vec()))
    }
    fn sample(_: Edition) -> Self {
        Self(b"\x01\x7e\x7d\x02".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::profile::Profile;

    fn written<T: Field>(value: &T, edition: Edition) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out, edition);
        out
    }

    fn taken<T: Field>(bytes: &[u8], edition: Edition) -> Result<T, Fault> {
        let profile = Profile::default();
        T::take(&mut Cursor::new(bytes, 0, None), "field", &Context::new(edition, &profile))
    }

    #[test]
    fn lengths_and_counts_have_their_width() {
        assert_eq!(written(&Text::<0>::new(b"ab".to_vec()).unwrap(), Edition::V2013), b"ab");
        assert_eq!(written(&Text::<2>::new(b"ab".to_vec()).unwrap(), Edition::V2013), b"\0\x02ab");
        assert_eq!(written(&Blob::<4>::new(b"ab".to_vec()).unwrap(), Edition::V2013), b"\0\0\0\x02ab");
        assert_eq!(written(&List::<u8, 1>::new(vec![7, 8]).unwrap(), Edition::V2013), b"\x02\x07\x08");
        assert_eq!(written(&Packets::new(vec![7]), Edition::V2019), b"\0\x01\0\x07");
        assert_eq!(written(&Packets::new(vec![7]), Edition::V2013), b"\x01\0\x07");
    }

    #[test]
    fn refuses_what_its_length_cannot_say() {
        assert!(Text::<1>::new(vec![0; 255]).is_some() && Text::<1>::new(vec![0; 256]).is_none());
        assert!(List::<u8, 1>::new(vec![0; 256]).is_none() && Batch::new(vec![0u8; 256]).is_none());
        assert!(Passed::new(vec![0; 0x1_0000]).is_none());
        assert_eq!(Packets::new((0..300).collect()).0.len(), MAX_ASKED);
    }

    #[test]
    fn refuses_counts_and_lengths_beyond_the_bytes() {
        assert_eq!(taken::<Text<1>>(b"\x03ab", Edition::V2013).unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(taken::<List<u16, 4>>(b"\xff\xff\xff\xff\0\x01", Edition::V2013).unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(taken::<List<Empty, 4>>(b"\xff\xff\xff\xff", Edition::V2013).unwrap().0.len(), 1);
    }

    #[test]
    fn editions_have_their_own_fields() {
        assert_eq!(taken::<Only2011<u8>>(b"\x07", Edition::V2011).unwrap(), Only2011(Some(7)));
        assert_eq!(taken::<Only2011<u8>>(b"", Edition::V2013).unwrap(), Only2011(None));
        assert_eq!(written(&Batch::new(vec![9u8]).unwrap(), Edition::V2011), b"\x01\x01\x09");
        assert_eq!(taken::<Batch<u8>>(b"\x01\x01\x09", Edition::V2011).unwrap(), Batch::new(vec![9u8]).unwrap());
        assert_eq!(written(&Passed::new(b"x".to_vec()).unwrap(), Edition::V2011), b"\0\0\0\x01\0\x01x");
    }

    #[test]
    fn private_text_is_shown_to_nobody_in_a_log() {
        assert_eq!(format!("{:?}", Text::<0>::new(b"13800000001".to_vec()).unwrap()), "(11 bytes)");
    }

    #[test]
    fn times_are_of_the_terminal() {
        let at = Timestamp::parse("2026-03-01T10:30:00Z").unwrap();
        assert_eq!(Time::of(at, 8 * 3600), Time::sample(Edition::V2013));
    }
}
