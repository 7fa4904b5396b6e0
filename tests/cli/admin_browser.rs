//! The status page of `rtmfp serve` in headless Chromium, with real clients connected.
//!
//! Skipped where there is no ChromeDriver, unless the environment variable RTMFP_REQUIRE_CHROMIUM is
//! set.

use crate::admin::{GROUP, Served};
#[cfg(target_os = "linux")]
use crate::cluster::Nats;
use crate::support::{Running, rtmfp};
use crate::webdriver::Browser;

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').textContent")
}

/// A client that looks for a peer that nobody is.
fn seeker(served: &Served) -> Running {
    let nobody = "ab".repeat(32);
    let uri = format!("{}lonely", served.uri);
    let mut command = rtmfp(["stream", "play", &nobody, "film", "-o", "-", "--via", &uri]);
    Running::start(command.args(["--listen", "127.0.0.1:0"]))
}

#[test]
fn numbers_lists_and_the_picture_of_a_group_follow_the_server() {
    let Some(browser) = Browser::start() else { return };
    let served = Served::start(&[]);
    browser.open(&served.url);
    browser.wait_for(&format!("{} === 'Running' && {} === '0'", text("state"), text("clients")));
    assert_eq!(browser.value("document.getElementById('no-groups').hidden"), false);

    let mut members = Vec::from(["chat", "chat", "tv"].map(|app| served.member(app, GROUP)));
    browser.wait_for("document.querySelectorAll('#ring .member').length === 3");
    browser.wait_for("document.querySelectorAll('#ring .link.succeeded').length >= 2");
    browser.wait_for("document.querySelectorAll('#session-rows tr').length === 3");
    browser.wait_for(&format!("{} === '3' && {} === '1'", text("clients"), text("groups")));
    browser.wait_for(&format!("{}.startsWith('3 members')", text("ring-text")));
    browser.wait_for("document.querySelectorAll('#applications tr').length === 2");
    browser.wait_for(&format!("{}.includes('reached')", text("introductions")));

    let _seeker = seeker(&served);
    browser
        .wait_for(&format!("{}.includes('the peer is not connected here')", text("introductions")));
    browser.wait_for(&format!("{}.includes('failed')", text("outcomes")));

    members.pop().unwrap().interrupt();
    browser.wait_for("document.querySelectorAll('#ring .member').length === 2");

    // Nothing came from elsewhere, and nothing is missing.
    let resources = "performance.getEntriesByType('resource')";
    assert_eq!(
        browser.value(&format!("{resources}.every(it => it.name.startsWith(location.origin))")),
        true
    );
    let failed = format!("{resources}.filter(it => it.responseStatus >= 400).map(it => it.name)");
    assert_eq!(browser.value(&failed), serde_json::json!([]));
    drop(members);
    served.stop();
    browser.wait_for(&format!("{} === 'The server cannot be reached'", text("state")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_cluster_is_on_the_page_of_its_servers() {
    let Some(browser) = Browser::start() else { return };
    let shown = |served: &Served, is_shown: bool| {
        browser.open(&served.url);
        browser.wait_for(&format!("{} === 'Running'", text("state")));
        let visible = browser.value("document.getElementById('cluster').checkVisibility()");
        assert_eq!(visible, is_shown);
    };
    let lone = Served::start(&[]);
    shown(&lone, false);
    lone.stop();
    let Some([first, second]) = Nats::two() else { return };
    let a = Served::start(&["--cluster-nats", &first.url]);
    shown(&a, true);
    let b = Served::start(&["--cluster-nats", &second.url]);
    browser.wait_for(&format!("{} === '2'", text("servers")));
    browser.wait_for(&format!("{} === 'NATS is connected, 0 commands lost'", text("bus")));
    b.stop();
    browser.wait_for(&format!("{} === '1'", text("servers")));
    drop((first, second));
    browser.wait_for(&format!("{}.startsWith('NATS cannot be reached, ')", text("bus")));
}

/// The contrast of two colors (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "
    const channel = (c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + .05) / (y + .05); };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const color = getComputedStyle(node).backgroundColor;
            if (!color.startsWith('rgba(0, 0, 0, 0')) return color;
        }
    };
    const texts = [...document.querySelectorAll('body *')].filter(node =>
        node.checkVisibility() && [...node.childNodes].some(it => it.nodeType === 3 && it.data.trim()) && !node.closest('svg'));
    return texts.filter(node => ratio(getComputedStyle(node).color, ground(node)) < 4.5).map(node => node.outerHTML);";

#[test]
fn everybody_can_read_the_page() {
    let Some(browser) = Browser::start() else { return };
    let served = Served::start(&[]);
    let _members = ["chat", "chat"].map(|app| served.member(app, GROUP));
    browser.open(&served.url);
    browser.wait_for("document.querySelectorAll('#ring .member').length === 2");
    browser.wait_for(&format!("{}.includes('reached')", text("introductions")));
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let poor = browser.value(&format!("(() => {{ {CONTRAST} }})()"));
        assert_eq!(poor, serde_json::json!([]), "{scheme}");
        grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1]);
    // On a phone nothing but tables is scrolled sideways.
    browser.resize(360, 740);
    browser.wait_for("innerWidth === 360 && document.documentElement.scrollWidth <= 360");
    // Landmarks, and names of all that can be used.
    for (selector, count) in [("header", 1), ("main", 1), ("footer nav[aria-label]", 1), ("h1", 1)]
    {
        let found = browser.value(&format!("document.querySelectorAll('{selector}').length"));
        assert_eq!(found, count, "{selector}");
    }
    let nameless =
        "[...document.querySelectorAll('section, select, button, [role], .scroll')].filter(it =>
        !(it.labels?.length || it.getAttribute('aria-label') || it.textContent.trim()
            || document.getElementById(it.getAttribute('aria-labelledby'))?.textContent))
        .map(it => it.outerHTML)";
    assert_eq!(browser.value(nameless), serde_json::json!([]));
    // The state alone is announced.
    assert_eq!(browser.value("document.querySelectorAll('[aria-live], [role=status]').length"), 1);
    // By keyboard: every control, in the order of the page.
    let reachable =
        "[...document.querySelectorAll('a, select, summary, .scroll, button:not([hidden])')]
        .filter(it => it.tabIndex < 0).length";
    assert_eq!(browser.value(reachable), 0);
    served.stop();
}
