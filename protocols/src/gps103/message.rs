//! From a frame to a message.

use crate::cursor::Trace;
use crate::fault::{Fault, FaultKind};
use crate::gps103::clock::Zones;
use crate::gps103::dialect::Dialect;
use crate::gps103::fields::Fields;
use crate::gps103::frame::photo_part;
use crate::gps103::keywords::{self, Says};
use crate::gps103::read::{self, Facts};
use crate::gps103::vehicle;
use crate::profile::Profile;
use crate::wire::Frame;

/// A message.
#[derive(Debug)]
pub(super) struct Message<'f> {
    /// The identity as sent, digits only.
    pub(super) imei: &'f str,
    /// What it is about.
    pub(super) keyword: &'f str,
    /// Everything behind the identity, the keyword included.
    pub(super) body: &'f str,
    /// A heartbeat without an end stood before it.
    pub(super) behind_heartbeat: bool,
    /// So short that units take it for a sign-on.
    pub(super) short: bool,
    /// What it says.
    pub(super) content: Content<'f>,
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Content<'f> {
    /// Who it is.
    SignOn,
    /// Nothing.
    Heartbeat,
    /// What it reports.
    Report(Facts<'f>),
    /// Something about an order; `number` is the dispatch centre's.
    Order { step: OrderStep, number: Option<&'f str>, facts: Facts<'f> },
    /// The bytes of a photo's part, head and sum included.
    PhotoPart(Vec<u8>),
    /// Words that no document has.
    Unknown,
}

/// What the device says about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderStep {
    /// 171: an offer stands on the screen.
    Delivered,
    /// 172 to 174: so does the news about an order.
    Told,
    /// 175: the driver takes it.
    Accepted,
    /// 176: the driver gives it up.
    Cancelled,
    /// 177: the passenger is in, or out.
    Key,
}

/// The codes of the order cycle, with a title for a person.
const ORDER_STEPS: &[(&str, OrderStep, &str)] = &[
    ("171", OrderStep::Delivered, "order offer received"),
    ("172", OrderStep::Told, "order won, received"),
    ("173", OrderStep::Told, "order lost, received"),
    ("174", OrderStep::Told, "order cancelled, received"),
    ("175", OrderStep::Accepted, "order accepted"),
    ("176", OrderStep::Cancelled, "order given up by the driver"),
    ("177", OrderStep::Key, "passenger in, or order finished"),
];

/// Up to this many characters a message with an identity is answered like a sign-on.
const SHORT: usize = 30;

/// Digits of an identity.
const ID_DIGITS: std::ops::RangeInclusive<usize> = 10..=17;

/// Read a message.
pub(super) fn decode<'f>(
    frame: &Frame<'f>,
    zones: Zones,
    profile: &Profile,
    trace: Option<&mut Trace>,
) -> Result<Message<'f>, Fault> {
    let text = std::str::from_utf8(frame.content)
        .map_err(|e| Fault::new(FaultKind::Value, e.valid_up_to(), "a byte that no text of this protocol has"))?;
    let mut fields = Fields::new(text, 0, trace);
    let message = |imei, content| Message { imei, keyword: "", body: "", behind_heartbeat: false, short: false, content };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        fields.title(|| "heartbeat".to_owned());
        fields.next("imei");
        return Ok(message(text, Content::Heartbeat));
    }
    let sign_on = text.starts_with("##");
    if sign_on {
        fields.next("mark");
    }
    let head = fields.next("imei").unwrap_or_default();
    let (before, imei) = head.split_once("imei:").unwrap_or(("", ""));
    if !ID_DIGITS.contains(&imei.len()) || !imei.bytes().all(|b| b.is_ascii_digit()) {
        let at = text.find("imei:").map_or(0, |mark| mark + "imei:".len());
        return Err(Fault::new(FaultKind::Value, at, format!("`{}` is no identity", imei.escape_debug())));
    }
    if sign_on {
        fields.title(|| "sign-on".to_owned());
        fields.take_rest("letter");
        return Ok(message(imei, Content::SignOn));
    }
    let body = fields.rest().unwrap_or_default();
    let mut message = Message {
        imei,
        keyword: fields.peek(0).unwrap_or_default(),
        body,
        behind_heartbeat: !before.is_empty(),
        short: frame.raw.len() <= SHORT,
        content: Content::Heartbeat,
    };
    message.content = content(text, &message, &mut fields, zones, Dialect::of(profile))?;
    Ok(message)
}

