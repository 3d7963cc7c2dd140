//! Quantities: `500m`, `1.5Gi`, `12e6`; how they are read, compared, added and written.
//!
//! Kept exactly in nano-units; what is finer is rounded up, as the API does. Amounts beyond 1.7e29
//! are cut off there.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An amount and the family of suffixes it is written with.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    DecimalSi,
}

/// Why a text is not a quantity; the texts are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a number with a suffix at all.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS: i128 = 1_000_000_000;
/// Binary quantities are never larger than this many units.
const BINARY_LIMIT: i128 = i64::MAX as i128 * NANOS;

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// A whole number of units.
    pub fn from_integer(value: i64, format: Format) -> Self {
        Self {
            nanos: i128::from(value) * NANOS,
            format,
        }
    }

    /// A whole number of thousandths.
    pub fn from_millis(millis: i64) -> Self {
        Self {
            nanos: i128::from(millis) * (NANOS / 1000),
            format: Format::DecimalSi,
        }
    }

    /// The family of suffixes it is written with.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number of units.
    pub fn is_integer(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// Whole units, rounded up.
    pub fn value(&self) -> i64 {
        saturate(div_ceil(self.nanos, NANOS))
    }

    /// Thousandths, rounded up.
    pub fn milli_value(&self) -> i64 {
        saturate(div_ceil(self.nanos, NANOS / 1000))
    }

    /// As a floating point number, for sums that need not be exact.
    #[expect(
        clippy::cast_precision_loss,
        reason = "what is asked for is an approximation"
    )]
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// The sum, written like the first unless that is zero.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "which suffix the result has is no matter of course"
    )]
    pub fn add(self, other: Self) -> Self {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format,
        }
    }

    /// The difference, written like the first unless that is zero.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "which suffix the result has is no matter of course"
    )]
    pub fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format,
        }
    }

    /// So many times as much; the factor counts to nine decimal places, and the result is rounded up.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            nanos: div_ceil(self.nanos.saturating_mul(billionths(factor)), NANOS),
            ..self
        }
    }

    /// One of so many parts, in the same way; `None` if the divisor is nothing.
    #[must_use]
    pub fn parted(self, divisor: f64) -> Option<Self> {
        let divisor = billionths(divisor);
        let nanos = self.nanos.saturating_mul(NANOS);
        // Rounding up is towards greater amounts, whatever the signs.
        let nanos = match divisor {
            0 => return None,
            1.. => div_ceil(nanos, divisor),
            _ => div_ceil(nanos.saturating_neg(), divisor.saturating_neg()),
        };
        Some(Self { nanos, ..self })
    }

    /// What is left of it when as many of `part` as fit are taken away; `None` if that is nothing.
    #[must_use]
    pub fn remainder(self, part: Self) -> Option<Self> {
        let nanos = self.nanos.checked_rem(part.nanos)?;
        Some(Self { nanos, ..self })
    }

    fn decimal(&self) -> (i128, i32) {
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 {
            mantissa /= 1000;
            exponent += 3;
        }
        (mantissa, exponent)
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too large is taken for the largest there is"
)]
fn billionths(factor: f64) -> i128 {
    (factor * 1e9).round() as i128
}

fn div_ceil(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that allows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS;
        if self.format == Format::BinarySi && !small && self.is_integer() {
            let (mut mantissa, mut power) = (self.nanos / NANOS, 0);
            while mantissa % 1024 == 0 && power + 1 < BINARY.len() {
                mantissa /= 1024;
                power += 1;
            }
            return write!(f, "{mantissa}{}", BINARY[power]);
        }
        let (mut mantissa, mut exponent) = self.decimal();
        if self.format == Format::DecimalExponent {
            return match exponent {
                0 => write!(f, "{mantissa}"),
                _ => write!(f, "{mantissa}e{exponent}"),
            };
        }
        while exponent > 18 {
            mantissa *= 1000;
            exponent -= 3;
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |(s, _)| s);
        write!(f, "{mantissa}{suffix}")
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let (negative, unsigned) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        let (exponent, format) = suffix(rest)?;
        let nanos = match exponent {
            Exponent::Ten(power) => scale_ten(whole, fraction, power)?,
            Exponent::Two(power) => scale_two(whole, fraction, power)?.min(BINARY_LIMIT),
        };
        // Less than one cannot be told in powers of 1024.
        let format = match format {
            Format::BinarySi if nanos > 0 && nanos < NANOS => Format::DecimalSi,
            other => other,
        };
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }
}

enum Exponent {
    Ten(i32),
    Two(u32),
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn suffix(text: &str) -> Result<(Exponent, Format), ParseError> {
    let letters = text
        .bytes()
        .position(|byte| !b"eEinumkKMGTP".contains(&byte));
    let (_, rest) = text.split_at(letters.unwrap_or(text.len()));
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Format);
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == text) {
        return Ok((Exponent::Ten(*power), Format::DecimalSi));
    }
    if let Some(power) = BINARY.iter().position(|name| *name == text) {
        let power = u32::try_from(power * 10).unwrap_or_default();
        return Ok((Exponent::Two(power), Format::BinarySi));
    }
    let power = text
        .strip_prefix(['e', 'E'])
        .and_then(|power| power.parse::<i32>().ok());
    power
        .map(|power| (Exponent::Ten(power), Format::DecimalExponent))
        .ok_or(ParseError::Suffix)
}

