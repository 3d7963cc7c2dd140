//! CronJob.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::{cron, name};

use crate::checks::{non_negative, required_one_of, selector_json};
use crate::job;
use crate::pod::defaults;
use crate::read::{Fill, Read, text_or};
use crate::replica_set::same_generation;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::name_of_pods;

/// A job's name is the CronJob's and eleven characters more.
const LONGEST_NAME: usize = 52;
const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];

pub(crate) struct CronJob;

impl KindRules for CronJob {
    fn default(&self, cron_job: &mut Value) {
        cron_job.fill("spec.concurrencyPolicy", "Allow");
        cron_job.fill("spec.suspend", false);
        cron_job.fill("spec.successfulJobsHistoryLimit", 3);
        cron_job.fill("spec.failedJobsHistoryLimit", 1);
        cron_job.object("spec.jobTemplate.metadata");
        cron_job.object("spec.jobTemplate.spec");
        defaults::template(&mut cron_job["spec"]["jobTemplate"]["spec"]["template"]);
    }

    fn validate_create(&self, cron_job: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_spec(cron_job, None, &mut errors);
        let own_name = cron_job.text("metadata.name");
        if own_name.len() > LONGEST_NAME {
            let place = Path::new("metadata").child("name");
            let detail = name::too_long(LONGEST_NAME);
            errors.push(Error::invalid(&place, own_name, detail));
        }
        errors
    }

    /// The length of the name is not looked at again.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_spec(new, Some(&old["spec"]), &mut errors);
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = if old.is_none() {
            name_of_pods(new)
        } else {
            Vec::new()
        };
        if old.is_none_or(|old| !same_generation(new, old)) {
            let path = Path::new("spec").child("jobTemplate").child("spec");
            let spec = new.at("spec.jobTemplate.spec").unwrap_or(&Value::Null);
            warnings.extend(job::spec_warnings(spec, &path));
        }
        if old.is_some() && new.text("spec.schedule").contains("TZ") {
            warnings.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more \
                 details"
                    .to_owned(),
            );
        }
        warnings
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Schedule"),
                Column::text("Timezone"),
                Column::text("Suspend"),
                Column::integer("Active"),
                Column::text("Last Schedule"),
                AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, cron_job: &Value, now: Timestamp) -> Row {
        let suspend = match cron_job.at("spec.suspend") {
            None => "<unset>",
            Some(Value::Bool(true)) => "True",
            Some(_) => "False",
        };
        let last = cron_job.text("status.lastScheduleTime");
        let last = if last.is_empty() {
            "<none>".to_owned()
        } else {
            table::since(last, now)
        };
        let job_spec = &cron_job["spec"]["jobTemplate"]["spec"];
        let [names, images] = table::containers(&job_spec["template"]["spec"]);
        Row::new(vec![
            table::name(cron_job),
            json!(cron_job.text("spec.schedule")),
            json!(text_or(cron_job.text("spec.timeZone"), "<none>")),
            json!(suspend),
            json!(cron_job.list("status.active").len()),
            json!(last),
            table::age(cron_job, now),
            names,
            images,
            table::selector(job_spec.at("selector")),
        ])
    }
}

/// The spec; what an update leaves as it was may be what is refused today.
fn validate_spec(cron_job: &Value, old: Option<&Value>, errors: &mut Vec<Error>) {
    let (spec, path) = (&cron_job["spec"], Path::new("spec"));
    validate_schedule(spec, old, &path, errors);
    non_negative(spec, &["startingDeadlineSeconds"], &path, errors);
    if old.is_none_or(|old| old.at("timeZone") != spec.at("timeZone")) {
        validate_time_zone(spec, &path, errors);
    }
    required_one_of(spec, "concurrencyPolicy", &POLICIES, &path, errors);
    let path_of_job = path.child("jobTemplate").child("spec");
    let job_spec = &spec["jobTemplate"]["spec"];
    job::validate_template_spec(job_spec, &path_of_job, errors);
    if let Some(selector) = job_spec.at("selector") {
        errors.push(Error::invalid_shown(
            &path_of_job.child("selector"),
            selector_json(Some(selector)),
            "`selector` will be auto-generated",
        ));
    }
    if job_spec.flag("manualSelector") {
        let place = path_of_job.child("manualSelector");
        errors.push(Error::not_supported(&place, true, &["nil", "false"]));
    }
    let limits = ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    non_negative(spec, &limits, &path, errors);
}

fn validate_schedule(spec: &Value, old: Option<&Value>, path: &Path, errors: &mut Vec<Error>) {
    let place = path.child("schedule");
    let text = spec.text("schedule");
    if text.is_empty() {
        errors.push(Error::required(&place, ""));
        return;
    }
    if let Err(error) = cron::Schedule::parse(text) {
        errors.push(Error::invalid(&place, text, error));
    }
    let had_zone = old.is_some_and(|old| old.text("schedule").contains("TZ"));
    let detail = match (text.contains("TZ"), had_zone) {
        (true, false) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        (true, true) if spec.at("timeZone").is_some() => {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        }
        _ => return,
    };
    errors.push(Error::invalid(&place, text, detail));
}

fn validate_time_zone(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(zone) = spec.at("timeZone").and_then(Value::as_str)
        && let Some(detail) = job::time_zone_name(zone)
    {
        errors.push(Error::invalid(&path.child("timeZone"), zone, detail));
    }
}
