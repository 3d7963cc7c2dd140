//! Services, endpoints, network policies and ingresses.

use serde_json::{Value, json};
use simcluster_kinds::service::{self, Wanted};

use super::{cells, created, defaulted, refused, rules_of, updated};

pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: s, namespace: n}
spec:
  selector: {a: b}
  ports: [{port: 3306}]
";

fn allocated(yaml: &str) -> Value {
    let mut service = created(yaml);
    service::settle_addresses(&mut service, None);
    if service::wanted(&service, None).any_cluster_ip {
        service::set_cluster_ip(&mut service, "10.0.0.9");
    }
    for index in service::wanted(&service, None).any_node_ports {
        service::set_node_port(&mut service, index, 30_007);
    }
    service
}

#[test]
fn a_new_service_is_whole() {
    let service = allocated(SERVICE);
    assert_eq!(
        service["spec"],
        json!({
            "clusterIP": "10.0.0.9",
            "clusterIPs": ["10.0.0.9"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 3306, "protocol": "TCP", "targetPort": 3306}],
            "selector": {"a": "b"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        })
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
    assert_eq!(service["metadata"].get("generation"), None);
    assert!(rules_of(&service).validate_create(&service).is_empty());
}

#[test]
fn a_headless_service_needs_no_address() {
    let service = allocated(&SERVICE.replace("selector:", "clusterIP: None\n  selector:"));
    assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(service::wanted(&service, None), Wanted::default());
    assert!(service::allocated_addresses(&service).is_empty());
}

#[test]
fn an_address_that_was_given_stays() {
    let old = allocated(SERVICE);
    // A client that knows nothing of addresses sends none.
    let mut new = defaulted(SERVICE);
    service::settle_addresses(&mut new, Some(&old));
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.9"]));
    assert_eq!(service::wanted(&new, Some(&old)), Wanted::default());

    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("10.0.0.10");
    service::settle_addresses(&mut new, Some(&old));
    let errors = rules_of(&new).validate_update(&new, &old);
    assert_eq!(
        super::texts(&errors),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.10\"]: may not change once set"]
    );
}

#[test]
fn a_service_gives_up_what_its_new_type_does_not_have() {
    let old = allocated(&SERVICE.replace("selector:", "type: NodePort\n  selector:"));
    assert_eq!(old["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(service::allocated_node_ports(&old), [30_007]);
    let (new, errors) = updated(&old, |new| new["spec"]["type"] = json!("ClusterIP"));
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(
        new["spec"]["ports"],
        json!([{"port": 3306, "protocol": "TCP", "targetPort": 3306}])
    );
    assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
    assert!(service::allocated_node_ports(&new).is_empty());

    let (new, errors) = updated(&old, |new| {
        new["spec"]["type"] = json!("ExternalName");
        new["spec"]["externalName"] = json!("db.example.com");
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(new["spec"].get("clusterIP"), None);
}

#[test]
fn what_is_wrong_with_a_service_is_said() {
    let refused_spec = |spec: &str| {
        refused(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: n}}, spec: {spec}}}"
        ))
    };
    for (spec, expected) in [
        ("{}", "spec.ports: Required value"),
        (
            "{ports: [{port: 0, targetPort: 1}]}",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "{ports: [{port: 1}], type: Odd}",
            "spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \
             \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        ("{type: ExternalName}", "spec.externalName: Required value"),
        (
            "{ports: [{port: 1, nodePort: 30000}]}",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "{ports: [{port: 1, name: a}, {port: 1, name: b}]}",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\
             \"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
        ),
    ] {
        assert_eq!(refused_spec(spec), [expected], "{spec}");
    }
}

#[test]
fn rows_show_addresses_and_ports() {
    let service = allocated(&SERVICE.replace("selector:", "type: NodePort\n  selector:"));
    assert_eq!(
        json!(cells(&service)),
        json!([
            "s",
            "NodePort",
            "10.0.0.9",
            "<none>",
            "3306:30007/TCP",
            "60m",
            "a=b"
        ])
    );
}

#[test]
fn endpoints_are_shown_by_threes() {
    let endpoints = created(
        "
apiVersion: v1
kind: Endpoints
metadata: {name: e, namespace: n}
subsets:
- addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]
  ports: [{port: 80, name: a}, {port: 81, name: b}]
",
    );
    assert_eq!(
        cells(&endpoints)[1],
        "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more..."
    );
    assert_eq!(
        refused(
            "{apiVersion: v1, kind: Endpoints, metadata: {name: e, namespace: n}, \
             subsets: [{addresses: [{ip: 127.0.0.1}]}]}"
        ),
        ["subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": \
          may not be in the loopback range (127.0.0.0/8, ::1/128)"]
    );
}

#[test]
fn an_endpoint_slice_keeps_its_family() {
    let slice = created(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e, namespace: n}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]
",
    );
    assert_eq!(
        slice["ports"],
        json!([{"name": "", "port": 80, "protocol": "TCP"}])
    );
    assert_eq!(slice["metadata"]["generation"], 1);
    let (_, errors) = updated(&slice, |new| new["addressType"] = json!("IPv6"));
    assert_eq!(
        errors,
        ["addressType: Invalid value: \"IPv6\": field is immutable"]
    );
    let (new, _) = updated(&slice, |new| new["endpoints"] = json!([]));
    assert_eq!(new["metadata"]["generation"], 2);
    assert_eq!(
        json!(cells(&slice)),
        json!(["e", "IPv4", "80", "10.0.0.1", "60m"])
    );
}

#[test]
fn a_network_policy_s_types_follow_its_rules() {
    let policy = defaulted(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
         metadata: {name: p, namespace: n}, spec: {podSelector: {}, egress: [{ports: [{port: 53}]}]}}",
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
}

#[test]
fn an_ingress_needs_a_backend_and_sound_paths() {
    let ingress = |spec: &str| {
        refused(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, \
             metadata: {{name: i, namespace: n}}, spec: {spec}}}"
        ))
    };
    assert_eq!(
        ingress("{}"),
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
    );
    assert_eq!(
        ingress(
            "{rules: [{http: {paths: [{path: a, pathType: Exact, backend: {service: {name: s, port: {number: 80}}}}]}}]}"
        ),
        ["spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path"]
    );
}
