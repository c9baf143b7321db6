//! Photos, recordings and video (JT/T 1078), and the attachments of active safety.

use super::fields::{Blob, Label, List, Text, Time, fields};

fields! {
    /// 0x8801.
    Shoot {
        /// From 1.
        channel: u8,
        /// 0 stop, 0xFFFF record video, else the number of pictures.
        command: u16,
        /// Seconds between pictures, or of the recording; 0: as fast as possible, or until stopped.
        interval_s: u16,
        /// 1 store, 0 send at once.
        store: u8,
        /// 1 320x240, 2 640x480, 3 800x600, 4 1024x768, 5 176x144, 6 352x288, 7 704x288, 8 704x576.
        resolution: u8,
        /// 1 best to 10 most compressed.
        quality: u8,
        /// 0..=255.
        brightness: u8,
        /// 0..=127.
        contrast: u8,
        /// 0..=127.
        saturation: u8,
        /// 0..=255.
        chroma: u8,
    }

    /// 0x8802.
    SearchMedia {
        /// 0 picture, 1 audio, 2 video.
        kind: u8,
        /// 0: all.
        channel: u8,
        event: u8,
        start: Time,
        end: Time,
    }

    /// 0x8803.
    UploadMedia {
        search: SearchMedia,
        /// 1: afterwards.
        delete: u8,
    }

    /// 0x8804.
    RecordAudio {
        /// 0 stop, 1 start.
        command: u8,
        /// 0: until stopped.
        duration_s: u16,
        /// 1 store, 0 send at once.
        store: u8,
        /// 0 8 kHz, 1 11 kHz, 2 23 kHz, 3 32 kHz.
        rate: u8,
    }

    /// 0x8805.
    UploadOne {
        media: u32,
        /// 1: afterwards.
        delete: u8,
    }

    /// 0x9101.
    Live {
        address: Text<1>,
        tcp_port: u16,
        udp_port: u16,
        channel: u8,
        /// 0 sound and picture, 1 picture, 2 talk, 3 listen, 4 broadcast, 5 transparent.
        kind: u8,
        /// 0 main, 1 sub.
        stream: u8,
    }

    /// 0x9102.
    LiveControl {
        channel: u8,
        /// 0 close, 1 switch, 2 pause, 3 go on, 4 close the talk.
        command: u8,
        close: u8,
        stream: u8,
    }

    /// 0x9105.
    LiveState {
        channel: u8,
        loss_percent: u8,
    }

    /// 0x9201.
    PlayBack {
        address: Text<1>,
        tcp_port: u16,
        udp_port: u16,
        channel: u8,
        kind: u8,
        stream: u8,
        storage: u8,
        /// 0 normal, 1 fast, 2 key frames, 3 key frames backward, 4 one picture.
        mode: u8,
        /// 1, 2, 3, 4, 5: 1, 2, 4, 8, 16 times.
        speed: u8,
        start: Time,
        end: Time,
    }

    /// 0x9202.
    PlayBackControl {
        channel: u8,
        /// 0 go on, 1 pause, 2 end, 3 fast, 4 key frames backward, 5 go to, 6 key frames.
        command: u8,
        speed: u8,
        position: Time,
    }

    /// 0x9205.
    SearchVideo {
        channel: u8,
        start: Time,
        end: Time,
        alarm_bits: u64,
        kind: u8,
        stream: u8,
        storage: u8,
    }

    /// 0x9206.
    UploadVideo {
        address: Text<1>,
        port: u16,
        user: Text<1>,
        password: Text<1>,
        path: Text<1>,
        search: SearchVideo,
        /// Bit 0 WiFi, 1 LAN, 2 3G or 4G.
        when: u8,
    }

    /// 0x9207.
    UploadControl {
        /// Of the 0x9206.
        serial: u16,
        /// 0 pause, 1 go on, 2 cancel.
        command: u8,
    }

    /// 0x9208.
    UploadAttachments {
        address: Text<1>,
        tcp_port: u16,
        udp_port: u16,
        label: Label,
        /// The platform's number of the alarm.
        alarm: [u8; 32],
        reserve: Blob<0>,
    }

    /// A piece of a file.
    Piece {
        offset: u32,
        bytes: u32,
    }

    /// 0x9212.
    AttachmentDone {
        name: Text<1>,
        /// 0 picture, 1 audio, 2 video, 3 text, 4 other.
        kind: u8,
        /// 0 done, 1 send these again.
        result: u8,
        missing: List<Piece, 1>,
    }

    /// 0x9301.
    Turn {
        channel: u8,
        /// 0 stop, 1 up, 2 down, 3 left, 4 right.
        direction: u8,
        speed: u8,
    }

    /// 0x9302 to 0x9306: focus, iris, wiper, infrared light, zoom.
    Lens {
        channel: u8,
        value: u8,
    }
}
