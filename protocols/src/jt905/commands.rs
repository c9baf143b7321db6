//! Commands of the backend in the protocol's words.

use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::dialect::{Dialect, Lost, Won as WonForm};
use super::downlink::business::{Cancel, Offer, Verdict, Won, WonShort, order_type};
use super::downlink::control::{Control, Nothing, Parameter, TakePicture, Track, VehicleControl, track};
use super::downlink::fields::{Bytes, Many, Packed, Phone, Sized8, Tail, Text, When};
use super::downlink::screen::{Call, Choice, MAX_CHOICE, MAX_CHOICES, MAX_PHONE, MAX_QUESTION, MAX_TEXT, Question, Show, flag};
use super::downlink::{Downlink, Message};
use super::message::id;
use super::parameters::{self, Form};
use crate::command::{self, Assign, Kind, OfferType, Stop};
use crate::cursor::unhex;
use crate::desk::{Confirms, Errand, Key, Plan, Retry, Unfit};
use crate::event::Money;
use crate::parts::{bcd, template, text};
use crate::profile::{Charset, Profile};

/// What can be expressed, and what the terminal says to it.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("order_offer", Confirms::Answer),
    ("order_assign", Confirms::Receipt),
    ("order_cancel", Confirms::Receipt),
    ("text", Confirms::Receipt),
    ("question", Confirms::Answer),
    ("alarm_confirm", Confirms::Receipt),
    ("locate", Confirms::Answer),
    ("reboot", Confirms::Receipt),
    ("take_photo", Confirms::Answer),
    ("track", Confirms::Receipt),
    ("call", Confirms::Receipt),
    ("output", Confirms::Answer),
    ("set_parameters", Confirms::Receipt),
    ("query_parameters", Confirms::Answer),
    ("raw", Confirms::Receipt),
];

/// The standard's repeats: T(N+1) = T(N) x (N+1). Ten seconds and three repeats are what terminals themselves were seen to do.
pub(super) const RETRY: Retry = Retry { first: Duration::from_secs(10), times: 3, grows: true };

/// A command in the protocol's words.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) message: Message,
    /// What was left out or changed.
    pub(super) warnings: Vec<String>,
    /// Of a question: the backend's ids of the answers, by the terminal's.
    pub(super) choices: Vec<(u8, String)>,
}

impl From<Message> for Words {
    fn from(message: Message) -> Self {
        Self { message, warnings: Vec::new(), choices: Vec::new() }
    }
}

/// Put a command into words. `question` is the number that a question gets.
pub(super) fn words(kind: &Kind, question: u32, errand: &mut Errand<'_>) -> Result<Words, Unfit> {
    Ok(match kind {
        Kind::OrderOffer(offer) => return offered(kind, offer, errand),
        Kind::OrderAssign(Assign::Won(offer)) => return won(kind, offer, errand),
        Kind::OrderAssign(Assign::Lost(order)) => {
            let lost = Cancel { business_id: business_id(order, errand) };
            match dialect(errand).lost {
                Lost::ShortAnswer => Message::Verdict(Verdict::Lost(lost)),
                Lost::Cancel => cancelled(lost, errand),
            }
            .into()
        }
        Kind::OrderCancel(cancel) => {
            let message = cancelled(Cancel { business_id: business_id(&cancel.order_id, errand) }, errand);
            let reason = cancel.reason.as_ref().map(|_| "order_cancel.reason: a cancel has no words here".to_owned());
            Words { warnings: reason.into_iter().collect(), ..message.into() }
        }
        Kind::Text(said) => return show(said, errand),
        Kind::Question(asked) => return ask(asked, question, errand),
        Kind::AlarmConfirm(confirm) => match confirm.end {
            Some(true) => Message::EndAlarm(Nothing {}),
            _ => Message::ConfirmAlarm(Nothing {}),
        }
        .into(),
        Kind::Locate(_) => Message::QueryPosition(Nothing {}).into(),
        Kind::Reboot(_) => Message::Control(Control::Other(Control::RESTART, Bytes(Vec::new()))).into(),
        Kind::TakePhoto(photo) => take_photo(photo)?.into(),
        Kind::Track(wanted) => follow(wanted)?.into(),
        Kind::Call(call) => {
            let kind = u8::from(call.listen_only == Some(true));
            let mut warnings = Vec::new();
            let phone = shown("call.phone", &call.phone.0, MAX_PHONE, errand, &mut warnings)?;
            Words { warnings, ..Message::Call(Call { kind, phone: Tail(phone) }).into() }
        }
        Kind::Output(output) => switch(output)?.into(),
        Kind::SetParameters(set) => set_parameters(set, errand)?.into(),
        Kind::QueryParameters(query) => query_parameters(query)?.into(),
        Kind::OrderList(_) | Kind::DriverAuthorization(_) | Kind::Raw(_) => return Err(Unfit::Unsupported),
    })
}

