//! One look at one autoscaler: reads its target's size and what pods use, writes another size, and keeps what is to be
//! said of that in a status. Writing this is the controller's.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::{
    api::{
        autoscaling::{
            v1::Scale,
            v2::{
                HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
                HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget,
            },
        },
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use simcluster_machinery::selector::LabelSelector;

use super::{
    Controller,
    behavior::{Frame, normalize},
    metrics,
    replicas::{self, Proposal, Question, Tolerance, by_average, by_utilization},
    status::{Condition, measured, set},
};
use crate::{cache::ObjectKey, context::CONTROLLER_MANAGER};

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";

/// One look at one autoscaler.
pub(super) struct Turn<'t> {
    pub(super) controller: &'t Controller,
    pub(super) key: &'t ObjectKey,
    pub(super) autoscaler: &'t HorizontalPodAutoscaler,
    pub(super) status: HorizontalPodAutoscalerStatus,
    pub(super) now: Time,
}

/// What all metrics together ask for.
struct Wanted {
    replicas: i32,
    /// The metric that asks for most.
    metric: String,
    /// What the other ones suffer from.
    trouble: Option<String>,
}

impl Turn<'_> {
    fn set(&mut self, condition: Condition) {
        set(&mut self.status, condition, &self.now);
    }

    fn warn(&self, reason: &str, message: impl Into<String>) {
        let recorder = &self.controller.recorder;
        recorder.warning(self.autoscaler, reason, message);
    }

    pub(super) async fn take(&mut self) -> Result<(), String> {
        let spec = self.autoscaler.spec.clone();
        let (targets, scale) = match self.scale(&spec).await {
            Ok(found) => found,
            Err(why) => {
                self.warn("FailedGetScale", why.clone());
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {why}"
                );
                self.set(Condition::new(ABLE, false, "FailedGetScale", message));
                return Err(why);
            }
        };
        self.set(Condition::new(
            ABLE,
            true,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        ));
        let current = scale
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(0);
        let now = self.controller.clock.now();
        let controller = self.controller;
        controller.with_memory(self.key, |memory| memory.begin(current, now));
        let least = spec.min_replicas.unwrap_or(1);
        let mut statuses = Vec::new();
        let mut trouble = None;
        let (desired, reason) = if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.set(Condition::new(ACTIVE, false, "ScalingDisabled", message));
            (0, String::new())
        } else if current > spec.max_replicas {
            let reason = "Current number of replicas above Spec.MaxReplicas";
            (spec.max_replicas, reason.to_owned())
        } else if current < least {
            (
                least,
                "Current number of replicas below Spec.MinReplicas".to_owned(),
            )
        } else {
            match self.wanted(&spec, &scale, current, &mut statuses).await {
                Ok(wanted) => {
                    trouble = wanted.trouble;
                    let reason = if wanted.replicas > current {
                        format!("{} above target", wanted.metric)
                    } else {
                        "All metrics below target".to_owned()
                    };
                    (
                        self.normalized(&spec, current, wanted.replicas, least),
                        reason,
                    )
                }
                Err(why) => {
                    self.status.current_replicas = Some(current);
                    self.status.current_metrics = Some(statuses);
                    self.warn("FailedComputeMetricsReplicas", why.clone());
                    return Err(why);
                }
            }
        };
        if desired != current
            && let Err(why) = self.rescale(&spec, &targets, scale, desired, &reason).await
        {
            self.status.current_replicas = Some(current);
            self.status.current_metrics = Some(statuses);
            return Err(why);
        }
        self.status.current_replicas = Some(current);
        self.status.desired_replicas = desired;
        self.status.current_metrics = (!statuses.is_empty()).then_some(statuses);
        trouble.map_or(Ok(()), Err)
    }

    /// Makes it so large.
    async fn rescale(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        targets: &Api<DynamicObject>,
        mut scale: Scale,
        desired: i32,
        reason: &str,
    ) -> Result<(), String> {
        let (target, controller) = (&spec.scale_target_ref, self.controller);
        let size = &mut scale.spec.get_or_insert_default().replicas;
        let current = size.replace(desired).unwrap_or(0);
        let params = PostParams {
            field_manager: Some(CONTROLLER_MANAGER.to_owned()),
            ..PostParams::default()
        };
        if let Err(error) = targets.replace_scale(&target.name, &params, &scale).await {
            let why = metrics::said(&error, "scale");
            let text = format!("New size: {desired}; reason: {reason}; error: {why}");
            self.warn("FailedRescale", text);
            let message =
                format!("the HPA controller was unable to update the target scale: {why}");
            self.set(Condition::new(ABLE, false, "FailedUpdateScale", message));
            let (kind, namespace) = (&target.kind, &self.key.namespace);
            let name = &target.name;
            return Err(format!(
                "failed to rescale {kind}/{namespace}/{name}: {why}"
            ));
        }
        let message =
            format!("the HPA controller was able to update the target scale to {desired}");
        self.set(Condition::new(ABLE, true, "SucceededRescale", message));
        let text = format!("New size: {desired}; reason: {reason}");
        let recorder = &controller.recorder;
        recorder.normal(self.autoscaler, "SuccessfulRescale", text);
        if spec.behavior.is_some() {
            let now = controller.clock.now();
            controller.with_memory(self.key, |memory| memory.changed(current, desired, now));
        }
        self.status.last_scale_time = Some(self.now.clone());
        Ok(())
    }

    /// What is scaled, and how large it is.
    async fn scale(
        &self,
        spec: &HorizontalPodAutoscalerSpec,
    ) -> Result<(Api<DynamicObject>, Scale), String> {
        let target = &spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or_default();
        let (group, _) = version.split_once('/').unwrap_or(("", version));
        let kind = self.controller.universe.kind(group, &target.kind);
        let kind = kind
            .ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", target.kind))?;
        let api = kind.api(self.controller.client.clone(), &self.key.namespace);
        let plural = match group {
            "" => kind.resource.plural.clone(),
            group => format!("{}.{group}", kind.resource.plural),
        };
        let scale = api.get_scale(&target.name).await;
        Ok((api, scale.map_err(|error| metrics::said(&error, &plural))?))
    }

    /// What the metrics ask for. It is an error if none of them could be had, or if one could not and there would be
    /// fewer pods.
    async fn wanted(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        scale: &Scale,
        current: i32,
        statuses: &mut Vec<MetricStatus>,
    ) -> Result<Wanted, String> {
        let selector = scale
            .status
            .as_ref()
            .and_then(|status| status.selector.clone());
        let selector = selector.unwrap_or_default();
        let pods = self.selected(&selector)?;
        let pods: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
        let all = spec.metrics.clone().unwrap_or_default();
        let mut most: Option<(i32, String)> = None;
        let mut invalid = 0;
        let mut first: Option<(Condition, String)> = None;
        for metric in &all {
            let answer = self.one(spec, metric, &selector, &pods, current).await;
            match answer {
                Ok((proposal, name)) => {
                    statuses.push(measured(metric, &proposal));
                    if most
                        .as_ref()
                        .is_none_or(|(replicas, _)| proposal.replicas > *replicas)
                    {
                        most = Some((proposal.replicas, name));
                    }
                }
                Err((reason, why, whole)) => {
                    statuses.push(MetricStatus::default());
                    invalid += 1;
                    self.warn(reason, why.clone());
                    let message = format!("the HPA was unable to compute the replica count: {why}");
                    let condition = Condition::new(ACTIVE, false, reason, message);
                    first.get_or_insert((condition, whole));
                }
            }
        }
        let trouble = first.map(|(condition, why)| {
            let text = format!(
                "invalid metrics ({invalid} invalid out of {}), first error is: {why}",
                all.len()
            );
            (condition, text)
        });
        match (most, trouble) {
            (Some((replicas, metric)), trouble) if trouble.is_none() || replicas >= current => {
                let message = format!(
                    "the HPA was able to successfully calculate a replica count from {metric}"
                );
                self.set(Condition::new(ACTIVE, true, "ValidMetricFound", message));
                Ok(Wanted {
                    replicas,
                    metric,
                    trouble: trouble.map(|(_, why)| why),
                })
            }
            (_, Some((condition, why))) => {
                self.set(condition);
                Err(why)
            }
            (_, None) => Err("it has no metrics".to_owned()),
        }
    }

    /// The pods that are scaled, if they are nobody else's.
    fn selected(&mut self, selector: &str) -> Result<Vec<Arc<Pod>>, String> {
        let refuse = |turn: &mut Self, event: &str, reason: &str, why: String, message: String| {
            turn.warn(event, why.clone());
            turn.set(Condition::new(ACTIVE, false, reason, message));
            Err(why)
        };
        if selector.is_empty() {
            let message = "the HPA target's scale is missing a selector".to_owned();
            let why = "selector is required".to_owned();
            return refuse(self, "SelectorRequired", "InvalidSelector", why, message);
        }
        let parsed = match LabelSelector::parse(selector) {
            Ok(parsed) => parsed,
            Err(error) => {
                let why = format!(
                    "couldn't convert selector into a corresponding internal selector object: {error}"
                );
                return refuse(self, "InvalidSelector", "InvalidSelector", why.clone(), why);
            }
        };
        let mut pods = self.controller.pods.in_namespace(&self.key.namespace);
        pods.retain(|pod| {
            let labels = pod.metadata.labels.as_ref();
            parsed.matches_with(|key| labels?.get(key).map(String::as_str))
        });
        let names: BTreeSet<String> = pods
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        let others: Vec<String> = {
            let mut all = self.controller.known();
            if let Some(own) = all.get_mut(self.key) {
                own.pods.clone_from(&names);
            }
            let here = all.iter().filter(|(key, known)| {
                key.namespace == self.key.namespace && !known.pods.is_disjoint(&names)
            });
            here.map(|(key, _)| format!("{{{} {}}}", key.name, key.namespace))
                .collect()
        };
        if others.len() > 1 {
            let why = format!(
                "pods by selector {selector} are controlled by multiple HPAs: [{}]",
                others.join(" ")
            );
            return refuse(
                self,
                "AmbiguousSelector",
                "AmbiguousSelector",
                why.clone(),
                why,
            );
        }
        Ok(pods)
    }

    /// What one metric asks for, and its name; or the reason, why, and all of it.
    async fn one(
        &self,
        spec: &HorizontalPodAutoscalerSpec,
        metric: &MetricSpec,
        selector: &str,
        pods: &[&Pod],
        current: i32,
    ) -> Result<(Proposal, String), (&'static str, String, String)> {
        const NOBODY: &str = "unable to fetch metrics from custom metrics API: no known available metric versions found";
        let source = match metric.type_.as_str() {
            "Resource" => metric
                .resource
                .as_ref()
                .map(|one| (&one.name, None, &one.target)),
            "ContainerResource" => metric
                .container_resource
                .as_ref()
                .map(|one| (&one.name, Some(one.container.as_str()), &one.target)),
            _ => None,
        };
        if let Some((resource, container, target)) = source {
            let answer =
                self.resource(spec, (resource, container, target), selector, pods, current);
            let (reason, word) = match container {
                None => ("FailedGetResourceMetric", "resource"),
                Some(_) => ("FailedGetContainerResourceMetric", "container"),
            };
            return answer.await.map_err(|why| {
                let whole = format!("failed to get {resource} {word} metric value: {why}");
                (reason, why, whole)
            });
        }
        if let Some(source) = &metric.pods {
            let why = format!("unable to get metric {}: {NOBODY}", source.metric.name);
            let whole = format!("failed to get pods metric value: {why}");
            return Err(("FailedGetPodsMetric", why, whole));
        }
        if let Some(source) = &metric.object {
            let (object, namespace) = (&source.described_object, &self.key.namespace);
            let why = format!(
                "unable to get metric {}: {} on {namespace} {}/{NOBODY}",
                source.metric.name, object.kind, object.name
            );
            let whole = format!("failed to get object metric value: {why}");
            return Err(("FailedGetObjectMetric", why, whole));
        }
        if let Some(source) = &metric.external {
            let (name, namespace) = (&source.metric.name, &self.key.namespace);
            let why = format!(
                "unable to get external metric {namespace}/{name}/nil: unable to fetch metrics from external \
                 metrics API: the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
            );
            let whole = format!("failed to get {name} external metric value: {why}");
            return Err(("FailedGetExternalMetric", why, whole));
        }
        let why = format!("unknown metric source type {:?}", metric.type_);
        Err(("InvalidMetricSourceType", why.clone(), why))
    }

    async fn resource(
        &self,
        spec: &HorizontalPodAutoscalerSpec,
        (resource, container, target): (&String, Option<&str>, &MetricTarget),
        selector: &str,
        pods: &[&Pod],
        current: i32,
    ) -> Result<(Proposal, String), String> {
        let settings = &self.controller.settings;
        let duration =
            |of: std::time::Duration| SignedDuration::try_from(of).unwrap_or(SignedDuration::MAX);
        let question = Question {
            resource,
            container,
            current,
            tolerance: self.tolerance(spec),
            now: self.controller.clock.now(),
            cpu_initialization: duration(settings.cpu_initialization_period),
            initial_readiness_delay: duration(settings.initial_readiness_delay),
        };
        let (client, namespace) = (&self.controller.client, &self.key.namespace);
        let used = metrics::of_pods(client, namespace, selector, resource, container).await;
        let used =
            used.map_err(|why| format!("unable to get metrics for resource {resource}: {why}"));
        if let Some(average) = &target.average_value {
            let proposal = used
                .and_then(|used| by_average(&question, pods, used, replicas::millis(average)))
                .map_err(|why| format!("failed to get {resource} usage: {why}"))?;
            return Ok((proposal, format!("{resource} resource")));
        }
        let Some(percent) = target.average_utilization else {
            let why = "invalid resource metric source: neither an average utilization target nor \
                       an average value (usage) target was set";
            return Err(why.to_owned());
        };
        let proposal = used
            .and_then(|used| by_utilization(&question, pods, used, percent))
            .map_err(|why| format!("failed to get {resource} utilization: {why}"))?;
        let of_container = if container.is_some() {
            "container "
        } else {
            ""
        };
        let name = format!("{resource} {of_container}resource utilization (percentage of request)");
        Ok((proposal, name))
    }

    /// How far usage may be from its target.
    fn tolerance(&self, spec: &HorizontalPodAutoscalerSpec) -> Tolerance {
        let usual = self.controller.settings.tolerance;
        let own = |rules: Option<&HPAScalingRules>| {
            let tolerance = replicas::millis(rules?.tolerance.as_ref()?);
            i32::try_from(tolerance)
                .ok()
                .map(|millis| f64::from(millis) / 1000.0)
        };
        let behavior = spec.behavior.as_ref();
        Tolerance {
            down: own(behavior.and_then(|own| own.scale_down.as_ref())).unwrap_or(usual),
            up: own(behavior.and_then(|own| own.scale_up.as_ref())).unwrap_or(usual),
        }
    }

    /// What is done of what is wanted; the conditions say why.
    fn normalized(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        desired: i32,
        least: i32,
    ) -> i32 {
        let settings = &self.controller.settings;
        let window = settings.downscale_stabilization.as_secs();
        let frame = Frame {
            current,
            desired,
            least,
            most: spec.max_replicas,
            downscale_window_seconds: i32::try_from(window).unwrap_or(i32::MAX),
            now: self.controller.clock.now(),
        };
        let behavior = spec.behavior.as_ref();
        let done = self
            .controller
            .with_memory(self.key, |memory| normalize(memory, behavior, frame));
        let Some(done) = done else {
            // It has just been removed.
            return current;
        };
        let (reason, message) = done.able;
        self.set(Condition::new(ABLE, true, reason, message));
        let (limited, (reason, message)) = done.limited;
        self.set(Condition::new(LIMITED, limited, reason, message));
        done.replicas
    }
}
