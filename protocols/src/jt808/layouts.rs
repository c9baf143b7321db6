//! The messages that are lists of fields, as tables. Offsets printed wrongly in the standards are corrected here: fields
//! simply follow each other.

use super::header::Edition;
use super::layout::{Field, Kind, Num, Words, field, u8, u16, u32};
use crate::event::DataKind;

/// One message.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) message: u16,
    /// Its name in the `message` attribute.
    pub(super) name: &'static str,
    pub(super) kind: DataKind,
    since: Edition,
    until: Edition,
    /// How many of the fields must be there.
    pub(super) required: usize,
    pub(super) fields: &'static [Field],
    /// Whether the terminal waits for 0x8001. Answers to requests of ours are not answered again.
    pub(super) acknowledged: bool,
}

const fn layout(message: u16, name: &'static str, required: usize, fields: &'static [Field]) -> Layout {
    Layout {
        message,
        name,
        kind: DataKind::Parameters,
        since: Edition::V2011,
        until: Edition::V2019,
        required,
        fields,
        acknowledged: true,
    }
}

impl Layout {
    const fn obd(self) -> Self {
        Self { kind: DataKind::Obd, ..self }
    }

    const fn since(self, since: Edition) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: Edition) -> Self {
        Self { until, ..self }
    }

    const fn is_answer(self) -> Self {
        Self { acknowledged: false, ..self }
    }
}

pub(super) static MEDIA_KINDS: Words = &[(0, "photo"), (1, "audio"), (2, "video")];
pub(super) static MEDIA_FORMATS: Words = &[(0, "jpeg"), (1, "tiff"), (2, "mp3"), (3, "wav"), (4, "wmv")];
pub(super) static MEDIA_EVENTS: Words = &[
    (0, "platform"),
    (1, "timed"),
    (2, "robbery"),
    (3, "collision"),
    (4, "door_opened"),
    (5, "door_closed"),
    (6, "door_closed_and_moving"),
    (7, "distance"),
];
static OK_OR_FAILED: Words = &[(0, "ok"), (1, "failed")];
static GNSS: &[&str] = &["gps", "bds", "glonass", "galileo"];
static RADIO: &[&str] = &["gprs", "cdma", "td_scdma", "wcdma", "cdma2000", "td_lte", "bit_6", "other"];
static TERMINAL: &[&str] =
    &["passenger", "dangerous_goods", "freight", "taxi", "bit_4", "bit_5", "hard_disk_video", "split_unit", "trailer"];

const MEDIA_ID: Field = u32("media_id");
const MEDIA_KIND: Field = field("kind", Kind::Word(MEDIA_KINDS));
const MEDIA_EVENT: Field = field("event", Kind::Word(MEDIA_EVENTS));
const CHANNEL: Field = u8("channel");
/// Serial number of the platform's message that this one answers.
const ANSWERS: Field = u16("answers_serial");

