//! The settings of a worker on another machine, as an env file that a shell, systemd and Docker all read the same way.
//!
//! These treat quotes differently, so values are written without quotes, and a value that needs them is rejected.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use reqwest::Url;
use settings::Settings;

use super::JoinArgs;
use super::address::Places;

/// Result of joining.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The variables, one per line, with comments.
    pub file: String,
    /// What the operator has to do next.
    pub advice: String,
}

/// A user name and a password.
type Login<'a> = (&'a str, &'a str);

/// Writes the file.
///
/// # Errors
/// A value contains a character that needs quotes.
pub(super) fn write(
    settings: &Settings,
    args: &JoinArgs,
    places: &Places,
    database: Login,
    broker: Login,
) -> anyhow::Result<Joined> {
    let file_name = format!("{}.env", args.name);
    let start = format!("set -a; . ./{file_name}; set +a; target/release/worker run");
    let mut file = format!(
        "# Settings of the worker on {}. This file contains passwords: set its mode to 0600 and keep no other copy.\n\
         # Start it in a checkout of the same release with the same model folder:\n#   {start}\n\
         # or in a container: docker run --env-file {file_name} ...\n",
        args.name
    );
    for (key, value) in variables(settings, args, places, database, broker)? {
        if value.chars().any(|c| c.is_whitespace() || "\"'`$\\;&|<>()#*?[]{}~!".contains(c) && !is_harmless(&key, c)) {
            bail!(
                "{key} contains a character that needs quotes in an env file; change the setting, for example its password"
            );
        }
        writeln!(file, "{key}={value}").context("write the settings")?;
    }
    let advice = format!(
        "Copy these settings to the other machine as {file_name} (mode 0600) and the model folder to {}. Then start the worker there:\n  {start}\n",
        settings.worker.model_dir.display()
    );
    Ok(Joined { file, advice })
}

/// A question mark begins the query of an address. A shell would expand it only if a file were named like the whole assignment,
/// so it needs no quotes.
fn is_harmless(key: &str, character: char) -> bool {
    character == '?' && key.ends_with("__URL")
}

fn variables(
    settings: &Settings,
    args: &JoinArgs,
    places: &Places,
    database: Login,
    broker: Login,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = vec![
        ("FLEET__WORKER__NAME", args.name.clone()),
        ("FLEET__WORKER__MODEL_DIR", settings.worker.model_dir.display().to_string()),
        ("FLEET__DATABASE__URL", with_login(&places.database, database)?),
        ("FLEET__BROKER__URL", with_login(&places.broker, broker)?),
        ("REDIS_HOST", places.redis.0.clone()),
        ("REDIS_PORT", places.redis.1.to_string()),
        ("FLEET__REDIS__TLS", (!args.plaintext).to_string()),
    ];
    let redis = &settings.redis;
    let artifacts = &settings.artifacts;
    for (key, value) in [
        ("FLEET__REDIS__USERNAME", redis.username.as_str()),
        ("FLEET__REDIS__PASSWORD", redis.password.expose()),
        ("FLEET__ARTIFACTS__URL", artifacts.url.as_str()),
        ("FLEET__ARTIFACTS__S3_ENDPOINT", places.s3_endpoint.as_str()),
        ("FLEET__ARTIFACTS__S3_REGION", artifacts.s3_region.as_str()),
        ("FLEET__ARTIFACTS__S3_ACCESS_KEY_ID", artifacts.s3_access_key_id.as_str()),
        ("FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY", artifacts.s3_secret_access_key.expose()),
    ] {
        if !value.is_empty() {
            all.push((key, value.to_owned()));
        }
    }
    if places.s3_endpoint.starts_with("http://") {
        all.push(("FLEET__ARTIFACTS__S3_ALLOW_HTTP", "true".to_owned()));
    }
    if let Some(ca) = &args.ca {
        // The Postgres client reads its own variable. The other clients read the system's, and also the certificate authorities
        // of the machine.
        all.push(("PGSSLROOTCERT", ca.clone()));
        all.push(("SSL_CERT_FILE", ca.clone()));
        all.push(("SSL_CERT_DIR", "/etc/ssl/certs".to_owned()));
    }
    let named = all.into_iter().map(|(key, value)| (key.to_owned(), value));
    Ok(named.chain(changed(settings)).collect())
}

fn with_login(place: &Url, (user, password): Login) -> anyhow::Result<String> {
    let mut url = place.clone();
    let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
    set.ok().context("this kind of address cannot have a user")?;
    Ok(url.to_string())
}

/// Settings that must be the same for all processes, if they differ from the defaults.
fn changed(settings: &Settings) -> Vec<(String, String)> {
    let defaults = Settings::defaults();
    let values = |of: &Settings| {
        [
            ("ENABLE_CACHE", of.cache.enabled.to_string()),
            ("FLEET__CACHE__TTL_S", of.cache.ttl_s.to_string()),
            ("FLEET__CACHE__SHARED_BETWEEN_TENANTS", of.cache.shared_between_tenants.to_string()),
            ("FLEET__CACHE__SIMILAR_ENABLED", of.cache.similar_enabled.to_string()),
            ("FLEET__CACHE__SIMILAR_THRESHOLD", of.cache.similar_threshold.to_string()),
            ("FLEET__SCHEDULER__AFFINITY_DELAY_MAX_S", of.scheduler.affinity_delay_max_s.to_string()),
            ("FLEET__SCHEDULER__ATTEMPTS_MAX", of.scheduler.attempts_max.to_string()),
            ("FLEET__SCHEDULER__ATTEMPTS_TOTAL_MAX", of.scheduler.attempts_total_max.to_string()),
            ("FLEET__SCHEDULER__BACKOFF_MIN_S", of.scheduler.backoff_min_s.to_string()),
            ("FLEET__SCHEDULER__BACKOFF_MAX_S", of.scheduler.backoff_max_s.to_string()),
            ("FLEET__SCHEDULER__CHECKPOINT_RESUMES_MAX", of.scheduler.checkpoint_resumes_max.to_string()),
            ("FLEET__WORKER__LEASE_S", of.worker.lease_s.to_string()),
            ("FLEET__WORKER__HEARTBEAT_S", of.worker.heartbeat_s.to_string()),
            ("FLEET__INTERPOLATION__ENABLED", of.interpolation.enabled.to_string()),
            ("FLEET__COST__GPU_HOUR_USD", of.cost.gpu_hour_usd.to_string()),
        ]
    };
    let pairs = values(settings).into_iter().zip(values(&defaults));
    pairs.filter(|(now, usual)| now != usual).map(|((key, value), _)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_on_another_machine_gets_what_all_processes_must_agree_on() {
        let mut settings = Settings::defaults();
        assert_eq!(changed(&settings), []);
        settings.cache.shared_between_tenants = true;
        settings.scheduler.affinity_delay_max_s = 60;
        let expected =
            [("FLEET__CACHE__SHARED_BETWEEN_TENANTS", "true"), ("FLEET__SCHEDULER__AFFINITY_DELAY_MAX_S", "60")];
        assert_eq!(changed(&settings), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
