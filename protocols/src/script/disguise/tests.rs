use super::super::text_of;
use super::super::toy::{self, TOY};
use super::*;

fn conversation() -> Script {
    let line = |bytes: &[u8]| format!("> {}\n", text_of(bytes));
    let mut wrong = toy::frame(toy::LOGIN, b"13800000001");
    let check = wrong.len() - 2;
    wrong[check] ^= 0x40;
    let mut text = String::from("# the unit 13800000001\n");
    text += &line(&toy::frame(toy::LOGIN, b"13800000001"));
    text += &line(&toy::position(3_990_000, 11_640_000));
    text += &line(&wrong);
    text += "# < 3133383030303030303031\n";
    let split = toy::frame(toy::LOGIN, b"13800000001");
    text += &line(&[b"13800000001".as_slice(), &split[..5]].concat());
    text += &line(&split[5..]);
    Script::parse(&update(&TOY, &Script::parse(&text).unwrap()).unwrap()).unwrap()
}

fn text(script: &Script) -> String {
    script.lines().collect::<Vec<_>>().join("\n")
}

#[test]
fn identities_change_and_nothing_else() {
    let old = conversation();
    let new = Disguise::identities(5).script(&TOY, &old).unwrap();
    let [(before, after)] = &new.identities[..] else { panic!("{:?}", new.identities) };
    assert_eq!(before, "13800000001");
    assert!(is_phone(after) && after != before);
    assert!(!text(&new.script).contains("13800000001"), "{}", text(&new.script));
    assert!(text(&new.script).contains(&format!("# the unit {after}")));
    assert_eq!(check(&TOY, &new.script), Ok(Vec::new()));
    assert_eq!(run(&TOY, &new.script, &Options::default()).device.unwrap().as_str(), after);
    let places = |script: &Script| text(script).lines().filter(|l| l.starts_with("= ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(places(&new.script), places(&old));
}

#[test]
fn what_was_wrong_is_wrong_in_the_same_way() {
    let new = Disguise::identities(6).script(&TOY, &conversation()).unwrap();
    let said = run(&TOY, &new.script, &Options::default());
    let rejected: Vec<_> = said.flat().filter(|said| matches!(said, Said::Rejected(_))).collect();
    assert_eq!(rejected, [&Said::Rejected(FaultKind::Checksum), &Said::Rejected(FaultKind::Garbage)]);
}

#[test]
fn everything_moves_the_places_too() {
    let new = Disguise::everything(9).script(&TOY, &conversation()).unwrap();
    let events = run(&TOY, &new.script, &Options::default());
    let event = events.events("position").next().unwrap();
    assert!(!event.contains("39.9") && !event.contains("116.4") && event.contains(".9,") && event.contains(".4}"), "{event}");
    assert_eq!((new.unmoved, check(&TOY, &new.script)), (0, Ok(Vec::new())));
}

#[test]
fn another_seed_is_another_disguise_and_the_same_is_the_same() {
    let of = |seed| text(&Disguise::identities(seed).script(&TOY, &conversation()).unwrap().script);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn bytes_that_only_the_gateway_knows_are_put_in() {
    let old = toy::frame(toy::LOGIN, b"0123456789abcdef");
    assert_eq!(substitute(&TOY, &old, b"0123456789abcdef", b"fedcba9876543210"), toy::frame(toy::LOGIN, b"fedcba9876543210"));
    assert_eq!(substitute(&TOY, &old, b"none", b"gone"), old);
}
