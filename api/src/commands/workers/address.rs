//! Addresses of the services as another machine uses them: loopback addresses are replaced, and TLS is on unless declined.

use anyhow::{Context as _, bail};
use reqwest::Url;
use settings::{BrokerSettings, Settings};

use super::{JoinArgs, refuse_folder};

/// The registered ports of AMQP, without and with TLS.
const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;
const POSTGRES_PORT: u16 = 5432;

/// Addresses as the other machine uses them, without user names.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// `postgres://host:port/database?sslmode=...`
    pub(super) database: Url,
    /// `amqps://host:port/vhost`
    pub(super) broker: Url,
    /// Host and port of Redis.
    pub(super) redis: (String, u16),
    /// Address of the S3-compatible store; empty for AWS.
    pub(super) s3_endpoint: String,
}

/// Derives the addresses from the settings.
///
/// # Errors
/// The object store is a folder; an address is a loopback address and `--host` is missing; an address is invalid.
pub(super) fn places(settings: &Settings, args: &JoinArgs) -> anyhow::Result<Places> {
    refuse_folder(settings)?;
    let mut database = parse("database.url", settings.database.url.expose())?;
    relocate("database.url", &mut database, args)?;
    let port = args.database_port.or(database.port()).unwrap_or(POSTGRES_PORT);
    set_port(&mut database, port)?;
    let mode = match (args.plaintext, &args.ca) {
        (true, _) => "sslmode=disable",
        (false, _) => "sslmode=verify-full",
    };
    database.set_query(Some(mode));

    let mut broker = parse("broker.url", settings.broker.url.expose())?;
    relocate("broker.url", &mut broker, args)?;
    let known = broker.port().filter(|_| args.plaintext || broker.scheme() == "amqps");
    let usual = if args.plaintext { AMQP_PORT } else { AMQPS_PORT };
    set_port(&mut broker, args.broker_port.or(known).unwrap_or(usual))?;
    let scheme = if args.plaintext { "amqp" } else { "amqps" };
    broker.set_scheme(scheme).ok().context("broker.url is not an AMQP address")?;
    broker.set_query(None);

    let redis_host = if is_loopback(&settings.redis.host) {
        host("redis.host", args)?.to_owned()
    } else {
        settings.redis.host.clone()
    };
    let mut s3_endpoint = settings.artifacts.s3_endpoint.clone();
    if !s3_endpoint.is_empty() {
        let mut url = parse("artifacts.s3_endpoint", &s3_endpoint)?;
        relocate("artifacts.s3_endpoint", &mut url, args)?;
        url.as_str().trim_end_matches('/').clone_into(&mut s3_endpoint);
    }
    Ok(Places { database, broker, redis: (redis_host, args.redis_port.unwrap_or(settings.redis.port)), s3_endpoint })
}

/// The virtual host of an AMQP address; `/` if it names none.
///
/// # Errors
/// `broker.url` is not a valid address.
pub(super) fn vhost(broker: &BrokerSettings) -> anyhow::Result<String> {
    let url = parse("broker.url", broker.url.expose())?;
    let path = url.path().trim_start_matches('/');
    if path.is_empty() {
        return Ok("/".to_owned());
    }
    // Decoded like a form value, except that a plus sign in a path is a plus sign and not a space.
    let pair = format!("v={}", path.replace('+', "%2B"));
    let decoded = form_urlencoded::parse(pair.as_bytes()).next();
    Ok(decoded.map(|(_, value)| value.into_owned()).unwrap_or_default())
}

fn parse(key: &str, text: &str) -> anyhow::Result<Url> {
    // The parser's error is dropped, because it may quote the address and with it a password.
    let url = Url::parse(text).ok().filter(Url::has_host);
    url.with_context(|| format!("{key} is not a network address such as scheme://host:port"))
}

/// Replaces a loopback address by the name under which the other machine reaches this one.
fn relocate(key: &'static str, url: &mut Url, args: &JoinArgs) -> anyhow::Result<()> {
    if is_loopback(url.host_str().unwrap_or_default()) {
        let host = host(key, args)?;
        url.set_host(Some(host)).with_context(|| format!("--host {host}"))?;
    }
    Ok(())
}

