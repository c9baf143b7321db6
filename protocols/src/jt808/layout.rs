//! Bodies that are plain lists of fields, described by tables: each field becomes a named value, and nothing is lost.

use std::borrow::Cow;

use nom::number::complete::{be_i8, be_i16, be_u8, be_u16, be_u24, be_u32, be_u64};

use super::context::Context;
use crate::cursor::{Cursor, hex};
use crate::event::{Attributes, Value};
use crate::fault::Fault;
use crate::parts::text;

/// Forms of numbers on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Num {
    U8,
    I8,
    U16,
    I16,
    /// Sign and magnitude: the top bit means below zero.
    S16,
    U24,
    U32,
    U64,
}

impl Num {
    /// Read one.
    pub(super) fn read(self, c: &mut Cursor<'_, '_>, name: &str) -> Result<i64, Fault> {
        Ok(match self {
            Self::U8 => c.read(name, be_u8)?.into(),
            Self::I8 => c.read(name, be_i8)?.into(),
            Self::U16 => c.read(name, be_u16)?.into(),
            Self::I16 => c.read(name, be_i16)?.into(),
            Self::S16 => {
                let n = i64::from(c.read(name, be_u16)?);
                if n & 0x8000 != 0 { -(n & 0x7FFF) } else { n }
            }
            Self::U24 => c.read(name, be_u24)?.into(),
            Self::U32 => c.read(name, be_u32)?.into(),
            Self::U64 => i64::from_be_bytes(c.read(name, be_u64)?.to_be_bytes()),
        })
    }
}

/// A linear scale: value = number × `times` / `over` + `plus`. Dividing keeps decimal fractions exact in print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) times: f64,
    pub(super) over: f64,
    pub(super) plus: f64,
}

impl Scale {
    pub(super) const ONE: Self = Self { times: 1.0, over: 1.0, plus: 0.0 };

    pub(super) const fn over(over: f64) -> Self {
        Self { over, ..Self::ONE }
    }

    pub(super) const fn times(times: f64) -> Self {
        Self { times, ..Self::ONE }
    }

    pub(super) const fn plus(self, plus: f64) -> Self {
        Self { plus, ..self }
    }

    pub(super) fn apply(self, n: i64) -> f64 {
        n as f64 * self.times / self.over + self.plus
    }

    /// A whole number stays one where the scale leaves it whole.
    pub(super) fn value(self, n: i64) -> Value {
        match self {
            Self { times: 1.0, over: 1.0, plus: 0.0 } => Value::Int(n),
            scale => Value::Float(scale.apply(n)),
        }
    }
}

/// A number and its word.
pub(super) type Words = &'static [(u8, &'static str)];

/// How a field is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Number(Num),
    /// One byte with words for its values; others stay numbers.
    Word(Words),
    /// Names of the bits from bit 0; a bit without a name appears by its number.
    Flags(Num, &'static [&'static str]),
    /// BCD of 6 bytes, device-local.
    Time,
    /// BCD of 3 bytes and two bytes of milliseconds: time of day.
    TimeOfDay,
    /// So many bytes.
    Hex(usize),
    /// So many bytes of packed decimal.
    Digits(usize),
    /// So many bytes of padded text.
    Text(usize),
    /// Text behind a length of one byte.
    Text8,
    /// Text behind a length of two bytes.
    Text16,
    /// 28 bytes of 0x0200.
    Place,
    /// Degrees × 10⁶.
    Degrees,
    /// A count, and as many of these.
    List(Num, &'static [Field]),
    /// As many of these as there are bytes.
    Many(&'static [Field]),
    HexRest,
    TextRest,
}

/// A field: its name, with the unit, and its form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// A field.
pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

/// A byte.
pub(super) const fn u8(name: &'static str) -> Field {
    field(name, Kind::Number(Num::U8))
}

/// A word.
pub(super) const fn u16(name: &'static str) -> Field {
    field(name, Kind::Number(Num::U16))
}

/// A double word.
pub(super) const fn u32(name: &'static str) -> Field {
    field(name, Kind::Number(Num::U32))
}

/// What a body said.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) values: Attributes,
    /// Whether it holds a time of the device.
    pub(super) dated: bool,
}

