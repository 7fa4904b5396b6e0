//! Editing of lines on a terminal, with a history, above which output goes.
//!
//! A thread of its own is in the editor, but only while the next line is waited for, and while the
//! process is in the foreground. So the terminal is in its usual state whenever nobody types.

use super::input::{AGAIN, is_in_foreground};
use crate::cli::screen;
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{
    Behavior, Cmd, ConditionalEventHandler, Config, DefaultEditor, Event, EventContext,
    EventHandler, ExternalPrinter, KeyEvent, RepeatCount,
};
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What stands before the line.
const PROMPT: &str = "> ";
/// Lines that the history keeps.
const MAX_HISTORY: usize = 1000;
/// Terminals without what editing needs.
const DUMB: [&str; 4] = ["", "dumb", "cons25", "emacs"];
/// The longest wait for output at the end.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Ends the editor's way of pasting, and takes the line away.
const CLEAN: &str = "\x1b[?2004l\r\x1b[K";

/// Lines that a person edits. Output goes through it as long as it lives.
pub(super) struct Editor {
    /// Begins the next line.
    begin: std::sync::mpsc::Sender<()>,
    /// A line was begun, and is not there yet.
    has_begun: bool,
    lines: mpsc::UnboundedReceiver<String>,
    output: std::sync::mpsc::Sender<Output>,
    /// The thread is in the editor.
    is_editing: Arc<AtomicBool>,
    /// The terminal as it was.
    usual: Termios,
}

enum Output {
    Text(String),
    /// Answered when everything before is printed.
    Flush(std::sync::mpsc::Sender<()>),
}

impl Editor {
    /// Starts an editor on the terminal that standard input is. `None` if it is none, or cannot do
    /// what is needed.
    pub(super) fn start(history: Option<PathBuf>) -> Option<Self> {
        let term = std::env::var("TERM").unwrap_or_default();
        if !stdin().is_terminal() || DUMB.contains(&term.as_str()) {
            return None;
        }
        let usual = tcgetattr(rustix::stdio::stdin()).ok()?;
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .max_history_size(MAX_HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .ok()?
            .history_ignore_space(true)
            .build();
        let mut editor = DefaultEditor::with_config(config).ok()?;
        if let Some(history) = &history {
            // There is none the first time.
            let _ = editor.load_history(history);
        }
        let kept = Arc::new(Mutex::new(None));
        let suspend = Box::new(Suspend(Arc::clone(&kept)));
        editor.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(suspend));
        let printer = editor.create_external_printer().ok()?;
        let (begin, begun) = std::sync::mpsc::channel();
        let (sender, lines) = mpsc::unbounded_channel();
        let (output, texts) = std::sync::mpsc::channel();
        let is_editing = Arc::new(AtomicBool::new(false));
        let thread =
            Thread { editor, history, kept, begun, lines: sender, is_editing: is_editing.clone() };
        std::thread::spawn(move || thread.run());
        // Who prints may have to wait for the editor, and the editor for the next line.
        std::thread::spawn(move || print(printer, &texts));
        let to_printer = output.clone();
        screen::print_by(Some(Box::new(move |text| {
            let _ = to_printer.send(Output::Text(text));
        })));
        Some(Self { begin, has_begun: false, lines, output, is_editing, usual })
    }

    /// The next line; `None` if there is no further one.
    pub(super) async fn line(&mut self) -> Option<String> {
        if !self.has_begun {
            self.begin.send(()).ok()?;
            self.has_begun = true;
        }
        let line = self.lines.recv().await;
        self.has_begun = false;
        line
    }
}

impl Drop for Editor {
    /// Leaves the terminal as it was.
    fn drop(&mut self) {
        let (done, all) = std::sync::mpsc::channel();
        if self.output.send(Output::Flush(done)).is_ok() {
            let _ = all.recv_timeout(LAST_OUTPUT);
        }
        screen::print_by(None);
        // Who sets a terminal in the background is stopped by the system.
        if self.is_editing.load(Ordering::SeqCst) && is_in_foreground() {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.usual);
            let _ = screen::write(CLEAN);
        }
    }
}

fn print(mut printer: impl ExternalPrinter, output: &std::sync::mpsc::Receiver<Output>) {
    for output in output {
        match output {
            Output::Text(text) => {
                if printer.print(text).is_err() {
                    return screen::print_by(None);
                }
            }
            Output::Flush(done) => drop(done.send(())),
        }
    }
}

/// The thread that is in the editor.
struct Thread {
    editor: DefaultEditor,
    history: Option<PathBuf>,
    /// The line, left and right of the cursor, when Ctrl-Z was typed.
    kept: Arc<Mutex<Option<(String, String)>>>,
    begun: std::sync::mpsc::Receiver<()>,
    lines: mpsc::UnboundedSender<String>,
    is_editing: Arc<AtomicBool>,
}

impl Thread {
    /// Reads lines until Ctrl-C, or Ctrl-D in an empty one, which both end the command.
    fn run(mut self) {
        while self.begun.recv().is_ok() {
            let Some(text) = self.read() else { return };
            if self.editor.add_history_entry(&text).unwrap_or(false)
                && let Some(history) = &self.history
            {
                // A history that cannot be written is not worth an interruption.
                let _ = self.editor.append_history(history);
            }
            // What was pasted may have several lines. An empty one is a line too.
            for line in text.split('\n') {
                if self.lines.send(line.to_owned()).is_err() {
                    return;
                }
            }
        }
    }

    fn read(&mut self) -> Option<String> {
        let mut line = (String::new(), String::new());
        loop {
            while !is_in_foreground() {
                std::thread::park_timeout(AGAIN);
            }
            self.is_editing.store(true, Ordering::SeqCst);
            let read = self.editor.readline_with_initial(PROMPT, (&line.0, &line.1));
            self.is_editing.store(false, Ordering::SeqCst);
            match read {
                Ok(text) => return Some(text),
                Err(ReadlineError::Interrupted) => {
                    let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
                    // The terminal sends no signals while a line is edited.
                    let Some(kept) = kept else {
                        let _ = kill_process(getpid(), Signal::INT);
                        return None;
                    };
                    line = kept;
                    let _ = kill_current_process_group(Signal::TSTP);
                    // Another thread may take the signal, and this one stops a little later.
                    std::thread::park_timeout(AGAIN);
                }
                Err(ReadlineError::Eof) => {
                    let _ = kill_process(getpid(), Signal::INT);
                    return None;
                }
                Err(_) => return None,
            }
        }
    }
}

/// Ctrl-Z: leaves the editor, and keeps the line.
struct Suspend(Arc<Mutex<Option<(String, String)>>>);

impl ConditionalEventHandler for Suspend {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, state: &EventContext<'_>) -> Option<Cmd> {
        let (left, right) = state.line().split_at_checked(state.pos())?;
        let line = (left.to_owned(), right.to_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        Some(Cmd::Interrupt)
    }
}
