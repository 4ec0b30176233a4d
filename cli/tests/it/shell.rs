//! Completions and man pages need no server, and shells accept them.

use std::process::Command;

use crate::support::{client, finish};

#[tokio::test]
async fn completion_scripts_are_valid_and_know_the_commands() {
    let home = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let mut command = client("http://127.0.0.1:9", home.path());
        command.args(["completions", shell]);
        let ran = finish(command).await.ended_with(0);
        for word in ["generate", "batch", "--tier", "preview"] {
            assert!(ran.stdout.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        if shell == "bash" {
            let script = home.path().join("fleet.bash");
            std::fs::write(&script, &ran.stdout).expect("a file");
            let read = Command::new("bash").arg("-n").arg(&script).status().expect("bash runs");
            assert!(read.success(), "bash reads the script");
        }
    }
}

#[tokio::test]
async fn there_is_a_man_page_for_every_command_with_the_exit_codes() {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = client("http://127.0.0.1:9", home.path());
    command.args(["man", "--folder", "pages"]);
    finish(command).await.ended_with(0);
    for page in ["fleet.1", "fleet-generate.1", "fleet-batch.1", "fleet-top.1"] {
        let text = std::fs::read_to_string(home.path().join("pages").join(page)).expect(page);
        assert!(text.contains(".TH"), "{page}");
    }
    let main = std::fs::read_to_string(home.path().join("pages/fleet.1")).expect("the main page");
    assert!(main.contains("the server cannot be reached"), "exit codes");
}