fn content<'f>(
    text: &'f str,
    message: &Message<'f>,
    fields: &mut Fields<'f, '_>,
    zones: Zones,
    dialect: &Dialect,
) -> Result<Content<'f>, Fault> {
    let keyword = message.keyword;
    fields.next("keyword");
    let title = |title: &str| format!("{keyword}: {title}");
    match keyword {
        "L" | "" if fields.peek(1).is_none() => {
            fields.title(|| "heartbeat".to_owned());
            return Ok(Content::Heartbeat);
        }
        "OBD" => {
            fields.title(|| title("values of the vehicle"));
            return Ok(Content::Report(vehicle::obd(fields, zones)));
        }
        "TPMS" => {
            fields.title(|| title("tyres"));
            return Ok(Content::Report(vehicle::tyres(fields, zones)));
        }
        "vr" => {
            fields.title(|| title("part of a photo"));
            fields.next("bytes");
            let part = photo_part(text.get(text.len() - message.body.len() - 1..).unwrap_or_default());
            let fault = || Fault::new(FaultKind::Value, text.len() - message.body.len(), "the part of a photo is no hex");
            return part.map(Content::PhotoPart).ok_or_else(fault);
        }
        _ => {}
    }
    if let Some((_, step, words)) = ORDER_STEPS.iter().find(|(code, ..)| *code == keyword) {
        fields.title(|| title(words));
        // some units leave the number out; what says so is where the letter of the fix stands
        let named = !matches!(fields.peek(2), Some("F" | "L"));
        let number = if named { fields.next("order").filter(|n| !n.is_empty()) } else { None };
        let (says, _) = keywords::find(keyword);
        let facts = read::report(fields, says, zones, dialect).unwrap_or_default();
        return Ok(Content::Order { step: *step, number, facts });
    }
    let (says, extras) = keywords::find(keyword);
    let is_answer = keywords::answer(keyword, says).is_some();
    fields.title(|| title(if is_answer && says == &keywords::OTHER { "command answer" } else { says.title }));
    let expected = says.alarm.is_some() || says.says != Says::Event || is_answer;
    match read::report(fields, says, zones, dialect) {
        Some(mut facts) => {
            read::keyword(&mut facts, keyword, says, extras);
            Ok(Content::Report(facts))
        }
        // a word that means something is not lost because little stands behind it
        None if expected && says != &keywords::TRACKER => {
            let mut facts = read::bare(fields, zones);
            read::keyword(&mut facts, keyword, says, extras);
            Ok(Content::Report(facts))
        }
        None if says == &keywords::TRACKER && fields.peek(0).is_none() => Ok(Content::Heartbeat),
        None => {
            fields.take_rest("rest");
            Ok(Content::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gps103::frame;
    use crate::wire::Cut;

    fn heard(text: &str) -> Result<String, FaultKind> {
        let line = format!("{text};");
        let Cut::Frame(frame) = frame::cut(line.as_bytes(), false) else { panic!("{text}") };
        decode(&frame, Zones::default(), &Profile::default(), None).map_err(|f| f.kind).map(|m| match m.content {
            Content::Order { step, number, facts } => format!("{step:?} {number:?} {:?}", facts.report.latitude),
            Content::Report(facts) => format!("report {}", facts.located),
            Content::PhotoPart(bytes) => format!("part {}", bytes.len()),
            other => format!("{other:?} {} {}", m.imei, m.short),
        })
    }

    #[test]
    fn tells_messages_apart() {
        for (text, is) in [
            ("##,imei:861200000000012,A", "SignOn 861200000000012 false"),
            ("861200000000012", "Heartbeat 861200000000012 false"),
            ("imei:861200000000012,L,", "Heartbeat 861200000000012 true"),
            ("imei:861200000000012,tracker,000000000,13800000001,L,", "report false"),
            ("imei:861200000000012,vr,00000200ffd8d901", "part 8"),
            ("imei:861200000000012,TPMS,260301180000,1,0", "report false"),
            ("imei:861200000000012,OBD,260301180000", "report false"),
            ("imei:861200000000012,help me", "report false"),
            ("imei:861200000000012,109", "report false"),
            ("imei:861200000000012,what is this,1,2", "Unknown 861200000000012 false"),
        ] {
            assert_eq!(heard(text).as_deref(), Ok(is), "{text}");
        }
    }

    #[test]
    fn orders_have_their_number_before_the_time() {
        let place = "0809231929, ,F,055403.000,A,2233.1870,N,11354.3067,E,0.00,,";
        assert_eq!(
            heard(&format!("imei:861200000000012,175,1301220909091,{place}")).as_deref(),
            Ok("Accepted Some(\"1301220909091\") Some(22.5531167)")
        );
        assert_eq!(heard(&format!("imei:861200000000012,177,{place}")).as_deref(), Ok("Key None Some(22.5531167)"));
        assert_eq!(heard("imei:861200000000012,176,1301220909091").as_deref(), Ok("Cancelled Some(\"1301220909091\") None"));
        assert_eq!(heard("imei:861200000000012,171").as_deref(), Ok("Delivered None None"));
    }

    #[test]
    fn refuses_identities_that_are_none() {
        assert_eq!(heard("imei:8612,tracker"), Err(FaultKind::Value));
        assert_eq!(heard("imei:86120000000001x,tracker"), Err(FaultKind::Value));
        assert_eq!(heard("imei:861200000000012,vr,0"), Err(FaultKind::Value));
    }
}
