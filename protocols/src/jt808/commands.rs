//! Commands in the words of JT/T 808, and what terminals say to them.
//!
//! The standard has no orders. Dispatchers use what it has: an offer is a question (0x8302) whose answer (0x0302) names it by
//! serial number, an assignment is a text, and the steps of an order are events (0x8301) whose buttons the driver presses
//! (0x0301). The edition of 2019 lists these messages and describes them no more, so a terminal that does not know them is
//! told everything as text, the refused offer first. Every message of ours is receipted by 0x0001, which repeats its id and
//! serial number.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value as Json;

use super::dialect::{self, Fuel};
use super::downlink::control::{self, VehicleControl};
use super::downlink::fields::{Batch, Blob, Empty, List, Passed, Since2019, Text, Time};
use super::downlink::{Downlink, Message, media, screen};
use super::header::Edition;
use super::message::id;
use super::parameters;
use super::position;
use super::session::Jt808;
use crate::command::{self, Assign, Command, Kind, Offer, OrderId};
use crate::desk::{Aside, Confirms, Errand, Key, MAX_OPEN, Plan, Retry, Unfit, digest};
use crate::parts::template::{offer_text, order_text};
use crate::parts::text::{fit, within};
use crate::profile::{Button, Charset, Profile, TimeZone};
use crate::wire::{Link, Step};

/// What can be said, and what the terminal says to it at best.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("order_offer", Confirms::Answer),
    ("order_assign", Confirms::Receipt),
    ("order_cancel", Confirms::Receipt),
    ("order_list", Confirms::Receipt),
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

/// The standard's example of how a message that is not receipted is sent again: 10 s, then 2 and 3 times the wait before, three
/// times in all.
const RETRY: Retry = Retry { first: Duration::from_secs(10), times: 3, grows: true };

/// Answers to an offer.
pub(super) const ACCEPT: u8 = 1;
pub(super) const DECLINE: u8 = 2;

/// Questions whose answers are waited for: twice what a device may have open, because a driver may answer late.
const MAX_QUESTIONS: usize = 2 * MAX_OPEN;
/// Longest number to call.
const MAX_NUMBER: usize = 20;
/// Entries of a menu are numbered with one byte.
const MAX_ENTRIES: usize = 255;
/// Longest entry of a menu: what screens of a few lines show of one order.
const MAX_ENTRY: usize = 255;
/// Bits of the alarm word that wait for a confirmation.
const CONFIRMABLE: u32 = 1 | 1 << 3 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 27 | 1 << 28;

/// What a connection remembers of messages of its own.
#[derive(Debug, Default)]
pub(super) struct Office {
    /// Serial numbers of questions, and the backend's ids of their answers in order.
    questions: VecDeque<(u16, Vec<String>)>,
    /// Orders of the menu, numbered from 1.
    pub(super) menu: Vec<OrderId>,
    /// The last request for a position: terminals of 2011 do not repeat its number.
    pub(super) locate: Option<u16>,
    /// The last control of the doors, and whether it locks.
    pub(super) doors: Option<(u16, bool)>,
}

impl Office {
    fn asked(&mut self, serial: u16, ids: Vec<String>) {
        if self.questions.len() >= MAX_QUESTIONS {
            self.questions.pop_front();
        }
        self.questions.push_back((serial, ids));
    }

    /// The answers of the question of this number.
    pub(super) fn question(&self, serial: u16) -> Option<&[String]> {
        self.questions.iter().rev().find(|(asked, _)| *asked == serial).map(|(_, ids)| ids.as_slice())
    }
}

const BUTTONS: u16 = 0x8301;
const QUESTION: u16 = 0x8302;
const MENU: u16 = 0x8303;

/// The messages that a terminal of 2019 may not know: it is remembered.
pub(super) const fn is_of_screen(message: u16) -> bool {
    matches!(message, BUTTONS | QUESTION | MENU)
}

/// Whether a terminal is told its offers as text.
pub(super) fn is_text_only(link: &Link) -> bool {
    !link.understands(QUESTION)
}

