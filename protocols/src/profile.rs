//! Vendor differences as data: what a device profile may say, and which profile a device has.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Sha256;

use crate::event::{OrderAction, Reason};
use crate::session::Recall;

/// What the sessions of a listener need to know.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Tried in order; the first that fits a device is its profile.
    pub profiles: Vec<Arc<Profile>>,
    /// Authentication of devices that can authenticate.
    pub auth: Auth,
    /// Prepended to every device id.
    pub device_prefix: String,
    /// What earlier sessions of the devices left.
    pub recall: Recall,
}

impl Settings {
    /// The profile of a device of this protocol, as far as it is known yet.
    pub fn profile(&self, protocol: &str, device_id: Option<&str>, model: Option<&str>) -> Arc<Profile> {
        let found = self.profiles.iter().find(|p| p.fits(protocol, device_id, model));
        found.cloned().unwrap_or_default()
    }
}

/// One `[[profile]]` of the configuration: whom it is for, then what is different there. What is absent is the protocol's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Only devices of this protocol.
    pub protocol: Option<String>,
    /// Only devices whose id starts so.
    pub id_prefix: Option<String>,
    /// Only devices that call themselves so at registration.
    pub model: Option<String>,
    /// Offset of the device's clock from UTC, `+08:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZone>,
    /// What to do with a frame whose checksum is wrong.
    pub checksum: ChecksumPolicy,
    /// Charset of text on the wire; absent: the protocol's own.
    pub charset: Option<Charset>,
    /// What to do with characters of a text that the charset has not.
    pub unshowable: Unshowable,
    /// What drivers read, where the backend does not say it itself.
    pub templates: Templates,
    /// Keys of the device that are actions on an order; absent: those of [`Button::usual`], while the device has an order.
    pub buttons: Option<Vec<Button>>,
    /// ISO 4217 code of the amounts that the device reports.
    pub currency: Option<String>,
    /// Name of a dialect of the protocol (`navgate protocols` lists them); absent: the common readings.
    pub dialect: Option<String>,
    /// The device wants each part of a split message acknowledged: parts are stored one by one.
    pub ack_each_packet: bool,
}

impl Profile {
    fn fits(&self, protocol: &str, device_id: Option<&str>, model: Option<&str>) -> bool {
        let said = |wanted: &Option<String>, have: Option<&str>, fits: fn(&str, &str) -> bool| match wanted {
            None => true,
            Some(wanted) => have.is_some_and(|have| fits(have, wanted)),
        };
        said(&self.protocol, Some(protocol), |a, b| a == b)
            && said(&self.id_prefix, device_id, |a, b| a.starts_with(b))
            && said(&self.model, model, |a, b| a == b)
    }
}

/// The row of a protocol's table that has the name of a dialect, else the common readings.
pub fn row<'t, T>(dialect: Option<&str>, rows: &'t [T], name: impl Fn(&T) -> &str, common: &'t T) -> &'t T {
    dialect.and_then(|dialect| rows.iter().find(|row| name(row) == dialect)).unwrap_or(common)
}

/// What to do with a frame whose checksum is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumPolicy {
    /// It goes to the rejects and is not acknowledged.
    #[default]
    Reject,
    /// For clones that compute it wrong: it is decoded as if it were right, and counted.
    AcceptAndCount,
}

/// What to do with characters of a text that a device's charset has not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unshowable {
    /// The nearest ASCII that a driver can read: `é` becomes `e`.
    #[default]
    Transliterate,
    /// The command ends `invalid`, and its outcome names the character.
    Refuse,
}

/// A key of a device that is an action on an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    /// The number that the device sends.
    pub id: u16,
    /// What it means.
    pub action: OrderAction,
    /// Why, where the key says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What the driver reads on it, where the gateway may write that.
    pub text: String,
}

impl Button {
    /// The answers to an offer, for a device that can only show it.
    pub fn answers(templates: &Templates) -> [Self; 2] {
        let answer = |id, action, text: &str| Self { id, action, reason: None, text: text.to_owned() };
        [answer(7, OrderAction::Accepted, &templates.accept), answer(8, OrderAction::Declined, &templates.decline)]
    }

