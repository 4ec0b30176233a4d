//! Draws the view. Colours only repeat what the words say, so that it can be read without them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table, TableState};
use serde_json::Value;

use crate::job::Job;
use crate::text::{dollars, duration, plain};
use crate::top::screen::Screen;

/// Width of a progress bar, columns.
const BAR: u64 = 10;
/// From this width on there is room for whole ids, columns.
const WIDE: u16 = 110;

/// Draws everything.
pub(crate) fn draw(screen: &Screen, frame: &mut Frame<'_>) {
    let workers = u16::try_from(screen.snapshot.workers.len().clamp(1, 8)).unwrap_or(1);
    let areas = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(workers + 2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .split(frame.area());
    frame.render_widget(title(screen), areas[0]);
    draw_workers(screen, frame, areas[1]);
    draw_jobs(screen, frame, areas[2]);
    frame.render_widget(footer(screen), areas[3]);
}

fn title(screen: &Screen) -> ratatui::text::Text<'static> {
    let stats = &screen.snapshot.stats;
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let connection = match &screen.trouble {
        None => Span::from("connected").green(),
        Some((_, since)) => Span::from(format!("unreachable for {}", duration(since.elapsed().as_secs_f64()))).red(),
    };
    let counts = format!(
        "in progress {}   completed {}   failed {}   cancelled {}",
        stats["in_progress"], stats["completed"], stats["failed"], stats["cancelled"]
    );
    let money = format!(
        "cost {}   saved {}   {} per video   cache hits {} %",
        dollars(number(&stats["savings"]["cost_usd"])),
        dollars(number(&stats["savings"]["saved_usd"])),
        dollars(number(&stats["savings"]["cost_per_video_usd"])),
        number(&stats["optimization"]["cache_hit_rate"]),
    );
    let version = plain(screen.snapshot.settings["version"].as_str().unwrap_or_default());
    let heading = Line::from(vec![
        Span::from(format!("fleet {version} ")).bold(),
        Span::from(format!("{}  ", plain(&screen.server))),
        connection,
    ]);
    vec![heading, Line::from(counts), Line::from(money)].into()
}

fn heading(words: &[&'static str]) -> Row<'static> {
    Row::new(words.iter().map(|word| Cell::from(*word)))
        .style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED))
}

fn draw_workers(screen: &Screen, frame: &mut Frame<'_>, area: Rect) {
    let workers = &screen.snapshot.workers;
    let row = |worker: &Value| {
        let word = |name: &str| plain(worker[name].as_str().unwrap_or_default());
        Row::new([
            word("name"),
            word("state"),
            format!("{}/{}", worker["running"], worker["slots"]),
            word("device"),
            word("model"),
        ])
    };
    let mut rows: Vec<Row<'_>> = workers.iter().map(row).collect();
    if rows.is_empty() {
        rows.push(Row::new(["no workers online; videos stay queued until one connects"]));
    }
    let widths = match workers.is_empty() {
        true => vec![Constraint::Fill(1)],
        false => vec![
            Constraint::Max(20),
            Constraint::Length(8),
            Constraint::Length(5),
            Constraint::Max(24),
            Constraint::Fill(1),
        ],
    };
    let words = ["WORKER", "STATE", "JOBS", "DEVICE", "MODEL"];
    let table = Table::new(rows, widths.clone()).header(heading(&words[..widths.len()]));
    frame.render_widget(table, area);
}

