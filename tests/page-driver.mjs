// Carries out the orders of tests/src/page.rs: one JSON object a line on stdin, one answer a line on stdout.
import { join } from "node:path";
import { createInterface } from "node:readline";
import { launchBrowser } from "../tools/browser.mjs";

/** Longest wait for an element, in ms. */
const ELEMENT_MS = 20_000;

const browser = await launchBrowser();
const context = await browser.newContext();
const complaints = [];
let loads = 0;
let page = await newPage();

async function newPage() {
  const page = await context.newPage();
  page.setDefaultTimeout(ELEMENT_MS);
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("domcontentloaded", () => loads++);
  return page;
}

// Ends the page's process on the spot. Not by SIGKILL to all renderers: one that the browser holds in reserve would be
// among them, and a new page put into it before the browser knows never opens. The dead page stays: closing it may hang.
async function kill() {
  const session = await context.newCDPSession(page);
  const gone = page.waitForEvent("crash");
  // Nobody is left to answer.
  session.send("Page.crash").catch(() => {});
  await gone;
  page = await newPage();
}

// Headless Chromium keeps every page visible, and gives no way to hide one. So the page is told what the browser would tell it.
async function show(visible) {
  await page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    Object.defineProperty(document, "hidden", { configurable: true, get: () => state === "hidden" });
    document.dispatchEvent(new Event("visibilitychange"));
  }, visible ? "visible" : "hidden");
}

/** An origin that exists in this browser only. */
const FILES = "http://files.localhost";

async function files(directory) {
  await page.route(`${FILES}/**`, (route) => {
    const { pathname } = new URL(route.request().url());
    return pathname === "/" ? route.fulfill({ contentType: "text/html" }) : route.fulfill({ path: join(directory, pathname) });
  });
  await page.goto(FILES);
}

const orders = {
  files,
  open: (url) => page.goto(url, { waitUntil: "load" }).then(() => null),
  evaluate: (expression) => page.evaluate(expression),
  fill: ([selector, text]) => page.fill(selector, text),
  click: (selector) => page.click(selector),
  text: (selector) => page.locator(selector).first().innerText(),
  show,
  kill: () => kill().then(() => null),
  complaints: () => complaints,
  loads: () => loads,
  close: () => browser.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, argument } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await orders[order](argument)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
  if (order === "close") break;
}
// The test has gone, or is done: no browser outlives it.
await browser.close();
// The pipe from the test may still be open, and would keep this program.
process.exit(0);
