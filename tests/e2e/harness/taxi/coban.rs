//! The taxi version of the Coban family: sentences with an order's number. Nothing acknowledges them, but heartbeats are
//! answered in their order, so a unit that sends one behind each word knows when that is stored.

use protocols::parts::checksum::luhn;

use super::unit::{Clock, Heard, News, Said, Unit, Word, readable, take_through};

/// A fix, behind the time of the day.
const PLACE: &str = ".000,A,2232.5716,N,11403.4736,E,0.00,,";

#[derive(Debug)]
pub(super) struct Coban {
    id: String,
    clock: Clock,
}

impl Coban {
    pub(super) fn new(n: u32) -> Self {
        let payload = format!("8612001{n:07}");
        let id = format!("{payload}{}", luhn(&payload).unwrap());
        Self { id, clock: Clock::new() }
    }

    /// A report of this code; what stands behind it, and in the place of a card.
    fn report(&mut self, code: &str, card: &str) -> Vec<u8> {
        let time = self.clock.tick();
        let local = time.civil(8 * 3600).six().map(|n| format!("{n:02}")).concat();
        let utc = time.civil(0).six()[3..].iter().map(|n| format!("{n:02}")).collect::<String>();
        format!("imei:{},{code},{local},{card},F,{utc}{PLACE};", self.id).into_bytes()
    }

    fn said(&mut self, report: Vec<u8>) -> Said {
        Said { serial: None, bytes: [&report[..], self.id.as_bytes(), b";"].concat() }
    }
}

impl Unit for Coban {
    fn id(&self) -> &str {
        &self.id
    }

    fn story(&self) -> &'static [&'static str] {
        &["picked_up", "completed"]
    }

    fn greet(&mut self) -> Said {
        Said { serial: None, bytes: format!("##,imei:{},A;", self.id).into_bytes() }
    }

    fn say(&mut self, word: Word<'_>) -> Said {
        let report = match word {
            Word::Accept(order) => self.report(&format!("175,{order:013}"), " "),
            Word::Step(order, _) => self.report(&format!("177,{order:013}"), " "),
            Word::SignOn(driver) => self.report("rfid", driver),
            Word::SignOff => panic!("there is no word for it"),
        };
        self.said(report)
    }

    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard> {
        for answer in [&b"LOAD"[..], b"ON"] {
            if received.starts_with(answer) {
                received.drain(..answer.len());
                return Some(Heard { news: News::Stored(None), ..Heard::default() });
            }
        }
        let text = readable(&take_through(received, b';')?);
        let mut fields = text.trim_end_matches(';').splitn(4, ',').skip(2);
        let (code, rest) = (fields.next().unwrap_or_default().to_owned(), fields.next().unwrap_or_default());
        let order = || rest.split(',').next().unwrap().parse().unwrap();
        let (news, code) = match code.as_str() {
            "171" => (News::Offer(order()), format!("171,{:013}", order())),
            "172" => (News::Won(order()), format!("172,{:013}", order())),
            "173" => (News::Lost(order()), format!("173,{:013}", order())),
            "174" => (News::Asked(code), format!("174,{:013}", order())),
            "170" => (News::Text, code),
            _ => (News::Asked(code.clone()), code),
        };
        let receipt = self.report(&code, " ");
        Some(Heard { news, receipt, text })
    }
}
