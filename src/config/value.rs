//! What a key may hold: one trait, read from TOML and from the text of an environment variable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use protocols::identity::DeviceId;
use toml::de::{DeTable, DeValue};

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// The file.
    Toml(&'a DeValue<'a>),
    /// An environment variable, or one item of its comma-separated list.
    Text(&'a str),
}

impl<'a> Given<'a> {
    /// The text; in the file it has to stand in quotes.
    fn text(self) -> Result<&'a str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Toml(DeValue::String(text)) => Ok(text),
            Self::Toml(other) => Err(kind(other)),
        }
    }

    /// The text as one of our types; the value itself is told in the error.
    fn parse<T: FromStr>(self) -> Result<T, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("`{text}` cannot be read"))
    }
}

/// What stands in the file instead, without its content, which may be a secret.
fn kind(value: &DeValue<'_>) -> String {
    format!("this is of the type {}", value.type_str())
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// What to write, for a person: follows "write ".
    const EXPECTS: &'static str;

    /// Read it.
    ///
    /// # Errors
    /// What is wrong, for a person, without what to do.
    fn read(given: Given<'_>) -> Result<Self, String>;

    /// The number that a range in the table of keys bounds.
    fn number(&self) -> Option<u64> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn read(given: Given<'_>) -> Result<Self, String> {
        match given {
            Given::Text("") => Ok(None),
            given => T::read(given).map(Some),
        }
    }

    fn number(&self) -> Option<u64> {
        self.as_ref().and_then(T::number)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn read(given: Given<'_>) -> Result<Self, String> {
        match given {
            Given::Text("") => Ok(Self::new()),
            Given::Text(text) => text.split(',').map(|item| T::read(Given::Text(item.trim()))).collect(),
            Given::Toml(DeValue::Array(items)) => items.iter().map(|item| T::read(Given::Toml(item.get_ref()))).collect(),
            Given::Toml(other) => Err(format!("{}, and the key takes a list in [ ]", kind(other))),
        }
    }
}

impl Setting for u64 {
    const EXPECTS: &'static str = "a whole number";

    fn read(given: Given<'_>) -> Result<Self, String> {
        match given {
            Given::Toml(DeValue::Integer(n)) => {
                Self::from_str_radix(n.as_str(), n.radix()).map_err(|_| format!("{n} is out of range"))
            }
            Given::Toml(other) => Err(kind(other)),
            Given::Text(_) => given.parse(),
        }
    }

    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Setting for u32 {
    const EXPECTS: &'static str = u64::EXPECTS;

    fn read(given: Given<'_>) -> Result<Self, String> {
        let n = u64::read(given)?;
        Self::try_from(n).map_err(|_| format!("{n} is out of range"))
    }

    fn number(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

impl Setting for bool {
    const EXPECTS: &'static str = "true or false";

    fn read(given: Given<'_>) -> Result<Self, String> {
        match given {
            Given::Toml(DeValue::Boolean(value)) => Ok(*value),
            Given::Toml(other) => Err(kind(other)),
            Given::Text(_) => given.parse(),
        }
    }
}

impl Setting for String {
    const EXPECTS: &'static str = "text in quotes";

    fn read(given: Given<'_>) -> Result<Self, String> {
        given.text().map(str::to_owned)
    }
}

impl Setting for PathBuf {
    const EXPECTS: &'static str = "a path in quotes";

    fn read(given: Given<'_>) -> Result<Self, String> {
        match given.text()? {
            "" => Err("an empty path".to_owned()),
            text => Ok(text.into()),
        }
    }
}

impl Setting for SocketAddr {
    const EXPECTS: &'static str = "an IP address and a port, such as \"0.0.0.0:5023\" or \"[::]:5023\"";

    fn read(given: Given<'_>) -> Result<Self, String> {
        given.parse()
    }
}

/// A length of time, written as whole seconds; its keys end in `_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) u64);

impl Seconds {
    /// As the standard library has it.
    pub(crate) const fn get(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// A length of time, written as whole milliseconds; its keys end in `_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    /// As the standard library has it.
    pub(crate) const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// The types that are a number with a unit.
macro_rules! numbers {
    ($($name:ident, $unit:literal;)*) => {$(
        impl Setting for $name {
            const EXPECTS: &'static str = concat!("a whole number of ", $unit);

            fn read(given: Given<'_>) -> Result<Self, String> {
                u64::read(given).map(Self)
            }

            fn number(&self) -> Option<u64> {
                Some(self.0)
            }
        }
    )*};
}

numbers! {
    Seconds, "seconds";
    Millis, "milliseconds";
}

/// The types that are one of a few words.
macro_rules! words {
    ($($(#[$doc:meta])* enum $name:ident, $expects:literal { $($(#[$what:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$what])* $variant,)* }

        impl $name {
            /// The word in the file.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Setting for $name {
            const EXPECTS: &'static str = $expects;

            fn read(given: Given<'_>) -> Result<Self, String> {
                let text = given.text()?;
                let found = [$(Self::$variant),*].into_iter().find(|choice| choice.word() == text);
                found.ok_or_else(|| format!("there is no choice `{text}`"))
            }
        }
    )*};
}

words! {
    /// Whether a listener's connections begin with a PROXY header.
    enum ProxyMode, "\"off\", \"optional\" or \"required\"" {
        /// Never: its bytes are the device's.
        Off = "off",
        /// From trusted networks they may; a connection without one is served with the address of its socket.
        Optional = "optional",
        /// From trusted networks they must; all others are closed.
        Required = "required",
    }

    /// Where events go in the end.
    enum SinkKind, "\"journal\" or \"kafka\"" {
        /// The local journal.
        Journal = "journal",
        /// Kafka, with the journal as the spool.
        Kafka = "kafka",
    }

    /// What a journal at its size limit does.
    enum OnFull, "\"stop\" or \"delete_oldest\"" {
        /// Neither acknowledge nor read any more until there is room.
        Stop = "stop",
        /// Delete the oldest segment, and count what was in it.
        DeleteOldest = "delete_oldest",
    }

    /// Compression of Kafka batches.
    enum Compression, "\"lz4\", \"zstd\" or \"none\"" {
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
        /// None.
        None = "none",
    }

    /// Which devices are served.
    enum UnknownDevices, "\"accept\", \"reject\" or \"allowlist\"" {
        /// All of them.
        Accept = "accept",
        /// Those that are listed; others are told so in their protocol's words, where it has any, then closed.
        Reject = "reject",
        /// Those that are listed; others are closed without a word.
        Allowlist = "allowlist",
    }

    /// Whether a JT/T 808 terminal has to authenticate.
    enum AuthMode, "\"optional\" or \"required\"" {
        /// A terminal that begins with a position is served.
        Optional = "optional",
        /// Nothing but registration and authentication before a good code.
        Required = "required",
    }

    /// How much is logged.
    enum LogLevel, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"" {
        /// What needs a person.
        Error = "error",
        /// And what will.
        Warn = "warn",
        /// And connections.
        Info = "info",
        /// And frames.
        Debug = "debug",
        /// And bytes.
        Trace = "trace",
    }

    /// How a log line looks.
    enum LogFormat, "\"text\" or \"json\"" {
        /// For a terminal.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// A text that is never shown again: not in logs, errors or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// From a text of ours, such as a random one.
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Setting for Secret {
    const EXPECTS: &'static str = "the secret as text in quotes";

    fn read(given: Given<'_>) -> Result<Self, String> {
        String::read(given).map(Self)
    }
}

/// A network whose members are trusted; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(IpNet);

impl Network {
    /// Whether the address of a socket lies in it; IPv4 inside IPv6 counts as IPv4.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }

    /// Whether it is the whole Internet.
    pub(super) fn is_everyone(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl Setting for Network {
    const EXPECTS: &'static str = "networks such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"10.0.1.5\"";

    fn read(given: Given<'_>) -> Result<Self, String> {
        let text = given.text()?;
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(ip)));
        }
        let net: IpNet = text.parse().map_err(|_| format!("`{text}` is no network"))?;
        if net != net.trunc() {
            return Err(format!("`{text}` has bits beyond its prefix: its network is `{}`", net.trunc()));
        }
        Ok(Self(net))
    }
}

/// Device ids in the form that events carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Devices(pub(super) BTreeSet<DeviceId>);

impl Devices {
    /// Whether a device is listed.
    pub(crate) fn contains(&self, device: &DeviceId) -> bool {
        self.0.contains(device)
    }

    /// Whether none is listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One entry of a list.
    pub(super) fn entry(text: &str) -> Result<DeviceId, String> {
        DeviceId::normalise(text).ok_or_else(|| format!("`{text}` is no device id"))
    }
}

struct Entry(DeviceId);

impl Setting for Entry {
    const EXPECTS: &'static str = "device ids as events carry them, each as text in quotes";

    fn read(given: Given<'_>) -> Result<Self, String> {
        Devices::entry(given.text()?).map(Self)
    }
}

impl Setting for Devices {
    const EXPECTS: &'static str = Entry::EXPECTS;

    fn read(given: Given<'_>) -> Result<Self, String> {
        let entries = Vec::<Entry>::read(given)?;
        Ok(Self(entries.into_iter().map(|Entry(id)| id).collect()))
    }
}

/// What is passed to librdkafka as it is. Values may be secret: `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Properties {
    /// A table under a dotted name means the same as the name in quotes: `ssl.ca.location = …` is what one writes.
    fn flatten(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), String> {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let text = match value.get_ref() {
                DeValue::String(text) => text.clone().into_owned(),
                DeValue::Integer(n) => n.to_string(),
                DeValue::Float(n) => n.to_string(),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Table(table) => {
                    self.flatten(&format!("{name}."), table)?;
                    continue;
                }
                other => return Err(format!("`{name}`: {}", kind(other))),
            };
            self.0.insert(name, text);
        }
        Ok(())
    }
}

impl Setting for Properties {
    const EXPECTS: &'static str = "a table of librdkafka's properties, each a text, a number, true or false";

    fn read(given: Given<'_>) -> Result<Self, String> {
        let Given::Toml(DeValue::Table(table)) = given else { return Err("this is no table".to_owned()) };
        let mut properties = Self::default();
        properties.flatten("", table)?;
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml<T: Setting>(text: &str) -> Result<T, String> {
        T::read(Given::Toml(DeValue::parse(text).unwrap().get_ref()))
    }

    fn env<T: Setting>(text: &str) -> Result<T, String> {
        T::read(Given::Text(text))
    }

    #[test]
    fn accepts_the_same_from_file_and_environment() {
        assert_eq!(toml::<u64>("0x10"), Ok(16));
        assert_eq!(toml::<u64>("1_000"), env("1000"));
        assert_eq!(toml::<bool>("true"), env("true"));
        assert_eq!(toml::<Seconds>("5"), env("5"));
        assert_eq!(toml::<Vec<String>>("['a:1', \"b:2\"]"), env("a:1, b:2"));
        assert_eq!(toml::<Vec<String>>("[]"), env(""));
        assert_eq!(toml::<Option<SocketAddr>>("'[::]:5023'"), env("[::]:5023"));
        assert_eq!(env::<Option<String>>(""), Ok(None));
        assert_eq!(toml::<OnFull>("'delete_oldest'"), Ok(OnFull::DeleteOldest));
        assert_eq!(toml::<LogFormat>("'json'"), env(LogFormat::Json.word()));
        assert_eq!(toml::<Devices>("['0042', 'TAXI-7']"), env("42,TAXI-7"));
    }

    #[test]
    fn refuses_other_types_and_ranges() {
        assert_eq!(toml::<u64>("-1"), Err("-1 is out of range".into()));
        assert_eq!(toml::<u32>("4294967296"), Err("4294967296 is out of range".into()));
        assert_eq!(toml::<u64>("'5'"), Err("this is of the type string".into()));
        assert_eq!(env::<u64>("5s"), Err("`5s` cannot be read".into()));
        assert_eq!(toml::<bool>("1"), Err("this is of the type integer".into()));
        assert_eq!(toml::<SinkKind>("'file'"), Err("there is no choice `file`".into()));
        assert_eq!(toml::<Devices>("['000']"), Err("`000` is no device id".into()));
        assert!(toml::<Vec<String>>("'a'").unwrap_err().contains("a list in [ ]"));
        assert!(toml::<PathBuf>("''").is_err());
    }

    #[test]
    fn networks() {
        let net = |text: &str| toml::<Network>(&format!("'{text}'"));
        assert!(net("10.0.0.0/8").unwrap().contains("::ffff:10.2.3.4".parse().unwrap()));
        assert!(!net("10.0.0.0/8").unwrap().contains("11.0.0.0".parse().unwrap()));
        assert!(net("10.0.1.5").unwrap().contains("10.0.1.5".parse().unwrap()));
        assert!(!net("10.0.1.5").unwrap().contains("10.0.1.6".parse().unwrap()));
        assert!(net("::/0").unwrap().is_everyone());
        assert_eq!(net("10.0.0.5/8"), Err("`10.0.0.5/8` has bits beyond its prefix: its network is `10.0.0.0/8`".into()));
        for bad in ["10.0.0.0/33", "10.0.0/8", "lan", ""] {
            assert_eq!(net(bad), Err(format!("`{bad}` is no network")));
        }
    }

    #[test]
    fn properties_may_be_dotted_or_quoted() {
        let text = "{ ssl.ca.location = '/ca.pem', 'sasl.password' = 'pass word', socket.keepalive.enable = true, retries = 3 }";
        let properties = toml::<Properties>(text).unwrap();
        let pairs: Vec<_> = properties.0.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected =
            [("retries", "3"), ("sasl.password", "pass word"), ("socket.keepalive.enable", "true"), ("ssl.ca.location", "/ca.pem")];
        assert_eq!(pairs, expected);
        assert_eq!(toml::<Properties>("{ a = ['secret'] }"), Err("`a`: this is of the type array".into()));
    }

    #[test]
    fn secrets_are_never_shown() {
        let properties = toml::<Properties>("{ 'sasl.password' = 'hidden' }").unwrap();
        assert!(!format!("{properties:?} {:?}", toml::<Secret>("'hidden'").unwrap()).contains("hidden"));
        assert_eq!(toml::<Vec<Secret>>("'hidden'").unwrap_err().find("hidden"), None);
        assert_eq!(toml::<Secret>("12345").unwrap_err().find("123"), None);
    }
}