/// The keys of a terminal that are actions on an order. A terminal without questions has keys for the answers as well, if it
/// can have keys.
pub(super) fn buttons(link: &Link) -> Vec<Button> {
    let profile = link.profile();
    profile.buttons.clone().unwrap_or_else(|| {
        let mut usual = Button::usual();
        if is_text_only(link) {
            usual.extend(Button::answers(&profile.templates));
        }
        usual
    })
}

/// How a text is to be told.
#[derive(Debug, Clone, Copy)]
struct Manner {
    urgent: bool,
    display: bool,
    speak: bool,
}

/// Orders cannot wait, and a driver who drives cannot read.
const OF_ORDERS: Manner = Manner { urgent: true, display: true, speak: true };

type Planned = Result<Plan<Downlink>, Unfit>;

fn field(what: impl Into<String>) -> Unfit {
    Unfit::Field(what.into())
}

impl Jt808 {
    /// Put a command into words.
    pub(super) fn plan(&mut self, command: &Command, errand: &mut Errand<'_>) -> Planned {
        let (_, edition) = self.terminal().ok_or(Unfit::Unsupported)?;
        match &command.kind {
            Kind::OrderOffer(offer) => self.offer(offer, errand),
            Kind::OrderAssign(assign) => self.assign(&command.kind, matches!(assign, Assign::Won(_)), errand),
            Kind::OrderCancel(_) => self.order_text(&command.kind, errand),
            Kind::OrderList(list) => self.menu(&list.orders, errand),
            Kind::Text(text) => {
                let manner = Manner {
                    urgent: text.urgent.unwrap_or(false),
                    display: text.display.unwrap_or(true),
                    speak: text.speak.unwrap_or(false),
                };
                self.show(&text.text, manner, errand)
            }
            Kind::Question(question) => self.question(question, errand),
            Kind::AlarmConfirm(confirm) => self.confirm(confirm, edition),
            Kind::Locate(_) => {
                let plan = self.answered(Message::Locate(Empty), id::LOCATION_ANSWER)?;
                self.office.locate = serial_of(&plan, id::LOCATION_ANSWER);
                Ok(plan)
            }
            Kind::Reboot(_) => self.receipted(control(RESET, "")),
            Kind::TakePhoto(photo) => self.photo(photo.channel.unwrap_or(1), edition),
            Kind::Track(track) => {
                let interval_s = u16::try_from(track.interval_s).map_err(|_| field("track.interval_s: at most 65535"))?;
                // without a duration: as long as can be said
                let validity_s = (interval_s > 0).then(|| track.duration_s.unwrap_or(u32::MAX));
                self.receipted(Message::Track(control::Track { interval_s, validity_s }))
            }
            Kind::Call(call) => {
                let number = errand.text(&call.phone.0, Charset::Ascii)?;
                let number = Some(number).filter(|n| (1..=MAX_NUMBER).contains(&n.len())).and_then(Text::new);
                let number = number.ok_or_else(|| field("call.phone: expected 1 to 20 characters"))?;
                self.receipted(Message::CallBack(control::CallBack { listen: call.listen_only.unwrap_or(false).into(), number }))
            }
            Kind::Output(output) => self.output(output, edition, errand),
            Kind::SetParameters(set) => self.set_parameters(set, errand),
            Kind::QueryParameters(query) => self.query_parameters(query, edition),
            Kind::Raw(raw) => self.raw(&raw.bytes, edition, errand),
            Kind::DriverAuthorization(_) => Err(Unfit::Unsupported),
        }
    }

    /// A message whose receipt ends the command.
    fn receipted(&mut self, message: Message) -> Planned {
        let (peer, edition) = self.terminal().ok_or(Unfit::Unsupported)?;
        let kind = message.id();
        let downlinks = Downlink::frames(peer, edition, message, || self.next_serial());
        // a split message is receipted as a whole or packet by packet
        let keys = downlinks.iter().filter_map(Downlink::serial).map(|serial| Key { kind, number: serial.into() }).collect();
        let (ends, retry) = (Confirms::Receipt, Some(RETRY));
        Ok(Plan { downlinks, keys, ends, retry, ..Plan::raw() })
    }

