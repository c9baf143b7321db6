//! Writing frames to the terminal: straight into the outgoing bytes, escaped as they are written, nothing allocated.

use super::downlink::Head;
use super::downlink::fields::Sink;
use super::frame::{SENTENCE, marks};
use super::header::{PACKET_FLAG, VERSION_FLAG, has_short_serial};
use crate::parts::flagged::Writer;

/// Results of 0x8001.
pub(super) mod result {
    pub(in super::super) const DONE: u8 = 0;
    pub(in super::super) const FAILED: u8 = 1;
    pub(in super::super) const FAULTY: u8 = 2;
}

impl Sink for Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        Writer::bytes(self, bytes);
    }
}

/// Write a whole frame whose body, written by `body`, has this length.
pub(super) fn frame(out: &mut Vec<u8>, head: &Head, message: u16, length: usize, body: impl FnOnce(&mut Writer<'_>)) {
    let Head { peer, serial, packet, .. } = head;
    let mut w = Writer::open(out, marks(peer.form));
    w.u16(message);
    let length = length as u16; // longer bodies are split before they come here
    let version = if peer.version.is_some() { VERSION_FLAG } else { 0 };
    w.u16(length | version | if packet.is_some() { PACKET_FLAG } else { 0 });
    if let Some(version) = peer.version {
        w.u8(version);
    }
    w.bytes(peer.number());
    match has_short_serial(message) {
        true => w.u8(*serial as u8),
        false => w.u16(*serial),
    }
    if let Some(packet) = packet {
        w.u16(packet.total);
        w.u16(packet.number);
    }
    body(&mut w);
    w.close();
}

/// Put marks, escapes and a new check byte around the content of a frame, whose last byte is its old one.
pub(super) fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
    if form == SENTENCE {
        out.extend_from_slice(content);
        return;
    }
    let mut w = Writer::open(out, marks(form));
    if let Some((_, content)) = content.split_last() {
        w.bytes(content);
    }
    w.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::hex;
    use crate::jt808::downlink::Message;
    use crate::jt808::downlink::answers::{General, Media, PacketsAgain, Registered};
    use crate::jt808::downlink::fields::Packets;
    use crate::jt808::frame::{STANDARD, VARIANT};
    use crate::jt808::header::{Edition, Peer};

    fn head(edition: Edition, serial: u16) -> Head {
        let peer = match edition {
            Edition::V2019 => Peer::new(STANDARD, Some(1), b"\0\0\0\0\x01\x38\x00\x00\x11\x11"),
            _ => Peer::new(STANDARD, None, b"\x01\x38\x00\x00\x11\x11"),
        };
        Head { peer, edition, serial, packet: None }
    }

    fn written(head: Head, message: &Message) -> String {
        let mut out = Vec::new();
        message.write(&head, &mut out);
        hex(&out)
    }

    fn general(serial: u16) -> Message {
        Message::General(General { serial, message: 0x0200, result: result::DONE })
    }

    #[test]
    fn answers_repeat_layout_and_number() {
        let old = written(head(Edition::V2013, 1), &general(7));
        assert_eq!(old, "7e8001000501380000111100010007020000b97e");
        let new = written(head(Edition::V2019, 1), &general(7));
        assert!(new.starts_with("7e8001400501000000000138000011110001"), "{new}");
    }

    #[test]
    fn what_looks_like_a_flag_is_escaped() {
        let frame = written(head(Edition::V2013, 0x7E7D), &general(0x7E7D));
        assert!(frame.contains("7d027d01"), "{frame}");
        assert_eq!(frame.matches("7e").count(), 2, "{frame}");
    }

    #[test]
    fn counts_have_the_width_of_the_edition() {
        let ask = Message::PacketsAgain(PacketsAgain { serial: 10, packets: Packets::new(vec![2, 3]) });
        let old = written(head(Edition::V2013, 1), &ask);
        assert!(old.contains("000a0200020003"), "{old}");
        let new = written(head(Edition::V2019, 1), &ask);
        assert!(new.contains("000a000200020003"), "{new}");
    }

    #[test]
    fn a_complete_photo_is_answered_with_four_bytes() {
        let complete = |edition| written(head(edition, 1), &Message::Media(Media::complete(edition, 9, 77)));
        assert!(complete(Edition::V2013).starts_with("7e88000004"));
        assert!(complete(Edition::V2011).starts_with("7e88000006"));
        let many = Media::missing(Edition::V2013, 0, 77, (1..=300).collect());
        assert!(written(head(Edition::V2013, 1), &Message::Media(many)).starts_with("7e880000ff"));
    }

    #[test]
    fn a_refused_registration_has_no_code() {
        let registered = |body| written(head(Edition::V2013, 1), &Message::Registered(body));
        assert!(registered(Registered::refused(7, 4)).starts_with("7e81000003"));
        assert!(registered(Registered::welcome(7, "code".into())).starts_with("7e81000007"));
    }

    #[test]
    fn sealing_computes_the_check_byte_anew() {
        let sealed = |form, content: &[u8]| {
            let mut out = Vec::new();
            seal(form, content, &mut out);
            hex(&out)
        };
        let content = b"\x00\x02\x00\x00\x01\x38\x00\x00\x11\x11\x00\x02\xff";
        assert_eq!(sealed(STANDARD, content), "7e000200000138000011110002397e");
        assert_eq!(sealed(STANDARD, b"\x7e\x7d\x00"), "7e7d027d01037e");
        assert_eq!(sealed(VARIANT, b"\x3d\xe6\x00"), "e73e02e601dbe7");
        assert_eq!(sealed(SENTENCE, b"(1,2)"), hex(b"(1,2)"));
    }
}