/// Read `fields`; the first `required` must be there, the others may be cut off at a field's start. What is left over
/// becomes `rest`.
pub(super) fn read(fields: &[Field], required: usize, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Values, Fault> {
    let mut read = Values::default();
    for (n, field) in fields.iter().enumerate() {
        if n >= required && c.remaining() == 0 {
            break;
        }
        one(field, c, context, &mut read)?;
    }
    if c.remaining() > 0 {
        read.values.set("rest", hex(c.take_rest("rest")));
    }
    Ok(read)
}

fn one(field: &Field, c: &mut Cursor<'_, '_>, context: &Context<'_>, into: &mut Values) -> Result<(), Fault> {
    let name = field.name;
    let value = match field.kind {
        Kind::Number(num) => Value::Int(num.read(c, name)?),
        Kind::Word(words) => {
            let n = c.read(name, be_u8)?;
            let word = words.iter().find(|(k, _)| *k == n).map(|(_, word)| *word);
            c.note(|| word.unwrap_or("unknown"));
            word.map_or_else(|| n.into(), Value::from)
        }
        Kind::Flags(num, names) => {
            let set = flags(num.read(c, name)? as u64, names);
            c.note(|| format!("{set:?}"));
            Value::List(set)
        }
        Kind::Time => {
            let bytes = c.bytes(name, 6)?;
            let time = context.time(bytes);
            into.dated |= time.is_some();
            c.note(|| time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
            time.map_or_else(|| hex(bytes), |t| t.to_string()).into()
        }
        Kind::TimeOfDay => time_of_day(c, name)?.into(),
        Kind::Hex(n) | Kind::Digits(n) => hex(c.bytes(name, n)?).into(),
        Kind::Text(n) => said(c, name, n, context)?.into(),
        Kind::Text8 => {
            let n = c.read("length", be_u8)?;
            said(c, name, n.into(), context)?.into()
        }
        Kind::Text16 => {
            let n = c.read("length", be_u16)?;
            said(c, name, n.into(), context)?.into()
        }
        Kind::Place => {
            let report = super::position::read(c, context)?;
            into.dated |= report.time.is_some();
            super::position::as_values(&report).into()
        }
        Kind::Degrees => Value::Float(Num::U32.read(c, name)? as i32 as f64 / 1e6),
        Kind::List(count, fields) => {
            let n = count.read(c, "count")?;
            many(fields, usize::try_from(n).unwrap_or(0), c, context, into)?
        }
        Kind::Many(fields) => many(fields, usize::MAX, c, context, into)?,
        Kind::HexRest => hex(c.take_rest(name)).into(),
        Kind::TextRest => said(c, name, c.remaining(), context)?.into(),
    };
    into.values.set(name, value);
    Ok(())
}

/// Up to `limit` groups, as long as there are bytes: counts on the wire are not to be trusted with memory.
fn many(fields: &[Field], limit: usize, c: &mut Cursor<'_, '_>, context: &Context<'_>, into: &mut Values) -> Result<Value, Fault> {
    let mut list = Vec::new();
    while list.len() < limit && c.remaining() > 0 {
        let mut group = Values::default();
        for field in fields {
            one(field, c, context, &mut group)?;
        }
        into.dated |= group.dated;
        // a list of single values needs no names inside
        let single = if fields.len() == 1 { group.values.iter().next().map(|(_, v)| v.clone()) } else { None };
        list.push(single.unwrap_or(Value::Map(group.values)));
    }
    Ok(Value::List(list))
}

fn said(c: &mut Cursor<'_, '_>, name: &str, n: usize, context: &Context<'_>) -> Result<String, Fault> {
    let said = text::decode(c.bytes(name, n)?, context.charset);
    c.show(|| format!("{said:?}"));
    Ok(said)
}

fn time_of_day(c: &mut Cursor<'_, '_>, name: &str) -> Result<String, Fault> {
    let bytes = c.bytes(name, 5)?;
    let digits = hex(bytes);
    Ok(match (digits.get(..2), digits.get(2..4), digits.get(4..6), digits.get(6..)) {
        (Some(h), Some(m), Some(s), Some(ms)) => format!("{h}:{m}:{s}.{ms}"),
        _ => digits,
    })
}

/// The names of the bits that are set.
pub(super) fn flags(bits: u64, names: &'static [&'static str]) -> Vec<Value> {
    let mut set = Vec::with_capacity(bits.count_ones() as usize);
    let mut left = bits;
    while left != 0 {
        let n = left.trailing_zeros();
        left &= left - 1;
        let name = names.get(n as usize).map_or_else(|| Cow::Owned(format!("bit_{n}")), |name| Cow::Borrowed(*name));
        set.push(Value::Text(name));
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::header::Edition;
    use crate::profile::Profile;

    static NUMBERS: &[Field] = &[u8("n")];

    fn read_as(fields: &[Field], required: usize, body: &[u8]) -> Result<(serde_json::Value, bool), Fault> {
        let profile = Profile::default();
        let read = read(fields, required, &mut Cursor::new(body, 0, None), &Context::new(Edition::V2013, &profile))?;
        Ok((serde_json::to_value(read.values).unwrap(), read.dated))
    }

    #[test]
    fn accepts_every_kind() {
        let fields = [
            field("flags", Kind::Flags(Num::U8, &["a", "b"])),
            field("word", Kind::Word(&[(1, "one")])),
            field("time", Kind::Time),
            field("text", Kind::Text8),
            field("signed", Kind::Number(Num::S16)),
            field("list", Kind::List(Num::U8, NUMBERS)),
            field("rest", Kind::HexRest),
        ];
        let body = b"\x09\x01\x26\x03\x01\x18\x00\x00\x02\xd5\xc5\x80\x05\x02\x07\x08\xab";
        let expected = serde_json::json!({"flags": ["a", "bit_3"], "word": "one", "time": "2026-03-01T10:00:00.000Z",
            "text": "张", "signed": -5, "list": [7, 8], "rest": "ab"});
        assert_eq!(read_as(&fields, 7, body).unwrap(), (expected, true));
    }

    #[test]
    fn counts_on_the_wire_cost_no_more_than_the_bytes() {
        let fields = [field("list", Kind::List(Num::U32, NUMBERS))];
        assert_eq!(read_as(&fields, 1, b"\xff\xff\xff\xff\x01").unwrap().0, serde_json::json!({"list": [1]}));
    }

    #[test]
    fn optional_fields_may_be_missing_and_more_may_follow() {
        let fields = [u8("a"), u16("b")];
        assert_eq!(read_as(&fields, 1, b"\x01").unwrap().0, serde_json::json!({"a": 1}));
        assert_eq!(read_as(&fields, 1, b"\x01\x00\x02\xff").unwrap().0, serde_json::json!({"a": 1, "b": 2, "rest": "ff"}));
    }

    #[test]
    fn refuses_half_a_field() {
        assert!(read_as(&[u8("a"), u16("b")], 1, b"\x01\x00").is_err());
        assert!(read_as(&[u8("a"), u16("b")], 2, b"\x01").is_err());
        assert!(read_as(&[field("t", Kind::Text8)], 1, b"\x05ab").is_err());
    }

    #[test]
    fn scales_leave_no_noise() {
        assert_eq!(Scale::over(10.0).value(3), Value::Float(0.3));
        assert_eq!(Scale::ONE.value(3), Value::Int(3));
        assert_eq!(Scale::over(10.0).plus(-50.0).apply(700), 20.0);
    }
}
