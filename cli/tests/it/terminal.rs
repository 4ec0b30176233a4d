//! What people see: the progress bar and `fleet top` in a real terminal (tmux).

use std::path::PathBuf;
use std::process::Command;

use testkit::{Fleet, FleetOptions, eventually_seen};

use crate::support::{executable, gated};

/// A terminal in which a command runs.
struct Terminal {
    folder: PathBuf,
    name: String,
}

impl Terminal {
    /// Starts the client in a terminal of this size. The terminal stays after its end, so that the last screen can be read.
    fn start(fleet: &Fleet, name: &str, (columns, rows): (u16, u16), arguments: &str) -> Self {
        let terminal = Self { folder: fleet.folder().to_owned(), name: name.to_owned() };
        let command = format!("{} {arguments}; echo \"ended with $?\"; exec sleep 600", executable().display());
        let size = [columns.to_string(), rows.to_string()];
        let started = terminal
            .tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], &command])
            .env("FLEET_SERVER", &fleet.api_url)
            .env("XDG_CONFIG_HOME", fleet.folder())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("FLEET_API_KEY")
            .status()
            .expect("tmux is installed: scripts/fleet setup --tests");
        assert!(started.success(), "tmux starts");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.env("TMUX_TMPDIR", &self.folder).env_remove("TMUX").current_dir(&self.folder);
        command.args(["-u", "-L", &self.name]).args(arguments);
        command
    }

    /// The screen as text.
    fn screen(&self) -> String {
        let captured = self.tmux(&["capture-pane", "-p"]).output().expect("tmux runs");
        String::from_utf8_lossy(&captured.stdout).into_owned()
    }

    fn press(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().expect("tmux runs").success());
    }

    async fn until_shown(&self, parts: &[&str]) -> String {
        eventually_seen(&format!("the screen shows {parts:?}"), || async {
            let screen = self.screen();
            if parts.iter().all(|part| screen.contains(part)) { Ok(screen) } else { Err(screen) }
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server of this socket only; it is gone already if the test failed early.
        drop(self.tmux(&["kill-server"]).output());
    }
}

#[tokio::test]
async fn the_progress_bar_shows_step_time_left_and_cost_and_leaves_a_clean_screen() {
    let (fleet, gates, _processes) = gated(FleetOptions::default()).await;
    gates.hold("step-3");
    let terminal = Terminal::start(&fleet, "bar", (100, 20), "generate 'a cat walks' --steps 8 --wait -o cat.mp4");
    let screen = terminal.until_shown(&["step 2/8 [=", "denoise", " left", "about $"]).await;
    assert_eq!(screen.lines().filter(|line| !line.trim().is_empty()).count(), 1, "one line:\n{screen}");
    gates.open("step-3");
    let screen = terminal.until_shown(&["cat.mp4", "completed", "ended with 0"]).await;
    assert!(!screen.contains("/8 ["), "the bar is removed:\n{screen}");
    assert!(fleet.folder().join("cat.mp4").exists());
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_says_that_the_job_continues() {
    let (fleet, gates, _processes) = gated(FleetOptions::default()).await;
    gates.hold("step-3");
    let terminal = Terminal::start(&fleet, "stop", (100, 20), "generate 'a cat walks' --steps 8 --wait");
    terminal.until_shown(&["step 2/8 [="]).await;
    terminal.press("C-c");
    terminal.until_shown(&["continues", "fleet cancel", "ended with 130"]).await;
}

#[tokio::test]
async fn top_shows_the_fleet_survives_a_restart_cancels_and_restores_the_terminal() {
    let (fleet, gates, mut processes) = gated(FleetOptions::default()).await;
    gates.hold("step-3");
    let running =
        fleet.submit(&Fleet::small_request("a cat walks", 1, 8)).await["job_id"].as_str().expect("an id").to_owned();
    gates.until_reached("step-3").await;
    let terminal = Terminal::start(&fleet, "top", (140, 24), "top");
    terminal.until_shown(&["connected", "in progress 1", "worker-1", "a cat walks", "/8", &running, "q quit"]).await;

    processes[0].kill();
    terminal.until_shown(&["unreachable for", "a cat walks"]).await;
    processes[0] = fleet.api();
    terminal.until_shown(&["connected", "a cat walks"]).await;

    terminal.press("c");
    terminal.until_shown(&[&format!("cancel {running}? y = yes")]).await;
    terminal.press("y");
    gates.open("step-3");
    terminal.until_shown(&["cancelled 1", "in progress 0"]).await;
    assert_eq!(fleet.until_status(&running, &["cancelled", "completed"]).await["status"], "cancelled");

    terminal.press("q");
    let screen = terminal.until_shown(&["ended with 0"]).await;
    assert!(!screen.contains("q quit"), "the terminal shows what it showed before:\n{screen}");
}
