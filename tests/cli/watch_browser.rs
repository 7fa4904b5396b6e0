//! `rtmfp watch` in headless Chromium: real films play, seek and end.
//!
//! Skipped where there is no ChromeDriver, unless the environment variable RTMFP_REQUIRE_CHROMIUM is
//! set.

use crate::support::{Running, Share, hold_usual_port, own_port, rtmfp};
use crate::watch::Watch;
use crate::web_server::WebServer;
use crate::webdriver::Browser;
use std::path::{Path, PathBuf};
use std::process::Command;

fn clip(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clips").join(name)
}

/// The command that shares a film on loopback.
fn share(film: &Path) -> Command {
    let mut command = rtmfp(["share", "--listen", "127.0.0.1:0"]);
    command.arg(film);
    command
}

/// Waits until the film plays, and its pictures are as wide as they should be.
fn plays(browser: &Browser, width: u32) {
    browser.wait_for("!video.paused && video.currentTime > 0.3 && video.readyState >= 3");
    assert_eq!(browser.value("video.videoWidth"), width);
    assert_eq!(browser.value("document.getElementById('stage').hasAttribute('data-empty')"), false);
}

fn seeks(browser: &Browser, time: f64) {
    browser.value(&format!("video.currentTime = {time}"));
    browser.wait_for(&format!(
        "!video.seeking && video.readyState >= 3 && Math.abs(video.currentTime - {time}) < 5"
    ));
}

fn ends(browser: &Browser) {
    browser.value("video.currentTime = video.duration - 0.5");
    browser.wait_for("video.ended");
}

#[test]
fn mp4_plays_seeks_and_ends() {
    let Some(browser) = Browser::start() else { return };
    let share = Share::spawn(share(&clip("test-pattern.mp4")));
    let watch = Watch::start(&share.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 640);
    seeks(&browser, 20.0);
    seeks(&browser, 4.0);
    ends(&browser);
    browser.wait_for("document.getElementById('held').textContent === '100 %'");
    watch.stop();
    // The page notices that the program has ended.
    browser.wait_for("document.getElementById('text').textContent.includes('has ended')");
}

/// The same film with its index behind the pictures, as a camera writes it.
fn moov_last(directory: &Path) -> PathBuf {
    let file = std::fs::read(clip("test-pattern.mp4")).unwrap();
    let (mut moov, mut rest) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < file.len() {
        let len = u32::from_be_bytes(*file[at..].first_chunk().unwrap()) as usize;
        let whole = &file[at..at + len];
        if &whole[4..8] == b"moov" { &mut moov } else { &mut rest }.extend_from_slice(whole);
        at += len;
    }
    // The pictures are nearer to the beginning by the length of the index, and so are their offsets.
    let shift = moov.len() as u32;
    let tables = (0..moov.len()).filter(|&at| moov[at..].starts_with(b"stco")).collect::<Vec<_>>();
    for at in tables {
        let number = |place: usize| u32::from_be_bytes(*moov[place..].first_chunk().unwrap());
        let moved: Vec<u8> = (0..number(at + 8) as usize)
            .flat_map(|n| (number(at + 12 + 4 * n) - shift).to_be_bytes())
            .collect();
        moov[at + 12..at + 12 + moved.len()].copy_from_slice(&moved);
    }
    let path = directory.join("camera.mp4");
    std::fs::write(&path, [rest, moov].concat()).unwrap();
    path
}