fn dialect(errand: &Errand<'_>) -> &'static Dialect {
    Context::new(errand.profile()).dialect
}

fn business_id(order: &command::OrderId, errand: &mut Errand<'_>) -> u32 {
    u32::try_from(errand.number(order, u32::MAX.into())).unwrap_or(u32::MAX)
}

/// Text that fits into so many bytes, its end included.
fn shown(field: &str, said: &str, max: usize, errand: &Errand<'_>, warnings: &mut Vec<String>) -> Result<Text, Unfit> {
    let bytes = errand.text(said, Charset::Gbk).map_err(|unfit| match unfit {
        Unfit::Field(why) => Unfit::Field(format!("{field}: {why}")),
        other => other,
    })?;
    let charset = errand.profile().charset.unwrap_or(Charset::Gbk);
    let fitting = text::within(&bytes, max - 1, charset);
    if fitting.len() < bytes.len() {
        warnings.push(format!("{field}: {} of {} bytes fit", fitting.len(), bytes.len()));
    }
    Ok(Text::new(fitting))
}

const fn order_type(offer: OfferType) -> u8 {
    match offer {
        OfferType::Immediate => order_type::IMMEDIATE,
        OfferType::Reserved => order_type::RESERVED,
        OfferType::Assigned => order_type::ASSIGNED,
    }
}

/// When the passenger wants to be fetched, by the driver's clock.
fn wanted(pickup: &Stop, errand: &Errand<'_>) -> When {
    When(pickup.time.map(|time| time.civil(Context::new(errand.profile()).zone.offset_s)))
}

fn offered(kind: &Kind, offer: &command::Offer, errand: &mut Errand<'_>) -> Result<Words, Unfit> {
    let mut warnings = Vec::new();
    let text = order_text(kind, "order_offer.text", errand, &mut warnings)?;
    let (order_type, wanted) = (order_type(offer.offer_type), wanted(&offer.pickup, errand));
    let business_id = business_id(&offer.order_id, errand);
    Ok(Words { warnings, ..Message::Offer(Offer { business_id, order_type, wanted, text: Tail(text) }).into() })
}

fn order_text(kind: &Kind, field: &str, errand: &Errand<'_>, warnings: &mut Vec<String>) -> Result<Text, Unfit> {
    let (profile, zone) = (errand.profile(), Context::new(errand.profile()).zone);
    let text = template::order_text(kind, profile, zone).unwrap_or_default();
    shown(field, &text, MAX_TEXT, errand, warnings)
}

fn won(kind: &Kind, offer: &command::Offer, errand: &mut Errand<'_>) -> Result<Words, Unfit> {
    let mut warnings = Vec::new();
    let text = Tail(order_text(kind, "order_assign.text", errand, &mut warnings)?);
    let phone = Phone(phone(offer, errand, &mut warnings)?);
    let (order_type, business_id) = (order_type(offer.offer_type), business_id(&offer.order_id, errand));
    let verdict = match dialect(errand).won {
        WonForm::Short => Verdict::WonShort(WonShort { business_id, order_type, phone, text }),
        WonForm::Full => {
            let (pickup_longitude, pickup_latitude) = place("pickup", Some(&offer.pickup), errand, &mut warnings);
            let to = offer.destination.as_ref();
            let (destination_longitude, destination_latitude) = place("destination", to, errand, &mut warnings);
            Verdict::Won(Won {
                business_id,
                order_type,
                wanted: wanted(&offer.pickup, errand),
                pickup_longitude,
                pickup_latitude,
                destination_longitude,
                destination_latitude,
                fee: fee(offer.fee.as_ref(), &mut warnings)?,
                phone,
                text,
            })
        }
    };
    Ok(Words { warnings, ..Message::Verdict(verdict).into() })
}

/// The passenger's number. Where the terminal counts its bytes, it is the last digits that can be dialled.
fn phone(offer: &command::Offer, errand: &Errand<'_>, warnings: &mut Vec<String>) -> Result<Text, Unfit> {
    let said = offer.passenger.as_ref().and_then(|p| p.phone.as_ref()).map_or("", |phone| phone.0.as_str());
    let Some(width) = dialect(errand).phone_width else {
        return shown("order_assign.passenger.phone", said, MAX_PHONE, errand, warnings);
    };
    let digits: Vec<u8> = said.bytes().filter(u8::is_ascii_digit).collect();
    let from = digits.len().saturating_sub(width);
    if from > 0 {
        warnings.push(format!("order_assign.passenger.phone: the last {width} digits fit"));
    }
    Ok(Text::new(digits.get(from..).unwrap_or_default()))
}

/// Longitude and latitude; zeros where there is no place that can be said.
fn place(field: &str, stop: Option<&Stop>, errand: &Errand<'_>, warnings: &mut Vec<String>) -> (u32, u32) {
    let Some((latitude, longitude)) = stop.and_then(|stop| stop.latitude.zip(stop.longitude)) else {
        return (0, 0);
    };
    if latitude < 0.0 || longitude < 0.0 {
        warnings.push(format!("order_assign.{field}: there is no south and no west here"));
        return (0, 0);
    }
    let units = |degrees: f64| (degrees * dialect(errand).order_per_degree).round() as u32;
    (units(longitude), units(latitude))
}

/// Most tenths of a yuan that four digits hold.
const MAX_FEE: u32 = 9999;

fn fee(fee: Option<&Money>, warnings: &mut Vec<String>) -> Result<Packed<2>, Unfit> {
    let Some(Money { amount, .. }) = fee else {
        return Ok(Packed::default());
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    let (first, rest) = fraction.split_at_checked(1).unwrap_or(("0", ""));
    let tenths =
        whole.parse::<u32>().ok().and_then(|n| n.checked_mul(10)).zip(first.parse::<u32>().ok()).map(|(n, tenth)| n + tenth);
    if rest.bytes().any(|b| b != b'0') {
        warnings.push("order_assign.fee: tenths are shown".into());
    }
    tenths
        .filter(|tenths| *tenths <= MAX_FEE)
        .and_then(Packed::new)
        .ok_or_else(|| Unfit::Field("order_assign.fee: at most 999.9 can be shown".into()))
}

fn cancelled(cancel: Cancel, errand: &Errand<'_>) -> Message {
    match dialect(errand).cancel {
        id::CANCELLED_UNINEW => Message::CancelUninew(cancel),
        _ => Message::Cancel(cancel),
    }
}

fn show(said: &command::Text, errand: &Errand<'_>) -> Result<Words, Unfit> {
    let mut warnings = Vec::new();
    let text = shown("text.text", &said.text, MAX_TEXT, errand, &mut warnings)?;
    let speak = said.speak == Some(true);
    // what is neither to be shown nor spoken would not be told at all
    let display = said.display != Some(false) || !speak;
    let flags = [(said.urgent == Some(true), flag::URGENT), (display, flag::DISPLAY), (speak, flag::SPEAK)];
    let flags = flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit);
    Ok(Words { warnings, ..Message::Show(Show { flags, text: Tail(text) }).into() })
}

fn ask(asked: &command::Question, number: u32, errand: &Errand<'_>) -> Result<Words, Unfit> {
    if !(1..=MAX_CHOICES).contains(&asked.answers.len()) {
        return Err(Unfit::Field(format!("question.answers: 1 to {MAX_CHOICES} answers can be shown")));
    }
    let mut warnings = Vec::new();
    let text = shown("question.text", &asked.text, MAX_QUESTION, errand, &mut warnings)?;
    let numbers = answer_numbers(asked);
    let mut choices = Vec::with_capacity(numbers.len());
    for (answer, id) in asked.answers.iter().zip(&numbers) {
        choices.push(Choice { id: *id, text: shown("question.answers", &answer.text, MAX_CHOICE, errand, &mut warnings)? });
    }
    let message = Message::Ask(Question { flags: flag::SPEAK, id: number, text, choices: Many(choices) });
    let choices = numbers.into_iter().zip(asked.answers.iter().map(|answer| answer.id.clone())).collect();
    Ok(Words { message, warnings, choices })
}

/// The backend's ids where they are numbers of one byte, each another, else numbers from 1.
fn answer_numbers(asked: &command::Question) -> Vec<u8> {
    let own: Option<Vec<u8>> = asked.answers.iter().map(|answer| answer.id.parse().ok()).collect();
    let distinct = |ids: &Vec<u8>| ids.iter().enumerate().all(|(n, id)| !ids.iter().skip(n + 1).any(|other| other == id));
    own.filter(distinct).unwrap_or_else(|| (1..).take(asked.answers.len()).collect())
}

/// The first camera, and what vendors' platforms ask of it: 640x480, middling everything, uploaded at once.
fn take_photo(photo: &command::TakePhoto) -> Result<Message, Unfit> {
    let camera = u8::try_from(photo.channel.unwrap_or(1));
    let camera = camera.map_err(|_| Unfit::Field("take_photo.channel: cameras have numbers up to 255".into()))?;
    Ok(Message::TakePicture(TakePicture {
        camera,
        command: 1,
        seconds: 0,
        store: 0,
        resolution: 1,
        quality: 5,
        brightness: 128,
        contrast: 64,
        saturation: 64,
        chroma: 128,
    }))
}

fn follow(wanted: &command::Track) -> Result<Message, Unfit> {
    let interval = u16::try_from(wanted.interval_s);
    let interval = interval.map_err(|_| Unfit::Field("track.interval_s: at most 65535".into()))?;
    let attribute = if interval == 0 { track::STOP } else { track::SECONDS };
    Ok(Message::Track(Track { attribute, interval, duration: wanted.duration_s.unwrap_or(u32::MAX) }))
}

static OUTPUTS: [&str; 4] = ["fuel", "circuit", "doors", "lock"];

fn switch(output: &command::Output) -> Result<Message, Unfit> {
    let item = OUTPUTS.iter().position(|name| *name == output.name).and_then(|n| u8::try_from(n).ok());
    let item = item.or_else(|| output.name.parse().ok());
    let item = item.ok_or_else(|| Unfit::Field(format!("output.name: {} or a number", OUTPUTS.join(", "))))?;
    Ok(Message::ControlVehicle(VehicleControl { item, command: u8::from(output.state) }))
}

/// The id of a parameter by its name or number.
fn parameter(name: &str, field: &str) -> Result<u16, Unfit> {
    let number = || u16::from_str_radix(name.strip_prefix("0x")?, 16).ok();
    parameters::id_of(name).or_else(number).ok_or_else(|| Unfit::Field(format!("{field}: there is no parameter `{name}`")))
}

fn set_parameters(set: &command::SetParameters, errand: &Errand<'_>) -> Result<Message, Unfit> {
    if set.values.is_empty() {
        return Err(Unfit::Field("set_parameters.values: nothing to set".into()));
    }
    let mut all = Vec::with_capacity(set.values.len());
    for (name, value) in &set.values {
        let field = format!("set_parameters.values.{name}");
        let id = parameter(name, &field)?;
        let value = Sized8::new(value_of(id, value, errand).map_err(|why| Unfit::Field(format!("{field}: {why}")))?);
        let value = value.ok_or_else(|| Unfit::Field(format!("{field}: at most 255 bytes")))?;
        all.push(Parameter { id, value });
    }
    Ok(Message::SetParameters(Many(all)))
}

/// The bytes of a value, or what was expected.
fn value_of(id: u16, value: &Value, errand: &Errand<'_>) -> Result<Vec<u8>, String> {
    let number = |max: u64| {
        let n = value.as_u64().filter(|n| *n <= max);
        n.ok_or_else(|| format!("expected a number from 0 to {max}"))
    };
    let tail = |n: u64, size: usize| n.to_be_bytes().get(8 - size..).unwrap_or_default().to_vec();
    match (parameters::of_id(id).map(|(form, _)| form), value) {
        (Some(Form::Byte), _) => Ok(tail(number(u8::MAX.into())?, 1)),
        (Some(Form::Word), _) => Ok(tail(number(u16::MAX.into())?, 2)),
        (Some(Form::Double), _) => Ok(tail(number(u32::MAX.into())?, 4)),
        (Some(Form::Text), Value::String(said)) => errand.text(said, Charset::Gbk).map_err(|unfit| match unfit {
            Unfit::Field(why) => why,
            other => format!("{other:?}"),
        }),
        (Some(Form::Text), _) => Err("expected a text".into()),
        (Some(Form::Digits(size)), Value::String(digits)) => packed(digits, size),
        (Some(Form::Digits(size)), Value::Number(n)) => packed(&n.to_string(), size),
        (Some(Form::Digits(size)), _) => Err(format!("expected at most {} digits", 2 * size)),
        (None, Value::String(said)) => unhex(said).ok_or_else(|| "expected hex, two digits a byte".into()),
        (None, _) => Err("expected hex, two digits a byte, as the parameter is not known".into()),
    }
}

fn packed(digits: &str, size: u8) -> Result<Vec<u8>, String> {
    let size = usize::from(size);
    let bytes = bcd::pack_digits::<5>(digits).filter(|_| digits.len() <= 2 * size);
    let bytes = bytes.ok_or_else(|| format!("expected at most {} digits", 2 * size))?;
    Ok(bytes.get(5 - size..).unwrap_or_default().to_vec())
}

fn query_parameters(query: &command::QueryParameters) -> Result<Message, Unfit> {
    let ids = match &query.names {
        None => parameters::ids().collect(),
        Some(names) => names.iter().map(|name| parameter(name, "query_parameters.names")).collect::<Result<_, _>>()?,
    };
    Ok(Message::QueryParameters(Many(ids)))
}

/// A frame that is ours to read is also ours to hear a receipt for. The machine sends any other as it is.
pub(super) fn raw(bytes: &[u8], profile: &Profile) -> Result<Plan<Downlink>, Unfit> {
    let downlink = Downlink::read(bytes, profile, None).map_err(|_| Unfit::Unsupported)?;
    let mut again = Vec::new();
    downlink.write(profile, &mut again);
    let receipted = again == bytes && !matches!(downlink.message, Message::General(_));
    let key = Key { kind: downlink.message.id(), number: downlink.serial.into() };
    if receipted { Ok(Plan::receipt(downlink, key)) } else { Err(Unfit::Unsupported) }
}

/// What a message is answered by besides the general answer, if anything.
pub(super) const fn specific_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::Offer(_)
            | Message::Ask(_)
            | Message::QueryPosition(_)
            | Message::TakePicture(_)
            | Message::ControlVehicle(_)
            | Message::QueryParameters(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{DeviceId, SessionId};
    use crate::profile::{Settings, Unshowable};
    use crate::time::{Now, Timestamp};
    use crate::wire::Link;
    use serde_json::json;
    use std::sync::Arc;

    fn say(kind: Value, profile: Profile) -> Result<Words, Unfit> {
        let kind: Kind = serde_json::from_value(kind).unwrap();
        let settings = Arc::new(Settings { profiles: vec![Arc::new(profile)], ..Settings::default() });
        let mut link = Link::to("jt905", settings, SessionId(0), DeviceId::normalise("109900000001"));
        let now = Now { utc: Timestamp::parse("2026-03-01T10:00:05Z").unwrap(), uptime: Duration::ZERO };
        words(&kind, 5, &mut Errand { now, link: &mut link, remaining: Duration::from_secs(20) })
    }

    fn won(more: Value) -> Result<Words, Unfit> {
        let mut order = json!({"order_id": "7", "won": true, "type": "assigned", "pickup": {"address": "A"}});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        say(json!({ "order_assign": order }), Profile::default())
    }

    fn field(result: Result<Words, Unfit>) -> String {
        match result {
            Err(Unfit::Field(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accepts_fees_that_four_digits_hold() {
        for (amount, tenths, warned) in [("5", 50, false), ("5.50", 55, false), ("0.05", 0, true), ("999.9", 9999, false)] {
            let words = won(json!({"fee": {"amount": amount}})).unwrap();
            let Message::Verdict(Verdict::Won(won)) = words.message else { panic!("a win is one") };
            assert_eq!((Some(won.fee), !words.warnings.is_empty()), (Packed::new(tenths), warned), "{amount}");
        }
        assert!(field(won(json!({"fee": {"amount": "1000"}}))).contains("999.9"));
        assert!(field(won(json!({"fee": {"amount": "99999999999"}}))).contains("999.9"));
    }

    #[test]
    fn places_that_cannot_be_said_are_none() {
        let words = won(json!({"pickup": {"address": "A", "latitude": -33.9, "longitude": 18.4}})).unwrap();
        let Message::Verdict(Verdict::Won(won)) = words.message else { panic!("a win is one") };
        assert_eq!((won.pickup_latitude, won.pickup_longitude, words.warnings.len()), (0, 0, 1));
    }

    #[test]
    fn answers_keep_ids_that_are_numbers_and_get_some_otherwise() {
        let numbers = |ids: &[&str]| {
            let answers = ids.iter().map(|id| json!({"id": id, "text": "t"})).collect::<Vec<_>>();
            say(json!({"question": {"text": "?", "answers": answers}}), Profile::default()).unwrap().choices
        };
        let own = |n: u8, id: &str| (n, id.to_owned());
        assert_eq!(numbers(&["3", "7"]), [own(3, "3"), own(7, "7")]);
        assert_eq!(numbers(&["yes", "7"]), [own(1, "yes"), own(2, "7")]);
        assert_eq!(numbers(&["3", "3"]), [own(1, "3"), own(2, "3")]);
        assert_eq!(numbers(&["300", "1"]), [own(1, "300"), own(2, "1")]);
    }

    #[test]
    fn a_question_always_fits_its_message() {
        let answers: Vec<_> = (0..MAX_CHOICES).map(|n| json!({"id": n.to_string(), "text": "x".repeat(30)})).collect();
        let words = say(json!({"question": {"text": "y".repeat(300), "answers": answers}}), Profile::default()).unwrap();
        let Message::Ask(asked) = &words.message else { panic!("a question is one") };
        let length = 5 + MAX_QUESTION + asked.choices.0.len() * (1 + MAX_CHOICE);
        assert!(length <= 500 && words.warnings.len() == 1 + MAX_CHOICES, "{length}");
    }

    #[test]
    fn refuses_characters_that_the_profile_says_to_refuse() {
        let profile = || Profile { charset: Some(Charset::Ascii), unshowable: Unshowable::Refuse, ..Profile::default() };
        assert!(field(say(json!({"text": {"text": "caf\u{e9}"}}), profile())).starts_with("text.text: "));
        assert!(say(json!({"text": {"text": "cafe"}}), profile()).is_ok());
    }

    #[test]
    fn packed_digits_have_the_width_of_their_parameter() {
        assert_eq!(packed("12", 2), Ok(vec![0x00, 0x12]));
        assert_eq!(packed("2026123123", 5), Ok(vec![0x20, 0x26, 0x12, 0x31, 0x23]));
        assert!(packed("12345", 2).is_err());
        assert!(packed("1x", 2).is_err());
    }

    #[test]
    fn every_kind_that_is_listed_can_be_said() {
        let stop = json!({"address": "A"});
        let whole = [
            json!({"order_offer": {"order_id": "7", "type": "immediate", "pickup": stop}}),
            json!({"order_assign": {"order_id": "7", "won": false}}),
            json!({"order_cancel": {"order_id": "7"}}),
            json!({"text": {"text": "t"}}),
            json!({"question": {"text": "t", "answers": [{"id": "1", "text": "a"}]}}),
            json!({"alarm_confirm": {}}),
            json!({"locate": {}}),
            json!({"reboot": {}}),
            json!({"take_photo": {}}),
            json!({"track": {"interval_s": 10}}),
            json!({"call": {"phone": "110"}}),
            json!({"output": {"name": "doors", "state": true}}),
            json!({"set_parameters": {"values": {"heartbeat_interval_s": 30}}}),
            json!({"query_parameters": {}}),
        ];
        assert_eq!(whole.len() + 1, COMMANDS.len()); // a whole frame needs no words
        for (kind, (name, confirms)) in whole.into_iter().zip(COMMANDS) {
            assert!(kind.get(name).is_some(), "{name}");
            let specific = specific_answer(&say(kind, Profile::default()).unwrap().message);
            assert_eq!(specific, *confirms == Confirms::Answer, "{name}");
        }
    }
}
