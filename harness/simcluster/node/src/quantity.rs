//! Kubernetes quantities, as far as a node reckons with them: reading, adding, dividing. Pure.
//!
//! Canonical forms of what users write are the API server's concern.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;

/// The value in units of 10⁻⁹, rounded up; `None` if the text is not a quantity.
pub(crate) fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (numerator, denominator): (i128, i128) = match suffix {
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "" => (NANO, 1),
        "k" => (NANO * 1_000, 1),
        "M" => (NANO * 1_000_000, 1),
        "G" => (NANO * NANO, 1),
        "T" => (NANO * NANO * 1_000, 1),
        "P" => (NANO * NANO * 1_000_000, 1),
        "E" => (NANO * NANO * NANO, 1),
        "Ki" => (NANO << 10, 1),
        "Mi" => (NANO << 20, 1),
        "Gi" => (NANO << 30, 1),
        "Ti" => (NANO << 40, 1),
        "Pi" => (NANO << 50, 1),
        "Ei" => (NANO << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10i128.checked_pow(power.unsigned_abs())?;
            if power >= 0 {
                (NANO.checked_mul(factor)?, 1)
            } else {
                (NANO, factor)
            }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let whole = whole.trim_start_matches(['+', '-']);
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = mantissa.checked_mul(numerator)?;
    let divisor = scale.checked_mul(denominator)?;
    Some(sign * (scaled + divisor - 1).div_euclid(divisor))
}

/// The sum, written as the first one is: binary suffixes stay binary.
pub(crate) fn sum(quantities: &[&Quantity]) -> Quantity {
    if let [only] = quantities {
        return (*only).clone();
    }
    let total: i128 = quantities.iter().filter_map(|q| nanos(&q.0)).sum();
    let binary = quantities.first().is_some_and(|q| q.0.ends_with('i'));
    Quantity(write(total, binary))
}

/// How many times `divisor` goes into `amount`, rounded up, as `resourceFieldRef` asks.
pub(crate) fn divide(amount: &str, divisor: &str) -> Option<i128> {
    let divisor = nanos(divisor).filter(|d| *d > 0).unwrap_or(NANO);
    let amount = nanos(amount)?;
    Some((amount + divisor - 1).div_euclid(divisor))
}

fn write(nanos: i128, binary: bool) -> String {
    let suffixes: &[(&str, i128)] = if binary {
        &[
            ("Ti", NANO << 40),
            ("Gi", NANO << 30),
            ("Mi", NANO << 20),
            ("Ki", NANO << 10),
        ]
    } else {
        &[
            ("G", NANO * NANO),
            ("M", NANO * 1_000_000),
            ("k", NANO * 1_000),
        ]
    };
    let small = [("", NANO), ("m", 1_000_000), ("u", 1_000), ("n", 1)];
    let fitting = suffixes
        .iter()
        .chain(&small)
        .find(|(_, unit)| nanos % unit == 0);
    fitting.map_or_else(
        || nanos.to_string(),
        |(suffix, unit)| format!("{}{suffix}", nanos / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_quantity_is_read() {
        let cases = [
            ("5m", 5_000_000),
            ("0.5", NANO / 2),
            ("1Gi", NANO << 30),
            ("1e3", 1_000 * NANO),
            ("1.5k", 1_500 * NANO),
            ("-1", -NANO),
            ("2E", 2 * NANO * NANO * NANO),
        ];
        for (text, value) in cases {
            assert_eq!(nanos(text), Some(value), "{text}");
        }
        assert_eq!(nanos("five"), None);
        assert_eq!(nanos(""), None);
    }

    #[test]
    fn a_resource_field_is_divided_and_rounded_up() {
        assert_eq!(divide("5m", "1m"), Some(5));
        assert_eq!(divide("1500m", "1"), Some(2));
        assert_eq!(divide("64Mi", "1Mi"), Some(64));
    }

    #[test]
    fn sums_keep_the_form_of_what_was_summed() {
        let q = |s: &str| Quantity(s.to_owned());
        assert_eq!(sum(&[&q("64Mi"), &q("64Mi")]).0, "128Mi");
        assert_eq!(sum(&[&q("250m"), &q("750m")]).0, "1");
        assert_eq!(sum(&[&q("100m"), &q("5m")]).0, "105m");
    }
}
