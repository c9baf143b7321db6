//! Conversations with the invented protocol: what becomes of commands, in the words of fixtures.

use crate::script::{Script, check, toy, update};

/// A login of device 7, then these lines; `02..` are made by [`toy::frame`].
#[track_caller]
fn holds(lines: &str) {
    let login = crate::script::text_of(&toy::frame(toy::LOGIN, b"7"));
    // settings come first
    let (settings, lines) = lines.split_once("\n").filter(|(first, _)| first.starts_with('%')).unwrap_or(("", lines));
    let text = format!("{settings}\n> {login}\n{lines}");
    let script = Script::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let differences: Vec<_> = check(&toy::TOY, &script).unwrap().into_iter().filter(|d| d.line > 2).collect();
    let said = differences.iter().map(ToString::to_string).collect::<String>();
    assert!(differences.is_empty(), "{said}\n{}", update(&toy::TOY, &script).unwrap());
}

/// A frame of the device as a script has it.
fn from_device(kind: u8, payload: &[u8]) -> String {
    format!("> {}", crate::script::text_of(&toy::frame(kind, payload)))
}

/// A frame to the device whose serial depends on the session.
fn to_device(text: &str) -> String {
    format!("< 02{:02x}10....{}..03", text.len() + 3, crate::cursor::hex(text.as_bytes()))
}

#[test]
fn a_receipt_ends_a_text() {
    // the login's answer took serial 1
    let got = from_device(toy::GOT, &2_u16.to_be_bytes());
    holds(&format!("$ {{\"text\":{{\"text\":\"hi\"}}}}\n{}\n^ c1 sent\n{got}\n^ c1 acknowledged", to_device("hi")));
}

#[test]
fn what_is_not_received_is_repeated_with_the_same_serial_and_then_unanswered() {
    let hi = to_device("hi");
    // 5 s, then 10 s more, then 30 s more than that, which the deadline cuts off
    holds(&format!(
        "$ {{\"text\":{{\"text\":\"hi\"}}}}\n{hi}\n^ c1 sent\n@ +4900ms\n@ +100ms\n{hi}\n@ +10s\n{hi}\n@ +44s\n@ +1s\n^ c1 unanswered {{\"attempts\":3}}"
    ));
}

#[test]
fn what_nothing_answers_is_over_when_written() {
    holds(&format!("$ {{\"locate\":{{}}}}\n{}\n^ c1 sent\n^ c1 unanswered {{\"reason\":\"no_receipt\"}}", to_device("?")));
    holds("$ {\"reboot\":{}}\n^ c1 unsupported");
    holds("$ {\"raw\":{\"hex\":\"aabb\"}}\n< aabb\n^ c1 sent\n^ c1 unanswered {\"reason\":\"no_receipt\"}");
}

const OFFER: &str = "{\"order_id\":\"ORD-1\",\"type\":\"immediate\",\"pickup\":{\"address\":\"A\"}}";

fn token(id: &str) -> u8 {
    let mut orders = super::Orders::default();
    orders.number(&crate::command::OrderId::new(id).unwrap(), 255).try_into().unwrap()
}

fn accepted(more: &str) -> String {
    format!("= {{\"order\":{{\"action\":\"accepted\",\"actor\":\"driver\",\"order_id\":\"ORD-1\",\"command_id\":\"c1\"{more}}}}}")
}

#[test]
fn the_driver_answers_an_offer_by_the_token_that_it_was_given() {
    let n = token("ORD-1");
    let take = from_device(toy::TAKE, &[n]);
    let offer = to_device(&n.to_string());
    let got = from_device(toy::GOT, &2_u16.to_be_bytes());
    let event = accepted("");
    holds(&format!(
        "$ {{\"order_offer\":{OFFER}}}\n{offer}\n^ c1 sent\n{got}\n^ c1 delivered\n{take}\n{event}\n^ c1 acknowledged\n< 0607....03\n{take}\n{event}\n< 0607....03"
    ));
}

#[test]
fn a_late_answer_is_forwarded_and_changes_no_outcome() {
    let n = token("ORD-1");
    let take = from_device(toy::TAKE, &[n]);
    let offer = to_device(&n.to_string());
    let event = accepted(",\"late\":true");
    holds(&format!(
        "$ {{\"order_offer\":{OFFER},\"within\":\"20s\"}}\n{offer}\n^ c1 sent\n@ +20s\n^ c1 unanswered\n{take}\n{event}\n< 0607....03"
    ));
}

#[test]
fn an_offer_that_cannot_be_read_in_time_is_not_shown() {
    holds(&format!("$ {{\"order_offer\":{OFFER},\"within\":\"3s\"}}\n^ c1 expired {{\"reason\":\"lag\"}}"));
}

#[test]
fn a_cancel_withdraws_an_offer() {
    let offer = to_device(&token("ORD-1").to_string());
    holds(&format!(
        "$ {{\"order_offer\":{OFFER}}}\n{offer}\n^ c1 sent\n$ {{\"order_cancel\":{{\"order_id\":\"ORD-1\"}}}}\n^ c1 superseded\n^ c2 unsupported"
    ));
}

#[test]
fn an_order_that_is_not_known_keeps_the_name_that_the_device_has_for_it() {
    let take = from_device(toy::TAKE, &[9]);
    holds(&format!("{take}\n= {{\"order\":{{\"action\":\"accepted\",\"actor\":\"driver\",\"token\":\"9\"}}}}\n< 0607....03"));
}

#[test]
fn the_ninth_command_waits_for_its_turn() {
    let mut lines = String::new();
    for n in 0..super::MAX_UNHEARD {
        lines += &format!("$ {{\"text\":{{\"text\":\"{n}\"}}}}\n{}\n^ c{} sent\n", to_device(&n.to_string()), n + 1);
    }
    let got = from_device(toy::GOT, &2_u16.to_be_bytes());
    lines += &format!(
        "$ {{\"text\":{{\"text\":\"9\"}}}}\n^ c9 waiting\n{got}\n^ c1 acknowledged\n{}\n^ c9 sent\n> 00\n! garbage\n",
        to_device("9")
    );
    // at the end the connection breaks: what was written may not go out again elsewhere
    for n in 2..=9 {
        lines += &format!("^ c{n} cut {{\"attempts\":1}}\n");
    }
    holds(&lines);
}

#[test]
fn an_authorization_that_nobody_is_told_is_kept() {
    holds(
        "% profile {\"templates\":{\"refused\":\"\"}}\n$ {\"driver_authorization\":{\"driver_id\":\"D1\",\"authorized\":false}}\n^ c1 acknowledged\n$ {\"driver_authorization\":{\"driver_id\":\"D2\",\"authorized\":true}}\n^ c2 acknowledged {\"warnings\":[\"not kept: driver D1 is signed on\"]}",
    );
}
