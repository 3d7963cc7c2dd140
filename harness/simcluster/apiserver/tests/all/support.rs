//! A server for one test, and requests whose answers are looked at whole.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, TryStreamExt as _, stream::BoxStream};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use simcluster_apiserver::{ApiServer, Config, Identity};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) client: kube::Client,
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The message of a Status.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        let all = self.headers.get_all(http::header::WARNING).iter();
        all.filter_map(|value| value.to_str().ok()).collect()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.code < 300, "{} {}", self.code, self.text);
        self.body
    }

    #[track_caller]
    pub(crate) fn fails(&self, code: u16, message: &str) {
        assert_eq!(
            (self.code, self.message()),
            (code, message),
            "{}",
            self.text
        );
    }
}

impl World {
    /// A server whose pods need no service accounts, because nobody makes them here.
    pub(crate) fn start() -> Self {
        Self::with(Config {
            service_account_admission: false,
            ..Config::default()
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        let server = ApiServer::start(config);
        let client = server.client(&Identity::admin());
        Self { server, client }
    }

    /// The same server as somebody else.
    pub(crate) fn as_user(&self, name: &str) -> Self {
        Self {
            server: self.server.clone(),
            client: self.server.client(&Identity::user(name)),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.client.send(request).await.expect("the server answers");
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("the answer ends").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<&Value>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media_type);
        let body = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        self.send(request.body(Body::from(body)).expect("the path is one"))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "application/json", None).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header("accept", accept);
        self.send(request.body(Body::empty()).expect("the path is one"))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, "application/json", Some(body))
            .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, "application/json", Some(body))
            .await
    }

    pub(crate) async fn patch(&self, kind: &str, path: &str, body: &Value) -> Answer {
        let media_type = match kind {
            "json" => "application/json-patch+json",
            "merge" => "application/merge-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            other => panic!("{other} is no kind of patch"),
        };
        self.call(Method::PATCH, path, media_type, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, "application/json", None)
            .await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.call(Method::DELETE, path, "application/json", Some(options))
            .await
    }

    /// Creates a ConfigMap in `default`.
    pub(crate) async fn config_map(&self, name: &str, data: &Value) -> Value {
        let object = json!({"metadata": {"name": name}, "data": data});
        self.post(CONFIG_MAPS, &object).await.ok()
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, "application/json").await
    }

    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let request = Request::get(path).header("accept", accept);
        let lines = self
            .client
            .request_stream(request.body(Vec::new()).expect("the path is one"))
            .await
            .expect("the watch opens")
            .lines()
            .map_ok(|line| serde_json::from_str(&line).expect("each line is an event"));
        Watch(Box::pin(lines))
    }
}

/// The events of a watch.
pub(crate) struct Watch(BoxStream<'static, std::io::Result<Value>>);

impl Watch {
    pub(crate) async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(LIMIT, self.0.try_next())
            .await
            .expect("an event comes in time")
            .expect("the stream is whole")
    }

    /// `TYPE name` of the next event.
    pub(crate) async fn brief(&mut self) -> String {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{} {}",
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"])
        )
    }
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// `metadata.resourceVersion`
pub(crate) fn revision(object: &Value) -> &str {
    object["metadata"]["resourceVersion"]
        .as_str()
        .expect("the object was stored")
}

/// The names of a list's items.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("it is a list");
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}
