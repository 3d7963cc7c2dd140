//! The options of lists and watches, and the rules between them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use simcluster_machinery::{
    field::{Error, Path},
    status::{Cause, Details, Status},
};

use crate::server::{Failure, call::Call};

/// `resourceVersionMatch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// That revision and no other.
    Exact,
    /// That revision or a newer one.
    NotOlderThan,
}

/// Options of a list or a watch, checked.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    /// `resourceVersion`; absent means now.
    pub(crate) revision: Option<u64>,
    /// `resourceVersionMatch`
    pub(crate) revision_match: Option<Match>,
    /// `limit`, if there is one.
    pub(crate) limit: Option<usize>,
    /// Where a list goes on.
    pub(crate) start: Option<Continue>,
    /// `sendInitialEvents`
    pub(crate) send_initial_events: Option<bool>,
    /// `allowWatchBookmarks`
    pub(crate) bookmarks: bool,
    /// `timeoutSeconds`, if there are any
    pub(crate) timeout: Option<Duration>,
}

/// What a continue token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continue {
    /// The revision of the list's first part; none to go on with what there is now.
    pub(crate) revision: Option<u64>,
    /// The first key that was not sent.
    pub(crate) key: String,
}

impl Continue {
    /// The token.
    pub(crate) fn token(&self) -> String {
        let revision = self.revision.map_or_else(|| json!(-1), |own| json!(own));
        let body = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.key});
        URL_SAFE_NO_PAD.encode(body.to_string())
    }

    fn parse(token: &str) -> Result<Self, Failure> {
        let bad = |why: String| bad_key(&why);
        let decoded = base64::engine::GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        )
        .decode(token)
        .map_err(|error| bad(error.to_string()))?;
        let body: Value = serde_json::from_slice(&decoded).map_err(|_| {
            // Go's decoder reads bytes, and shows the first one that fits nothing as a character.
            let first = decoded.iter().find(|byte| !byte.is_ascii_whitespace());
            bad(first.map_or_else(
                || "unexpected end of JSON input".to_owned(),
                |&byte| {
                    format!(
                        "invalid character '{}' looking for beginning of value",
                        byte as char
                    )
                },
            ))
        })?;
        let revision = body["rv"].as_i64().unwrap_or(0);
        if body["v"] != "meta.k8s.io/v1" {
            return Err(bad(format!(
                "server does not recognize this encoded version {:?}",
                body["v"].as_str().unwrap_or_default()
            )));
        }
        if revision == 0 {
            return Err(bad(
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned(),
            ));
        }
        let key = body["start"].as_str().unwrap_or_default();
        if key.is_empty() {
            return Err(bad(
                "encoded start key empty (version meta.k8s.io/v1)".to_owned()
            ));
        }
        // A key leads nowhere but forwards in its own collection.
        let strange = |segment: &str| matches!(segment, "" | "." | "..");
        if key.trim_start_matches('/').split('/').any(strange) {
            return Err(bad_key(key));
        }
        Ok(Self {
            revision: u64::try_from(revision).ok(),
            key: key.to_owned(),
        })
    }
}

fn bad_key(why: &str) -> Failure {
    Box::new(Status::bad_request(format!(
        "invalid continue token: continue key is not valid: {why}"
    )))
}

impl ListOptions {
    /// Reads and checks the query of a list, or of a watch.
    pub(crate) fn of(call: &Call, watch: bool) -> Result<Self, Failure> {
        let query = &call.query;
        let number = |name: &str| {
            query
                .number(name)
                .map_err(|why| Box::new(Status::bad_request(why)))
        };
        let limit = number("limit")?;
        let timeout_seconds = number("timeoutSeconds")?;
        let send_initial_events = query.optional_flag("sendInitialEvents");
        let revision = query.get("resourceVersion");
        let revision_match = query.get("resourceVersionMatch");
        let token = query.get("continue");

        let mut errors = Vec::new();
        if watch {
            watch_errors(revision_match, send_initial_events, &mut errors);
        } else {
            list_errors(
                revision,
                revision_match,
                token,
                send_initial_events,
                &mut errors,
            );
        }
        if !errors.is_empty() {
            return Err(Box::new(Status::invalid(
                "meta.k8s.io",
                "ListOptions",
                "",
                &errors,
            )));
        }

        let revision = parse_revision(revision)?;
        Ok(Self {
            revision,
            revision_match: match revision_match {
                "Exact" => Some(Match::Exact),
                "NotOlderThan" => Some(Match::NotOlderThan),
                _ => None,
            },
            limit: limit
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|&limit| limit > 0),
            start: if token.is_empty() || watch {
                None
            } else {
                Some(Continue::parse(token)?)
            },
            send_initial_events,
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout: timeout_seconds
                .filter(|&seconds| seconds != 0)
                .map(as_duration),
        })
    }
}

/// Seconds as the real server counts them: in nanoseconds of 64 bits, which more than 292 years
/// overflow. A time that has passed already is none at all.
fn as_duration(seconds: i64) -> Duration {
    let nanoseconds = seconds.wrapping_mul(1_000_000_000);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

fn parse_revision(text: &str) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Box::new(Status::invalid(
            "",
            "",
            "",
            &[Error::invalid(
                &Path::new("resourceVersion"),
                text,
                format!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
            )],
        ))
    })
}

fn watch_errors(revision_match: &str, initial: Option<bool>, errors: &mut Vec<Error>) {
    let path = Path::new("resourceVersionMatch");
    if initial.is_none() {
        if !revision_match.is_empty() {
            errors.push(Error::forbidden(
                &path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        return;
    }
    if revision_match != "NotOlderThan" {
        errors.push(Error::forbidden(
            &path,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
        if !revision_match.is_empty() {
            errors.push(Error::not_supported(
                &path,
                revision_match,
                &["NotOlderThan"],
            ));
        }
    }
}

fn list_errors(
    revision: &str,
    revision_match: &str,
    token: &str,
    initial: Option<bool>,
    errors: &mut Vec<Error>,
) {
    if initial.is_some() {
        errors.push(Error::forbidden(
            &Path::new("sendInitialEvents"),
            "sendInitialEvents is forbidden for list",
        ));
    }
    if revision_match.is_empty() {
        return;
    }
    let path = Path::new("resourceVersionMatch");
    if revision.is_empty() {
        errors.push(Error::forbidden(
            &path,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !token.is_empty() {
        errors.push(Error::forbidden(
            &path,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    if !matches!(revision_match, "Exact" | "NotOlderThan") {
        errors.push(Error::not_supported(
            &path,
            revision_match,
            &["Exact", "NotOlderThan", ""],
        ));
    }
    if revision_match == "Exact" && revision == "0" {
        errors.push(Error::forbidden(
            &path,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ));
    }
}

/// 504 for a revision that has not happened yet.
pub(super) fn too_new(asked: u64, current: u64) -> Failure {
    let message = format!("Too large resource version: {asked}, current: {current}");
    Box::new(Status::timeout(&message, 1).with_details(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
        ..Details::default()
    }))
}

/// Refuses a read "not older than" a revision that has not happened yet.
pub(super) fn not_in_the_future(call: &Call) -> Result<(), Failure> {
    if let Some(asked) = parse_revision(call.query.get("resourceVersion"))? {
        let current = call.server.store.read().revision();
        if asked > current {
            return Err(too_new(asked, current));
        }
    }
    Ok(())
}
