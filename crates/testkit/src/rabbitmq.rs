//! A separate virtual host for a test, and RabbitMQ's management API to inspect and disturb it.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use settings::{BrokerSettings, SecretUrl, Settings};

use crate::addresses::Services;
use crate::http::http_client;
use crate::services::services;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A virtual host: exchanges, queues and connections of one test.
pub struct Vhost {
    /// Its name.
    pub name: String,
    url: String,
    management: String,
    client: Client,
}

/// RabbitMQ's statistics of a queue. They arrive some seconds late; until then they are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLevel {
    /// Its name.
    pub name: String,
    /// Messages that are queued, or delivered and not acked.
    pub messages: Option<u64>,
    /// Of those, delivered.
    pub unacked: Option<u64>,
    /// Number of consumers.
    pub consumers: Option<u64>,
}

impl Vhost {
    /// A fresh one on the shared RabbitMQ; virtual hosts of processes that have ended are removed.
    ///
    /// # Panics
    /// When the management API refuses.
    pub async fn create() -> Self {
        let vhost = Self::create_on(services()).await;
        vhost.remove_stale().await;
        vhost
    }

    /// A fresh one on the RabbitMQ of a stack.
    ///
    /// # Panics
    /// When the management API refuses.
    pub async fn create_on(services: &Services) -> Self {
        let name = format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let url = services.broker_url.rsplit_once('/').map(|(base, _)| format!("{base}/{name}"));
        let vhost = Self {
            url: url.expect("an AMQP address ends with a virtual host; this is a bug"),
            management: services.broker_management_url.clone(),
            client: http_client().build().expect("an HTTP client"),
            name,
        };
        vhost.call(Method::PUT, &format!("vhosts/{}", vhost.name), &json!({})).await;
        vhost
    }

    /// Settings for this virtual host, with timeouts short enough for tests.
    #[must_use]
    pub fn settings(&self) -> BrokerSettings {
        BrokerSettings {
            url: SecretUrl::new(&self.url),
            publish_timeout_ms: 10_000,
            rpc_timeout_ms: 10_000,
            reconnect_min_ms: 20,
            reconnect_max_ms: 200,
            ..Settings::defaults().broker
        }
    }

    /// Settings of another user of this virtual host, who may configure, write and read what these patterns name.
    ///
    /// # Panics
    /// When the management API refuses.
    pub async fn settings_with_rights(&self, configure: &str, write: &str, read: &str) -> BrokerSettings {
        let user = format!("{}-limited", self.name);
        self.call(Method::PUT, &format!("users/{user}"), &json!({"password": user, "tags": ""})).await;
        let rights = json!({"configure": configure, "write": write, "read": read});
        self.call(Method::PUT, &format!("permissions/{}/{user}", self.name), &rights).await;
        let (_, place) = self.url.rsplit_once('@').expect("an address with a user; this is a bug");
        BrokerSettings { url: SecretUrl::new(format!("amqp://{user}:{user}@{place}")), ..self.settings() }
    }

    /// How many connections there are to this virtual host, as the management API reports.
    pub async fn connections(&self) -> usize {
        let connections = self.call(Method::GET, &format!("vhosts/{}/connections", self.name), &Value::Null).await;
        connections.as_array().map_or(0, Vec::len)
    }

    /// Ends every connection to this virtual host, as an operator would; returns how many there were.
    pub async fn kill_connections(&self) -> usize {
        let connections = self.call(Method::GET, &format!("vhosts/{}/connections", self.name), &Value::Null).await;
        let names: Vec<&str> =
            connections.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
        for name in &names {
            let name = name.replace(' ', "%20").replace('>', "%3E");
            // A connection that has just closed returns 404.
            drop(self.request(Method::DELETE, &format!("connections/{name}"), &Value::Null).await);
        }
        names.len()
    }

    /// The queues' names.
    pub async fn queues(&self) -> Vec<String> {
        let queues = self.call(Method::GET, &format!("queues/{}?columns=name", self.name), &Value::Null).await;
        queues.as_array().into_iter().flatten().filter_map(|q| q["name"].as_str().map(str::to_owned)).collect()
    }

    /// The queues that outlive their consumers.
    pub async fn queue_levels(&self) -> Vec<QueueLevel> {
        let columns = "name,durable,messages,messages_unacknowledged,consumers";
        let queues = self.call(Method::GET, &format!("queues/{}?columns={columns}", self.name), &Value::Null).await;
        let durable = queues.as_array().into_iter().flatten().filter(|queue| queue["durable"] == true);
        let level = |queue: &Value| QueueLevel {
            name: queue["name"].as_str().unwrap_or_default().to_owned(),
            messages: queue["messages"].as_u64(),
            unacked: queue["messages_unacknowledged"].as_u64(),
            consumers: queue["consumers"].as_u64(),
        };
        durable.map(level).collect()
    }

    /// Declares a durable queue with these arguments.
    pub async fn declare(&self, queue: &str, arguments: Value) {
        let body = json!({"durable": true, "arguments": arguments});
        self.call(Method::PUT, &format!("queues/{}/{queue}", self.name), &body).await;
    }

    /// Deletes a queue and its messages.
    pub async fn delete(&self, queue: &str) {
        self.call(Method::DELETE, &format!("queues/{}/{queue}", self.name), &Value::Null).await;
    }

    /// Publishes bytes unchanged; returns whether a queue accepted them.
    pub async fn publish_raw(&self, exchange: &str, routing_key: &str, payload: &str) -> bool {
        let body =
            json!({"properties": {}, "routing_key": routing_key, "payload": payload, "payload_encoding": "string"});
        let path = format!("exchanges/{}/{exchange}/publish", self.name);
        self.call(Method::POST, &path, &body).await["routed"] == true
    }

    /// Takes up to `count` messages out of a queue: payload and headers.
    pub async fn take(&self, queue: &str, count: u32) -> Vec<(String, Value)> {
        let body = json!({"count": count, "ackmode": "ack_requeue_false", "encoding": "auto"});
        let taken = self.call(Method::POST, &format!("queues/{}/{queue}/get", self.name), &body).await;
        let message =
            |m: &Value| (m["payload"].as_str().unwrap_or_default().to_owned(), m["properties"]["headers"].clone());
        taken.as_array().into_iter().flatten().map(message).collect()
    }

    async fn remove_stale(&self) {
        let all = self.call(Method::GET, "vhosts?columns=name", &Value::Null).await;
        let names = all.as_array().into_iter().flatten().filter_map(|v| v["name"].as_str());
        let gone = |name: &&str| {
            let process = name.strip_prefix("t-").and_then(|rest| rest.split('-').next());
            process.is_some_and(|id| !std::path::Path::new("/proc").join(id).exists())
        };
        for name in names.filter(gone) {
            // Another test may remove it at the same moment.
            drop(self.request(Method::DELETE, &format!("vhosts/{name}"), &Value::Null).await);
        }
    }

    async fn request(&self, method: Method, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        let mut request = self.client.request(method, format!("{}/api/{path}", self.management));
        if !body.is_null() {
            request = request.json(body);
        }
        request.send().await
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.request(method, path, body).await.expect("the management API responds");
        let status = answer.status();
        let text = answer.text().await.expect("the management API responds");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}
