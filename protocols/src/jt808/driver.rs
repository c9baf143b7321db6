//! Who drives: 0x0702, the only sign-on and sign-off of plain JT/T 808, and the card swipe of some 0x0900 units.

use nom::number::complete::be_u8;

use super::context::Context;
use crate::cursor::{Cursor, hex};
use crate::event::{Driver, DriverAction, Method};
use crate::fault::Fault;
use crate::parts::{bcd, text};

/// A driver's action and whether the message holds its time.
pub(super) type Told = (Box<Driver>, bool);

static READING: [&str; 5] = ["ok", "authentication_failed", "card_locked", "card_removed", "check_failed"];

/// State byte and a time, as 2013 and 2019 have it; the edition of 2011 begins with the length of a name.
fn has_state(body: &[u8], context: &Context<'_>) -> bool {
    matches!(body, [1 | 2, time @ ..] if time.get(..6).is_some_and(|t| context.time(t).is_some() || t.iter().all(|b| *b == 0)))
}

/// 0x0702.
pub(super) fn identity(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Told, Fault> {
    if has_state(c.rest(), context) { with_state(c, context) } else { without_state(c, context) }
}

fn with_state(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Told, Fault> {
    let inserted = c.read("state", be_u8)? == 1;
    c.note(|| if inserted { "card inserted" } else { "card removed" });
    let time = context.time(c.bytes("time", 6)?);
    c.note(|| time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    let mut driver = Driver::new(if inserted { DriverAction::SignOn } else { DriverAction::SignOff });
    driver.method = Some(Method::Card);
    driver.time = time;
    if c.remaining() > 0 {
        let result = c.read("reading_result", be_u8)?;
        let word = READING.get(usize::from(result)).copied();
        c.note(|| word.unwrap_or("unknown"));
        driver.reading_result = Some(word.map_or_else(|| result.to_string().into(), Into::into));
        if result != 0 {
            // nobody was identified, so this is about a card and not about duty
            driver.action = if inserted { DriverAction::CardIn } else { DriverAction::CardOut };
        }
    }
    if c.remaining() > 0 {
        card(c, &mut driver, context)?;
    }
    Ok((Box::new(driver), time.is_some()))
}

fn card(c: &mut Cursor<'_, '_>, driver: &mut Driver, context: &Context<'_>) -> Result<(), Fault> {
    let length = c.read("name_length", be_u8)?;
    driver.name = said(c, "name", length.into(), context)?;
    driver.licence = said(c, "certificate", 20, context)?;
    driver.driver_id.clone_from(&driver.licence);
    let length = c.read("issuer_length", be_u8)?;
    if let Some(issuer) = said(c, "issuer", length.into(), context)? {
        driver.attributes.set("issuer", issuer);
    }
    if c.remaining() >= 4 {
        driver.valid_until = date(c.bytes("valid_until", 4)?);
    }
    let card = if c.remaining() >= 20 { said(c, "identity_card", 20, context)? } else { None };
    if let Some(card) = card {
        driver.driver_id = driver.driver_id.take().or_else(|| Some(card.clone()));
        driver.attributes.set("identity_card", card);
    }
    if c.remaining() > 0 {
        driver.attributes.set("rest", hex(c.take_rest("rest")));
    }
    Ok(())
}

/// 2011: sent when a driver is recognised, so it means on duty.
fn without_state(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Told, Fault> {
    let mut driver = Driver::new(DriverAction::SignOn);
    driver.method = Some(Method::Card);
    let length = c.read("name_length", be_u8)?;
    driver.name = said(c, "name", length.into(), context)?;
    let identity = said(c, "identity_card", 20, context)?;
    driver.licence = said(c, "certificate", 40, context)?;
    let length = c.read("issuer_length", be_u8)?;
    if let Some(issuer) = said(c, "issuer", length.into(), context)? {
        driver.attributes.set("issuer", issuer);
    }
    driver.driver_id = driver.licence.clone().or_else(|| identity.clone());
    if let Some(identity) = identity {
        driver.attributes.set("identity_card", identity);
    }
    if c.remaining() > 0 {
        driver.attributes.set("rest", hex(c.take_rest("rest")));
    }
    Ok((Box::new(driver), false))
}

/// `GTSL|…|…|…|<driver>|…` inside a passed-through message.
pub(super) fn swipe(said: &str) -> Option<Box<Driver>> {
    let mut fields = said.strip_prefix("GTSL|")?.split('|');
    let id = fields.nth(3).map(str::trim).filter(|id| !id.is_empty())?;
    let mut driver = Driver::new(DriverAction::SignOn);
    driver.method = Some(Method::Card);
    driver.driver_id = Some(id.to_owned());
    driver.attributes.set("text", said.to_owned());
    Some(Box::new(driver))
}

/// Padded text; nothing but fill is no text.
fn said(c: &mut Cursor<'_, '_>, name: &str, n: usize, context: &Context<'_>) -> Result<Option<String>, Fault> {
    let said = text::decode(c.bytes(name, n)?, context.charset);
    c.show(|| format!("{said:?}"));
    Ok(Some(said).filter(|s| !s.is_empty()))
}

/// BCD of 4 bytes, `YYYYMMDD`.
fn date(bytes: &[u8]) -> Option<String> {
    let [century, year, month, day] = bytes else {
        return None;
    };
    let (century, year, month, day) = (bcd::byte(*century)?, bcd::byte(*year)?, bcd::byte(*month)?, bcd::byte(*day)?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| format!("{century:02}{year:02}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::header::Edition;
    use crate::profile::Profile;

    fn read(body: &[u8]) -> (serde_json::Value, bool) {
        let profile = Profile::default();
        let (driver, dated) = identity(&mut Cursor::new(body, 0, None), &Context::new(Edition::V2013, &profile)).unwrap();
        (serde_json::to_value(driver).unwrap(), dated)
    }

    fn certificate(n: &[u8], width: usize) -> Vec<u8> {
        let mut bytes = n.to_vec();
        bytes.resize(width, 0);
        bytes
    }

    #[test]
    fn accepts_a_card_that_was_read() {
        let mut body = b"\x01\x26\x03\x01\x08\x00\x00\x00\x04\xd5\xc5\xc8\xfd".to_vec();
        body.extend(certificate(b"110101199001010000", 20));
        body.extend(b"\x02\xbe\xa9\x20\x27\x12\x31");
        let expected = serde_json::json!({"action": "sign_on", "driver_id": "110101199001010000", "method": "card",
            "time": "2026-03-01T00:00:00.000Z", "name": "张三", "licence": "110101199001010000", "valid_until": "2027-12-31",
            "reading_result": "ok", "attributes": {"issuer": "京"}});
        assert_eq!(read(&body), (expected, true));
    }

    #[test]
    fn a_card_that_could_not_be_read_is_not_duty() {
        let (driver, _) = read(b"\x01\x26\x03\x01\x08\x00\x00\x02");
        assert_eq!((driver["action"].as_str(), driver["reading_result"].as_str()), (Some("card_in"), Some("card_locked")));
        let (driver, _) = read(b"\x02\x26\x03\x01\x18\x00\x00");
        assert_eq!(driver["action"], "sign_off");
    }

    #[test]
    fn accepts_the_form_of_2011() {
        let mut body = b"\x04\xc0\xee\xcb\xc4".to_vec();
        body.extend(certificate(b"110101199001010001", 20));
        body.extend(certificate(b"ZG7654321", 40));
        body.extend(b"\x00");
        let (driver, dated) = read(&body);
        assert!(!dated);
        assert_eq!((driver["name"].as_str(), driver["driver_id"].as_str()), (Some("李四"), Some("ZG7654321")));
    }

    #[test]
    fn a_swipe_names_its_driver_in_the_fifth_field() {
        assert_eq!(swipe("GTSL|1|2|3|0012345678|x").unwrap().driver_id.as_deref(), Some("0012345678"));
        assert!(swipe("GTSL|1|2|3||x").is_none());
        assert!(swipe("other").is_none());
    }
}
