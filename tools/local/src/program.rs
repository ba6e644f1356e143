//! One running program: started until it says that it is ready, its output kept in a file, stopped by its id.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

/// How long a program may take from its start until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running program. Dropping it kills it at once; [`Program::stop`] lets it finish first.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Why a program did not become ready. What it said until then is in its log.
#[derive(Debug)]
pub enum StartError {
    /// The system could not start it, or its log could not be written.
    Spawn(io::Error),
    /// It ended before it was ready.
    Ended(ExitStatus, String),
    /// It said nothing of being ready in time, and was killed.
    Late(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => write!(f, "cannot start: {error}"),
            Self::Ended(status, log) => write!(f, "ended with {status} before it was ready:\n{log}"),
            Self::Late(log) => write!(f, "not ready within {} s:\n{log}", READY_WITHIN.as_secs()),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn(error) => Some(error),
            Self::Ended(..) | Self::Late(_) => None,
        }
    }
}

/// How a stopped program went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It ended by itself, within the grace or before it was asked.
    Ended(ExitStatus),
    /// It did not end within the grace and was killed.
    Killed,
}

impl Program {
    /// Starts `command` with all its output in the file `log` (appended), and waits until `ready` makes something of
    /// one of its lines.
    ///
    /// # Errors
    /// [`StartError`]: in each case the program no longer runs.
    pub async fn start<T>(
        name: &str,
        mut command: Command,
        log: &Path,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> Result<(Self, T), StartError> {
        let file = File::options().create(true).append(true).open(log).await.map_err(StartError::Spawn)?;
        let second = file.try_clone().await.map_err(StartError::Spawn)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(StartError::Spawn)?;
        let (lines, mut said) = mpsc::channel(64);
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
        tokio::spawn(keep(stdout, file, lines.clone()));
        tokio::spawn(keep(stderr, second, lines));

        let mut text = String::new();
        let answer = timeout(READY_WITHIN, async {
            while let Some(line) = said.recv().await {
                if let Some(answer) = ready(&line) {
                    return Some(answer);
                }
                text.push_str(&line);
                text.push('\n');
            }
            None
        })
        .await;
        match answer {
            Ok(Some(answer)) => Ok((Self { name: name.to_owned(), child, log: log.to_owned() }, answer)),
            Ok(None) => Err(StartError::Ended(child.wait().await.map_err(StartError::Spawn)?, text)),
            Err(_) => Err(StartError::Late(text)),
        }
    }

    /// Returns the name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file with everything it has written.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns its process id, `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// The system's own failure to wait.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends it a signal; a program that has ended already is no error.
    ///
    /// # Errors
    /// The system refused the signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return Ok(()) };
        Ok(kill_process(pid, signal)?)
    }

    /// Asks it to end (SIGTERM), and kills it where it has not ended after `grace`.
    ///
    /// # Errors
    /// The system's own failure to signal or to wait.
    pub async fn stop(mut self, grace: Duration) -> io::Result<Stopped> {
        self.signal(Signal::TERM)?;
        match timeout(grace, self.child.wait()).await {
            Ok(status) => Ok(Stopped::Ended(status?)),
            Err(_) => self.kill().await.map(|()| Stopped::Killed),
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// The system's own failure to signal or to wait.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// Copies what a program says into its log, and line by line to whoever still waits for it to be ready.
async fn keep(output: impl AsyncRead + Unpin, mut log: File, lines: mpsc::Sender<String>) {
    let mut lines = Some(lines);
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // A log that cannot be written ends the copying, and the program meets a closed pipe: nothing is lost silently.
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        if log.write_all(&line).await.is_err() || log.flush().await.is_err() {
            return;
        }
        if let Some(waiting) = &lines {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if waiting.send(text).await.is_err() {
                lines = None;
            }
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests;