fn draw_jobs(screen: &Screen, frame: &mut Frame<'_>, area: Rect) {
    let price = screen.snapshot.settings["gpu_hour_usd"].as_f64();
    let wide = area.width >= WIDE;
    let row = |job: &Value| {
        let view = Job(job);
        let style = match view.status() {
            "running" => Style::new().cyan(),
            "failed" => Style::new().red(),
            "completed" => Style::new().green(),
            _ => Style::new(),
        };
        let cost = view.cost_usd(price).map_or_else(String::new, dollars);
        Row::new([
            Cell::from(if wide { view.id().to_owned() } else { short(view.id()) }),
            Cell::from(view.status().to_owned()).style(style),
            Cell::from(state_of(screen, job)),
            Cell::from(cost),
            Cell::from(view.prompt()),
        ])
    };
    let rows: Vec<Row<'_>> = screen.snapshot.jobs.iter().map(row).collect();
    let widths = [
        Constraint::Length(if wide { 36 } else { 8 }),
        Constraint::Length(9),
        Constraint::Length(30),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, widths)
        .header(heading(&["JOB", "STATUS", "PROGRESS", "COST", "PROMPT"]))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected(screen.selected());
    frame.render_stateful_widget(table, area, &mut state);
}

/// The end of an id. Ids of jobs that were submitted in the same minute begin alike.
fn short(id: &str) -> String {
    id.chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect()
}

/// How far a job is.
fn state_of(screen: &Screen, job: &Value) -> String {
    let view = Job(job);
    if let Some(progress) = screen.progress_of(job) {
        let filled = (progress.step * BAR).checked_div(progress.steps).unwrap_or_default();
        let bar: String = (0..BAR).map(|at| if at < filled { '=' } else { ' ' }).collect();
        let left = progress.remaining_s.map_or_else(String::new, |left| format!(" {}", duration(left)));
        return format!("[{bar}] {}/{}{left}", progress.step, progress.steps);
    }
    match view.status() {
        "completed" => {
            let minutes = view.0["optimization"]["actual_time"].as_f64();
            minutes.map_or_else(String::new, |minutes| format!("took {}", duration(minutes * 60.0)))
        }
        "queued" | "scheduled" => {
            view.estimate_s().map_or_else(String::new, |seconds| format!("needs about {}", duration(seconds)))
        }
        "failed" => plain(view.0["failure"]["reason"].as_str().unwrap_or_default()),
        _ => String::new(),
    }
}

fn footer(screen: &Screen) -> Line<'static> {
    if let Some(id) = screen.question() {
        return Line::from(format!("cancel {id}? y = yes, any other key = no")).reversed();
    }
    match &screen.trouble {
        Some((reason, _)) => Line::from(plain(reason)).red(),
        None if !screen.note.is_empty() => Line::from(plain(&screen.note)),
        None => Line::from("q quit   up/down select   c cancel"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::top::news::{News, Snapshot};

    fn screen() -> Screen {
        let mut screen = Screen::new("http://localhost:8000");
        let running = json!({
            "job_id": "0198c5f2-0000-7000-8000-000000000001", "status": "running", "progress": { "step": 5, "steps": 20 },
            "request": { "prompt": "一只猫在走" }, "optimization": { "estimated_time": 1.0 },
        });
        screen.apply(News::Snapshot(Box::new(Snapshot {
            stats: json!({ "in_progress": 1, "completed": 2, "failed": 0, "cancelled": 0 }),
            settings: json!({ "version": "0.1.0", "gpu_hour_usd": 3.6 }),
            workers: vec![json!({ "name": "worker-1", "state": "busy", "running": 1, "slots": 1, "device": "cpu" })],
            jobs: vec![running],
        })));
        screen
    }

    fn drawn(screen: &Screen, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(screen, frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn it_shows_workers_jobs_progress_and_cost() {
        let text = drawn(&screen(), 120, 20);
        for part in ["connected", "in progress 1", "worker-1", "1/1", "[==        ] 5/20", "$0.0600", "running"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (columns, rows) in [(1, 1), (20, 5), (80, 24), (300, 4)] {
            drawn(&screen(), columns, rows);
        }
    }

    #[test]
    fn trouble_is_named_and_the_last_content_stays() {
        let mut screen = screen();
        screen.apply(News::Failed("connection refused".to_owned()));
        let text = drawn(&screen, 120, 20);
        for part in ["unreachable for 0 s", "connection refused", "worker-1"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }
}
