//! Approved CertificateSigningRequests of Kubernetes' own signers get their certificate, or fail.
//!
//! [`rules`] says what each signer signs. It does NOT approve anything, holds no key (whoever starts the controllers
//! lends one by [`Settings::sign_certificate`]), and leaves other signers' requests to them.
//!
//! [`Settings::sign_certificate`]: crate::Settings::sign_certificate

mod rules;

use std::{future::Future, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition,
        CertificateSigningRequestStatus,
    },
};
use kube::ResourceExt;
use tokio::time::Instant;

use crate::{
    clock::Clock,
    context::Context,
    objects::{Objects, WriteError},
    settings::{CertificateOrder, SignCertificate},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "certificate-signing-controller";
/// How long a certificate lasts at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);
/// What lasts less than this ends when it is said to, counted from now.
const SHORT: SignedDuration = SignedDuration::from_hours(8);
/// So much earlier than now a certificate begins, for clocks that are late.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);
/// After a failure of the authority.
const PAUSE: Duration = Duration::from_secs(10);

struct Controller {
    requests: Objects<CertificateSigningRequest>,
    sign: SignCertificate,
    clock: Clock,
}

/// Registers for changes; the future works until dropped. Without a key it does nothing.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let controller = context.settings.sign_certificate.clone().map(|sign| {
        let queue: Arc<WorkQueue<String>> = Arc::default();
        let requests = context.objects::<CertificateSigningRequest>();
        let own = queue.clone();
        requests.cache().on_change(move |change| {
            if !change.is_removal() && is_waiting(change.object()) {
                own.add(change.object().name_any());
            }
        });
        let controller = Controller {
            requests,
            sign,
            clock: context.clock,
        };
        (queue, controller)
    });
    async move {
        let Some((queue, controller)) = controller else {
            return std::future::pending().await;
        };
        controller.requests.cache().synced().await;
        work(NAME, queue, 4, controller).await;
    }
}

fn is(status: Option<&CertificateSigningRequestStatus>, kind: &str) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|one| one.type_ == kind)
}

/// Whether it was approved and has neither a certificate nor failed.
fn is_waiting(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    let certificate = status.and_then(|status| status.certificate.as_ref());
    certificate.is_none_or(|certificate| certificate.0.is_empty())
        && is(status, "Approved")
        && !is(status, "Failed")
        && rules::is_ours(&request.spec.signer_name)
}

/// From when until when a certificate counts that is asked for now.
fn validity(now: Timestamp, asked: Option<i32>) -> (Timestamp, Timestamp) {
    let asked = asked.map(|seconds| SignedDuration::from_secs(i64::from(seconds)));
    let lasts = asked.map_or(LONGEST, |asked| asked.clamp(SHORTEST, LONGEST));
    let from = now - BACKDATED;
    let until = if lasts < SHORT {
        now + lasts
    } else {
        from + lasts
    };
    (from, until)
}

impl Reconcile<String> for Controller {
    async fn reconcile(&self, name: String) -> Result<Next, WriteError> {
        let Some(request) = self.requests.cache().get("", &name) else {
            return Ok(Next::OnChange);
        };
        if !is_waiting(&request) {
            return Ok(Next::OnChange);
        }
        let mut new = CertificateSigningRequest::clone(&request);
        let spec = &request.spec;
        let usages = spec.usages.as_deref().unwrap_or_default();
        let status = new.status.get_or_insert_default();
        match rules::judge(&spec.signer_name, &spec.request.0, usages) {
            Ok(der) => {
                let (not_before, not_after) = validity(self.clock.now(), spec.expiration_seconds);
                let order = CertificateOrder {
                    request: &der,
                    usages,
                    not_before,
                    not_after,
                };
                match (self.sign)(&order) {
                    Ok(pem) => status.certificate = Some(ByteString(pem.into_bytes())),
                    Err(why) => {
                        tracing::warn!(request = name, why, "a certificate could not be signed");
                        return Ok(Next::At(Instant::now() + PAUSE));
                    }
                }
            }
            Err(why) => {
                let conditions = status.conditions.get_or_insert_default();
                conditions.push(CertificateSigningRequestCondition {
                    type_: "Failed".to_owned(),
                    status: "True".to_owned(),
                    reason: Some("SignerValidationFailure".to_owned()),
                    message: Some(why),
                    last_update_time: Some(self.clock.time()),
                    last_transition_time: None,
                });
            }
        }
        match self.requests.replace_status(&new).await {
            Err(error) if error.is_not_found() => Ok(Next::OnChange),
            other => other.map(|_| Next::OnChange),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_lasts_as_long_as_was_asked_for_within_bounds() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let until = |asked: Option<i32>| validity(now, asked).1.to_string();
        assert_eq!(until(None), "2026-12-31T23:55:00Z");
        assert_eq!(until(Some(1)), "2026-01-01T00:10:00Z");
        assert_eq!(until(Some(3600)), "2026-01-01T01:00:00Z");
        assert_eq!(until(Some(24 * 3600)), "2026-01-01T23:55:00Z");
        assert_eq!(until(Some(i32::MAX)), "2026-12-31T23:55:00Z");
        assert_eq!(validity(now, None).0.to_string(), "2025-12-31T23:55:00Z");
    }
}
