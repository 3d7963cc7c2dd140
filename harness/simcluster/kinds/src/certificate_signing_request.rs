//! CertificateSigningRequest: what may be asked, and who says yes or no in which subresource.
//! Nobody signs here: that is a controller's, and signers' of your own.

mod pem;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::{self, NameRule};
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const SHORTEST: i64 = 600;
const DOMAIN_LIMIT: usize = 253;
const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";

pub(crate) struct CertificateSigningRequest;

impl KindRules for CertificateSigningRequest {
    fn prepare_create(&self, request: &mut Value) {
        request["status"] = json!({});
    }

    /// What was asked for does not change, and the status has places of its own.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        meta::keep(new, old, "spec");
        meta::keep(new, old, "status");
    }

    /// Signers write the status; decisions stay as they are.
    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::keep_for_status_update(new, old);
        keep_decisions(new, old);
    }

    fn stamp_status(&self, new: &mut Value, old: &Value, now: Timestamp) {
        stamp(new, old, now);
    }

    fn validate_create(&self, request: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&request["spec"], Path::new("spec"));
        if let Some(detail) = pem::request_complaint(&bytes(spec.text("request"))) {
            errors.push(Error::invalid(
                &path.child("request"),
                spec.text("request"),
                detail,
            ));
        }
        let usages = spec.texts("usages");
        let place = path.child("usages");
        if usages.is_empty() {
            errors.push(Error::required(&place, ""));
        }
        for (index, usage) in usages.iter().enumerate() {
            if !USAGES.contains(usage) {
                errors.push(Error::not_supported(&place.index(index), *usage, &USAGES));
            }
            if usages[..index].contains(usage) {
                errors.push(Error::duplicate(&place.index(index), *usage));
            }
        }
        signer_name(
            spec.text("signerName"),
            &path.child("signerName"),
            &mut errors,
        );
        if let Some(seconds) = spec
            .integer("expirationSeconds")
            .filter(|one| *one < SHORTEST)
        {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(Error::invalid(
                &path.child("expirationSeconds"),
                seconds,
                detail,
            ));
        }
        conditions(request, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        self.validate_create(new)
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        conditions(new, &mut errors);
        let (after, before) = (
            new.text("status.certificate"),
            old.text("status.certificate"),
        );
        let place = Path::new("status").child("certificate");
        let was_sound = pem::certificate_complaint(&bytes(before)).is_none();
        if after != before
            && was_sound
            && let Some(why) = pem::certificate_complaint(&bytes(after))
        {
            errors.push(Error::invalid(&place, "<certificate data>", why));
        }
        keeps_decisions(new, old, &mut errors);
        for kind in [APPROVED, DENIED] {
            if of_kind(new, kind).count() > of_kind(old, kind).count() {
                let place = Path::new("status").child("conditions");
                let detail = format!("updates may not add a condition of type {kind:?}");
                errors.push(Error::forbidden(&place, detail));
            }
        }
        if after != before && !before.is_empty() {
            let detail = "updates may not modify existing certificate content";
            errors.push(Error::forbidden(&place, detail));
        }
        errors
    }

    /// Only what every object keeps to.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn selectable_fields(&self, request: &Value) -> Vec<(&'static str, String)> {
        let signer = request.text("spec.signerName").to_owned();
        vec![("spec.signerName", signer)]
    }

    fn has_status(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                AGE,
                Column::text("SignerName"),
                Column::text("Requestor"),
                Column::text("RequestedDuration"),
                Column::text("Condition"),
            ]
        }
    }

    fn row(&self, request: &Value, now: Timestamp) -> Row {
        let decided = [DENIED, APPROVED]
            .into_iter()
            .find(|kind| condition(request, kind).is_some());
        let mut states = vec![decided.unwrap_or("Pending")];
        if condition(request, FAILED).is_some() {
            states.push(FAILED);
        }
        if !request.lacks("status.certificate") {
            states.push("Issued");
        }
        let duration = request.integer("spec.expirationSeconds");
        let duration = duration.map_or_else(
            || "<none>".to_owned(),
            |seconds| table::human_duration(jiff::SignedDuration::from_secs(seconds)),
        );
        Row::new(vec![
            table::name(request),
            table::age(request, now),
            json!(text_or(request.text("spec.signerName"), "<none>")),
            json!(request.text("spec.username")),
            json!(duration),
            json!(states.join(",")),
        ])
    }
}

const FAILED: &str = "Failed";
const DECISIONS: [&str; 3] = [APPROVED, DENIED, FAILED];