    /// A message that is receipted, and answered by this one with the same serial number.
    fn answered(&mut self, message: Message, by: u16) -> Planned {
        let mut plan = self.receipted(message)?;
        if let Some(first) = plan.keys.first().copied() {
            plan.keys.push(Key { kind: by, ..first });
        }
        Ok(Plan { ends: Confirms::Answer, ..plan })
    }

    /// 0x8300.
    fn show(&mut self, text: &str, manner: Manner, errand: &Errand<'_>) -> Planned {
        let (_, edition) = self.terminal().ok_or(Unfit::Unsupported)?;
        let (text, warning) = fitted(text, screen::MAX_TEXT, errand)?;
        let urgent = match (edition, manner.urgent) {
            (Edition::V2019, true) => screen::flag::URGENT_2019,
            (Edition::V2019, false) => screen::flag::SERVICE_2019,
            (_, true) => screen::flag::URGENT,
            (_, false) => 0,
        };
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = urgent | bit(manner.display, screen::flag::DISPLAY) | bit(manner.speak, screen::flag::SPEAK);
        let text = Text::new(text).ok_or_else(|| field("too long"))?;
        let plan = self.receipted(Message::Show(screen::Show { flags, kind: Since2019::new(edition, || NOTICE), text }))?;
        Ok(Plan { warnings: warning.into_iter().collect(), ..plan })
    }

    fn order_text(&mut self, kind: &Kind, errand: &Errand<'_>) -> Planned {
        let text = order_text(kind, errand.profile(), zone(errand)).ok_or(Unfit::Unsupported)?;
        self.show(&text, OF_ORDERS, errand)
    }

    /// A question, by whose serial number the order is called from now on: its answer may come over a later connection.
    fn offer(&mut self, offer: &Offer, errand: &mut Errand<'_>) -> Planned {
        let text = offer_text(offer, errand.profile(), zone(errand));
        if is_text_only(errand.link()) {
            // the driver answers with a key, if the terminal can have any
            let buttons = self.set_buttons(&buttons(errand.link()), errand.link())?;
            let plan = self.show(&text, OF_ORDERS, errand)?;
            return Ok(behind(buttons, Plan { ends: Confirms::Answer, ..plan }, errand));
        }
        let templates = &errand.profile().templates;
        let choices = [(ACCEPT, templates.accept.as_str()), (DECLINE, templates.decline.as_str())];
        let plan = self.ask(&text, &choices, errand)?;
        if let Some(serial) = serial_of(&plan, id::QUESTION_ANSWER) {
            errand.call(&offer.order_id, serial.into());
        }
        Ok(Plan { other_words: true, ..plan })
    }

    fn question(&mut self, question: &command::Question, errand: &Errand<'_>) -> Planned {
        if is_text_only(errand.link()) {
            return Err(Unfit::Unsupported);
        }
        if question.answers.is_empty() || question.answers.len() > MAX_ENTRIES {
            return Err(field("question.answers: expected 1 to 255"));
        }
        let choices: Vec<_> = (1..=u8::MAX).zip(question.answers.iter().map(|answer| answer.text.as_str())).collect();
        let plan = self.ask(&question.text, &choices, errand)?;
        if let Some(serial) = serial_of(&plan, id::QUESTION_ANSWER) {
            self.office.asked(serial, question.answers.iter().map(|answer| answer.id.clone()).collect());
        }
        Ok(plan)
    }

