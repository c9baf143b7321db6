//! What the driver sees, hears, chooses from and calls.

use super::fields::{Counted, Field, Many, Sampled, Tail, Text, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt905::context::Context;
use crate::jt905::dialect::Dialect;

/// Bits of the flags of texts and questions.
pub(in crate::jt905) mod flag {
    /// It cannot wait.
    pub(in crate::jt905) const URGENT: u8 = 1;
    /// On the terminal's own screen.
    pub(in crate::jt905) const DISPLAY: u8 = 1 << 2;
    /// Read aloud.
    pub(in crate::jt905) const SPEAK: u8 = 1 << 3;
}

/// Longest text of 0x8300, and of an offer, in bytes of its charset, its end included.
pub(in crate::jt905) const MAX_TEXT: usize = 499;
/// The same of a question.
pub(in crate::jt905) const MAX_QUESTION: usize = 100;
/// The same of an answer or an event.
pub(in crate::jt905) const MAX_CHOICE: usize = 20;
/// Answers that fit into the 500 bytes of a question's message.
pub(in crate::jt905) const MAX_CHOICES: usize = (500 - 5 - MAX_QUESTION) / (1 + MAX_CHOICE);
/// Longest telephone number, its end included.
pub(in crate::jt905) const MAX_PHONE: usize = 20;

fields! {
    /// 0x8300.
    Show {
        /// See [`flag`]; bit 4 is the advertising screen.
        flags: u8 = flag::DISPLAY,
        text: Tail = Tail(Text::new(b"\xb2\xe2\xca\xd4")),
    }

    /// An entry of the terminal's menu, or a possible answer.
    Choice {
        id: u8 = 1,
        text: Text = Text::new(b"\xca\xc7"),
    }

    /// 0x8301; none deletes all.
    Events {
        events: Counted<Choice> = Counted(vec![Choice::sample()]),
    }

    /// 0x8302.
    Question {
        /// See [`flag`]; a question is on the screen in any case.
        flags: u8 = flag::SPEAK,
        id: u32 = 5,
        text: Text = Text::new(b"OK?"),
        choices: Many<Choice> = Many(vec![Choice::sample(), Choice { id: 2, text: Text::new(b"no") }]),
    }

    /// 0x8400.
    Call {
        /// 0 a call, 1 listening in.
        kind: u8 = 0,
        phone: Tail = Tail(Text::new(b"13800001234")),
    }

    /// An entry of 0x8401.
    Contact {
        /// 1 in, 2 out, 3 both.
        kind: u8 = 3,
        phone: Text = Text::new(b"13800001234"),
        /// At most 10 bytes.
        name: Text = Text::new(b"Desk"),
    }

    /// 0x8401; none deletes all.
    PhoneBook {
        contacts: Counted<Contact> = Counted(vec![Contact::sample()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt905::dialect;
    use crate::profile::Profile;

    #[test]
    fn a_question_of_full_size_fits_its_message() {
        let choice = |id| Choice { id, text: Text::new(&[b'x'; MAX_CHOICE - 1]) };
        let choices = (1..).take(MAX_CHOICES).map(choice).collect();
        let question = Question { flags: 0, id: 1, text: Text::new(&[b'y'; MAX_QUESTION - 1]), choices: Many(choices) };
        let mut out = Vec::new();
        question.put(&mut out, dialect::find(None));
        assert!(out.len() <= 500 && out.len() + 1 + MAX_CHOICE > 500, "{}", out.len());
    }

    #[test]
    fn no_entries_delete_all() {
        let profile = Profile::default();
        let mut c = Cursor::new(b"\0", 0, None);
        let events = Events::take("events", &mut c, &Context::new(&profile));
        assert_eq!(events, Ok(Events { events: Counted(Vec::new()) }));
        assert!(Events::take("events", &mut Cursor::new(b"\x01", 0, None), &Context::new(&profile)).is_err());
    }
}