    /// The steps of an order, and what a driver has to say about one that cannot be driven.
    pub fn usual() -> Vec<Self> {
        let usual = [
            (1, OrderAction::Arrived, None, "Arrived"),
            (2, OrderAction::PickedUp, None, "Passenger in"),
            (3, OrderAction::Completed, None, "Completed"),
            (4, OrderAction::NoShow, Some(Reason::NoCustomer), "No passenger"),
            (5, OrderAction::Flagged, Some(Reason::FakeOrder), "Fake order"),
            (6, OrderAction::Cancelled, Some(Reason::Driver), "Give back"),
        ];
        usual.into_iter().map(|(id, action, reason, text)| Self { id, action, reason, text: text.to_owned() }).collect()
    }
}

/// Texts for screens, with fields of the order in braces: `{pickup}`, `{destination}`, `{time}`, `{type}`, `{fare}`, `{fee}`,
/// `{distance_km}`, `{remark}`, `{order_id}`, and for the winner `{name}` and `{phone}`. A `[` … `]` around a field and its
/// words is left out where the order does not say the field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// An offer. Neither passenger nor coordinates are ever filled in here.
    pub offer: String,
    /// For the winner.
    pub won: String,
    /// For the others.
    pub lost: String,
    /// The order is no more.
    pub cancelled: String,
    /// The answer to an offer that takes it, without fields.
    pub accept: String,
    /// The answer to an offer that does not, without fields.
    pub decline: String,
    /// The driver may take orders: `{driver_id}`, `{name}`, `{reason}`. Empty: not told.
    pub authorized: String,
    /// The driver may not; also told when this driver signs on or accepts all the same. Empty: not told.
    pub refused: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            offer: "{pickup}[ {time}][ -> {destination}][ {distance_km} km][ {fare}][ +{fee}][ {remark}]".into(),
            won: "OK {pickup}[ {time}][ -> {destination}][ {name}][ {phone}][ {fare}][ {remark}]".into(),
            lost: "{order_id}: taken by another driver".into(),
            cancelled: "{order_id}: cancelled[ ({reason})]".into(),
            accept: "Accept".into(),
            decline: "Decline".into(),
            authorized: "[{name}: ]you may take orders".into(),
            refused: "[{name}: ]you may not take orders[ ({reason})]".into(),
        }
    }
}

/// Charset of text on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    /// GBK, read as its superset GB 18030.
    Gbk,
    /// The same less what screens with the glyphs of GB 2312 alone cannot show: rare and traditional characters.
    Gb2312,
    /// 7-bit ASCII.
    Ascii,
    /// UTF-8.
    Utf8,
}

/// A fixed offset from UTC, written `+08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone {
    /// Seconds east of UTC.
    pub offset_s: i32,
}

impl TimeZone {
    /// UTC+8, the time of all of China.
    pub const CHINA: Self = Self { offset_s: 8 * 3600 };
    /// UTC itself.
    pub const UTC: Self = Self { offset_s: 0 };

    /// Parse `+08:00`, `-03:30` or `Z`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "Z" {
            return Some(Self::UTC);
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 || !rest.bytes().all(|b| b.is_ascii_digit() || b == b':') {
            return None;
        }
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours <= 14 && minutes < 60).then_some(Self { offset_s: sign * (hours * 3600 + minutes * 60) })
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("time zone `{text}` is not of the form +08:00")))
    }
}

impl Serialize for TimeZone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (sign, s) = if self.offset_s < 0 { ('-', -self.offset_s) } else { ('+', self.offset_s) };
        serializer.collect_str(&format_args!("{sign}{:02}:{:02}", s / 3600, s / 60 % 60))
    }
}

/// Codes that any instance can verify without shared state: an HMAC of the device's identity with a secret of the cluster.
#[derive(Clone, Default)]
pub struct Auth {
    /// Whether nothing but registration and authentication is served before a good code.
    pub required: bool,
    /// The first signs, all verify: so a secret can be replaced without locking anybody out.
    pub secrets: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth {{ required: {}, secrets: {} }}", self.required, self.secrets.len())
    }
}