    /// 0x8302.
    fn ask(&mut self, text: &str, choices: &[(u8, &str)], errand: &Errand<'_>) -> Planned {
        let (text, warning) = fitted(text, screen::MAX_QUESTION, errand)?;
        let choice = |(id, text): &(u8, &str)| {
            let (text, _) = fitted(text, MAX_ENTRY, errand)?;
            Ok(screen::Choice { id: *id, text: Text::new(text).ok_or_else(|| field("an answer is too long"))? })
        };
        let choices = choices.iter().map(choice).collect::<Result<_, Unfit>>()?;
        let message = Message::Question(screen::Question {
            flags: screen::flag::URGENT | screen::flag::SPEAK,
            text: Text::new(text).ok_or_else(|| field("too long"))?,
            choices: List::new(choices).ok_or_else(|| field("too many answers"))?,
        });
        let plan = self.answered(message, id::QUESTION_ANSWER)?;
        Ok(Plan { warnings: warning.into_iter().collect(), ..plan })
    }

    /// The text, and for the winner the buttons that the driver will need.
    fn assign(&mut self, kind: &Kind, won: bool, errand: &mut Errand<'_>) -> Planned {
        let buttons = if won { self.set_buttons(&buttons(errand.link()), errand.link())? } else { None };
        Ok(behind(buttons, self.order_text(kind, errand)?, errand))
    }

    /// Buttons that a profile names are installed as soon as the terminal is served, once.
    pub(super) fn install_buttons(&mut self, step: &mut Step<'_>) {
        let Some(wanted) = step.profile().buttons.clone() else { return };
        // a word that the terminal cannot show is told with the first command that needs the buttons
        if let Ok(Some((downlinks, key, aside))) = self.set_buttons(&wanted, step.link()) {
            step.send_aside(key, aside, |out| downlinks.iter().for_each(|downlink| downlink.write(out)));
        }
    }

    /// 0x8301, if other buttons are on the terminal than these.
    fn set_buttons(&mut self, wanted: &[Button], link: &Link) -> Result<Option<Buttons>, Unfit> {
        if !link.understands(BUTTONS) {
            return Ok(None);
        }
        let written = wanted.iter().filter_map(|button| {
            let id = u8::try_from(button.id).ok()?;
            Some(fitted_in(&button.text, MAX_ENTRY, link.profile()).map(|(text, _)| (id, text)))
        });
        let written = written.collect::<Result<Vec<_>, Unfit>>()?;
        let digest = digest(written.iter().map(|(id, text)| (*id, text.as_slice())));
        if link.has_buttons(digest.as_deref()) {
            return Ok(None);
        }
        let button = |(id, text)| Text::new(text).map(|text| screen::Button { id, text });
        let buttons = written.into_iter().map(button).collect::<Option<_>>().and_then(Batch::new).filter(|_| digest.is_some());
        let kind = if buttons.is_some() { REPLACE } else { DELETE_ALL };
        let beside = self.receipted(Message::Buttons(screen::Buttons { kind, buttons }))?;
        Ok(beside.keys.last().map(|key| (beside.downlinks, *key, Aside::Buttons(digest))))
    }

    /// 0x8303: each order is an entry that the driver may choose to read more of.
    fn menu(&mut self, orders: &[Offer], errand: &Errand<'_>) -> Planned {
        if !errand.link().understands(MENU) {
            return Err(Unfit::Unsupported);
        }
        if orders.len() > MAX_ENTRIES {
            return Err(field("order_list.orders: at most 255"));
        }
        let entry = |(id, order): (u8, &Offer)| {
            let text = offer_text(order, errand.profile(), zone(errand));
            let (text, warning) = fitted(&text, MAX_ENTRY, errand)?;
            let text = Text::new(text).ok_or_else(|| field("too long"))?;
            Ok((screen::MenuEntry { id, text }, warning))
        };
        let entries = (1..=u8::MAX).zip(orders).map(entry).collect::<Result<Vec<_>, Unfit>>()?;
        let (entries, warnings): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let kind = if orders.is_empty() { DELETE_ALL } else { REPLACE };
        let entries = Batch::new(entries).filter(|_| kind == REPLACE);
        let plan = self.receipted(Message::Menu(screen::Menu { kind, entries }))?;
        self.office.menu = orders.iter().map(|order| order.order_id.clone()).collect();
        Ok(Plan { warnings: warnings.into_iter().flatten().collect(), ..plan })
    }

