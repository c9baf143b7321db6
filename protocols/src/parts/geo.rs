//! Coordinates and units.

/// Knots to km/h.
pub const KMH_PER_KNOT: f64 = 1.852;

/// Round to so many decimals: devices send fixed-point numbers, and what a division by 1 800 000 or 60 adds behind their
/// resolution is noise.
pub fn round(x: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (x * scale).round() / scale
}

/// Degrees from degrees and decimal minutes in one number, `DDMM.MMMM`.
pub fn from_ddmm(ddmm: f64) -> f64 {
    let degrees = (ddmm / 100.0).trunc();
    round(degrees + (ddmm - degrees * 100.0) / 60.0, 7)
}

/// Whether there is such a place.
pub fn on_earth(latitude: f64, longitude: f64) -> bool {
    (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_and_minutes() {
        assert_eq!(from_ddmm(2234.8476), 22.58079_33);
        assert_eq!(from_ddmm(-2234.8476), -22.58079_33);
        assert_eq!(round(23.111668333333, 6), 23.111668);
    }

    #[test]
    fn refuses_places_that_are_not() {
        assert!(on_earth(-90.0, 180.0));
        assert!(!on_earth(90.1, 0.0));
        assert!(!on_earth(0.0, -180.1));
        assert!(!on_earth(f64::NAN, 0.0));
    }
}