#[test]
fn mp4_with_its_index_at_the_end_plays_before_it_is_complete() {
    let Some(browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut share = share(&moov_last(directory.path()));
    let share =
        Share::spawn(std::mem::replace(share.args(["--up-limit", "200KB/s"]), Command::new("")));
    let watch = Watch::start(&share.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 640);
    let held = watch.until(|_| true)["held"]["fraction"].as_f64().unwrap();
    assert!(held < 0.95, "{held} was needed to begin");
    seeks(&browser, 15.0);
    watch.stop();
}

#[test]
fn flv_plays_seeks_and_ends() {
    let Some(browser) = Browser::start() else { return };
    let share = Share::spawn(share(&clip("test-pattern.flv")));
    let watch = Watch::start(&share.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 160);
    browser.value("video.pause()");
    seeks(&browser, 2.2);
    seeks(&browser, 0.1);
    browser.value("video.play()");
    ends(&browser);
    watch.stop();
}

#[test]
fn hls_of_a_web_server_plays_seeks_and_ends() {
    let Some(browser) = Browser::start() else { return };
    // Chromium plays HLS since version 142.
    if !browser.plays_hls() {
        return;
    }
    let files = ["list.m3u8", "0.ts", "1.ts", "2.ts"].map(|name| {
        let content = std::fs::read(clip("hls").join(name)).unwrap();
        (format!("/film/{name}"), content)
    });
    let web = WebServer::start(files.to_vec());
    let list = format!("{}film/list.m3u8", web.url);
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let share = Share::start([&list, "--listen", "127.0.0.1:0", "--cache", cache]);
    assert!(share.link.contains("/files=4/name=list"), "{}", share.link);
    let watch = Watch::start(&share.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 320);
    browser.wait_for("Math.abs(video.duration - 12) < 0.2 && video.videoHeight === 180");
    browser.value("video.pause()");
    seeks(&browser, 10.5);
    seeks(&browser, 1.0);
    browser.value("video.play()");
    browser.wait_for("video.currentTime > 1.5");
    ends(&browser);
    watch.stop();
}

#[test]
fn the_film_plays_on_when_the_provider_dies() {
    let Some(browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (listen, _usual) = (format!("127.0.0.1:{}", own_port()), hold_usual_port());
    let start = |more: &[&str]| {
        let mut command = rtmfp(["share", "--listen", &listen]);
        command.arg(clip("test-pattern.mp4")).args(more).env("XDG_STATE_HOME", &state);
        Share::spawn(command)
    };
    let mut first = start(&["--up-limit", "150KB/s"]);
    let watch = Watch::start(&first.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 640);
    watch.until(|status| status["held"]["fraction"].as_f64() > Some(0.3));
    first.interrupt();
    first.wait();
    let text =
        |words: &str| format!("document.getElementById('text').textContent.includes('{words}')");
    browser.wait_for(&text("Nobody is connected"));
    // What is here plays.
    let time = browser.value("video.currentTime").as_f64().unwrap();
    assert!(time < 9.0, "a third of the film is ten seconds");
    seeks(&browser, 2.0);
    browser.wait_for("video.currentTime > 3");
    // What is not is waited for, and the page says so.
    browser.value("video.currentTime = 25");
    browser.wait_for(&text("near 0:2"));
    let again = start(&[]);
    assert_eq!(again.link, first.link);
    browser.wait_for("!video.seeking && video.readyState >= 3 && video.currentTime >= 25");
    ends(&browser);
    watch.stop();
}

#[test]
fn each_film_of_a_folder_is_chosen_and_plays() {
    let Some(browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("test-pattern.mp4", "1.mp4"), ("test-pattern.flv", "2.flv")] {
        std::fs::copy(clip(from), directory.path().join(to)).unwrap();
    }
    let share = Share::spawn(share(directory.path()));
    let watch = Watch::start(&share.link, &[]);
    browser.open(&watch.url);
    plays(&browser, 640);
    browser.wait_for("document.querySelectorAll('#files option').length === 2");
    for (index, width) in [(1, 160), (0, 640)] {
        browser.value(&format!(
            "(() => {{ const files = document.getElementById('files'); files.value = {index}; \
             files.dispatchEvent(new Event('change')); }})()"
        ));
        browser.wait_for(&format!("video.videoWidth === {width}"));
        plays(&browser, width);
        seeks(&browser, 2.0);
        ends(&browser);
    }
    watch.stop();
}

#[test]
fn films_are_chosen_from_a_catalogue() {
    let Some(browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let films = directory.path().join("films");
    std::fs::create_dir(&films).unwrap();
    for (from, to) in [("test-pattern.mp4", "1.mp4"), ("test-pattern.flv", "2.flv")] {
        std::fs::copy(clip(from), films.join(to)).unwrap();
    }
    let mut command = rtmfp(["share", "--listen", "127.0.0.1:0", "--library"]);
    command.arg(&films).env("XDG_STATE_HOME", directory.path().join("state"));
    let library = Running::start(&mut command);
    let watch = Watch::start(&library.line(), &[]);
    browser.open(&watch.url);
    browser.wait_for("document.querySelectorAll('#entries button').length === 2");
    for (number, width) in [(0, 640), (1, 160), (0, 640)] {
        browser.value(&format!("document.querySelectorAll('#entries button')[{number}].click()"));
        browser.wait_for_page(&format!("video !== null && video.videoWidth === {width}"));
        plays(&browser, width);
        browser.value("document.querySelector('.back a').click()");
        browser.wait_for_page("document.querySelectorAll('#entries button').length === 2");
    }
    // What is no longer shared vanishes by itself.
    std::fs::remove_file(films.join("2.flv")).unwrap();
    browser.wait_for("document.querySelectorAll('#entries button').length === 1");
    watch.stop();
    browser.wait_for("document.getElementById('text').textContent.includes('has ended')");
    library.interrupt();
}
