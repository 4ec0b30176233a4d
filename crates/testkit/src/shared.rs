//! A stack that the tests of one run share although each is a separate process, and that stops when they have ended.
//!
//! A keeper (a shell beside the stack) writes the address to a file and exits when no test has held the users' lock for a
//! while. A test holds that lock, shared, as long as its process lives; the keeper removes the address only under the
//! exclusive lock. So an address that a test reads under its lock is valid until the test ends.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::addresses::{Services, checkout, lock_folder};

/// RabbitMQ needs up to ten seconds on a free machine.
const START_MAX: Duration = Duration::from_secs(180);

/// Arguments: address file, users' lock. It exits after four polls without a user.
const KEEPER: &str = r#"
printf %s "$FLEET_TEST_SERVICES" > "$1.new" && mv "$1.new" "$1"
idle=0
while [ "$idle" -lt 4 ]; do
  sleep 10
  if flock -n -x "$2" true; then idle=$((idle + 1)); else idle=0; fi
done
exec 9>>"$2"
flock -x 9
rm -f "$1"
"#;

/// Held until the process ends.
static IN_USE: OnceLock<File> = OnceLock::new();

/// Joins the running stack, or starts one.
pub(crate) fn start_or_join() -> Services {
    let folder = lock_folder();
    let (address, users) = (folder.join("services.json"), folder.join("users.lock"));
    let starting = open_lock(&folder.join("starting.lock"));
    starting.lock().expect("the lock can be taken");
    let in_use = IN_USE.get_or_init(|| open_lock(&users));
    in_use.lock_shared().expect("the lock can be taken");
    if let Some(services) = read(&address).filter(answers) {
        return services;
    }
    // Left by a machine that crashed.
    drop(std::fs::remove_file(&address));
    start(&address, &users, &folder.join("stack.log"))
}

fn open_lock(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("the lock file can be made")
}

fn read(address: &Path) -> Option<Services> {
    std::fs::read_to_string(address).ok().map(|json| Services::parse(&json))
}

fn answers(services: &Services) -> bool {
    TcpStream::connect((services.redis_host.as_str(), services.redis_port)).is_ok()
}

#[expect(clippy::zombie_processes, reason = "the stack outlives this test for the others; init reaps it")]
fn start(address: &Path, users: &Path, log: &Path) -> Services {
    let out = File::create(log).expect("the log can be made");
    let errors = out.try_clone().expect("the log can be shared");
    let mut keeper = Command::new(checkout().join("scripts/fleet"))
        .args(["with-services", "--volatile", "--", "sh", "-c", KEEPER, "keeper"])
        .args([address, users])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        // In a separate process group, because the test's own group is killed with the test.
        .process_group(0)
        .spawn()
        .expect("scripts/fleet can be run");
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(services) = read(address) {
            return services;
        }
        let ended = keeper.try_wait().expect("the keeper can be asked");
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "the services did not start: {}", log());
        assert!(Instant::now() < deadline, "the services did not start in {START_MAX:?}: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
