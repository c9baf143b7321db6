//! What is said to a device, written and read.
//!
//! ```text
//! ( id | command 4 | body )                 as it stands in front of the device's own frames
//! [begin]sms2,words,[end]                   older makers' units: the words of a short message
//! ```

use std::net::Ipv4Addr;

use crate::cursor::{Cursor, Trace};
use crate::fault::{Fault, FaultKind};
use crate::tk103::fields::whole;
use crate::tk103::frame::{self, Style, ascii};
use crate::tk103::position::marks;
use crate::wire::Cut;

/// A message to a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Downlink {
    /// In round brackets, for who has this in front of its own frames.
    Round(Short, Order),
    /// Between `[begin]` and `[end]`.
    Sms2(Sms2),
}

/// What stands in round brackets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// `AP00`: report the position once.
    Locate,
    /// `AP01`: a handshake was heard; `HSO`, or what followed it.
    Handshake(Short),
    /// `AP03`: tell the parameters.
    ReadParameters,
    /// `AP04`: tell the status.
    ReadStatus,
    /// `AP05`: a login was heard.
    Login,
    /// `AP07`: tell the version; with a body, the centre's number.
    Version(Words),
    /// `AP11`: telephone numbers.
    Phones(Words),
    /// `AP12`: highest and lowest speed.
    SpeedLimits(Words),
    /// `AP15`: listen in.
    Monitor(Words),
    /// `AP17`: tell the telephone numbers.
    ReadPhones,
    /// `AR00`: report every so many seconds for so long, or until changed; zeros end it.
    Track { interval_s: u16, hours: u8, minutes: u8 },
    /// `AS01`: an alarm of this digit was heard.
    Alarm(u8),
    /// `AT00`: start again.
    Restart,
    /// `AV00`: circuit or output.
    Circuit(u8),
    /// `AV01`: 0 cuts the oil, 1 gives it back.
    Oil(u8),
    /// `AX01`: count the mileage from zero.
    ClearMileage,
    /// What a maker's own manual has.
    Other(Code, Words),
}

/// What stands behind `sms2`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sms2 {
    Locate,
    About,
    TurnOff,
    Reset,
    Track,
    TrackOff,
    Sos(bool),
    Sleep(u8),
    Server(Ipv4Addr, u16),
    Master { password: Words, phone: Words },
    Other(Words),
}

/// A few characters without an allocation: ids, and what follows a handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Short {
    text: [u8; Self::ROOM],
    used: usize,
}

impl Short {
    /// The longest id in front of a frame.
    const ROOM: usize = 20;

    /// As much of it as fits.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut short = Self { used: text.len().min(Self::ROOM), ..Self::default() };
        short.text.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
        short
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.get(..self.used).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        ascii(self.bytes())
    }
}

/// The name of a command: two letters, two hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code([u8; 4]);

impl Code {
    /// `None` if it is no command to a device.
    pub(super) fn new(text: &str) -> Option<Self> {
        let code = *text.as_bytes().first_chunk::<4>().filter(|_| text.len() == 4)?;
        (code[0] == b'A' && frame::is_command(&code)).then_some(Self(code))
    }
}

/// A body: printable ASCII without the marks of either form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words(String);

/// Longest body that we send: several telephone numbers; devices take a frame of 1 KiB.
const MAX_WORDS: usize = 256;

impl Words {
    /// `None` if a mark or something unprintable is in it, or it is too long.
    pub(super) fn new(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| matches!(b, b' '..=b'~') && !b"()$[]".contains(&b));
        (plain && text.len() <= MAX_WORDS).then(|| Self(text.to_owned()))
    }

    /// The same without what separates words of a short message.
    pub(super) fn single(text: &str) -> Option<Self> {
        Self::new(text).filter(|words| !words.0.is_empty() && !words.0.bytes().any(|b| b == b'*' || b == b','))
    }
}

const BEGIN: &[u8] = b"[begin]sms2,";
const END: &[u8] = b",[end]";

/// Write it as a whole frame.
pub(super) fn encode(downlink: &Downlink, out: &mut Vec<u8>) {
    match downlink {
        Downlink::Round(id, order) => {
            out.push(b'(');
            out.extend_from_slice(id.bytes());
            order.write(out);
            out.push(b')');
        }
        Downlink::Sms2(words) => {
            out.extend_from_slice(BEGIN);
            out.extend_from_slice(words.text().as_bytes());
            out.extend_from_slice(END);
        }
    }
}

