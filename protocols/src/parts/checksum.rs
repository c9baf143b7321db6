//! The checksums of this field. CRCs come from crate `crc` with the catalogue's parameters.

use crc::{CRC_16_IBM_3740, CRC_16_IBM_SDLC, CRC_16_XMODEM, Crc, Table};

static X25: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_IBM_SDLC);
static CCITT_FALSE: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_IBM_3740);
static XMODEM: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// CRC-ITU of the GT06 family: CRC-16/X-25 (poly 0x1021, init and xorout 0xFFFF, reflected).
pub fn crc_itu(bytes: &[u8]) -> u16 {
    X25.checksum(bytes)
}

/// CRC-16/CCITT-FALSE (poly 0x1021, init 0xFFFF): Xexun3, Meiligao.
pub fn crc_ccitt_false(bytes: &[u8]) -> u16 {
    CCITT_FALSE.checksum(bytes)
}

/// CRC-16/XMODEM (poly 0x1021, init 0): GoSafe binary.
pub fn crc_xmodem(bytes: &[u8]) -> u16 {
    XMODEM.checksum(bytes)
}

/// XOR of all bytes: the JT/T dialects.
pub fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |x, b| x ^ b)
}

/// Low byte of the sum: Coban photo packets.
pub fn sum8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |s, b| s.wrapping_add(*b))
}

/// Ones' complement of the ones' complement sum of the bytes (not words): Xexun2.
pub fn ones_complement16(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.iter().map(|b| u32::from(*b)).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// The Luhn check digit of decimal digits, as an IMEI has it behind its first fourteen; `None` if one is no digit.
pub fn luhn(payload: &str) -> Option<char> {
    let mut sum = 0;
    for (i, c) in payload.chars().rev().enumerate() {
        let d = c.to_digit(10)?;
        sum += if i % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d };
    }
    char::from_digit((10 - sum % 10) % 10, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &[u8] = b"123456789";

    #[test]
    fn catalogue_check_values() {
        assert_eq!(crc_itu(CHECK), 0x906E);
        assert_eq!(crc_ccitt_false(CHECK), 0x29B1);
        assert_eq!(crc_xmodem(CHECK), 0x31C3);
        assert_eq!(xor(CHECK), 0x31);
        assert_eq!(sum8(CHECK), 0xDD);
        assert_eq!(ones_complement16(CHECK), !0x01DD);
    }

    #[test]
    fn luhn_of_an_imei() {
        assert_eq!(luhn("12345678901234"), Some('7'));
        assert_eq!(luhn("1x"), None);
    }
}
