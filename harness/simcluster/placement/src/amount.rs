//! Amounts of resources: `500m`, `1Gi`, `2e3`. Canonical writing of what users send is the API server's.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount in billionths, so that `1n` and `8Ei` can both be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

const BILLION: i128 = 1_000_000_000;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many units.
    pub fn whole(units: i64) -> Self {
        Self(i128::from(units) * BILLION)
    }

    /// Reads a quantity; what is not one counts as nothing, since the API server lets none through.
    pub fn of(quantity: &Quantity) -> Self {
        Self::parse(&quantity.0).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let end = text
            .char_indices()
            .find(|(index, letter)| {
                !(letter.is_ascii_digit()
                    || *letter == '.'
                    || (*index == 0 && "+-".contains(*letter)))
            })
            .map_or(text.len(), |(index, _)| index);
        let (number, suffix) = text.split_at(end);
        let (digits, fraction) = number.split_once('.').unwrap_or((number, ""));
        let negative = digits.starts_with('-');
        let mantissa: i128 = format!("{}{fraction}", digits.trim_start_matches(['+', '-']))
            .parse()
            .ok()?;
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let (multiplier, divisor) = suffix_of(suffix)?;
        let amount = mantissa
            .checked_mul(BILLION)?
            .checked_mul(multiplier)?
            .checked_div(scale.checked_mul(divisor)?)?;
        Some(Self(if negative { -amount } else { amount }))
    }

    /// Both together.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without the other.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In whole units, rounded up.
    pub fn units(self) -> i128 {
        self.0.saturating_add(BILLION - 1).div_euclid(BILLION)
    }

    /// In thousandths of a unit, rounded up.
    pub fn thousandths(self) -> i128 {
        const MILLION: i128 = BILLION / 1000;
        self.0.saturating_add(MILLION - 1).div_euclid(MILLION)
    }

    /// The amount divided by another, as a share; nothing divided by nothing is full.
    pub fn share_of(self, whole: Self) -> f64 {
        if whole.0 <= 0 {
            return 1.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a score needs no more digits than a float has"
        )]
        let share = self.0 as f64 / whole.0 as f64;
        share
    }

    /// Written in its canonical form, in powers of 1024 if `binary`.
    pub fn to_quantity(self, binary: bool) -> Quantity {
        let milli = self.0 / 1_000_000;
        if milli % 1000 != 0 {
            return Quantity(format!("{milli}m"));
        }
        let units = milli / 1000;
        let (base, suffixes): (i128, &[&str]) = if binary {
            (1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
        } else {
            (1000, &["", "k", "M", "G", "T", "P", "E"])
        };
        let (mut rest, mut power) = (units, 0);
        while rest != 0 && rest % base == 0 && power + 1 < suffixes.len() {
            rest /= base;
            power += 1;
        }
        Quantity(format!("{rest}{}", suffixes[power]))
    }
}

fn suffix_of(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, BILLION),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (BILLION, 1),
        "T" => (1000 * BILLION, 1),
        "P" => (1_000_000 * BILLION, 1),
        "E" => (BILLION * BILLION, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_is_read() {
        for (text, nanos) in [
            ("1", BILLION),
            ("100m", BILLION / 10),
            ("0.5", BILLION / 2),
            ("1.5Gi", 1_610_612_736 * BILLION),
            ("2k", 2000 * BILLION),
            ("1e3", 1000 * BILLION),
            ("1E", 1_000_000_000_000_000_000 * BILLION),
            ("5n", 5),
            ("-1", -BILLION),
        ] {
            assert_eq!(Amount::parse(text), Some(Amount(nanos)), "{text}");
        }
        assert_eq!(Amount::parse("1500u").unwrap().thousandths(), 2);
        assert_eq!(Amount::parse("1500m").unwrap().units(), 2);
        assert_eq!(Amount::parse("1Zi"), None);
        assert_eq!(Amount::parse(""), None);
    }

    #[test]
    fn amounts_are_written_with_the_largest_exact_suffix() {
        let amount = |text: &str| Amount::parse(text).unwrap();
        assert_eq!(amount("2048Mi").to_quantity(true).0, "2Gi");
        assert_eq!(amount("1500m").to_quantity(false).0, "1500m");
        assert_eq!(amount("3000").to_quantity(false).0, "3k");
        assert_eq!(amount("0").to_quantity(true).0, "0");
    }
}
