//! A headless Chromium, by the WebDriver protocol of ChromeDriver (W3C WebDriver).
#![expect(clippy::disallowed_methods, reason = "a page has a deadline for what it shows")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use ureq::Agent;

/// How long a condition in a page may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page; closed when dropped.
pub struct Browser {
    driver: Child,
    agent: Agent,
    /// The URL of the session.
    session: String,
    _profile: tempfile::TempDir,
}

/// Says why a test does not run, which is a failure if the environment variable RTMFP_REQUIRE_CHROMIUM
/// is set.
fn skip(reason: &str) {
    let is_required = std::env::var_os("RTMFP_REQUIRE_CHROMIUM").is_some();
    assert!(!is_required, "Chromium is required: {reason}");
    eprintln!("SKIPPED: {reason}");
}

impl Browser {
    /// None where there is no ChromeDriver, unless the environment variable RTMFP_REQUIRE_CHROMIUM is
    /// set.
    pub fn start() -> Option<Self> {
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = match driver.spawn() {
            Ok(driver) => driver,
            Err(error) => {
                skip(&format!("chromedriver does not run ({error})"));
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // It writes no more than a few lines.
        let port = port.expect("the port of chromedriver");
        let profile = tempfile::tempdir().unwrap();
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(2 * PATIENCE))
            .build()
            .into();
        let mut browser = Self {
            driver,
            agent,
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let id =
            browser.post("", &browser.capabilities())["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser.post("/timeouts", &json!({ "script": PATIENCE.as_millis() as u64 }));
        Some(browser)
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // As after a click.
            "--autoplay-policy=no-user-gesture-required",
            &profile,
        ];
        json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } })
    }

    /// False where Chromium is older than its player of HLS, which is refused where Chromium is required.
    pub fn plays_hls(&self) -> bool {
        self.open("data:text/html,<video></video>");
        let plays = self.value("video.canPlayType('application/vnd.apple.mpegurl') !== ''") == true;
        if !plays {
            skip("this Chromium plays no HLS, as versions before 142");
        }
        plays
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.session));
        let mut response = request.send_json(body).unwrap();
        let answer: Value = response.body_mut().read_json().unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path}: {}", value["message"]);
        value
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The value of an expression in the page, in which `video` is the film.
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("const video = document.querySelector('video'); return {expression};");
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression in the page is true; it is looked at whenever the page is drawn.
    pub fn wait_for(&self, expression: &str) {
        let script = format!(
            "const video = document.querySelector('video'), done = arguments[0];
             const look = () => {{ if ({expression}) done(true); else setTimeout(look, 50); }};
             look();"
        );
        let request = self.agent.post(format!("{}/execute/async", self.session));
        let mut response = request.send_json(json!({ "script": script, "args": [] })).unwrap();
        let answer: Value = response.body_mut().read_json().unwrap();
        assert_eq!(answer["value"], true, "not so: {expression}\n{}", self.state());
    }

    /// Waits as [`wait_for`](Self::wait_for) does, while the browser goes to another page, which ends
    /// scripts.
    pub fn wait_for_page(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        let script = format!(
            "const video = document.querySelector('video'), done = arguments[0];
             setTimeout(() => done({expression}), 50);"
        );
        loop {
            let request = self.agent.post(format!("{}/execute/async", self.session));
            let mut response = request.send_json(json!({ "script": script, "args": [] })).unwrap();
            let answer: Value = response.body_mut().read_json().unwrap();
            if answer["value"] == true {
                return;
            }
            assert!(Instant::now() < deadline, "not so: {expression}: {answer}");
        }
    }

    /// Gives the window this size, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        self.emulate(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Prefers dark colors, or light ones.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.emulate("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    fn emulate(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// What there is to see, for a test that fails.
    fn state(&self) -> Value {
        self.value(
            "{ time: video?.currentTime, length: video?.duration, ready: video?.readyState, \
             error: video?.error && video.error.message, text: document.body.innerText }",
        )
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
