//! Areas and routes: fields that are there if a bit of the attributes says so, which follows here from their being there.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::fields::{Batch, Field, List, Only2011, Since2013, Since2019, Sink, Text, Time, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt808::context::Context;
use crate::jt808::header::Edition;

/// Attribute bit 0: the times are there.
const TIMED: u16 = 1;
/// Attribute bit 1: the speed limit is there.
const LIMITED: u16 = 1 << 1;

fields! {
    /// Latitude and longitude in millionths of a degree; the hemisphere stands in the attributes.
    Point {
        latitude: u32,
        longitude: u32,
    }

    /// The place of a circle.
    Round {
        centre: Point,
        radius_m: u32,
    }

    /// The place of a rectangle.
    Corners {
        upper_left: Point,
        lower_right: Point,
    }

    /// From when to when; zeros for the date mean every day.
    Period {
        start: Time,
        end: Time,
    }

    /// Not faster than this for longer than this.
    SpeedLimit {
        speed_kmh: u16,
        duration_s: u8,
    }

    /// 0x8600.
    Circles {
        /// 0 replace, 1 append, 2 modify.
        kind: u8,
        circles: Batch<Area<Round>>,
    }

    /// 0x8602.
    Rectangles {
        /// 0 replace, 1 append, 2 modify.
        kind: u8,
        rectangles: Batch<Area<Corners>>,
    }

    /// 0x8601, 0x8603, 0x8605, 0x8607.
    Delete {
        /// None: all of the kind. The standard allows 125.
        ids: List<u32, 1>,
    }

    /// 0x8608.
    QueryAreas {
        /// 1 circles, 2 rectangles, 3 polygons, 4 routes.
        kind: u8,
        /// None: all of the kind.
        ids: List<u32, 4>,
    }
}

/// A circle or a rectangle.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Area<Place> {
    id: u32,
    /// Bits 2 to 15: whom to tell on entering and leaving, hemispheres, doors, radio, collection.
    attributes: u16,
    place: Place,
    period: Option<Period>,
    limit: Option<SpeedLimit>,
    night_kmh: Option<u16>,
    name: Since2019<Text<2>>,
}

fn with_bits(attributes: u16, period: Option<&Period>, limit: Option<&SpeedLimit>) -> u16 {
    let bit = |there: bool, bit: u16| if there { bit } else { 0 };
    attributes & !(TIMED | LIMITED) | bit(period.is_some(), TIMED) | bit(limit.is_some(), LIMITED)
}

/// What the attributes say is there.
fn maybe<T: Field>(there: bool, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Option<T>, Fault> {
    if there { T::take(c, "night_kmh", context).map(Some) } else { Ok(None) }
}

impl<Place: Field> Field for Area<Place> {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.id.put(out, edition);
        with_bits(self.attributes, self.period.as_ref(), self.limit.as_ref()).put(out, edition);
        self.place.put(out, edition);
        self.period.put(out, edition);
        self.limit.put(out, edition);
        self.night_kmh.put(out, edition);
        self.name.put(out, edition);
    }

    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let id = c.read("id", be_u32)?;
        let bits = c.read("attributes", be_u16)?;
        Ok(Self {
            id,
            attributes: bits & !(TIMED | LIMITED),
            place: Field::take(c, "place", context)?,
            period: maybe(bits & TIMED != 0, c, context)?,
            limit: maybe(bits & LIMITED != 0, c, context)?,
            night_kmh: maybe(bits & LIMITED != 0 && context.edition == Edition::V2019, c, context)?,
            name: Field::take(c, "name", context)?,
        })
    }

    fn sample(edition: Edition) -> Self {
        Self {
            id: 1,
            attributes: 0b1100,
            place: Field::sample(edition),
            period: Field::sample(edition),
            limit: Field::sample(edition),
            night_kmh: (edition == Edition::V2019).then_some(40),
            name: Field::sample(edition),
        }
    }
}

/// 0x8604.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Polygon {
    id: u32,
    attributes: u16,
    period: Option<Period>,
    limit: Option<SpeedLimit>,
    vertices: Vertices,
    night_kmh: Option<u16>,
    name: Since2019<Text<2>>,
}

/// Points behind their count, which the edition of 2011 repeats in one byte for its packet.
#[derive(Debug, Clone, PartialEq)]
struct Vertices(Vec<Point>);

/// Behind their count, which the edition of 2011 repeats in one byte.
fn put_counted<T: Field>(items: &[T], out: &mut impl Sink, edition: Edition) {
    (items.len() as u16).put(out, edition);
    Only2011::new(edition, || items.len() as u8).put(out, edition);
    items.iter().for_each(|item| item.put(out, edition));
}

fn take_counted<T: Field>(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Vec<T>, Fault> {
    let count = c.read("count", be_u16)?;
    Only2011::<u8>::take(c, "count_in_packet", context)?;
    (0..count).map(|_| T::take(c, name, context)).collect()
}

impl Field for Vertices {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        put_counted(&self.0, out, edition);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        take_counted(c, name, context).map(Self)
    }
    fn sample(edition: Edition) -> Self {
        Self(vec![Field::sample(edition); 3])
    }
}

