//! The dispatch screen of Tianhe units on H02: texts, and the keys OK and CLR. Keys are not acknowledged, but heartbeats come
//! back in their order, so a unit that sends one behind each key knows when that is stored.

use super::unit::{Clock, Heard, News, Said, Unit, Word, news_of, readable, take_through};

/// The key that accepts.
const OK: u8 = 18;

#[derive(Debug)]
pub(super) struct Tianhe {
    id: String,
    clock: Clock,
}

impl Tianhe {
    pub(super) fn new(n: u32) -> Self {
        Self { id: format!("1380006{n:04}"), clock: Clock::new() }
    }

    fn sentence(&self, words: &str) -> String {
        format!("*TH,{},{words}#", self.id)
    }
}

impl Unit for Tianhe {
    fn id(&self) -> &str {
        &self.id
    }

    fn story(&self) -> &'static [&'static str] {
        &[]
    }

    fn greet(&mut self) -> Said {
        Said { serial: None, bytes: self.sentence("HTBT").into_bytes() }
    }

    fn say(&mut self, word: Word<'_>) -> Said {
        let Word::Accept(_) = word else { panic!("there is no key for {word:?}") };
        let time = self.clock.tick().civil(0).six()[3..].iter().map(|n| format!("{n:02}")).collect::<String>();
        let key = self.sentence(&format!("I1,{time},0,0,2,{OK}"));
        Said { serial: None, bytes: [key, self.sentence("HTBT")].concat().into_bytes() }
    }

    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard> {
        let head = self.sentence("I1,");
        let head = head.trim_end_matches('#').as_bytes();
        if received.starts_with(head) {
            return self.shown(head.len(), received);
        }
        // what is shown has no end mark, so there is none to look for before it is known to be something else
        if head.starts_with(received) {
            return None;
        }
        let text = readable(&take_through(received, b'#')?);
        let mut words = text.trim_end_matches('#').split(',').skip(2);
        match (words.next(), words.next()) {
            (Some("HTBT"), None) => Some(Heard { news: News::Stored(None), ..Heard::default() }),
            (Some(word), Some(time)) => {
                let receipt = self.sentence(&format!("V4,{word},{time}")).into_bytes();
                Some(Heard { news: News::Asked(word.to_owned()), receipt, text: text.clone() })
            }
            other => panic!("{}: {other:?} in {text}", self.id),
        }
    }
}

impl Tianhe {
    /// `time,p2,0,length,text`, two bytes for each character.
    fn shown(&self, head: usize, received: &mut Vec<u8>) -> Option<Heard> {
        let commas: Vec<_> =
            received.iter().enumerate().skip(head).filter(|(_, b)| **b == b',').map(|(at, _)| at).take(4).collect();
        let [time, _, length, text] = commas[..] else { return None };
        let number = |from: usize, to: usize| String::from_utf8(received[from..to].to_vec()).unwrap();
        let end = text + 1 + number(length + 1, text).parse::<usize>().unwrap();
        let shown = readable(received.get(text + 1..end)?);
        let receipt = self.sentence(&format!("V4,I1,{}", number(head, time))).into_bytes();
        received.drain(..end);
        Some(Heard { news: news_of(&shown), receipt, text: shown })
    }
}
