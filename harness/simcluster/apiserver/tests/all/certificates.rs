//! Certificate signing requests: what may be asked, who decides, who signs.

use base64::Engine as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::support::World;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn encoded(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A request in the name of `user`, a member of `group`, as PEM.
fn request(user: &str, group: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    let key = KeyPair::generate().expect("there is chance");
    let request = params.serialize_request(&key).expect("it can be asked for");
    request.pem().expect("it can be written")
}

fn asking(name: &str, signer: &str, pem: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"request": encoded(pem.as_bytes()), "username": "me",
           "signerName": signer, "usages": ["client auth"]}})
}

fn decide(kind: &str) -> Value {
    json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "R"}]}})
}

/// What causes a refusal names.
fn causes(answer: &crate::support::Answer) -> Vec<String> {
    let causes = answer.body["details"]["causes"].as_array();
    let text = |cause: &Value| {
        let field = cause["field"].as_str().unwrap_or_default();
        format!("{field}: {}", cause["message"].as_str().unwrap_or_default())
    };
    causes.into_iter().flatten().map(text).collect()
}

#[tokio::test]
async fn a_certificate_is_asked_for_approved_and_issued() {
    let world = World::start();
    let mut bad = asking("c", "x", "a");
    bad["spec"]["usages"] = json!(["foo", "any", "any"]);
    bad["spec"]["expirationSeconds"] = json!(5);
    let refused = causes(&world.post(REQUESTS, &bad).await);
    for (cause, start) in refused.iter().zip([
        "spec.request: Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST",
        "spec.usages[0]: Unsupported value: \"foo\": supported values: \"any\", \"cert sign\"",
        "spec.usages[2]: Duplicate value: \"any\"",
        "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form",
        "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds",
    ]) {
        assert!(cause.starts_with(start), "{refused:#?}");
    }
    assert_eq!(refused.len(), 5);
    let good = asking("c", "example.com/mine", &request("jan", "team"));
    let made = world.post(REQUESTS, &good).await.ok();
    assert_eq!(made["spec"]["groups"][0], "system:masters");
    assert_ne!(made["spec"]["username"], "me", "the server knows who it is");
    let one = format!("{REQUESTS}/c");
    let other = json!({"spec": {"signerName": "example.com/other"}});
    let same = world.patch("merge", &one, &other).await.ok();
    assert_eq!(same["spec"]["signerName"], "example.com/mine");
    let found = |signer: &str| format!("{REQUESTS}?fieldSelector=spec.signerName%3D{signer}");
    let of_mine = world.get(&found("example.com/mine")).await.ok();
    assert_eq!(of_mine["items"].as_array().unwrap().len(), 1);

    let (status, approval) = (format!("{one}/status"), format!("{one}/approval"));
    let misplaced = world.patch("merge", &status, &decide("Approved")).await;
    assert_eq!(
        causes(&misplaced),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    let approved = world
        .patch("merge", &approval, &decide("Approved"))
        .await
        .ok();
    assert!(approved["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let taken_back = world.patch("merge", &approval, &decide("Denied")).await;
    assert_eq!(
        causes(&taken_back),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    let both = json!([{"op": "add", "path": "/status/conditions/-", "value": decide("Denied")["status"]["conditions"][0]}]);
    assert_eq!(
        causes(&world.patch("json", &approval, &both).await),
        [
            "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are \
             mutually exclusive"
        ]
    );
    let certificate = |text: &str| json!({"status": {"certificate": encoded(text.as_bytes())}});
    assert_eq!(
        causes(&world.patch("merge", &status, &certificate("a")).await),
        [
            "status.certificate: Invalid value: \"<certificate data>\": must contain at least one \
             CERTIFICATE PEM block"
        ]
    );
    let authority = world.server.authority().unwrap();
    let issued = certificate(authority.certificate());
    let issued = world.patch("merge", &status, &issued).await.ok();
    assert_eq!(issued["status"]["conditions"].as_array().unwrap().len(), 1);
    let other = format!("{0}{0}", authority.certificate());
    assert_eq!(
        causes(&world.patch("merge", &status, &certificate(&other)).await),
        ["status.certificate: Forbidden: updates may not modify existing certificate content"]
    );
    let table = world
        .get_as(REQUESTS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    assert_eq!(table["rows"][0]["cells"][5], "Approved,Issued");
    assert_eq!(table["rows"][0]["cells"][4], "<none>");
}

#[tokio::test]
async fn a_request_is_signed_by_who_has_the_key() {
    let world = World::start();
    let pem = request("jan", "team");
    let (_, block) = pem.split_once("-----\n").unwrap();
    let (body, _) = block.split_once("-----END").unwrap();
    let mut der = base64::engine::general_purpose::STANDARD
        .decode(body.replace(['\n', '\r'], ""))
        .unwrap();
    // Within the name, so that what was signed is another text.
    let at = der.windows(3).position(|part| part == b"jan").unwrap();
    der[at] = b'J';
    let forged = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        encoded(&der)
    );
    let refused = causes(&world.post(REQUESTS, &asking("c", CLIENT, &forged)).await);
    assert!(
        refused[0].ends_with(": x509: ECDSA verification failure"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nobody_asks_to_be_an_administrator() {
    let world = World::start();
    let masters = request("jan", "system:masters");
    let refused = world.post(REQUESTS, &asking("c", CLIENT, &masters)).await;
    refused.fails(
        403,
        "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: use of \
         kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
    );
    let own = asking("c", "example.com/mine", &masters);
    world.post(REQUESTS, &own).await.ok();
}

#[tokio::test]
async fn a_signers_requests_are_approved_and_signed_by_whom_it_lets() {
    let world = World::start();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let let_jan = async |name: &str, rule: Value| {
        let role = json!({"metadata": {"name": name}, "rules": [rule]});
        world
            .post(&format!("{rbac}/clusterroles"), &role)
            .await
            .ok();
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jan"}],
        });
        let path = format!("{rbac}/clusterrolebindings");
        world.post(&path, &binding).await.ok();
    };
    let parts = [
        "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
    ];
    let rule =
        json!({"apiGroups": ["certificates.k8s.io"], "resources": parts, "verbs": ["patch"]});
    let_jan("parts", rule).await;
    let asked = asking("c", "example.com/mine", &request("kim", "team"));
    world.post(REQUESTS, &asked).await.ok();
    let jan = world.as_user("jan");
    let (status, approval) = (
        format!("{REQUESTS}/c/status"),
        format!("{REQUESTS}/c/approval"),
    );
    let not = |verb: &str| {
        format!(
            "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: user not permitted to \
             {verb} requests with signerName \"example.com/mine\""
        )
    };
    let refused = jan.patch("merge", &approval, &decide("Approved")).await;
    refused.fails(403, &not("approve"));
    let refused = jan.patch("merge", &status, &decide("Failed")).await;
    refused.fails(403, &not("sign"));
    let signers = |verbs: Value, names: Value| json!({"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": names, "verbs": verbs});
    let_jan(
        "approving",
        signers(json!(["approve"]), json!(["example.com/mine"])),
    )
    .await;
    let_jan(
        "signing",
        signers(json!(["sign"]), json!(["example.com/*"])),
    )
    .await;
    jan.patch("merge", &approval, &decide("Approved"))
        .await
        .ok();
    let failed = json!([{"op": "add", "path": "/status/conditions/-", "value": decide("Failed")["status"]["conditions"][0]}]);
    jan.patch("json", &status, &failed).await.ok();
}
