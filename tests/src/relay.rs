//! A relay between a parent and a child that lies: it drops, repeats, alters, holds or cuts lines on their way.
//!
//! It works on whole lines, so a test says what happens to which command and not to which byte. What is not a stream is
//! passed on as it is.

use crate::client::DEV;
use crate::http::{Answer, Request};
use headwater_core::api::{HEADER_VIA, REQUEST_HEADERS};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Twice,
    /// Another one arrives in its place.
    Instead(String),
    /// It does not arrive, and the connection breaks.
    Cut,
    /// It and all after it wait until [`Relay::go_on`].
    Hold,
}

type Rule = Box<dyn FnMut(&str) -> Fate + Send>;

struct Shared {
    parent: String,
    rule: Mutex<Rule>,
    hellos: Mutex<Vec<String>>,
    mode: watch::Sender<Mode>,
    loses_answers: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Connections stay and are taken, and nothing passes.
    Silent,
    /// Connections are cut and taken no more.
    Closed,
}

/// See the module.
pub struct Relay {
    /// Its base address, to be given to the child as its parent.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts one in front of the node at `parent`. At first it passes everything on.
    pub async fn start(parent: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let shared = Arc::new(Shared {
            parent: parent.to_owned(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            hellos: Mutex::default(),
            mode: watch::Sender::new(Mode::Open),
            loses_answers: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&listening).serve(connection));
            }
        });
        Self { url, shared, task }
    }

    /// Decides what becomes of every line from now on, in order, whichever connection it is on.
    pub fn rule(&self, rule: impl FnMut(&str) -> Fate + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// Passes everything on again.
    pub fn honest(&self) {
        self.rule(|_| Fate::Pass);
    }

    /// Lets nothing pass in either direction while every connection stays open.
    pub fn silence(&self) {
        self.shared.mode.send_replace(Mode::Silent);
    }

    /// Breaks every connection and refuses new ones.
    pub fn close(&self) {
        self.shared.mode.send_replace(Mode::Closed);
    }

    /// Ends [`Relay::silence`], [`Relay::close`] and every [`Fate::Hold`].
    pub fn go_on(&self) {
        self.shared.mode.send_replace(Mode::Open);
    }

    /// Whether answers other than streams get lost: the parent has had the request, and the connection breaks.
    pub fn lose_answers(&self, lose: bool) {
        self.shared.loses_answers.store(lose, Ordering::Relaxed);
    }

    /// Every HELLO that has passed, oldest first.
    pub fn hellos(&self) -> Vec<String> {
        lock(&self.shared.hellos).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.mode.send_replace(Mode::Closed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    async fn serve(self: Arc<Self>, connection: TcpStream) {
        let mut mode = self.mode.subscribe();
        if *mode.borrow_and_update() == Mode::Closed {
            return;
        }
        let Ok(Some((request, answer, mut reader))) = Answer::to(connection).await else { return };
        let closed = async {
            // Fails only when the relay is gone, which is as good.
            mode.wait_for(|mode| *mode == Mode::Closed).await.ok();
        };
        let mut rest = Vec::new();
        tokio::select! {
            () = closed => {}
            _ = reader.read_to_end(&mut rest) => {}
            () = self.relay(request, answer) => {}
        }
    }

    async fn relay(&self, request: Request, mut answer: Answer) {
        self.open().await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS cannot fail");
        let method = request.method.parse().expect("the child's method is one");
        let mut asked = http.request(method, format!("{}{}", self.parent, request.target)).body(request.body.clone());
        for name in REQUEST_HEADERS.into_iter().chain([HEADER_VIA]) {
            if let Some(value) = request.header(name) {
                asked = asked.header(name, value);
            }
        }
        if request.header("apikey").is_none() {
            asked = asked.header("apikey", DEV.0).header("secret", DEV.1);
        }
        // A parent that cannot be reached looks to the child as if this connection broke.
        let Ok(response) = asked.send().await else { return };
        if request.target != "/v1/replicate" || response.status() != 200 {
            let status = response.status().as_u16();
            let keep = |name: &str| !matches!(name, "content-length" | "transfer-encoding" | "connection");
            let headers: Vec<(String, String)> = (response.headers().iter())
                .filter(|(name, _)| keep(name.as_str()))
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect();
            let Ok(body) = response.bytes().await else { return };
            if self.loses_answers.load(Ordering::Relaxed) {
                return;
            }
            answer.whole(status, &headers, &body).await.ok();
            return;
        }
        if answer.begin_stream().await.is_ok() {
            self.relay_stream(response, answer).await;
        }
    }

    async fn relay_stream(&self, mut response: reqwest::Response, mut answer: Answer) {
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = bytes.drain(..=end).collect();
                self.open().await;
                if self.relay_line(&line, &mut answer).await.is_none() {
                    return;
                }
            }
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => {
                    answer.end().await.ok();
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// `None` when the connection is to break.
    async fn relay_line(&self, line: &[u8], answer: &mut Answer) -> Option<()> {
        let text = std::str::from_utf8(line).expect("a node's lines are UTF-8").trim_end();
        let fate = (lock(&self.rule))(text);
        if text.contains("\"type\":\"HELLO\"") {
            lock(&self.hellos).push(text.to_owned());
        }
        match fate {
            Fate::Pass => answer.piece(line).await.ok(),
            Fate::Lost => Some(()),
            Fate::Twice => answer.piece(&[line, line].concat()).await.ok(),
            Fate::Instead(other) => answer.piece(format!("{other}\n").as_bytes()).await.ok(),
            Fate::Cut => None,
            Fate::Hold => {
                self.mode.send_replace(Mode::Silent);
                self.open().await;
                answer.piece(line).await.ok()
            }
        }
    }

    /// Waits until lines may pass.
    async fn open(&self) {
        self.mode.subscribe().wait_for(|mode| *mode == Mode::Open).await.ok();
    }
}
