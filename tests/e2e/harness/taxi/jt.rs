//! JT/T 905 and JT/T 808: numbered messages, each acknowledged.

use std::collections::BTreeMap;

use protocols::cursor::unhex;

use super::super::device::{jt808, unescaped};
use super::unit::{Heard, News, Said, Unit, Word, news_of, readable};

/// Body of a meter's record of a trip. The number of its order stands at [`TRIP_ORDER`].
const TRIP: &str = "0000000000000100016d55000429bce801a72c2603011750000000000000000300016dc0d0042a21b001a72c26030118150035f5\
                    3a400000000000000000000000425430303031313130303030303031000000000000003131303130313139393030313031303030\
                    3000260301175018150001230056000010001200023500000c0100";
const TRIP_ORDER: usize = 61;

/// A position as sign-on and sign-off of 905 begin with it.
const PLACE: &str = "0000000000000100016d55000429bce801a72c260301080005";
/// Company licence and plate behind it, and what a shift came to.
const COMPANY: &str = "31313030303030303100000000000000";
const PLATE: &str = "425430303031";
const SHIFT: &str = "1500202603010800202603011730002305001801002101020300648000120000030012062520150320500502300000\
                     1a2b00";

#[derive(Debug)]
pub(super) struct Jt {
    is_905: bool,
    id: String,
    serial: u16,
    /// Of 808: the number of the question that each order came in.
    questions: BTreeMap<u32, u16>,
    driver: String,
}

impl Jt {
    pub(super) fn new(protocol: &str, n: u32) -> Self {
        let is_905 = protocol == "jt905";
        let id = if is_905 { format!("1099001{n:05}") } else { format!("1380001{n:04}") };
        Self { is_905, id, serial: 0, questions: BTreeMap::new(), driver: String::new() }
    }

    fn frame(&mut self, message: u16, body: &[u8]) -> (u16, Vec<u8>) {
        self.serial = self.serial.wrapping_add(1);
        (self.serial, jt808(message, &format!("{:0>12}", self.id), self.serial, body))
    }

    fn said(&mut self, message: u16, body: &[u8]) -> Said {
        let (serial, bytes) = self.frame(message, body);
        Said { serial: Some(serial), bytes }
    }

    fn receipt(&mut self, serial: u16, message: u16) -> Vec<u8> {
        let body = [serial.to_be_bytes(), message.to_be_bytes()].concat();
        self.frame(0x0001, &[&body[..], &[0]].concat()).1
    }

    /// Who begins or ends a shift, as 905 has it: 18 digits and an end.
    fn shift_905(&self) -> Vec<u8> {
        let mut body = unhex(PLACE).unwrap();
        body.extend(unhex(COMPANY).unwrap());
        body.extend_from_slice(self.driver.as_bytes());
        body.push(0);
        body.extend(unhex(PLATE).unwrap());
        body
    }
}

impl Unit for Jt {
    fn id(&self) -> &str {
        &self.id
    }

    fn story(&self) -> &'static [&'static str] {
        if self.is_905 { &["trip", "completed"] } else { &["arrived", "picked_up", "completed"] }
    }

    fn greet(&mut self) -> Said {
        self.said(0x0002, &[])
    }

    fn say(&mut self, word: Word<'_>) -> Said {
        match (word, self.is_905) {
            (Word::Accept(order), true) => self.said(0x0B01, &order.to_be_bytes()),
            (Word::Accept(order), false) => {
                let question = self.questions[&order];
                self.said(0x0302, &[&question.to_be_bytes()[..], &[1]].concat())
            }
            (Word::Step(order, 0), true) => {
                let mut trip = unhex(TRIP).unwrap();
                trip[TRIP_ORDER..TRIP_ORDER + 4].copy_from_slice(&order.to_be_bytes());
                self.said(0x0B05, &trip)
            }
            (Word::Step(order, _), true) => self.said(0x0B07, &order.to_be_bytes()),
            // a button of the menu that came with the order
            (Word::Step(_, n), false) => self.said(0x0301, &[u8::try_from(n).unwrap() + 1]),
            (Word::SignOn(driver), true) => {
                driver.clone_into(&mut self.driver);
                let body = [&self.shift_905()[..], &[0x20, 0x26, 0x03, 0x01, 0x08, 0x00]].concat();
                self.said(0x0B03, &body)
            }
            (Word::SignOff, true) => {
                let body = [self.shift_905(), unhex(SHIFT).unwrap()].concat();
                self.said(0x0B04, &body)
            }
            // a card goes in and can be read: one letter of a name, the licence, one letter of who gave it, until when
            (Word::SignOn(driver), false) => {
                let mut body = vec![1, 0x26, 0x03, 0x01, 0x08, 0x00, 0x00, 0, 1, b'D'];
                body.extend_from_slice(format!("{driver:\0<20}").as_bytes());
                body.extend_from_slice(&[1, b'A', 0x20, 0x27, 0x12, 0x31]);
                self.said(0x0702, &body)
            }
            (Word::SignOff, false) => self.said(0x0702, &[2, 0x26, 0x03, 0x01, 0x18, 0x00, 0x00]),
        }
    }

    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard> {
        let end = received.iter().skip(1).position(|b| *b == 0x7E)?;
        let content = unescaped(&received[1..=end]);
        received.drain(..=end + 1);
        let number = |at: usize| u16::from_be_bytes([content[at], content[at + 1]]);
        let (message, serial, body) = (number(0), number(10), &content[12..content.len() - 1]);
        if message == 0x8001 {
            let news = match body[4] {
                0 => News::Stored(Some(number(12))),
                _ => News::Refused(number(12)),
            };
            return Some(Heard { news, ..Heard::default() });
        }
        let (receipt, text) = (self.receipt(serial, message), readable(body));
        let order = || u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        let news = match message {
            0x8B00 => News::Offer(order()),
            0x8B01 if body.len() == 4 => News::Lost(order()),
            0x8B01 => News::Won(order()),
            0x8302 | 0x8300 => news_of(&text),
            other => News::Asked(format!("{other:#06x}")),
        };
        if let (0x8302, News::Offer(order)) = (message, &news) {
            self.questions.insert(*order, serial);
        }
        Some(Heard { news, receipt, text })
    }
}
