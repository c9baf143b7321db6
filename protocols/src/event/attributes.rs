//! What a protocol says in its own terms: named values.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A value in the protocol's own terms.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A measured number.
    Float(f64),
    /// Text, or bytes as hex.
    Text(Cow<'static, str>),
    /// Several.
    List(Vec<Self>),
    /// Named values.
    Map(Attributes),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(n) => serializer.serialize_i64(*n),
            Self::Float(x) => serializer.serialize_f64(*x),
            Self::Text(t) => serializer.serialize_str(t),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

macro_rules! values_from {
    ($($from:ty => $variant:ident($convert:expr)),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self { Self::$variant($convert(value)) }
        })+
    };
}

values_from! {
    bool => Bool(|b| b),
    u8 => Int(i64::from), u16 => Int(i64::from), u32 => Int(i64::from), i8 => Int(i64::from), i16 => Int(i64::from), i32 => Int(i64::from), i64 => Int(|n| n),
    f64 => Float(|x| x),
    &'static str => Text(Cow::Borrowed), String => Text(Cow::Owned),
    Vec<Value> => List(|l| l), Attributes => Map(|m| m),
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        i64::try_from(n).map_or_else(|_| Self::Text(n.to_string().into()), Self::Int)
    }
}

/// Named values in the order said; a name said again replaces nothing, it becomes a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Vec<(Cow<'static, str>, Value)>);

impl Attributes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Set one. A second value of the same name makes the entry a list of both.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            None => self.0.push((name, value)),
            Some((_, Value::List(list))) => list.push(value),
            Some((_, old)) => {
                let first = std::mem::replace(old, Value::Bool(false));
                *old = Value::List(vec![first, value]);
            }
        }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// All in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Attributes {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Attributes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}
