//! What a driver's screen shows and what the driver does, as lines that a dispatch developer reads along.

use protocols::parts::text;
use protocols::profile::Charset;

/// Where the texts of 0x8B00 and 0x8B01 begin: JT/T 905, sections on orders.
const OFFER_TEXT: usize = 11;
const WON_TEXT: usize = 29;

/// A message of the gateway as the screen shows it; nothing if it shows nothing.
pub(super) fn shows(message: u16, body: &[u8]) -> Option<String> {
    let order = || body.first_chunk().map(|number| u32::from_be_bytes(*number));
    Some(match message {
        0x8B00 => format!("shows offer {}: {}", order()?, read(body.get(OFFER_TEXT..)?)),
        0x8B01 if body.len() == 4 => format!("shows that order {} has gone to somebody else", order()?),
        0x8B01 => format!("shows order {}, which is the driver's: {}", order()?, read(body.get(WON_TEXT..)?)),
        0x8B09 => format!("shows that order {} is cancelled", order()?),
        0x8300 => format!("shows: {}", read(body.get(1..)?)),
        0x8302 => {
            let (question, mut answers) = body.get(2..)?.split_at_checked((*body.get(1)?).into())?;
            let mut keys = Vec::new();
            while let [number, high, low, rest @ ..] = answers {
                let (key, others) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
                keys.push(format!("[{number} {}]", read(key)));
                answers = others;
            }
            format!("asks: {} {}", read(question), keys.join(" "))
        }
        _ => return None,
    })
}

/// A message of the taxi as its driver means it; nothing if the driver has no part in it.
pub(super) fn does(message: u16, body: &[u8]) -> Option<String> {
    let order = || body.first_chunk().map(|number| u32::from_be_bytes(*number));
    Some(match message {
        0x0B01 => format!("driver takes order {}", order()?),
        0x0B03 => "driver signs on".to_owned(),
        0x0B07 => format!("driver has finished order {}", order()?),
        0x0301 => format!("driver presses order button {}", body.first()?),
        0x0302 => format!("driver answers {}", body.get(2)?),
        _ => return None,
    })
}

/// Strings end with zeros, and one may follow another.
fn read(bytes: &[u8]) -> String {
    let parts = bytes.split(|b| *b == 0).map(|part| text::decode(part, Charset::Gbk));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_screen_is_read_and_nothing_of_a_broken_message() {
        let offer = [&[0, 0, 0x12, 0x67, 0, 0, 0, 0, 0, 0, 0][..], b"Stand 1\0"].concat();
        let question = [&[1, 2][..], b"Go", &[1, 0, 3], b"yes", &[2, 0, 2], b"no"].concat();
        let won = [&offer[..4], &[0; WON_TEXT - 4], b"13800000001\0", &[0xC8, 0xCB, 0xC3, 0xF1, 0]].concat();
        for (message, body, wanted) in [
            (0x8B00, offer, "shows offer 4711: Stand 1"),
            (0x8302, question, "asks: Go [1 yes] [2 no]"),
            (0x8B01, won, "shows order 4711, which is the driver's: 13800000001, 人民"),
        ] {
            assert_eq!(shows(message, &body).unwrap(), wanted);
            for cut in 0..3 {
                assert_eq!(shows(message, &body[..cut]), None);
            }
        }
        assert_eq!(shows(0x8001, &[0; 5]), None);
        assert_eq!(does(0x0B01, &[0, 0, 0, 7]).unwrap(), "driver takes order 7");
        assert_eq!(does(0x0B01, &[]), None);
    }
}
