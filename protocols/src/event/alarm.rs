//! The alarms of the contract, and sets of them.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

macro_rules! alarms {
    ($($name:ident = $label:literal),+ $(,)?) => {
        /// The alarms of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the contract's words")]
        pub enum Alarm { $($name),+ }

        impl Alarm {
            /// Every alarm, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word of the contract.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }
        }
    };
}

alarms! {
    Sos = "sos", PowerCut = "power_cut", PowerRestored = "power_restored", PowerOn = "power_on", PowerOff = "power_off",
    LowPower = "low_power", LowBattery = "low_battery", Overspeed = "overspeed", LowSpeed = "low_speed", Idle = "idle",
    Movement = "movement", Vibration = "vibration", FallDown = "fall_down", Accident = "accident",
    HardAcceleration = "hard_acceleration", HardBraking = "hard_braking", HardCornering = "hard_cornering",
    LaneChange = "lane_change", HighRpm = "high_rpm", Fatigue = "fatigue", Tow = "tow", Tamper = "tamper", Removed = "removed",
    Door = "door", Lock = "lock", Unlock = "unlock", Geofence = "geofence", GeofenceEnter = "geofence_enter",
    GeofenceExit = "geofence_exit", GnssAntennaCut = "gnss_antenna_cut", Jamming = "jamming", Fault = "fault",
    Temperature = "temperature", Parking = "parking", Bonnet = "bonnet", FootBrake = "foot_brake", FuelLeak = "fuel_leak",
    General = "general",
}

/// A set of alarms: one word, no allocation. Serialises as a list in declaration order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alarms(u64);

impl Alarms {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Add one.
    pub fn insert(&mut self, alarm: Alarm) {
        self.0 |= 1 << alarm as u32;
    }

    /// Whether this one is in it.
    pub const fn contains(self, alarm: Alarm) -> bool {
        self.0 >> alarm as u32 & 1 == 1
    }

    /// The alarms in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Alarm> {
        Alarm::ALL.iter().copied().filter(move |a| self.contains(*a))
    }
}

impl FromIterator<Alarm> for Alarms {
    fn from_iter<I: IntoIterator<Item = Alarm>>(alarms: I) -> Self {
        let mut set = Self::default();
        alarms.into_iter().for_each(|a| set.insert(a));
        set
    }
}

impl Serialize for Alarms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.count_ones() as usize))?;
        for alarm in self.iter() {
            list.serialize_element(alarm.label())?;
        }
        list.end()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Alarms {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Alarms".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let labels: Vec<_> = Alarm::ALL.iter().map(|a| a.label()).collect();
        schemars::json_schema!({ "type": "array", "uniqueItems": true, "items": { "type": "string", "examples": labels } })
    }
}
