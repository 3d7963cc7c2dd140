//! Bodies written by hand, field by field, against what must come out as JSON.

use serde_json::{Value, json};

use super::{ProtobufError, to_json};

/// A field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    field.extend_from_slice(content);
    field
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
}

fn read(api_version: &str, kind: &str, raw: &[u8]) -> Value {
    serde_json::from_slice(&to_json(&body(api_version, kind, raw)).unwrap()).unwrap()
}

#[test]
fn maps_bytes_and_times_come_out_as_json() {
    let created = bytes(8, &number(1, 60));
    let metadata = bytes(1, &[bytes(1, b"a"), created].concat());
    let entry = bytes(2, &[bytes(1, b"k"), bytes(2, b"\x00\xff")].concat());
    assert_eq!(
        read("v1", "Secret", &[metadata, entry].concat()),
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:01:00Z"},
            "data": {"k": "AP8="},
        })
    );
}

#[test]
fn what_go_embeds_has_no_name() {
    let empty_dir = bytes(2, b"");
    let volume = bytes(1, &[bytes(1, b"v"), bytes(2, &empty_dir)].concat());
    let read = read("v1", "Pod", &bytes(2, &volume));
    assert_eq!(
        read["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {}}])
    );
}

#[test]
fn numbers_or_texts_and_quantities_are_bare() {
    let percent = bytes(1, &[number(1, 1), bytes(3, b"25%")].concat());
    let rolling = bytes(2, &percent);
    let read_deployment = read("apps/v1", "Deployment", &bytes(2, &bytes(4, &rolling)));
    assert_eq!(
        read_deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        "25%"
    );
    let entry = [bytes(1, b"cpu"), bytes(2, &bytes(1, b"250m"))].concat();
    let quota = read("v1", "ResourceQuota", &bytes(2, &bytes(1, &entry)));
    assert_eq!(quota["spec"]["hard"], json!({"cpu": "250m"}));
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(to_json(b"{}").unwrap_err(), ProtobufError::NotProtobuf);
    assert!(matches!(
        to_json(b"k8s\0\x0a\xff").unwrap_err(),
        ProtobufError::Malformed(_)
    ));
    let unknown = to_json(&body("x/v1", "Y", b"")).unwrap_err();
    assert!(matches!(unknown, ProtobufError::UnknownKind(_)));
    for length in 0..64 {
        // Whatever the bytes say, reading them ends.
        let noise: Vec<u8> = (0..length)
            .map(|n| u8::try_from(n * 37 % 256).unwrap())
            .collect();
        let _ = to_json(&body("v1", "Pod", &noise));
    }
}