/// Bytes of the HMAC that go into a code: 64 bits cannot be guessed over a network, and 16 hex digits fit every terminal's memory.
const CODE_BYTES: usize = 8;

impl Auth {
    /// The code for a device.
    pub fn code(&self, device_id: &str) -> String {
        let secret = self.secrets.first().map_or(&[][..], Vec::as_slice);
        crate::cursor::hex(&Self::mac(secret, device_id).finalize().into_bytes()[..CODE_BYTES])
    }

    /// Whether this is a code of ours for this device; in constant time for each secret.
    pub fn verify(&self, device_id: &str, code: &str) -> bool {
        let Some(code) = crate::cursor::unhex(code).filter(|c| c.len() == CODE_BYTES) else {
            return false;
        };
        self.secrets.iter().any(|secret| Self::mac(secret, device_id).verify_truncated_left(&code).is_ok())
    }

    fn mac(secret: &[u8], device_id: &str) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(secret);
        // HMAC takes keys of any length; the error type exists for other MACs
        let mut mac = mac.unwrap_or_else(|_| <Hmac<Sha256> as KeyInit>::new(&Default::default()));
        mac.update(b"navgate device code v1\n");
        mac.update(device_id.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones() {
        assert_eq!(TimeZone::parse("+08:00"), Some(TimeZone::CHINA));
        assert_eq!(TimeZone::parse("-03:30"), Some(TimeZone { offset_s: -12600 }));
        for bad in ["", "8", "+8", "+08", "+08:60", "+15:00", "+0x:00", "08:00"] {
            assert_eq!(TimeZone::parse(bad), None, "{bad}");
        }
        let text = serde_json::to_string(&TimeZone { offset_s: -12600 }).unwrap();
        assert_eq!(text, "\"-03:30\"");
    }

    #[test]
    fn buttons_are_data() {
        let buttons = serde_json::json!({"buttons": [{"id": 9, "action": "no_show", "reason": "no_customer", "text": "X"}]});
        let profile: Profile = serde_json::from_value(buttons).unwrap();
        assert_eq!(profile.buttons.unwrap()[0].action, OrderAction::NoShow);
        assert!(
            serde_json::from_value::<Profile>(serde_json::json!({"buttons": [{"id": 9, "action": "dance", "text": ""}]})).is_err()
        );
        let usual = Button::usual();
        assert!(usual.is_sorted_by(|a, b| a.id < b.id), "each number once");
    }

    #[test]
    fn the_first_profile_that_fits_wins() {
        let profile = |protocol: Option<&str>, prefix: Option<&str>, dialect: &str| {
            Arc::new(Profile {
                protocol: protocol.map(Into::into),
                id_prefix: prefix.map(Into::into),
                dialect: Some(dialect.into()),
                ..Profile::default()
            })
        };
        let settings = Settings {
            profiles: vec![profile(Some("jt808"), Some("138"), "a"), profile(Some("jt808"), None, "b")],
            ..Settings::default()
        };
        let dialect = |p: &str, id| settings.profile(p, id, None).dialect.clone();
        assert_eq!(dialect("jt808", Some("13800000001")).as_deref(), Some("a"));
        assert_eq!(dialect("jt808", Some("139")).as_deref(), Some("b"));
        assert_eq!(dialect("jt808", None).as_deref(), Some("b"));
        assert_eq!(dialect("gt06", Some("138")), None);
    }

    #[test]
    fn codes_verify_across_a_change_of_secret() {
        let old = Auth { secrets: vec![b"old".to_vec()], ..Auth::default() };
        let new = Auth { secrets: vec![b"new".to_vec(), b"old".to_vec()], ..Auth::default() };
        let code = old.code("13800000001");
        assert_eq!(code.len(), 2 * CODE_BYTES);
        assert!(new.verify("13800000001", &code));
        assert!(new.verify("13800000001", &new.code("13800000001")));
        assert!(!new.verify("13800000002", &code));
        assert!(!old.verify("13800000001", &new.code("13800000001")));
        assert!(!new.verify("13800000001", "13800000001"));
        assert!(!new.verify("13800000001", ""));
    }
}
