//! Links that are signed, and receivers that insist on it.

use crate::support::{Share, fail, rtmfp, succeed, write_file};
use std::fs;

#[test]
fn a_signed_link_is_fetched_by_those_who_trust_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let bytes = write_file(&at("film.bin"), 1, 100_000);
    let share =
        Share::start([at("film.bin").as_os_str(), "--sign".as_ref(), at("key").as_os_str()]);
    let key = share.link.split_once("/key=").unwrap().1.split('/').next().unwrap().to_owned();
    assert!(fs::read_to_string(at("key")).unwrap().starts_with("rtmfp-signing-key "));
    let fetch = |link: &str| {
        let mut command = rtmfp(["fetch", link, "-o"]);
        command.arg(at("copy"));
        command
    };
    let (_, stderr) = succeed(fetch(&share.link).args(["--signed-by", &key]));
    assert!(stderr.contains("as asked"), "{stderr}");
    assert!(fs::read(at("copy")).unwrap() == bytes);
    let (_, stderr) = succeed(&mut fetch(&share.link));
    assert!(stderr.contains(&format!("the link is signed by {key}")), "{stderr}");
    fs::write(at("friends"), format!("{key} Ada\n")).unwrap();
    let (_, stderr) = succeed(fetch(&share.link).arg("--signed-by").arg(at("friends")));
    assert!(stderr.contains("signed by Ada"), "{stderr}");

    let error = fail(fetch(&share.link).args(["--signed-by", &"ab".repeat(32)]), 1);
    assert!(error.contains("which --signed-by does not name"), "{error}");
    let error = fail(&mut fetch(&share.link.replace("/name=film.bin", "/name=evil.bin")), 2);
    assert!(error.contains("do not trust it"), "{error}");
    let from = share.link.find("/key=").unwrap();
    let to = from + "/key=/signature=".len() + 64 + 128;
    let unsigned = format!("{}{}", &share.link[..from], &share.link[to..]);
    let error = fail(fetch(&unsigned).args(["--signed-by", &key]), 1);
    assert!(error.contains("is not signed"), "{error}");
    succeed(&mut fetch(&unsigned));
}
