//! What form of answer a client wants, from its headers and query.
//!
//! Does not make that form (see [`super::form`]).

use http::{HeaderMap, header};
use simcluster_machinery::status::Status;

use super::{Failure, query::Query};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/yaml`
    Yaml,
}

/// As what an object or a list is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// As itself.
    #[default]
    Whole,
    /// As a `Table`.
    Table,
    /// As `PartialObjectMetadata`, or a list of them.
    Metadata,
}

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// How it is written.
    pub(crate) encoding: Encoding,
    /// As what it is sent.
    pub(crate) form: Form,
    /// The version of `meta.k8s.io` for other forms than the whole.
    pub(crate) form_version: String,
    /// JSON with line breaks.
    pub(crate) pretty: bool,
    /// The client can read gzip.
    pub(crate) gzip: bool,
    /// The metadata of an object is asked for where there is a list, or the other way round.
    pub(crate) mismatched: bool,
}

/// One clause of `Accept`.
#[derive(Debug)]
pub(crate) struct Clause<'h> {
    /// `application/json`
    pub(crate) media_type: &'h str,
    /// `as`, `g`, `v`, …
    pub(crate) parameters: Vec<(&'h str, &'h str)>,
    quality: f32,
}

impl<'h> Clause<'h> {
    /// The value of a parameter, empty if absent.
    pub(crate) fn parameter(&self, name: &str) -> &'h str {
        self.parameters
            .iter()
            .find(|(own, _)| *own == name)
            .map_or("", |(_, value)| value)
    }
}

/// The clauses of a header, the preferred ones first.
pub(crate) fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
                .collect();
            let quality = parameters
                .iter()
                .find(|(name, _)| *name == "q")
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(1.0);
            Clause {
                media_type,
                parameters,
                quality,
            }
        })
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// The `Accept` header's text.
pub(crate) fn accept(headers: &HeaderMap) -> &str {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The forms that a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Only the object itself.
    Whole,
    /// Also as a table, or its metadata.
    Forms,
}

const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// What events of a watch can be written in.
const STREAM_TYPES: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// What the client wants of an answer about objects; a failure if nothing it accepts is served.
pub(crate) fn object(
    headers: &HeaderMap,
    query: &Query,
    offer: Offer,
    list: bool,
) -> Result<Wanted, Failure> {
    let accept = accept(headers);
    let mut wanted = Wanted {
        pretty: pretty(headers, query),
        gzip: accepts_gzip(headers),
        ..Wanted::default()
    };
    if accept.is_empty() {
        return Ok(wanted);
    }
    let mut known_type = false;
    let mut protobuf = false;
    for clause in clauses(accept) {
        let encoding = match clause.media_type {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => {
                known_type = true;
                protobuf = true;
                Encoding::Json
            }
            _ => continue,
        };
        // A real server offers only whole media types and `*/*`.
        if clause.media_type == "application/*" {
            continue;
        }
        known_type = true;
        if let Some(form) = form(&clause, offer) {
            wanted.encoding = encoding;
            wanted.form = form;
            let whole_list = clause.parameter("as") == "PartialObjectMetadataList";
            wanted.mismatched = form == Form::Metadata && whole_list != list;
            clause.parameter("v").clone_into(&mut wanted.form_version);
            return Ok(wanted);
        }
    }
    if protobuf {
        return Ok(wanted);
    }
    Err(Box::new(if known_type {
        Status::not_acceptable(&MEDIA_TYPES)
    } else {
        not_served(list)
    }))
}

fn not_served(streams: bool) -> Status {
    let mut available = MEDIA_TYPES.to_vec();
    if streams {
        available.extend(STREAM_TYPES);
    }
    let message = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        available.join(", ")
    );
    Status::failure(406, "NotAcceptable", message)
        .with_details(simcluster_machinery::status::Details::default())
}

fn form(clause: &Clause<'_>, offer: Offer) -> Option<Form> {
    let wanted = clause.parameter("as");
    if wanted.is_empty() {
        return Some(Form::Whole);
    }
    let known_version = matches!(clause.parameter("v"), "v1" | "v1beta1");
    if offer == Offer::Whole || clause.parameter("g") != "meta.k8s.io" || !known_version {
        return None;
    }
    match wanted {
        "Table" => Some(Form::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Metadata),
        _ => None,
    }
}

/// What a client wants of a watch: one object's forms, in a stream.
pub(crate) fn stream(headers: &HeaderMap, query: &Query) -> Result<Wanted, Failure> {
    let wanted = object(headers, query, Offer::Forms, false)?;
    if wanted.mismatched {
        return Err(Box::new(Status::not_acceptable(&MEDIA_TYPES)));
    }
    if wanted.encoding == Encoding::Yaml {
        return Err(Box::new(Status::not_acceptable(&STREAM_TYPES)));
    }
    Ok(Wanted {
        pretty: false,
        gzip: false,
        ..wanted
    })
}

/// Whether JSON shall have line breaks: as asked, or for people's tools.
fn pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(value) = query.find("pretty") {
        return !matches!(value, "0" | "false" | "False" | "FALSE" | "f" | "F");
    }
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|person| agent.starts_with(person))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().split(';').next() == Some("gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &'static str, list: bool) -> Result<Wanted, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        object(&headers, &Query::default(), Offer::Forms, list)
    }

    #[test]
    fn the_first_form_that_is_served_wins() {
        let table = wanted(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            true,
        );
        assert_eq!(table.unwrap().form, Form::Table);
        let odd = wanted(
            "application/json;as=Odd;v=v1;g=meta.k8s.io,application/json",
            true,
        );
        assert_eq!(odd.unwrap().form, Form::Whole);
        assert_eq!(
            wanted("application/json;as=Odd;v=v1;g=meta.k8s.io", true)
                .unwrap_err()
                .code,
            406
        );
    }

    #[test]
    fn protobuf_alone_is_answered_with_json() {
        let wanted = wanted("application/vnd.kubernetes.protobuf", false).unwrap();
        assert_eq!(wanted.encoding, Encoding::Json);
    }

    #[test]
    fn quality_orders_the_clauses() {
        let wanted = wanted("application/yaml;q=0.2,application/json", false).unwrap();
        assert_eq!(wanted.encoding, Encoding::Json);
    }
}
