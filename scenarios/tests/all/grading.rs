//! The steps of the homework's grading script, with the operator in the cluster, from its own image and
//! with its own permissions.

use harness::{Failure, conditions, objects, port_forward::PortForward};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use rstest::rstest;
use scenarios::{
    Lab,
    deploy::{self, CR, CRD, DATABASE, INSTANCE, PASSWORD},
    prove_deployed,
    shell::{self, Output},
};

/// In which order a user applies the files.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Definition, permissions, operator, resource; one by one.
    OneByOne,
    /// The whole directory, as `kubectl apply -f deploy/` does it.
    Lexical,
}

#[rstest]
#[case::one_by_one(Order::OneByOne)]
#[case::the_whole_directory_in_lexical_order(Order::Lexical)]
fn the_grading_script_passes(#[case] order: Order) {
    prove_deployed(async |lab| {
        let cluster = lab.cluster();
        lab.install().await?;
        lab.watch_invariants();
        match order {
            Order::OneByOne => {
                for (_, manifest) in deploy::OPERATOR {
                    let manifest = manifest.replace("value: human", "value: json");
                    cluster.apply(&manifest).await?;
                }
                cluster.apply(CR).await?;
            }
            Order::Lexical => {
                for (_, manifest) in deploy::directory()? {
                    cluster.apply(&manifest).await?;
                }
            }
        }
        lab.operator_available().await?;

        let pod = one_pod_ready(lab).await?;
        let create = "CREATE TABLE test (id smallint unsigned not null auto_increment, \
             name varchar(20) not null, constraint pk_example primary key (id));";
        let insert = |name: &str| format!("INSERT INTO test (id, name) VALUES (null, '{name}');");
        let password = format!("-p{PASSWORD}");
        for statement in [
            create.to_owned(),
            insert("some data"),
            insert("some data-2"),
        ] {
            let command = ["mysql", &password, "-e", &statement, DATABASE];
            succeeded(run(lab, &pod, &command).await?)?;
        }

        lab.delete(INSTANCE).await?;
        complete(lab, "backup").await?;

        cluster.apply(CR).await?;
        complete(lab, "restore").await?;

        let pod = one_pod_ready(lab).await?;
        let script =
            format!("MYSQL_PWD={PASSWORD} mysql -ss -e \"select count(*) from test;\" {DATABASE}");
        let count = succeeded(run(lab, &pod, &["bash", "-c", &script]).await?)?;
        assert_eq!(count.trim(), "2");
        the_operator_shows_what_it_did(lab, order).await
    });
}

#[test]
fn a_resource_applied_before_its_definition_is_refused_in_kubectls_words() {
    prove_deployed(async |lab| {
        let error = match lab.cluster().apply(CR).await {
            Ok(_) => return Err("the resource was accepted".into()),
            Err(error) => harness::proof::chain(&error),
        };
        assert!(
            error.contains("no matches for kind \"MySQL\" in version \"otus.homework/v1\""),
            "{error}"
        );
        lab.cluster().apply(CRD).await?;
        Ok(())
    });
}

#[test]
fn every_file_of_deploy_can_be_applied_in_lexical_order() {
    let names: Vec<String> = deploy::directory()
        .expect("deploy/ can be read")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let known = [
        "cr-passwd.yml",
        "cr.yml",
        "crd.yml",
        "deploy-operator.yml",
        "role-binding.yml",
        "role.yml",
        "service-account.yml",
    ];
    assert_eq!(names, known);
    for (name, text) in deploy::directory().expect("deploy/ can be read") {
        let parsed = objects::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!parsed.is_empty(), "{name}");
    }
}

/// `/healthz`, `/metrics` and the log of the operator's pod, as monitoring sees them.
async fn the_operator_shows_what_it_did(lab: &Lab<'_>, order: Order) -> Result<(), Failure> {
    let pods: Api<Pod> = lab.cluster().namespaced();
    let of_operator = ListParams::default().labels("app.kubernetes.io/name=mysql-operator");
    let pod = pods.list(&of_operator).await?.items;
    let pod = pod.first().ok_or("the operator has no pod")?.name_any();
    assert_eq!(scrape(&pods, &pod, "/healthz").await?.trim(), "ok");
    let metrics = scrape(&pods, &pod, "/metrics").await?;
    let labels = format!("{{namespace=\"default\",name=\"{INSTANCE}\"}}");
    for expected in [
        "mysql_operator_reconciles_total{result=\"done\"} ".to_owned(),
        "mysql_operator_backups_total 1".to_owned(),
        format!("mysql_operator_instance_ready{labels} "),
        format!("mysql_operator_deletion_blocked{labels} 0"),
    ] {
        assert!(metrics.contains(&expected), "no {expected:?} in {metrics}");
    }
    let log = pods.logs(&pod, &LogParams::default()).await?;
    let story = log.lines().find(|line| line.contains("BackupCompleted"));
    let story = story.ok_or_else(|| format!("the log does not tell of the backup:\n{log}"))?;
    assert!(story.contains(&format!("default/{INSTANCE}")), "{story}");
    if matches!(order, Order::OneByOne) {
        // With LOG_FORMAT=json each line is an object, and says which instance it is about.
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .map_err(|error| format!("a line of the log is not JSON: {error}: {line}"))?;
        }
        let story: serde_json::Value = serde_json::from_str(story)?;
        assert_eq!(story["fields"]["instance"], format!("default/{INSTANCE}"));
    }
    Ok(())
}

async fn scrape(pods: &Api<Pod>, pod: &str, path: &str) -> Result<String, Failure> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let forward = PortForward::open(pods.clone(), pod, 8080).await?;
    let mut stream = tokio::net::TcpStream::connect(forward.address()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.1 200 ") {
        Ok(body.to_owned())
    } else {
        Err(format!("{path}: {head}").into())
    }
}

/// As the script finds it: the only pod with the label, and it becomes Ready.
async fn one_pod_ready(lab: &Lab<'_>) -> Result<String, Failure> {
    let pod = lab.appearing_pod(INSTANCE).await?;
    let pods: Api<Pod> = lab.cluster().namespaced();
    lab.cluster()
        .wait(&pods, &pod.name_any(), conditions::pod_ready())
        .await?;
    Ok(lab.pod(INSTANCE).await?.name_any())
}

async fn run(lab: &Lab<'_>, pod: &str, command: &[&str]) -> Result<Output, Failure> {
    shell::exec(&lab.cluster().namespaced(), pod, "mysql", command).await
}

fn succeeded(output: Output) -> Result<String, Failure> {
    if output.success {
        Ok(output.text)
    } else {
        Err(format!("the command in the pod failed: {output:?}").into())
    }
}

async fn complete(lab: &Lab<'_>, operation: &str) -> Result<(), Failure> {
    let jobs = lab.cluster().namespaced::<Job>();
    let name = format!("{operation}-{INSTANCE}-job");
    lab.cluster()
        .wait(&jobs, &name, conditions::job_complete())
        .await?;
    Ok(())
}
