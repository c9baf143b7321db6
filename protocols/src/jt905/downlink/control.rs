//! Messages about the terminal and what hangs on it.

use super::fields::{Bytes, Field, Many, Sampled, Sized8, Tail, Text, When, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt905::context::Context;
use crate::jt905::dialect::Dialect;
use crate::time::Civil;

fields! {
    /// 0x8001.
    General {
        serial: u16 = 7,
        message: u16 = 0x0200,
        /// 0 done, 1 failed, 2 faulty; JT/T 808's 3 unsupported.
        result: u8 = 0,
    }

    /// A message without a body: 0x8201, 0x8B0A, 0x8B0B.
    Nothing {}

    /// One parameter of 0x8103.
    Parameter {
        id: u16 = 0x0001,
        value: Sized8 = Sized8::new(vec![0, 0, 0, 60]).unwrap_or_default(),
    }

    /// 0x8105, command 1.
    Upgrade {
        device_type: u8 = 2,
        vendor: u8 = 7,
        /// Two packed digits.
        hardware: u8 = 0x12,
        /// Four packed digits, main and minor.
        software: u16 = 0x1001,
        apn: Text = Text::new(b"cmnet"),
        user: Text = Text::new(b""),
        password: Text = Text::new(b""),
        server: Text = Text::new(b"192.0.2.1"),
        port: u16 = 5905,
    }

    /// 0x8202.
    Track {
        /// See [`track`].
        attribute: u8 = track::SECONDS,
        /// Seconds or metres.
        interval: u16 = 10,
        /// Seconds or metres.
        duration: u32 = 600,
    }

    /// 0x8500.
    VehicleControl {
        /// 0 fuel, 1 circuit, 2 doors, 3 vehicle lock.
        item: u8 = 0,
        /// 0 restore or unlock, 1 cut or lock.
        command: u8 = 1,
    }

    /// 0x8801.
    TakePicture {
        camera: u8 = 1,
        /// 0 stop, 0xFFFF a film, else how many pictures.
        command: u16 = 1,
        /// Seconds between pictures, or of the film.
        seconds: u16 = 0,
        /// 0 upload, 1 store.
        store: u8 = 0,
        /// 0 320x240, 1 640x480, 2 800x600; CTFO: 3 1024x768, 4 1280x960, 5 1920x1080.
        resolution: u8 = 1,
        /// 1 is the best.
        quality: u8 = 5,
        brightness: u8 = 128,
        contrast: u8 = 64,
        saturation: u8 = 64,
        chroma: u8 = 128,
    }

    /// 0x8802.
    SearchPictures {
        /// 0 all.
        camera: u8 = 0,
        /// 0 occupied, 1 evaluation, 2 alarm, 3 the platform.
        reason: u8 = 3,
        from: When = When(Some(Civil::from_six([26, 3, 1, 8, 0, 0]))),
        until: When = When(Some(Civil::from_six([26, 3, 1, 18, 0, 0]))),
    }

    /// 0x8803.
    UploadStored {
        /// 0 picture, 1 sound, 2 film.
        kind: u8 = 0,
        file_id: u32 = 77,
        offset: u32 = 0,
    }

    /// 0x8805.
    SearchRecordings {
        /// 0 normal, 1 complaint, 2 alarm.
        reason: u8 = 1,
        from: When = When(Some(Civil::from_six([26, 3, 1, 8, 0, 0]))),
        until: When = When(None),
    }

    /// 0x8B10.
    Passthrough {
        device_type: u8 = 2,
        /// Bits 0 to 2: 0 plain, 1 gzip; bit 3: enciphered.
        data_type: u16 = 0,
        /// The device's command in two bytes, then its content.
        data: Bytes = Bytes(vec![0, 0]),
    }

    /// 0x8B11; without any device type, all are inspected.
    Inspect {
        device_types: Many<u8> = Many(vec![0, 2]),
    }

    /// 0x8C01, of CTFO: where passengers are.
    HotArea {
        area_id: u32 = 5,
        time: When = When(Some(Civil::from_six([26, 3, 1, 18, 0, 0]))),
        empty_percent: u8 = 40,
        empty_cars: u8 = 12,
        text: Tail = Tail(Text::new(b"Airport")),
    }
}

/// Attributes of 0x8202: the low half says what the duration counts, the high half what the interval counts.
pub(in crate::jt905) mod track {
    /// Interval and duration in seconds.
    pub(in crate::jt905) const SECONDS: u8 = 0x00;
    /// No more; the rest of the message means nothing.
    pub(in crate::jt905) const STOP: u8 = 0xFF;
}

/// 0x8105.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt905) enum Control {
    /// Command 1.
    Upgrade(Upgrade),
    /// Any other: 2 power off, 3 restart, 4 factory settings, 5 no data link, 6 no radio; they have no parameters.
    Other(u8, Bytes),
}

impl Control {
    const UPGRADE: u8 = 1;
    /// Start again.
    pub(in crate::jt905) const RESTART: u8 = 3;
}

impl Field for Control {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        match self {
            Self::Upgrade(upgrade) => {
                out.push(Self::UPGRADE);
                upgrade.put(out, dialect);
            }
            Self::Other(command, bytes) => {
                out.push(*command);
                bytes.put(out, dialect);
            }
        }
    }

    fn take(_: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        match u8::take("command", c, context)? {
            Self::UPGRADE => Upgrade::take("upgrade", c, context).map(Self::Upgrade),
            command => Bytes::take("parameters", c, context).map(|bytes| Self::Other(command, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt905::dialect;
    use crate::profile::Profile;

    fn read(bytes: &[u8]) -> Result<Control, Fault> {
        Control::take("control", &mut Cursor::new(bytes, 0, None), &Context::new(&Profile::default()))
    }

    #[test]
    fn only_an_upgrade_has_parameters_that_are_known() {
        assert_eq!(read(b"\x03"), Ok(Control::Other(Control::RESTART, Bytes(Vec::new()))));
        let mut upgrade = Vec::new();
        Control::Upgrade(Upgrade::sample()).put(&mut upgrade, dialect::find(None));
        assert_eq!(read(&upgrade), Ok(Control::Upgrade(Upgrade::sample())));
        for n in 0..upgrade.len() {
            assert!(read(&upgrade[..n]).is_err(), "{n}");
        }
    }
}
