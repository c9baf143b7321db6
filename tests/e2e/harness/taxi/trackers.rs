//! Boxes without a screen: a GT06 and a TK103. They carry out commands, and that is all that a driver would notice.

use protocols::parts::checksum::{crc_itu, luhn};

use super::super::device::{bcd, gt06};
use super::unit::{Heard, News, Said, Unit, Word, readable, take_through};

#[derive(Debug)]
pub(super) struct Gt06 {
    id: String,
    serial: u16,
}

impl Gt06 {
    pub(super) fn new(n: u32) -> Self {
        let payload = format!("8612003{n:07}");
        let id = format!("{payload}{}", luhn(&payload).unwrap());
        Self { id, serial: 0 }
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Said {
        self.serial = self.serial.wrapping_add(1);
        Said { serial: Some(self.serial), bytes: gt06(kind, body, self.serial) }
    }
}

impl Unit for Gt06 {
    fn id(&self) -> &str {
        &self.id
    }

    fn story(&self) -> &'static [&'static str] {
        &[]
    }

    fn greet(&mut self) -> Said {
        let number = bcd(&format!("0{}", self.id));
        self.frame(0x01, &number)
    }

    fn say(&mut self, word: Word<'_>) -> Said {
        panic!("a box cannot say {word:?}")
    }

    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard> {
        let length = usize::from(*received.get(2)?) + 5;
        let frame = received.get(..length)?.to_vec();
        received.drain(..length);
        assert_eq!(frame[length - 4..length - 2], crc_itu(&frame[2..length - 4]).to_be_bytes(), "{frame:02x?}");
        let serial = u16::from_be_bytes([frame[length - 6], frame[length - 5]]);
        if frame[3] != 0x80 {
            return Some(Heard { news: News::Stored(Some(serial)), ..Heard::default() });
        }
        // length, flag of the server, text
        let (flag, text) = (&frame[5..9], readable(&frame[9..length - 6]));
        let answer = if text.starts_with("RELAY") { "RELAY=Success!" } else { "RESET OK" };
        let counted = u8::try_from(answer.len() + flag.len()).unwrap();
        let receipt = self.frame(0x15, &[&[counted], flag, answer.as_bytes(), &[0, 2]].concat()).bytes;
        Some(Heard { news: News::Asked(text.clone()), receipt, text })
    }
}

#[derive(Debug)]
pub(super) struct Tk103 {
    id: String,
}

impl Tk103 {
    pub(super) fn new(n: u32) -> Self {
        Self { id: format!("1380007{n:04}") }
    }

    fn sentence(&self, words: &str) -> Vec<u8> {
        format!("({:0>12}{words})", self.id).into_bytes()
    }
}

impl Unit for Tk103 {
    fn id(&self) -> &str {
        &self.id
    }

    fn story(&self) -> &'static [&'static str] {
        &[]
    }

    fn greet(&mut self) -> Said {
        Said { serial: None, bytes: self.sentence(&format!("BP05{:0>15}", self.id)) }
    }

    fn say(&mut self, word: Word<'_>) -> Said {
        panic!("a box cannot say {word:?}")
    }

    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard> {
        let text = readable(&take_through(received, b')')?);
        let words = text.trim_start_matches('(').trim_end_matches(')');
        let words = words.strip_prefix(&format!("{:0>12}", self.id)).unwrap_or_else(|| panic!("{}: {text}", self.id));
        if words == "AP05" {
            return Some(Heard { news: News::Stored(None), ..Heard::default() });
        }
        // the answer has the command's name with another first letter
        let receipt = self.sentence(&format!("B{}", &words[1..]));
        Some(Heard { news: News::Asked(words.to_owned()), receipt, text: text.clone() })
    }
}