/// Read one whole frame.
pub(super) fn decode(raw: &[u8], mut trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
    if let Some(trace) = &mut trace {
        trace.content = raw.to_vec();
    }
    if let Some(words) = raw.strip_prefix(BEGIN) {
        let Some(words) = words.strip_suffix(END) else {
            return Err(Fault::new(FaultKind::Truncated, raw.len(), "no `,[end]`"));
        };
        if let Some(trace) = &mut trace {
            "sms2 short message".clone_into(&mut trace.title);
        }
        let mut c = Cursor::new(raw, 0, trace);
        marks(&mut c, "start", BEGIN.len());
        let fault = c.fault_here(FaultKind::Value, "words that cannot be");
        marks(&mut c, "words", words.len());
        marks(&mut c, "end", END.len());
        return Sms2::read(ascii(words)).map(Downlink::Sms2).ok_or(fault);
    }
    match frame::cut(raw, true) {
        Cut::Frame(frame) if frame.raw.len() == raw.len() => {}
        _ => return Err(Fault::new(FaultKind::Truncated, raw.len(), "no whole frame")),
    }
    let head = frame::head(raw)?;
    if head.style == Style::Commas {
        return Err(Fault::new(FaultKind::Value, head.id.len() + 1, "nothing is sent to devices with commas"));
    }
    let body = head.body;
    let order = Order::read(head.command, ascii(body));
    if let Some(trace) = &mut trace {
        trace.title = format!("{} {}", head.command, order.as_ref().map_or("unknown", Order::title));
        let mut c = Cursor::new(raw, 0, Some(trace));
        for (name, length) in [("start", 1), ("id", head.id.len()), ("command", head.command.len())] {
            marks(&mut c, name, length);
        }
    }
    let mut c = Cursor::new(body, head.at, trace.as_deref_mut());
    let fault = c.fault_here(FaultKind::Value, "a body that cannot be");
    marks(&mut c, "body", body.len());
    if let Some(trace) = trace {
        marks(&mut Cursor::new(b")", raw.len().saturating_sub(1), Some(trace)), "end", 1);
    }
    let order = order.filter(|_| body.is_ascii()).ok_or(fault)?;
    Ok(Downlink::Round(Short::new(head.id.as_bytes()), order))
}

