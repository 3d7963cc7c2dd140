//! Users who come by a certificate that the cluster signs.

use std::time::Duration;

use base64::Engine as _;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::SelfSubjectReview,
        certificates::v1::{
            CertificateSigningRequest, CertificateSigningRequestCondition,
            CertificateSigningRequestSpec, CertificateSigningRequestStatus,
        },
    },
};
use kube::{
    Api, Config, ResourceExt,
    api::{ObjectMeta, PostParams},
    config::KubeConfigOptions,
    runtime::wait::await_condition,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use simcluster::Cluster;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

/// Asks for a certificate of `signer` in the name of `user`, with these usages, and approves it.
async fn approved(
    requests: &Api<CertificateSigningRequest>,
    key: &KeyPair,
    user: &str,
    usages: &[&str],
) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "team");
    let pem = params.serialize_request(key).unwrap().pem().unwrap();
    let request = CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some("asked-".to_owned()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: "kubernetes.io/kube-apiserver-client".to_owned(),
            usages: Some(usages.iter().map(ToString::to_string).collect()),
            expiration_seconds: Some(3600),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let mut made = requests
        .create(&PostParams::default(), &request)
        .await
        .unwrap();
    made.status = Some(CertificateSigningRequestStatus {
        conditions: Some(vec![CertificateSigningRequestCondition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            ..CertificateSigningRequestCondition::default()
        }]),
        certificate: None,
    });
    let name = made.name_any();
    requests
        .replace_subresource("approval", &name, &PostParams::default(), &made)
        .await
        .unwrap();
    name
}

async fn settled(
    requests: &Api<CertificateSigningRequest>,
    name: &str,
) -> CertificateSigningRequestStatus {
    let is_settled = |request: Option<&CertificateSigningRequest>| {
        let status = request.and_then(|request| request.status.as_ref());
        let failed = |status: &CertificateSigningRequestStatus| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.any(|one| one.type_ == "Failed")
        };
        status.is_some_and(|status| status.certificate.is_some() || failed(status))
    };
    let waiting = await_condition(requests.clone(), name, is_settled);
    let settled = tokio::time::timeout(LIMIT, waiting).await;
    match settled {
        Ok(Ok(request)) => request
            .and_then(|request| request.status)
            .unwrap_or_default(),
        other => panic!("{other:?}; last seen: {:?}", requests.get(name).await),
    }
}

#[tokio::test]
async fn a_user_signs_in_by_the_certificate_that_was_approved() {
    let cluster = Cluster::builder().nodes(0).start().await.unwrap();
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client());
    let key = KeyPair::generate().unwrap();
    let name = approved(
        &requests,
        &key,
        "jan",
        &["client auth", "digital signature"],
    )
    .await;
    let status = settled(&requests, &name).await;
    let certificate = status.certificate.expect("it is signed").0;

    let mut kubeconfig = cluster.kubeconfig().clone();
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let user = kubeconfig.auth_infos[0].auth_info.get_or_insert_default();
    user.client_certificate_data = Some(encoded(&certificate));
    user.client_key_data = Some(encoded(key.serialize_pem().as_bytes()).into());
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let client = kube::Client::try_from(config.unwrap()).unwrap();
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let who = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let who = who.status.and_then(|status| status.user_info).unwrap();
    assert_eq!(who.username.as_deref(), Some("jan"));
    assert_eq!(who.groups.unwrap(), ["team", "system:authenticated"]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_request_that_a_signer_does_not_sign_fails_in_its_words() {
    let cluster = Cluster::builder().nodes(0).start().await.unwrap();
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client());
    let key = KeyPair::generate().unwrap();
    let name = approved(&requests, &key, "jan", &["server auth"]).await;
    let status = settled(&requests, &name).await;
    assert!(status.certificate.is_none());
    let conditions = status.conditions.unwrap_or_default();
    let failed = conditions.iter().find(|one| one.type_ == "Failed").unwrap();
    assert_eq!(failed.reason.as_deref(), Some("SignerValidationFailure"));
    assert_eq!(
        failed.message.as_deref(),
        Some("invalid usage for client certificate: server auth")
    );
    cluster.shutdown().await;
}
