//! Goal: keys from the settings are used alone, and keys of the environment as a whole.
//! Method: a process with another identity in its environment, as on a machine of AWS, and the headers that reach the store.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use artifacts::Artifacts;
use settings::{ArtifactsSettings, Secret, Settings};

/// Of the environment, as temporary credentials have it.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "of-the-environment"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_SESSION_TOKEN", "token-of-the-environment"),
];

/// Header of the first request for an object.
fn request(key: &str) -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", server.local_addr().expect("bound"));
    let answered = std::thread::spawn(move || {
        let (mut connection, _) = server.accept().expect("a request");
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).expect("a whole header");
            header.push(byte[0]);
        }
        connection.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").expect("the response is sent");
        String::from_utf8(header).expect("text").to_lowercase()
    });
    let settings = ArtifactsSettings {
        url: "s3://videos".to_owned(),
        s3_endpoint: endpoint,
        s3_allow_http: true,
        s3_access_key_id: key.to_owned(),
        s3_secret_access_key: Secret::new("secret".to_owned()),
        ..Settings::defaults().artifacts
    };
    let store = Artifacts::open(&settings).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(store.get("job/token/video.mp4")).expect_err("there is no object");
    answered.join().expect("answered")
}

#[test]
fn keys_of_the_settings_are_not_combined_with_a_token_of_the_environment() {
    if std::env::var_os("AWS_SESSION_TOKEN").is_none() {
        // A test cannot change its own environment, so it runs itself once more.
        let this = std::env::current_exe().expect("this program");
        let name = "credentials::keys_of_the_settings_are_not_combined_with_a_token_of_the_environment";
        let ended = Command::new(this).args(["--exact", name]).envs(ENVIRONMENT).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let own = request("of-the-settings");
    assert!(own.contains("credential=of-the-settings/"), "{own}");
    assert!(!own.contains("x-amz-security-token") && !own.contains("token-of-the-environment"), "{own}");
    let environment = request("");
    assert!(environment.contains("credential=of-the-environment/"), "{environment}");
    assert!(environment.contains("x-amz-security-token: token-of-the-environment"), "{environment}");
}