    /// 0x8203, which 2011 does not have.
    fn confirm(&mut self, confirm: &command::AlarmConfirm, edition: Edition) -> Planned {
        if edition == Edition::V2011 {
            return Err(Unfit::Unsupported);
        }
        let asked = confirm
            .alarms
            .map_or(CONFIRMABLE, |alarms| alarms.iter().fold(0, |bits, alarm| bits | position::alarm_bits(alarm, edition)));
        let alarm_bits = asked & CONFIRMABLE;
        if alarm_bits == 0 {
            return Err(field("alarm_confirm.alarms: none of them waits for a confirmation"));
        }
        self.receipted(Message::ConfirmAlarms(control::ConfirmAlarms { serial: ALL, alarm_bits }))
    }

    /// 0x8801, answered by 0x0805 since 2013; some terminals send nothing but the picture.
    fn photo(&mut self, channel: u16, edition: Edition) -> Planned {
        let channel = u8::try_from(channel).ok().filter(|n| *n > 0);
        let channel = channel.ok_or_else(|| field("take_photo.channel: expected 1 to 255"))?;
        let shoot = media::Shoot {
            channel,
            command: 1,
            interval_s: 0,
            store: 0,
            resolution: VGA,
            quality: 5,
            brightness: 128,
            contrast: 64,
            saturation: 64,
            chroma: 128,
        };
        let mut plan = match edition {
            Edition::V2011 => Plan { ends: Confirms::Answer, ..self.receipted(Message::Shoot(shoot))? },
            _ => self.answered(Message::Shoot(shoot), id::PHOTO_ANSWER)?,
        };
        plan.keys.push(Key { kind: id::MEDIA, number: channel.into() });
        Ok(plan)
    }

    fn output(&mut self, output: &command::Output, edition: Edition, errand: &Errand<'_>) -> Planned {
        match output.name.as_str() {
            "doors" | "lock" => {
                let message = Message::VehicleControl(VehicleControl::doors(edition, output.state));
                let plan = self.answered(message, id::CONTROL_ANSWER)?;
                self.office.doors = serial_of(&plan, id::CONTROL_ANSWER).map(|serial| (serial, output.state));
                Ok(plan)
            }
            "fuel" => self.fuel(output.state, errand),
            _ => Err(Unfit::Unsupported),
        }
    }

    fn fuel(&mut self, cut: bool, errand: &Errand<'_>) -> Planned {
        let choose = |a: &'static str, b: &'static str| if cut { a } else { b };
        let message = match dialect::find(errand.profile().dialect.as_deref()).fuel {
            Fuel::Control(a, b) => control(if cut { a } else { b }, ""),
            Fuel::ControlText(a, b) => {
                let text = choose(a, b);
                control(text.bytes().next().unwrap_or_default(), text.get(1..).unwrap_or_default())
            }
            Fuel::Message => {
                let time = Time::of(errand.now().utc, zone(errand).offset_s);
                Message::FuelCut(control::FuelCut { cut: cut.into(), time })
            }
            Fuel::PassedText(a, b) => {
                let data = Passed::new(choose(a, b).as_bytes().to_vec()).ok_or(Unfit::Unsupported)?;
                Message::PassThrough(control::PassThrough { kind: ONLINE_COMMAND, data })
            }
        };
        self.receipted(message)
    }

    fn set_parameters(&mut self, set: &command::SetParameters, errand: &Errand<'_>) -> Planned {
        let one = |(name, value): (&String, &Json)| {
            let text = |text: &str| match errand.text(text, Charset::Gbk) {
                Ok(text) => Ok(text),
                Err(Unfit::Field(what)) => Err(format!("values.{name}: {what}")),
                Err(_) => Err(format!("values.{name}: cannot be written")),
            };
            let (id, value) = parameters::encode(name, value, text).map_err(Unfit::Field)?;
            Ok(control::Parameter { id, value: Blob::new(value).ok_or_else(|| field("too long"))? })
        };
        let parameters = set.values.iter().map(one).collect::<Result<Vec<_>, Unfit>>()?;
        let parameters = Some(parameters).filter(|p| !p.is_empty()).and_then(Batch::new);
        let parameters = parameters.ok_or_else(|| field("set_parameters.values: expected 1 to 255"))?;
        self.receipted(Message::SetParameters(control::SetParameters { parameters }))
    }