impl Order {
    /// From a command and its body. `None` if this command cannot have this body.
    pub(super) fn read(command: &str, body: &str) -> Option<Self> {
        let words = || Words::new(body);
        let digit = || body.bytes().next().filter(|d| body.len() == 1 && d.is_ascii_digit()).map(|d| d - b'0');
        let plain = |order: Self| body.is_empty().then_some(order);
        match command {
            "AP00" => plain(Self::Locate),
            "AP01" => Some(Self::Handshake(Short::new(body.as_bytes()))).filter(|_| body.len() <= Short::ROOM),
            "AP03" => plain(Self::ReadParameters),
            "AP04" => plain(Self::ReadStatus),
            "AP05" => plain(Self::Login),
            "AP07" => words().map(Self::Version),
            "AP11" => words().map(Self::Phones),
            "AP12" => words().map(Self::SpeedLimits),
            "AP15" => words().map(Self::Monitor),
            "AP17" => plain(Self::ReadPhones),
            "AR00" => {
                let part = |at: usize, length: usize| whole(body.as_bytes().get(at..at + length)?, 16);
                let (interval, hours, minutes) = (part(0, 4)?, part(4, 2)?, part(6, 2)?);
                let interval_s = u16::try_from(interval).ok().filter(|_| body.len() == 8)?;
                Some(Self::Track { interval_s, hours: u8::try_from(hours).ok()?, minutes: u8::try_from(minutes).ok()? })
            }
            "AS01" => digit().map(Self::Alarm),
            "AT00" => plain(Self::Restart),
            "AV00" => digit().map(Self::Circuit),
            "AV01" => digit().map(Self::Oil),
            "AX01" => plain(Self::ClearMileage),
            _ => Code::new(command).zip(words()).map(|(code, words)| Self::Other(code, words)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let digit = |d: &u8| b'0' + d % 10;
        let mut say = |command: &[u8], body: &[u8]| {
            out.extend_from_slice(command);
            out.extend_from_slice(body);
        };
        match self {
            Self::Locate => say(b"AP00", b""),
            Self::Handshake(word) => say(b"AP01", word.bytes()),
            Self::ReadParameters => say(b"AP03", b""),
            Self::ReadStatus => say(b"AP04", b""),
            Self::Login => say(b"AP05", b""),
            Self::Version(words) => say(b"AP07", words.0.as_bytes()),
            Self::Phones(words) => say(b"AP11", words.0.as_bytes()),
            Self::SpeedLimits(words) => say(b"AP12", words.0.as_bytes()),
            Self::Monitor(words) => say(b"AP15", words.0.as_bytes()),
            Self::ReadPhones => say(b"AP17", b""),
            Self::Track { interval_s, hours, minutes } => {
                say(b"AR00", format!("{interval_s:04X}{hours:02X}{minutes:02X}").as_bytes());
            }
            Self::Alarm(code) => say(b"AS01", &[digit(code)]),
            Self::Restart => say(b"AT00", b""),
            Self::Circuit(n) => say(b"AV00", &[digit(n)]),
            Self::Oil(n) => say(b"AV01", &[digit(n)]),
            Self::ClearMileage => say(b"AX01", b""),
            Self::Other(code, words) => say(&code.0, words.0.as_bytes()),
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::Locate => "report the position",
            Self::Handshake(_) => "handshake answer",
            Self::ReadParameters => "read parameters",
            Self::ReadStatus => "read status",
            Self::Login => "login answer",
            Self::Version(_) => "version or centre number",
            Self::Phones(_) => "telephone numbers",
            Self::SpeedLimits(_) => "speed limits",
            Self::Monitor(_) => "listen in",
            Self::ReadPhones => "read telephone numbers",
            Self::Track { .. } => "track",
            Self::Alarm(_) => "alarm answer",
            Self::Restart => "restart",
            Self::Circuit(_) => "circuit",
            Self::Oil(_) => "oil",
            Self::ClearMileage => "mileage from zero",
            Self::Other(..) => "maker's own",
        }
    }
}

impl Sms2 {
    /// Words without parameters.
    const PLAIN: [(&'static str, Self); 8] = [
        ("*getposl*", Self::Locate),
        ("*about*", Self::About),
        ("*turnoff*", Self::TurnOff),
        ("88888888", Self::Reset),
        ("*routetrack*99*", Self::Track),
        ("*routetrackoff*", Self::TrackOff),
        ("*soson*", Self::Sos(true)),
        ("*sosoff*", Self::Sos(false)),
    ];

    fn read(text: &str) -> Option<Self> {
        let plain = Self::PLAIN.into_iter().find(|(word, _)| *word == text).map(|(_, order)| order);
        let starred = || text.strip_prefix('*')?.strip_suffix('*').map(|inner| inner.split('*').collect::<Vec<_>>());
        let typed = || match *starred()?.as_slice() {
            ["sleep", n] => n.parse().ok().filter(|n| *n < 10).map(Self::Sleep),
            ["setip", a, b, c, d, port] => {
                let octet = |text: &str| text.parse::<u8>().ok();
                Some(Self::Server(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?), port.parse().ok()?))
            }
            ["master", password, phone] => Some(Self::Master { password: Words::single(password)?, phone: Words::single(phone)? }),
            _ => None,
        };
        let other = || Words::new(text).filter(|words| !words.0.is_empty() && !words.0.contains(',')).map(Self::Other);
        // what would not be written as it was read is kept as words
        plain.or_else(|| typed().filter(|order| order.text() == text)).or_else(other)
    }

    fn text(&self) -> String {
        let plain = Self::PLAIN.iter().find(|(_, order)| order == self).map(|(word, _)| (*word).to_owned());
        plain.unwrap_or_else(|| match self {
            Self::Sleep(n) => format!("*sleep*{n}*"),
            Self::Server(address, port) => {
                let [a, b, c, d] = address.octets();
                format!("*setip*{a}*{b}*{c}*{d}*{port}*")
            }
            Self::Master { password, phone } => format!("*master*{}*{}*", password.0, phone.0),
            Self::Other(words) => words.0.clone(),
            Self::Locate | Self::About | Self::TurnOff | Self::Reset | Self::Track | Self::TrackOff | Self::Sos(_) => {
                String::new() // found above
            }
        })
    }
}

/// One of each.
pub(super) fn samples() -> Vec<Downlink> {
    let words = |text: &str| Words::new(text).unwrap_or_default();
    let id = Short::new(b"013800000001");
    let orders = [
        Order::Locate,
        Order::Handshake(Short::new(b"HSO")),
        Order::ReadParameters,
        Order::ReadStatus,
        Order::Login,
        Order::Version(Words::default()),
        Order::Phones(words("13800000002")),
        Order::SpeedLimits(words("078000")),
        Order::Monitor(words("13800000003")),
        Order::ReadPhones,
        Order::Track { interval_s: 60, hours: 0, minutes: 0 },
        Order::Alarm(2),
        Order::Restart,
        Order::Circuit(1),
        Order::Oil(0),
        Order::ClearMileage,
    ];
    let own = Code::new("AA00").map(|code| Order::Other(code, words("1,2")));
    let sms2 = [
        Sms2::Sleep(2),
        Sms2::Server(Ipv4Addr::new(192, 0, 2, 1), 5002),
        Sms2::Master { password: words("123456"), phone: words("13800000004") },
        Sms2::Other(words("999999")),
    ];
    let plain = Sms2::PLAIN.into_iter().map(|(_, order)| order);
    let round = orders.into_iter().chain(own).map(|order| Downlink::Round(id, order));
    round.chain(plain.chain(sms2).map(Downlink::Sms2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(downlink: &Downlink) -> String {
        let mut out = Vec::new();
        encode(downlink, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<Downlink, Fault> {
        decode(text.as_bytes(), None)
    }

    #[test]
    fn frames_as_published() {
        let id = Short::new(b"123456789012345");
        let round = |order| written(&Downlink::Round(id, order));
        assert_eq!(round(Order::Track { interval_s: 60, hours: 0, minutes: 0 }), "(123456789012345AR00003C0000)");
        assert_eq!(round(Order::Track { interval_s: 0, hours: 0, minutes: 0 }), "(123456789012345AR0000000000)");
        assert_eq!(round(Order::Oil(0)), "(123456789012345AV010)");
        assert_eq!(round(Order::Circuit(1)), "(123456789012345AV001)");
        assert_eq!(round(Order::Login), "(123456789012345AP05)");
        let sms2 = |words| written(&Downlink::Sms2(words));
        assert_eq!(sms2(Sms2::Locate), "[begin]sms2,*getposl*,[end]");
        assert_eq!(sms2(Sms2::Server(Ipv4Addr::new(1, 2, 3, 4), 5555)), "[begin]sms2,*setip*1*2*3*4*5555*,[end]");
        let (password, phone) = (Words::single("232323").unwrap(), Words::single("+13800000001").unwrap());
        assert_eq!(sms2(Sms2::Master { password, phone }), "[begin]sms2,*master*232323*+13800000001*,[end]");
    }

    #[test]
    fn every_sample_is_another() {
        let samples = samples();
        for (i, sample) in samples.iter().enumerate() {
            assert_eq!(read(&written(sample)).as_ref(), Ok(sample));
            assert!(!samples[..i].contains(sample), "{sample:?}");
        }
    }

    #[test]
    fn frames_of_other_servers() {
        assert_eq!(
            read("(013800000001AR00001e0100)"),
            Ok(Downlink::Round(Short::new(b"013800000001"), Order::Track { interval_s: 30, hours: 1, minutes: 0 }))
        );
        assert_eq!(
            read("(013800000001AP0119a)"),
            Ok(Downlink::Round(Short::new(b"013800000001"), Order::Handshake(Short::new(b"19a"))))
        );
        assert_eq!(read("[begin]sms2,*sleep*02*,[end]"), Ok(Downlink::Sms2(Sms2::Other(Words::new("*sleep*02*").unwrap()))));
    }

    #[test]
    fn refuses_what_is_no_frame_to_a_device() {
        for bad in [
            "",
            "(013800000001AP05",
            "(013800000001AP05)(",
            "(013800000001AP05x)",
            "(013800000001AR00003C)",
            "(013800000001AR00003C000000)",
            "(013800000001AV01x)",
            "(013800000001BP05)",
            "(861200000000012,AP05,x)",
            "(013800000001AA00$)",
            "(013800000001AA00\u{e9})",
            "[begin]sms2,*getposl*,[end",
            "[begin]sms2,,[end]",
            "[begin]sms2,a,b,[end]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_hold_no_marks() {
        for bad in ["a(b", "a)b", "a$b", "a[b", "a]b", "a\nb", "é"] {
            assert_eq!(Words::new(bad), None, "{bad}");
        }
        assert_eq!(Words::new(&"x".repeat(MAX_WORDS + 1)), None);
        assert_eq!(Words::single("1*2"), None);
        assert_eq!(Code::new("BP05"), None);
        assert_eq!(Code::new("AP0G"), None);
        assert_eq!(Short::new(&[b'1'; 30]).bytes().len(), Short::ROOM);
    }
}
