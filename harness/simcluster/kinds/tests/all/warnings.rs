//! What is legal and yet likely a mistake, in the server's words.

use serde_json::Value;

use super::{created, rules_of};

fn of_new(yaml: &str) -> Vec<String> {
    let object = created(yaml);
    rules_of(&object).warnings(&object, None)
}

fn of_update(yaml: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = created(yaml);
    let mut new = old.clone();
    change(&mut new);
    let rules = rules_of(&old);
    rules.prepare_update(&mut new, &old);
    rules.warnings(&new, Some(&old))
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: a.b
  namespace: n
  annotations: {seccomp.security.alpha.kubernetes.io/pod: x}
spec:
  nodeSelector: {beta.kubernetes.io/os: linux}
  hostAliases: [{ip: 10.0.0.1}, {ip: 10.0.0.1}]
  imagePullSecrets: [{name: s}, {name: s}]
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]
  initContainers:
  - {name: i, image: i, ports: [{containerPort: 80}]}
  containers:
  - name: c
    image: i
    env: [{name: A, value: x}, {name: A, value: y}]
    ports: [{containerPort: 80}, {containerPort: 80, hostPort: 81}, {containerPort: 9, hostIP: 10.0.0.1}]
    resources: {limits: {memory: 1500m}}
";

#[test]
fn a_pod_is_warned_of_all_that_is_likely_a_mistake() {
    assert_eq!(
        of_new(POD),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising \
             behavior; a DNS label is recommended: [must not contain dots]",
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \
             \"kubernetes.io/os\" instead",
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in \
             matching no pod",
            "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
            "spec.imagePullSecrets[1].name: duplicate name \"s\"",
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in \
             v1.27+; use the \"seccompProfile\" field instead",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is \
             invalid, must be an integer",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"1500m\" is \
             invalid, must be an integer",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped \
             when using apply",
            "spec.containers[0].ports[0]: duplicate port definition with \
             spec.initContainers[0].ports[0]",
            "spec.containers[0].ports[1]: overlapping port definition with \
             spec.initContainers[0].ports[0]",
            "spec.containers[0].ports[1]: overlapping port definition with \
             spec.containers[0].ports[0]",
            "spec.containers[0].ports[2]: hostIP set without hostPort: {Name: HostPort:0 \
             ContainerPort:9 Protocol:TCP HostIP:10.0.0.1}",
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]\
             .labelSelector: a null labelSelector results in matching no pod",
        ]
    );
    assert!(
        of_update(POD, |_| ()).is_empty(),
        "updates of pods are not warned of"
    );
}

#[test]
fn a_workload_is_warned_when_its_generation_changes() {
    let yaml = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: a.b, namespace: n}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      terminationGracePeriodSeconds: -1
      containers: [{name: c, image: i}]
";
    let of_grace = "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative \
                    values are invalid and will be treated as 1";
    assert_eq!(
        of_new(yaml),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in \
             surprising behavior; a DNS label is recommended: [must not contain dots]",
            of_grace
        ]
    );
    assert_eq!(
        of_update(yaml, |new| new["spec"]["replicas"] = 3.into()),
        [of_grace]
    );
    assert!(of_update(yaml, |new| new["metadata"]["labels"]["x"] = "y".into()).is_empty());
}

#[test]
fn jobs_and_their_templates_are_warned_of() {
    let yaml = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: c, namespace: n}
spec:
  schedule: '* * * * *'
  jobTemplate:
    spec:
      completionMode: Indexed
      completions: 100001
      parallelism: 10001
      template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
";
    assert_eq!(
        of_new(yaml),
        [
            "spec.jobTemplate.spec: In Indexed Jobs with a number of completions higher than 10^5 \
             and a parallelism higher than 10^4, Kubernetes might not be able to track \
             completedIndexes when a big number of indexes fail"
        ]
    );
}

#[test]
fn services_and_addresses_in_odd_forms_are_warned_of() {
    let yaml = "
apiVersion: v1
kind: Service
metadata: {name: s, namespace: n}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
  externalIPs: [010.0.0.1, '2001:DB8::1']
  loadBalancerSourceRanges: [10.0.0.1/8]
  externalName: x
  trafficDistribution: PreferClose
";
    assert_eq!(
        of_new(yaml),
        [
            "spec.externalIPs[0]: non-standard IP address \"010.0.0.1\" is invalid: use \
             \"10.0.0.1\"",
            "spec.externalIPs[1]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical \
             format (\"2001:db8::1\")",
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            "spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this \
             context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ]
    );
}

#[test]
fn volumes_claims_secrets_and_others_are_warned_of() {
    for (yaml, expected) in [
        (
            "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: \
             {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}, \
             persistentVolumeReclaimPolicy: Recycle}}",
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. \
             Instead, the recommended approach is to use dynamic provisioning.",
        ),
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, type: \
             kubernetes.io/tls, stringData: {tls.crt: a, tls.key: b}}",
            "tls: failed to find any PEM data in certificate input",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, namespace: n, \
             annotations: {kubernetes.io/ingress.class: x}}, spec: {defaultBackend: {service: \
             {name: s, port: {number: 1}}}}}",
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use \
             'spec.ingressClassName' instead",
        ),
        (
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e, \
             namespace: n}, addressType: FQDN, endpoints: [{addresses: [a.example]}]}",
            "spec.addressType: FQDN endpoints are deprecated",
        ),
    ] {
        assert_eq!(of_new(yaml), [expected]);
    }
}
