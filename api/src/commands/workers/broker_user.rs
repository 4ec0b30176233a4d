//! A machine's RabbitMQ user: made through the management API, or as commands for a person.

use anyhow::{Context as _, bail};
use broker::topology::{WorkerRights, worker_rights};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

/// RabbitMQ's management API, as an administrator.
pub(super) struct Management {
    url: Url,
    client: Client,
}

impl Management {
    /// `url` carries user and password.
    ///
    /// # Errors
    /// No HTTP address.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url).ok().filter(|url| url.scheme().starts_with("http"));
        let url = url.context("--broker-management: no address such as http://user:password@127.0.0.1:15672")?;
        // The client takes the process's TLS implementation. Installing fails only if there already is one, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(Self { url, client: Client::new() })
    }

    /// Makes or renews a user with a worker's rights in one virtual host.
    ///
    /// # Errors
    /// The API's.
    pub(super) async fn let_in(&self, vhost: &str, user: &str, password: &str) -> anyhow::Result<()> {
        self.call(Method::PUT, &["users", user], &json!({ "password": password, "tags": "" })).await?;
        let WorkerRights { configure, write, read } = worker_rights();
        let rights = json!({ "configure": configure, "write": write, "read": read });
        self.call(Method::PUT, &["permissions", vhost, user], &rights).await
    }

    /// Removes a user and ends its connections.
    ///
    /// # Errors
    /// The API's; a user that is not there is none.
    pub(super) async fn shut_out(&self, user: &str) -> anyhow::Result<()> {
        // While the user is still there: the list of its connections is the user's.
        self.call(Method::DELETE, &["connections", "username", user], &Value::Null).await?;
        self.call(Method::DELETE, &["users", user], &Value::Null).await
    }

    async fn call(&self, method: Method, path: &[&str], body: &Value) -> anyhow::Result<()> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .ok()
            .context("--broker-management: no HTTP address")?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let mut request = self.client.request(method.clone(), url);
        if !body.is_null() {
            request = request.json(body);
        }
        let what = path.join(" ");
        // The error quotes the address, which holds a password.
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let status = answer.with_context(|| format!("ask RabbitMQ's management API for {what}"))?.status();
        if status.is_success() || method == Method::DELETE && status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        bail!("RabbitMQ's management API refused {what}: {status}")
    }
}

/// The same for a person at RabbitMQ's machine.
pub(super) fn commands(vhost: &str, user: &str, password: &str) -> String {
    let WorkerRights { configure, write, read } = worker_rights();
    format!(
        "  rabbitmqctl add_user {user} {password} || rabbitmqctl change_password {user} {password}\n  \
         rabbitmqctl set_permissions -p '{vhost}' {user} '{configure}' '{write}' '{read}'\n"
    )
}
