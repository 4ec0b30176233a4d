//! The RabbitMQ user of this process, by which the others recognise its messages.

use lapin::uri::AMQPUri;
use settings::BrokerSettings;

/// The user that the URL names; empty if the URL leaves the choice to a client certificate.
pub(crate) fn user_of(settings: &BrokerSettings) -> String {
    let url = settings.url.expose();
    if url.contains("auth_mechanism=external") {
        return String::new();
    }
    url.parse::<AMQPUri>().map(|uri| uri.authority.userinfo.username).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use settings::Settings;

    use super::user_of;

    #[test]
    fn the_user_is_the_urls() {
        let user = |url: &str| {
            let mut settings = Settings::defaults().broker;
            settings.url = settings::SecretUrl::new(url);
            user_of(&settings)
        };
        assert_eq!(user("amqp://fleet_worker_a:p%40ss@host:5672/v"), "fleet_worker_a");
        assert_eq!(user("amqp://a%20b:p@host"), "a b");
        assert_eq!(user("amqp://host"), "guest");
        assert_eq!(user("amqps://host?auth_mechanism=external"), "");
    }
}