impl Field for Polygon {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.id.put(out, edition);
        with_bits(self.attributes, self.period.as_ref(), self.limit.as_ref()).put(out, edition);
        self.period.put(out, edition);
        self.limit.put(out, edition);
        self.vertices.put(out, edition);
        self.night_kmh.put(out, edition);
        self.name.put(out, edition);
    }

    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let id = c.read("id", be_u32)?;
        let bits = c.read("attributes", be_u16)?;
        Ok(Self {
            id,
            attributes: bits & !(TIMED | LIMITED),
            period: maybe(bits & TIMED != 0, c, context)?,
            limit: maybe(bits & LIMITED != 0, c, context)?,
            vertices: Field::take(c, "vertex", context)?,
            night_kmh: maybe(bits & LIMITED != 0 && context.edition == Edition::V2019, c, context)?,
            name: Field::take(c, "name", context)?,
        })
    }

    fn sample(edition: Edition) -> Self {
        Self {
            id: 3,
            attributes: 0,
            period: None,
            limit: Field::sample(edition),
            vertices: Field::sample(edition),
            night_kmh: (edition == Edition::V2019).then_some(40),
            name: Field::sample(edition),
        }
    }
}

/// 0x8606.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Route {
    id: u32,
    /// Bits 2 to 5: whom to tell on entering and leaving.
    attributes: u16,
    period: Option<Period>,
    points: Turns,
    name: Since2019<Text<2>>,
}

/// Turning points behind their count, which the edition of 2011 repeats in one byte for its packet.
#[derive(Debug, Clone, PartialEq)]
struct Turns(Vec<Turn>);

/// A turning point of a route and the segment that begins there.
#[derive(Debug, Clone, PartialEq)]
struct Turn {
    point: Since2013<u32>,
    segment: u32,
    at: Point,
    width_m: u8,
    /// Bits 2 and 3: south, west.
    attributes: u8,
    longest_s: Option<u16>,
    shortest_s: Option<u16>,
    limit: Option<SpeedLimit>,
    night_kmh: Option<u16>,
}

impl Field for Turns {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        put_counted(&self.0, out, edition);
    }
    fn take(c: &mut Cursor<'_, '_>, name: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        take_counted(c, name, context).map(Self)
    }
    fn sample(edition: Edition) -> Self {
        Self(vec![Field::sample(edition); 2])
    }
}

impl Field for Turn {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.point.put(out, edition);
        self.segment.put(out, edition);
        self.at.put(out, edition);
        self.width_m.put(out, edition);
        let timed = if self.longest_s.is_some() { TIMED } else { 0 };
        let limited = if self.limit.is_some() { LIMITED } else { 0 };
        (self.attributes | (timed | limited) as u8).put(out, edition);
        self.longest_s.put(out, edition);
        self.shortest_s.put(out, edition);
        self.limit.put(out, edition);
        self.night_kmh.put(out, edition);
    }

    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let (point, segment) = (Field::take(c, "point", context)?, c.read("segment", be_u32)?);
        let (at, width_m) = (Field::take(c, "at", context)?, c.read("width_m", be_u8)?);
        let bits = c.read("attributes", be_u8)?;
        let has = |bit: u16| u16::from(bits) & bit != 0;
        Ok(Self {
            point,
            segment,
            at,
            width_m,
            attributes: bits & !((TIMED | LIMITED) as u8),
            longest_s: maybe(has(TIMED), c, context)?,
            shortest_s: maybe(has(TIMED) && context.edition >= Edition::V2013, c, context)?,
            limit: maybe(has(LIMITED), c, context)?,
            night_kmh: maybe(has(LIMITED) && context.edition == Edition::V2019, c, context)?,
        })
    }

    fn sample(edition: Edition) -> Self {
        Self {
            point: Field::sample(edition),
            segment: 1,
            at: Field::sample(edition),
            width_m: 20,
            attributes: 0b100,
            longest_s: Some(600),
            shortest_s: (edition >= Edition::V2013).then_some(60),
            limit: Field::sample(edition),
            night_kmh: (edition == Edition::V2019).then_some(40),
        }
    }
}

impl Field for Route {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.id.put(out, edition);
        with_bits(self.attributes, self.period.as_ref(), None).put(out, edition);
        self.period.put(out, edition);
        self.points.put(out, edition);
        self.name.put(out, edition);
    }

    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let id = c.read("id", be_u32)?;
        let bits = c.read("attributes", be_u16)?;
        Ok(Self {
            id,
            attributes: bits & !(TIMED | LIMITED),
            period: maybe(bits & TIMED != 0, c, context)?,
            points: Field::take(c, "point", context)?,
            name: Field::take(c, "name", context)?,
        })
    }

    fn sample(edition: Edition) -> Self {
        Self {
            id: 4,
            attributes: 0b10_1000,
            period: Field::sample(edition),
            points: Field::sample(edition),
            name: Field::sample(edition),
        }
    }
}