fn of_kind<'v>(request: &'v Value, kind: &'v str) -> impl Iterator<Item = &'v Value> {
    let conditions = request.list("status.conditions").iter();
    conditions.filter(move |one| one.text("type") == kind)
}

fn condition<'v>(request: &'v Value, kind: &'v str) -> Option<&'v Value> {
    of_kind(request, kind).next()
}

/// A field of bytes.
fn bytes(encoded: &str) -> Vec<u8> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    engine.decode(encoded).unwrap_or_default()
}

/// The organizations (groups) that a request names itself a part of; none when it cannot be read.
pub fn organizations(request: &Value) -> Vec<String> {
    pem::organizations(&bytes(request.text("spec.request")))
}

/// Who asks, as the server knows it.
pub fn fill_requestor(request: &mut Value, user: &Value) {
    for field in ["username", "uid", "groups", "extra"] {
        match user
            .get(field)
            .filter(|value| !value.is_null() && **value != "")
        {
            Some(value) => request["spec"][field] = value.clone(),
            None => drop(request.take_field(&format!("spec.{field}"))),
        }
    }
}

/// What an update through `approval` changes: the conditions.
pub fn prepare_approval(new: &mut Value, old: &Value, now: Timestamp) {
    meta::keep_for_status_update(new, old);
    meta::keep(new, old, "status.certificate");
    stamp(new, old, now);
}

/// What is wrong with an update through `approval`.
pub fn validate_approval(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    conditions(new, &mut errors);
    keeps_decisions(new, old, &mut errors);
    errors
}

/// What was decided stays decided.
fn keeps_decisions(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    for kind in DECISIONS {
        if of_kind(new, kind).count() < of_kind(old, kind).count() {
            let place = Path::new("status").child("conditions");
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.push(Error::forbidden(&place, detail));
        }
    }
}

/// Only `approval` approves and denies: where as many decisions are sent as there are, they are
/// those that there are.
fn keep_decisions(new: &mut Value, old: &Value) {
    for kind in [APPROVED, DENIED] {
        if of_kind(new, kind).count() != of_kind(old, kind).count() {
            continue;
        }
        let mut kept = of_kind(old, kind).cloned();
        for one in new.items("status.conditions") {
            if one.text("type") == kind
                && let Some(before) = kept.next()
            {
                *one = before;
            }
        }
    }
}

fn stamp(new: &mut Value, old: &Value, now: Timestamp) {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for one in new.items("status.conditions") {
        let kind = one.text("type").to_owned();
        let before = condition(old, &kind);
        one.fill("lastUpdateTime", now.as_str());
        if one.lacks("lastTransitionTime") {
            let same = before.filter(|before| before.text("status") == one.text("status"));
            let since = same.map(|before| before.text("lastTransitionTime"));
            let since = since
                .filter(|since| !since.is_empty())
                .unwrap_or(&now)
                .to_owned();
            one.put("lastTransitionTime", since);
        }
    }
}

fn conditions(request: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("status").child("conditions");
    let mut kinds: Vec<&str> = Vec::new();
    for (index, one) in request.list("status.conditions").iter().enumerate() {
        let place = path.index(index);
        let (kind, status) = (one.text("type"), one.text("status"));
        if kind.is_empty() {
            errors.push(Error::required(&place.child("type"), ""));
        }
        let allowed: &[&str] = if DECISIONS.contains(&kind) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        if status.is_empty() {
            errors.push(Error::required(&place.child("status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(Error::not_supported(
                &place.child("status"),
                status,
                allowed,
            ));
        }
        let other = match kind {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => "",
        };
        if kinds.contains(&other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(Error::invalid(&path, kind, detail));
        }
        if kinds.contains(&kind) {
            errors.push(Error::duplicate(&place.child("type"), kind));
        }
        kinds.push(kind);
    }
}

fn signer_name(signer: &str, path: &Path, errors: &mut Vec<Error>) {
    if signer.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let Some((domain, own)) = signer.split_once('/').filter(|(_, own)| !own.contains('/')) else {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(path, signer, detail));
        return;
    };
    if domain.len() > DOMAIN_LIMIT {
        errors.push(Error::too_long(path, DOMAIN_LIMIT));
    }
    let mut complain = |part: &str, label: &str, complaints: Vec<String>| {
        for why in complaints {
            let detail = format!("validating label {label:?}: {why}");
            errors.push(Error::invalid(path, part, detail));
        }
    };
    for label in domain.split('.') {
        complain(domain, label, name::dns1123_label(label));
    }
    for label in own.split('.') {
        complain(own, label, name::dns1123_subdomain(label));
    }
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, domain, detail));
    }
}