    /// 0x8106 for some, which 2011 does not have; 0x8104 for all.
    fn query_parameters(&mut self, query: &command::QueryParameters, edition: Edition) -> Planned {
        let names = query.names.as_deref().unwrap_or_default();
        let find = |name: &String| parameters::id(name).ok_or_else(|| field(format!("names.{name}: there is no such parameter")));
        let ids = names.iter().map(find).collect::<Result<Vec<_>, Unfit>>()?;
        if ids.is_empty() || edition == Edition::V2011 {
            return self.answered(Message::QueryAllParameters(Empty), id::PARAMETERS);
        }
        let ids = List::new(ids).ok_or_else(|| field("query_parameters.names: at most 255"))?;
        self.answered(Message::QueryParameters(control::QueryParameters { ids }), id::PARAMETERS)
    }

    /// A frame that is ours to read is also ours to hear a receipt for. The machine sends any other as it is.
    fn raw(&mut self, bytes: &[u8], edition: Edition, errand: &Errand<'_>) -> Planned {
        let downlink = Downlink::read(bytes, edition, errand.profile(), None).map_err(|_| Unfit::Unsupported)?;
        let mut again = Vec::new();
        downlink.write(&mut again);
        match downlink.key() {
            Some(key) if again == bytes => Ok(Plan::receipt(downlink, key)),
            _ => Err(Unfit::Unsupported),
        }
    }
}

/// Frames that set the buttons, the receipt of the last, and what it says.
type Buttons = (Vec<Downlink>, Key, Aside);

/// The buttons go ahead of what they are for.
fn behind(buttons: Option<Buttons>, plan: Plan<Downlink>, errand: &mut Errand<'_>) -> Plan<Downlink> {
    let Some((ahead, key, aside)) = buttons else { return plan };
    errand.aside(key, aside);
    Plan { ahead, ..plan }
}

/// Kinds of 0x8301 and 0x8303.
const DELETE_ALL: u8 = 0;
const REPLACE: u8 = 1;
/// Kind of a text of 2019.
const NOTICE: u8 = 1;
/// Command of 0x8105.
const RESET: u8 = 4;
/// 0x8203: whatever message said it.
const ALL: u16 = 0;
/// 640x480.
const VGA: u8 = 2;
/// The kind of 0x8900 that holds a text command of Jimi.
const ONLINE_COMMAND: u8 = 0xF0;

fn control(command: u8, parameters: &str) -> Message {
    Message::TerminalControl(control::TerminalControl { command, parameters: Text::of(parameters) })
}

/// The serial number that this answer will repeat.
fn serial_of(plan: &Plan<Downlink>, kind: u16) -> Option<u16> {
    plan.keys.iter().find(|key| key.kind == kind).and_then(|key| u16::try_from(key.number).ok())
}

/// The zone in which a driver reads times.
fn zone(errand: &Errand<'_>) -> TimeZone {
    errand.profile().time_zone.unwrap_or(TimeZone::CHINA)
}

/// Text in the terminal's charset, cut to what fits, and a warning if it was cut.
fn fitted(text: &str, max: usize, errand: &Errand<'_>) -> Result<(Vec<u8>, Option<String>), Unfit> {
    fitted_in(text, max, errand.profile())
}

fn fitted_in(text: &str, max: usize, profile: &Profile) -> Result<(Vec<u8>, Option<String>), Unfit> {
    let charset = profile.charset.unwrap_or(Charset::Gbk);
    let all = fit(text, charset, profile.unshowable).map_err(Unfit::Field)?;
    let shown = within(&all, max, charset);
    let warning = (shown.len() < all.len()).then(|| format!("text cut to {} of {} bytes", shown.len(), all.len()));
    Ok((shown.to_vec(), warning))
}
