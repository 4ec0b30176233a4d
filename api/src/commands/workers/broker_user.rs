//! A machine's RabbitMQ user: created through the management API, or printed as commands to run by hand.

use anyhow::{Context as _, bail};
use broker::topology::{WorkerRights, worker_rights};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

/// A client of RabbitMQ's management API, with an administrator's rights.
pub(super) struct Management {
    url: Url,
    client: Client,
}

impl Management {
    /// `url` contains user name and password.
    ///
    /// # Errors
    /// `url` is not an HTTP address.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url).ok().filter(|url| url.scheme().starts_with("http"));
        let url =
            url.context("--broker-management is not an HTTP address such as http://user:password@127.0.0.1:15672")?;
        // The client uses the TLS implementation of the process. Installing one fails only if there already is one, which is fine.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(Self { url, client: Client::new() })
    }

    /// Creates or updates a user with a worker's rights in one virtual host.
    ///
    /// # Errors
    /// The management API cannot be reached or rejects the request.
    pub(super) async fn let_in(&self, vhost: &str, user: &str, password: &str) -> anyhow::Result<()> {
        self.call(Method::PUT, &["users", user], &json!({ "password": password, "tags": "" })).await?;
        let WorkerRights { configure, write, read } = worker_rights();
        let rights = json!({ "configure": configure, "write": write, "read": read });
        self.call(Method::PUT, &["permissions", vhost, user], &rights).await
    }

    /// Closes a user's connections and removes the user.
    ///
    /// # Errors
    /// The management API cannot be reached or rejects the request. A user that does not exist is not an error.
    pub(super) async fn shut_out(&self, user: &str) -> anyhow::Result<()> {
        // Connections first: they can only be addressed by user while the user exists.
        self.call(Method::DELETE, &["connections", "username", user], &Value::Null).await?;
        self.call(Method::DELETE, &["users", user], &Value::Null).await
    }

    async fn call(&self, method: Method, path: &[&str], body: &Value) -> anyhow::Result<()> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .ok()
            .context("--broker-management is not an HTTP address")?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let mut request = self.client.request(method.clone(), url);
        if !body.is_null() {
            request = request.json(body);
        }
        let what = path.join(" ");
        // The error would quote the address, which contains a password.
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let status = answer.with_context(|| format!("request {what} from RabbitMQ's management API"))?.status();
        if status.is_success() || method == Method::DELETE && status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        bail!("RabbitMQ's management API rejected {what}: {status}")
    }
}

/// The same as commands to run on RabbitMQ's machine.
pub(super) fn commands(vhost: &str, user: &str, password: &str) -> String {
    let WorkerRights { configure, write, read } = worker_rights();
    format!(
        "  rabbitmqctl add_user {user} {password} || rabbitmqctl change_password {user} {password}\n  \
         rabbitmqctl set_permissions -p '{vhost}' {user} '{configure}' '{write}' '{read}'\n"
    )
}
