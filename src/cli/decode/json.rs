//! One JSON object a frame.

use std::io::{self, Write};

use protocols::cursor::hex;
use protocols::event::{Event, serialize_event};
use protocols::fault::{Fault, FaultKind};
use protocols::identity::DeviceId;
use protocols::session::Fate;
use protocols::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::explain::{Explanation, Repair, explain};
use super::walk::{Heard, Piece};

#[derive(Debug, Serialize)]
struct Shown<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a DeviceId>,
    /// No frame says which device it is, so one was assumed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    device_assumed: bool,
    offset: usize,
    length: usize,
    title: &'a str,
    /// A message to the device, in the protocol's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// `stored`, `rejected`, a reason to handle it without storage, or `no_frame`; `down` is a frame to the device.
    fate: &'static str,
    fields: Vec<Field<'a>>,
    events: Vec<Told<'a>>,
    faults: Vec<FaultShown<'a>>,
    replies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationShown>,
}

/// A field of the content; bytes that none covers are one without name and value.
#[derive(Debug, Serialize)]
struct Field<'a> {
    offset: usize,
    hex: String,
    name: Option<&'a str>,
    value: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct FaultShown<'a> {
    kind: FaultKind,
    #[serde(flatten)]
    place: Option<Place<'a>>,
    /// `rejected`, `tolerated`, or `earlier`: of frames that were accounted for before.
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

#[derive(Debug, Serialize)]
struct Place<'a> {
    offset: usize,
    detail: &'a str,
}

#[derive(Debug, Serialize)]
struct ExplanationShown {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairShown>,
}

#[derive(Debug, Serialize)]
struct RepairShown {
    what: String,
    hex: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

#[derive(Debug)]
struct Told<'a> {
    event: &'a Event,
    device_id: &'a str,
    protocol: &'static str,
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        serialize_event(&mut map, self.event, self.device_id, self.protocol)?;
        map.end()
    }
}

/// Write all pieces, one a line.
pub(super) fn write(out: &mut impl Write, heard: &Heard, explained: bool, utc: Timestamp) -> io::Result<()> {
    for (index, piece) in heard.pieces.iter().enumerate() {
        let explanation = explained.then(|| explain(heard, index, utc)).flatten();
        serde_json::to_writer(&mut *out, &shown(heard, piece, explanation))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn shown<'a>(heard: &'a Heard, piece: &'a Piece, explanation: Option<Explanation>) -> Shown<'a> {
    let device_id = heard.device.as_ref().map_or("", DeviceId::as_str);
    let explanation = explanation.map(|Explanation { what, repair }| {
        let shown = |r: Repair| RepairShown { what: r.what, hex: hex(&r.bytes), title: r.piece.map(|p| p.title) };
        ExplanationShown { what, repair: repair.map(shown) }
    });
    Shown {
        protocol: heard.protocol.name,
        device_id: heard.device.as_ref(),
        device_assumed: heard.assumed,
        offset: piece.offset,
        length: piece.length,
        title: &piece.title,
        message: piece.message.as_deref(),
        fate: fate(piece),
        fields: fields(piece),
        events: piece.events.iter().map(|event| Told { event, device_id, protocol: heard.protocol.name }).collect(),
        faults: faults(piece),
        replies: piece.replies.iter().map(|reply| hex(reply)).collect(),
        close: piece.close,
        explanation,
    }
}

fn faults(piece: &Piece) -> Vec<FaultShown<'_>> {
    fn told<'a>(fault: &'a Fault, effect: &'static str, hex: Option<String>) -> FaultShown<'a> {
        let place = Place { offset: fault.offset, detail: &fault.detail };
        FaultShown { kind: fault.kind, place: Some(place), effect, hex }
    }
    let earlier = piece.notices.iter().map(|fault| told(fault, "earlier", None));
    let tolerated = piece.tolerated.iter().map(|kind| FaultShown { kind: *kind, place: None, effect: "tolerated", hex: None });
    let rejected = piece.reject.iter().map(|reject| told(&reject.fault, "rejected", Some(hex(&reject.bytes))));
    earlier.chain(tolerated).chain(rejected).collect()
}

fn fields(piece: &Piece) -> Vec<Field<'_>> {
    let bytes = |start: usize, end: usize| hex(piece.content.get(start..end).unwrap_or_default());
    let known = piece.fields.iter().map(|field| Field {
        offset: field.span.start,
        hex: bytes(field.span.start, field.span.end),
        name: Some(&field.name),
        value: Some(&field.value),
    });
    let unknown =
        piece.gaps().into_iter().map(|(start, end)| Field { offset: start, hex: bytes(start, end), name: None, value: None });
    let mut all: Vec<_> = known.chain(unknown).collect();
    all.sort_by_key(|field| field.offset);
    all
}

/// The fate of a frame in one word.
pub(super) fn fate(piece: &Piece) -> &'static str {
    match piece.fate {
        Some(Fate::Store) => "stored",
        Some(Fate::Handled(handled)) => handled.label(),
        Some(Fate::Reject(_)) => "rejected",
        None if piece.message.is_some() => "down",
        None => "no_frame",
    }
}
