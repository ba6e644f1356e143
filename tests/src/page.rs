//! The console page in headless Chromium, driven line by line through Node.js and Playwright (`page-driver.mjs`).

use crate::eventually::eventually_within;
use crate::state::State;
use headwater_local::tools::Tools;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long one order may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the first copy may take, however large it is and whatever else the machine does.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A browser with one page. Killed when dropped.
pub struct Page {
    url: String,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Page {
    /// Starts a browser and opens the console of the node at `url`.
    pub async fn open(url: &str) -> Self {
        let mut page = Self::start();
        page.url = url.into();
        page.order("open", json!(url)).await;
        page
    }

    /// Makes the process in which the page lives crash.
    pub async fn kill(&mut self) {
        self.order("kill", Value::Null).await;
    }

    /// Opens the console again after [`Page::kill`], in a process of its own.
    pub async fn open_again(&mut self) {
        let url = json!(self.url);
        self.order("open", url).await;
    }

    /// Starts a browser with an empty page whose origin has the files of this directory.
    pub async fn of_files(directory: &Path) -> Self {
        let mut page = Self::start();
        page.order("files", json!(directory)).await;
        page
    }

    fn start() -> Self {
        let tools = Tools::load().expect("./dev test writes the tools file");
        let chromium = tools.chromium.expect("./dev test finds a browser");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-driver.mjs");
        let mut child = Command::new(tools.node)
            .arg(driver)
            .env("CHROMIUM", chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js starts");
        let orders = child.stdin.take().expect("stdin was asked to be a pipe");
        let answers = BufReader::new(child.stdout.take().expect("stdout was asked to be a pipe")).lines();
        Self { url: String::new(), child, orders, answers }
    }

    async fn order(&mut self, name: &str, argument: Value) -> Value {
        self.try_order(name, argument).await.unwrap_or_else(|error| panic!("the page: {name}: {error}"))
    }

    async fn try_order(&mut self, name: &str, argument: Value) -> Result<Value, String> {
        let order = format!("{}\n", json!({"order": name, "argument": argument}));
        self.orders.write_all(order.as_bytes()).await.expect("the driver runs");
        let answer = timeout(PATIENCE, self.answers.next_line()).await;
        let line = answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
        let line = line.expect("the driver's output is text").ok_or("the driver has ended")?;
        let mut answer: Value = serde_json::from_str(&line).expect("the driver answers in JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["value"].take()),
        }
    }

    /// The value of a JavaScript expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.order("evaluate", json!(expression)).await
    }

    /// Types the development pair in and waits until the page has a complete copy.
    pub async fn sign_in(&mut self) {
        self.fill("#apikey", "dev").await;
        self.fill("#secret", "dev").await;
        self.click("#sign-in-button:enabled").await;
        self.until_within(READY_WITHIN, "ready", "window.headwater?.status().ready === true").await;
    }

    /// Types a text into a field.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        self.order("fill", json!([selector, text])).await;
    }

    /// Clicks the first element of this selector.
    pub async fn click(&mut self, selector: &str) {
        self.order("click", json!(selector)).await;
    }

    /// The text of the first element of this selector, as it is shown.
    pub async fn text(&mut self, selector: &str) -> String {
        let text = self.order("text", json!(selector)).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Makes the page hidden, as a tab in the background is, or visible again.
    pub async fn show(&mut self, visible: bool) {
        self.order("show", json!(visible)).await;
    }

    /// What the page has complained about: errors nobody caught and lines of its console of that level.
    pub async fn complaints(&mut self) -> Vec<String> {
        let found = self.order("complaints", Value::Null).await;
        found.as_array().expect("a list").iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// How often the page was loaded.
    pub async fn loads(&mut self) -> u64 {
        self.order("loads", Value::Null).await.as_u64().expect("a number")
    }

    /// `window.headwater.status()`.
    pub async fn status(&mut self) -> Value {
        self.evaluate("window.headwater.status()").await
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, what: &str, expression: &str) {
        self.until_within(PATIENCE, what, expression).await;
    }

    async fn until_within(&mut self, deadline: Duration, what: &str, expression: &str) {
        let page = tokio::sync::Mutex::new(self);
        let page = &page;
        eventually_within(deadline, &format!("the page: {what}"), || async move {
            match page.lock().await.try_order("evaluate", json!(expression)).await {
                Ok(Value::Bool(true)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// The state of the replica in the page, as [`crate::state_of`] gives it for a node. One moment's: nothing comes in
    /// while the page's own code runs.
    pub async fn state(&mut self) -> State {
        let found = self.evaluate(STATE).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = |value: &Value| value.as_array().expect("a list").iter().map(text).collect();
        let collections = found["collections"].as_array().expect("a list").iter();
        State {
            position: text(&found["position"]),
            collections: collections.map(|c| (text(&c[0]), (text(&c[1]), entries(&c[2])))).collect(),
        }
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        self.order("close", Value::Null).await;
        timeout(PATIENCE, self.child.wait()).await.expect("the driver ends").expect("it can be waited for");
    }
}

/// A list's body is cut into the API's own text of each entry, so that not only values but bytes are compared.
const STATE: &str = r#"(() => {
  const { headwater } = window;
  const decoder = new TextDecoder();
  const collections = headwater.collections().map(({ name }) => {
    const { body, headers } = headwater.list(name);
    const text = typeof body === 'string' ? body : decoder.decode(body);
    const etag = new Headers(headers).get('etag');
    const entries = [];
    let depth = 0, start = 1, quoted = false;
    for (let at = 1; at < text.length - 1; at++) {
      const sign = text[at];
      if (quoted) { if (sign === '\\') at++; else if (sign === '"') quoted = false; }
      else if (sign === '"') quoted = true;
      else if (sign === '{' || sign === '[') { if (depth++ === 0) start = at; }
      else if (sign === '}' || sign === ']') { if (--depth === 0) entries.push(text.slice(start, at + 1)); }
    }
    return [name, etag, entries];
  });
  return { position: headwater.status().position, collections };
})()"#;
