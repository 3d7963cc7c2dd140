//! CronJob.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::{cron, name};

use crate::checks::{non_negative, required_one_of};
use crate::job;
use crate::pod::defaults;
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

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
        let (spec, path) = (&cron_job["spec"], Path::new("spec"));
        let own_name = cron_job.text("metadata.name");
        if own_name.len() > LONGEST_NAME {
            let place = Path::new("metadata").child("name");
            errors.push(Error::invalid(
                &place,
                own_name,
                name::too_long(LONGEST_NAME),
            ));
        }
        validate_schedule(spec, &path, &mut errors);
        non_negative(spec, &["startingDeadlineSeconds"], &path, &mut errors);
        validate_time_zone(spec, &path, &mut errors);
        required_one_of(spec, "concurrencyPolicy", &POLICIES, &path, &mut errors);
        let template_path = path.child("jobTemplate");
        let job_spec = &spec["jobTemplate"]["spec"];
        job::validate_template_spec(job_spec, &template_path.child("spec"), &mut errors);
        let manual = template_path.child("spec").child("manualSelector");
        if job_spec.at("manualSelector").is_some() && job_spec.flag("manualSelector") {
            errors.push(Error::not_supported(&manual, true, &["nil", "false"]));
        }
        let limits = ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
        non_negative(spec, &limits, &path, &mut errors);
        errors
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

fn validate_schedule(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let place = path.child("schedule");
    let text = spec.text("schedule");
    if text.is_empty() {
        errors.push(Error::required(&place, ""));
    } else {
        if let Err(error) = cron::Schedule::parse(text) {
            errors.push(Error::invalid(&place, text, error));
        }
        if text.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(Error::invalid(&place, text, detail));
        }
    }
}

fn validate_time_zone(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(zone) = spec.at("timeZone").and_then(Value::as_str)
        && let Some(detail) = job::time_zone_name(zone)
    {
        errors.push(Error::invalid(&path.child("timeZone"), zone, detail));
    }
}
