//! Autoscalers, classes of ingresses, and from where a load balancer may be reached.

use super::{created, refused, updated};

fn autoscaler(more: &str) -> String {
    format!(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: h, namespace: n}}
spec:
  maxReplicas: 3
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: d}}
{more}"
    )
}

#[test]
fn a_metric_has_one_source_of_its_type() {
    created(&autoscaler(
        "  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}}]",
    ));
    assert_eq!(
        refused(&autoscaler("  metrics: [{type: Other}]")),
        [
            "spec.metrics[0].type: Unsupported value: \"Other\": supported values: \
             \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\""
        ]
        .repeat(2)
    );
    assert_eq!(
        refused(&autoscaler(
            "  metrics: [{type: Pods, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0}}}]"
        )),
        [
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be \
             greater than 0",
            "spec.metrics[0].pods: Required value: must populate information for the given metric \
             source",
        ]
    );
    assert_eq!(
        refused(&autoscaler(
            "  metrics: [{type: Resource, resource: {name: cpu, target: {type: Often}}}]"
        )),
        [
            "spec.metrics[0].resource.target.type: Invalid value: \"Often\": must be either \
             Utilization, Value, or AverageValue",
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either \
             a target raw value or a target utilization",
        ]
    );
}

#[test]
fn the_behaviour_of_an_autoscaler_has_limits() {
    assert_eq!(
        refused(&autoscaler(
            "  behavior: {scaleUp: {stabilizationWindowSeconds: 9999, selectPolicy: Any, policies: [{type: Pods, value: 0, periodSeconds: 9999}]}}"
        )),
        [
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 9999: must be less \
             than or equal to 3600",
            "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Any\": supported values: \
             \"Disabled\", \"Max\", \"Min\"",
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less \
             than or equal to 1800",
        ]
    );
}

#[test]
fn the_controller_of_an_ingress_class_has_a_domain_and_stays() {
    let class = |controller: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: c}}, \
             spec: {{controller: {controller}}}}}"
        )
    };
    assert_eq!(
        refused(&class("plain")),
        [
            "spec.controller: Invalid value: \"plain\": must be a domain-prefixed path (such as \
             \"acme.io/foo\")"
        ]
    );
    let made = created(&class("acme.io/foo"));
    let (_, errors) = updated(&made, |class| {
        class["spec"]["controller"] = "acme.io/bar".into();
    });
    assert_eq!(
        errors,
        ["spec.controller: Invalid value: \"acme.io/bar\": field is immutable"]
    );
}

#[test]
fn a_load_balancer_is_reached_from_networks() {
    let service = |kind: &str, range: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: n}}, spec: {{type: \
             {kind}, ports: [{{port: 1}}], loadBalancerSourceRanges: [{range}]}}}}"
        )
    };
    let no_network = "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR \
                      value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    assert_eq!(refused(&service("LoadBalancer", "x")), [no_network]);
    assert_eq!(
        refused(&service("ClusterIP", "10.0.0.0/8")),
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is \
             'LoadBalancer'"
        ]
    );
}
