//! Two headless services: clients' (ready pods only) and the Jobs' (also before the rows are back).

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::controller::validate::Validated;
use crate::names;

pub(super) fn headless(validated: &Validated) -> Service {
    service(validated, validated.instance.service(), "clients", false)
}

pub(super) fn admin(validated: &Validated) -> Service {
    service(validated, validated.instance.admin_service(), "admin", true)
}

fn service(validated: &Validated, name: String, component: &str, unready_too: bool) -> Service {
    Service {
        metadata: metadata(validated, name, component),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            cluster_ips: Some(vec!["None".to_owned()]),
            publish_not_ready_addresses: Some(unready_too),
            selector: Some([(names::APP.to_owned(), validated.instance.name.clone())].into()),
            ports: Some(vec![ServicePort {
                name: Some(names::PORT_NAME.to_owned()),
                port: names::PORT,
                target_port: Some(IntOrString::Int(names::PORT)),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