fn set_port(url: &mut Url, port: u16) -> anyhow::Result<()> {
    url.set_port(Some(port)).ok().context("this kind of address cannot have a port")
}

fn host<'a>(key: &'static str, args: &'a JoinArgs) -> anyhow::Result<&'a str> {
    match &args.host {
        Some(host) => Ok(host),
        None => bail!(
            "{key} is a loopback address, which only this machine can reach; pass the name of this machine with --host"
        ),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use settings::SecretUrl;

    use super::*;

    pub(in super::super) fn args() -> JoinArgs {
        JoinArgs {
            name: "gpu2".to_owned(),
            host: Some("fleet.example".to_owned()),
            database_port: None,
            broker_port: None,
            redis_port: None,
            ca: None,
            plaintext: false,
            broker_management: None,
        }
    }

    fn settings() -> Settings {
        let mut settings = Settings::defaults();
        settings.artifacts.url = "s3://videos/fleet".to_owned();
        settings
    }

    #[test]
    fn loopback_becomes_the_named_host_with_tls() {
        let mut settings = settings();
        settings.artifacts.s3_endpoint = "https://127.0.0.1:9000".to_owned();
        let places = places(&settings, &args()).unwrap();
        assert_eq!(places.database.host_str(), Some("fleet.example"));
        assert!(
            places.database.as_str().ends_with("@fleet.example:5432/fleet?sslmode=verify-full"),
            "{}",
            places.database
        );
        assert!(
            places.broker.as_str().starts_with("amqps://") && places.broker.port() == Some(5671),
            "{}",
            places.broker
        );
        assert_eq!(places.redis, ("fleet.example".to_owned(), 6379));
        assert_eq!(places.s3_endpoint, "https://fleet.example:9000");
    }

    #[test]
    fn addresses_of_other_machines_are_kept_and_ports_can_be_overridden() {
        let mut settings = settings();
        settings.database.url = SecretUrl::new("postgres://u:p@db.internal/fleet?sslmode=prefer");
        settings.broker.url = SecretUrl::new("amqps://u:p@mq.internal:5999/videos");
        settings.redis.host = "cache.internal".to_owned();
        let named = JoinArgs { redis_port: Some(6380), ..args() };
        let found = places(&settings, &named).unwrap();
        assert!(found.database.as_str().ends_with("@db.internal:5432/fleet?sslmode=verify-full"));
        assert!(found.broker.as_str().ends_with("@mq.internal:5999/videos"));
        assert_eq!(found.redis, ("cache.internal".to_owned(), 6380));
        let plain = JoinArgs { plaintext: true, ..named };
        let found = places(&settings, &plain).unwrap();
        assert!(found.database.as_str().ends_with("sslmode=disable"));
        assert_eq!((found.broker.scheme(), found.broker.port()), ("amqp", Some(5999)));
    }

    #[test]
    fn an_address_that_another_machine_cannot_reach_is_rejected_by_name() {
        let nowhere = JoinArgs { host: None, ..args() };
        let error = places(&settings(), &nowhere).unwrap_err().to_string();
        assert!(error.contains("database.url") && error.contains("--host"), "{error}");
        let error = places(&Settings::defaults(), &args()).unwrap_err().to_string();
        assert!(error.contains("artifacts.url") && error.contains("s3://"), "{error}");
        let mut odd = settings();
        odd.broker.url = SecretUrl::new("hunter2");
        let error = places(&odd, &args()).unwrap_err().to_string();
        assert!(error.contains("broker.url") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_virtual_host_is_parsed_from_the_address() {
        for (url, wanted) in [
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://h/%2f", "/"),
            ("amqp://h/a+b", "a+b"),
            ("amqp://h/t-1", "t-1"),
        ] {
            let broker = BrokerSettings { url: SecretUrl::new(url), ..Settings::defaults().broker };
            assert_eq!(vhost(&broker).unwrap(), wanted, "{url}");
        }
    }
}
