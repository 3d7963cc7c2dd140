//! Writing DER: as much as a certificate needs. Reading it is `x509-parser`'s business.

use jiff::{Timestamp, tz::TimeZone};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A value with its tag and length.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len();
    let digits: Vec<u8> = (length.to_be_bytes().into_iter())
        .skip_while(|byte| *byte == 0)
        .collect();
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        bytes.push(short);
    } else {
        bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or(u8::MAX));
        bytes.extend(digits);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Values one after another.
pub(super) fn sequence<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    tagged(SEQUENCE, &concat(parts))
}

fn concat<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.into_iter().flatten().copied().collect()
}

/// The name of something, already encoded.
pub(super) fn oid(encoded: &[u8]) -> Vec<u8> {
    tagged(OID, encoded)
}

/// A number that is not negative, from its bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = bytes
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    tagged(INTEGER, &digits)
}

/// Bits, of which the last `unused` do not count.
pub(super) fn bits(bytes: &[u8], unused: u8) -> Vec<u8> {
    tagged(BIT_STRING, &concat([[unused].as_slice(), bytes]))
}

/// A point in time, in the form that its year asks for.
pub(super) fn time(at: Timestamp) -> Vec<u8> {
    let civil = at.to_zoned(TimeZone::UTC);
    if (1950..2050).contains(&civil.year()) {
        tagged(
            UTC_TIME,
            civil.strftime("%y%m%d%H%M%SZ").to_string().as_bytes(),
        )
    } else {
        tagged(
            GENERALIZED_TIME,
            civil.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes(),
        )
    }
}

/// An extension of a certificate.
pub(super) fn extension(name: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mark = if critical {
        tagged(BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    sequence([
        oid(name).as_slice(),
        mark.as_slice(),
        tagged(OCTET_STRING, value).as_slice(),
    ])
}

/// A distinguished name of these attributes, in this order.
pub(super) fn name<'a>(attributes: impl IntoIterator<Item = (&'a [u8], &'a str)>) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = attributes
        .into_iter()
        .map(|(kind, text)| {
            let text = tagged(UTF8_STRING, text.as_bytes());
            tagged(SET, &sequence([oid(kind).as_slice(), text.as_slice()]))
        })
        .collect();
    sequence(parts.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_as_short_as_they_can_be() {
        assert_eq!(tagged(4, &[1]), [4, 1, 1]);
        assert_eq!(tagged(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn years_from_2050_on_have_four_digits() {
        let at = |text: &str| time(text.parse().unwrap());
        assert_eq!(at("2049-12-31T23:59:59Z")[2..], *b"491231235959Z");
        assert_eq!(at("2050-01-01T00:00:00Z")[2..], *b"20500101000000Z");
    }
}
