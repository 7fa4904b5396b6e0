//! `rtmfp demo`: a swarm in one process.

use crate::support::{fail, rtmfp, succeed, write_file};
use rtmfp::vod::Digest256;
use serde_json::Value;

#[test]
fn copies_are_identical_and_the_report_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 1, 3_000_000);
    let keep = directory.path().join("copies");
    let mut command = rtmfp(["demo", "--json", "--receivers", "2", "--keep"]);
    let (out, _) = succeed(command.arg(&keep).arg(&file));

    let report: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let sha256 = Digest256::of(&bytes).to_string();
    assert_eq!(report["file_bytes"], 3_000_000);
    assert_eq!(report["sha256"], sha256.as_str());
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    let copies = report["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    let mut from_peers = 0;
    for copy in copies {
        assert_eq!(copy["sha256"], sha256.as_str());
        assert_eq!(copy["bytes"], 3_000_000);
        assert!(copy["seconds"].as_f64().unwrap() <= report["seconds"].as_f64().unwrap());
        let provider = copy["from_provider_bytes"].as_u64().unwrap();
        let peers = copy["from_peers_bytes"].as_u64().unwrap();
        assert_eq!(provider + peers, 3_000_000);
        from_peers += peers;
    }
    assert_eq!(report["peer_exchange_bytes"], from_peers);
    let uploaded = report["provider_upload_bytes"].as_u64().unwrap();
    assert!((3_000_000..=6_100_000).contains(&uploaded), "{uploaded}");
    let saved = 1.0 - uploaded as f64 / 6_000_000.0;
    assert!((report["saved_share"].as_f64().unwrap() - saved).abs() < 1e-9);

    for number in 1..=2 {
        let copy = std::fs::read(keep.join(format!("copy-{number}-film.bin"))).unwrap();
        assert!(copy == bytes, "copy {number} differs");
    }
}

#[test]
fn without_a_file_a_clip_is_shared_and_a_table_printed() {
    let (out, err) = succeed(&mut rtmfp(["demo", "--receivers", "1"]));
    assert!(err.contains("test-pattern.mp4"), "{err}");
    assert!(out.contains("receiver 1") && out.contains(" identical"), "{out}");
}

#[test]
fn mistakes_are_reported() {
    let err = fail(&mut rtmfp(["demo", "/nonexistent/film.mp4"]), 1);
    assert!(err.contains("/nonexistent/film.mp4"), "{err}");
    fail(&mut rtmfp(["demo", "--receivers", "0"]), 2);
    fail(&mut rtmfp(["demo", "--receivers", "1000"]), 2);
}
