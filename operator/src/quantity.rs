//! Sizes as Kubernetes writes them, in bytes. Pure.

/// Bytes of `1Gi`, `500M`, `1.5Ti`, `1e9`; `None` if it is no quantity of bytes.
pub fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity
        .find(|character: char| !(character.is_ascii_digit() || character == '.'))
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            10.0_f64.powi(digits.parse().ok()?)
        }
    };
    let value = (number * factor).ceil();
    // Larger than any disk, and still exact enough to compare sizes.
    (0.0..1.8e19).contains(&value).then_some(
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked above"
        )]
        {
            value as u64
        },
    )
}

/// The first quantity is less than the second; two that cannot be read are not.
pub fn is_less(one: &str, other: &str) -> bool {
    match (bytes(one), bytes(other)) {
        (Some(one), Some(other)) => one < other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_every_form_are_read() {
        for (text, expected) in [
            ("1Gi", Some(1 << 30)),
            ("500M", Some(500_000_000)),
            ("1.5Ki", Some(1536)),
            ("1e3", Some(1000)),
            ("12E2", Some(1200)),
            ("7", Some(7)),
            ("1000m", Some(1)),
            ("Gi", None),
            ("1Xi", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        assert!(is_less("1G", "1Gi") && !is_less("1Gi", "1024Mi"));
    }
}