fn number(digits: &str) -> Result<i128, ParseError> {
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Ok(0),
        1..=38 => digits.parse().map_err(|_| ParseError::Numeric),
        _ => Ok(i128::MAX),
    }
}

fn scale_ten(whole: &str, fraction: &str, power: i32) -> Result<i128, ParseError> {
    // Far more digits than nano-units can hold tell nothing but the rounding.
    let kept = fraction.len().min(60);
    let rounded = fraction.bytes().skip(kept).any(|digit| digit != b'0');
    let digits = format!("{whole}{}", &fraction[..kept]);
    let shift = power
        .saturating_add(9)
        .saturating_sub(i32::try_from(kept).unwrap_or(i32::MAX));
    if digits.bytes().all(|digit| digit == b'0') {
        return Ok(0);
    }
    if shift >= 0 {
        let factor = 10_i128
            .checked_pow(shift.unsigned_abs())
            .unwrap_or(i128::MAX);
        return Ok(number(&digits)?.saturating_mul(factor));
    }
    let cut = shift.unsigned_abs() as usize;
    let (keep, dropped) = digits.split_at(digits.len().saturating_sub(cut));
    let up = rounded || dropped.bytes().any(|digit| digit != b'0');
    Ok(number(keep)?.saturating_add(i128::from(up)))
}

fn scale_two(whole: &str, fraction: &str, power: u32) -> Result<i128, ParseError> {
    let factor = 1_i128 << power;
    let units = number(whole)?.saturating_mul(factor).saturating_mul(NANOS);
    // The fraction to 18 digits is finer than a nano-unit of the largest suffix needs.
    let fraction = &fraction[..fraction.len().min(18)];
    let denominator = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or_default());
    let part = number(fraction)?.saturating_mul(factor);
    let whole_part = (part / denominator).saturating_mul(NANOS);
    let rest = div_ceil((part % denominator).saturating_mul(NANOS), denominator);
    Ok(units.saturating_add(whole_part).saturating_add(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().unwrap().to_string()
    }

    #[test]
    fn the_canonical_form_has_no_fraction_and_the_largest_suffix() {
        for (text, expected) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1000Mi", "1000Mi"),
            ("0.5Ki", "512"),
            ("0.1Mi", "104857600m"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("12E6", "12e6"),
            ("1E", "1E"),
            ("3000000000", "3G"),
            ("+5", "5"),
            ("-1500m", "-1500m"),
            ("100u", "100u"),
            ("1.0000000001", "1000000001n"),
            ("0.0000000001", "1n"),
            ("1023", "1023"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_as_the_api_does() {
        let error = |text: &str| text.parse::<Quantity>().unwrap_err();
        assert_eq!(error(""), ParseError::Format);
        assert_eq!(error("abc"), ParseError::Format);
        assert_eq!(error("1GiB"), ParseError::Format);
        assert_eq!(error("1.2.3"), ParseError::Format);
        assert_eq!(error("1mm"), ParseError::Suffix);
        assert_eq!(error("1e"), ParseError::Suffix);
    }

    #[test]
    fn values_are_rounded_up() {
        let quantity: Quantity = "1500m".parse().unwrap();
        assert_eq!((quantity.value(), quantity.milli_value()), (2, 1500));
        let quantity: Quantity = "-1500m".parse().unwrap();
        assert_eq!(quantity.value(), -1);
    }

    #[test]
    fn different_suffixes_compare_and_add() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(parse("1Gi") > parse("1G"));
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert_eq!(parse("500m").add(parse("1.5")).to_string(), "2");
        assert_eq!(Quantity::ZERO.add(parse("2Gi")).to_string(), "2Gi");
        assert_eq!(parse("1Gi").sub(parse("1Mi")).to_string(), "1023Mi");
    }

    #[test]
    fn amounts_are_multiplied_and_divided() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(parse("512Mi").times(2.0).to_string(), "1Gi");
        assert_eq!(parse("1").times(0.1).to_string(), "100m");
        assert_eq!(parse("1Gi").parted(4.0).unwrap().to_string(), "256Mi");
        assert_eq!(parse("1").parted(3.0).unwrap().to_string(), "333333334n");
        assert_eq!(parse("1").parted(-2.0).unwrap().to_string(), "-500m");
        assert!(parse("1").parted(0.0).is_none());
        let left = parse("5Gi").remainder(parse("2Gi"));
        assert_eq!(left.unwrap().to_string(), "1Gi");
        assert!(parse("1").remainder(Quantity::ZERO).is_none());
        for factor in [f64::MAX, f64::NEG_INFINITY, f64::NAN] {
            // However large: there is an end to amounts, and it is no panic.
            let _ = (parse("-16Ei").times(factor), parse("-16Ei").parted(factor));
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_means_the_same(
            whole in 0_u64..10_000_000, fraction in 0_u32..1000,
            suffix in prop::sample::select(
                vec!["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti", "e3", "e-3"]),
        ) {
            let quantity: Quantity = format!("{whole}.{fraction:03}{suffix}").parse().unwrap();
            let again: Quantity = quantity.to_string().parse().unwrap();
            prop_assert_eq!(quantity, again);
            prop_assert_eq!(quantity.to_string(), again.to_string());
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eEinumkKMGTP]{0,90}") {
            let _ = text.parse::<Quantity>().map(|quantity| quantity.to_string());
        }
    }
}