static LAYOUTS: &[Layout] = &[
    layout(
        0x0107,
        "terminal_attributes",
        6,
        &[
            field("terminal_type", Kind::Flags(Num::U16, TERMINAL)),
            field("maker", Kind::Text(5)),
            field("model", Kind::Text(20)),
            field("terminal_id", Kind::Text(7)),
            field("iccid", Kind::Digits(10)),
            field("hardware", Kind::Text8),
            field("firmware", Kind::Text8),
            field("gnss", Kind::Flags(Num::U8, GNSS)),
            field("radio", Kind::Flags(Num::U8, RADIO)),
        ],
    )
    .until(Edition::V2013),
    layout(
        0x0107,
        "terminal_attributes",
        6,
        &[
            field("terminal_type", Kind::Flags(Num::U16, TERMINAL)),
            field("maker", Kind::Text(5)),
            field("model", Kind::Text(30)),
            field("terminal_id", Kind::Text(30)),
            field("iccid", Kind::Digits(10)),
            field("hardware", Kind::Text8),
            field("firmware", Kind::Text8),
            field("gnss", Kind::Flags(Num::U8, GNSS)),
            field("radio", Kind::Flags(Num::U8, RADIO)),
        ],
    )
    .since(Edition::V2019),
    layout(
        0x0108,
        "upgrade_result",
        2,
        &[
            field(
                "upgrade",
                Kind::Word(&[
                    (0, "terminal"),
                    (12, "card_reader"),
                    (52, "gnss_module"),
                    (0x64, "adas"),
                    (0x65, "dsm"),
                    (0x66, "tpms"),
                    (0x67, "bsd"),
                ]),
            ),
            field(
                "result",
                Kind::Word(&[
                    (0, "ok"),
                    (1, "failed"),
                    (2, "cancelled"),
                    (0x10, "target_missing"),
                    (0x11, "hardware_unsupported"),
                    (0x12, "same_version"),
                    (0x13, "version_unsupported"),
                ]),
            ),
        ],
    ),
    layout(0x0301, "event_report", 1, &[u8("event_id")]),
    layout(0x0302, "question_answer", 2, &[u16("question_serial"), u8("answer_id")]),
    layout(
        0x0303,
        "information_choice",
        2,
        &[u8("information_type"), field("choice", Kind::Word(&[(0, "cancel"), (1, "subscribe")]))],
    ),
    layout(0x0304, "text_answer", 2, &[ANSWERS, u8("kind"), field("text", Kind::Text16)]),
    layout(0x0700, "recorder_data", 2, &[u8("command"), u16("total_bytes"), u16("packet_bytes"), field("data", Kind::HexRest)])
        .until(Edition::V2011),
    layout(0x0700, "recorder_data", 2, &[ANSWERS, u8("command"), field("data", Kind::HexRest)]).since(Edition::V2013),
    layout(
        0x0705,
        "can_frames",
        2,
        &[
            u16("count"),
            field("received_at", Kind::TimeOfDay),
            field("frames", Kind::Many(&[field("can_id", Kind::Hex(4)), field("data", Kind::Hex(8))])),
        ],
    )
    .obd(),
    layout(
        0x0800,
        "multimedia_event",
        5,
        &[MEDIA_ID, MEDIA_KIND, field("format", Kind::Word(MEDIA_FORMATS)), MEDIA_EVENT, CHANNEL],
    ),
    layout(
        0x0802,
        "stored_media",
        2,
        &[
            ANSWERS,
            u16("total"),
            u16("items_in_packet"),
            field("items", Kind::Many(&[MEDIA_KIND, CHANNEL, MEDIA_EVENT, field("position", Kind::Place)])),
        ],
    )
    .until(Edition::V2011)
    .is_answer(),
    layout(
        0x0802,
        "stored_media",
        2,
        &[
            ANSWERS,
            u16("total"),
            field("items", Kind::Many(&[MEDIA_ID, MEDIA_KIND, CHANNEL, MEDIA_EVENT, field("position", Kind::Place)])),
        ],
    )
    .since(Edition::V2013)
    .is_answer(),
    layout(
        0x0805,
        "photo_answer",
        2,
        &[
            ANSWERS,
            field("result", Kind::Word(&[(0, "ok"), (1, "failed"), (2, "channel_unsupported")])),
            field("media_ids", Kind::List(Num::U16, &[MEDIA_ID])),
        ],
    )
    .is_answer(),
    layout(0x0A00, "public_key", 2, &[u32("exponent"), field("modulus", Kind::HexRest)]),
    layout(
        0x1003,
        "av_attributes",
        9,
        &[
            u8("audio_codec"),
            u8("audio_channels"),
            u8("audio_sampling_rate"),
            u8("audio_sampling_bits"),
            u16("audio_frame_bytes"),
            u8("audio_output"),
            u8("video_codec"),
            u8("max_audio_channels"),
            u8("max_video_channels"),
        ],
    ),
    layout(0x1005, "passengers", 4, &[field("started_at", Kind::Time), field("ended_at", Kind::Time), u16("boarded"), u16("left")]),
    layout(
        0x1205,
        "stored_av",
        2,
        &[
            ANSWERS,
            u32("total"),
            field(
                "items",
                Kind::Many(&[
                    CHANNEL,
                    field("started_at", Kind::Time),
                    field("ended_at", Kind::Time),
                    field("alarm_bits", Kind::Hex(8)),
                    u8("kind"),
                    u8("stream"),
                    u8("storage"),
                    u32("size_bytes"),
                ]),
            ),
        ],
    ),
    layout(0x1206, "upload_finished", 2, &[ANSWERS, field("result", Kind::Word(OK_OR_FAILED))]),
    layout(
        0x1210,
        "alarm_attachments",
        7,
        &[
            field("terminal_id", Kind::Text(7)),
            field("label_terminal_id", Kind::Text(7)),
            field("time", Kind::Time),
            u8("sequence"),
            u8("attachments"),
            field("reserve", Kind::Hex(1)),
            field("alarm_number", Kind::Text(32)),
            u8("information"),
            field("files", Kind::List(Num::U8, &[field("name", Kind::Text8), u32("size_bytes")])),
        ],
    )
    .until(Edition::V2013),
    layout(
        0x1210,
        "alarm_attachments",
        7,
        &[
            field("terminal_id", Kind::Text(30)),
            field("label_terminal_id", Kind::Text(30)),
            field("time", Kind::Time),
            u8("sequence"),
            u8("attachments"),
            field("reserve", Kind::Hex(2)),
            field("alarm_number", Kind::Text(32)),
            u8("information"),
            field("files", Kind::List(Num::U8, &[field("name", Kind::Text8), u32("size_bytes")])),
        ],
    )
    .since(Edition::V2019),
    layout(0x1211, "attachment_begins", 3, ATTACHMENT),
    layout(0x1212, "attachment_sent", 3, ATTACHMENT),
    layout(0x1FC4, "upgrade_progress", 5, &[ANSWERS, u8("kind"), u8("state"), u8("percent"), u8("error")]),
    layout(
        0x2070,
        "acceleration",
        1,
        &[field(
            "samples",
            Kind::Many(&[
                field("time", Kind::Time),
                field("x", Kind::Number(Num::S16)),
                field("y", Kind::Number(Num::S16)),
                field("z", Kind::Number(Num::S16)),
            ]),
        )],
    )
    .obd(),
];

static ATTACHMENT: &[Field] = &[
    field("name", Kind::Text8),
    field("kind", Kind::Word(&[(0, "picture"), (1, "audio"), (2, "video"), (3, "text"), (4, "other")])),
    u32("size_bytes"),
];

/// The layout of a message in this edition.
pub(super) fn find(message: u16, edition: Edition) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|l| l.message == message && l.since <= edition && edition <= l.until)
}
