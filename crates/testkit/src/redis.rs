//! A separate, empty Redis database for a test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use settings::{RedisSettings, Settings};

use crate::addresses::lock_folder;
use crate::services::services;

/// Redis has sixteen databases; 0 is left to clients that name none.
const NUMBERS: std::ops::RangeInclusive<i64> = 1..=15;

/// Locks of the databases that this process uses; held until it ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Settings of a database that no other test uses, empty.
///
/// # Panics
/// If none is free within a minute.
#[must_use]
pub fn database() -> RedisSettings {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        for number in NUMBERS {
            let path = lock_folder().join(format!("redis-{number}.lock"));
            let lock = File::options().create(true).append(true).open(path).expect("the lock file can be made");
            if lock.try_lock().is_ok() {
                TAKEN.lock().expect("no test panics while it holds this").push(lock);
                return emptied(number);
            }
        }
        assert!(Instant::now() < deadline, "all Redis databases are in use");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn emptied(number: i64) -> RedisSettings {
    let redis = RedisSettings {
        host: services().redis_host.clone(),
        port: services().redis_port,
        database: number,
        ..Settings::defaults().redis
    };
    command(&redis, &["FLUSHDB"]);
    redis
}

/// Sends one command and returns Redis' raw reply, for commands that the tested code has no call for.
///
/// # Panics
/// If Redis is unavailable or returns an error.
pub fn command(redis: &RedisSettings, words: &[&str]) -> String {
    let mut stream = TcpStream::connect((redis.host.as_str(), redis.port)).expect("Redis answers");
    let select = encode(&["SELECT", &redis.database.to_string()]);
    stream.write_all(&select).expect("Redis takes commands");
    stream.write_all(&encode(words)).expect("Redis takes commands");
    stream.write_all(&encode(&["QUIT"])).expect("Redis takes commands");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("Redis answers");
    let answer = String::from_utf8_lossy(&answer);
    let answer = answer.strip_prefix("+OK\r\n").expect("the database exists").trim_end_matches("+OK\r\n");
    assert!(!answer.starts_with('-'), "{words:?}: {answer}");
    answer.to_owned()
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}
